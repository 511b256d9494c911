// Package dirlock locks directories, for one owner or for several that share them.
package dirlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// patience is the longest time to wait for a lock. A child that a killed agent was
// about to start holds the agent's lock until it executes its program.
const patience = 2 * time.Second

const pollInterval = 20 * time.Millisecond

// ErrInUse is the error of a lock that another process holds.
var ErrInUse = errors.New("in use by another agent")

// Take locks the file of the given name in a directory, which it creates if it does not
// exist. The lock lasts until the returned file is closed. Child processes do not
// inherit it.
func Take(ctx context.Context, dir, name string) (*os.File, error) {
	return lock(ctx, dir, name, syscall.LOCK_EX)
}

// Share is like Take, but several processes can share the lock at the same time.
func Share(ctx context.Context, dir, name string) (*os.File, error) {
	return lock(ctx, dir, name, syscall.LOCK_SH)
}

// Held reports whether a process has taken the lock.
func Held(dir, name string) bool {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

func lock(ctx context.Context, dir, name string, how int) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	name = filepath.Join(dir, name)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, syscall.EROFS) {
		f, err = os.Open(name) // a lock changes nothing in the file
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		switch err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); {
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
			return nil, fmt.Errorf("directory %s is %w", dir, ErrInUse)
		}
	}
}

// Lost returns nil if a file that Take returned is still the one that others would lock.
// If it was removed or replaced, Lost returns an error that says what to do: the
// directory has no owner then, or another one.
func Lost(f *os.File) error {
	held, err := f.Stat()
	if err != nil {
		return err
	}
	switch named, err := os.Stat(f.Name()); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s was removed while the agent was using it; put its directory back, or restart the agent to begin a new one", f.Name())
	case err != nil:
		return err
	case !os.SameFile(held, named):
		return fmt.Errorf("%s was replaced while the agent was using it; put the former directory back, or restart the agent to use the new one", f.Name())
	}
	return nil
}
