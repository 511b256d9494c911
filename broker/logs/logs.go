// Package logs reads the log records that Zeeks send to each other.
//
// A Zeek announces each log stream to every new native peer with a LogCreate,
// which says what the fields are, whatever the peer subscribes to. Then it sends
// records, as LogWrites in batches, to who subscribes to zeek/logs/. What is in
// them is a private format of Zeek's (Zeek: threading::Value::Write), which has
// been the same since 5.0. Nothing here sends logs: a Zeek would take them for
// its own.
package logs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
)

// Limits of what a peer can announce, which a Catalog keeps. The largest streams
// of Zeek, with the extensions of its analyzers, have less than a hundred
// fields and 2 KiB of names.
const (
	MaxFields  = 1024     // of a stream
	MaxNames   = 32 << 10 // bytes in all names of a stream together
	MaxStreams = 4096     // of a Catalog
)

var (
	// ErrMalformed is wrapped by the errors about log messages that are not as
	// Zeek writes them, or not as the stream was announced.
	ErrMalformed = errors.New("malformed log message")

	// ErrUnknownStream is wrapped by the error for a record of a stream that was
	// not announced.
	ErrUnknownStream = errors.New("unknown log stream")

	// ErrTooManyStreams is returned for a stream that a Catalog has no room for.
	ErrTooManyStreams = errors.New("logs: too many streams")
)

// Type is the type of a field in Zeek's scripts.
type Type uint8

// The types that fields have. The numbers are Zeek's (Zeek: TypeTag); the gaps
// are types that cannot be logged.
const (
	TypeVoid     Type = 0 // no subtype
	TypeBool     Type = 1
	TypeInt      Type = 2
	TypeCount    Type = 3
	TypeDouble   Type = 4
	TypeTime     Type = 5
	TypeInterval Type = 6
	TypeString   Type = 7
	TypeEnum     Type = 9
	TypePort     Type = 10
	TypeAddr     Type = 11
	TypeSubnet   Type = 12
	TypeSet      Type = 14
	TypeFunc     Type = 17
	TypeFile     Type = 18
	TypeVector   Type = 19
)

var typeNames = map[Type]string{
	TypeVoid: "void", TypeBool: "bool", TypeInt: "int", TypeCount: "count", TypeDouble: "double",
	TypeTime: "time", TypeInterval: "interval", TypeString: "string", TypeEnum: "enum",
	TypePort: "port", TypeAddr: "addr", TypeSubnet: "subnet", TypeSet: "set", TypeFunc: "func",
	TypeFile: "file", TypeVector: "vector",
}

// String returns the name that Zeek writes on top of its log files, such as
// "addr".
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

func (t Type) isContainer() bool { return t == TypeSet || t == TypeVector }

// Field is a column of a log.
type Field struct {
	Name     string // records within records are flattened: "id.orig_h"
	Type     Type
	Subtype  Type // of the elements of sets and vectors
	Optional bool // may be unset
}

// TypeName returns the type in full, such as "set[addr]".
func (f Field) TypeName() string {
	if f.Type.isContainer() {
		return f.Type.String() + "[" + f.Subtype.String() + "]"
	}
	return f.Type.String()
}

// Stream is what a LogCreate announces: records of a stream for one path. A
// stream has several paths where filters split it.
type Stream struct {
	ID, Writer string // enum labels, such as Conn::LOG and Log::WRITER_ASCII
	Path       string // name of the log file without extension
	Fields     []Field
}

// ParseStream reads a LogCreate. The result shares no memory with it. Errors
// wrap ErrMalformed.
func ParseStream(m broker.LogCreate) (*Stream, error) {
	fail := func(format string, args ...any) (*Stream, error) {
		return nil, malformed(m.Stream, fmt.Errorf(format, args...))
	}
	var path string
	var ok bool
	if m.WriterInfo.Kind() == broker.KindVector && m.WriterInfo.Len() > 0 {
		path, ok = m.WriterInfo.At(0).Text()
	}
	if !ok {
		return fail("writer info does not begin with a path")
	}
	if m.Fields.Kind() != broker.KindVector {
		return fail("fields are a %s, want vector", m.Fields.Kind())
	}
	if n := m.Fields.Len(); n > MaxFields {
		return fail("%d fields, limit is %d", n, MaxFields)
	}
	fields := make([]Field, m.Fields.Len())
	names := len(m.Stream) + len(m.Writer) + len(path)
	for i := range fields {
		f, err := parseField(m.Fields.At(i))
		if err != nil {
			return fail("field %d: %w", i, err)
		}
		names += len(f.Name)
		fields[i] = f
	}
	if names > MaxNames {
		return fail("%d bytes of names, limit is %d", names, MaxNames)
	}
	for i := range fields {
		fields[i].Name = strings.Clone(fields[i].Name)
	}
	return &Stream{
		ID: strings.Clone(m.Stream), Writer: strings.Clone(m.Writer), Path: strings.Clone(path),
		Fields: fields,
	}, nil
}

