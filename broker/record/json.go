package record

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/broker"
)

// AppendJSON appends v to text as JSON, with the field names and options of the tags that
// Marshal uses, and returns the extended text:
//
//	bool, numbers, string       true, 1, "text"
//	netip.Addr, netip.Prefix    "192.0.2.1", "192.0.2.0/24"
//	broker.Port                 80, or "53/udp" if the protocol is not TCP
//	time.Time, time.Duration    "2006-01-02T15:04:05.999Z", "1m30s"
//	struct, map[string]T, []T   objects and arrays
//	interface                   the value in it
//
// Optional fields are omitted if they are zero. Otherwise, the zero netip.Addr,
// broker.Port and time.Time, nil pointers, and numbers that JSON cannot express are null.
// Strings with the option base64 are base64 text. In other strings, each byte that is not
// UTF-8 is replaced by U+FFFD.
//
// AppendJSON fails on a broker.Value, and on Go types on which Marshal fails.
func AppendJSON(text []byte, v any) ([]byte, error) {
	if v == nil {
		return append(text, "null"...), nil
	}
	rv := reflect.ValueOf(v)
	c, err := jsonCodecOf(rv.Type(), fieldOptions{})
	if err != nil {
		return text, err
	}
	return c.append(text, rv)
}

// jsonCodec is the compiled form of a Go type for JSON.
type jsonCodec struct {
	append func(text []byte, v reflect.Value) ([]byte, error)
	assign func(a *assignment, path string, from any, into reflect.Value)
}

type jsonKey struct {
	t reflect.Type
	o fieldOptions
}

var jsonCodecs sync.Map // of jsonKey to *jsonCodec

func jsonCodecOf(t reflect.Type, o fieldOptions) (*jsonCodec, error) {
	key := jsonKey{t, fieldOptions{enum: o.enum, base64: o.base64}}
	if c, ok := jsonCodecs.Load(key); ok {
		return c.(*jsonCodec), nil
	}
	c, err := compileJSON(t, key.o)
	if err != nil {
		return nil, err
	}
	actual, _ := jsonCodecs.LoadOrStore(key, c)
	return actual.(*jsonCodec), nil
}

func compileJSON(t reflect.Type, o fieldOptions) (*jsonCodec, error) {
	switch t {
	case typeValue:
		return nil, fmt.Errorf("record: %s has no form in JSON", t)
	case typeAddr:
		return textJSON(netip.Addr.String, netip.ParseAddr, netip.Addr.IsValid, "IP address, such as 192.0.2.1"), nil
	case typePrefix:
		return textJSON(netip.Prefix.String, netip.ParsePrefix, netip.Prefix.IsValid, "network, such as 192.0.2.0/24"), nil
	case typePort:
		return portJSON, nil
	case typeTime:
		parse := func(s string) (time.Time, error) { return time.Parse(time.RFC3339Nano, s) }
		format := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
		return textJSON(format, parse, func(t time.Time) bool { return !t.IsZero() }, "time as in RFC 3339, such as 2006-01-02T15:04:05Z"), nil
	case typeDuration:
		return textJSON(time.Duration.String, time.ParseDuration, func(time.Duration) bool { return true }, "duration, such as 1m30s"), nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return boolJSON, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return countJSON, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integerJSON, nil
	case reflect.Float32, reflect.Float64:
		return realJSON, nil
	case reflect.String:
		switch {
		case o.enum:
			return enumJSON(t), nil
		case o.base64:
			return base64JSON, nil
		}
		return stringJSON, nil
	case reflect.Pointer:
		return pointerJSON(t, o)
	case reflect.Interface:
		return interfaceJSON(), nil
	case reflect.Slice:
		return sliceJSON(t, o)
	case reflect.Map:
		return mapJSON(t)
	case reflect.Struct:
		return structJSON(t)
	}
	return nil, fmt.Errorf("record: Go type %s has no form in JSON", t)
}

