package gateway

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/logs"
	"github.com/zeekwire/zeekwire/broker/record"
)

// AppendPlain appends a value as plain JSON. Numbers, texts and booleans are those of JSON,
// times are seconds since 1970, intervals are seconds, and a value that is not set is null.
// Ports are texts such as "80/tcp", and all other scalars are texts as Zeek prints them. Sets
// and vectors are arrays. A table is an object if all its keys are texts, enums, addresses,
// subnets, ports or numbers, and otherwise an array of pairs. A record is an object if the type is known, and
// otherwise an array of its fields. Bytes that are not UTF-8 appear as in Zeek's logs: \xff.
//
// If typ is non-nil, it is the type of the value.
func AppendPlain(b []byte, v broker.Value, typ *record.Type) []byte {
	switch v.Kind() {
	case broker.KindNone:
		return append(b, "null"...)
	case broker.KindBoolean:
		truth, _ := v.Boolean()
		return strconv.AppendBool(b, truth)
	case broker.KindCount:
		n, _ := v.Count()
		return strconv.AppendUint(b, n, 10)
	case broker.KindInteger:
		n, _ := v.Integer()
		return strconv.AppendInt(b, n, 10)
	case broker.KindReal:
		f, _ := v.Real()
		return appendFloat(b, f)
	case broker.KindTimestamp:
		ns, _ := v.TimestampNanos()
		return appendSeconds(b, ns)
	case broker.KindTimespan:
		d, _ := v.Timespan()
		return appendSeconds(b, int64(d))
	case broker.KindString:
		s, _ := v.Text()
		return appendText(b, s)
	case broker.KindSet, broker.KindVector:
		return appendList(b, v, typ)
	case broker.KindTable:
		return appendTable(b, v, typ)
	}
	return appendText(b, v.String())
}

// appendList appends a set, a vector or a record.
func appendList(b []byte, v broker.Value, typ *record.Type) []byte {
	if typ != nil && typ.Kind == "record" && v.Kind() == broker.KindVector {
		return appendRecord(b, v, typ.Fields)
	}
	var element *record.Type
	if typ != nil {
		if element = typ.Element; v.Kind() == broker.KindSet {
			element = typ.Index
		}
	}
	b = append(b, '[')
	first := true
	for e := range v.Elements() {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = AppendPlain(b, e, element)
	}
	return append(b, ']')
}

// appendRecord appends a record whose fields have names. Fields without a name, of a record
// that is newer than the type, are in an array "more".
func appendRecord(b []byte, v broker.Value, fields []record.Field) []byte {
	b = append(b, '{')
	for i := range min(v.Len(), len(fields)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, fields[i].Name)
		b = append(b, ':')
		b = AppendPlain(b, v.At(i), &fields[i].Type)
	}
	if v.Len() > len(fields) {
		if len(fields) > 0 {
			b = append(b, ',')
		}
		b = append(b, `"more":[`...)
		for i := len(fields); i < v.Len(); i++ {
			if i > len(fields) {
				b = append(b, ',')
			}
			b = AppendPlain(b, v.At(i), nil)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendTable(b []byte, v broker.Value, typ *record.Type) []byte {
	var index, element *record.Type
	if typ != nil {
		index, element = typ.Index, typ.Element
	}
	object := true
	for key := range v.Entries() {
		if k := key.Kind(); k == broker.KindNone || k == broker.KindSet || k == broker.KindVector || k == broker.KindTable {
			object = false
		}
	}
	open, end := byte('['), byte(']')
	if object {
		open, end = '{', '}'
	}
	b = append(b, open)
	first := true
	for key, value := range v.Entries() {
		if !first {
			b = append(b, ',')
		}
		first = false
		if object {
			text, ok := key.Text()
			if !ok {
				text = key.String()
			}
			b = append(appendText(b, text), ':')
			b = AppendPlain(b, value, element)
			continue
		}
		b = append(b, '[')
		b = append(AppendPlain(b, key, index), ',')
		b = append(AppendPlain(b, value, element), ']')
	}
	return append(b, end)
}

func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// appendSeconds appends nanoseconds as seconds, without loss.
func appendSeconds(b []byte, ns int64) []byte {
	if ns < 0 {
		b = append(b, '-')
	}
	magnitude := uint64(ns)
	if ns < 0 {
		magnitude = -magnitude
	}
	b = strconv.AppendUint(b, magnitude/1e9, 10)
	rest := magnitude % 1e9
	if rest == 0 {
		return append(b, ".0"...)
	}
	digits := strconv.AppendUint(nil, 1e9+rest, 10)[1:]
	for digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return append(append(b, '.'), digits...)
}

// appendText appends a text in quotes.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(b, '\\', '\\', 'x', hex[c>>4], hex[c&15])
			case r == '\u2028' || r == '\u2029':
				b = append(b, `\u202`...)
				b = append(b, hex[r&15])
			default:
				b = append(b, s[i:i+size]...)
			}
			i += size
		}
	}
	return append(b, '"')
}

