//go:build linux || darwin

package diskspace

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// statfs returns the usage of the file system of a path.
func statfs(path string) (usage, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return usage{}, fmt.Errorf("%s: %w", path, err)
	}
	block := uint64(s.Bsize)
	return usage{size: s.Blocks * block, used: (s.Blocks - min(s.Blocks, s.Bfree)) * block, free: s.Bavail * block}, nil
}
