package zeek

import (
	"math"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

var machineResources = resources{memory: availableMemory, disk: freeDisk}

// availableMemory returns the memory that programs can get without swapping, in bytes.
func availableMemory() (uint64, bool) {
	mounted, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, false
	}
	info, err := mounted.Meminfo()
	if err != nil || info.MemAvailableBytes == nil {
		return 0, false
	}
	return *info.MemAvailableBytes, true
}

// freeDisk returns the free space in the file system of a directory.
func freeDisk(dir string) (disk, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return disk{}, false
	}
	free := disk{bytes: s.Bavail * uint64(s.Bsize), files: s.Ffree}
	if s.Files == 0 { // some file systems have no limit
		free.files = math.MaxUint64
	}
	return free, true
}

// writable returns an error if this process cannot create files in a directory.
func writable(dir string) error {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}
