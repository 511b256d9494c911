// Package record maps Go structs to Zeek records and back.
//
// Marshal and Unmarshal convert between a Go value and the broker.Value that a
// Zeek script would send or receive for it. Struct tags name the fields. TypeOf
// describes the Zeek type that a Go type maps to.
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

// Marshal returns the Broker value of a Go value, as a Zeek event or record
// would carry it:
//
//	bool, uint64, int64, float64, string   boolean, count, integer, real, string
//	netip.Addr, netip.Prefix, broker.Port  address, subnet, port
//	time.Time, time.Duration               timestamp, timespan
//	struct                                 record: a vector of its fields in order
//	[]T, map[K]V                           vector, table
//	broker.Value                           Zeek's any: itself
//
// Other sizes of integers and floats work as well. A field's tag
//
//	`zeek:"name,option,..."`
//
// gives the name of the Zeek field, for errors, and options: "optional" (none
// stands for the zero value, and for a nil pointer), "trailing" (may be
// missing at the end of a record, as in older Zeeks), "set" (a slice is a set),
// "enum=Scope" (a string is the enum label Scope::string; "enum" alone: the
// whole label), "default=LABEL" (the label that an empty string of an enum is
// marshaled as). The tag "-" leaves a field out; an embedded struct contributes
// its fields.
//
// Marshal fails on Go types that have no counterpart, such as those that contain
// themselves, on ports without a valid protocol, and on strings with an enum
// option that are not Valid, if their type has that method.
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

// Unmarshal stores v in what into, a non-nil pointer, points to: the inverse
// of Marshal. Elements that a record has beyond the fields of a struct are
// ignored, as Zeek does. Strings are copied, so that to keep one is not to keep
// the message that it came in; a broker.Value is not. If v does not fit, the
// error is a *Error and what into points to may be half stored.
func Unmarshal(v broker.Value, into any) error {
	rv := reflect.ValueOf(into)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return fmt.Errorf("record: unmarshal into %T, want a non-nil pointer", into)
	}
	m, err := mapperOf(rv.Type().Elem())
	if err != nil {
		return err
	}
	if merr := m.unmarshal(v, rv.Elem()); merr != nil {
		return merr
	}
	return nil
}

// Error says what in a value did not fit a Go type, and where.
type Error struct {
	Path string // such as "config.nodes[3].p"; "" for the value itself
	What string // such as "want port, got string"
}

func (e *Error) Error() string {
	if e.Path == "" {
		return "record: " + e.What
	}
	return "record: " + e.Path + ": " + e.What
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
	return &Error{What: "want " + want + ", got " + got.Kind().String()}
}

// mapper is the compiled form of a Go type, so that the type is looked at once
// and not for every value.
type mapper struct {
	marshal   func(reflect.Value) (broker.Value, *Error)
	unmarshal func(broker.Value, reflect.Value) *Error
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

// fieldOptions is what a tag says beyond the name.
type fieldOptions struct {
	optional, trailing, set, enum bool
	scope                         string // of the enum, with "::"
	fallback                      string // label of an empty string, without the scope
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
		case "set":
			o.set = true
		case "enum":
			o.enum = true
			if value != "" {
				o.scope = value + "::"
			}
		case "default":
			o.fallback = value
		default:
			return "", o, fmt.Errorf("record: field %s has unknown tag option %q", f.Name, option)
		}
	}
	return name, o, nil
}
