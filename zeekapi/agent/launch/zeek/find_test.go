package zeek

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// running starts a node and waits until it has written something.
func running(t *testing.T, l *Launcher, n launch.Node) (pid int) {
	t.Helper()
	l.Start(n)
	pid = int(next[launch.Started](t, l).PID)
	awaitOutput(t, l, n.Name)
	return pid
}

func TestNodesThatAreLeftAreFound(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state[1:") // no pattern, no end of a token
	first := start(t, Config{StateDir: dir})
	n := node("worker", "")
	n.Scripts, n.Env["X"] = []string{"a", "b"}, "y"
	cpu := int64(0)
	n.CPUAffinity = &cpu
	before := time.Now()
	pid := running(t, first, n)
	first.Leave()
	if _, err := first.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("after Leave: %v", err)
	}
	if !alive(pid) {
		t.Fatal("the node has ended with the launcher")
	}

	second := start(t, Config{StateDir: dir})
	found := second.Running()
	if len(found) != 1 || found[0].PID != int64(pid) || !found[0].Node.Equal(n) {
		t.Fatalf("found %+v", found)
	}
	if diff := cmp.Diff(n, found[0].Node, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if age := found[0].Started.Sub(before); age < -2*time.Second || age > time.Minute {
		t.Errorf("started at %s, not after %s", found[0].Started, before)
	}
	second.Start(n) // taken: nothing happens
	second.Stop("worker")
	if got := next[launch.Exited](t, second); got.Err != nil || got.Outputs.Stderr != "received termination signal\n" {
		t.Errorf("%+v", got)
	}
	if alive(pid) {
		t.Error("the node is still there")
	}
	if third := start(t, Config{StateDir: filepath.Join(t.TempDir(), "other")}); len(third.Running()) != 0 {
		t.Errorf("found %+v", third.Running())
	}
}

// How it ended only its parent is told.
func TestFoundNodeDies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, Config{StateDir: dir})
	pid := running(t, first, node("worker", "leave a child"))
	line, _, _ := strings.Cut(first.lastWords("worker").Stdout, "\n")
	child, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	first.Leave()
	second := start(t, Config{StateDir: dir})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := next[launch.Exited](t, second); !errors.Is(got.Err, errStatusUnknown) {
		t.Errorf("got %v", got.Err)
	}
	if alive(child) {
		t.Error("the node's child is still there")
	}
	second.Start(node("worker", ""))
	next[launch.Started](t, second)
}

func TestFoundNodeThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, Config{StateDir: dir})
	pid := running(t, first, node("worker", "ignore SIGTERM"))
	first.Leave()
	second := start(t, Config{StateDir: dir, Patience: time.Millisecond})
	second.Stop("worker")
	next[launch.Exited](t, second)
	if alive(pid) {
		t.Error("the node is still there")
	}
}

// rewrite changes the note of a node.
func rewrite(t *testing.T, l *Launcher, name string, change func(*note)) {
	t.Helper()
	n, err := readNote(l.nodeDir(name))
	if err != nil {
		t.Fatal(err)
	}
	change(&n)
	if err := n.write(l.nodeDir(name)); err != nil {
		t.Fatal(err)
	}
}

// An agent that was killed right after it started a node could not note which
// process it is.
func TestNodeWhoseProcessWasNotNotedIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, Config{StateDir: dir})
	pid := running(t, first, node("worker", ""))
	first.Leave()
	rewrite(t, first, "worker", func(n *note) { n.Process = nil })
	second := start(t, Config{StateDir: dir})
	if found := second.Running(); len(found) != 1 || found[0].PID != int64(pid) {
		t.Errorf("found %+v, want process %d", found, pid)
	}
	if n, err := readNote(second.nodeDir("worker")); err != nil || n.Process == nil || n.Process.PID != pid {
		t.Errorf("noted %+v, %v", n.Process, err)
	}
}

// What is left of nodes is ended, what is nobody's is not touched.
func TestWhatIsLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, l *Launcher)
	}{
		{"its note is lost", func(t *testing.T, l *Launcher) {
			if err := forget(l.nodeDir("worker")); err != nil {
				t.Error(err)
			}
		}},
		{"it is another's note", func(t *testing.T, l *Launcher) {
			rewrite(t, l, "worker", func(n *note) { n.Token, n.Process = newToken(), nil })
		}},
		{"the machine was started since", func(t *testing.T, l *Launcher) {
			rewrite(t, l, "worker", func(n *note) { n.Process.Boot = "x" })
		}},
		{"it looks for its agent elsewhere", func(t *testing.T, l *Launcher) {
			rewrite(t, l, "worker", func(n *note) { n.Reach.Port = "1/tcp" })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			first := start(t, Config{StateDir: dir})
			pid := running(t, first, node("worker", ""))
			first.Leave()
			tt.change(t, first)
			second := start(t, Config{StateDir: dir})
			if found := second.Running(); len(found) != 0 {
				t.Fatalf("found %+v", found)
			}
			if !poll(t.Context(), func() bool { return !alive(pid) }) {
				t.Error("the node is still there")
			}
			if _, err := os.Stat(filepath.Join(second.nodeDir("worker"), noteFile)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the note is still there: %v", err)
			}
			second.Start(node("worker", ""))
			next[launch.Started](t, second)
		})
	}
}

// Another process with the ID of one that ended long ago must not suffer.
func TestProcessIDsAreUsedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, Config{StateDir: dir})
	running(t, first, node("worker", ""))
	first.Leave()
	stranger := exec.Command("sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stranger.Process.Kill()
		stranger.Wait()
	}()
	rewrite(t, first, "worker", func(n *note) {
		n.Process.PID, n.Process.StartTime, n.Token = stranger.Process.Pid, "1", newToken() // long ago
	})
	if found := start(t, Config{StateDir: dir}).Running(); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
	if !alive(stranger.Process.Pid) {
		t.Error("the stranger was ended")
	}
}

func TestNotesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":               "unexpected end of JSON input",
		`{"version": 2}`: "has version 2, want 1",
		`{"version": 1}`: `is about node ""`,
		`{"version": 1, "node": {"Name": "worker"}}`:                                              "has no token",
		`{"version": 1, "node": {"Name": "worker"}, "token": "x", "process": {"pid": 1}}`:         "1 is no process of a node",
		`{"version": 1, "node": {"Name": "worker"}, "token": "x", "process": {"pid": 999999999}}`: "",
	} {
		dir := t.TempDir()
		nodeDir := filepath.Join(dir, "nodes", "worker")
		if err := os.MkdirAll(nodeDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(nodeDir, noteFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := newLauncher(t.Context(), Config{StateDir: dir}, installation{binary: "zeek"})
		if err == nil {
			l.Leave()
		}
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// Nodes that an older launcher started go on: its notes list the members.
func TestNoteOfAnOlderLauncher(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "worker")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"version": 1, "token": "x", "node": map[string]any{"Name": "worker", "Cluster": members("worker")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, noteFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := readNote(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(node("worker", "").Layout, n.Node.Layout); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
}

func TestMeter(t *testing.T) {
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
		now = now.Add(time.Second) // as far as the meter knows
		used += m.Read(now, l.owners())["worker"].CPU
		return used > 0
	})
	if start(t, Config{}).owners() != nil {
		t.Error("without nodes there are processes of some")
	}
}
