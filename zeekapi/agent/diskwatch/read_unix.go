//go:build unix

package diskwatch

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Read measures directories. A directory that does not exist has the space of its nearest
// parent that exists.
func Read(directories []Directory) []Space {
	spaces := make([]Space, len(directories))
	for i, d := range directories {
		spaces[i] = read(d, d.Path)
	}
	return spaces
}

func read(d Directory, path string) Space {
	var stat unix.Stat_t
	var fsStat unix.Statfs_t
	err := unix.Stat(path, &stat)
	if err == nil {
		err = unix.Statfs(path, &fsStat)
	}
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path {
		return read(d, filepath.Dir(path))
	}
	if err != nil {
		return Space{Directory: d, Err: err}
	}
	block := uint64(fsStat.Bsize)
	//nolint:unconvert // other systems have other types
	return Space{Directory: d, Device: uint64(stat.Dev), Size: fsStat.Blocks * block, Free: uint64(fsStat.Bavail) * block}
}
