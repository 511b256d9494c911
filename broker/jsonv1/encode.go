package jsonv1

import (
	"math"
	"strconv"
	"time"
	"unsafe"

	"github.com/zeekwire/zeekwire/broker"
)

// AppendValue appends the JSON text of v to b.
func AppendValue(b []byte, v broker.Value) []byte {
	return append(appendMembers(append(b, '{'), v), '}')
}

// appendMembers appends the members of v's object without its braces, because
// those of a message's value stand among the message's own.
func appendMembers(b []byte, v broker.Value) []byte {
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
		b = appendReal(b, f)
	case broker.KindString:
		s, _ := v.Text()
		b = appendString(b, s)
	case broker.KindEnum:
		s, _ := v.Enum()
		b = appendString(b, s)
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
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = AppendValue(b, v.At(i))
		}
		b = append(b, ']')
	case broker.KindTable:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			e := v.EntryAt(i)
			b = AppendValue(append(b, `{"key":`...), e.Key)
			b = AppendValue(append(b, `,"value":`...), e.Value)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	return b
}

// appendReal writes C's %f, as Broker does, if that reads back as f, and
// otherwise the shortest digits that do. Either has a point or an exponent,
// without which Zeek refuses a real.
func appendReal(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f) && math.Signbit(f):
		return append(b, "-nan"...)
	case math.IsNaN(f):
		return append(b, "nan"...)
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'f', 6, 64)
	if f == math.Trunc(f) {
		return b
	}
	text := unsafe.String(&b[start], len(b)-start) // ParseFloat does not keep it
	if g, err := strconv.ParseFloat(text, 64); err == nil && g == f {
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

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		if e := escapes[s[i]]; e != 0 {
			b = append(b, s[start:i]...)
			b = append(b, '\\', e)
			start = i + 1
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
