package faults

import (
	"os"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi/disktest"
)

// The size of disks, in KiB, and their number of inodes.
const (
	diskSize   = 8 << 10
	diskInodes = 200
)

func TestMain(m *testing.M) {
	os.Exit(disktest.Main(func() int { return testbinary.Main(func() int { return runTests(m) }) }))
}

func runTests(m *testing.M) int {
	code := m.Run()
	printTable()
	return code
}
