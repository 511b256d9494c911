package clientcmd

import (
	"encoding/json"
	"testing"
)

// TestFormatJSON compares with the output of Python's json.dumps(json.loads(in),
// indent=2, sort_keys=True).
func TestFormatJSON(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{}`, "{}"},
		{`[]`, "[]"},
		{`{"b":[1,[],{}],"a":{"c":null}}`, "{\n  \"a\": {\n    \"c\": null\n  },\n  \"b\": [\n    1,\n    [],\n    {}\n  ]\n}"},
		{`{"a":1,"a":2}`, "{\n  \"a\": 2\n}"},
		{`{"é":1,"z":2}`, "{\n  \"z\": 2,\n  \"\\u00e9\": 1\n}"},
		{`"<>&\u2028"`, `"<>&\u2028"`},
		{`true`, "true"}, {`false`, "false"},
		{`1e0`, "1.0"}, {`1.10`, "1.1"}, {`-1.5E-7`, "-1.5e-07"}, {`123456789.125`, "123456789.125"},
		{`9999999999999998.0`, "9999999999999998.0"}, {`1e16`, "1e+16"}, {`0.00001`, "1e-05"}, {`1e-400`, "0.0"},
		{`1e400`, "Infinity"}, {`-1e400`, "-Infinity"}, {`-0`, "0"}, {`0e5`, "0.0"},
	}
	for _, test := range tests {
		got, err := formatJSON(json.RawMessage(test.in), true)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: got %s, error %v, want %s", test.in, got, err, test.want)
		}
	}
}
