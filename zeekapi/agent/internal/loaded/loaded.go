// Package loaded detects changes to the scripts that a running node has loaded.
//
// A node lists its scripts in a file. The node runs scripts of users, so the list and the
// named files are not trusted: everything that is read is limited, and only regular files
// are opened.
package loaded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
)

// Limits of a list and of the fingerprint of its files.
const (
	MaxFiles = 20_000
	maxPath  = 4096
	maxList  = 16 << 20
)

var (
	// ErrUnfinished is the error of a list that is still being written.
	ErrUnfinished = errors.New("list of scripts is not finished")

	errNotRegular = errors.New("not a regular file")
)

// ReadList reads the list of a node whose directory is dir. The error is fs.ErrNotExist
// if there is no list yet, and ErrUnfinished if the list has no end.
func ReadList(name, dir string) ([]string, error) {
	b, err := readOwn(name, maxList)
	if err != nil {
		return nil, err
	}
	return ParseList(b, dir)
}

// ParseList decodes a list: each name ends with a zero byte, and another zero byte ends
// the list. Relative names are relative to dir. The result has no duplicates. It omits
// names with unprintable characters, names longer than 4096 bytes, and all after the first
// MaxFiles.
func ParseList(list []byte, dir string) ([]string, error) {
	var paths []string
	seen := make(map[string]bool)
	for {
		name, rest, ok := bytes.Cut(list, []byte{0})
		if !ok {
			return nil, ErrUnfinished
		}
		if len(name) == 0 {
			return paths, nil
		}
		list = rest
		if len(name) > maxPath || len(paths) == MaxFiles {
			continue
		}
		path := string(name)
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if path = filepath.Clean(path); !seen[path] && printable(path) {
			seen[path] = true
			paths = append(paths, path)
		}
	}
}

// printable reports whether a path can be shown to users as it is, and stored as JSON.
func printable(path string) bool {
	return utf8.ValidString(path) && !strings.ContainsFunc(path, func(r rune) bool { return !strconv.IsPrint(r) })
}

// readOwn reads a file in a node's directory. It follows no symbolic link there.
func readOwn(name string, limit int64) ([]byte, error) {
	f, err := openRegular(name, syscall.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", name, limit)
	}
	return b, err
}

// openRegular opens a regular file for reading. It never waits for the writer of a pipe.
func openRegular(name string, flags int) (*os.File, error) {
	// Even to open a device may have an effect.
	if _, err := statRegular(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|flags, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s: %w", name, errNotRegular))
	}
	return f, nil
}

func statRegular(name string) (fs.FileInfo, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, errNotRegular)
	}
	return info, err
}
