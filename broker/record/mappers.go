package record

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

var (
	typeValue    = reflect.TypeFor[broker.Value]()
	typeAddr     = reflect.TypeFor[netip.Addr]()
	typePrefix   = reflect.TypeFor[netip.Prefix]()
	typePort     = reflect.TypeFor[broker.Port]()
	typeTime     = reflect.TypeFor[time.Time]()
	typeDuration = reflect.TypeFor[time.Duration]()
)

// enclosing lists the types that contain a type, outermost first.
type enclosing []reflect.Type

// compile returns the mapper of a type.
func compile(t reflect.Type, o fieldOptions, within enclosing) (*mapper, error) {
	m, err := compileType(t, o, within)
	if err != nil {
		return nil, err
	}
	m.typ = t
	return m, nil
}

func compileType(t reflect.Type, o fieldOptions, within enclosing) (*mapper, error) {
	if slices.Contains(within, t) {
		return nil, fmt.Errorf("record: Go type %s contains itself", t)
	}
	within = append(slices.Clip(within), t)
	switch t {
	case typeValue:
		return &mapper{
			marshal: func(v reflect.Value) (broker.Value, *Error) {
				return v.Interface().(broker.Value), nil
			},
			unmarshal: func(v broker.Value, into reflect.Value) *Error {
				into.Set(reflect.ValueOf(v))
				return nil
			},
		}, nil
	case typeAddr:
		return scalar(broker.Address, broker.Value.Address, "address").reads(readAddress), nil
	case typePrefix:
		return scalar(broker.Subnet, broker.Value.Subnet, "subnet"), nil
	case typePort:
		return portMapper(), nil
	case typeTime:
		return scalar(broker.Timestamp, broker.Value.Timestamp, "timestamp").reads(readTime), nil
	case typeDuration:
		return scalar(broker.Timespan, broker.Value.Timespan, "timespan").reads(read64(broker.KindTimespan)), nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return basic(broker.Boolean, broker.Value.Boolean, reflect.Value.Bool, reflect.Value.SetBool, nil, "boolean").reads(readBoolean), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		m := basic(broker.Count, broker.Value.Count, reflect.Value.Uint, reflect.Value.SetUint, reflect.Value.OverflowUint, "count")
		return m.reads64(t, broker.KindCount), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		m := basic(broker.Integer, broker.Value.Integer, reflect.Value.Int, reflect.Value.SetInt, reflect.Value.OverflowInt, "integer")
		return m.reads64(t, broker.KindInteger), nil
	case reflect.Float32, reflect.Float64:
		return basic(broker.Real, broker.Value.Real, reflect.Value.Float, reflect.Value.SetFloat, reflect.Value.OverflowFloat, "real"), nil
	case reflect.String:
		if o.enum {
			return compileEnum(t, o), nil
		}
		if o.base64 {
			return base64Mapper(), nil
		}
		return basic(broker.String, copyText, reflect.Value.String, reflect.Value.SetString, nil, "string").reads(readText(broker.KindString)), nil
	case reflect.Pointer:
		return compilePointer(t, o, within)
	case reflect.Slice:
		return compileSlice(t, o, within)
	case reflect.Map:
		return compileMap(t, o, within)
	case reflect.Struct:
		return compileStruct(t, within)
	}
	return nil, fmt.Errorf("record: Go type %s has no counterpart in Zeek", t)
}

// scalar returns the mapper of a type that has its own constructor and
// accessor. The string want is the name of the kind in errors.
func scalar[T any](make func(T) broker.Value, get func(broker.Value) (T, bool), want string) *mapper {
	return &mapper{
		marshal: func(v reflect.Value) (broker.Value, *Error) {
			return make(v.Interface().(T)), nil
		},
		unmarshal: func(v broker.Value, into reflect.Value) *Error {
			got, ok := get(v)
			if !ok {
				return mismatch(want, v)
			}
			*into.Addr().Interface().(*T) = got
			return nil
		},
	}
}

func portMapper() *mapper {
	m := scalar(broker.PortValue, broker.Value.Port, "port").reads(readPort)
	marshal := m.marshal
	m.marshal = func(v reflect.Value) (broker.Value, *Error) {
		if p := v.Interface().(broker.Port).Protocol; !p.Valid() {
			return broker.Value{}, &Error{Reason: "invalid port: " + p.String()}
		}
		return marshal(v)
	}
	return m
}

// copyText returns a copy of the string v, so that it does not retain the
// memory of the whole message.
func copyText(v broker.Value) (string, bool) {
	s, ok := v.Text()
	return strings.Clone(s), ok
}