// malformed is the error about a message of a stream, which a peer may have
// given any name.
func malformed(stream string, err error) error {
	return fmt.Errorf("logs: %w: stream %.80s: %w", ErrMalformed, stream, err)
}

// parseField reads [name, secondary name, type, subtype, optional]. The
// secondary name is for readers of files (Zeek: threading::Field).
func parseField(v broker.Value) (Field, error) {
	if v.Kind() != broker.KindVector || v.Len() < 5 {
		return Field{}, fmt.Errorf("%s of %d, want vector of 5", v.Kind(), v.Len())
	}
	name, ok1 := v.At(0).Text()
	typ, ok2 := v.At(2).Count()
	subtype, ok3 := v.At(3).Count()
	optional, ok4 := v.At(4).Boolean()
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return Field{}, errors.New("not [string, string, count, count, boolean]")
	}
	if typ > 255 || subtype > 255 {
		return Field{}, fmt.Errorf("%.80s has the type %d of %d", name, typ, subtype)
	}
	f := Field{Name: name, Type: Type(typ), Optional: optional}
	if f.Type.isContainer() {
		f.Subtype = Type(subtype)
	}
	return f, nil
}

// Row is a log record.
type Row struct {
	Stream *Stream
	Values []broker.Value // as many as the stream has fields; none where unset
}

// Row reads a record of the stream. Errors name the field and the offset in
// the record's data.
func (s *Stream) Row(m broker.LogWrite) (Row, error) {
	r := reader{data: m.Data}
	values := r.record(s)
	if r.err != nil {
		return Row{}, malformed(s.ID, r.err)
	}
	return Row{s, values}, nil
}

// Values reads a record of a stream of which nothing is known: records tell
// the types of their fields, but not the names.
func Values(m broker.LogWrite) ([]broker.Value, error) {
	r := reader{data: m.Data}
	values := r.record(nil)
	if r.err != nil {
		return nil, malformed(m.Stream, r.err)
	}
	return values, nil
}

// Get returns the value of a field by its name, or none.
func (r Row) Get(name string) broker.Value {
	for i, f := range r.Stream.Fields {
		if f.Name == name {
			return r.Values[i]
		}
	}
	return broker.None()
}

// String returns the fields that are set: name=value name=value.
func (r Row) String() string {
	var b strings.Builder
	for i, v := range r.Values {
		if v.IsNone() {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(r.Stream.Fields[i].Name)
		b.WriteByte('=')
		b.WriteString(v.String())
	}
	return b.String()
}

// Catalog keeps what one peer announced. It is for one goroutine. The zero
// Catalog is empty.
type Catalog struct {
	streams map[streamKey]*Stream
}

type streamKey struct{ id, writer, path string }

// Add takes an announcement, which replaces an earlier one of the same stream,
// writer and path.
func (c *Catalog) Add(m broker.LogCreate) (*Stream, error) {
	s, err := ParseStream(m)
	if err != nil {
		return nil, err
	}
	key := streamKey{s.ID, s.Writer, s.Path}
	if c.streams[key] == nil && len(c.streams) == MaxStreams {
		return nil, ErrTooManyStreams
	}
	if c.streams == nil {
		c.streams = make(map[streamKey]*Stream)
	}
	c.streams[key] = s
	return s, nil
}

// Row reads a record of a stream that was announced.
func (c *Catalog) Row(m broker.LogWrite) (Row, error) {
	s := c.streams[streamKey{m.Stream, m.Writer, m.Path}]
	if s == nil {
		return Row{}, fmt.Errorf("logs: %w: %.80s by %.80s at %.80s", ErrUnknownStream, m.Stream, m.Writer, m.Path)
	}
	return s.Row(m)
}
