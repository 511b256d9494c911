package jsonv1

import (
	"math"
	"strconv"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// AppendValue appends the JSON text of v to b.
func AppendValue(b []byte, v broker.Value) []byte { return asWritten.appendValue(b, v) }

// manner is one of two ways to write, because Zeek cannot read all that it
// writes itself.
type manner bool

const (
	asWritten manner = false // by Zeek
	asRead    manner = true  // by Zeek
)

func (m manner) appendValue(b []byte, v broker.Value) []byte {
	return append(m.appendMembers(append(b, '{'), v), '}')
}

// appendMembers appends the members of v's object without its braces, because
// those of a message's value stand among the message's own.
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

// appendReal writes C's %f, as Broker does, if that reads back as f, and
// otherwise the shortest digits that do. Either has a point or an exponent,
// without which Zeek refuses a real.
//
// Zeek reads nan, but neither -nan nor inf. It reads numbers that are somewhat
// too large as infinite, and refuses those that are far too large, and those
// with more digits before the point than fit 64 bits.
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

// appendTimespan picks the coarsest of ns, us, ms and s that needs no decimals.
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

// escapes maps the bytes that Broker escapes to the letter of their escape.
var escapes = [256]byte{
	'\\': '\\', '"': '"', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't', '\v': 'v',
}

// appendString escapes what Broker does. A zero byte, which Zeek writes like any
// other, it reads as the end of the text. A vertical tab it escapes as no JSON
// does, and before 6.0 it cannot read that; all versions take the bare one.
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
