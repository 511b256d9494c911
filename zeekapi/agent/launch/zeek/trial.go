package zeek

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// Resources that a node needs at least. Nodes that run need more; the limits find machines
// on which nothing can start.
const (
	minMemory = 64 << 20 // of a node that does not run
	minDisk   = 64 << 20 // free space in the file system of its directory
	minFiles  = 64       // further files that this file system can hold
)

// resources measures the machine.
type resources struct {
	memory func() (uint64, bool)         // available; false: unknown
	disk   func(dir string) (disk, bool) // of an existing directory; false: unknown
}

// disk is the free space in a file system.
type disk struct{ bytes, files uint64 }

// trial is a check whose result decides about a deployment. It reports all problems of a
// node, and Zeek loads the scripts of all nodes.
func (l *Launcher) trial(ctx context.Context, nodes []launch.Node) []launch.Checked {
	ctx, cancel := context.WithTimeout(ctx, l.config.CheckTimeout)
	defer cancel()
	zeekErr := l.inspectAgain(ctx)
	results := l.checkMachine(nodes)
	memory := l.checkMemory(nodes)
	alike := make(map[parseKey][]*launch.Checked)
	for i := range results {
		r := &results[i]
		r.Trial = true
		if l.canParse(r.Node) && zeekErr == nil {
			key := l.parseKey(r.Node)
			alike[key] = append(alike[key], r)
		}
		r.Err = errors.Join(zeekErr, r.Err, memory[r.Node.Name])
		if l.refuse(r.Node) == nil {
			r.Err = errors.Join(r.Err, l.checkDirectory(l.nodeDir(r.Node.Name)))
		}
	}
	var work errgroup.Group
	for key, same := range alike {
		work.Go(func() error {
			outputs, err := l.tryInTime(ctx, same[0].Node)
			l.parsed.set(key, err == nil)
			for _, r := range same {
				r.Outputs, r.Err = outputs, errors.Join(r.Err, err)
			}
			return nil
		})
	}
	_ = work.Wait() // errors are in the results
	return results
}

// canParse reports whether Zeek can load the scripts of a node, whatever else is wrong
// with it.
func (l *Launcher) canParse(n launch.Node) bool {
	_, err := n.Layout.Members()
	return err == nil && l.refuse(n) == nil
}

// tryInTime has Zeek load the scripts of a node. All trials share the number of Zeeks that
// may do so at the same time. Scripts that do not load in time are an error.
func (l *Launcher) tryInTime(ctx context.Context, n launch.Node) (zeekapi.NodeOutputs, error) {
	select {
	case l.trials <- struct{}{}:
		defer func() { <-l.trials }()
	case <-ctx.Done():
		return zeekapi.NodeOutputs{}, l.late(ctx, "its scripts could not be loaded within %s, as other scripts were still loading")
	}
	outputs, err := l.tryParse(ctx, n)
	if err != nil && ctx.Err() != nil {
		err = l.late(ctx, "its scripts were still loading after %s")
	}
	return outputs, err
}

// late returns the error of a trial that has ended too early.
func (l *Launcher) late(ctx context.Context, text string) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("the agent is ending")
	}
	return fmt.Errorf(text+"; raise the agent's setting check-timeout", l.config.CheckTimeout)
}

// checkMemory returns errors, by name, for the nodes that do not run yet if there is no
// memory for all of them.
func (l *Launcher) checkMemory(nodes []launch.Node) map[string]error {
	var starting []string
	l.mu.Lock()
	for _, n := range nodes {
		if l.nodes[n.Name] == nil {
			starting = append(starting, n.Name)
		}
	}
	l.mu.Unlock()
	available, known := l.resources.memory()
	need := uint64(len(starting)) * minMemory
	if !known || available >= need {
		return nil
	}
	wrong := make(map[string]error)
	for _, name := range starting {
		wrong[name] = fmt.Errorf("memory: %d nodes that do not run yet need at least %d MiB, only %d MiB are available",
			len(starting), need>>20, available>>20)
	}
	return wrong
}

// checkDirectory returns an error if a directory cannot be created or written, or if its
// file system is full. It creates nothing.
func (l *Launcher) checkDirectory(dir string) error {
	existing := dir
	for {
		info, err := os.Stat(existing)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("directory %s: %s is not a directory", dir, existing)
		}
		if err == nil {
			break
		}
		if _, linkErr := os.Lstat(existing); linkErr == nil || existing == filepath.Dir(existing) {
			return fmt.Errorf("directory %s: %w", dir, err)
		}
		existing = filepath.Dir(existing)
	}
	if err := writable(existing); err != nil {
		return fmt.Errorf("directory %s cannot be written: %s: %w", dir, existing, err)
	}
	free, known := l.resources.disk(existing)
	if known && free.bytes < minDisk {
		return fmt.Errorf("directory %s: only %d MiB of disk space are free, want at least %d MiB", dir, free.bytes>>20, minDisk>>20)
	}
	if known && free.files < minFiles {
		return fmt.Errorf("directory %s: the file system can hold only %d more files, want at least %d", dir, free.files, minFiles)
	}
	return nil
}
