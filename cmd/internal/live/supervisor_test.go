package live

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// supervisor starts a Supervisor without an agent and a controller. It returns
// its port.
func (z *installation) supervisor(t *testing.T, args ...string) (port int, p *process) {
	port = freePort(t)
	argv := append([]string{z.zeek, "-j"}, z.brokerBackend()...)
	argv = append(argv, "policy/frameworks/management/supervisor", "SupervisorControl::enable_listen=T",
		"Broker::default_listen_address=127.0.0.1", fmt.Sprintf("Broker::default_port=%d/tcp", port))
	return port, start(t, "Zeek's Supervisor", nil, append(argv, args...)...)
}

// supervisedAgent starts an agent that runs its nodes with a Supervisor.
func supervisedAgent(t *testing.T, controller, listen, supervisor int, state, tls string) *process {
	return start(t, "our agent", nil, zeekwire(t), "agent", "--name", "agent-one",
		"--controller", at(controller), "--listen", at(listen), "--state-dir", state,
		"--launcher", "supervisor", "--supervisor", at(supervisor), "--tls", tls)
}

// value returns the value of a global in a node.
func (c client) value(t *testing.T, node, id string) string {
	t.Helper()
	var got struct {
		Results map[string]json.RawMessage
	}
	if err := c.call(t, &got, "get-id-value", id, node); err != nil {
		t.Error(err)
	}
	return string(got.Results[node])
}

func TestSupervisorLauncher(t *testing.T) {
	// One node loads Zeek's own script for nodes. Our script leaves the work to
	// it.
	config := cluster + "scripts = policy/frameworks/management/node\n"
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tls := range tlsModes {
			t.Run("tls "+tls.mode, func(t *testing.T) {
				native, websocket := ourController(t, tls.mode)
				port, _ := z.supervisor(t, tls.args...)
				listen, state := freePort(t), t.TempDir()
				agent := supervisedAgent(t, native, listen, port, state, tls.mode)
				c := ours(t, websocket)
				c.instances(t, "agent-one")
				c.deploy(t, config)
				before := c.running(t, "agent-one", nodes...)
				if got := c.value(t, "worker", "Cluster::node"); got != `"worker"` {
					t.Errorf("Cluster::node is %s", got)
				}
				if got := c.value(t, "logger", "Log::default_rotation_dir"); !strings.HasSuffix(got, `/log-queue"`) {
					t.Errorf("Log::default_rotation_dir is %s", got)
				}

				eventually(t, "resource usage of nodes", func() error {
					var s struct {
						Instances map[string]struct {
							Nodes map[string]struct{ Memory *uint64 }
						}
					}
					if err := c.call(t, &s, "status", "--json"); err != nil {
						return err
					}
					for _, name := range nodes {
						if n := s.Instances["agent-one"].Nodes[name]; n.Memory == nil || *n.Memory < 1<<20 {
							return fmt.Errorf("the memory usage of node %s is unknown", name)
						}
					}
					return nil
				})

				// The worker's script is Zeek's, which does not know the request.
				eventually(t, "connections of nodes", func() error {
					var got struct {
						Nodes map[string]struct {
							Connections *struct{ Seen, Expected int }
						}
						Notes []struct{ Source, Text string }
					}
					if err := c.call(t, &got, "peers"); err != nil {
						return err
					}
					for _, name := range []string{"manager", "logger"} {
						if c := got.Nodes[name].Connections; c == nil || c.Seen != 2 || c.Expected != 2 {
							return fmt.Errorf("%s has %+v", name, c)
						}
					}
					if len(got.Notes) != 1 || got.Notes[0].Source != "worker" || !strings.Contains(got.Notes[0].Text, "it cannot report figures") {
						return fmt.Errorf("notes are %v", got.Notes)
					}
					return nil
				})

				eventually(t, "fingerprint of the worker's scripts", func() error {
					_, err := os.Stat(filepath.Join(state, "nodes", "worker", "scripts.json"))
					return err
				})

				// The Supervisor restarts a killed node, and the agent notices.
				if err := syscall.Kill(before["worker"].PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				eventually(t, "another worker", func() error {
					if pid := c.running(t, "agent-one", nodes...)["worker"].PID; pid == before["worker"].PID {
						return fmt.Errorf("still process %d", pid)
					}
					return nil
				})

				// A new agent takes over the nodes, even without stored state.
				before = c.running(t, "agent-one", nodes...)
				agent.kill()
				if err := os.RemoveAll(filepath.Join(state, "scripts")); err != nil {
					t.Fatal(err)
				}
				supervisedAgent(t, native, listen, port, t.TempDir(), tls.mode)
				c.instances(t, "agent-one")
				c.deploy(t, config)
				after := c.running(t, "agent-one", nodes...)
				for _, name := range nodes {
					if before[name].PID != after[name].PID {
						t.Errorf("node %s: process %d became %d", name, before[name].PID, after[name].PID)
					}
				}

				// Nodes that are not in the configuration end.
				c.deploy(t, strings.Split(cluster, "[worker]")[0])
				c.running(t, "agent-one", "manager", "logger")
				eventually(t, "end of the worker", func() error {
					if err := syscall.Kill(after["worker"].PID, 0); err == nil {
						return fmt.Errorf("process %d is still running", after["worker"].PID)
					}
					return nil
				})
			})
		}
	})
}

