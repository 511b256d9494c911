package faults

import (
	"fmt"
	"os"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/disktest"
)

// The size of disks, in KiB, and their number of inodes.
const (
	diskSize   = 8 << 10
	diskInodes = 200
)

// binaries is the directory for built binaries.
var binaries string

func TestMain(m *testing.M) { os.Exit(disktest.Main(func() int { return runTests(m) })) }

func runTests(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "zeekwire-faults"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	code := m.Run()
	printTable()
	return code
}
