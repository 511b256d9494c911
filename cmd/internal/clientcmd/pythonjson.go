package clientcmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// formatJSON encodes v, a value that encoding/json accepts, in the format of
// zeek-client: that of Python's json.dumps with sorted keys. The text is ASCII with
// numbers in Python's format. It is indented by two spaces if pretty is true, and a
// single line with spaces otherwise.
func formatJSON(v any, pretty bool) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	f := jsonFormatter{pretty: pretty}
	f.value(tree)
	return f.b, nil
}

type jsonFormatter struct {
	b      []byte
	pretty bool
	depth  int
}

func (f *jsonFormatter) value(v any) {
	switch v := v.(type) {
	case nil:
		f.b = append(f.b, "null"...)
	case bool:
		f.b = strconv.AppendBool(f.b, v)
	case json.Number:
		f.b = append(f.b, pythonNumber(string(v))...)
	case string:
		f.string(v)
	case []any:
		f.elements('[', ']', len(v), func(i int) { f.value(v[i]) })
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		f.elements('{', '}', len(keys), func(i int) {
			f.string(keys[i])
			f.b = append(f.b, ": "...)
			f.value(v[keys[i]])
		})
	}
}

func (f *jsonFormatter) elements(open, end byte, n int, element func(i int)) {
	f.b = append(f.b, open)
	f.depth++
	for i := range n {
		switch {
		case f.pretty && i > 0:
			f.b = append(f.b, ',')
			f.line()
		case f.pretty:
			f.line()
		case i > 0:
			f.b = append(f.b, ", "...)
		}
		element(i)
	}
	f.depth--
	if f.pretty && n > 0 {
		f.line()
	}
	f.b = append(f.b, end)
}

func (f *jsonFormatter) line() {
	f.b = append(f.b, '\n')
	for range f.depth {
		f.b = append(f.b, "  "...)
	}
}

func (f *jsonFormatter) string(s string) {
	f.b = append(f.b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			f.b = append(f.b, '\\', byte(r))
		case r >= ' ' && r <= '~':
			f.b = append(f.b, byte(r))
		case r >= '\b' && r <= '\r' && r != '\v':
			f.b = append(f.b, '\\', "btn_fr"[r-'\b'])
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			f.b = fmt.Appendf(f.b, `\u%04x\u%04x`, high, low)
		default:
			f.b = fmt.Appendf(f.b, `\u%04x`, r)
		}
	}
	f.b = append(f.b, '"')
}

// pythonNumber returns a JSON number in the format of Python. Integers of any size
// are unchanged. Other numbers have the shortest form of the nearest float.
func pythonNumber(s string) string {
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			return "0"
		}
		return s
	}
	f, _ := strconv.ParseFloat(s, 64) // infinite if the number is out of range
	switch size := math.Abs(f); {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case size != 0 && (size < 1e-4 || size >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
