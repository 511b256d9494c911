package record

import "reflect"

// Type describes the Zeek type that a Go type maps to.
type Type struct {
	// Kind is the name of the type in Zeek: "string", "count", "addr",
	// "record", "vector", "set", "table", "enum", "any" and so on.
	Kind    string
	Module  string  // of an enum's labels; "" if labels of all modules are valid
	Fields  []Field // of a record
	Index   *Type   // of a set or table
	Element *Type   // of a vector or table
}

// Field is a field of a record, or an argument of an event.
type Field struct {
	Name     string
	Type     Type
	Optional bool // may be unset
	Trailing bool // older Zeeks do not have it

	// Extension means that no version of Zeek has the field. The field is also
	// optional and trailing.
	Extension bool
}

// TypeOf returns a description of the Zeek type that T maps to. It panics if
// Marshal does not support T.
func TypeOf[T any]() Type { return describe(reflect.TypeFor[T](), fieldOptions{}) }

// TypeFor is like TypeOf, for a type that is known only at run time.
func TypeFor(t reflect.Type) Type { return describe(t, fieldOptions{}) }

func describe(t reflect.Type, o fieldOptions) Type {
	switch t {
	case typeValue:
		return Type{Kind: "any"}
	case typeAddr:
		return Type{Kind: "addr"}
	case typePrefix:
		return Type{Kind: "subnet"}
	case typePort:
		return Type{Kind: "port"}
	case typeTime:
		return Type{Kind: "time"}
	case typeDuration:
		return Type{Kind: "interval"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return Type{Kind: "bool"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return Type{Kind: "count"}
	case reflect.Float32, reflect.Float64:
		return Type{Kind: "double"}
	case reflect.String:
		if !o.enum {
			return Type{Kind: "string"}
		}
		module := o.scope
		if module != "" {
			module = module[:len(module)-len("::")]
		}
		return Type{Kind: "enum", Module: module}
	case reflect.Pointer:
		return describe(t.Elem(), o)
	case reflect.Slice:
		element := describe(t.Elem(), fieldOptions{enum: o.enum, scope: o.scope})
		if o.set {
			return Type{Kind: "set", Index: &element}
		}
		return Type{Kind: "vector", Element: &element}
	case reflect.Map:
		index, element := describe(t.Key(), fieldOptions{}), describe(t.Elem(), fieldOptions{})
		return Type{Kind: "table", Index: &index, Element: &element}
	case reflect.Struct:
		fields, err := fieldsOf(t, nil)
		if err != nil {
			panic(err) // Marshal does not support it either
		}
		return Type{Kind: "record", Fields: describeFields(t, fields)}
	}
	return Type{Kind: "int"}
}

func describeFields(t reflect.Type, fields []field) []Field {
	out := make([]Field, len(fields))
	for i, f := range fields {
		out[i] = Field{
			Name:     f.name,
			Type:     describe(t.FieldByIndex(f.index).Type, f.fieldOptions),
			Optional: f.optional, Trailing: f.trailing, Extension: f.extension,
		}
	}
	return out
}
