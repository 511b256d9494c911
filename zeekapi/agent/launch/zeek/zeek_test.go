package zeek

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

var update = flag.Bool("update", false, "write the golden files")

func start(t *testing.T, c Config) *Launcher {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if c.StateDir == "" {
		c.StateDir = t.TempDir()
	}
	c.Agent.Listen = netip.MustParseAddrPort("0.0.0.0:2151")
	l, err := newLauncher(t.Context(), c, installation{binary: binary, version: version{8, 0}})
	if err != nil {
		t.Fatal(err)
	}
	l.parseLimit = time.Minute // so that no check times out
	t.Cleanup(func() { l.Close(t.Context()) })
	return l
}

func node(name, behaviour string) launch.Node {
	n := launch.Node{Node: zeekapi.Node{Name: name, Instance: "i", Role: zeekapi.RoleWorker, Env: map[string]string{"BEHAVIOUR": behaviour}}}
	n.Layout, _ = zeekapi.NewLayout(members(name)) // empty for an invalid name
	return n
}

// members returns the members of a cluster with a worker of that name.
func members(name string) []zeekapi.Member {
	return []zeekapi.Member{
		{Name: "logger", Role: zeekapi.RoleLogger, Host: netip.MustParseAddr("10.0.0.1"), Port: broker.TCP(2200), MetricsPort: broker.TCP(9000)},
		{Name: "manager", Role: zeekapi.RoleManager, Host: netip.MustParseAddr("2001:db8::1"), Port: broker.TCP(2201)},
		{Name: name, Role: zeekapi.RoleWorker, Host: netip.MustParseAddr("10.0.0.1")},
	}
}

// next returns the next event, which must be an E. It skips Measured events.
func next[E launch.Event](t *testing.T, l *Launcher) E {
	t.Helper()
	ev, err := l.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, ok := ev.(E)
	if _, other := ev.(launch.Measured); other && !ok {
		return next[E](t, l)
	}
	if !ok {
		t.Fatalf("got %#v, want %T", ev, e)
	}
	return e
}

// awaitOutput waits for a line on the standard output of a node.
func awaitOutput(t *testing.T, l *Launcher, name string) string {
	t.Helper()
	var out string
	poll(t.Context(), func() bool {
		out = l.lastOutputs(name).Stdout
		return strings.HasSuffix(out, "\n")
	})
	return strings.TrimSuffix(out, "\n")
}

func alive(pid int) bool {
	s, err := proc.Read(pid)
	return err == nil && !s.Ended
}

