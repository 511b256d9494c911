package jsonv1

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// Decode returns the frame encoded by the text b. An array is Subscriptions.
// An object with a member "@data-type" is Data, regardless of its "type"; its topic
// may be missing. Other objects are Ack or Error, according to their "type".
// Members may have any order, and unknown members are ignored. The frame does
// not share memory with b. Errors wrap ErrMalformed and give the offset.
func Decode(b []byte) (Frame, error) {
	d := start(b)
	f := d.frame()
	if err := d.finish(); err != nil {
		return nil, err
	}
	return f, nil
}

// DecodeValue returns the value encoded by the text b. The value does not
// share memory with b. Errors wrap ErrMalformed and give the offset.
func DecodeValue(b []byte) (broker.Value, error) {
	d := start(b)
	v := d.value(0)
	if err := d.finish(); err != nil {
		return broker.Value{}, err
	}
	return v, nil
}

// decoder reads a text from front to back. After the first failure, its
// methods do nothing and return zero values.
type decoder struct {
	// Strings in results share this copy of the input.
	s   string
	pos int
	err error

	// stack holds the elements of all open containers. The elements of a
	// complete container move to arena, which is allocated once per text.
	stack  []broker.Value
	arena  []broker.Value
	pooled *[]broker.Value // where stack is from

	expected int // estimate of the number of elements in the text
	elements int // read so far, in all containers
}

// object collects the members of an object. Its meaning is not known before
// its end, because "@data-type" may be the last member: it is a value or, as
// element of an array, an entry of a table.
type object struct {
	pos     int // offset of its opening brace
	element bool

	kind    broker.Kind
	hasKind bool
	data    datum

	key, value       broker.Value
	hasKey, hasValue bool
}

// datum is the content of a "data" member.
type datum struct {
	form form
	pos  int
	text string // the unescaped content of a string, or the literal

	// For an array: its values, or alternately the keys and values of its
	// entries.
	elems   []broker.Value
	entries int
	values  int
	others  int // elements that are neither
}

type form uint8

const (
	formAbsent form = iota
	formLiteral
	formString
	formArray
	formObject
)

var formNames = [...]string{"absent", "a literal", "a string", "an array", "an object"}

func (d *decoder) failAt(pos int, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("jsonv1: %w at offset %d: %s", ErrMalformed, pos, fmt.Sprintf(format, args...))
	}
}

// start returns a decoder for b. It fails on texts longer than the 32-bit
// lengths of Value allow.
func start(b []byte) decoder {
	if uint64(len(b)) > broker.MaxLen {
		return decoder{err: fmt.Errorf("jsonv1: %w: text of %d bytes", ErrMalformed, len(b))}
	}
	d := decoder{s: string(b), pooled: stacks.Get().(*[]broker.Value)}
	d.stack = (*d.pooled)[:0]
	// Every element of a container has an "@data-type", so the number of these
	// characters estimates that of the elements. Strings that contain the character,
	// and names that are escaped, make the estimate inexact.
	const shortest = len(`{"@data-type":"none"}`)
	d.expected = min(strings.Count(d.s, "@"), len(d.s)/shortest+1, MaxElements)
	d.space()
	return d
}

// stacks holds stacks of decoders. Their elements are zero.
var stacks = sync.Pool{New: func() any { s := make([]broker.Value, 0, 64); return &s }}

func (d *decoder) finish() error {
	if d.space(); d.err == nil && d.pos < len(d.s) {
		d.failAt(d.pos, "%d trailing bytes", len(d.s)-d.pos)
	}
	const most = 1 << 10 // elements of a stack that is used again, 32 KiB
	if d.err == nil && cap(d.stack) <= most {
		*d.pooled = d.stack
		stacks.Put(d.pooled)
	}
	return d.err
}

// frame reads the whole text.
func (d *decoder) frame() Frame {
	switch d.peek() {
	case '[':
		return d.subscriptions()
	case '{':
	default:
		d.failAt(d.pos, "%s, want an object or an array", d.here())
		return nil
	}
	o := object{pos: d.pos}
	var typ, topic, endpoint, version, code, context string
	for more := d.open('}'); more; more = d.next('}') {
		key := d.key()
		switch key {
		case "@data-type", "data":
			d.member(&o, key, 0)
		case "type":
			typ = d.textOrSkip()
		case "topic":
			topic = d.textOrSkip()
		case "endpoint":
			endpoint = d.textOrSkip()
		case "version":
			version = d.textOrSkip()
		case "code":
			code = d.textOrSkip()
		case "context", "message": // Zeek 7.2 uses "message"
			context = d.textOrSkip()
		default:
			d.skip(0)
		}
	}
	switch {
	case d.err != nil:
		return nil
	case o.hasKind:
		return Data{Topic: topic, Value: d.build(&o)}
	case typ == "ack":
		return Ack{Endpoint: endpoint, Version: version}
	case typ == "error":
		return Error{Code: code, Context: context}
	}
	d.failAt(o.pos, "object of type %q without @data-type, want a data message, ack or error", clip(typ))
	return nil
}

