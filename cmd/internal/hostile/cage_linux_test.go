package hostile

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// memoryLimit is the limit for each process under attack, in bytes.
const memoryLimit = 512 << 20

// cage is a control group with a memory limit. The kernel ends processes that
// exceed it.
type cage struct{ dir string }

// newCage returns a new control group, or nil if there can be none here.
func newCage(t *testing.T, name string) *cage {
	t.Helper()
	name = fmt.Sprintf("zeekwire-hostile-%d-%s", os.Getpid(), name)
	for _, parent := range cageParents() {
		c := &cage{filepath.Join(parent.dir, name)}
		if os.Mkdir(c.dir, 0o755) != nil {
			continue
		}
		if os.WriteFile(filepath.Join(c.dir, parent.limit), fmt.Append(nil, memoryLimit), 0o600) != nil {
			os.Remove(c.dir)
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(c.dir); err != nil {
				t.Errorf("control group: %v", err)
			}
		})
		return c
	}
	return nil
}

// cageParent is a control group that can have children with a memory limit. Limit
// is the name of the file for it.
type cageParent struct{ dir, limit string }

// cageParents returns the control groups of this process, of version 2 and version
// 1, and their roots.
func cageParents() []cageParent {
	var parents []cageParent
	own := ownGroups()
	for _, line := range lines("/proc/self/mounts") {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		dir := fields[1]
		switch {
		case fields[2] == "cgroup2":
			for _, d := range []string{filepath.Join(dir, own[""]), dir} {
				if controllers, _ := os.ReadFile(filepath.Join(d, "cgroup.subtree_control")); strings.Contains(string(controllers), "memory") {
					parents = append(parents, cageParent{d, "memory.max"})
				}
			}
		case fields[2] == "cgroup" && strings.Contains(","+fields[3]+",", ",memory,"):
			parents = append(parents, cageParent{filepath.Join(dir, own["memory"]), "memory.limit_in_bytes"}, cageParent{dir, "memory.limit_in_bytes"})
		}
	}
	return parents
}

// ownGroups returns the control groups of this process by their controller, "" for
// those of version 2.
func ownGroups() map[string]string {
	groups := make(map[string]string)
	for _, line := range lines("/proc/self/cgroup") {
		if fields := strings.SplitN(line, ":", 3); len(fields) == 3 {
			for controller := range strings.SplitSeq(fields[1], ",") {
				groups[controller] = fields[2]
			}
		}
	}
	return groups
}

// lines returns the lines of a file, none if it cannot be read.
func lines(name string) (all []string) {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		all = append(all, s.Text())
	}
	return all
}

// command returns a command that runs in the cage. Without a cage, the command is
// told its limit, and its memory must be watched.
func (c *cage) command(binary string, args ...string) *exec.Cmd {
	if c == nil {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", memoryLimit/8*7))
		return cmd
	}
	enter := []string{"-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(c.dir, "cgroup.procs"), binary}
	cmd := exec.Command("/bin/sh", append(enter, args...)...)
	cmd.Env = os.Environ()
	return cmd
}
