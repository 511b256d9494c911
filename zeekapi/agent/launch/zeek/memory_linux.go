package zeek

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// memoryGroups are the control groups of nodes, which limit their memory. The zero
// memoryGroups has none: the agent then watches the memory of nodes.
//
// A group is made for a node if the service manager has delegated the group above that of the
// agent (systemd: Delegate= and DelegateSubgroup=). Other programs may rely on all other
// groups.
type memoryGroups struct {
	dir      string // of the delegated group; "": none
	instance string
}

// findMemoryGroups returns the groups for the nodes of an instance. The file system has the
// given root, which is / except in tests.
func findMemoryGroups(root, instance string) memoryGroups {
	own, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return memoryGroups{}
	}
	for line := range strings.Lines(string(own)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/")
		if !ok || name == "" {
			continue
		}
		above := filepath.Dir(filepath.Join(root, "sys/fs/cgroup", name))
		if isDelegated(above) && hasMemory(above) {
			return memoryGroups{above, instance}
		}
	}
	return memoryGroups{}
}

// isDelegated reports whether systemd has delegated a group to its user.
func isDelegated(dir string) bool {
	value := make([]byte, 8)
	for _, attribute := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, attribute, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// hasMemory makes the groups in a group limit memory, and reports whether they do.
func hasMemory(dir string) bool {
	file := filepath.Join(dir, "cgroup.subtree_control")
	enabled := func() bool {
		b, err := os.ReadFile(file)
		return err == nil && slices.Contains(strings.Fields(string(b)), "memory")
	}
	if enabled() {
		return true
	}
	// The kernel refuses it with EBUSY if a process is in the group itself, and with ENOENT if
	// the group above does not limit memory.
	_ = setAttribute(file, "+memory")
	return enabled()
}

// group returns the directory of a node's group.
func (g memoryGroups) group(node string) string {
	return filepath.Join(g.dir, "node-"+g.instance+"-"+node)
}

// enter makes cmd start in the group of a node, which has the limit of its configuration.
// The returned function must be called after the start.
func (g memoryGroups) enter(cmd *exec.Cmd, n launch.Node) (entered func(), err error) {
	if g.dir == "" {
		return func() {}, nil
	}
	limit, _, err := n.MemoryLimit()
	if err != nil {
		return nil, err
	}
	dir := g.group(n.Name)
	_ = syscall.Rmdir(dir) // left by an earlier launcher, with its counts
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := g.limit(n.Name, limit); err != nil {
		return nil, err
	}
	// The kernel kills all processes of the node, and not only one.
	_ = setAttribute(filepath.Join(dir, "memory.oom.group"), "1")
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	return func() { f.Close() }, nil
}

// undo makes cmd start in the group of the agent, and reports whether it would have started in
// another one.
func (memoryGroups) undo(cmd *exec.Cmd) bool {
	was := cmd.SysProcAttr.UseCgroupFD
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = false, 0
	return was
}

// limit changes the limit of a node's group; 0 means none.
func (g memoryGroups) limit(node string, bytes int64) error {
	text := "max"
	if bytes > 0 {
		text = strconv.FormatInt(bytes, 10)
	}
	return setAttribute(filepath.Join(g.group(node), "memory.max"), text)
}

// setAttribute writes to a file of a control group. It does not create the file, for which the
// kernel would return EACCES instead of ENOENT.
func setAttribute(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// leave removes the group of a node that has ended, and returns err, or why the kernel has
// killed the node.
func (g memoryGroups) leave(n launch.Node, err error) error {
	if g.dir == "" {
		return err
	}
	dir := g.group(n.Name)
	killed := killedForMemory(dir)
	limit, _ := os.ReadFile(filepath.Join(dir, "memory.max"))
	_ = syscall.Rmdir(dir) // a process may still be ending: the next start removes the group
	if killed && err != nil {
		return fmt.Errorf("the kernel killed it because of its memory limit of %s bytes: %w", strings.TrimSpace(string(limit)), err)
	}
	return err
}

// killedForMemory reports whether the kernel has killed a process of a group because of its
// memory limit.
func killedForMemory(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "memory.events"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return count != "0"
		}
	}
	return false
}

// LimitMemory changes the memory limit of a running node, in bytes; 0 for none. Without a
// control group it does nothing: the agent watches the memory of the node.
func (l *Launcher) LimitMemory(name string, bytes int64) {
	if l.memory.dir == "" {
		return
	}
	if err := l.memory.limit(name, bytes); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.config.Log.Warn().Str("node", name).Err(err).Msg("cannot change the memory limit of the control group")
	}
}
