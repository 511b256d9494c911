package live

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// TestSeveralCPUs checks that the processes of a manager and of workers may use exactly the
// CPUs of the cluster file, and that other CPUs restart only their node.
func TestSeveralCPUs(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		cpus := availableCPUs(t)
		if len(cpus) < 2 {
			t.Skip("needs two CPUs")
		}
		two, one := zeekapi.FormatCPUs(cpus[:2]), zeekapi.FormatCPUs(cpus[1:2])
		native, websocket := ourController(t, "off")
		z.ourKind().start(t, t.TempDir(), "agent-one", freePort(t), native)
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		config := func(manager string) string {
			return fmt.Sprintf("[instances]\nagent-one\n\n[manager]\ninstance = agent-one\nrole = manager\ncpu_affinity = %s\n\n"+
				"[logger]\ninstance = agent-one\nrole = logger\n\n"+
				"[worker]\ninstance = agent-one\nrole = worker\nworkers = 2\ncpu_affinity = (%s),%s\n", manager, two, one)
		}
		c.deploy(t, config(two))
		names := []string{"manager", "logger", "worker-1", "worker-2"}
		before := c.running(t, "agent-one", names...)
		for name, want := range map[string]string{
			"manager": two, "logger": zeekapi.FormatCPUs(cpus), "worker-1": two, "worker-2": one,
		} {
			if got := cpusOf(t, before[name].PID); got != want {
				t.Errorf("%s may use the CPUs %s, want %s", name, got, want)
			}
		}
		table, _, _ := run(t, nil, append(c.argv, "diag", "manager", "--json=false")...)
		if !strings.Contains(strings.Join(strings.Fields(table), " "), " cpus of the process "+two+" ") {
			t.Errorf("diag does not show the CPUs %s:\n%s", two, table)
		}

		c.deploy(t, config(one))
		after := c.running(t, "agent-one", names...)
		if got := cpusOf(t, after["manager"].PID); got != one {
			t.Errorf("the manager may use the CPUs %s after a deployment, want %s", got, one)
		}
		for _, name := range names {
			if restarted := after[name].PID != before[name].PID; restarted != (name == "manager") {
				t.Errorf("%s was restarted: %t", name, restarted)
			}
		}

		file := t.TempDir() + "/cluster.cfg"
		if err := os.WriteFile(file, []byte(config(two+",1000")), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := run(t, nil, append(c.argv, "deploy-config", file)...)
		if code == 0 || !strings.Contains(stdout+stderr, "CPU 1000 is not available") {
			t.Errorf("a CPU that does not exist: exit code %d\n%s%s", code, stdout, stderr)
		}
	})
}

// availableCPUs returns the CPUs that the test may use.
func availableCPUs(t *testing.T) (cpus []int64) {
	t.Helper()
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	for i := range int64(len(allowed) * 64) {
		if allowed.IsSet(int(i)) {
			cpus = append(cpus, i)
		}
	}
	return cpus
}

// cpusOf returns the list of CPUs that a process may use.
func cpusOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return strings.TrimSpace(list)
		}
	}
	return ""
}
