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
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// running starts a node and waits for its first output.
func running(t *testing.T, l *Launcher, n launch.Node) (pid int) {
	t.Helper()
	l.Start(n)
	pid = int(next[launch.Started](t, l).PID)
	awaitOutput(t, l, n.Name)
	return pid
}

func TestFindRunningNode(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state[1:") // special characters of patterns and marks
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
	second.Start(n) // no effect: the name is in use
	second.Stop("worker")
	if got := next[launch.Exited](t, second); got.Err != nil || got.Outputs.Stderr != "received termination signal\n" {
		t.Errorf("%+v", got)
	}
	if alive(pid) {
		t.Error("the node still runs")
	}
	if third := start(t, Config{StateDir: filepath.Join(t.TempDir(), "other")}); len(third.Running()) != 0 {
		t.Errorf("found %+v", third.Running())
	}
}

// Only the parent of a process receives its exit status.
func TestFoundNodeDies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, Config{StateDir: dir})
	pid := running(t, first, node("worker", "leave a child"))
	line, _, _ := strings.Cut(first.lastOutputs("worker").Stdout, "\n")
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
		t.Error("the node's child still runs")
	}
	second.Start(node("worker", ""))
	next[launch.Started](t, second)
}

func TestFoundNodeIsKilledAfterPatience(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, Config{StateDir: dir})
	pid := running(t, first, node("worker", "ignore SIGTERM"))
	first.Leave()
	second := start(t, Config{StateDir: dir, Patience: time.Millisecond})
	second.Stop("worker")
	next[launch.Exited](t, second)
	if alive(pid) {
		t.Error("the node still runs")
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

// An agent that is killed right after the start of a node does not record the process.
func TestFindUnrecordedProcess(t *testing.T) {
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
		t.Errorf("recorded process is %+v, %v", n.Process, err)
	}
}

// Processes of nodes that cannot be adopted are ended, and the notes are removed.
func TestFindEndsOtherProcesses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, l *Launcher)
	}{
		{"lost note", func(t *testing.T, l *Launcher) {
			if err := forget(l.nodeDir("worker")); err != nil {
				t.Error(err)
			}
		}},
		{"note of another start", func(t *testing.T, l *Launcher) {
			rewrite(t, l, "worker", func(n *note) { n.Token, n.Process = newToken(), nil })
		}},
		{"note of an earlier boot", func(t *testing.T, l *Launcher) {
			rewrite(t, l, "worker", func(n *note) { n.Process.Boot = "x" })
		}},
		{"another port of the agent", func(t *testing.T, l *Launcher) {
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
				t.Error("the node still runs")
			}
			if _, err := os.Stat(filepath.Join(second.nodeDir("worker"), noteFile)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the note still exists: %v", err)
			}
			second.Start(node("worker", ""))
			next[launch.Started](t, second)
		})
	}
}

// A process with the same ID as an ended node must not be ended.
func TestFindReusedProcessID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, Config{StateDir: dir})
	running(t, first, node("worker", ""))
	first.Leave()
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		other.Process.Kill()
		other.Wait()
	}()
	rewrite(t, first, "worker", func(n *note) {
		n.Process.PID, n.Process.StartTime, n.Token = other.Process.Pid, "1", newToken() // long ago
	})
	if found := start(t, Config{StateDir: dir}).Running(); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
	if !alive(other.Process.Pid) {
		t.Error("the other process was ended")
	}
}

func TestReadNoteErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":               "unexpected end of JSON input",
		`{"version": 2}`: "has version 2, and this program reads 1",
		`{"version": 1}`: `describes node ""`,
		`{"version": 1, "node": {"Name": "worker"}}`:                                              "has no token",
		`{"version": 1, "node": {"Name": "worker"}, "token": "x", "process": {"pid": 1}}`:         "has the invalid process ID 1",
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

// The notes of older launchers contain a list of members in place of a layout.
func TestReadFormerNote(t *testing.T) {
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