func (d *decoder) subscriptions() Frame {
	topics := Subscriptions{}
	for more := d.open(']'); more; more = d.next(']') {
		if d.peek() != '"' {
			d.failAt(d.pos, "subscription is %s, want a string", d.here())
			return nil
		}
		if d.count(1); d.err != nil {
			return nil
		}
		topics = append(topics, d.string())
	}
	return topics
}

// value reads an object that encodes a value nested in depth containers.
func (d *decoder) value(depth int) broker.Value {
	if d.peek() != '{' {
		d.failAt(d.pos, "%s, want an object", d.here())
		return broker.Value{}
	}
	var o object
	d.object(&o, depth)
	if d.err == nil && !o.hasKind {
		d.failAt(o.pos, "object lacks @data-type")
	}
	return d.build(&o)
}

func (d *decoder) object(o *object, depth int) {
	o.pos = d.pos
	var more bool
	if d.usual(o) {
		d.datum(&o.data, depth)
		more = d.next('}')
	} else {
		more = d.open('}')
	}
	for ; more; more = d.next('}') {
		d.member(o, d.key(), depth)
	}
}

// usual reads the beginning of an object as Zeek and Append write it, up to its
// data. It reports whether it has found that. If not, it has read nothing.
func (d *decoder) usual(o *object) bool {
	kind, n := beginning(d.s[d.pos:])
	if n == 0 {
		return false
	}
	o.kind, o.hasKind = kind, true
	d.pos += n
	d.space()
	return true
}

// scalar reads an object that encodes a scalar as Zeek and Append write it. It
// reports whether it has found that. If not, it has read nothing.
func (d *decoder) scalar() (v broker.Value, ok bool) {
	kind, n := beginning(d.s[d.pos:])
	if n == 0 {
		return v, false
	}
	text, closing, end := d.s[d.pos+n:], "}", 0
	switch formOf(kind) {
	case formLiteral:
		for end < len(text) && inLiteral(text[end]) {
			end++
		}
	case formString:
		if text == "" || text[0] != '"' {
			return v, false
		}
		text, closing = text[1:], `"}`
		for end < len(text) && text[end] != '"' && text[end] != '\\' {
			end++
		}
	default:
		return v, false
	}
	if !strings.HasPrefix(text[end:], closing) {
		return v, false
	}
	if v, ok = parse(kind, text[:end]); !ok {
		return v, false
	}
	d.pos = len(d.s) - len(text) + end + len(closing)
	return v, true
}

// beginning returns the kind of a value whose object begins as Zeek and Append
// write it, and the length of the text up to its data. It returns 0 if there is another
// text.
func beginning(text string) (broker.Kind, int) {
	const before = `{"@data-type":"`
	if len(text) <= len(before) || text[:len(before)] != before {
		return 0, 0
	}
	text = text[len(before):]
	for _, b := range beginnings[text[0]] {
		if strings.HasPrefix(text, b.text) {
			return b.kind, len(before) + len(b.text)
		}
	}
	return 0, 0
}

// kindText is the name of a kind with the text that follows it.
type kindText struct {
	text string
	kind broker.Kind
}

// beginnings holds the texts of all kinds but none, by their first byte.
var beginnings = func() (all [256][]kindText) {
	for kind := broker.KindNone + 1; kind.Valid(); kind++ {
		text := kind.String() + `","data":`
		all[text[0]] = append(all[text[0]], kindText{text, kind})
	}
	return all
}()

// member reads the content of the member key of o.
func (d *decoder) member(o *object, key string, depth int) {
	pos, again := d.pos, false
	if (key == "key" || key == "value") && !o.element {
		key = ""
	}
	switch key {
	case "@data-type":
		if again = o.hasKind; again {
			break
		}
		if d.peek() != '"' {
			d.failAt(pos, "@data-type is %s, want a string", d.here())
			return
		}
		name := d.string()
		if o.kind, o.hasKind = broker.KindByName(name); !o.hasKind {
			d.failAt(pos, "unknown @data-type %q", clip(name))
		}
	case "data":
		if again = o.data.form != formAbsent; again {
			break
		}
		if o.hasKind && o.kind == broker.KindNone {
			o.data.form = formObject // "data" is not used for none
			d.skip(depth)
			return
		}
		d.datum(&o.data, depth)
	case "key":
		if again = o.hasKey; again {
			break
		}
		o.key, o.hasKey = d.value(depth), true
	case "value":
		if again = o.hasValue; again {
			break
		}
		o.value, o.hasValue = d.value(depth), true
	default:
		d.skip(depth)
	}
	if again {
		d.failAt(pos, "second %q in an object", key)
	}
}

// datum reads the content of a "data" member.
func (d *decoder) datum(x *datum, depth int) {
	x.pos = d.pos
	switch c := d.peek(); c {
	case '"':
		x.form = formString
		x.text = d.string()
	case '[':
		x.form = formArray
		d.array(x, depth)
	case '{':
		x.form = formObject
		d.skip(depth)
	default:
		x.form = formLiteral
		x.text = d.literal()
	}
}

