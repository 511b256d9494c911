package zeek

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/loaded"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// found is a node that an earlier launcher left running.
type found struct {
	launch.Running
	process process
	started loaded.Node
}

// find returns the nodes that an earlier launcher left running. It stops nodes that
// connect to the agent with other settings, and kills the remaining processes of nodes
// whose main process has ended.
func (l *Launcher) find(ctx context.Context) ([]found, error) {
	dirs, err := os.ReadDir(l.nodesDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	all, err := marked(l.nodesDir())
	if err != nil {
		return nil, fmt.Errorf("searching for processes of an earlier launcher: %w", err)
	}
	var whole []found
	kept := make(map[string]bool) // tokens
	for _, entry := range dirs {
		dir := l.nodeDir(entry.Name())
		n, err := readNote(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("node of an earlier launcher: %w", err)
		}
		if !l.owner.Owns(n.Node.Instance) {
			l.pass(n, all)
			continue
		}
		p, ok := n.leader(all)
		if ok && n.Reach == l.reach() {
			l.config.Log.Info().Str("node", n.Node.Name).Int("pid", p.pid).Msg("adopting a running node")
			if n.Process == nil || *n.Process != *p.id {
				n.Process = p.id
				if err := n.write(dir); err != nil {
					l.config.Log.Warn().Err(err).Str("node", n.Node.Name).Msg("cannot record the process of the node")
				}
			}
			kept[n.Token] = true
			whole = append(whole, found{
				launch.Running{Node: n.Node, PID: int64(p.pid), Started: p.id.started()}, p, l.started(n),
			})
			continue
		}
		if ok {
			l.config.Log.Warn().Str("node", n.Node.Name).Int("pid", p.pid).Msg("stopping a node that connects to the agent with other settings")
			p.signal(syscall.SIGTERM)
			patience, cancel := context.WithTimeout(ctx, l.config.Patience)
			poll(patience, func() bool { return !p.lives() })
			cancel()
			p.kill()
			p.close()
		}
		if err := forget(dir); err != nil {
			return nil, err
		}
	}
	for _, m := range all {
		if !kept[m.token] && !l.isOthers(m) && m.lives() {
			l.config.Log.Warn().Str("directory", m.dir).Int("pid", m.id.PID).Msg("killing a remaining process of a node")
			m.signal(syscall.SIGKILL)
		}
	}
	return whole, nil
}