// textJSON returns the codec of a type with a text form. Values that are not valid are null.
func textJSON[T any](format func(T) string, parse func(string) (T, error), valid func(T) bool, want string) *jsonCodec {
	return &jsonCodec{
		append: func(text []byte, v reflect.Value) ([]byte, error) {
			x := v.Interface().(T)
			if !valid(x) {
				return append(text, "null"...), nil
			}
			return appendJSONString(text, format(x)), nil
		},
		assign: func(a *assignment, path string, from any, into reflect.Value) {
			if from == nil {
				into.SetZero()
				return
			}
			s, ok := from.(string)
			if !ok {
				a.fault(path, from, "want a string with "+article(want)+" "+want)
				return
			}
			x, err := parse(s)
			if err != nil {
				a.fault(path, from, "want "+article(want)+" "+want)
				return
			}
			into.Set(reflect.ValueOf(x))
		},
	}
}

var portJSON = &jsonCodec{
	append: func(text []byte, v reflect.Value) ([]byte, error) {
		switch p := v.Interface().(broker.Port); {
		case p == broker.Port{}:
			return append(text, "null"...), nil
		case p == broker.TCP(p.Number):
			return strconv.AppendUint(text, uint64(p.Number), 10), nil
		default:
			return appendJSONString(text, p.String()), nil
		}
	},
	assign: func(a *assignment, path string, from any, into reflect.Value) {
		const want = "want a port: a number from 0 to 65535, or text such as 53/udp"
		switch from := from.(type) {
		case nil:
			into.SetZero()
		case json.Number:
			n, err := strconv.ParseUint(from.String(), 10, 16)
			if err != nil {
				a.fault(path, from, want)
				return
			}
			into.Set(reflect.ValueOf(broker.TCP(uint16(n))))
		case string:
			p, err := broker.ParsePort(from)
			if err != nil {
				a.fault(path, from, want)
				return
			}
			into.Set(reflect.ValueOf(p))
		default:
			a.fault(path, from, want)
		}
	},
}

// basicJSON returns the codec of a Go type whose underlying type is a basic type, of any
// size. The result ok of parse is false if a value in JSON has another type or is out of
// range. The string want describes the expected value in faults.
func basicJSON[T any](format func([]byte, T) []byte, parse func(from any) (x T, ok bool),
	load func(reflect.Value) T, store func(reflect.Value, T), overflows func(reflect.Value, T) bool, want string) *jsonCodec {
	return &jsonCodec{
		append: func(text []byte, v reflect.Value) ([]byte, error) { return format(text, load(v)), nil },
		assign: func(a *assignment, path string, from any, into reflect.Value) {
			x, ok := parse(from)
			if !ok || overflows != nil && overflows(into, x) {
				a.fault(path, from, "want "+want)
				return
			}
			store(into, x)
		},
	}
}

// parseNumber returns the number of a JSON text. The result ok is false if from is no
// number, or if parse fails.
func parseNumber[T any](from any, parse func(text string) (T, error)) (x T, ok bool) {
	number, _ := from.(json.Number)
	x, err := parse(number.String())
	return x, err == nil
}

// instance is the parse function of basicJSON for a type that JSON texts are parsed to.
func instance[T any](from any) (x T, ok bool) {
	x, ok = from.(T)
	return x, ok
}

var (
	boolJSON   = basicJSON(strconv.AppendBool, instance[bool], reflect.Value.Bool, reflect.Value.SetBool, nil, "true or false")
	stringJSON = basicJSON(appendJSONString, instance[string], reflect.Value.String, reflect.Value.SetString, nil, "a string")

	countJSON = basicJSON(
		func(text []byte, n uint64) []byte { return strconv.AppendUint(text, n, 10) },
		func(from any) (uint64, bool) {
			return parseNumber(from, func(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) })
		},
		reflect.Value.Uint, reflect.Value.SetUint, reflect.Value.OverflowUint, "a whole number that is not negative")

	integerJSON = basicJSON(
		func(text []byte, n int64) []byte { return strconv.AppendInt(text, n, 10) },
		func(from any) (int64, bool) {
			return parseNumber(from, func(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) })
		},
		reflect.Value.Int, reflect.Value.SetInt, reflect.Value.OverflowInt, "a whole number")

	realJSON = basicJSON(appendJSONReal, parseJSONReal, reflect.Value.Float, reflect.Value.SetFloat, reflect.Value.OverflowFloat, "a number")
)

