package zeek

import (
	"os"

	"golang.org/x/sys/unix"
)

// ownPrivileges returns the privileges of this process.
func ownPrivileges() privileges {
	ask := func(option, arg int, arg2 uintptr) int {
		n, err := unix.PrctlRetInt(option, uintptr(arg), arg2, 0, 0)
		if err != nil {
			return -1
		}
		return n
	}
	return privileges{
		root:    os.Geteuid() == 0,
		ambient: ask(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, capNetRaw) == 1,
		bounded: ask(unix.PR_CAPBSET_READ, capNetRaw, 0) == 0,
		noneNew: ask(unix.PR_GET_NO_NEW_PRIVS, 0, 0) == 1,
		fileCaps: func(path string) ([]byte, error) {
			b := make([]byte, 64)
			n, err := unix.Getxattr(path, "security.capability", b)
			if err != nil {
				return nil, err
			}
			return b[:n], nil
		},
	}
}
