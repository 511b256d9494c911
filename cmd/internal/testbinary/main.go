package testbinary

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

var (
	dir       string // of the program, set by Main
	buildOnce = sync.OnceValues(func() (string, error) { return Build(dir) })
)

// Main calls run, which runs the tests of a package, and returns its result. Path needs it.
// It removes the program afterwards.
func Main(run func() int) int {
	var err error
	if dir, err = os.MkdirTemp("", "zeekwire-test"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	return run()
}

// Path returns the path of the program. The first call builds it, see Build. Path may be
// called concurrently.
func Path(t testing.TB) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