// appendJSONReal appends a number, or null if JSON cannot express it.
func appendJSONReal(text []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(text, "null"...)
	}
	return strconv.AppendFloat(text, f, 'g', -1, 64)
}

// parseJSONReal returns the number that from has, or NaN for null.
func parseJSONReal(from any) (f float64, ok bool) {
	if from == nil {
		return math.NaN(), true
	}
	return parseNumber(from, func(text string) (float64, error) { return strconv.ParseFloat(text, 64) })
}

var base64JSON = &jsonCodec{
	append: func(text []byte, v reflect.Value) ([]byte, error) {
		text = append(text, '"')
		text = base64.StdEncoding.AppendEncode(text, []byte(v.String()))
		return append(text, '"'), nil
	},
	assign: func(a *assignment, path string, from any, into reflect.Value) {
		s, ok := from.(string)
		b, err := base64.StdEncoding.DecodeString(s)
		if !ok || err != nil {
			a.fault(path, nil, "want a string with base64")
			return
		}
		into.SetString(string(b))
	},
}

func enumJSON(t reflect.Type) *jsonCodec {
	checked := t.Implements(typeValidator)
	return &jsonCodec{
		append: stringJSON.append,
		assign: func(a *assignment, path string, from any, into reflect.Value) {
			s, ok := from.(string)
			if !ok {
				a.fault(path, from, "want a string")
				return
			}
			into.SetString(s)
			if checked && s != "" && !into.Interface().(validator).Valid() {
				a.fault(path, from, "unknown value")
			}
		},
	}
}

func pointerJSON(t reflect.Type, o fieldOptions) (*jsonCodec, error) {
	elem, err := jsonCodecOf(t.Elem(), o)
	if err != nil {
		return nil, err
	}
	return &jsonCodec{
		append: func(text []byte, v reflect.Value) ([]byte, error) {
			if v.IsNil() {
				return append(text, "null"...), nil
			}
			return elem.append(text, v.Elem())
		},
		assign: func(a *assignment, path string, from any, into reflect.Value) {
			if from == nil {
				into.SetZero()
				return
			}
			into.Set(reflect.New(t.Elem()))
			elem.assign(a, path, from, into.Elem())
		},
	}, nil
}

func interfaceJSON() *jsonCodec {
	return &jsonCodec{
		append: func(text []byte, v reflect.Value) ([]byte, error) {
			if v.IsNil() {
				return append(text, "null"...), nil
			}
			return AppendJSON(text, v.Interface())
		},
		assign: func(a *assignment, path string, from any, into reflect.Value) {
			a.fault(path, from, "cannot be set")
		},
	}
}

func sliceJSON(t reflect.Type, o fieldOptions) (*jsonCodec, error) {
	elem, err := jsonCodecOf(t.Elem(), fieldOptions{enum: o.enum})
	if err != nil {
		return nil, err
	}
	return &jsonCodec{
		append: func(text []byte, v reflect.Value) ([]byte, error) {
			text = append(text, '[')
			for i := range v.Len() {
				if i > 0 {
					text = append(text, ',')
				}
				var err error
				if text, err = elem.append(text, v.Index(i)); err != nil {
					return text, err
				}
			}
			return append(text, ']'), nil
		},
		assign: func(a *assignment, path string, from any, into reflect.Value) {
			list, ok := from.([]any)
			if !ok {
				if from != nil {
					a.fault(path, from, "want an array")
				}
				return
			}
			s := reflect.MakeSlice(t, len(list), len(list))
			for i, x := range list {
				elem.assign(a, fmt.Sprintf("%s[%d]", path, i), x, s.Index(i))
			}
			into.Set(s)
		},
	}, nil
}

