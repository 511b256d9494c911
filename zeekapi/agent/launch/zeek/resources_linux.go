package zeek

import (
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/zeekapi/internal/diskspace"
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
	u, err := diskspace.Read(dir)
	return disk{bytes: u.Free, files: u.FreeFiles}, err == nil
}

// writable returns an error if this process cannot create files in a directory.
func writable(dir string) error {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}
