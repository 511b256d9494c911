package jsonv1

import (
	"errors"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// peek returns the next byte, or 0 at the end of the text and after a failure.
func (d *decoder) peek() byte {
	if d.pos >= len(d.s) || d.err != nil {
		return 0
	}
	return d.s[d.pos]
}

// here describes the next byte in errors.
func (d *decoder) here() string {
	if d.pos >= len(d.s) {
		return "end of text"
	}
	return strconv.QuoteToASCII(d.s[d.pos : d.pos+1])
}

// space skips white space. It accepts carriage returns, which Zeek rejects.
func (d *decoder) space() {
	for d.pos < len(d.s) {
		switch d.s[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

// open skips the opening bracket of an array or object, and reports whether an
// element follows.
func (d *decoder) open(closing byte) bool {
	d.pos++
	d.space()
	if d.peek() == closing {
		d.pos++
		return false
	}
	return d.err == nil
}

// next skips the separator after an element, and reports whether another
// element follows.
func (d *decoder) next(closing byte) bool {
	if d.err != nil {
		return false
	}
	d.space()
	switch d.peek() {
	case ',':
		d.pos++
		d.space()
		return true
	case closing:
		d.pos++
		return false
	}
	d.failAt(d.pos, "%s, want ',' or '%c'", d.here(), closing)
	return false
}

// key reads the name of a member and the colon.
func (d *decoder) key() string {
	if d.peek() != '"' {
		d.failAt(d.pos, "%s, want the name of a member", d.here())
		return ""
	}
	key := d.string()
	d.space()
	if d.peek() != ':' {
		d.failAt(d.pos, "%s, want ':'", d.here())
		return ""
	}
	d.pos++
	d.space()
	return key
}

// textOrSkip reads a string. It skips anything else and returns "".
func (d *decoder) textOrSkip() string {
	if d.peek() == '"' {
		return d.string()
	}
	d.skip(0)
	return ""
}

// string reads a string; the next byte must be its opening quote.
func (d *decoder) string() string {
	start := d.pos + 1
	for i := start; i < len(d.s); i++ {
		switch d.s[i] {
		case '"':
			d.pos = i + 1
			return d.s[start:i]
		case '\\':
			return d.escaped(start, i)
		}
	}
	d.failAt(d.pos, "unterminated string")
	return ""
}

// escaped reads the rest of a string that begins at start and contains its
// first escape at i.
func (d *decoder) escaped(start, i int) string {
	var b strings.Builder
	for from := start; ; {
		n := strings.IndexAny(d.s[i:], `\"`)
		if n < 0 {
			d.failAt(start-1, "unterminated string")
			return ""
		}
		i += n
		b.WriteString(d.s[from:i])
		if d.s[i] == '"' {
			d.pos = i + 1
			return b.String()
		}
		size := d.escape(&b, i)
		if d.err != nil {
			return ""
		}
		i += size
		from = i
	}
}

// escape appends the meaning of the escape at i to b, and returns the length
// of the escape.
func (d *decoder) escape(b *strings.Builder, i int) int {
	var c byte
	if i+1 < len(d.s) {
		c = d.s[i+1]
	}
	switch c {
	case '"', '\\', '/':
		b.WriteByte(c)
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'v':
		b.WriteByte('\v')
	case 'u':
		r, ok := codeUnit(d.s, i)
		switch {
		case !ok:
			d.failAt(i, `\u is not followed by 4 hexadecimal digits`)
		case utf16.IsSurrogate(r):
			low, _ := codeUnit(d.s, i+6)
			pair := utf16.DecodeRune(r, low)
			if pair == utf8.RuneError {
				d.failAt(i, `\u%04x is half of a surrogate pair`, r)
			}
			b.WriteRune(pair)
			return 12
		}
		b.WriteRune(r)
		return 6
	default:
		d.failAt(i, "unknown escape")
	}
	return 2
}

// codeUnit returns the number in the \uXXXX at i. The result ok is false if
// there is none.
func codeUnit(s string, i int) (rune, bool) {
	if i+6 > len(s) || s[i] != '\\' || s[i+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[i+2:i+6], 16, 16)
	return rune(n), err == nil
}

// literal reads a number or a word without quotes, such as true or inf.
func (d *decoder) literal() string {
	start := d.pos
	for d.pos < len(d.s) && inLiteral(d.s[d.pos]) {
		d.pos++
	}
	text := d.s[start:d.pos]
	if text == "" {
		d.failAt(start, "%s, want a value", d.here())
	}
	return text
}

// inLiteral reports whether a literal may contain c.
func inLiteral(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.'
}

// skip reads and discards any text, up to a nesting limit that depends on
// depth.
func (d *decoder) skip(depth int) {
	closing := byte(']')
	switch d.peek() {
	case '"':
		d.string()
		return
	case '{':
		closing = '}'
	case '[':
	default:
		pos, text := d.pos, d.literal()
		if _, ok := parseReal(text); !ok && text != "true" && text != "false" && text != "null" && d.err == nil {
			d.failAt(pos, "%q is not a valid value", clip(text))
		}
		return
	}
	if depth == MaxDepth {
		d.failAt(d.pos, "more than %d levels", MaxDepth)
		return
	}
	for more := d.open(closing); more; more = d.next(closing) {
		if closing == '}' {
			d.key()
		}
		d.skip(depth + 1)
	}
}

// parseReal accepts the notations of Zeek, Python's notations of numbers that
// JSON does not have, and all JSON numbers, including integers, which Zeek
// rejects.
func parseReal(s string) (float64, bool) {
	switch s {
	case "inf", "Infinity":
		return math.Inf(1), true
	case "-inf", "-Infinity":
		return math.Inf(-1), true
	case "nan", "NaN":
		return math.NaN(), true
	case "-nan":
		return math.Copysign(math.NaN(), -1), true
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c|0x20 != 'e' {
			return 0, false // ParseFloat accepts more notations
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	// Like Zeek, read too large numbers as infinite.
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

func parseSubnet(s string) (netip.Prefix, bool) {
	network, length, ok := strings.Cut(s, "/")
	if !ok {
		return netip.Prefix{}, false
	}
	a, err := netip.ParseAddr(network)
	bits, err2 := strconv.ParseUint(length, 10, 8)
	if err != nil || err2 != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	p := netip.PrefixFrom(a.Unmap(), int(bits))
	return p, p.IsValid()
}

// clip shortens text of a peer for use in an error.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
