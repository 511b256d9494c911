// Package dirlock gives each directory a single owner.
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

// patience is the longest time to wait for a lock. A child that a killed agent was
// about to start holds the agent's lock until it executes its program.
const patience = 2 * time.Second

const pollInterval = 20 * time.Millisecond

// Take locks the file of the given name in a directory, which it creates if it does not
// exist. The lock lasts until the returned file is closed. Child processes do not
// inherit it.
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
