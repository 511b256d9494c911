package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// maxInitAllocs limits what a package of ours may allocate before main. Each command pays for
// it, also one that ends after a few milliseconds.
const maxInitAllocs = 400

func TestPackagesInitializeLittle(t *testing.T) {
	cmd := exec.Command("zeekwire", "--version") // TestMain puts it into PATH
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace strings.Builder
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	const module = "github.com/zeekwire/zeekwire/"
	seen := 0
	for line := range strings.Lines(trace.String()) {
		// Such as "init internal/bytealg @0.008 ms, 0 ms clock, 0 bytes, 0 allocs".
		f := strings.Fields(line)
		if len(f) != 11 || f[0] != "init" || !strings.HasPrefix(f[1], module) || f[1] == module+"cmd/zeekwire" { // has the tests
			continue
		}
		seen++
		if n, err := strconv.Atoi(f[9]); err != nil || n > maxInitAllocs {
			t.Errorf("%s allocates %s times before main, limit is %d: do it at the first use", f[1], f[9], maxInitAllocs)
		}
	}
	if seen < 10 {
		t.Errorf("the trace has only %d packages of ours:\n%.2000s", seen, trace.String())
	}
}

// TestCommandsAllocateLittle limits what the commands and their flags allocate at each start.
func TestCommandsAllocateLittle(t *testing.T) {
	for _, tt := range []struct {
		args  []string
		limit float64
	}{
		{nil, 5000},
		{[]string{"get-nodes"}, 600}, // only this command
	} {
		if n := testing.AllocsPerRun(5, func() { newCommand(tt.args...) }); n > tt.limit {
			t.Errorf("newCommand allocates %.0f times for %q, limit is %.0f", n, tt.args, tt.limit)
		}
	}
}
