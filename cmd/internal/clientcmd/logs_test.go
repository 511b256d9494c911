package clientcmd_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

func TestLogLines(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"", 3, ""}, {"a", 3, "a\n"}, {"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc", 1, "c\n"}, {"\n\n", 1, "\n"}, {"a\n", 9, "a\n"},
	} {
		if got := clientcmd.LastLines(tt.text, tt.n); got != tt.want {
			t.Errorf("the last %d lines of %q are %q, want %q", tt.n, tt.text, got, tt.want)
		}
	}
	for _, tt := range []struct{ old, now, want string }{
		{"", "", ""}, {"", "a", "a"}, {"a", "a", ""}, {"a", "ab", "b"},
		{"abc", "bcd", "d"}, {"abc", "xyz", "xyz"}, {"abc", "", ""}, {"abab", "ababab", "ab"},
	} {
		if got := clientcmd.AddedOutput(tt.old, tt.now); got != tt.want {
			t.Errorf("text added from %q to %q is %q, want %q", tt.old, tt.now, got, tt.want)
		}
	}
}