// basic returns the mapper of a Go type whose underlying type is a basic type,
// of any size.
func basic[T any](make func(T) broker.Value, get func(broker.Value) (T, bool),
	load func(reflect.Value) T, store func(reflect.Value, T), overflows func(reflect.Value, T) bool, want string) *mapper {
	return &mapper{
		marshal: func(v reflect.Value) (broker.Value, *Error) { return make(load(v)), nil },
		unmarshal: func(v broker.Value, into reflect.Value) *Error {
			got, ok := get(v)
			if !ok {
				return mismatch(want, v)
			}
			if overflows != nil && overflows(into, got) {
				return &Error{Reason: fmt.Sprintf("%v does not fit %s", got, into.Type())}
			}
			store(into, got)
			return nil
		},
	}
}

// base64Mapper maps a string of any bytes to its base64 text.
func base64Mapper() *mapper {
	return &mapper{
		marshal: func(v reflect.Value) (broker.Value, *Error) {
			return broker.String(base64.StdEncoding.EncodeToString([]byte(v.String()))), nil
		},
		unmarshal: func(v broker.Value, into reflect.Value) *Error {
			text, ok := v.Text()
			if !ok {
				return mismatch("string", v)
			}
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return &Error{Reason: "want base64, got other text"}
			}
			into.SetString(string(data))
			return nil
		},
	}
}

// validator is implemented by enum types that know their labels.
type validator interface{ Valid() bool }

var typeValidator = reflect.TypeFor[validator]()

func compileEnum(t reflect.Type, o fieldOptions) *mapper {
	scope := o.scope
	checked := t.Implements(typeValidator)
	valid := func(v reflect.Value) bool { return !checked || v.Interface().(validator).Valid() }
	// A label is checked once per type; the results are remembered, as a type
	// has few labels.
	var known, labels memo
	read := readText(broker.KindEnum)
	if scope != "" || checked {
		read = readLabel(&known)
	}
	return &mapper{
		read: read,
		marshal: func(v reflect.Value) (broker.Value, *Error) {
			if label, ok := labels.get(v.String()); ok {
				return broker.Enum(label), nil
			}
			if v.String() == "" && o.fallback != "" {
				return broker.Enum(scope + o.fallback), nil
			}
			if !valid(v) {
				return broker.Value{}, &Error{Reason: fmt.Sprintf("%q is not a label of %s", v.String(), t)}
			}
			label := scope + v.String()
			if checked {
				labels.put(strings.Clone(v.String()), label)
			}
			return broker.Enum(label), nil
		},
		unmarshal: func(v broker.Value, into reflect.Value) *Error {
			label, ok := v.Enum()
			if !ok {
				return mismatch("enum-value", v)
			}
			if name, ok := known.get(label); ok {
				into.SetString(name)
				return nil
			}
			name, ok := strings.CutPrefix(strings.Clone(label), scope)
			into.SetString(name)
			if !ok || !valid(into) {
				return &Error{Reason: fmt.Sprintf("unknown enum label %.80q", label)}
			}
			if checked {
				known.put(strings.Clone(label), name)
			}
			return nil
		},
	}
}

// memo is a concurrent map that is read far more often than written.
type memo struct {
	mu  sync.Mutex // serializes writers
	all atomic.Pointer[map[string]string]
}

func (m *memo) get(key string) (value string, ok bool) {
	if all := m.all.Load(); all != nil {
		value, ok = (*all)[key]
	}
	return value, ok
}

func (m *memo) put(key, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]string)
	if old := m.all.Load(); old != nil {
		maps.Copy(all, *old)
	}
	all[key] = value
	m.all.Store(&all)
}

func compilePointer(t reflect.Type, o fieldOptions, within enclosing) (*mapper, error) {
	elem, err := compile(t.Elem(), o, within)
	if err != nil {
		return nil, err
	}
	return &mapper{
		read: readPointer(t, elem),
		marshal: func(v reflect.Value) (broker.Value, *Error) {
			if v.IsNil() {
				return broker.None(), nil
			}
			return elem.marshal(v.Elem())
		},
		unmarshal: func(v broker.Value, into reflect.Value) *Error {
			if v.IsNone() {
				into.SetZero()
				return nil
			}
			into.Set(reflect.New(t.Elem()))
			return elem.unmarshal(v, into.Elem())
		},
	}, nil
}

func compileSlice(t reflect.Type, o fieldOptions, within enclosing) (*mapper, error) {
	elem, err := compile(t.Elem(), fieldOptions{enum: o.enum, scope: o.scope}, within)
	if err != nil {
		return nil, err
	}
	kind := broker.KindVector
	if o.set {
		kind = broker.KindSet
	}
	return &mapper{
		read: readSlice(t, elem, o),
		marshal: func(v reflect.Value) (broker.Value, *Error) {
			elems := make([]broker.Value, v.Len())
			for i := range elems {
				e, err := elem.marshal(v.Index(i))
				if err != nil {
					return broker.Value{}, err.at(i)
				}
				elems[i] = e
			}
			if o.set {
				return broker.Set(elems...), nil
			}
			return broker.Vector(elems...), nil
		},
		unmarshal: func(v broker.Value, into reflect.Value) *Error {
			if v.Kind() != kind {
				return mismatch(kind.String(), v)
			}
			s := reflect.MakeSlice(t, v.Len(), v.Len())
			for i := range v.Len() {
				if err := elem.unmarshal(v.At(i), s.Index(i)); err != nil {
					return err.at(i)
				}
			}
			into.Set(s)
			return nil
		},
	}, nil
}

