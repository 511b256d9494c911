package zeek

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// delegatedGroup moves this process into the subgroup of a new control group, which looks as if
// systemd had delegated it. The test is skipped without root, or if the kernel does not offer the
// memory controller of cgroup v2, such as on a machine with cgroup v1.
func delegatedGroup(t *testing.T) (dir string) {
	t.Helper()
	const root = "/sys/fs/cgroup"
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil || !strings.Contains(string(controllers), "memory") {
		t.Skip("NOT TESTED WITH THE KERNEL: /sys/fs/cgroup has no memory controller of cgroup v2")
	}
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED WITH THE KERNEL: control groups require root")
	}
	if err := setAttribute(filepath.Join(root, "cgroup.subtree_control"), "+memory"); err != nil {
		t.Skipf("NOT TESTED WITH THE KERNEL: no groups with memory limits below the root: %v", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(root, strings.TrimPrefix(strings.TrimSpace(string(own)), "0::"))
	dir = filepath.Join(root, fmt.Sprintf("zeekwire-test-%d", os.Getpid()))
	agent := filepath.Join(dir, "agent")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(agent, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(enterGroup(before), os.Remove(agent), os.Remove(dir)); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Setxattr(dir, "user.delegate", []byte("1"), 0); err != nil {
		if err = unix.Setxattr(dir, "trusted.delegate", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := enterGroup(agent); err != nil {
		t.Fatal(err)
	}
	return dir
}

// enterGroup moves this process into a group.
func enterGroup(dir string) error {
	return setAttribute(filepath.Join(dir, "cgroup.procs"), fmt.Sprint(os.Getpid()))
}

// TestMemoryGroupOfKernel checks the limits of nodes, and the errors of the kernel that the
// launcher expects, with control groups of the kernel.
func TestMemoryGroupOfKernel(t *testing.T) {
	dir := delegatedGroup(t)
	own := strings.TrimPrefix(dir, "/sys/fs/cgroup")

	// A process in the group itself: its groups cannot limit memory.
	if err := enterGroup(dir); err != nil {
		t.Fatal(err)
	}
	if err := setAttribute(filepath.Join(dir, "cgroup.subtree_control"), "+memory"); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("enabling memory with a process in the group: %v, want EBUSY", err)
	}
	if g := findMemoryGroups("/", "i"); g.dir != "" {
		t.Errorf("an agent in the group itself uses %+v", g)
	}
	if err := enterGroup(filepath.Join(dir, "agent")); err != nil {
		t.Fatal(err)
	}

	g := findMemoryGroups("/", "i")
	if g.dir != dir {
		t.Fatalf("groups are %+v, want those in %s", g, own)
	}
	if err := enterGroup(dir); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("entering a group with limited groups: %v, want EBUSY", err)
	}
	if err := g.limit("other", 1<<20); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("limit of a missing group: %v", err)
	}

	run := func(script, limit string) error {
		t.Helper()
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		entered, err := g.enter(cmd, limited(limit))
		if err != nil {
			t.Fatal(err)
		}
		defer entered()
		out, err := cmd.CombinedOutput()
		if text := strings.TrimSpace(string(out)); text != "" {
			t.Log(text)
		}
		return g.leave(limited(limit), err)
	}
	if err := run("grep -q 0::"+own+"/node-i-w /proc/self/cgroup && grep -q 1073741824 /sys/fs/cgroup"+own+"/node-i-w/memory.max", "1G"); err != nil {
		t.Errorf("a node is not in its group, or has no limit: %v", err)
	}
	if _, err := os.Stat(g.group("w")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the group of a node that has ended: %v", err)
	}
	err := run("x=0123456789abcdef; while :; do x=$x$x; done", "20M")
	if err == nil || !strings.Contains(err.Error(), "the kernel killed it because of its memory limit of 20971520 bytes: signal: killed") {
		t.Errorf("a node that uses too much memory: %v", err)
	}
	if err := run("kill -KILL $$", "1G"); err == nil || err.Error() != "signal: killed" {
		t.Errorf("a node that was killed: %v", err)
	}
	staysInGroup(t, g)
}

// staysInGroup checks that a limit can change while a node runs, and that the group of a node
// with a process remains, and serves the next start.
func staysInGroup(t *testing.T, g memoryGroups) {
	t.Helper()
	start := func(limit string) *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		entered, err := g.enter(cmd, limited(limit))
		if err != nil {
			t.Fatal(err)
		}
		defer entered()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	first := start("1G")
	if err := g.limit("w", 2<<30); err != nil {
		t.Error(err)
	}
	if err := g.leave(limited("1G"), nil); err != nil {
		t.Error(err)
	}
	if err := syscall.Rmdir(g.group("w")); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("removing a group with a process: %v, want EBUSY", err)
	}
	second := start("512M")
	if b, err := os.ReadFile(filepath.Join(g.group("w"), "memory.max")); strings.TrimSpace(string(b)) != "536870912" || err != nil {
		t.Errorf("the limit is %q, %v", b, err)
	}
	for _, cmd := range []*exec.Cmd{first, second} {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	for range 100 { // the kernel removes processes from a group after their end
		if err := syscall.Rmdir(g.group("w")); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the group cannot be removed")
}
