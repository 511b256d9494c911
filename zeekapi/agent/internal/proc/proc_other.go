//go:build !linux

package proc

import "errors"

var errUnsupported = errors.New("only on Linux")

// Read returns the state of a process.
func Read(int) (Stat, error) { return Stat{}, errUnsupported }

// Each calls f for all processes that have not ended.
func Each(func(pid int, s Stat)) error { return errUnsupported }
