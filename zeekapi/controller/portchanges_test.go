package controller_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// portsInUse is the result in which an agent lists ports of other programs.
func portsInUse(ports ...uint16) zeekapi.Result {
	return zeekapi.Result{Success: true, Data: mustMarshal(zeekapi.MachinePorts{InUse: ports})}
}

// withManager returns c with a manager on the first instance, without a port.
func withManager(c zeekapi.Configuration) zeekapi.Configuration {
	c.Nodes = append(c.Nodes, zeekapi.Node{Name: "m", Instance: c.Instances[0].Name, Role: zeekapi.RoleManager})
	return c
}

// portsOf returns the Broker port and the metrics port of a node.
func portsOf(t *testing.T, c zeekapi.Configuration, node string) [2]uint16 {
	t.Helper()
	for _, n := range c.Nodes {
		if n.Name == node {
			return [2]uint16{n.Port.Number, n.MetricsPort.Number}
		}
	}
	t.Fatalf("%s has no node %s", c.ID, node)
	return [2]uint16{}
}

func (b *bench) wantPorts(slot controller.Slot, node string, want [2]uint16) {
	b.t.Helper()
	if got := portsOf(b.t, b.saved[slot], node); got != want {
		b.t.Errorf("in the %s configuration, %s has the ports %d, want %d", slot, node, got, want)
	}
}

// Assigned ports that are in use are replaced, all other ports stay.
func TestPortsInUseAreReplaced(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(withManager(config("c2", "a", "b")))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.agent(peers["a"], checked("#1", problem("m", "port 2200 is in use"), portsInUse(22, 2200, 2201, 9000)))
	b.agent(peers["b"], checked("#2"), "to a: AgentCheckRequest #3 c2", "to b: AgentCheckRequest #4 c2")
	b.agent(peers["b"], checked("#4"))
	b.wantPorts(controller.Ready, "m", [2]uint16{2200, 9000}) // nothing has passed yet
	b.agent(peers["a"], checked("#3"), "save ready c2", "save target c2", "to a: AgentDeployNodesRequest #5 c2", "to b: AgentDeployNodesRequest #6 c2")
	for _, slot := range []controller.Slot{controller.Ready, controller.Target} {
		b.wantPorts(slot, "m", [2]uint16{2202, 9002})
		b.wantPorts(slot, "wa", [2]uint16{0, 9001})
		b.wantPorts(slot, "wb", [2]uint16{0, 9000})
	}
	b.wantPorts(controller.Staged, "m", [2]uint16{})
	if got := portsOf(t, b.state.History[len(b.state.History)-1].Configuration, "m"); got != [2]uint16{2202, 9002} {
		t.Errorf("in the history, the manager has the ports %d", got)
	}
	if !slices.ContainsFunc(b.events, func(e string) bool {
		return strings.Contains(e, "ports in use were replaced: m has metrics port 9002 instead of 9000, m has port 2202 instead of 2200")
	}) {
		t.Errorf("no event about the ports: %q", b.events)
	}
	b.agent(peers["a"], agentDeployed("#5", success("a", "m"), success("a", "wa")))
	b.agent(peers["b"], agentDeployed("#6", success("b", "wb")), "save deployed c2", "answer DeployResponse r1 [T a m] [T a wa] [T b wb] [T = c2]")
	b.idle()

	// When the same nodes are staged again, they keep their ports.
	b.stageQuietly(withManager(config("c3", "a", "b")))
	b.wantPorts(controller.Ready, "m", [2]uint16{2202, 9002})
	b.wantPorts(controller.Ready, "wa", [2]uint16{0, 9001})
	// Other nodes get ports as always.
	b.stageQuietly(withManager(config("c4", "a")))
	b.wantPorts(controller.Ready, "m", [2]uint16{2200, 9000})
}

