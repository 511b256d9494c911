package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

// TestNodeTransports checks all combinations of the connections between agent
// and nodes, Broker or WebSocket, and of those between nodes, Broker or ZeroMQ.
func TestNodeTransports(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tt := range []struct{ transport, backend string }{
			{"websocket", "broker"},
			{"broker", "zeromq"},
			{"websocket", "zeromq"},
		} {
			t.Run(tt.transport+" "+tt.backend, func(t *testing.T) {
				z.needs(t, 8, 0, "WebSocket server for nodes")
				if tt.backend == "zeromq" {
					z.needs(t, 8, 1, "choice of the cluster backend")
				}
				native, websocket := ourController(t, "off")
				listen, state := freePort(t), t.TempDir()
				startAgent := func() *process {
					return start(t, "our agent", nil, zeekwire(t), "agent", "--name", "agent-one",
						"--controller", at(native), "--listen", at(listen), "--state-dir", state, "--zeek", z.zeek, "--tls", "off",
						"--node-transport", tt.transport, "--cluster-backend", tt.backend)
				}
				agent := startAgent()
				c := ours(t, websocket)
				c.instances(t, "agent-one")
				c.deploy(t, cluster)
				before := c.running(t, "agent-one", nodes...)
				c.hasValues(t, nodes...)

				// The worker is connected to the other nodes.
				eventually(t, "the cluster's view of the worker", func() error {
					var seen map[string]struct{ ID string }
					got := c.value(t, "manager", "Cluster::nodes")
					if err := json.Unmarshal([]byte(got), &seen); err != nil {
						return err
					}
					if seen["worker"].ID == "" {
						return errors.New("not connected")
					}
					return nil
				})

				// A new agent takes over the running nodes.
				agent.kill()
				startAgent()
				c.instances(t, "agent-one")
				after := c.running(t, "agent-one", nodes...)
				for _, name := range nodes {
					if before[name].PID != after[name].PID {
						t.Errorf("node %s: process %d became %d", name, before[name].PID, after[name].PID)
					}
				}
				c.hasValues(t, nodes...)
			})
		}
	})
}

// hasValues checks that nodes answer get-id-value. A logger of ZeroMQ is reached through another
// node, once the agent is connected to that.
func (c client) hasValues(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		eventually(t, "the value of a global", func() error {
			var got struct{ Results map[string]string }
			if err := c.call(t, &got, "get-id-value", "Cluster::node", name); err != nil {
				return err
			}
			if got.Results[name] != name {
				return fmt.Errorf("Cluster::node of %s is %q", name, got.Results)
			}
			return nil
		})
	}
}
