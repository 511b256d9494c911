package zeekapi

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"worker-01", "a.b", "Zürich_1", "w:1", "..."} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "a b", "a\x00", "a\n", `a"b`, `a\b`, "\xff", "a\u202eb", strings.Repeat("x", 256)} {
		if CheckName(name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}
