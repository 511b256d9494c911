package live

import (
	"fmt"
	"strings"
	"testing"
)

const cluster = `
[instances]
agent-one

[manager]
instance = agent-one
role = manager

[logger]
instance = agent-one
role = logger

[worker]
instance = agent-one
role = worker
`

// section returns the section of a node in a cluster file, with ports of its
// own.
func section(t *testing.T, name, role string, more ...string) string {
	t.Helper()
	lines := []string{"\n[" + name + "]", "instance = agent-one", "role = " + role, fmt.Sprintf("metrics_port = %d", freePort(t))}
	if role != "worker" {
		lines = append(lines, fmt.Sprintf("port = %d", freePort(t)))
	}
	return strings.Join(append(lines, more...), "\n") + "\n"
}

var nodes = []string{"manager", "logger", "worker"}

// tlsModes lists the modes that both sides support: our flag, and the arguments
// for Zeek.
var tlsModes = []struct {
	mode string
	args []string
}{
	{"off", []string{"Broker::disable_ssl=T"}},
	{"anonymous", nil}, // Zeek's default
}

func TestOurControllerDrivesZeekAgent(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tls := range tlsModes {
			t.Run("tls "+tls.mode, func(t *testing.T) {
				native, websocket := ourController(t, tls.mode)
				z.agent(t, native, tls.args...)
				c := ours(t, websocket)
				c.instances(t, "agent-one")
				c.deploy(t, cluster)
				c.running(t, "agent-one", nodes...)
			})
		}
	})
}

func TestZeekControllerDrivesOurAgent(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tls := range tlsModes {
			for _, launcher := range []string{"zeek", "simulated"} {
				t.Run("tls "+tls.mode+" "+launcher, func(t *testing.T) {
					native, websocket := z.controller(t, tls.args...)
					ourAgent(t, z, native, launcher, tls.mode)
					c := z.clientOf(t, native, websocket)
					c.instances(t, "agent-one")
					c.deploy(t, cluster)
					c.running(t, "agent-one", nodes...)
				})
			}
		}
	})
}

func TestZeekClientDrivesOurController(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		native, websocket := ourController(t, "anonymous")
		ourAgent(t, z, native, "zeek", "anonymous")
		if !z.atLeast(5, 2) {
			websocket = native // its zeek-client does not support WebSockets
		}
		c := z.stock(t, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, cluster)
		c.running(t, "agent-one", nodes...)
	})
}

// TestControllerRestart checks that nodes keep running while the controller is
// killed and restarted.
func TestControllerRestart(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		native, websocket, state := freePort(t), freePort(t), t.TempDir()
		controller := startController(t, native, websocket, state, "off")
		z.agent(t, native, "Broker::disable_ssl=T")
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, cluster)
		before := c.running(t, "agent-one", nodes...)

		controller.kill()
		startController(t, native, websocket, state, "off")
		c.instances(t, "agent-one")
		after := c.running(t, "agent-one", nodes...)
		for name := range before {
			if before[name].PID != after[name].PID {
				t.Errorf("node %s: process %d became %d", name, before[name].PID, after[name].PID)
			}
		}
		if _, _, code := run(t, nil, append(c.argv, "get-config", "--deployed")...); code != 0 {
			t.Error("the restarted controller has no deployed configuration")
		}
	})
}
