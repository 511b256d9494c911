package broker

import (
	"errors"
	"fmt"
	"time"
)

// Message is a value and the topic that it is published to.
type Message struct {
	Topic string
	Value Value
}

// ErrInvalidMessage is wrapped by every error of ParseZeekMessage.
var ErrInvalidMessage = errors.New("invalid Zeek message")

// ZeekMessage is a message that Zeek publishes: Event, LogCreate, LogWrite,
// IdentifierUpdate or Batch (Broker: zeek.hh).
type ZeekMessage interface {
	// Value returns the message as a vector, the form in which it is sent.
	Value() Value

	zeekType() uint64
}

// The message types of zeek.hh. Type 0 means "invalid" there.
const (
	typeEvent = iota + 1
	typeLogCreate
	typeLogWrite
	typeIdentifierUpdate
	typeBatch
)

const formatNumber = 1

// Event is a Zeek event: the qualified name of a script-level event and its
// arguments.
type Event struct {
	Name string

	// Args shares memory with the value that the event was parsed from, and
	// with the result of Value. Its elements must not be changed.
	Args []Value

	// Metadata is nil if the message has no metadata element, as in Zeek
	// before 6.0. It is empty but not nil if the element is empty, as in
	// events sent by Broker::publish in Zeek 8.0.
	Metadata []Metadata
}

// Metadata is one entry of an event's metadata. Zeek reserves the keys below
// 200.
type Metadata struct {
	Key   uint64
	Value Value
}

// MetadataNetworkTimestamp is the key of the network time at which the event
// was raised; its value is a timestamp.
const MetadataNetworkTimestamp = 1

// LogCreate announces a log stream.
type LogCreate struct {
	Stream, Writer string // enum labels
	WriterInfo     Value
	Fields         Value
}

// LogWrite carries one log record in Zeek's private threading format.
type LogWrite struct {
	Stream, Writer string // enum labels
	Path           string
	Data           string
}

// IdentifierUpdate assigns a new value to a global of the receiver.
type IdentifierUpdate struct {
	ID       string
	NewValue Value
}

// Batch holds several messages, which may be batches themselves.
type Batch []ZeekMessage

// NewEvent returns an event without metadata. It keeps args.
func NewEvent(name string, args ...Value) Event { return Event{Name: name, Args: args} }

// NetworkTimestamp returns the network time in the event's metadata. The
// result ok is false if there is none.
func (e Event) NetworkTimestamp() (t time.Time, ok bool) {
	for _, m := range e.Metadata {
		if m.Key == MetadataNetworkTimestamp {
			return m.Value.Timestamp()
		}
	}
	return time.Time{}, false
}

// String returns the event in the form of a call: name(arg, arg).
func (e Event) String() string {
	b := append([]byte(e.Name), '(')
	for i, a := range e.Args {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = a.appendText(b)
	}
	return string(append(b, ')'))
}

// Value implements ZeekMessage.
func (e Event) Value() Value {
	content := []Value{String(e.Name), Vector(e.Args...)}
	if e.Metadata != nil {
		meta := make([]Value, len(e.Metadata))
		for i, m := range e.Metadata {
			meta[i] = Vector(Count(m.Key), m.Value)
		}
		content = append(content, Vector(meta...))
	}
	return wrap(e, content...)
}

// Value implements ZeekMessage.
func (m LogCreate) Value() Value {
	return wrap(m, Enum(m.Stream), Enum(m.Writer), m.WriterInfo, m.Fields)
}

// Value implements ZeekMessage.
func (m LogWrite) Value() Value {
	return wrap(m, Enum(m.Stream), Enum(m.Writer), String(m.Path), String(m.Data))
}

// Value implements ZeekMessage.
func (m IdentifierUpdate) Value() Value { return wrap(m, String(m.ID), m.NewValue) }

// Value implements ZeekMessage.
func (m Batch) Value() Value {
	inner := make([]Value, len(m))
	for i, z := range m {
		inner[i] = z.Value()
	}
	return wrap(m, inner...)
}

func wrap(m ZeekMessage, content ...Value) Value {
	return Vector(Count(formatNumber), Count(m.zeekType()), Vector(content...))
}

func (Event) zeekType() uint64            { return typeEvent }
func (LogCreate) zeekType() uint64        { return typeLogCreate }
func (LogWrite) zeekType() uint64         { return typeLogWrite }
func (IdentifierUpdate) zeekType() uint64 { return typeIdentifierUpdate }
func (Batch) zeekType() uint64            { return typeBatch }

// ParseEvent returns the event that v encodes, with the checks of
// ParseZeekMessage. Messages of other types are errors, too. Errors wrap
// ErrInvalidMessage.
func ParseEvent(v Value) (Event, error) {
	typ, content, err := unwrap(v)
	if err != nil {
		return Event{}, err
	}
	if typ != typeEvent {
		return Event{}, invalid("type is %d, want %d (event)", typ, typeEvent)
	}
	return parseEvent(content)
}

