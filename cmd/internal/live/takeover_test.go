package live

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTakeOver moves a running cluster from Zeek's controller to ours and back.
// No node is restarted.
func TestTakeOver(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		const plain = "Broker::disable_ssl=T"
		native, websocket := freePort(t), freePort(t)
		zeekState, ourState := t.TempDir(), t.TempDir()
		theirs := z.startController(t, native, websocket, zeekState, plain)
		z.agent(t, native, plain)
		c := z.clientOf(t, native, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, cluster)
		before := c.running(t, "agent-one", nodes...)
		deployed, stderr, code := run(t, nil, append(c.argv, "get-config", "--deployed", "--as-json")...)
		if code != 0 {
			t.Fatalf("get-config: %s", stderr)
		}
		file := filepath.Join(t.TempDir(), "deployed.json")
		if err := os.WriteFile(file, []byte(deployed), 0o600); err != nil {
			t.Fatal(err)
		}
		unchanged := func(when string) {
			t.Helper()
			for name, n := range c.running(t, "agent-one", nodes...) {
				if n.PID != before[name].PID {
					t.Errorf("%s: node %s: process %d became %d", when, name, before[name].PID, n.PID)
				}
			}
		}

		theirs.stop()
		c = ours(t, websocket)
		controller := startController(t, native, websocket, ourState, "off")
		c.instances(t, "agent-one")
		unchanged("with our controller")
		// In JSON the configuration keeps its ID, by which the agent recognizes the
		// running configuration.
		if stdout, stderr, code := run(t, nil, append(c.argv, "deploy-config", file)...); code != 0 {
			t.Fatalf("deploy-config: exit code %d\n%s%s", code, stdout, stderr)
		}
		unchanged("deployed by our controller")

		controller.stop()
		z.startController(t, native, websocket, zeekState, plain)
		c = z.clientOf(t, native, websocket)
		c.instances(t, "agent-one")
		unchanged("back with Zeek's controller")
	})
}
