package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// The age comes from the nodes that write logs: loggers, or the manager of a cluster
// without loggers. The longest counts.
func TestLogExpiry(t *testing.T) {
	const d = 24 * time.Hour
	for _, tt := range []struct {
		nodes string // each with its option after a colon
		want  time.Duration
		set   bool
	}{
		{"", 0, false},
		{"l m w", 0, false},
		{"l:30d m:1d w:2d", 30 * d, true},
		{"l:30d lb:7d m", 30 * d, true},
		{"l:30d lb:0 m", 0, true},
		{"l:0 m", 0, true},
		{"l m:7d w:7d", 0, false},
		{"m:7d w:8d", 7 * d, true},
		{"other/l:3d m:7d w:8d", 0, false},
		{"other/m:3d w:8d", 0, false},
		{"w:8d x:9d", 9 * d, true},
		{"l:soon lb:7d", 7 * d, true},
		{"l:soon", 0, false},
	} {
		var names []string
		ages := make(map[string]string)
		for word := range strings.FieldsSeq(tt.nodes) {
			name, age, has := strings.Cut(word, ":")
			names = append(names, name)
			if has {
				ages[name[strings.Index(name, "/")+1:]] = age
			}
		}
		c := configuration("c", names...)
		for i, n := range c.Nodes {
			if age, ok := ages[n.Name]; ok {
				c.Nodes[i].Options = []zeekapi.Option{{Name: zeekapi.OptionLogExpiry, Value: age}}
			}
		}
		a, err := assign(c, "i")
		if err != nil {
			t.Fatal(err)
		}
		if got := a.logExpiry(); got != (logExpiry{tt.want, tt.set}) {
			t.Errorf("%q: %+v, want %s, %t", tt.nodes, got, tt.want, tt.set)
		}
		m, err := NewMachine(Settings{Name: "i"}, State{Known: true, Assignment: a})
		if err != nil {
			t.Fatal(err)
		}
		if age, set := m.LogExpiry(); age != tt.want || set != tt.set {
			t.Errorf("%q, stored: %s, %t", tt.nodes, age, set)
		}
	}
	if got := (*Assignment)(nil).logExpiry(); got != (logExpiry{}) {
		t.Errorf("without an assignment: %+v", got)
	}
}
