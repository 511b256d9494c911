package zeek

import (
	"context"
	"fmt"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/dirlock"
)

// reserveFile is the name of the lock file in a node's directory, for launchers that are
// about to start a node there.
const reserveFile = ".zeekwire-lock"

// reserve writes the note of a node that is about to start, unless the directory belongs to
// a node of another instance.
func (l *Launcher) reserve(ctx context.Context, n note) error {
	dir := l.nodeDir(n.Node.Name)
	if l.config.Instance != "" {
		lock, err := dirlock.Take(ctx, dir, reserveFile)
		if err != nil {
			return err
		}
		defer lock.Close()
		if err := l.checkOwner(n.Node.Name); err != nil {
			return err
		}
	}
	if err := n.write(dir); err != nil {
		return fmt.Errorf("recording the start of the node: %w", err)
	}
	return nil
}

// checkOwner returns an error if the directory of a node belongs to a node of another
// instance that runs, or that may be about to start.
func (l *Launcher) checkOwner(name string) error {
	if l.hasProcess(name) {
		return nil
	}
	dir := l.nodeDir(name)
	n, err := readNote(dir)
	if err != nil || l.owner.Owns(n.Node.Instance) {
		return nil // New reports errors
	}
	if l.owner.Present(n.Node.Instance) {
		return fmt.Errorf("directory %s belongs to a node of %s with the same name; use another state-dir for the agent of a different cluster",
			dir, n.Node.Instance)
	}
	if pid := l.processOf(n); pid != 0 {
		return fmt.Errorf("directory %s belongs to a node of %s, which runs without its agent: start that agent, or end process %d",
			dir, n.Node.Instance, pid)
	}
	return nil
}

// hasProcess reports whether the launcher has started or found a process of a node.
func (l *Launcher) hasProcess(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[name]
	return n != nil && n.pid != 0
}

// processOf returns the process ID of a note, and 0 if the process has ended.
func (l *Launcher) processOf(n note) int {
	all, err := marked(l.nodesDir())
	if err != nil {
		return 0
	}
	p, ok := n.leader(all)
	defer p.close()
	if !ok {
		return 0
	}
	return p.pid
}

// isOthers reports whether a process belongs to a node of another instance. The note of
// such a node exists before its first process starts, and until the last one has ended.
func (l *Launcher) isOthers(m mark) bool {
	n, err := readNote(m.dir)
	return err == nil && n.Token == m.token && !l.owner.Owns(n.Node.Instance)
}

// pass leaves a node to the launcher of its instance, and logs if there is none.
func (l *Launcher) pass(n note, all []mark) {
	p, ok := n.leader(all)
	defer p.close()
	if ok && !l.owner.Present(n.Node.Instance) {
		l.config.Log.Warn().Str("node", n.Node.Name).Str("instance", n.Node.Instance).Int("pid", p.pid).
			Msg("a node of an agent with another name is running without its agent")
	}
}
