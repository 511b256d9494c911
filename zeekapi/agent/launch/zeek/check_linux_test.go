package zeek

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// A node runs on the CPUs of its list that the machine has.
func TestSeveralCPUs(t *testing.T) {
	t.Parallel()
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	var cpus []int64
	for i := range int64(1024) {
		if allowed.IsSet(int(i)) && len(cpus) < 2 {
			cpus = append(cpus, i)
		}
	}
	if len(cpus) < 2 {
		t.Skip("needs two CPUs")
	}
	l := start(t, Config{})
	n := node("worker", "report")
	n.SetCPUs(cpus)
	l.Start(n)
	next[launch.Started](t, l)
	got := next[launch.Exited](t, l).Outputs.Stdout
	if want := "Cpus_allowed_list:\t" + n.Affinity() + "\n"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %q at the end", got, want)
	}

	n.SetCPUs(append(cpus, 1022, 1023))
	if got := l.checkMachine([]launch.Node{n})[0].Err; got == nil || !strings.Contains(got.Error(), "CPUs 1022-1023 are not available (available: "+strconv.FormatInt(cpus[0], 10)) {
		t.Errorf("check: %v", got)
	}
}