func mapJSON(t reflect.Type) (*jsonCodec, error) {
	if t.Key().Kind() != reflect.String {
		return nil, fmt.Errorf("record: Go type %s has no form in JSON", t)
	}
	elem, err := jsonCodecOf(t.Elem(), fieldOptions{})
	if err != nil {
		return nil, err
	}
	return &jsonCodec{
		append: func(text []byte, v reflect.Value) ([]byte, error) {
			keys := v.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
			text = append(text, '{')
			for i, k := range keys {
				if i > 0 {
					text = append(text, ',')
				}
				text = append(appendJSONString(text, k.String()), ':')
				var err error
				if text, err = elem.append(text, v.MapIndex(k)); err != nil {
					return text, err
				}
			}
			return append(text, '}'), nil
		},
		assign: func(a *assignment, path string, from any, into reflect.Value) {
			object, ok := from.(map[string]any)
			if !ok {
				if from != nil {
					a.fault(path, from, "want an object")
				}
				return
			}
			m := reflect.MakeMapWithSize(t, len(object))
			for k, x := range object {
				e := reflect.New(t.Elem()).Elem()
				elem.assign(a, join(path, clip(k)), x, e)
				m.SetMapIndex(reflect.ValueOf(k).Convert(t.Key()), e)
			}
			into.Set(m)
		},
	}, nil
}

// JSONField describes a field of the object that AppendJSON makes of a struct.
type JSONField struct {
	Name     string
	Type     reflect.Type
	Optional bool // omitted if it is zero
	Base64   bool
}

// JSONFields returns the fields of the object that AppendJSON makes of a struct. It panics
// on types on which AppendJSON fails.
func JSONFields(t reflect.Type) []JSONField {
	fields, err := jsonFieldsOf(t)
	if err != nil {
		panic(err)
	}
	list := make([]JSONField, len(fields))
	for i, f := range fields {
		list[i] = JSONField{f.name, t.FieldByIndex(f.index).Type, f.optional, f.base64}
	}
	return list
}

// jsonField is a field of an object.
type jsonField struct {
	name     string
	key      []byte // with quotes and colon
	index    []int
	optional bool
	base64   bool
	codec    func() (*jsonCodec, error)
}

func structJSON(t reflect.Type) (*jsonCodec, error) {
	plain, err := jsonFieldsOf(t)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]*jsonField, len(plain))
	for i := range plain {
		byName[plain[i].name] = &plain[i]
	}
	return &jsonCodec{
		append: func(text []byte, v reflect.Value) ([]byte, error) {
			text = append(text, '{')
			first := true
			for _, f := range plain {
				fv := v.FieldByIndex(f.index)
				if f.optional && fv.IsZero() {
					continue
				}
				if !first {
					text = append(text, ',')
				}
				first = false
				c, err := f.codec()
				if err != nil {
					return text, err
				}
				if text, err = c.append(append(text, f.key...), fv); err != nil {
					return text, err
				}
			}
			return append(text, '}'), nil
		},
		assign: func(a *assignment, path string, from any, into reflect.Value) {
			object, ok := from.(map[string]any)
			if !ok {
				a.fault(path, from, "want an object")
				return
			}
			for _, name := range slices.Sorted(maps.Keys(object)) {
				f := byName[name]
				switch {
				case f == nil && a.lenient:
					continue
				case f == nil:
					a.fault(join(path, clip(name)), object[name], "unknown field")
					continue
				}
				c, err := f.codec()
				if err != nil {
					a.fault(join(path, name), nil, err.Error())
					continue
				}
				if object[name] == nil && f.optional {
					continue
				}
				c.assign(a, join(path, name), object[name], into.FieldByIndex(f.index))
			}
		},
	}, nil
}

func jsonFieldsOf(t reflect.Type) ([]jsonField, error) {
	tagged, err := taggedFields(t)
	if err != nil {
		return nil, err
	}
	fields := make([]jsonField, len(tagged))
	for i, f := range tagged {
		fields[i] = jsonField{
			name: f.name, key: append(appendJSONString(nil, f.name), ':'), index: f.Index, optional: f.options.optional, base64: f.options.base64,
			codec: sync.OnceValues(func() (*jsonCodec, error) { return jsonCodecOf(f.Type, f.options) }),
		}
	}
	return fields, nil
}

// appendJSONString appends a string as JSON.
func appendJSONString(text []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s) // has no error
			if err != nil {
				return append(text, `""`...)
			}
			return append(text, quoted...)
		}
	}
	text = append(text, '"')
	text = append(text, s...)
	return append(text, '"')
}

// article returns the article before the name of something.
func article(name string) string {
	if strings.ContainsRune("AEIOUaeiou", rune(name[0])) {
		return "an"
	}
	return "a"
}
