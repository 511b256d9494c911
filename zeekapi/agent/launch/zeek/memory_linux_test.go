package zeek

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// machine returns the root of a file system in which the agent is in the given control group,
// and systemd has delegated another one. The test is skipped without extended attributes.
func machine(t *testing.T, own, delegated string) (root string) {
	t.Helper()
	root = t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/self/cgroup", "1:cpu:/\n0::"+own+"\n")
	write(filepath.Join("sys/fs/cgroup", own, "cgroup.procs"), "1\n")
	write(filepath.Join("sys/fs/cgroup", delegated, "cgroup.subtree_control"), "cpu memory\n")
	if err := unix.Setxattr(filepath.Join(root, "sys/fs/cgroup", delegated), "user.delegate", []byte("1"), 0); err != nil {
		t.Skipf("no extended attributes: %v", err)
	}
	return root
}

// Only a group that is delegated, and above the agent's own, gets groups of nodes.
func TestFindMemoryGroups(t *testing.T) {
	const unit = "/system.slice/zeekwire-agent.service"
	for name, tt := range map[string]struct {
		own, delegated string
		found          bool
	}{
		"subgroup":            {unit + "/agent", unit, true},
		"no subgroup":         {unit, unit, false},
		"something else":      {"/user.slice/session-1.scope", unit, false},
		"root of a container": {"/", unit, false},
	} {
		root := machine(t, tt.own, tt.delegated)
		want := memoryGroups{}
		if tt.found {
			want = memoryGroups{filepath.Join(root, "sys/fs/cgroup", unit), "i"}
		}
		if got := findMemoryGroups(root, "i"); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if got := findMemoryGroups(t.TempDir(), "i"); got != (memoryGroups{}) {
		t.Errorf("without /proc: %+v", got)
	}
}

// limited returns a node with a memory limit.
func limited(limit string) launch.Node {
	n := node("w", "")
	n.Options = []zeekapi.Option{{Name: zeekapi.OptionMemoryLimit, Value: limit}}
	return n
}

// The group of a node has its limit, and says whether the kernel has killed the node.
func TestMemoryGroup(t *testing.T) {
	g := memoryGroups{t.TempDir(), "i"}
	// The kernel creates these files with the group.
	for _, file := range []string{"memory.max", "memory.events", "memory.oom.group"} {
		if err := errors.Join(os.MkdirAll(g.group("w"), 0o755), os.WriteFile(filepath.Join(g.group("w"), file), []byte("max"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	entered, err := g.enter(cmd, limited("1G"))
	if err != nil {
		t.Fatal(err)
	}
	defer entered()
	if !cmd.SysProcAttr.UseCgroupFD || cmd.SysProcAttr.CgroupFD == 0 {
		t.Errorf("the node does not start in its group: %+v", cmd.SysProcAttr)
	}
	expect := func(want string) {
		t.Helper()
		if b, err := os.ReadFile(filepath.Join(g.group("w"), "memory.max")); string(b) != want {
			t.Errorf("the limit is %q, %v, want %q", b, err, want)
		}
	}
	expect("1073741824")
	for bytes, want := range map[int64]string{0: "max", 4096: "4096"} {
		if err := g.limit("w", bytes); err != nil {
			t.Fatal(err)
		}
		expect(want)
	}
	if !g.undo(cmd) || cmd.SysProcAttr.UseCgroupFD || g.undo(cmd) {
		t.Errorf("after undo: %+v", cmd.SysProcAttr)
	}

	died := errors.New("signal: killed")
	for events, want := range map[string]string{
		"":                                 "signal: killed",
		"low 0\noom 1\noom_kill 0\n":       "signal: killed",
		"oom 1\noom_kill 2\noom_group 1\n": "the kernel killed it because of its memory limit",
	} {
		if err := os.WriteFile(filepath.Join(g.group("w"), "memory.events"), []byte(events), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := g.leave(limited("1G"), died); !errors.Is(got, died) || !strings.HasPrefix(got.Error(), want) {
			t.Errorf("events %q: %v, want %s", events, got, want)
		}
		if got := g.leave(limited("1G"), nil); got != nil {
			t.Errorf("a node that ended normally: %v", got)
		}
	}
	if _, err := g.enter(cmd, limited("much")); err == nil {
		t.Error("an invalid limit is no error")
	}
}

// A node whose group cannot be used starts without one.
func TestNodeWithoutMemoryGroup(t *testing.T) {
	for name, dir := range map[string]string{"no control group": t.TempDir(), "missing": "/does/not/exist"} {
		t.Run(name, func(t *testing.T) {
			l := start(t, Config{})
			l.memory = memoryGroups{dir, "i"}
			l.Start(limited("1G"))
			next[launch.Started](t, l)
			l.LimitMemory("w", 5)
			l.LimitMemory("other", 5)
			l.Stop("w")
			next[launch.Exited](t, l)
		})
	}
}
