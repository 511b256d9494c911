package zeek

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

func TestParseArgs(t *testing.T) {
	for text, want := range map[string]nodeArgs{
		"": {},
		"local X=1 -C policy/a Zeek::Plugin": {
			options: []string{"-C"}, words: []string{"local", "X=1", "policy/a", "Zeek::Plugin"}, scripts: []string{"local", "policy/a"},
		},
		"-f tcp --filter tcp --filter=tcp -ftcp a": {
			options: []string{"-f", "tcp", "--filter", "tcp", "--filter=tcp", "-ftcp"}, words: []string{"a"}, scripts: []string{"a"},
		},
		"-w out.pcap -s -b": {options: []string{"-s", "-b"}, writing: []string{"-w", "out.pcap"}},
	} {
		got, err := parseArgs(strings.Fields(text))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(nodeArgs{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"-i eth0":      "option -i of zeek cannot be an argument of all nodes",
		"-r x.pcap":    "option -r of zeek",
		"--iface=eth0": "option --iface of zeek",
		"-j":           "option -j of zeek",
		"--pars":       "option --pars of zeek",
		"-Cb":          `option -C has no value: "-Cb"`,
		"-C --filter":  "option --filter needs a value",
		"a -- b":       `"--" cannot be an argument`,
		"x--":          `"x--" cannot be an argument`,
		"-":            `"-" cannot be an argument`,
	} {
		if err := CheckArgs(strings.Fields(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if err := CheckArgs([]string{""}); err == nil {
		t.Error("an empty argument is accepted")
	}
	if _, err := newLauncher(t.Context(), Config{StateDir: t.TempDir(), Args: []string{"-i", "eth0"}}, installation{}); err == nil {
		t.Error("a launcher accepts an invalid argument")
	}
}

// TestNodesHaveArgsOfAllNodes checks the order of arguments.
func TestNodesHaveArgsOfAllNodes(t *testing.T) {
	t.Parallel()
	l := start(t, Config{
		TLS:  security.Config{Mode: security.Off},
		Args: []string{"-w", "out.pcap", "standin_test.go", "local", "-C", "X::y=two words", "-e", "print 1;"},
	})
	n := node("w", "")
	n.Interface, n.Scripts = "eth0", []string{"own"}
	here, err := filepath.Abs("standin_test.go")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"-i", "eth0", "-C", "-e", "print 1;", "-w", "out.pcap", l.scripts.Defaults,
		here, "local", "X::y=two words", "own", l.scripts.Node, "Broker::disable_ssl=T",
	}
	if diff := cmp.Diff(want, l.args(n)); diff != "" {
		t.Error(diff)
	}
	// A check must not overwrite a file of the running node.
	want = slices.Concat(want[2:5], want[7:12], want[13:])
	if diff := cmp.Diff(want, l.parseArgs(n)); diff != "" {
		t.Errorf("check: %s", diff)
	}
	l.common, err = parseArgs([]string{"policy/frameworks/cluster/backend/zeromq"})
	if got := l.backend(n); got != ZeroMQ || err != nil {
		t.Errorf("backend is %s, %v", got, err)
	}
}

// TestScriptsOfAllNodesAreChecked also checks nodes that have no script of their own.
func TestScriptsOfAllNodesAreChecked(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "all.zeek")
	write(t, script, "this is a syntax error")
	l := start(t, Config{Args: []string{script}})
	n := node("w", "")
	n.Env = nil
	if got := errorsOf(t, l, n)["w"]; !strings.Contains(got, "all.zeek, line 1: syntax error") {
		t.Errorf("got %q", got)
	}
	before := l.parseKey(n)
	write(t, script, "correct")
	if l.parseKey(n) == before {
		t.Error("the key of a check does not contain the script")
	}
	if got := errorsOf(t, l, n)["w"]; got != "" {
		t.Errorf("corrected: %q", got)
	}
}

// TestChangedArgsOfAllNodes checks that nodes that run with other arguments are reported
// as changed, and keep running.
func TestChangedArgsOfAllNodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := start(t, Config{StateDir: dir, Args: []string{"-C"}})
	pid := running(t, l, node("w", ""))
	if got := scanned(t, l); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	l.Leave()
	l = start(t, Config{StateDir: dir, Args: []string{"-C"}})
	if got := scanned(t, l); len(got) != 0 {
		t.Errorf("the same arguments: %v", got)
	}
	l.Leave()
	l = start(t, Config{StateDir: dir, Args: []string{"-C", "X=1"}})
	if diff := cmp.Diff(map[string][]string{"w": {"the agent's setting node-args"}}, scanned(t, l)); diff != "" || !alive(pid) {
		t.Errorf("alive: %v\n%s", alive(pid), diff)
	}
	l.Stop("w")
	next[launch.Exited](t, l)
	running(t, l, node("w", ""))
	if got := scanned(t, l); len(got) != 0 {
		t.Errorf("after a restart: %v", got)
	}
}
