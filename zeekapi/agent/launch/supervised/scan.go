package supervised

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/loaded"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
)

// loadedNodes returns the running nodes of the agent.
func (l *Launcher) loadedNodes() []loaded.Node {
	l.mu.Lock()
	processes := l.machine.processes()
	directories := make(map[string]string)
	for _, name := range processes {
		directories[name] = l.machine.directory(name)
	}
	l.mu.Unlock()
	var nodes []loaded.Node
	for pid, name := range processes {
		s, err := proc.Read(pid)
		if err != nil || s.Name != processName(name) || !filepath.IsAbs(directories[name]) {
			continue
		}
		nodes = append(nodes, loaded.Node{
			Name: name, Dir: directories[name], Start: fmt.Sprintf("%d %s", pid, s.StartTime), Began: s.Started(),
		})
	}
	return nodes
}

// Scripts lists the scripts that a running node of the agent has loaded. Those of the Zeek
// installation have fingerprints, too.
func (l *Launcher) Scripts(ctx context.Context, name string, all bool) (zeekapi.NodeScripts, error) {
	return l.watcher.List(ctx, name, all)
}

// ignores reports whether a script belongs to the launcher.
func (l *Launcher) ignores(_ loaded.Node, path string) bool { return l.scripts.Has(path) }