// plain turns messages into JSON objects. It must not be used concurrently.
type plain struct {
	describe func(event string) []record.Field
	catalogs map[string]*logs.Catalog // by the name of the Zeek
}

// appendMessage appends a message as an object:
//
//	{"topic":...,"event":NAME,"args":{...}}       an event whose arguments are known
//	{"topic":...,"event":NAME,"args":[...]}       another event
//	{"topic":...,"log":STREAM,"path":...,"row":{...}}
//	{"topic":...,"value":...}                     anything else
//
// Of is the name of the Zeek that the message came from.
func (p *plain) appendMessage(b []byte, of string, m broker.Message) (text []byte, event string) {
	b = append(b, '{')
	if of != "" {
		b = append(b, `"zeek":`...)
		b = append(appendText(b, of), ',')
	}
	b = append(b, `"topic":`...)
	b = appendText(b, m.Topic)
	parsed, err := broker.ParseZeekMessage(m.Value)
	if err != nil {
		b = append(b, `,"value":`...)
		return append(AppendPlain(b, m.Value, nil), '}'), ""
	}
	switch parsed := parsed.(type) {
	case broker.Event:
		return append(p.appendEvent(b, parsed), '}'), parsed.Name
	case broker.LogWrite:
		return append(p.appendRow(b, of, parsed), '}'), ""
	case broker.LogCreate:
		_, _ = p.catalog(of).Add(parsed) // an error, such as of too many streams, costs the names of fields
	}
	b = append(b, `,"value":`...)
	return append(AppendPlain(b, m.Value, nil), '}'), ""
}

func (p *plain) appendEvent(b []byte, ev broker.Event) []byte {
	b = append(b, `,"event":`...)
	b = appendText(b, ev.Name)
	b = append(b, `,"args":`...)
	args := broker.Vector(ev.Args...)
	if p.describe != nil {
		if fields := p.describe(ev.Name); fields != nil {
			return appendRecord(b, args, fields)
		}
	}
	return AppendPlain(b, args, nil)
}

// appendRow appends a row of a log. As in Zeek's logs in JSON, fields that are not set are
// left out, and ports are numbers.
func (p *plain) appendRow(b []byte, of string, m broker.LogWrite) []byte {
	b = append(b, `,"log":`...)
	b = appendText(b, m.Stream)
	b = append(b, `,"path":`...)
	b = appendText(b, m.Path)
	b = append(b, `,"row":`...)
	row, err := p.catalog(of).Row(m)
	if err != nil {
		values, err := logs.Values(m)
		if err != nil {
			return append(b, "null"...)
		}
		return AppendPlain(b, broker.Vector(values...), nil)
	}
	b = append(b, '{')
	first := true
	for i, f := range row.Stream.Fields {
		v := row.Values[i]
		if v.IsNone() {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendText(b, f.Name), ':')
		if port, ok := v.Port(); ok {
			b = strconv.AppendUint(b, uint64(port.Number), 10)
		} else {
			b = AppendPlain(b, v, nil)
		}
	}
	return append(b, '}')
}

// maxZeeks limits the catalogs.
const maxZeeks = 1024

func (p *plain) catalog(of string) *logs.Catalog {
	c := p.catalogs[of]
	if c == nil {
		if p.catalogs == nil || len(p.catalogs) >= maxZeeks {
			p.catalogs = make(map[string]*logs.Catalog)
		}
		c = new(logs.Catalog)
		p.catalogs[of] = c
	}
	return c
}
