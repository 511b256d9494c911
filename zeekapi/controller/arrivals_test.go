package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func TestWelcomeRequest(t *testing.T) {
	t.Run("repeated hello", func(t *testing.T) {
		b := newBench(t, nil)
		b.client(set("r1", config("c1", "a")), "save staged c1", "save ready c1", "save target c1")
		b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #1")
		b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #1") // the first request may be lost
		b.agent(peer(1), welcomed("#1", "a"), "to a: AgentDeployRequest #2 c1")
		b.agent(peer(1), welcomed("#1", "a"))
		b.agent(peer(1), hello("a"))
	})
	t.Run("no response", func(t *testing.T) {
		b := newBench(t, nil)
		b.client(set("r1", config("c1", "a")), "save staged c1", "save ready c1", "save target c1")
		b.now = b.now.Add(time.Second)
		b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #1")
		b.tick("answer SetConfigurationResponse r1 [F request timed out] [F the deployment goes on, waiting for a]")
		b.tick("to a: AgentWelcomeRequest #1")
		b.tick() // the end of the deployment
		b.tick("to a: AgentWelcomeRequest #1")
		b.agent(peer(1), welcomed("#1", "a"), "to a: AgentDeployRequest #3 c1")
		b.agent(peer(1), agentDeployed("#3"), "save deployed c1")
		b.tick()
		b.idle()
	})
	t.Run("refused", func(t *testing.T) {
		b := newBench(t, nil)
		b.client(set("r1", config("c1", "a")), "save staged c1", "save ready c1", "save target c1")
		b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #1")
		b.agent(peer(1), zeekapi.AgentWelcomeResponse{ReqID: zeekapi.ReqID{ID: "#1"}}, "to a: AgentStandbyRequest")
		b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #2")
	})
	t.Run("response after removal", func(t *testing.T) {
		b := newBench(t, nil)
		b.agent(peer(1), hello("a"))
		b.client(set("r1", config("c1", "a", "b")), "save staged c1", "save ready c1", "save target c1", "to a: AgentWelcomeRequest #1")
		b.tick("answer SetConfigurationResponse r1 [F request timed out] [F waited for a, b] [F no agent is connected for b; drain such an instance to deploy without it]", "to a: AgentWelcomeRequest #1")
		b.client(set("r2", config("c2", "b")), "save staged c2", "save ready c2", "save target c2", "to a: AgentStandbyRequest")
		b.agent(peer(1), welcomed("#1", "a"))
	})
	t.Run("responses of other types", func(t *testing.T) {
		b := newBench(t, nil)
		b.client(set("r1", config("c1", "a")), "save staged c1", "save ready c1", "save target c1")
		b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #1")
		b.agent(peer(1), agentDeployed("#1"))
		b.agent(peer(1), zeekapi.AgentDispatchResponse{ReqID: zeekapi.ReqID{ID: "#1"}})
		b.agent(peer(1), welcomed("#1", "a"), "to a: AgentDeployRequest #2 c1")
	})
}

func TestAgentWithOtherAPIVersionIsIgnored(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	other := zeekapi.AgentHello{Instance: "a", APIVersion: 2}
	b.agent(peer(9), other) // does not affect the registered agent
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1")
	b.agent(peers["a"], other, "answer GetNodesResponse r1 [F a agent not connected]")
	b.client(getNodes("r2"), "answer GetNodesResponse r2 [F no instances connected]")

	// A deployment waits for an agent with the API version of the controller.
	b.client(deploy("r3"))
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #2", "save target c1")
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentDeployRequest #3 c1")
}

