package zeek

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/loaded"
)

// newWatcher returns the watcher of the nodes' scripts.
func (l *Launcher) newWatcher() *loaded.Watcher {
	return loaded.NewWatcher(loaded.Config{
		Nodes: l.loadedNodes, Ignored: l.ignores, Zeek: l.presentZeek,
		Args: joinArgs(l.common.all()), Events: &l.events, Interval: l.config.scanInterval, Log: l.config.Log,
	})
}

// Scan looks for changed scripts. An Edited event follows.
func (l *Launcher) Scan() { l.watcher.Scan() }

// Scripts lists the scripts that a running node has loaded.
func (l *Launcher) Scripts(ctx context.Context, name string, all bool) (zeekapi.NodeScripts, error) {
	return l.watcher.List(ctx, name, all)
}

// started describes the start of the node that a note is about.
func (l *Launcher) started(n note) loaded.Node {
	name := n.Node.Name
	return loaded.Node{Name: name, Dir: l.nodeDir(name), Start: n.Token, Began: n.Began, Zeek: n.Zeek, Args: joinArgs(n.Common)}
}

// joinArgs returns a text that differs for different arguments.
func joinArgs(words []string) string { return strings.Join(words, "\x00") }

// loadedNodes returns the nodes that run.
func (l *Launcher) loadedNodes() []loaded.Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	var nodes []loaded.Node
	for _, n := range l.nodes {
		if n.started.Start != "" {
			nodes = append(nodes, n.started)
		}
	}
	return nodes
}

func (l *Launcher) presentZeek(ctx context.Context) string {
	l.refresh(ctx)
	return l.zeek().text
}

// ignores reports whether a script of a node belongs to the Zeek installation, whose
// version shows its changes, or to the launcher.
func (l *Launcher) ignores(n loaded.Node, path string) bool {
	z := l.zeek()
	return l.scripts.Has(path) || path == filepath.Join(n.Dir, layoutFile) ||
		within(path, z.scriptDirs) && !within(path, z.siteDirs)
}

// within reports whether a path is inside one of the directories.
func within(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") })
}
