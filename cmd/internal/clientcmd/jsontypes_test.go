package clientcmd_test

import (
	"encoding"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

var addTypes = flag.Bool("add-types", false, "add new keys to testdata/compat/json-types.txt")

// TestJSONTypes compares the types of the JSON output with those of earlier versions.
// Keys may be added, and values that were never null stay so. The test of package
// compat compares what the commands print.
func TestJSONTypes(t *testing.T) {
	const file = "../../../testdata/compat/json-types.txt"
	var now []string
	for _, views := range []map[string]any{clientcmd.Views, clientcmd.OtherViews} {
		for command, v := range views {
			parts, ok := v.([]any)
			if !ok {
				parts = []any{v}
			}
			for _, part := range parts {
				now = append(now, jsonTypes(command+" $", reflect.TypeOf(part))...)
			}
		}
	}
	text, err := os.ReadFile(file)
	if err != nil && !*addTypes {
		t.Fatal(err)
	}
	known := strings.Split(strings.TrimSpace(string(text)), "\n")
	if *addTypes {
		known = slices.Concat(known, now)
		slices.Sort(known)
		known = slices.DeleteFunc(slices.Compact(known), func(line string) bool { return line == "" })
		if err := os.WriteFile(file, []byte(strings.Join(known, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range known {
		if !slices.Contains(now, line) {
			t.Errorf("%s does not hold any more: programs of users may rely on it", line)
		}
	}
}

// jsonTypes returns lines with the types of a value and its parts.
func jsonTypes(path string, typ reflect.Type) []string {
	kind := ""
	if typ.Kind() == reflect.Pointer {
		typ, kind = typ.Elem(), " or null"
	}
	if typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return []string{path + " = string" + kind}
	}
	switch typ.Kind() {
	case reflect.Struct:
		lines := []string{path + " = object" + kind}
		for f := range typ.Fields() {
			key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous && key == "" {
				lines = append(lines, jsonTypes(path, f.Type)[1:]...)
				continue
			}
			name := path + "." + key
			if strings.Contains(options, "omitempty") {
				name += "?"
			}
			lines = append(lines, jsonTypes(name, f.Type)...)
		}
		return lines
	case reflect.Slice:
		return append([]string{path + " = array" + kind}, jsonTypes(path+"[]", typ.Elem())...)
	case reflect.Map:
		return append([]string{path + " = object" + kind}, jsonTypes(path+".*", typ.Elem())...)
	case reflect.String:
		kind = "string" + kind
	case reflect.Bool:
		kind = "bool" + kind
	case reflect.Interface:
		kind = "any"
	default:
		kind = "number" + kind
	}
	return []string{path + " = " + kind}
}
