//go:build !linux

package failover

import (
	"testing"
	"time"
)

// disk is not available on this system.
type disk struct{}

func newDisk(*testing.T, string, string, []string) (*disk, []string, []string) {
	panic("no slow disks")
}

func (*disk) slow(time.Duration) {}

func slowDisks() bool { return false }

func becomeSlow() {}
