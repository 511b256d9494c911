package archive

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// disk is the set of file system operations that the archive uses. Tests
// replace it to make each step fail.
type disk interface {
	// list returns the entries of a directory, sorted by name.
	list(dir string) ([]fs.DirEntry, error)

	// open opens a file for reading. It fails if the file is not regular.
	open(name string) (source, error)

	// create creates an empty file, and truncates an existing one.
	create(name string) (target, error)

	// mkdir creates a directory and its parents, and makes them durable.
	mkdir(dir string) error

	// rename renames a file and makes the change durable.
	rename(from, to string) error

	remove(name string) error
}

type source interface {
	io.ReadCloser
	Stat() (fs.FileInfo, error)
}

// target is a file that is being written. Its content is durable only after
// Sync.
type target interface {
	io.WriteCloser
	Sync() error
	setTime(time.Time) error
}

// files implements disk with the operating system.
type files struct{}

func (files) list(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }

func (files) open(name string) (source, error) {
	// Do not follow symbolic links, and do not wait for the writer of a pipe.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (files) create(name string) (target, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

type file struct{ *os.File }

func (f file) setTime(t time.Time) error { return os.Chtimes(f.Name(), t, t) }

func (d files) mkdir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := d.mkdir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return syncDir(parent)
}

func (files) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

func (files) remove(name string) error { return os.Remove(name) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
