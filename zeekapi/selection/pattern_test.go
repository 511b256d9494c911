package selection

import (
	"fmt"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	for _, tt := range []struct{ pattern, want string }{
		{"sensor-1", "sensor-1"},
		{"", ""},
		{"sensor-[1-3]", "sensor-1 sensor-2 sensor-3"},
		{"sensor-[08-11]", "sensor-08 sensor-09 sensor-10 sensor-11"},
		{"sensor-[1-2,7,009-010].example.org", "sensor-1.example.org sensor-2.example.org sensor-7.example.org sensor-009.example.org sensor-010.example.org"},
		{"r[1-2]-s[1,3]", "r1-s1 r1-s3 r2-s1 r2-s3"},
		{"[5]", "5"},
		{"[0-2]", "0 1 2"},
		// These are not patterns.
		{"a[b-c]", "a[b-c]"}, {"a[]", "a[]"}, {"[::1]:2151", "[::1]:2151"}, {"a[1-]", "a[1-]"}, {"a[1", "a[1"}, {"a[-1]", "a[-1]"}, {"a[1,]", "a[1,]"},
	} {
		got, err := Expand(tt.pattern)
		if strings.Join(got, " ") != tt.want || err != nil {
			t.Errorf("%q: got %v, %v, want %s", tt.pattern, got, err, tt.want)
		}
		if IsPattern(tt.pattern) != (tt.pattern != tt.want) {
			t.Errorf("IsPattern(%q) = %t", tt.pattern, IsPattern(tt.pattern))
		}
	}
}

func TestExpandErrors(t *testing.T) {
	many := "it expands to more than 10000 names"
	for pattern, want := range map[string]string{
		"a[3-1]":                          "range 3-1 ends before it begins",
		"a[0-10000]":                      many,
		"a[1-9999,1-2]":                   many,
		"a[1-101][1-100]":                 many,
		"a[1-99999999999999999999]":       many,
		"a[0-9223372036854775807]":        many,
		"[1-9][1-9][1-9][1-9][1-9]":       many,
		"a[99999999999999999999-1,2]":     many,
		strings.Repeat("a", 1000) + "[1]": "a pattern has 1003 bytes, limit is 1000",
	} {
		if len(pattern) <= maxPattern {
			want = fmt.Sprintf("pattern %q: %s", pattern, want)
		}
		if got, err := Expand(pattern); err == nil || err.Error() != want {
			t.Errorf("%s: got %d names, %v, want %s", pattern, len(got), err, want)
		}
	}
	if got, err := Expand("a[1-10000]"); len(got) != MaxNames || err != nil {
		t.Errorf("got %d names, %v", len(got), err)
	}
}

func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"a[1-3]b[01-02,7]", "[3-1]", "[", "[[1]]", "[1-99999]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		names, err := Expand(pattern)
		switch {
		case err != nil && !IsPattern(pattern):
			t.Errorf("%q: %v", pattern, err)
		case err == nil && (len(names) == 0 || len(names) > MaxNames):
			t.Errorf("%q expands to %d names", pattern, len(names))
		}
	})
}
