package live

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ourController starts a controller and returns its ports.
func ourController(t *testing.T, tls string) (native, websocket int) {
	native, websocket = freePort(t), freePort(t)
	startController(t, native, websocket, t.TempDir(), tls)
	return native, websocket
}

func startController(t *testing.T, native, websocket int, state, tls string) *process {
	return start(t, "our controller", nil, zeekwire(t), "controller", "--name", "controller-one",
		"--listen", at(native), "--websocket-listen", at(websocket), "--state-dir", state, "--tls", tls)
}

// brokerBackend returns the script that makes Zeek use Broker as cluster
// backend. Up to 8.0 that was the default. A Zeek without a backend sends no
// logs, and its WebSocket server does not respond.
func (z *installation) brokerBackend() []string {
	if !z.atLeast(8, 1) {
		return nil
	}
	return []string{"policy/frameworks/cluster/backend/broker"}
}

// controller starts Zeek's controller and returns its ports.
func (z *installation) controller(t *testing.T, args ...string) (native, websocket int) {
	native, websocket = freePort(t), freePort(t)
	z.startController(t, native, websocket, t.TempDir(), args...)
	return native, websocket
}

// clientOf returns our client for Zeek's controller. Before Zeek 5.2 it
// connects natively, because the controller has no WebSocket server.
func (z *installation) clientOf(t *testing.T, native, websocket int) client {
	t.Helper()
	if z.atLeast(5, 2) {
		return ours(t, websocket)
	}
	c := ours(t, native)
	c.argv = append(c.argv, "--transport", "native")
	return c
}

func (z *installation) startController(t *testing.T, native, websocket int, state string, args ...string) *process {
	return start(t, "Zeek's controller", []string{
		"ZEEK_CONTROLLER_NAME=controller-one",
		"ZEEK_CONTROLLER_ADDR=127.0.0.1",
		fmt.Sprintf("ZEEK_CONTROLLER_PORT=%d/tcp", native),
		"ZEEK_CONTROLLER_WEBSOCKET_ADDR=127.0.0.1",
		fmt.Sprintf("ZEEK_CONTROLLER_WEBSOCKET_PORT=%d/tcp", websocket),
		"ZEEK_MANAGEMENT_STATE_DIR=" + state, "ZEEK_MANAGEMENT_SPOOL_DIR=" + state,
	}, append([]string{z.zeek, "-j", "policy/frameworks/management/controller",
		fmt.Sprintf("Broker::default_port=%d/tcp", freePort(t))}, args...)...)
}

// agent starts Zeek's agent with the name agent-one, which connects to a
// controller.
func (z *installation) agent(t *testing.T, controller int, args ...string) *process {
	return z.startAgent(t, "agent-one", freePort(t), controller, args...)
}

// listeningAgent starts a Zeek agent that waits for a controller to connect,
// and returns its port.
func (z *installation) listeningAgent(t *testing.T, name string, args ...string) (port int) {
	script := filepath.Join(t.TempDir(), "listen.zeek")
	text := `redef Management::Agent::controller = [$address="0.0.0.0", $bound_port=0/unknown];`
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	port = freePort(t)
	z.startAgent(t, name, port, 0, append([]string{script}, args...)...)
	return port
}

func (z *installation) startAgent(t *testing.T, name string, port, controller int, args ...string) *process {
	return z.startAgentIn(t, t.TempDir(), name, port, controller, args...)
}

// startAgentIn starts Zeek's agent with a state directory.
func (z *installation) startAgentIn(t *testing.T, state, name string, port, controller int, args ...string) *process {
	return start(t, "Zeek's agent "+name, []string{
		"ZEEK_AGENT_NAME=" + name,
		"ZEEK_AGENT_ADDR=127.0.0.1",
		fmt.Sprintf("ZEEK_AGENT_PORT=%d/tcp", port),
		fmt.Sprintf("ZEEK_CONTROLLER_PORT=%d/tcp", controller),
		"ZEEK_MANAGEMENT_STATE_DIR=" + state, "ZEEK_MANAGEMENT_SPOOL_DIR=" + state,
	}, append([]string{z.zeek, "-j", "policy/frameworks/management/agent",
		fmt.Sprintf("Broker::default_port=%d/tcp", freePort(t))}, args...)...)
}

// ourAgent starts our agent with the name agent-one, which connects to a
// controller.
func ourAgent(t *testing.T, z *installation, controller int, launcher, tls string) *process {
	return startOurAgent(t, z, "agent-one", freePort(t), at(controller), launcher, tls)
}

// startOurAgent starts our agent. With the controller "none" it only listens.
func startOurAgent(t *testing.T, z *installation, name string, port int, controller, launcher, tls string) *process {
	return startOurAgentIn(t, z, t.TempDir(), name, port, controller, "--launcher", launcher, "--tls", tls)
}

// startOurAgentIn starts our agent with a state directory.
func startOurAgentIn(t *testing.T, z *installation, state, name string, port int, controller string, args ...string) *process {
	if slices.Contains(args, "simulated") {
		standIn(t, "simulated nodes")
	}
	return start(t, "our agent "+name, nil, append([]string{zeekwire(t), "agent", "--name", name,
		"--controller", controller, "--listen", at(port), "--state-dir", state, "--zeek", z.zeek}, args...)...)
}

// clusters returns the path of a copy of testdata/clusters that containers can
// read.
func clusters(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("../../../testdata/clusters")); err != nil {
		t.Fatal(err)
	}
	return folder
}

// clusterFile returns a configuration of these instances, each "name" or
// "name = host:port", with a node on each: a manager on the first, a logger on
// the second, workers on the rest.
func clusterFile(instances ...string) (config string, nodes map[string]string) {
	var b strings.Builder
	b.WriteString("[instances]\n" + strings.Join(instances, "\n") + "\n")
	nodes = make(map[string]string)
	for i, instance := range instances {
		instance, _, _ = strings.Cut(instance, " ")
		role := append([]string{"manager", "logger"}, "worker")[min(i, 2)]
		node := fmt.Sprintf("%s-%d", role, i+1)
		nodes[instance] = node
		fmt.Fprintf(&b, "\n[%s]\ninstance = %s\nrole = %s\n", node, instance, role)
	}
	return b.String(), nodes
}