// array reads the content of a container nested in depth others.
func (d *decoder) array(x *datum, depth int) {
	if depth == MaxDepth {
		d.failAt(d.pos, "more than %d nested containers", MaxDepth)
		return
	}
	base := len(d.stack)
	var o object // declared outside the loop to avoid an allocation per element
	for more := d.open(']'); more; more = d.next(']') {
		if v, ok := d.scalar(); ok {
			x.values++
			d.count(1)
			d.stack = append(d.stack, v)
			continue
		}
		if d.peek() != '{' {
			x.others++
			d.skip(depth + 1)
			continue
		}
		o = object{element: true}
		d.object(&o, depth+1)
		switch {
		case d.err != nil:
			return
		case o.hasKind:
			x.values++
			d.count(1)
			d.stack = append(d.stack, d.build(&o))
		case o.hasKey && o.hasValue:
			x.entries++
			d.count(2)
			d.stack = append(d.stack, o.key, o.value)
		default:
			x.others++
		}
	}
	if d.err == nil {
		x.elems = d.keep(d.stack[base:])
		clear(d.stack[base:])
		d.stack = d.stack[:base]
	}
}

func (d *decoder) count(n int) {
	if d.elements += n; d.elements > MaxElements {
		d.failAt(d.pos, "more than %d elements", MaxElements)
	}
}

// keep returns a copy of elems in the arena. The value owns the copy.
func (d *decoder) keep(elems []broker.Value) []broker.Value {
	n := len(elems)
	if n == 0 {
		return nil
	}
	if d.arena == nil {
		d.arena = make([]broker.Value, 0, max(n, d.expected))
	}
	start := len(d.arena)
	if cap(d.arena)-start < n {
		d.arena, start = make([]broker.Value, 0, n), 0
	}
	d.arena = append(d.arena, elems...)
	return d.arena[start : start+n : start+n]
}

// formOf returns the JSON form of the data of a kind.
func formOf(kind broker.Kind) form {
	switch kind {
	case broker.KindBoolean, broker.KindCount, broker.KindInteger, broker.KindReal:
		return formLiteral
	case broker.KindSet, broker.KindTable, broker.KindVector:
		return formArray
	}
	return formString
}

// build returns the value that o describes.
func (d *decoder) build(o *object) broker.Value {
	if d.err != nil || o.kind == broker.KindNone {
		return broker.Value{}
	}
	x, want := &o.data, formOf(o.kind)
	if x.form == formAbsent {
		d.failAt(o.pos, "%s lacks data", o.kind)
		return broker.Value{}
	}
	if x.form != want {
		d.failAt(x.pos, "data of a %s is %s, want %s", o.kind, formNames[x.form], formNames[want])
		return broker.Value{}
	}
	if want == formArray {
		return d.container(o.kind, x)
	}
	v, ok := parse(o.kind, x.text)
	if !ok {
		d.failAt(x.pos, "%q is not a valid %s", clip(x.text), o.kind)
		return broker.Value{}
	}
	return v
}

// parse returns the scalar of a kind that text encodes. The result ok is false if it encodes
// none.
func parse(kind broker.Kind, text string) (v broker.Value, ok bool) {
	ok = true
	switch kind {
	case broker.KindBoolean:
		v, ok = broker.Boolean(text == "true"), text == "true" || text == "false"
	case broker.KindCount:
		n, err := strconv.ParseUint(text, 10, 64)
		v, ok = broker.Count(n), err == nil
	case broker.KindInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		v, ok = broker.Integer(n), err == nil
	case broker.KindReal:
		var f float64
		f, ok = parseReal(text)
		v = broker.Real(f)
	case broker.KindString:
		v = broker.String(text)
	case broker.KindEnum:
		v = broker.Enum(text)
	case broker.KindAddress:
		a, err := netip.ParseAddr(text)
		v, ok = broker.Address(a), err == nil && a.Zone() == ""
	case broker.KindSubnet:
		var p netip.Prefix
		p, ok = parseSubnet(text)
		v = broker.Subnet(p)
	case broker.KindPort:
		p, err := broker.ParsePort(text)
		v, ok = broker.PortValue(p), err == nil
	case broker.KindTimestamp:
		ns, good := parseTimestamp(text)
		v, ok = broker.TimestampNanos(ns), good
	case broker.KindTimespan:
		span, good := parseTimespan(text)
		v, ok = broker.Timespan(span), good
	}
	return v, ok
}

func (d *decoder) container(kind broker.Kind, x *datum) broker.Value {
	wanted, content := x.values, "a value"
	if kind == broker.KindTable {
		wanted, content = x.entries, "an entry of key and value"
	}
	if wanted != x.values+x.entries+x.others {
		d.failAt(x.pos, "%s contains an element that is not %s", kind, content)
		return broker.Value{}
	}
	var v broker.Value
	unique := true
	switch kind {
	case broker.KindSet:
		v, unique = broker.UniqueSet(x.elems)
	case broker.KindTable:
		v, unique = broker.UniqueTable(x.elems)
	default:
		v = broker.Vector(x.elems...)
	}
	if !unique {
		d.failAt(x.pos, "%s contains a duplicate", kind)
	}
	return v
}
