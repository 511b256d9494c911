// Package record converts between Go values and Zeek values.
//
// Marshal and Unmarshal convert between a Go value and the broker.Value that a
// Zeek script sends or receives for it. Structs become records, and their tags
// name the fields. TypeOf describes the Zeek type of a Go type.
//
// A Go type is analyzed once, on first use. All functions may be called
// concurrently.
package record

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// Marshal returns the Broker value of the Go value v, in the form that Zeek
// uses for event arguments and record fields:
//
//	bool, uint64, int64, float64, string   boolean, count, integer, real, string
//	netip.Addr, netip.Prefix, broker.Port  address, subnet, port
//	time.Time, time.Duration               timestamp, timespan
//	struct                                 record: a vector of its fields in order
//	[]T, map[K]V                           vector, table
//	broker.Value                           Zeek's any: itself
//
// Integers and floats of other sizes are accepted as well. A field's tag
//
//	`zeek:"name,option,..."`
//
// gives the name of the Zeek field, which appears in errors, and options:
//
//   - optional: none represents the zero value and the nil pointer
//   - trailing: the field may be missing at the end of a record, as in older
//     versions of Zeek
//   - extension: the field is not part of Zeek's record. It is optional and
//     trailing, and Marshal omits it at the end of a record if it is zero, so
//     that a record without extensions is Zeek's
//   - set: the slice maps to a set instead of a vector
//   - enum=Scope: the string s maps to the enum label Scope::s; with "enum"
//     alone the string is the whole label
//   - base64: the string, which may have any bytes, maps to its base64 text
//   - default=LABEL: Marshal replaces an empty enum string by LABEL
//
// The tag "-" omits a field. An embedded struct contributes its fields.
//
// Marshal fails on Go types without a Zeek counterpart, including recursive
// types, and on ports with an invalid protocol. It fails on enum strings whose
// type has a method Valid() bool that returns false.
func Marshal(v any) (broker.Value, error) {
	if v == nil {
		return broker.None(), nil
	}
	rv := reflect.ValueOf(v)
	m, err := mapperOf(rv.Type())
	if err != nil {
		return broker.Value{}, err
	}
	out, merr := m.marshal(rv)
	if merr != nil {
		return broker.Value{}, merr
	}
	return out, nil
}

// Unmarshal stores v in the variable that into points to; into must be a
// non-nil pointer. It is the inverse of Marshal. Surplus elements of a record
// are ignored, as in Zeek. Strings are copied, so that they do not retain the
// memory of the message; a broker.Value is not copied. If v does not match the
// Go type, the error is an *Error and the variable may be partly written.
func Unmarshal(v broker.Value, into any) error {
	rv, err := variable(into)
	if err != nil {
		return err
	}
	m, err := mapperOf(rv.Type())
	if err != nil {
		return err
	}
	if merr := m.unmarshal(v, rv); merr != nil {
		return merr
	}
	return nil
}

// variable returns the variable that into points to.
func variable(into any) (reflect.Value, error) {
	rv := reflect.ValueOf(into)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return reflect.Value{}, fmt.Errorf("record: unmarshal into %T, want a non-nil pointer", into)
	}
	return rv.Elem(), nil
}

// Error describes a mismatch between a value and a Go type.
type Error struct {
	Path   string // position in the value, such as "config.nodes[3].p"; "" for the whole value
	Reason string // description, such as "want port, got string"
}

func (e *Error) Error() string {
	if e.Path == "" {
		return "record: " + e.Reason
	}
	return "record: " + e.Path + ": " + e.Reason
}

func (e *Error) in(field string) *Error {
	switch {
	case e.Path == "":
		e.Path = field
	case strings.HasPrefix(e.Path, "["):
		e.Path = field + e.Path
	default:
		e.Path = field + "." + e.Path
	}
	return e
}

func (e *Error) at(i int) *Error { return e.in("[" + strconv.Itoa(i) + "]") }

func mismatch(want string, got broker.Value) *Error {
	return &Error{Reason: "want " + want + ", got " + got.Kind().String()}
}

// mapper is the compiled form of a Go type. It saves analyzing the type for
// every value.
type mapper struct {
	typ       reflect.Type
	marshal   func(reflect.Value) (broker.Value, *Error)
	unmarshal func(broker.Value, reflect.Value) *Error

	// read is used by UnmarshalBinary. It may be nil.
	read reader
}

var mappers sync.Map // of reflect.Type to *mapper

func mapperOf(t reflect.Type) (*mapper, error) {
	if m, ok := mappers.Load(t); ok {
		return m.(*mapper), nil
	}
	m, err := compile(t, fieldOptions{}, nil)
	if err != nil {
		return nil, err
	}
	actual, _ := mappers.LoadOrStore(t, m)
	return actual.(*mapper), nil
}

// fieldOptions holds the options of a field's tag.
type fieldOptions struct {
	optional, trailing, extension, set, enum, base64 bool
	scope                                            string // of the enum, with "::"
	fallback                                         string // label of an empty string, without the scope
}

// taggedField is a field of a struct, or of a struct embedded in it, that maps to a field of
// a record.
type taggedField struct {
	reflect.StructField // with the index and the offset in the outer struct

	name    string // in Zeek
	options fieldOptions
	of      reflect.Type // the struct that declares the field
}

// taggedFields returns the fields of a struct that map to fields of a record, in order.
func taggedFields(t reflect.Type) ([]taggedField, error) {
	var fields []taggedField
	for i := range t.NumField() {
		sf := t.Field(i)
		if sf.Tag.Get("zeek") == "-" {
			continue
		}
		if sf.Anonymous && isRecord(sf.Type) {
			promoted, err := taggedFields(sf.Type)
			if err != nil {
				return nil, err
			}
			for _, f := range promoted {
				f.Index = append([]int{i}, f.Index...)
				f.Offset += sf.Offset
				fields = append(fields, f)
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		name, o, err := parseTag(sf)
		if err != nil {
			return nil, err
		}
		fields = append(fields, taggedField{sf, name, o, t})
	}
	return fields, nil
}

func parseTag(f reflect.StructField) (name string, o fieldOptions, err error) {
	name, rest, _ := strings.Cut(f.Tag.Get("zeek"), ",")
	if name == "" {
		name = strings.ToLower(f.Name)
	}
	for _, option := range strings.Split(rest, ",") {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "":
		case "optional":
			o.optional = true
		case "trailing":
			o.trailing = true
		case "extension":
			o.optional, o.trailing, o.extension = true, true, true
		case "set":
			o.set = true
		case "enum":
			o.enum = true
			if value != "" {
				o.scope = value + "::"
			}
		case "base64":
			o.base64 = true
		case "default":
			o.fallback = value
		default:
			return "", o, fmt.Errorf("record: field %s has unknown tag option %q", f.Name, option)
		}
	}
	return name, o, nil
}