// ParseZeekMessage returns the message that v encodes. It makes the checks of
// Zeek 6.2 and later: the format number must be 1, the type must be known, and
// the content must match the type. In a batch this applies to every message.
// Surplus elements are ignored. Errors wrap ErrInvalidMessage; their length
// does not depend on the size of v.
func ParseZeekMessage(v Value) (ZeekMessage, error) {
	typ, content, err := unwrap(v)
	if err != nil {
		return nil, err
	}
	switch typ {
	case typeEvent:
		return parseEvent(content)
	case typeLogCreate:
		return parseLogCreate(content)
	case typeLogWrite:
		return parseLogWrite(content)
	case typeIdentifierUpdate:
		id, ok := element(content, 0).Text()
		if !ok || content.Len() < 2 {
			return nil, invalid("identifier update is not [string, value]")
		}
		return IdentifierUpdate{ID: id, NewValue: content.At(1)}, nil
	case typeBatch:
		batch := make(Batch, 0, content.Len())
		for i := range content.Len() {
			m, err := ParseZeekMessage(content.At(i))
			if err != nil {
				return nil, fmt.Errorf("broker: batch element %d: %w", i, err)
			}
			batch = append(batch, m)
		}
		return batch, nil
	default:
		return nil, invalid("unknown type %d", typ)
	}
}

func unwrap(v Value) (typ uint64, content Value, err error) {
	if v.Kind() != KindVector || v.Len() < 3 {
		return 0, Value{}, invalid("want a vector of 3 elements, got a %s of length %d", v.Kind(), v.Len())
	}
	switch n, ok := v.At(0).Count(); {
	case !ok:
		return 0, Value{}, invalid("format number has kind %s, want count", v.At(0).Kind())
	case n != formatNumber:
		return 0, Value{}, invalid("format number is %d, want %d", n, formatNumber)
	}
	typ, ok := v.At(1).Count()
	if !ok {
		return 0, Value{}, invalid("type has kind %s, want count", v.At(1).Kind())
	}
	if v.At(2).Kind() != KindVector {
		return 0, Value{}, invalid("content has kind %s, want vector", v.At(2).Kind())
	}
	return typ, v.At(2), nil
}

func parseEvent(content Value) (Event, error) {
	name, ok := element(content, 0).Text()
	if !ok || element(content, 1).Kind() != KindVector {
		return Event{}, invalid("event is not [string, vector]")
	}
	e := Event{Name: name, Args: content.At(1).elems()}
	if content.Len() == 2 {
		return e, nil
	}
	meta, err := ParseMetadata(content.At(2))
	if err != nil {
		return Event{}, invalid("event %.80s: %v", name, err)
	}
	e.Metadata = meta
	return e, nil
}

// ParseMetadata returns the metadata of an event that v, the last element of the event,
// encodes.
func ParseMetadata(v Value) ([]Metadata, error) {
	if v.Kind() != KindVector {
		return nil, fmt.Errorf("metadata has kind %s, want vector", v.Kind())
	}
	all := make([]Metadata, v.Len())
	for i := range all {
		entry := v.At(i)
		key, ok := element(entry, 0).Count()
		if !ok || entry.Len() != 2 {
			return nil, fmt.Errorf("metadata element %d is not [count, value]", i)
		}
		value := entry.At(1)
		if key == MetadataNetworkTimestamp && value.Kind() != KindTimestamp {
			return nil, fmt.Errorf("metadata: network timestamp has kind %s, want timestamp", value.Kind())
		}
		all[i] = Metadata{Key: key, Value: value}
	}
	return all, nil
}

func parseLogCreate(content Value) (ZeekMessage, error) {
	stream, ok1 := element(content, 0).Enum()
	writer, ok2 := element(content, 1).Enum()
	if !ok1 || !ok2 || content.Len() < 4 {
		return nil, invalid("log create is not [enum, enum, writer info, fields]")
	}
	return LogCreate{stream, writer, content.At(2), content.At(3)}, nil
}

func parseLogWrite(content Value) (ZeekMessage, error) {
	stream, ok1 := element(content, 0).Enum()
	writer, ok2 := element(content, 1).Enum()
	path, ok3 := element(content, 2).Text()
	data, ok4 := element(content, 3).Text()
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return nil, invalid("log write is not [enum, enum, string, string]")
	}
	return LogWrite{stream, writer, path, data}, nil
}

// element returns element i of the container v, or none if v has no such
// element.
func element(v Value, i int) Value {
	if v.Kind() != KindVector || i >= v.Len() {
		return Value{}
	}
	return v.At(i)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("broker: %w: %s", ErrInvalidMessage, fmt.Sprintf(format, args...))
}