func TestStop(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	l.Start(node("worker", ""))
	pid := int(next[launch.Started](t, l).PID)
	awaitOutput(t, l, "worker")
	if _, err := os.Stat(filepath.Join(l.nodeDir("worker"), noteFile)); err != nil {
		t.Errorf("while the node runs: %v", err)
	}
	l.Start(node("worker", "")) // no effect: the name is in use

	l.Stop("worker")
	got := next[launch.Exited](t, l)
	want := launch.Exited{Node: "worker", Outputs: zeekapi.NodeOutputs{Stdout: "ready\n", Stderr: "received termination signal\n"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		t.Error("the process still exists, perhaps as a zombie")
	}
	if _, err := os.Stat(filepath.Join(l.nodeDir("worker"), noteFile)); err == nil {
		t.Error("the note still exists")
	}
	l.Stop("worker") // no effect: the name is not in use
}

func TestStopKillsAfterPatience(t *testing.T) {
	t.Parallel()
	l := start(t, Config{Patience: time.Millisecond})
	l.Start(node("worker", "ignore SIGTERM"))
	next[launch.Started](t, l)
	awaitOutput(t, l, "worker")
	l.Stop("worker")
	if got := next[launch.Exited](t, l); got.Err == nil || got.Err.Error() != "signal: killed" {
		t.Errorf("got %v, want signal: killed", got.Err)
	}
}

// Zeek's Supervisor kills a node that does not end within 26 s. A node that writes its
// last logs needs that time.
func TestDefaultPatience(t *testing.T) {
	c, err := Config{StateDir: t.TempDir()}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if c.Patience != 26*time.Second {
		t.Errorf("the patience is %v", c.Patience)
	}
}

func TestCloseKillsWhenContextEnds(t *testing.T) {
	t.Parallel()
	l := start(t, Config{Patience: time.Hour})
	l.Start(node("worker", "ignore SIGTERM"))
	next[launch.Started](t, l)
	awaitOutput(t, l, "worker")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Close(ctx)
	next[launch.Exited](t, l)
	if _, err := l.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
	l.Start(node("worker", ""))
}

func TestNodeFails(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	l.Start(node("worker", "die"))
	next[launch.Started](t, l)
	got := next[launch.Exited](t, l)
	if got.Err == nil || got.Err.Error() != "exit status 3" {
		t.Errorf("error is %v", got.Err)
	}
	if want := (zeekapi.NodeOutputs{Stdout: "to stdout\n", Stderr: "fatal error: cannot\n"}); got.Outputs != want {
		t.Errorf("outputs are %+v", got.Outputs)
	}
}

func TestNodeEnds(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	l.Start(node("worker", "end"))
	next[launch.Started](t, l)
	if got := next[launch.Exited](t, l); got.Err != nil {
		t.Errorf("got %v", got.Err)
	}
}

// Zeek may be removed or replaced while an agent runs.
func TestBinaryIsRemoved(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	binary := filepath.Join(t.TempDir(), "zeek")
	if err := os.Symlink(l.zeek().binary, binary); err != nil {
		t.Fatal(err)
	}
	l.zeek().binary = binary
	if wrong := errorsOf(t, l, node("worker", "")); len(wrong) > 0 {
		t.Error(wrong)
	}
	if err := os.Remove(binary); err != nil {
		t.Fatal(err)
	}
	if wrong := errorsOf(t, l, node("worker", ""))["worker"]; !strings.Contains(wrong, "no such file or directory") {
		t.Errorf("check: %q", wrong)
	}
	l.Start(node("worker", ""))
	if got := next[launch.Exited](t, l); !errors.Is(got.Err, fs.ErrNotExist) {
		t.Errorf("start: %v", got.Err)
	}
	if _, err := os.Stat(filepath.Join(l.nodeDir("worker"), noteFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the note still exists: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*launch.Node){
		"name of another directory": func(n *launch.Node) { n.Name = "../worker" },
		"no name":                   func(n *launch.Node) { n.Name = "" },
		"NUL in an argument":        func(n *launch.Node) { n.Scripts = []string{"a\x00b"} },
		"NUL in the environment":    func(n *launch.Node) { n.Env["X"] = "a\x00b" },
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, Config{})
			n := node("worker", "")
			change(&n)
			l.Start(n)
			if got := next[launch.Exited](t, l); got.Err == nil || got.Node != n.Name {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestExitedHasLastLines(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	l.Start(node("worker", "chatter"))
	next[launch.Started](t, l)
	lines := strings.Split(next[launch.Exited](t, l).Outputs.Stdout, "\n")
	if len(lines) != outputLines+1 || lines[0] != "line 99900" || lines[99] != "line 99999" || lines[100] != "" {
		t.Errorf("got %d lines, %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}

func TestChildrenEndWithNode(t *testing.T) {
	t.Parallel()
	for _, behaviour := range []string{"leave a child", "leave a child and die"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			l := start(t, Config{})
			l.Start(node("worker", behaviour))
			next[launch.Started](t, l)
			out := awaitOutput(t, l, "worker")
			first, _, _ := strings.Cut(out, "\n")
			child, err := strconv.Atoi(first)
			if err != nil {
				t.Fatalf("%v in %q", err, out)
			}
			l.Stop("worker")
			next[launch.Exited](t, l)
			if !poll(t.Context(), func() bool { return !alive(child) }) {
				t.Error("the child still runs")
			}
		})
	}
}

// Without the lock, a second launcher would end the nodes of the first.
func TestStateDirectoryIsLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, Config{StateDir: dir})
	want := "state directory " + dir + " is in use by another agent"
	if _, err := newLauncher(t.Context(), Config{StateDir: dir}, *first.zeek()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	first.Close(t.Context())
	start(t, Config{StateDir: dir})
}

func TestNewErrors(t *testing.T) {
	t.Setenv(standIn, "4.2.2")
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		config Config
		want   string
	}{
		"no zeek":  {Config{Binary: "/nonexistent/zeek", StateDir: t.TempDir()}, "zeek launcher: exec: \"/nonexistent/zeek\": stat /nonexistent/zeek: no such file or directory"},
		"too old":  {Config{Binary: binary, StateDir: t.TempDir()}, "zeek launcher: " + binary + " is Zeek 4.2, want 5.0 or later"},
		"not zeek": {Config{Binary: "true", StateDir: t.TempDir()}, `--version: no version in`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(t.Context(), tt.config)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestArgumentsAndEnvironment(t *testing.T) {
	t.Parallel()
	l := start(t, Config{TLS: security.Config{Mode: security.Off}})
	n := node("worker", "report")
	n.Scripts = []string{"a/first", "second"}
	n.Interface = "eth0"
	n.Env["FOO"] = "BAR"
	n.Env["CLUSTER_NODE"] = "another"
	cpu := int64(0)
	n.CPUAffinity = &cpu
	l.Start(n)
	next[launch.Started](t, l)
	got := next[launch.Exited](t, l).Outputs.Stdout
	want := `cwd worker
CLUSTER_NODE worker
ZEEK_AGENT_ADDR 127.0.0.1
ZEEK_AGENT_PORT 2151/tcp
FOO BAR
arg -i
arg eth0
arg zeekwire-defaults.zeek
arg first
arg second
arg zeekwire-node.zeek
arg Broker::disable_ssl=T
Cpus_allowed_list:	0
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// With other certificates, nodes and agent would reject each other.
func TestNodesUseAgentCertificate(t *testing.T) {
	t.Parallel()
	l := start(t, Config{TLS: security.Config{
		Mode: security.Mutual, CertFile: "c.pem", KeyFile: "/keys/k.pem", CAFile: "ca.pem", Passphrase: "p",
	}})
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	args := l.args(node("w", ""))
	want := []string{
		"Broker::ssl_certificate=" + dir + "/c.pem", "Broker::ssl_keyfile=/keys/k.pem", "Broker::ssl_cafile=" + dir + "/ca.pem",
	}
	if diff := cmp.Diff(want, args[len(args)-3:]); diff != "" {
		t.Error(diff)
	}
	if !slices.Contains(l.environ(node("w", "")), "ZEEKWIRE_TLS_PASSPHRASE=p") {
		t.Error("no passphrase")
	}
}

func TestUnavailableCPU(t *testing.T) {
	t.Parallel()
	for _, cpu := range []int64{-1, -64, -1 << 63, 1 << 40} {
		t.Run(fmt.Sprint(cpu), func(t *testing.T) {
			t.Parallel()
			var log syncBuffer
			l := start(t, Config{Log: zerolog.New(&log)})
			n := node("worker", "")
			n.CPUAffinity = &cpu
			l.Start(n)
			next[launch.Started](t, l)
			if !strings.Contains(log.String(), "cannot pin node to CPU") {
				t.Errorf("logged %q", log.String())
			}
		})
	}
}

// A script name that Zeek would treat as a flag or a plugin is an error.
func TestInvalidScriptNames(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	for _, script := range []string{"-C", "--test", "-", "Some::Plugin", ""} {
		n := node("worker", "report")
		n.Scripts = []string{"fine", script}
		l.Start(n)
		want := fmt.Sprintf("%q does not name a script", script)
		if err := next[launch.Exited](t, l).Err; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestBackend(t *testing.T) {
	for _, tt := range []struct {
		script, byDefault string
		want              Backend
		noBroker          bool
	}{
		{script: "local", want: Broker},
		{script: "local", want: ZeroMQ, noBroker: true},
		{script: "local", byDefault: "broker", want: Broker, noBroker: true},
		{script: "local", byDefault: "zeromq", want: ZeroMQ},
		{script: "policy/frameworks/cluster/backend/zeromq", byDefault: "broker", want: ZeroMQ},
		{script: "/opt/zeek/share/zeek/policy/frameworks/cluster/backend/zeromq/main.zeek", want: ZeroMQ},
		{script: "frameworks/cluster/backend/broker", byDefault: "zeromq", want: Broker},
	} {
		l := &Launcher{config: Config{StateDir: "/s", Backend: Backend(tt.byDefault), TLS: security.Config{Mode: security.Off}}}
		l.install.Store(&installation{version: version{9, 0}, noBroker: tt.noBroker})
		n := node("w", "")
		n.Scripts = []string{tt.script}
		if got := l.args(n)[0]; got != zeekapi.BackendScripts+string(tt.want) {
			t.Errorf("%q with default %q: first is %s, want %s", tt.script, tt.byDefault, got, tt.want)
		}
		if got := slices.ContainsFunc(l.args(n), func(s string) bool { return strings.HasPrefix(s, "Broker::") }); got == tt.noBroker {
			t.Errorf("%q: without Broker is %t, has its options %t", tt.script, tt.noBroker, got)
		}
		for role, want := range map[zeekapi.ClusterRole]bool{
			zeekapi.RoleWorker: true, zeekapi.RoleLogger: tt.want != ZeroMQ, zeekapi.RoleManager: tt.want != ZeroMQ,
		} {
			if n.Role, n.Layout = role, ""; l.ServesWebSocket(n) != want {
				t.Errorf("%q with default %q: a %s serves WebSockets: %t", tt.script, tt.byDefault, role, !want)
			}
		}
		n.Role, n.Layout = zeekapi.RoleManager, "l LOGGER 127.0.0.1 1/tcp -\nm MANAGER 127.0.0.1 2/tcp -\n"
		if !l.ServesWebSocket(n) || l.UsesHub(n) != (tt.want == ZeroMQ) {
			t.Errorf("%q with default %q: a manager beside a logger serves WebSockets: %t, uses a hub: %t", tt.script, tt.byDefault, l.ServesWebSocket(n), l.UsesHub(n))
		}
	}
}

func TestArgsByVersion(t *testing.T) {
	t.Setenv("ZEEKPATH", "")
	t.Setenv("ZEEK_DEFAULT_CONNECT_RETRY", "")
	for _, tt := range []struct {
		version version
		backend bool
		retry   bool
	}{
		{version{5, 0}, false, true},
		{version{7, 1}, false, true},
		{version{7, 2}, false, false},
		{version{8, 0}, false, false},
		{version{8, 1}, true, false},
		{version{9, 0}, true, false},
	} {
		l := &Launcher{config: Config{StateDir: "/s"}}
		l.install.Store(&installation{version: tt.version, path: "/zeek"})
		if got := slices.Contains(l.args(node("w", "")), "policy/frameworks/cluster/backend/broker"); got != tt.backend {
			t.Errorf("Zeek %s: backend script is %t", tt.version, got)
		}
		named := node("w", "")
		named.Scripts = []string{"policy/frameworks/cluster/backend/broker", "local"}
		if args := l.args(named); slices.Contains(args, named.Scripts[0]) != tt.backend || !slices.Contains(args, "local") {
			t.Errorf("Zeek %s: %v for a node that names the backend", tt.version, args)
		}
		env := l.environ(node("w", ""))
		if got := slices.Contains(env, "ZEEK_DEFAULT_CONNECT_RETRY=1"); got != tt.retry {
			t.Errorf("Zeek %s: retry is %t", tt.version, got)
		}
		if !slices.Contains(env, "ZEEKPATH=.:/zeek") {
			t.Errorf("Zeek %s: no ZEEKPATH", tt.version)
		}
	}
}

func TestAgentAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"0.0.0.0:2151":  "127.0.0.1",
		"[::]:2151":     "::1",
		"10.0.0.1:2151": "10.0.0.1",
	} {
		l := &Launcher{config: Config{Agent: nodescript.Agent{Listen: netip.MustParseAddrPort(listen)}}}
		l.install.Store(&installation{})
		if !slices.Contains(l.environ(node("w", "")), "ZEEK_AGENT_ADDR="+want) {
			t.Errorf("agent that listens at %s: address is not %s", listen, want)
		}
	}
}

func TestLayout(t *testing.T) {
	members := members(`work"er`) // an invalid name
	for file, got := range map[string][]byte{
		"layout-7.0.zeek":       layout("i", members, version{7, 0}),
		"layout-6.2.zeek":       layout("i", members, version{6, 2}),
		"layout-no-logger.zeek": layout("i", members[1:], version{8, 0}),
	} {
		golden := filepath.Join("testdata", file)
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]version{
		"/opt/zeek/bin/zeek version 8.0.10\n": {8, 0},
		"zeek version 8.1.0-dev.123-debug":    {8, 1},
		"bro 2.6":                             {},
		"version 99999999999999999999.1":      {},
		"":                                    {},
	} {
		got, err := parseVersion(s)
		if got != want || (err != nil) != (want == version{}) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func TestNew(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(t.Context(), Config{Binary: binary, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(t.Context())
	if want := (version{8, 0}); l.zeek().version != want {
		t.Errorf("version is %s, want %s", l.zeek().version, want)
	}
	for _, script := range []string{l.scripts.Defaults, l.scripts.Node} {
		if _, err := os.Stat(script); err != nil {
			t.Error(err)
		}
	}
}

func TestHasBroker(t *testing.T) {
	for plugins, want := range map[string]bool{
		"Zeek::Cluster_Backend_Broker - Cluster backend using Broker (built-in)": true,
		"Zeek::Cluster_Backend_ZeroMQ - Cluster backend using ZeroMQ":            false,
	} {
		binary := filepath.Join(t.TempDir(), "zeek")
		if err := os.WriteFile(binary, fmt.Appendf(nil, "#!/bin/sh\necho '%s'\n", plugins), 0o700); err != nil {
			t.Fatal(err)
		}
		if got := hasBroker(t.Context(), binary); got != want {
			t.Errorf("%s: %t", plugins, got)
		}
	}
}

func TestOwners(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	running(t, l, node("worker", "spin"))
	var m proc.Meter
	now := time.Now()
	first := m.Read(now, l.owners())["worker"]
	if first.CPU != 0 || first.Memory < 1<<20 {
		t.Errorf("at first: %+v", first)
	}
	var used float64
	poll(t.Context(), func() bool {
		now = now.Add(time.Second) // simulated time
		used += m.Read(now, l.owners())["worker"].CPU
		return used > 0
	})
	if start(t, Config{}).owners() != nil {
		t.Error("owners without nodes is not nil")
	}
}