// Ports that a client chose are never replaced, nor those of a rollback.
func TestChosenPortsInUseRefuseDeployment(t *testing.T) {
	c := withManager(config("c2", "a"))
	for i := range c.Nodes {
		c.Nodes[i].Port, c.Nodes[i].MetricsPort = broker.TCP(uint16(2200+i)), broker.TCP(uint16(9000+i))
	}
	b, peers := ourBench(t, config("c1", "a"))
	b.stageQuietly(c)
	taken := problem("m", "port 2201 is in use")
	const answer = `[F a m port 2201 is in use = ["", "port 2201 is in use"]]`
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2")
	b.agent(peers["a"], checked("#1", taken, portsInUse(2201, 9001)), "answer DeployResponse r1 "+answer+" "+refused)
	b.idle()

	b.client(zeekapi.RollbackRequest{ReqID: reqID("r2"), Number: 1}, "to a: AgentCheckRequest #2 c1")
	b.agent(peers["a"], checked("#2", taken, portsInUse(9000)), "answer RollbackResponse r2 "+answer+" "+refused)
	b.idle()
}

// The controller tries other ports three times.
func TestPortsAreReplacedThreeTimes(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c1")
	taken := problem("wa", "metrics port in use")
	b.agent(peers["a"], checked("#1", taken, portsInUse(9000)), "to a: AgentCheckRequest #2 c1")
	b.agent(peers["a"], checked("#2", taken, portsInUse(9000, 9001)), "to a: AgentCheckRequest #3 c1")
	b.agent(peers["a"], checked("#3", taken, portsInUse(9000, 9001, 9002)), "to a: AgentCheckRequest #4 c1")
	b.agent(peers["a"], checked("#4", taken, portsInUse(9000, 9001, 9002, 9003)),
		`answer DeployResponse r1 [F a wa metrics port in use = ["", "metrics port in use"]] `+refused)
	b.wantPorts(controller.Ready, "wa", [2]uint16{0, 9000})
	b.idle()
}

// A check alone tries other ports, but stages nothing.
func TestCheckReplacesPorts(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	c := config("c2", "a", "b")
	b.client(zeekapi.CheckRequest{ReqID: reqID("r1"), Config: &c}, "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.agent(peers["b"], checked("#2"))
	b.agent(peers["a"], checked("#1", problem("wa", "in use"), portsInUse(9000)), "to a: AgentCheckRequest #3 c2", "to b: AgentCheckRequest #4 c2")
	b.agent(peers["b"], checked("#4"))
	b.agent(peers["a"], checked("#3"), "answer CheckResponse r1 [T = c2]")
	b.wantPorts(controller.Ready, "wa", [2]uint16{0, 9000})
}

// An agent may be lost, or its instance drained, while another one finds ports in use.
func TestPortsAreReplacedWithoutLostAgents(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("r1"), DeployOptions: zeekapi.DeployOptions{Partial: true}},
		"to a: AgentCheckRequest #1 c1", "to b: AgentCheckRequest #2 c1")
	b.agent(peers["a"], checked("#1", problem("wa", "in use"), portsInUse(9000)))
	b.do(controller.PeerLost{Peer: peers["b"]}, "to a: AgentCheckRequest #3 c1")
	b.agent(peers["a"], checked("#3"), "save ready c1", "save target c1", "to a: AgentDeployNodesRequest #4 c1")
	b.agent(peers["a"], agentDeployed("#4", success("a", "wa")), "save deployed c1", "answer DeployStagedResponse r1 "+absent("b")+" [T a wa] [T = c1]")

	b, peers = ourBench(t, config("c1", "a", "b"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c1", "to b: AgentCheckRequest #2 c1")
	b.agent(peers["a"], checked("#1", problem("wa", "in use"), portsInUse(9000)))
	b.client(zeekapi.DrainRequest{ReqID: reqID("d1"), Instance: "a", Drain: true}, "to a: AgentStandbyRequest #3")
	b.agent(peers["b"], checked("#2"), "to b: AgentCheckRequest #4 c1")
	b.agent(peers["b"], checked("#4"), "save ready c1", "save target c1", "to b: AgentDeployNodesRequest #5 c1")
}
