package jsonv1

import (
	"math"
	"math/bits"
	"time"
)

// parseTimestamp parses a time such as 2006-01-02T15:04:05 and returns its
// nanoseconds since the Unix epoch. Up to 9 decimals may follow, then Z, an
// offset such as +01:00, or nothing, which means UTC.
func parseTimestamp(s string) (ns int64, ok bool) {
	const fixed = "2006-01-02T15:04:05"
	if len(s) < len(fixed) || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	var bad bool
	number := func(from, to int) (n int) {
		for _, c := range []byte(s[from:to]) {
			bad = bad || c < '0' || c > '9'
			n = 10*n + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	hour, minute, second := number(11, 13), number(14, 16), number(17, 19)
	i, fraction := len(fixed), 0
	if i < len(s) && s[i] == '.' {
		start := i + 1
		for i = start; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		}
		if i == start || i > start+9 {
			return 0, false
		}
		fraction = number(start, i)
		for n := i - start; n < 9; n++ {
			fraction *= 10
		}
	}
	offset := 0
	switch zone := s[i:]; {
	case zone == "" || zone == "Z":
	case len(zone) == 6 && zone[3] == ':' && (zone[0] == '+' || zone[0] == '-'):
		hours, minutes := number(i+1, i+3), number(i+4, i+6)
		bad = bad || hours > 23 || minutes > 59
		offset = hours*3600 + minutes*60
		if zone[0] == '-' {
			offset = -offset
		}
	default:
		return 0, false
	}
	if bad || month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, fraction, time.UTC)
	if t.Day() != day {
		return 0, false // time.Date normalized an impossible date, such as 31 April
	}
	t = t.Add(-time.Duration(offset) * time.Second)
	if t.Before(time.Unix(0, math.MinInt64)) || t.After(time.Unix(0, math.MaxInt64)) {
		return 0, false
	}
	return t.UnixNano(), true
}

// units maps Zeek's units to durations. Zeek documents "d", but rejects it.
var units = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
	"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// parseTimespan parses a decimal number with a unit, such as 1.5min. Zeek
// before 6.2 writes fractions. The calculation uses integers; fractions of a
// nanosecond are truncated.
func parseTimespan(s string) (time.Duration, bool) {
	digits, negative := s, false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		digits, negative = s[1:], s[0] == '-'
	}
	whole, n, ok := leadingNumber(digits)
	if n == 0 || !ok {
		return 0, false
	}
	digits = digits[n:]
	var fraction, scale uint64 = 0, 1
	if digits != "" && digits[0] == '.' {
		digits = digits[1:]
		for n = 0; n < len(digits) && digits[n] >= '0' && digits[n] <= '9'; n++ {
		}
		if n == 0 {
			return 0, false
		}
		const significant = 18 // more decimals cannot amount to a nanosecond
		fraction, _, _ = leadingNumber(digits[:min(n, significant)])
		for range min(n, significant) {
			scale *= 10
		}
		digits = digits[n:]
	}
	unit, ok := units[digits]
	if !ok {
		return 0, false
	}
	hi, sum := bits.Mul64(whole, uint64(unit))
	fhi, flo := bits.Mul64(fraction, uint64(unit))
	part, _ := bits.Div64(fhi, flo, scale)
	sum, carry := bits.Add64(sum, part, 0)
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	if hi+carry != 0 || sum > limit {
		return 0, false
	}
	if negative {
		sum = -sum
	}
	return time.Duration(sum), true
}

// leadingNumber returns the number formed by the leading digits of s, and
// their count. The result ok is false if the number does not fit.
func leadingNumber(s string) (n uint64, length int, ok bool) {
	ok = true
	for length < len(s) && s[length] >= '0' && s[length] <= '9' {
		hi, lo := bits.Mul64(n, 10)
		sum, carry := bits.Add64(lo, uint64(s[length]-'0'), 0)
		ok = ok && hi+carry == 0
		n = sum
		length++
	}
	return n, length, ok
}
