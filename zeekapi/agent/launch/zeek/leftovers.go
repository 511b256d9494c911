package zeek

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// removedPrefix begins the names of directories of nodes that are about to be removed.
const removedPrefix = ".removed-"

// errNeeded is the error for a leftover that is needed again.
var errNeeded = errors.New("it is needed again")

// Leftovers returns directories of nodes that are not needed and reports about their crashes,
// core files of all nodes, and files of checks that did not end. It returns only what belongs
// to the launcher's instance. A directory with logs has an error: they have not been archived.
func (l *Launcher) Leftovers(needed func(node string) bool, before time.Time) []zeekapi.Leftover {
	var found []zeekapi.Leftover
	entries, _ := os.ReadDir(l.nodesDir()) // without the directory there are no nodes
	for _, e := range entries {
		name := e.Name()
		dir := l.nodeDir(name)
		switch {
		case !e.IsDir():
		case strings.HasPrefix(name, removedPrefix):
			found = append(found, leftover(dir, zeekapi.LeftoverNode))
		case !l.wrote(dir):
		case needed(name) || !l.abandoned(name):
			found = append(found, cores(dir, before)...)
		default:
			if o := leftover(dir, zeekapi.LeftoverNode); o.Since.Before(before) {
				o.Error = unarchived(dir)
				found = append(found, o)
			}
		}
	}
	entries, _ = os.ReadDir(l.crashesDir())
	for _, e := range entries {
		dir := l.nodeDir(e.Name())
		_, err := os.Lstat(dir)
		o := leftover(filepath.Join(l.crashesDir(), e.Name()), zeekapi.LeftoverCrash)
		if !needed(e.Name()) && l.abandoned(e.Name()) && (errors.Is(err, fs.ErrNotExist) || l.wrote(dir)) && o.Since.Before(before) {
			found = append(found, o)
		}
	}
	entries, _ = os.ReadDir(l.checksDir())
	for _, e := range entries {
		if o := leftover(filepath.Join(l.checksDir(), e.Name()), zeekapi.LeftoverCheck); o.Since.Before(before) {
			found = append(found, o)
		}
	}
	return found
}

// Remove removes a leftover. A directory of a node gets another name first, while no node
// can start.
func (l *Launcher) Remove(o zeekapi.Leftover, needed func(node string) bool, before time.Time) error {
	dir, name := filepath.Split(o.Path)
	switch {
	case o.Kind == zeekapi.LeftoverCore:
		return os.Remove(o.Path)
	case o.Kind == zeekapi.LeftoverNode && !strings.HasPrefix(name, removedPrefix):
		away := filepath.Join(dir, removedPrefix+name)
		if err := os.RemoveAll(away); err != nil {
			return err
		}
		if err := l.moveAway(name, o.Path, away, needed, before); err != nil {
			return err
		}
		return os.RemoveAll(away)
	}
	return os.RemoveAll(o.Path)
}

func (l *Launcher) moveAway(name, dir, away string, needed func(string) bool, before time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if needed(name) || l.nodes[name] != nil || noted(dir) || !leftover(dir, "").Since.Before(before) {
		return errNeeded
	}
	return os.Rename(dir, away)
}

// abandoned reports whether no process uses the directory of a node.
func (l *Launcher) abandoned(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes[name] == nil && !noted(l.nodeDir(name))
}

// noted reports whether a directory has a note about a process, or may have one.
func noted(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, noteFile))
	return !errors.Is(err, fs.ErrNotExist)
}

// wrote reports whether a directory is that of a node: a launcher of this instance has written
// the layout in it.
func (l *Launcher) wrote(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, layoutFile))
	if err != nil {
		return false
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(line) == layoutTitle(l.config.Instance) || l.config.Instance == "" && bytes.HasPrefix(line, []byte(layoutTitlePrefix))
}

// unarchived returns an error text if a directory has logs, otherwise "".
func unarchived(dir string) string {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log")) // an error means that none are found
	for _, log := range logs {
		if info, err := os.Lstat(log); err == nil && info.Size() > 0 {
			return fmt.Sprintf("has logs that were not archived, such as %s; keep what you need and remove the directory", filepath.Base(log))
		}
	}
	return ""
}

var corePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(core(\.\d+)?|core[.-]zeek.*)$`) })

// cores returns the core files in the directory of a node.
func cores(dir string, before time.Time) []zeekapi.Leftover {
	var found []zeekapi.Leftover
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && corePattern().MatchString(e.Name()) && info.ModTime().Before(before) {
			found = append(found, zeekapi.Leftover{
				Path: filepath.Join(dir, e.Name()), Kind: zeekapi.LeftoverCore, Bytes: uint64(info.Size()), Since: info.ModTime(),
			})
		}
	}
	return found
}

// leftover describes a file, or a directory with the size of its files, and the time of the
// last change. It ignores unreadable files.
func leftover(path, kind string) zeekapi.Leftover {
	o := zeekapi.Leftover{Path: path, Kind: kind}
	_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		if info.ModTime().After(o.Since) {
			o.Since = info.ModTime()
		}
		if info.Mode().IsRegular() {
			o.Bytes += uint64(info.Size())
		}
		return nil
	})
	return o
}
