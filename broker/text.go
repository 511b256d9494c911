package broker

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// String returns the text form of v that AppendText documents.
func (v Value) String() string { return string(v.appendText(nil)) }

// AppendText appends the text form of v to b and returns the result; the error
// is always nil. The form is T or F for booleans, decimal numbers, quoted
// strings, 10.0.0.1, 10.0.0.0/8, 80/tcp, RFC 3339 times, durations such as
// 1.5s, bare enum labels, {a, b} for sets, {k -> v} for tables, [a, b] for
// vectors and nil for none. AppendText implements encoding.TextAppender.
func (v Value) AppendText(b []byte) ([]byte, error) { return v.appendText(b), nil }

func (v Value) appendText(b []byte) []byte {
	switch v.kind {
	case KindNone:
		return append(b, "nil"...)
	case KindBoolean:
		if v.hi != 0 {
			return append(b, 'T')
		}
		return append(b, 'F')
	case KindCount:
		return strconv.AppendUint(b, v.hi, 10)
	case KindInteger:
		return strconv.AppendInt(b, int64(v.hi), 10)
	case KindReal:
		return appendReal(b, math.Float64frombits(v.hi))
	case KindString:
		return strconv.AppendQuote(b, v.bytes())
	case KindEnum:
		return append(b, v.bytes()...)
	case KindAddress:
		return v.addr().AppendTo(b)
	case KindSubnet:
		p, _ := v.Subnet()
		return p.AppendTo(b)
	case KindPort:
		p, _ := v.Port()
		return p.appendTo(b)
	case KindTimestamp:
		return time.Unix(0, int64(v.hi)).UTC().AppendFormat(b, time.RFC3339Nano)
	case KindTimespan:
		return append(b, time.Duration(v.hi).String()...)
	case KindSet:
		return v.appendElems(b, '{', '}')
	case KindTable:
		b = append(b, '{')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ", "...)
			}
			e := v.EntryAt(i)
			b = e.Key.appendText(b)
			b = append(b, " -> "...)
			b = e.Value.appendText(b)
		}
		return append(b, '}')
	default:
		return v.appendElems(b, '[', ']')
	}
}

func (v Value) appendElems(b []byte, open, end byte) []byte {
	b = append(b, open)
	for i, e := range v.elems() {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = e.appendText(b)
	}
	return append(b, end)
}

// appendReal appends f with a decimal point, an exponent or a word (inf, nan),
// so that the text differs from an integer's.
func appendReal(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "nan"...)
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	if !strings.ContainsAny(string(b[start:]), ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// String returns the port in Zeek's notation, such as "80/tcp" or "0/?".
func (p Port) String() string { return string(p.appendTo(nil)) }

func (p Port) appendTo(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(p.Number), 10)
	b = append(b, '/')
	return append(b, p.Protocol.String()...)
}

// ParsePort parses the result of Port.String. It also accepts the protocol
// "unknown", the notation of Zeek scripts.
func ParsePort(s string) (Port, error) {
	number, proto, ok := strings.Cut(s, "/")
	if !ok {
		return Port{}, fmt.Errorf("broker: port %q lacks a protocol, as in 80/tcp", s)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return Port{}, fmt.Errorf("broker: port %q: number is not in 0..65535", s)
	}
	if proto == "unknown" {
		return Port{Number: uint16(n)}, nil
	}
	for p, name := range protocolNames {
		if name == proto {
			return Port{Number: uint16(n), Protocol: Protocol(p)}, nil
		}
	}
	return Port{}, fmt.Errorf("broker: port %q: protocol is not tcp, udp, icmp or ?", s)
}
