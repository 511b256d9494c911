package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/dirlock"
)

const (
	// lockFile is the name of the file in the state directory that all launchers lock.
	lockFile = "launcher.lock"

	// ownersDir is the directory, in the state directory, with a lock file for each
	// instance.
	ownersDir = "launchers"
)

// Owner owns the nodes of an instance in a state directory.
type Owner struct {
	dir, instance string
	locks         []*os.File
}

// Own locks a state directory, so that no other launcher manages the nodes of an instance
// there. Launchers of other instances may share the directory. An empty instance stands for
// all: its launcher shares the directory with no other. Own waits a short time for the lock.
func Own(ctx context.Context, dir, instance string) (*Owner, error) {
	if instance == "" {
		f, err := dirlock.Take(ctx, dir, lockFile)
		if err != nil {
			return nil, fmt.Errorf("state %w", err)
		}
		return &Owner{dir, "", []*os.File{f}}, nil
	}
	shared, err := dirlock.Share(ctx, dir, lockFile)
	if err != nil {
		if errors.Is(err, dirlock.ErrInUse) {
			err = fmt.Errorf("%w, which does not share it; use another state-dir", err)
		}
		return nil, fmt.Errorf("state %w", err)
	}
	own, err := dirlock.Take(ctx, filepath.Join(dir, ownersDir), instance+".lock")
	if err != nil {
		shared.Close()
		if errors.Is(err, dirlock.ErrInUse) {
			err = fmt.Errorf("state directory %s is %w with the name %q; use another name or state-dir", dir, dirlock.ErrInUse, instance)
		}
		return nil, err
	}
	return &Owner{dir, instance, []*os.File{shared, own}}, nil
}

// Close releases the directory.
func (o *Owner) Close() {
	for _, f := range o.locks {
		f.Close()
	}
}

// Owns reports whether nodes of an instance belong to the owner.
func (o *Owner) Owns(instance string) bool { return o.instance == "" || o.instance == instance }

// Present reports whether another launcher owns the nodes of an instance.
func (o *Owner) Present(instance string) bool {
	return instance != "" && !o.Owns(instance) && dirlock.Held(filepath.Join(o.dir, ownersDir), instance+".lock")
}
