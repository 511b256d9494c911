// Package ownedfile creates files and directories that belong to the user of the
// services, also when root creates them.
package ownedfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Owner is a user and a group to which files belong. The zero value is not valid; use
// Own, Named or Of.
type Owner struct{ user, group int }

// keep is the ID that chown leaves as it is.
const keep = -1

// Own returns the owner of the files that this process creates.
func Own() Owner { return Owner{keep, keep} }

// Named returns the user of that name with its group.
func Named(name string) (Owner, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Owner{}, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return Owner{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return Owner{uid, gid}, err
}

// Of returns the owner of an existing file or directory.
func Of(name string) (Owner, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Owner{}, err
	}
	return ownerOf(info), nil
}

func ownerOf(info fs.FileInfo) Owner {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Own()
	}
	return Owner{int(stat.Uid), int(stat.Gid)}
}

// Reader returns an owner that is this process's user, with the group of o. Its files
// can be read, and not changed, by the group.
func (o Owner) Reader() Owner { return Owner{keep, o.group} }

// change changes the owner of an open file, unless it is o already.
func (o Owner) change(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	now := ownerOf(info)
	if (o.user == keep || o.user == now.user) && (o.group == keep || o.group == now.group) {
		return nil
	}
	return f.Chown(o.user, o.group)
}

// MakeDir creates a directory, and those above it, unless it exists. It changes nothing
// of an existing one.
func MakeDir(name string, perm fs.FileMode, o Owner) error {
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a directory", name)
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if parent := filepath.Dir(name); parent != name {
		if err := MakeDir(parent, 0o755, Own()); err != nil {
			return err
		}
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		return err
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return errors.Join(o.change(d), d.Chmod(perm))
}

// Write replaces the content of a file. A reader sees either the old or the new content,
// even after a crash of the machine.
func Write(name string, data []byte, perm fs.FileMode, o Owner) error {
	temporary, err := prepare(name, data, perm, o)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, name); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncDir(filepath.Dir(name))
}

// Replace is Write for a file that exists. The file keeps its owner.
func Replace(name string, data []byte, perm fs.FileMode) error {
	owner, err := Of(name)
	if err != nil {
		return err
	}
	return Write(name, data, perm, owner)
}

// Create is Write for a file that must not exist. It returns an error that wraps
// fs.ErrExist if it does.
func Create(name string, data []byte, perm fs.FileMode, o Owner) error {
	temporary, err := prepare(name, data, perm, o)
	if err != nil {
		return err
	}
	if err := errors.Join(os.Link(temporary, name), os.Remove(temporary)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// prepare writes a temporary file beside a file.
func prepare(name string, data []byte, perm fs.FileMode, o Owner) (temporary string, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, o.change(f), f.Chmod(perm), f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// syncDir makes a new name in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
