package selection

import (
	"strings"
	"testing"
)

func TestMatcher(t *testing.T) {
	names := strings.Fields("manager worker-1 worker-2 worker-10 w[1] sensor-01 sensor-02 a\\b")
	for _, tt := range []struct{ words, want, unused string }{
		{"manager", "manager", ""},
		{"worker-*", "worker-1 worker-2 worker-10", ""},
		{"worker-?", "worker-1 worker-2", ""},
		{"worker-[1-2] sensor-[01-03]", "worker-1 worker-2 sensor-01 sensor-02", ""},
		{"*-[1,01]", "worker-1 sensor-01", ""},
		{"[m-s]*", "manager sensor-01 sensor-02", ""},
		{"[^w]*-*", "sensor-01 sensor-02", ""},
		{"w[1]", "w[1]", ""},
		{"proxy x* manager proxy", "manager", "proxy x*"},
		{`a\b`, `a\b`, ""},
		{"*", strings.Join(names, " "), ""},
		{"", "", ""},
	} {
		m, err := NewMatcher(strings.Fields(tt.words))
		if err != nil {
			t.Errorf("%s: %v", tt.words, err)
			continue
		}
		var got []string
		for _, name := range names {
			if m.Match(name) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != tt.want || strings.Join(m.Unused(), " ") != tt.unused {
			t.Errorf("%s: got %v, unused %v, want %s, unused %s", tt.words, got, m.Unused(), tt.want, tt.unused)
		}
	}
	for words, want := range map[string]string{
		"worker-[":            `"worker-[" is not a valid glob`,
		"*/x":                 `"*/x" is not a valid glob`,
		"a[2-1]":              `pattern "a[2-1]": range 2-1 ends before it begins`,
		"a[1-9999] b[1-2]":    `"b[1-2]" and the words before expand to more than 10000 names`,
		"a[1-99] b[1-100000]": `pattern "b[1-100000]": it expands to more than 10000 names`,
	} {
		if _, err := NewMatcher(strings.Fields(words)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", words, err, want)
		}
	}
}
