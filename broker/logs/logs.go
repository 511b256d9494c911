// Package logs decodes the log records that Zeek nodes send to each other.
//
// Zeek announces each log stream to every new native peer with a LogCreate,
// which describes the fields, independent of subscriptions. Then it sends
// records, as LogWrites in batches, to subscribers of zeek/logs/. The encoding
// of the records is private to Zeek (Zeek: threading::Value::Write), and
// unchanged since 5.0. This package does not send log records, because Zeek
// would write them to its own logs.
package logs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
)

// Limits of a peer's announcements, which a Catalog stores. The largest
// streams of Zeek, including fields that other scripts add, have less than a
// hundred fields and 2 KiB of names.
const (
	MaxFields  = 1024     // fields of a stream
	MaxNames   = 32 << 10 // total bytes in the names of a stream
	MaxStreams = 4096     // streams in a Catalog
)

var (
	// ErrMalformed is wrapped by errors about log messages that deviate from
	// Zeek's encoding, or from the announcement of their stream.
	ErrMalformed = errors.New("malformed log message")

	// ErrUnknownStream is wrapped by the error for a record of a stream that
	// has not been announced.
	ErrUnknownStream = errors.New("unknown log stream")

	// ErrTooManyStreams is the error for a new stream if the Catalog has
	// MaxStreams already.
	ErrTooManyStreams = errors.New("logs: too many streams")
)

// Type is the Zeek type of a field.
type Type uint8

// The types of fields. The numbers are Zeek's (Zeek: TypeTag), which include
// types that cannot be logged.
const (
	TypeVoid     Type = 0 // used as "no subtype"
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

// String returns the name of t in the header of Zeek's log files, such as
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
	Name     string // fields of nested records are flattened: "id.orig_h"
	Type     Type
	Subtype  Type // of the elements of sets and vectors
	Optional bool // may be unset
}

// TypeName returns the full name of the type, such as "set[addr]".
func (f Field) TypeName() string {
	if f.Type.isContainer() {
		return f.Type.String() + "[" + f.Subtype.String() + "]"
	}
	return f.Type.String()
}

// Stream is the content of a LogCreate. It describes the records of a log
// stream for one path. Filters can split a stream into several paths.
type Stream struct {
	ID, Writer string // enum labels, such as Conn::LOG and Log::WRITER_ASCII
	Path       string // name of the log file without extension
	Fields     []Field
}

// ParseStream decodes a LogCreate. The result does not share memory with m.
// Errors wrap ErrMalformed.
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
		return fail("fields have kind %s, want vector", m.Fields.Kind())
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

// malformed returns an error about a message of a stream. It shortens the
// name, which is chosen by the peer.
func malformed(stream string, err error) error {
	return fmt.Errorf("logs: %w: stream %.80s: %w", ErrMalformed, stream, err)
}

// parseField decodes [name, secondary name, type, subtype, optional]. Zeek
// uses the secondary name only for reading files (Zeek: threading::Field).
func parseField(v broker.Value) (Field, error) {
	if v.Kind() != broker.KindVector || v.Len() < 5 {
		return Field{}, fmt.Errorf("want a vector of 5 elements, got a %s of length %d", v.Kind(), v.Len())
	}
	name, ok1 := v.At(0).Text()
	typ, ok2 := v.At(2).Count()
	subtype, ok3 := v.At(3).Count()
	optional, ok4 := v.At(4).Boolean()
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return Field{}, errors.New("not [string, string, count, count, boolean]")
	}
	if typ > 255 || subtype > 255 {
		return Field{}, fmt.Errorf("%.80s has invalid type %d with subtype %d", name, typ, subtype)
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
	Values []broker.Value // one per field of the stream; none if unset
}

// Row decodes a record of the stream. Errors wrap ErrMalformed, and give the
// field and the offset in the record's data.
func (s *Stream) Row(m broker.LogWrite) (Row, error) {
	r := reader{data: m.Data}
	values := r.record(s)
	if r.err != nil {
		return Row{}, malformed(s.ID, r.err)
	}
	return Row{s, values}, nil
}

// Values decodes a record without knowledge of its stream: records contain the
// types of their fields, but not the names. Errors wrap ErrMalformed.
func Values(m broker.LogWrite) ([]broker.Value, error) {
	r := reader{data: m.Data}
	values := r.record(nil)
	if r.err != nil {
		return nil, malformed(m.Stream, r.err)
	}
	return values, nil
}

// Get returns the value of the field with the given name, or none if the field
// is unset or does not exist.
func (r Row) Get(name string) broker.Value {
	for i, f := range r.Stream.Fields {
		if f.Name == name {
			return r.Values[i]
		}
	}
	return broker.None()
}

// String returns the fields that are set, in the form name=value name=value.
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

// Catalog stores the stream announcements of one peer. The zero Catalog is
// empty and ready to use. A Catalog must not be used concurrently.
type Catalog struct {
	streams map[streamKey]*Stream
}

type streamKey struct{ id, writer, path string }

// Add stores an announcement. It replaces an earlier one of the same stream,
// writer and path. Errors wrap ErrMalformed or ErrTooManyStreams.
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

// Row decodes a record of an announced stream. Errors wrap ErrUnknownStream or
// ErrMalformed.
func (c *Catalog) Row(m broker.LogWrite) (Row, error) {
	s := c.streams[streamKey{m.Stream, m.Writer, m.Path}]
	if s == nil {
		return Row{}, fmt.Errorf("logs: %w: %.80s by %.80s at %.80s", ErrUnknownStream, m.Stream, m.Writer, m.Path)
	}
	return s.Row(m)
}
