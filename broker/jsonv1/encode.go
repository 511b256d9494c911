package jsonv1

import (
	"math"
	"strconv"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// AppendValue appends the JSON text of v to b and returns the result. It
// writes the text that Zeek 8.0 would write, or a more exact one.
func AppendValue(b []byte, v broker.Value) []byte { return asWritten.appendValue(b, v) }

// manner selects one of two notations. There are two because Zeek cannot read
// everything that it writes.
type manner bool

const (
	asWritten manner = false // as Zeek writes it
	asRead    manner = true  // as Zeek can read it
)

func (m manner) appendValue(b []byte, v broker.Value) []byte {
	return append(m.appendMembers(append(b, '{'), v), '}')
}

// appendMembers appends the members of v's object without braces, because a
// message contains the members of its value directly.
func (m manner) appendMembers(b []byte, v broker.Value) []byte {
	b = append(b, `"@data-type":"`...)
	b = append(b, v.Kind().String()...)
	b = append(b, `","data":`...)
	switch v.Kind() {
	case broker.KindNone:
		b = append(b, "{}"...)
	case broker.KindBoolean:
		t, _ := v.Boolean()
		b = strconv.AppendBool(b, t)
	case broker.KindCount:
		n, _ := v.Count()
		b = strconv.AppendUint(b, n, 10)
	case broker.KindInteger:
		n, _ := v.Integer()
		b = strconv.AppendInt(b, n, 10)
	case broker.KindReal:
		f, _ := v.Real()
		b = m.appendReal(b, f)
	case broker.KindString:
		s, _ := v.Text()
		b = m.appendString(b, s)
	case broker.KindEnum:
		s, _ := v.Enum()
		b = m.appendString(b, s)
	case broker.KindAddress:
		a, _ := v.Address()
		b = append(a.AppendTo(append(b, '"')), '"')
	case broker.KindSubnet:
		p, _ := v.Subnet()
		b = append(p.AppendTo(append(b, '"')), '"')
	case broker.KindPort:
		p, _ := v.Port()
		b = strconv.AppendUint(append(b, '"'), uint64(p.Number), 10)
		b = append(append(b, '/'), p.Protocol.String()...)
		b = append(b, '"')
	case broker.KindTimestamp:
		t, _ := v.Timestamp()
		b = appendTimestamp(b, t)
	case broker.KindTimespan:
		d, _ := v.Timespan()
		b = appendTimespan(b, d)
	case broker.KindSet, broker.KindVector:
		b = m.appendElements(b, v)
	case broker.KindTable:
		b = m.appendEntries(b, v)
	}
	return b
}

// appendElements appends the elements of a set or vector as an array.
func (m manner) appendElements(b []byte, v broker.Value) []byte {
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = m.appendValue(b, v.At(i))
	}
	return append(b, ']')
}

// appendEntries appends the entries of a table as an array of objects.
func (m manner) appendEntries(b []byte, v broker.Value) []byte {
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		e := v.EntryAt(i)
		b = m.appendValue(append(b, `{"key":`...), e.Key)
		b = m.appendValue(append(b, `,"value":`...), e.Value)
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendReal writes f in the format %f of C, like Broker, if that is exact.
// Otherwise it writes the shortest exact digits. Both contain a point or an
// exponent, without which Zeek rejects a real.
//
// Zeek reads nan, but neither -nan nor inf. It reads slightly too large
// numbers as infinite. It rejects much larger numbers, and numbers with more
// digits before the point than fit 64 bits.
func (m manner) appendReal(b []byte, f float64) []byte {
	switch {
	case m == asRead && math.IsInf(f, 1):
		return append(b, "1e309"...)
	case m == asRead && math.IsInf(f, -1):
		return append(b, "-1e309"...)
	case m == asRead && math.IsNaN(f):
		return append(b, "nan"...)
	case math.IsNaN(f) && math.Signbit(f):
		return append(b, "-nan"...)
	case math.IsNaN(f):
		return append(b, "nan"...)
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	}
	if m == asRead && math.Abs(f) >= 1e15 {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'f', 6, 64)
	if f == math.Trunc(f) {
		return b
	}
	if g, err := strconv.ParseFloat(string(b[start:]), 64); err == nil && g == f {
		return b
	}
	return strconv.AppendFloat(b[:start], f, 'g', -1, 64)
}

func appendTimestamp(b []byte, t time.Time) []byte {
	switch ns := t.Nanosecond(); {
	case ns%1e6 == 0:
		return t.AppendFormat(b, `"2006-01-02T15:04:05.000"`)
	case ns%1e3 == 0:
		return t.AppendFormat(b, `"2006-01-02T15:04:05.000000"`)
	default:
		return t.AppendFormat(b, `"2006-01-02T15:04:05.000000000"`)
	}
}

// appendTimespan writes d in the coarsest of the units ns, us, ms and s that
// needs no decimals.
func appendTimespan(b []byte, d time.Duration) []byte {
	unit := `ns"`
	switch {
	case d%time.Second == 0:
		d, unit = d/time.Second, `s"`
	case d%time.Millisecond == 0:
		d, unit = d/time.Millisecond, `ms"`
	case d%time.Microsecond == 0:
		d, unit = d/time.Microsecond, `us"`
	}
	return append(strconv.AppendInt(append(b, '"'), int64(d), 10), unit...)
}

// escapes maps each byte that Broker escapes to the letter of its escape
// sequence.
var escapes = [256]byte{
	'\\': '\\', '"': '"', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't', '\v': 'v',
}

// appendString escapes the same bytes as Broker. Zeek writes a zero byte
// unescaped, but reads it as the end of the text. Zeek escapes a vertical tab
// as \v, which is not JSON and which Zeek before 6.0 cannot read; all versions
// read an unescaped one.
func (m manner) appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		if e := escapes[s[i]]; e != 0 && (s[i] != '\v' || m == asWritten) {
			b = append(b, s[start:i]...)
			b = append(b, '\\', e)
			start = i + 1
		} else if s[i] == 0 && m == asRead {
			b = append(b, s[start:i]...)
			b = append(b, `\u0000`...)
			start = i + 1
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
