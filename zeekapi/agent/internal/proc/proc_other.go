//go:build !linux

package proc

import (
	"errors"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

var errUnsupported = errors.New("only on Linux")

// Read returns the state of a process.
func Read(int) (Stat, error) { return Stat{}, errUnsupported }

// Started returns the zero time.
func (s Stat) Started() time.Time { return time.Time{} }

func openFiles(int) uint64 { return 0 }

// Interfaces returns nil.
func Interfaces([]string) map[string]zeekapi.Traffic { return nil }

// Each calls f for all processes that have not ended.
func Each(func(pid int, s Stat)) error { return errUnsupported }
