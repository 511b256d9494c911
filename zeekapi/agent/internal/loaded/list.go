package loaded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// List returns the scripts that a node has loaded since its start, in order, with what has
// changed since then. Scripts that Config.Ignored excludes have no fingerprint; they are
// omitted unless all is set. The error is launch.ErrNoScripts if the node does not run, or
// has no fingerprint yet. List may be called concurrently with all methods.
func (w *Watcher) List(ctx context.Context, name string, all bool) (zeekapi.NodeScripts, error) {
	var scripts zeekapi.NodeScripts
	nodes := w.config.Nodes()
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return scripts, launch.ErrNoScripts
	}
	n := nodes[i]
	files, err := Load(filepath.Join(n.Dir, FingerprintFile), n.Start)
	if errors.Is(err, fs.ErrNotExist) {
		return scripts, launch.ErrNoScripts
	}
	if err != nil {
		return scripts, fmt.Errorf("the fingerprint of its scripts cannot be read: %w", err)
	}
	changed := make(map[string]bool)
	for _, path := range NewLook(ctx).Changed(slices.Clone(files)) {
		changed[path] = true
	}
	paths, err := readListOf(n)
	if err != nil || !all {
		for _, f := range files {
			scripts.Scripts = append(scripts.Scripts, zeekapi.LoadedScript{Path: f.Path, Hash: f.Hash, Changed: changed[f.Path]})
		}
		scripts.Omitted = uint64(max(0, len(paths)-len(files)))
	} else {
		scripts.Scripts = inOrder(paths, files, changed)
	}
	var zeek string
	if w.config.Zeek != nil {
		zeek = w.config.Zeek(ctx)
	}
	scripts.Changes = w.otherChanges(n, zeek)
	return scripts, ctx.Err()
}

// inOrder returns all loaded scripts, of which those in files have a fingerprint.
func inOrder(paths []string, files []File, changed map[string]bool) []zeekapi.LoadedScript {
	hashes := make(map[string]string, len(files))
	for _, f := range files {
		hashes[f.Path] = f.Hash
	}
	all := make([]zeekapi.LoadedScript, len(paths))
	for i, path := range paths {
		all[i] = zeekapi.LoadedScript{Path: path, Hash: hashes[path], Changed: changed[path]}
	}
	return all
}
