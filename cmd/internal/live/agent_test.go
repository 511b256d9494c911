package live

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// place holds the addresses and directories with which our agent agent-one is
// started repeatedly.
type place struct {
	zeek, state, controller string
	port                    int
	args                    []string // of each start

	killController func() // kills the controller and starts it again
}

func newPlace(t *testing.T, z *installation, controller int, start func() *process) place {
	p := place{zeek: z.zeek, state: t.TempDir(), controller: at(controller), port: freePort(t)}
	running := start()
	p.killController = func() {
		running.kill()
		running = start()
	}
	return p
}

func (p place) start(t *testing.T, args ...string) *process {
	t.Helper()
	return start(t, "our agent agent-one", nil, append([]string{zeekwire(t), "agent", "--name", "agent-one",
		"--controller", p.controller, "--listen", at(p.port), "--state-dir", p.state,
		"--launcher", "zeek", "--zeek", p.zeek, "--tls", "off"}, slices.Concat(p.args, args)...)...)
}

// controlled runs a test with our agent twice: under our controller with our
// client, and under Zeek's controller with Zeek's client.
func controlled(t *testing.T, test func(t *testing.T, z *installation, c client, p place)) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		t.Run("our controller", func(t *testing.T) {
			native, websocket, state := freePort(t), freePort(t), t.TempDir()
			test(t, z, ours(t, websocket), newPlace(t, z, native, func() *process {
				return startController(t, native, websocket, state, "off")
			}))
		})
		t.Run("Zeek's controller", func(t *testing.T) {
			z.needs(t, 5, 2, "controller with WebSockets, which its client uses")
			native, websocket, state := freePort(t), freePort(t), t.TempDir()
			test(t, z, z.stock(t, websocket), newPlace(t, z, native, func() *process {
				return z.startController(t, native, websocket, state, "Broker::disable_ssl=T")
			}))
		})
	})
}

// same checks that the nodes run in the same processes as before.
func (c client) same(t *testing.T, when string, before map[string]nodeStatus) {
	t.Helper()
	var names []string
	for name := range before {
		names = append(names, name)
	}
	for name, n := range c.running(t, "agent-one", names...) {
		if n.PID != before[name].PID {
			t.Errorf("%s: node %s: process %d became %d", when, name, before[name].PID, n.PID)
		}
	}
}

// TestAgentIsKilled checks that nodes keep their processes when the agent or
// the controller is killed or ends.
func TestAgentIsKilled(t *testing.T) {
	controlled(t, func(t *testing.T, _ *installation, c client, p place) {
		agent := p.start(t)
		c.instances(t, "agent-one")
		c.deploy(t, cluster)
		before := c.running(t, "agent-one", nodes...)

		agent.kill()
		for name, n := range before {
			if err := syscall.Kill(n.PID, 0); err != nil {
				t.Errorf("node %s: %v", name, err)
			}
		}
		agent = p.start(t, "--on-exit", "leave")
		c.instances(t, "agent-one")
		c.same(t, "after the agent was killed", before)

		agent.stop()
		agent = p.start(t)
		c.instances(t, "agent-one")
		c.same(t, "after the agent left its nodes", before)

		p.killController()
		c.instances(t, "agent-one")
		c.same(t, "after the controller was killed", before)

		// The agent notices the end of a node that is not its child process.
		if err := syscall.Kill(before["worker"].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another worker", func() error {
			if pid := c.running(t, "agent-one", nodes...)["worker"].PID; pid == before["worker"].PID {
				return fmt.Errorf("still process %d", pid)
			}
			return nil
		})
		after := c.running(t, "agent-one", nodes...)
		agent.stop()
		gone(t, after)
	})
}

// gone waits for the end of the nodes' processes. The process that inherited
// them from the agent may reap them with a delay.
func gone(t *testing.T, nodes map[string]nodeStatus) {
	t.Helper()
	eventually(t, "end of the nodes", func() error {
		for name, n := range nodes {
			if err := syscall.Kill(n.PID, 0); err == nil {
				return fmt.Errorf("node %s is still running", name)
			}
		}
		return nil
	})
}

// TestFailedNodesAreReported checks that the client reports the failed nodes
// with the reasons, and that the other nodes run.
func TestFailedNodesAreReported(t *testing.T) {
	controlled(t, func(t *testing.T, _ *installation, c client, p place) {
		dir := t.TempDir()
		config := "[instances]\nagent-one\n" + section(t, "manager", "manager") + section(t, "logger", "logger") +
			section(t, "no-interface", "worker", "interface = nosuchdev") +
			section(t, "no-script", "worker", "scripts = "+dir+"/syntax.zeek") +
			section(t, "no-life", "worker", "scripts = "+dir+"/fatal.zeek")
		for name, text := range map[string]string{
			"syntax.zeek": "event zeek_init() { prin \"x\"; }\n",
			"fatal.zeek":  "event zeek_init() { Reporter::fatal(\"cannot live like this\"); }\n",
			"cluster.cfg": config,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		p.start(t)
		c.instances(t, "agent-one")
		// On a busy machine nodes may take longer to fail than the deployment
		// waits.
		eventually(t, "reasons", func() error { return c.deployFailingNodes(t, filepath.Join(dir, "cluster.cfg")) })
		eventually(t, "the others running", func() error {
			var all struct {
				Results map[string]map[string]nodeStatus
			}
			if err := c.call(t, &all, "get-nodes"); err != nil {
				return err
			}
			of := all.Results["agent-one"]
			if of["manager"].State != "RUNNING" || of["logger"].State != "RUNNING" || of["no-life"].State == "RUNNING" ||
				of["no-interface"].State != "FAILED" || of["no-script"].State != "FAILED" {
				return fmt.Errorf("%+v", of)
			}
			return nil
		})
	})
}

// deployFailingNodes deploys a cluster with nodes that fail for different reasons,
// and checks the reported reasons.
func (c client) deployFailingNodes(t *testing.T, file string) error {
	t.Helper()
	stdout, stderr, code := run(t, nil, append(append(c.argv, "deploy-config", file), c.partial...)...)
	if code != 1 {
		t.Errorf("exit code %d, want 1\n%s%s", code, stdout, stderr)
	}
	var got struct {
		Results struct {
			Nodes map[string]struct {
				Success bool
				Stderr  string
			}
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	for name, want := range map[string]string{
		"no-interface": "interface nosuchdev: no such network interface",
		"no-script":    "syntax.zeek, line 1: unknown identifier prin",
		"no-life":      "cannot live like this",
	} {
		if n := got.Results.Nodes[name]; n.Success || !strings.Contains(n.Stderr, want) {
			return fmt.Errorf("%s is %+v, want %q", name, n, want)
		}
	}
	return nil
}