func compileMap(t reflect.Type, o fieldOptions, within enclosing) (*mapper, error) {
	key, err := compile(t.Key(), fieldOptions{}, within)
	if err != nil {
		return nil, err
	}
	value, err := compile(t.Elem(), fieldOptions{enum: o.enum, scope: o.scope}, within)
	if err != nil {
		return nil, err
	}
	return &mapper{
		marshal: func(v reflect.Value) (broker.Value, *Error) {
			entries := make([]broker.Entry, 0, v.Len())
			for it := v.MapRange(); it.Next(); {
				k, err := key.marshal(it.Key())
				if err != nil {
					return broker.Value{}, err.in("key")
				}
				e, err := value.marshal(it.Value())
				if err != nil {
					return broker.Value{}, err.in(keyPath(k))
				}
				entries = append(entries, broker.Entry{Key: k, Value: e})
			}
			return broker.Table(entries...), nil
		},
		unmarshal: func(v broker.Value, into reflect.Value) *Error {
			if v.Kind() != broker.KindTable {
				return mismatch("table", v)
			}
			m := reflect.MakeMapWithSize(t, v.Len())
			for k, e := range v.Entries() {
				rk, re := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
				if err := key.unmarshal(k, rk); err != nil {
					return err.in("key" + keyPath(k))
				}
				if err := value.unmarshal(e, re); err != nil {
					return err.in(keyPath(k))
				}
				m.SetMapIndex(rk, re)
			}
			into.Set(m)
			return nil
		},
	}, nil
}

// keyPath returns the path element for a table entry. It is shortened because
// a peer may have sent a key of any size.
func keyPath(k broker.Value) string { return fmt.Sprintf("[%.80s]", k) }

// field is one field of a record.
type field struct {
	name   string
	index  []int
	offset uintptr // in the struct
	fieldOptions
	*mapper
}

func compileStruct(t reflect.Type, within enclosing) (*mapper, error) {
	fields, err := fieldsOf(t, within)
	if err != nil {
		return nil, err
	}
	required := len(fields)
	for required > 0 && fields[required-1].trailing {
		required--
	}
	return &mapper{
		read: readStruct(fields, required),
		marshal: func(v reflect.Value) (broker.Value, *Error) {
			elems := make([]broker.Value, len(fields))
			for i, f := range fields {
				fv := v.FieldByIndex(f.index)
				if f.optional && fv.IsZero() {
					continue
				}
				e, err := f.marshal(fv)
				if err != nil {
					return broker.Value{}, err.in(f.name)
				}
				elems[i] = e
			}
			for n := len(elems); n > 0 && fields[n-1].extension && elems[n-1].IsNone(); n-- {
				elems = elems[:n-1]
			}
			return broker.Vector(elems...), nil
		},
		unmarshal: func(v broker.Value, into reflect.Value) *Error {
			if v.Kind() != broker.KindVector {
				return mismatch("vector", v)
			}
			if v.Len() < required {
				return &Error{Reason: fmt.Sprintf("want a record of %d fields, got %d", required, v.Len())}
			}
			for i, f := range fields {
				fv := into.FieldByIndex(f.index)
				if i >= v.Len() || f.optional && v.At(i).IsNone() {
					fv.SetZero()
					continue
				}
				if err := f.unmarshal(v.At(i), fv); err != nil {
					return err.in(f.name)
				}
			}
			return nil
		},
	}, nil
}

func fieldsOf(t reflect.Type, within enclosing) ([]field, error) {
	tagged, err := taggedFields(t)
	if err != nil {
		return nil, err
	}
	fields := make([]field, len(tagged))
	for i, f := range tagged {
		m, err := compile(f.Type, f.options, within)
		if err != nil {
			return nil, fmt.Errorf("%w (field %s of %s)", err, f.Name, f.of)
		}
		fields[i] = field{f.name, f.Index, f.Offset, f.options, m}
	}
	return fields, nil
}

// isRecord reports whether t is a struct that maps to a record and not to a
// scalar.
func isRecord(t reflect.Type) bool {
	switch t {
	case typeValue, typeAddr, typePrefix, typePort, typeTime:
		return false
	}
	return t.Kind() == reflect.Struct
}
