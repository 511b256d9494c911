package terminal

import "golang.org/x/sys/unix"

const getAttributes, setAttributes = unix.TIOCGETA, unix.TIOCSETA