func TestDeployAfterAgentRestart(t *testing.T) {
	t.Run("disconnect before hello", func(t *testing.T) {
		b, peers := deployedBench(t, config("c1", "a", "b"))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #1")
		b.agent(peer(7), welcomed("#1", "a"),
			"to a: AgentDeployRequest #3 c1")
	})
	t.Run("hello before disconnect", func(t *testing.T) {
		b, peers := deployedBench(t, config("c1", "a", "b"))
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #2") // to the earlier process
		b.do(controller.PeerLost{Peer: peers["a"]}, "to a: AgentWelcomeRequest #3")
		b.agent(peer(7), welcomed("#3", "a"),
			"to a: AgentDeployRequest #5 c1")
		b.client(zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: "r1"}},
			`answer GetInstancesResponse r1 [T = [["a", 10.0.0.7, nil], ["b", 10.0.0.2, nil]]]`)
	})
	t.Run("another agent is disconnected", func(t *testing.T) {
		b, peers := deployedBench(t, config("c1", "a", "b"))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.do(controller.PeerLost{Peer: peers["b"]})
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #1")
		b.agent(peer(7), welcomed("#1", "a"), "to a: AgentDeployRequest #3 c1")
		b.agent(peer(7), agentDeployed("#3", success("a", "wa")))
		b.tick()
		b.idle()
		b.agent(peer(8), hello("b"), "to b: AgentWelcomeRequest #4")
		b.agent(peer(8), welcomed("#4", "b"), "to b: AgentDeployRequest #6 c1")
	})
	t.Run("during a deployment", func(t *testing.T) {
		b, peers := deployedBench(t, config("c1", "a", "b"))
		b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #1 c1", "to b: AgentDeployRequest #2 c1")
		b.agent(peers["a"], agentDeployed("#1", zeekapi.Result{Node: "wa"}))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #3")
		b.agent(peer(7), welcomed("#3", "a"), "to a: AgentDeployRequest #4 c1")
		b.agent(peers["b"], agentDeployed("#2", success("b", "wb")))
		b.agent(peer(7), agentDeployed("#4", success("a", "wa")), "save deployed c1",
			"answer DeployResponse r1 [T b wb] [T a wa] [T = c1]")
	})
	t.Run("reconnect during a deployment", func(t *testing.T) {
		b, peers := deployedBench(t, config("c1", "a", "b"))
		b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #1 c1", "to b: AgentDeployRequest #2 c1")
		b.agent(peers["b"], agentDeployed("#2", success("b", "wb")))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #3")
		b.agent(peers["a"], welcomed("#3", "a"), "to a: AgentDeployRequest #4 c1")
		b.agent(peers["a"], agentDeployed("#4", success("a", "wa")), "save deployed c1",
			"answer DeployResponse r1 [T b wb] [T a wa] [T = c1]")
	})
}

func TestPeerKeepsFirstName(t *testing.T) {
	b := newBench(t, nil)
	for _, name := range []string{"a", "b", "c"} {
		b.agent(peer(1), hello(name))
	}
	b.client(zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: "r1"}},
		`answer GetInstancesResponse r1 [T = [["a", 10.0.0.1, nil]]]`)
	b.do(controller.PeerLost{Peer: peer(1)})
	if peers, _ := b.machine.Held(); peers != 0 {
		t.Errorf("%d peers held, want none", peers)
	}
}

// A peer cannot fill the log or the memory by changing its name.
func TestPeerNamesAreLimited(t *testing.T) {
	b := newBench(t, nil)
	b.agent(peer(1), hello(strings.Repeat("x", 1001)))
	if peers, _ := b.machine.Held(); peers != 0 {
		t.Errorf("%d agents, want none", peers)
	}
	b.agent(peer(1), hello("a"))
	b.log.take()
	for i := range 1000 {
		b.agent(peer(1), hello(fmt.Sprint("a", i)))
		b.agent(peer(2), zeekapi.AgentWelcomeResponse{ReqID: reqID("x")})
	}
	if log := b.log.take(); len(log) > 64 {
		t.Errorf("the log has %d lines, want at most 64; the last is %s", len(log), log[len(log)-1])
	}
	b.do(controller.PeerLost{Peer: peer(1)})
	b.log.take()
	b.agent(peer(1), hello("b"))
	b.agent(peer(1), hello("c"))
	if log := b.log.take(); len(log) != 2 || !strings.Contains(log[1], "had another name before") {
		t.Errorf("log: %s", strings.Join(log, "\n"))
	}
}
