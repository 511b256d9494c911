// Package dirlock keeps directories to one agent each.
package dirlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// patience is how long a directory may still belong to somebody. A process that
// an agent was about to start when it was killed has the agent's lock until it
// is the program that it is to be.
const patience = 2 * time.Second

const pollInterval = 20 * time.Millisecond

// Take takes a directory, which it makes if need be, for as long as the file
// that it returns is open, by a lock on the file of that name in it. Programs
// that are started do not inherit it.
func Take(ctx context.Context, dir, name string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("state directory %s is in use by another agent", dir)
		}
	}
}
