package controller

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// lockTimeout is the longest time to wait for another process that locks the file.
const lockTimeout = time.Second

// Errors of a file that cannot be written. They say what to do.
var (
	errGone     = errors.New("the file was removed while the controller was using it; put it back, or its directory without the file, which is then written again")
	errReplaced = errors.New("another file was put in its place while the controller was using it; put the former one back, or restart the controller to use the new one")
	errReadOnly = fmt.Errorf("%w; make the file system writable", syscall.EROFS)
	errFull     = fmt.Errorf("%w; free some space there", syscall.ENOSPC)
)

// storeFile is the database of a FileStore. The process has a lock on the file as long as
// it is open.
type storeFile struct {
	name     string
	db       *bolt.DB
	held     *os.File // the file that db uses
	device   uint64   // of the file
	readOnly bool     // the file system was read-only when the file was opened
	ahead    bool     // the first meta page leads to an older state, see update
}

// open opens the database, and prepares it if it is new. On a read-only file system it
// opens the database for reading.
func (f *storeFile) open(patience time.Duration) (err error) {
	err = f.openAs(false, patience)
	if errors.Is(err, syscall.EROFS) {
		err = f.openAs(true, patience)
	}
	var system *fs.PathError
	var errno syscall.Errno
	if err != nil && !errors.Is(err, errFileDamaged) && !errors.Is(err, bolterrors.ErrTimeout) && !errors.As(err, &system) && !errors.As(err, &errno) {
		err = fmt.Errorf("%w (%w)", errFileDamaged, err) // not a file of bbolt
	}
	if err != nil {
		return err
	}
	if err := f.prepare(); err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

func (f *storeFile) openAs(readOnly bool, patience time.Duration) error {
	options := &bolt.Options{Timeout: patience, ReadOnly: readOnly}
	options.OpenFile = func(name string, flags int, mode os.FileMode) (*os.File, error) {
		held, err := os.OpenFile(name, flags, mode)
		f.held = held
		return held, err
	}
	err := undamaged(func() (err error) {
		f.db, err = bolt.Open(f.name, 0o600, options)
		return err
	})
	if err != nil {
		return err
	}
	f.readOnly = readOnly
	info, err := f.held.Stat()
	if err == nil && readOnly {
		// The lock of a database that is only read is a shared one.
		if err = syscall.Flock(int(f.held.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
			err = bolterrors.ErrTimeout
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	f.device = deviceOf(info)
	return nil
}

// prepare makes sure that the file has the present schema. It changes nothing in a file
// that has, so that it succeeds on a full disk.
func (f *storeFile) prepare() error {
	current := false
	err := undamaged(func() error {
		return f.db.View(func(tx *bolt.Tx) (err error) {
			current, err = hasSchema(tx)
			return err
		})
	})
	if err != nil || current {
		return err
	}
	return f.update(prepareFile)
}

// update commits a transaction, and then one without changes. A database begins with
// two pages that locate the rest, and each transaction writes one of them in turn.
// If the newer page is damaged, bbolt silently uses the older one. Therefore both
// must lead to the latest state. The changes are stored if only the second transaction
// fails; usable then tries again.
func (f *storeFile) update(change func(*bolt.Tx) error) error {
	return undamaged(func() error {
		if err := f.db.Update(change); err != nil {
			return err
		}
		f.ahead = f.db.Update(nothing) != nil
		return nil
	})
}

func nothing(*bolt.Tx) error { return nil }

// usable returns why the file must not be written, nil if it may be. The file with the
// name must be the one that is locked: another controller can lock any other.
func (f *storeFile) usable() error {
	if f.readOnly {
		return errReadOnly
	}
	held, err := f.held.Stat()
	if err != nil {
		return err
	}
	switch named, err := os.Stat(f.name); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return errGone
	case err != nil:
		return err
	case !os.SameFile(held, named):
		return errReplaced
	}
	return nil
}

// regain makes the file usable if it can: it opens a file for writing whose file system
// is no longer read-only, and creates a file that was removed, in a directory that is
// there. The state must be rewritten then.
func (f *storeFile) regain() error {
	err := f.usable()
	switch {
	case err == nil && f.ahead:
		err = undamaged(func() error { return f.db.Update(nothing) })
		f.ahead = err != nil
	case errors.Is(err, syscall.EROFS) && f.readOnly:
		err = f.reopen(func() error { return writableFile(f.name) })
	case errors.Is(err, errGone):
		err = f.reopen(func() error {
			// An empty directory on another device is one on which the right one is to
			// be mounted.
			info, err := os.Stat(filepath.Dir(f.name))
			if err != nil || deviceOf(info) != f.device {
				return errGone
			}
			return create(f.name)
		})
	}
	return err
}

// reopen closes the file and opens it again, or another one with the name, if it is
// possible to do so.
func (f *storeFile) reopen(possible func() error) error {
	if err := possible(); err != nil {
		return err
	}
	next := storeFile{name: f.name}
	if f.readOnly {
		// Its lock would be in the way.
		if err := syscall.Flock(int(f.held.Fd()), syscall.LOCK_UN); err != nil {
			return err
		}
	}
	if err := next.open(lockTimeout / 10); err != nil {
		return err
	}
	before := *f
	*f = next
	return before.Close()
}

func writableFile(name string) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return file.Close()
}

func deviceOf(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Dev) //nolint:unconvert // it has other types on other systems
	}
	return 0
}

// room returns nil if there is room for changes, in the file and on the disk.
func (f *storeFile) room() error {
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(f.held.Fd()), &disk); err != nil {
		return err
	}
	free := disk.Bavail
	if os.Geteuid() == 0 {
		free = disk.Bfree
	}
	if uint64(free)*uint64(disk.Bsize) < reserve { //nolint:unconvert // they have other types on other systems
		return errFull
	}
	pages := f.db.Stats().FreePageN + f.db.Stats().PendingPageN
	if pages*f.db.Info().PageSize >= reserve/2 {
		return nil
	}
	err := undamaged(func() error {
		if err := f.db.Update(fillReserve); err != nil {
			return err
		}
		return f.db.Update(emptyReserve)
	})
	return err
}

// advised returns an error that says what to do, if that is known.
func advised(err error) error {
	switch {
	case errors.Is(err, errReadOnly), errors.Is(err, errFull):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return errFull
	case errors.Is(err, syscall.EROFS):
		return errReadOnly
	case errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; free some space, or raise the quota", syscall.EDQUOT)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w; check the disk", err)
	}
	return err
}

// Close closes the file.
func (f *storeFile) Close() error { return f.db.Close() }

// create writes an empty store under another name and renames it when it is
// complete. So an empty file is never the beginning of a store.
func create(file string) (err error) {
	folder := filepath.Dir(file)
	draft, err := os.CreateTemp(folder, filepath.Base(file)+".new*")
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	if err := draft.Close(); err != nil {
		return err
	}
	empty := storeFile{name: draft.Name()}
	if err := empty.open(lockTimeout); err != nil {
		return err
	}
	if err := empty.Close(); err != nil {
		return err
	}
	// Unlike a rename, a link does not replace an existing file.
	if err := os.Link(draft.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// undamaged calls do and converts bbolt's reactions to a damaged file to an error: a
// panic or, if the file is too short, a fault in mapped memory.
func undamaged(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w (%v)", errFileDamaged, p)
		}
	}()
	return do()
}
