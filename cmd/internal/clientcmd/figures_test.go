package clientcmd

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

// plain returns lines as text.
func plain(lines ...terminal.Line) string {
	var b strings.Builder
	for _, l := range lines {
		for _, s := range l {
			b.WriteString(s.Text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// worker returns a worker that runs and reads packets.
func worker(name string, r zeekapi.TrafficRates) zeekapi.NodeDetail {
	return zeekapi.NodeDetail{
		Status:    zeekapi.NodeStatus{Node: name, State: zeekapi.StateRunning, ClusterRole: zeekapi.RoleWorker},
		Interface: "eth0", Traffic: &zeekapi.Traffic{Received: 10, Rates: &r},
	}
}

func TestTakeFigures(t *testing.T) {
	all := zeekapi.Figures{Instances: []zeekapi.InstanceFigures{
		{Instance: "a", Nodes: []zeekapi.NodeDetail{worker("w2", zeekapi.TrafficRates{}), worker("w1", zeekapi.TrafficRates{})}},
		{Instance: "b", Error: "agent not connected", Nodes: []zeekapi.NodeDetail{worker("w3", zeekapi.TrafficRates{})}},
		{Instance: "c", Note: "instance is drained"},
	}}
	text := func(f figures) string {
		var names []string
		for _, n := range f.nodes {
			names = append(names, n.instance+"/"+n.Status.Node)
		}
		return fmt.Sprintf("%v %v %v", names, f.problems, f.notes)
	}
	for want, names := range map[string][]string{
		"[a/w1 a/w2 b/w3] [{b agent not connected}] [{c instance is drained}]": nil,
		"[a/w2] [{nix unknown cluster node}] []":                               {"w2", "nix", "nix"},
		"[b/w3] [{b agent not connected}] []":                                  {"w3"},
	} {
		if got := text(takeFigures(all, names)); got != want {
			t.Errorf("%v: %s, want %s", names, got, want)
		}
	}
}

func TestTopKeys(t *testing.T) {
	now := time.Now()
	a, b := worker("a", zeekapi.TrafficRates{Received: 1, Dropped: 9}), worker("b", zeekapi.TrafficRates{Received: 2, Dropped: 1})
	a.CPU, a.Memory, a.Threads, a.Files, a.Started = 0.5, 5, 5, 9, now.Add(-time.Hour)
	b.CPU, b.Memory, b.Threads, b.Files, b.Started = math.NaN(), 6, 6, 5, now
	idle := zeekapi.NodeDetail{Status: zeekapi.NodeStatus{Node: "c"}}
	for key, want := range map[string]string{
		"cpu": "abc", "memory": "bac", "threads": "bac", "files": "abc", "uptime": "abc", "packets": "bac", "drops": "abc", "node": "abc", "instance": "cab",
	} {
		nodes := []placedNode{{a, "y"}, {b, "y"}, {idle, "x"}}
		if !sortNodes(nodes, key) {
			t.Errorf("no key %s", key)
		}
		got := nodes[0].Status.Node + nodes[1].Status.Node + nodes[2].Status.Node
		if got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
		var v topView
		if v.press(key[0]); v.key != key {
			t.Errorf("%c selects %q, want %s", key[0], v.key, key)
		}
	}
	var v topView
	if v.press('?'); v.key != "" || sortNodes(nil, "?") {
		t.Error("an unknown key is accepted")
	}
}

func TestLossCell(t *testing.T) {
	for share, want := range map[float64]terminal.Span{
		0: {Text: "0.00%"}, 0.01: {Text: "1.00%"}, 0.02: {Text: "2.00%", Style: terminal.Warn}, 0.2: {Text: "20.00%", Style: terminal.Bad},
		math.Inf(1): {Text: "0.00%"},
	} {
		if got := lossCell(share, 1); got != want {
			t.Errorf("%f: %v, want %v", share, got, want)
		}
	}
}

func TestFigureWarnings(t *testing.T) {
	a, b := worker("a", zeekapi.TrafficRates{Received: 99, Dropped: 1}), worker("b", zeekapi.TrafficRates{Received: 50, Dropped: 50})
	c := worker("c", zeekapi.TrafficRates{Received: 75, Dropped: 25})
	c.Connections = &zeekapi.Connections{Missing: []string{"a", "down", "elsewhere"}}
	down := zeekapi.NodeDetail{Status: zeekapi.NodeStatus{Node: "down", State: zeekapi.StateCrashed}, Connections: c.Connections}
	s := zeekapi.Status{Instances: []zeekapi.InstanceStatus{{Nodes: []zeekapi.NodeDetail{a, b, c, down}}}}
	const want = "Dropped packets: b 50.00%, c 25.00%, see netstats\nMissing connections: c does not see a, see peers\n"
	if diff := cmp.Diff(want, plain(figureWarnings(s)...)); diff != "" {
		t.Error(diff)
	}
	if got := figureWarnings(zeekapi.Status{}); len(got) > 0 {
		t.Errorf("an empty status has %v", got)
	}
}

func TestPeerMatrix(t *testing.T) {
	node := func(name string, state zeekapi.State, missing ...string) zeekapi.NodeDetail {
		return zeekapi.NodeDetail{
			Status:      zeekapi.NodeStatus{Node: name, State: state},
			Connections: &zeekapi.Connections{Backend: "zeromq", Expected: 3, Seen: uint64(3 - len(missing)), Missing: missing},
		}
	}
	nodes := []zeekapi.NodeDetail{
		node("a", zeekapi.StateRunning, "b", "d"), node("b", zeekapi.StateRunning, "a", "d"), node("c", zeekapi.StateRunning), node("d", zeekapi.StateFailed, "a", "b", "c"),
	}
	all := takeFigures(zeekapi.Figures{Instances: []zeekapi.InstanceFigures{{Instance: "i", Nodes: nodes}}}, nil)
	p := newPeerMatrix(all, nil)
	const want = "1 of 3 nodes see all others that they should (zeromq); 2 missing connections between running nodes; 1 do not run\n\n" +
		"DOES NOT SEE  a  b  d\na                x  -\nb             x     -\n"
	if diff := cmp.Diff(want, plain(p.lines(terminal.Screen{})...)); diff != "" {
		t.Error(diff)
	}
	narrow := terminal.Screen{Size: func() (int, int) { return 15, 40 }}
	if got := plain(p.lines(narrow)...); !strings.Contains(got, "SEES") {
		t.Errorf("on a narrow terminal:\n%s", got)
	}
	p = newPeerMatrix(all, []string{"b"})
	if got := p.broken(); got != 1 {
		t.Errorf("%d connections of b are missing", got)
	}

	// A row with many missing nodes is no matrix.
	var many []string
	for i := range zeekapi.MaxMissing {
		many = append(many, fmt.Sprintf("n%d", i))
	}
	lost := node("lost", zeekapi.StateRunning, many...)
	lost.Connections.More = 400
	p = newPeerMatrix(takeFigures(zeekapi.Figures{Instances: []zeekapi.InstanceFigures{{Instance: "i", Nodes: []zeekapi.NodeDetail{lost}}}}, nil), nil)
	if got := plain(p.lines(terminal.Screen{})...); !strings.Contains(got, "and 92 more and 400 more") {
		t.Errorf("many missing connections:\n%s", got)
	}
}

// Connections of nodes with Zeek's own agent come from their tables of nodes.
func TestTableConnections(t *testing.T) {
	const table = `{
		"m": {"node_type": "Cluster::MANAGER", "id": "1"}, "l": {"node_type": "Cluster::LOGGER"},
		"w1": {"node_type": "Cluster::WORKER"}, "w2": {"node_type": "Cluster::WORKER"}, "c": {"node_type": "Cluster::NONE"}
	}`
	for _, tt := range []struct {
		table, backend string
		want           *zeekapi.Connections
	}{
		{table, ``, &zeekapi.Connections{Backend: "broker", Seen: 1, Expected: 2, Missing: []string{"l"}}},
		{table, `"Cluster::CLUSTER_BACKEND_BROKER"`, &zeekapi.Connections{Backend: "broker", Seen: 1, Expected: 2, Missing: []string{"l"}}},
		{table, `"Cluster::CLUSTER_BACKEND_ZEROMQ"`, &zeekapi.Connections{Backend: "zeromq", Seen: 1, Expected: 3, Missing: []string{"l", "w2"}}},
		{`[1]`, ``, nil},
		{`{"m": {}}`, ``, nil},
	} {
		if diff := cmp.Diff(tt.want, tableConnections("w1", json.RawMessage(tt.table), json.RawMessage(tt.backend))); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", tt.table, tt.backend, diff)
		}
	}
}

func matching(t *testing.T, words ...string) *selection.Matcher {
	t.Helper()
	m, err := selection.NewMatcher(words)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSpaces(t *testing.T) {
	const gib = 1 << 30
	f := zeekapi.Figures{
		Controller:  "c",
		Directories: []zeekapi.DirectorySpace{{Purpose: "state", Path: "/c", Size: 100 * gib, Used: 50 * gib, Free: 50 * gib}},
		Instances: []zeekapi.InstanceFigures{
			{Instance: "a", Directories: []zeekapi.DirectorySpace{
				{Purpose: "spool", Path: "/s", Size: 100 * gib, Used: 90 * gib, Free: 10 * gib, Growth: gib / 86400.0, Period: time.Hour, FullIn: 36 * time.Hour},
				{Purpose: "archive", Path: "/gone", Error: "no such directory"},
			}},
			{Instance: "b", Error: "agent not connected"},
			{Instance: "z", Note: "Zeek's own"},
		},
	}
	s := newSpaces(f, matching(t), true)
	want := "MACHINE         DIRECTORY  SIZE  USED  FREE  USE  GROWTH/DAY  FULL IN  PATH\n" +
		"c (controller)  state      100G   50G   50G  50%                       /c\n" +
		"a               spool      100G   90G   10G  90%        1.0G    1d12h  /s\n" +
		"a               archive                                                no such directory\n\n" +
		"b: agent not connected\nz: Zeek's own\n"
	if diff := cmp.Diff(want, plain(s.lines(terminal.Screen{})...)); diff != "" {
		t.Error(diff)
	}
	if u, c := s.all[1].useCell(), s.all[1].forecastCell(); u.Style != terminal.Warn || c.Style != terminal.Warn {
		t.Errorf("styles are %q and %q", u.Style, c.Style)
	}
	s = newSpaces(f, matching(t, "a*", "nix"), false)
	if len(s.all) != 2 || !slices.Equal(s.problems, []remark{{"nix", "unknown instance"}}) {
		t.Errorf("%+v", s)
	}
	for bytes, want := range map[uint64]string{0: "0K", 1023: "1K", 5 << 20: "5.0M", 300 << 20: "300M", math.MaxUint64: "16E"} {
		if got := spaceText(bytes); got != want {
			t.Errorf("%d is %s, want %s", bytes, got, want)
		}
	}
}
