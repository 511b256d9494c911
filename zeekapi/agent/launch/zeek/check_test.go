package zeek

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// listen returns a port that is in use.
func listen(t *testing.T) broker.Port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return broker.TCP(netip.MustParseAddrPort(l.Addr().String()).Port())
}

// errorsOf checks nodes and returns their errors by name.
func errorsOf(t *testing.T, l *Launcher, nodes ...launch.Node) map[string]string {
	t.Helper()
	l.Check(nodes, false)
	wrong := make(map[string]string)
	for range nodes {
		c := next[launch.Checked](t, l)
		if c.Err != nil {
			wrong[c.Node.Name] = c.Err.Error()
		}
	}
	return wrong
}

func TestCheck(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	taken := listen(t)
	bad := filepath.Join(t.TempDir(), "bad.zeek")
	if err := os.WriteFile(bad, []byte("this is a syntax error"), 0o600); err != nil {
		t.Fatal(err)
	}
	unclosed := filepath.Join(t.TempDir(), "unclosed.zeek")
	if err := os.WriteFile(unclosed, []byte("unclosed"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	cpu := int64(1 << 40)
	changes := []struct {
		name   string
		change func(*launch.Node)
		want   string // part of the error; "" for none
	}{
		{"good", func(n *launch.Node) { n.Interface = "lo" }, ""},
		{"af_packet", func(n *launch.Node) { n.Interface = "af_packet::lo" }, ""},
		{"elsewhere", func(n *launch.Node) { n.Interface = "napatech::3" }, ""},
		{"any", func(n *launch.Node) { n.Interface = "any" }, ""},
		{"site", func(n *launch.Node) { n.Site = "0123456789abcdef" }, "site 0123456789ab is not on this machine"},
		{"no-site", func(n *launch.Node) { n.Site = "../nodes" }, `"../nodes" does not name a site`},
		{"no-device", func(n *launch.Node) { n.Interface = "af_packet::" }, `"af_packet::" does not name an interface`},
		{"interface", func(n *launch.Node) { n.Interface = "nosuchdev" }, "interface nosuchdev: no such network interface"},
		{"af_packet-interface", func(n *launch.Node) { n.Interface = "af_packet::nosuchdev" }, "interface nosuchdev: no such network interface"},
		{"cpu", func(n *launch.Node) { n.CPUAffinity = &cpu }, "CPU 1099511627776 is not available (available: 0"},
		{"script", func(n *launch.Node) { n.Scripts = []string{bad} }, "scripts do not load: error in bad.zeek, line 1: syntax error"},
		{"unclosed", func(n *launch.Node) { n.Scripts = []string{unclosed} }, "scripts do not load: error: syntax error, at end of file unclosed.zeek"},
		{"option", func(n *launch.Node) { n.Scripts = []string{"-x"} }, `"-x" does not name a script`},
		{"port", func(n *launch.Node) { n.Port = taken }, fmt.Sprintf("port %d is in use by %s (process %d)", taken.Number, bytes.TrimSpace(self), os.Getpid())},
		{"first", func(n *launch.Node) { n.Port = broker.TCP(1) }, ""},
		{"second", func(n *launch.Node) { n.MetricsPort = broker.TCP(1) }, "metrics port 1 is also used by node first"},
		{"both", func(n *launch.Node) { n.Interface, n.Port = "nosuchdev", taken }, "no such network interface\nport"},
	}
	var nodes []launch.Node
	for _, c := range changes {
		n := node(c.name, "")
		c.change(&n)
		nodes = append(nodes, n)
	}
	wrong := errorsOf(t, l, nodes...)
	for _, c := range changes {
		if got := wrong[c.name]; (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if left, err := os.ReadDir(filepath.Join(l.config.StateDir, "checks")); err != nil || len(left) > 0 {
		t.Errorf("remaining files of checks: %v, %v", left, err)
	}
}

// With Broker, Zeek connects nodes to nodes that start before them, and ends if one of
// those has no port.
func TestCheckMissingPorts(t *testing.T) {
	t.Parallel()
	const layout = zeekapi.Layout("logger LOGGER - 1/tcp -\nmanager MANAGER - - -\nproxy PROXY - 2/udp -\nworker WORKER - - -\n")
	cluster, err := layout.Members()
	if err != nil {
		t.Fatal(err)
	}
	var nodes []launch.Node
	for _, m := range cluster {
		nodes = append(nodes, launch.Node{Node: zeekapi.Node{Name: m.Name, Role: m.Role, Port: m.Port}, Layout: layout})
	}
	manager := "cannot connect to node manager: it has no TCP port\n"
	want := map[string]string{
		"manager": "node manager has no TCP port",
		"proxy":   manager + "node proxy has no TCP port",
		"worker":  manager + "cannot connect to node proxy: it has no TCP port",
	}
	if diff := cmp.Diff(want, errorsOf(t, start(t, Config{}), nodes...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{}, errorsOf(t, start(t, Config{Backend: ZeroMQ}), nodes...)); diff != "" {
		t.Errorf("without Broker (-want +got):\n%s", diff)
	}
	alone := nodes[1]
	alone.Layout = "manager MANAGER - - -\n"
	if diff := cmp.Diff(map[string]string{}, errorsOf(t, start(t, Config{}), alone)); diff != "" {
		t.Errorf("manager without other nodes (-want +got):\n%s", diff)
	}
}

// A failed check reports the output of Zeek, including warnings.
func TestCheckOutputs(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	bad := filepath.Join(t.TempDir(), "bad.zeek")
	if err := os.WriteFile(bad, []byte("syntax error"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := node("worker", "")
	n.Scripts = []string{bad}
	l.Check([]launch.Node{n}, false)
	if got := next[launch.Checked](t, l).Outputs.Stderr; got != "warning: something\nerror in bad.zeek, line 1: syntax error\n" {
		t.Errorf("got %q", got)
	}
}

// A check succeeds although a child of Zeek keeps the output open for a while.
func TestCheckOutputKeptOpen(t *testing.T) {
	t.Parallel()
	if wrong := errorsOf(t, start(t, Config{}), node("worker", "keep the output open")); len(wrong) > 0 {
		t.Errorf("got %v", wrong)
	}
}

// The port of a node that is replaced is free for its successor, even if an earlier
// launcher started the node.
func TestCheckPortOfReplacedNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := start(t, Config{StateDir: dir})
	n := node("worker", "listen")
	l.Start(n)
	next[launch.Started](t, l)
	var number uint16
	if _, err := fmt.Sscan(awaitOutput(t, l, "worker"), &number); err != nil {
		t.Fatal(err)
	}
	other := node("successor", "")
	other.Port = broker.TCP(number)
	for range 2 {
		if wrong := errorsOf(t, l, other); len(wrong) > 0 {
			t.Error(wrong)
		}
		l.Leave()
		l = start(t, Config{StateDir: dir})
	}
}

// The port of a node that keeps running is in use, whether or not the node is checked too.
func TestCheckPortOfRemainingNode(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	stays := node("stays", "")
	stays.Port = broker.TCP(1)
	l.Start(stays)
	next[launch.Started](t, l)
	other := node("other", "")
	other.Port = stays.Port
	other.Layout += "stays WORKER - 1/tcp -\n"
	want := map[string]string{"other": "port 1 is also used by node stays"}
	if diff := cmp.Diff(want, errorsOf(t, l, other)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, errorsOf(t, l, stays, other)); diff != "" {
		t.Errorf("checked with it (-want +got):\n%s", diff)
	}
}

// A node may have scripts in its directory.
func TestCheckScriptsInNodeDirectory(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	l.zeek().path = "/nonexistent"
	n := node("worker", "")
	n.Scripts = []string{"own.zeek"}
	if err := os.MkdirAll(l.nodeDir("worker"), 0o755); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"fine": 0, "syntax error": 1} {
		if err := os.WriteFile(filepath.Join(l.nodeDir("worker"), "own.zeek"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if wrong := errorsOf(t, l, n); len(wrong) != want {
			t.Errorf("%s: %v", text, wrong)
		}
	}
	if _, err := os.Stat(filepath.Join(l.nodeDir("worker"), layoutFile)); err == nil {
		t.Error("the check wrote a layout into the node's directory")
	}
	errorsOf(t, l, node("new", ""))
	if _, err := os.Stat(l.nodeDir("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the check has created the directory of a node: %v", err)
	}
}

// A check that does not end in time reports no error.
func TestCheckTimeout(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if c := l.check(ctx, []launch.Node{node("worker", "hang")})[0]; c.Err != nil {
		t.Error(c.Err)
	}
}

// A new launcher removes the files of checks that a killed agent did not finish.
func TestNewRemovesUnfinishedChecks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := filepath.Join(dir, "checks", "123")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, Config{StateDir: dir})
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s still exists: %v", left, err)
	}
}

// A check that fails because of a port lists the ports of other programs.
func TestCheckListsPortsInUse(t *testing.T) {
	l := start(t, Config{})
	taken, other := listen(t), listen(t)
	port, free := node("port", ""), node("free", "")
	port.Port, free.Port = taken, broker.TCP(1)
	for _, r := range l.checkMachine([]launch.Node{port, free}) {
		if r.Node.Name == "free" {
			if r.PortsInUse != nil {
				t.Errorf("node free: the ports %d are in use", r.PortsInUse)
			}
			continue
		}
		if !slices.IsSorted(r.PortsInUse) || !slices.Contains(r.PortsInUse, taken.Number) || !slices.Contains(r.PortsInUse, other.Number) {
			t.Errorf("the ports %d are in use, want %d and %d among them", r.PortsInUse, taken.Number, other.Number)
		}
	}
}
