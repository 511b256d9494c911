package live

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestShortClusterFile checks that nodes have what a short cluster file says: workers,
// CPUs, environment, assignments and local networks, and fan-out IDs that differ between
// two interfaces if this Zeek has AF_PACKET. Commands select the workers by group.
func TestShortClusterFile(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		one, two := newWire(t), newWire(t)
		prefix, fanout := "", ""
		if exec.Command(z.zeek, "-e", "print AF_Packet::fanout_id;").Run() == nil {
			prefix, fanout = "af_packet::", "AF_Packet::fanout_id"
		}
		native, websocket := ourController(t, "off")
		z.ourKind().start(t, t.TempDir(), "agent-one", freePort(t), native)
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, fmt.Sprintf(`[cluster]
networks = 198.51.100.0/24, 2001:db8:7::/48
env = COMMON=cluster OWN=cluster
args = ignore_checksums=T
memory_limit = 4G

[instances]
agent-one

[manager]
instance = agent-one
role = manager

[logger]
instance = agent-one
role = logger
env = OWN=logger

[worker-%[1]s]
instance = agent-one
role = worker
workers = 2
interface = %[3]s${interface_section_name}
cpu_affinity = 0
env = NUMBER=${worker_index}/${host_worker_index0}

[worker-second]
instance = agent-one
role = worker
workers = 2
interface = %[3]s%[2]s
env = NUMBER=${worker_index}/${host_worker_index0}

[group second]
nodes = worker-second-*
`, one.device, two.device, prefix))
		first := "worker-" + one.device + "-"
		all := []string{"manager", "logger", first + "1", first + "2", "worker-second-1", "worker-second-2"}
		before := c.running(t, "agent-one", all...)

		for name, want := range map[string]string{
			"logger": "COMMON=cluster OWN=logger", first + "1": "COMMON=cluster NUMBER=1/0 OWN=cluster",
			"worker-second-2": "COMMON=cluster NUMBER=2/3 OWN=cluster",
		} {
			if got := environmentOf(t, before[name].PID, "COMMON", "NUMBER", "OWN"); got != want {
				t.Errorf("environment of %s: got %s, want %s", name, got, want)
			}
		}
		for _, name := range all {
			if got := c.value(t, name, "ignore_checksums"); got != "true" {
				t.Errorf("ignore_checksums of %s is %s", name, got)
			}
			nets := c.value(t, name, "Site::local_nets")
			for _, network := range []string{`"198.51.100.0/24"`, `"2001:db8:7::/48"`} {
				if !strings.Contains(nets, network) {
					t.Errorf("Site::local_nets of %s is %s, without %s", name, nets, network)
				}
			}
		}
		if fanout != "" {
			ids := []string{c.value(t, first+"1", fanout), c.value(t, first+"2", fanout), c.value(t, "worker-second-1", fanout), c.value(t, "worker-second-2", fanout)}
			if want := []string{"23", "23", "24", "24"}; !slices.Equal(ids, want) {
				t.Errorf("fan-out IDs are %v, want %v", ids, want)
			}
		}

		stdout, stderr, code := run(t, nil, append(c.argv, "restart", "--group", "second")...)
		if code != 0 || strings.Contains(stdout, one.device) || !strings.Contains(stdout, "worker-second-2") {
			t.Errorf("restart of a group: exit code %d\n%s%s", code, stdout, stderr)
		}
		after := c.running(t, "agent-one", all...)
		for _, name := range all {
			if restarted := after[name].PID != before[name].PID; restarted != strings.HasPrefix(name, "worker-second-") {
				t.Errorf("%s was restarted: %t", name, restarted)
			}
		}
	})
}

// environmentOf returns these variables of a process.
func environmentOf(t *testing.T, pid int, names ...string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for variable := range strings.SplitSeq(string(text), "\x00") {
		if name, _, _ := strings.Cut(variable, "="); slices.Contains(names, name) {
			found = append(found, variable)
		}
	}
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " ")
}
