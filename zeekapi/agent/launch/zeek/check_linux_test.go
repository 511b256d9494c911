package zeek

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRanges(t *testing.T) {
	for want, list := range map[string][]string{
		"":      nil,
		"0,1":   {"0", "1"},
		"0-3":   {"0", "1", "2", "3"},
		"0,2,3": {"0", "2", "3"},
	} {
		if diff := cmp.Diff(want, ranges(list)); diff != "" {
			t.Error(diff)
		}
	}
}
