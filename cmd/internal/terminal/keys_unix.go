//go:build linux || darwin

package terminal

import "golang.org/x/sys/unix"

// deliverKeys makes a terminal deliver keys without a line feed, and without an echo.
func deliverKeys(fd int) (restore func(), err error) {
	before, err := unix.IoctlGetTermios(fd, getAttributes)
	if err != nil {
		return nil, err
	}
	changed := *before
	changed.Lflag &^= unix.ICANON | unix.ECHO
	changed.Cc[unix.VMIN], changed.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, setAttributes, &changed); err != nil {
		return nil, err
	}
	return func() {
		_ = unix.IoctlSetTermios(fd, setAttributes, before) // it fails if the terminal is gone
	}, nil
}
