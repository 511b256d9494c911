package diskwatch

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/zeekwire/zeekwire/zeekapi/internal/diskspace"
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
	u, err := diskspace.Read(path)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path {
		return read(d, filepath.Dir(path))
	}
	return Space{Directory: d, Device: u.Device, Size: u.Size, Free: u.Free, Err: err}
}
