//go:build linux || darwin

package diskspace

import (
	"math"

	"golang.org/x/sys/unix"
)

// Read returns the usage of the file system of a path, which must exist.
func Read(path string) (Usage, error) {
	var file unix.Stat_t
	if err := unix.Stat(path, &file); err != nil {
		return Usage{}, err
	}
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Usage{}, err
	}
	block := uint64(s.Bsize)
	u := Usage{
		Device: uint64(file.Dev), //nolint:unconvert // it has other types on other systems
		Size:   s.Blocks * block, Used: (s.Blocks - min(s.Blocks, s.Bfree)) * block, Free: s.Bavail * block,
		FreeFiles: s.Ffree,
	}
	if s.Files == 0 {
		u.FreeFiles = math.MaxUint64
	}
	return u, nil
}
