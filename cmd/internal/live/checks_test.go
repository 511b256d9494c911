package live

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// checks counts the checks of running tests.
var checks = struct {
	sync.Mutex
	of map[testing.TB]int
}{of: make(map[testing.TB]int)}

// checked counts a comparison that a test has made. The report shows the number,
// and treats a test without checks as failed: one that compares nothing cannot
// fail.
func checked(t testing.TB) {
	checks.Lock()
	defer checks.Unlock()
	if checks.of[t]++; checks.of[t] > 1 {
		return
	}
	t.Cleanup(func() {
		checks.Lock()
		defer checks.Unlock()
		t.Logf("checks: %d", checks.of[t])
		delete(checks.of, t)
	})
}

// standIn records that a test replaces a part of Zeek or of the cluster by one of
// ours. The report shows it.
func standIn(t testing.TB, what string) { t.Logf("stand-in: %s", what) }

// printCommit prints the commit of the tests for the report.
func printCommit() {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=8", "--exclude=*").Output()
	if err != nil {
		return // not a clone
	}
	fmt.Printf("*** commit %s\n", strings.TrimSpace(string(out)))
}
