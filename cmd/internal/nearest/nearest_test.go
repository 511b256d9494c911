package nearest_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/nearest"
)

func TestName(t *testing.T) {
	list := []string{"name", "listen", "log-level", "websocket-listen", "state-dir"}
	for _, tt := range []struct {
		word, want string // "" for no suggestion
	}{
		{"nmea", ""},
		{"anme", "name"}, // an exchange of neighbours
		{"game", "name"},
		{"gave", ""}, // two edits of a short name may be any other one
		{"nam", "name"},
		{"names", "name"},
		{"lisen", "listen"},
		{"websocket_listen", "websocket-listen"},
		{"websockt-lisen", "websocket-listen"},
		{"state", "state-dir"},
		{"l", ""}, // begins two names
		{"", ""},
		{"certificate", ""},
	} {
		got, near := nearest.Name(tt.word, list)
		if near != (tt.want != "") || near && got != tt.want {
			t.Errorf("Name(%q) = %q, %t, want %q", tt.word, got, near, tt.want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abc", "ca", 3}} {
		if got := nearest.Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
	if _, near := nearest.Name("x", nil); near {
		t.Error("a suggestion from an empty list")
	}
}