// TestSupervisorLauncherTakesOverFromZeek checks that nodes of Zeek's agent
// keep running when our agent replaces it.
func TestSupervisorLauncherTakesOverFromZeek(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		native, websocket := ourController(t, "off")
		port, state := freePort(t), t.TempDir()
		listen := freePort(t)
		start(t, "Zeek's agent", []string{
			"ZEEK_AGENT_NAME=agent-one", "ZEEK_AGENT_ADDR=127.0.0.1", fmt.Sprintf("ZEEK_AGENT_PORT=%d/tcp", listen),
			fmt.Sprintf("ZEEK_CONTROLLER_PORT=%d/tcp", native),
			"ZEEK_MANAGEMENT_STATE_DIR=" + state, "ZEEK_MANAGEMENT_SPOOL_DIR=" + state,
		}, z.zeek, "-j", "policy/frameworks/management/agent", fmt.Sprintf("Broker::default_port=%d/tcp", port), "Broker::disable_ssl=T")
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, cluster)
		before := c.running(t, "agent-one", nodes...)

		// Our controller has another port, so that Zeek's controller can keep
		// running. With one controller, both agents would compete.
		native, websocket = ourController(t, "off")
		supervisedAgent(t, native, freePort(t), port, t.TempDir(), "off")
		c = ours(t, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, cluster)
		after := c.running(t, "agent-one", nodes...)
		for _, name := range nodes {
			if before[name].PID != after[name].PID {
				t.Errorf("node %s: process %d became %d", name, before[name].PID, after[name].PID)
			}
		}
	})
}

// TestSupervisorLauncherReportsFailedNodes checks that a node that cannot start
// is reported with its output, and that the other nodes run.
func TestSupervisorLauncherReportsFailedNodes(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		native, websocket := ourController(t, "off")
		port, _ := z.supervisor(t, "Broker::disable_ssl=T")
		supervisedAgent(t, native, freePort(t), port, t.TempDir(), "off")
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		file := filepath.Join(t.TempDir(), "cluster.cfg")
		if err := os.WriteFile(file, []byte(cluster+"interface = nosuchdev\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		// On a busy machine the node may not have failed when the deployment ends.
		eventually(t, "the reason", func() error {
			stdout, _, code := run(t, nil, append(c.argv, "deploy-config", file)...)
			if code == 0 || !strings.Contains(stdout, "nosuchdev") {
				return fmt.Errorf("exit code %d: %s", code, stdout)
			}
			return nil
		})
		eventually(t, "the others running", func() error {
			var got struct {
				Results map[string]map[string]nodeStatus
			}
			if err := c.call(t, &got, "get-nodes"); err != nil {
				return err
			}
			of := got.Results["agent-one"]
			if of["manager"].State != "RUNNING" || of["logger"].State != "RUNNING" || of["worker"].State == "RUNNING" {
				return fmt.Errorf("%v", of)
			}
			return nil
		})
	})
}
