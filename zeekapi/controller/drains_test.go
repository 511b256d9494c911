package controller_test

import (
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func TestDrain(t *testing.T) {
	drain := func(id, instance string, drain bool) zeekapi.Message {
		return zeekapi.DrainRequest{ReqID: reqID(id), Instance: instance, Drain: drain}
	}
	standby := func(id string) zeekapi.Message {
		return zeekapi.AgentStandbyResponse{ReqID: reqID(id), Result: zeekapi.Result{ReqID: id, Success: true}}
	}
	nothing := func(id string) zeekapi.Message {
		return zeekapi.AgentStatusResponse{ReqID: reqID(id), Result: zeekapi.Result{Success: true, Data: broker.Vector()}}
	}
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.client(drain("r1", "b", true), "to b: AgentStandbyRequest #1")
	b.agent(peers["b"], standby("#1"), "to b: AgentStatusRequest #2")
	b.agent(peers["b"], nothing("#2"), "answer DrainResponse r1 [T b]")
	b.idle()
	b.client(drain("r3", "a", false), "answer DrainResponse r3 [F instance 'a' is not drained]")
	b.client(drain("r4", "x", false), "answer DrainResponse r4 [F the cluster has no instance 'x']")
	b.client(drain("r13", "x y", true), `answer DrainResponse r13 [F instance name "x y": want printable characters other than spaces, slashes and quotes]`)
	b.expectEvents("drained b : by unknown")

	// A drained instance gets no nodes, also after a restart of its agent or of the
	// controller.
	b.client(deploy("r5"), "save target c1", "to a: AgentDeployRequest #3 c1")
	b.agent(peers["a"], agentDeployed("#3", success("a", "wa")), "save deployed c1", "answer DeployResponse r5 [T a wa] [T = c1]")
	b.client(restart("r6"), "to a: AgentRestartRequest #4 of")
	b.agent(peers["a"], zeekapi.AgentRestartResponse{ReqID: reqID("#4")}, "answer RestartResponse r6 [F wb instance is drained]")
	b.agent(peers["b"], hello("b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.agent(peer(7), hello("b"), "to b: AgentStandbyRequest") // may be a new process
	b = b.again()
	b.start()
	b.agent(peer(7), hello("b"), "to b: AgentStandbyRequest")
	b.agent(peer(7), zeekapi.AgentStandbyResponse{Result: zeekapi.Result{Success: true}})
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentDeployRequest #3 c1")
	b.agent(peers["a"], agentDeployed("#3"))

	b.client(drain("r7", "b", false), "to b: AgentWelcomeRequest #4")
	b.agent(peer(7), welcomed("#4", "b"), "to b: AgentDeployRequest #6 c1")
	b.agent(peer(7), agentDeployed("#6", success("b", "wb")), "answer DrainResponse r7 [T b wb]")
	want(t, "drained instances", nil, b.state.Drained)

	// A running deployment continues without an instance that is drained.
	b.client(set("r8", config("c2", "a", "b")), "save staged c2", "save ready c2", "save target c2",
		"to a: AgentDeployRequest #7 c2", "to b: AgentDeployRequest #8 c2")
	b.agent(peers["a"], agentDeployed("#7", success("a", "wa")))
	b.client(drain("r9", "b", true), "to b: AgentStandbyRequest #9",
		"save deployed c2", "answer SetConfigurationResponse r8 [T a wa] [F b instance is drained]")
	b.agent(peer(7), standby("#9"), "to b: AgentStatusRequest #10")
	b.agent(peer(7), nothing("#10"), "answer DrainResponse r9 [T b]")

	// A disconnected agent gets the request when it returns.
	b.do(controller.PeerLost{Peer: peer(7)})
	b.client(drain("r10", "b", false), "answer DrainResponse r10 [F b agent not connected, the instance gets its nodes when it returns]")
	b.client(drain("r11", "b", true), "answer DrainResponse r11 [T b = the agent is not connected; the instance gets no nodes when it returns]")
	b.client(deploy("r12"), "save target c2", "to a: AgentDeployRequest #11 c2")
	b.agent(peers["a"], agentDeployed("#11", success("a", "wa")), "save deployed c2", "answer DeployResponse r12 [T a wa] [T = c2]")
}

// A cluster can be deployed before all of its machines are there: those that are
// missing are drained first.
func TestDrainBeforeItJoins(t *testing.T) {
	b := newBench(t, nil)
	b.agent(peer(1), hello("a"))
	b.client(zeekapi.DrainRequest{ReqID: reqID("r1"), Instance: "b", Drain: true},
		"answer DrainResponse r1 [T b = the cluster has no such instance yet; it gets no nodes when it joins]")
	want(t, "drained instances", []string{"b"}, b.state.Drained)
	b = b.again()
	b.start()
	b.agent(peer(1), hello("a"))
	b.client(stage("r2", config("c1", "a", "b")), "save staged c1", "save ready c1", "answer StageConfigurationResponse r2 [T = c1]")
	b.client(deploy("r3"), "save target c1", "to a: AgentWelcomeRequest #1")
	b.agent(peer(1), welcomed("#1", "a"), "to a: AgentDeployRequest #2 c1")
	b.agent(peer(1), agentDeployed("#2", success("a", "wa")), "save deployed c1", "answer DeployResponse r3 [T a wa] [T = c1]")
	b.agent(peer(2), hello("b"), "to b: AgentStandbyRequest")
	b.client(zeekapi.DrainRequest{ReqID: reqID("r4"), Instance: "b"}, "to b: AgentWelcomeRequest #3")
}

// A drain request ends when the nodes of the instance have stopped, so that its
// machine can be switched off.
func TestDrainWaitsForNodesToStop(t *testing.T) {
	drain := func(id string, drain bool) zeekapi.Message {
		return zeekapi.DrainRequest{ReqID: reqID(id), Instance: "a", Drain: drain}
	}
	standby := func(id string) zeekapi.Message {
		return zeekapi.AgentStandbyResponse{ReqID: reqID(id), Result: zeekapi.Result{Success: true}}
	}
	nodes := func(id string, names ...string) zeekapi.Message {
		var nodes []zeekapi.NodeStatus
		for _, name := range names {
			nodes = append(nodes, zeekapi.NodeStatus{
				Node: name, State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker,
			})
		}
		return zeekapi.AgentGetNodesResponse{ReqID: reqID(id), Result: zeekapi.Result{Success: true, Data: mustMarshal(nodes)}}
	}
	// begin drains an instance until its agent has reported the remaining nodes.
	begin := func(t *testing.T) (*bench, broker.Peer) {
		b, peers := deployedBench(t, config("c1", "a"))
		b.client(drain("r1", true), "to a: AgentStandbyRequest #1")
		b.agent(peers["a"], standby("#1"), "to a: AgentStatusRequest #2")
		b.agent(peers["a"], nodes("#2", "wa", "wb"))
		return b, peers["a"]
	}
	t.Run("nodes stop in time", func(t *testing.T) {
		b, a := begin(t)
		b.tick("to a: AgentStatusRequest #3")
		b.agent(a, zeekapi.AgentGetNodesResponse{ReqID: reqID("#3"), Result: zeekapi.Result{Error: "busy"}})
		b.tick("to a: AgentStatusRequest #4")
		b.agent(a, nodes("#4"), "answer DrainResponse r1 [T a]")
		b.idle()
	})
	t.Run("agent without status support", func(t *testing.T) {
		b, _ := begin(t)
		b.tick("to a: AgentStatusRequest #3")
		b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "a", Message: zeekapi.AgentGetNodesRequest{ReqID: reqID("#3")}}},
			"answer DrainResponse r1 [T a]")
	})
	t.Run("request times out", func(t *testing.T) {
		b, a := begin(t)
		b.now = b.now.Add(time.Minute)
		b.do(controller.Tick{}, "answer DrainResponse r1 [F a still stopping: wa, wb] [F request timed out]")
		b.idle()
		// A second request continues to wait.
		b.client(drain("r2", true), "to a: AgentStandbyRequest #3")
		b.agent(a, standby("#3"), "to a: AgentStatusRequest #4")
		b.agent(a, nodes("#4"), "answer DrainResponse r2 [T a]")
	})
	t.Run("two requests", func(t *testing.T) {
		b, a := begin(t)
		b.client(drain("r2", true), "to a: AgentStandbyRequest #3")
		b.agent(a, standby("#3"), "to a: AgentStatusRequest #4")
		b.tick("to a: AgentStatusRequest #5")
		b.agent(a, nodes("#4"), "answer DrainResponse r2 [T a]")
		b.agent(a, nodes("#5"), "answer DrainResponse r1 [T a]")
	})
	t.Run("agent disconnects", func(t *testing.T) {
		b, a := begin(t)
		b.do(controller.PeerLost{Peer: a})
		b.tick("answer DrainResponse r1 [F a agent not connected]")
		b.idle()

		b, a = begin(t)
		b.tick("to a: AgentStatusRequest #3")
		b.do(controller.PeerLost{Peer: a}, "answer DrainResponse r1 [F a agent not connected]")
		b.idle()
	})
	t.Run("instance is undrained", func(t *testing.T) {
		b, _ := begin(t)
		b.client(drain("r2", false), "answer DrainResponse r1 [F the instance is no longer drained]", "to a: AgentWelcomeRequest #3")
	})
}

// An instance that is drained and undrained during a deployment gets the configuration
// once more, although its agent had answered before.
func TestUndrainDuringDeployment(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.agent(peers["a"], checked("#1"))
	b.agent(peers["b"], checked("#2"), "save target c2", "to a: AgentDeployNodesRequest #3 c2", "to b: AgentDeployNodesRequest #4 c2")
	b.agent(peers["a"], agentDeployed("#3", problem("wa", "slow")))
	b.client(zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "a", Drain: true}, "to a: AgentStandbyRequest #5")
	b.client(zeekapi.DrainRequest{ReqID: reqID("u"), Instance: "a"},
		"answer DrainResponse d [F the instance is no longer drained]", "to a: AgentWelcomeRequest #6")
	b.agent(peers["a"], welcomed("#6", "a"), "to a: AgentDeployNodesRequest #7 c2")
	b.agent(peers["b"], agentDeployed("#4", success("b", "wb")))
	b.agent(peers["a"], agentDeployed("#7", success("a", "wa")), "answer DrainResponse u [T a wa]", "save deployed c2",
		"answer DeployResponse r1 [T b wb] [T a wa] [T = c2]")
}

// The failures of an instance that is drained during a deployment are no reason to roll it
// back, and one that is undrained has not failed.
func TestDrainDuringDeployment(t *testing.T) {
	drain := func(id, instance string, drain bool) zeekapi.Message {
		return zeekapi.DrainRequest{ReqID: reqID(id), Instance: instance, Drain: drain}
	}
	b, peers := ourBench(t, config("c1", "a", "b", "c"))
	b.stageQuietly(config("c2", "a", "b", "c"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2", "to c: AgentCheckRequest #3 c2")
	b.agent(peers["a"], checked("#1"))
	b.agent(peers["b"], checked("#2"))
	b.agent(peers["c"], checked("#3"), "save target c2", "to a: AgentDeployNodesRequest #4 c2", "to b: AgentDeployNodesRequest #5 c2", "to c: AgentDeployNodesRequest #6 c2")
	b.agent(peers["a"], agentDeployed("#4", problem("wa", "died")))
	b.client(drain("d1", "a", true), "to a: AgentStandbyRequest #7")
	b.client(drain("d2", "b", true), "to b: AgentStandbyRequest #8")
	b.client(drain("u2", "b", false), "answer DrainResponse d2 [F the instance is no longer drained]", "to b: AgentWelcomeRequest #9")
	b.agent(peers["b"], welcomed("#9", "b"), "to b: AgentDeployNodesRequest #10 c2")
	b.agent(peers["b"], agentDeployed("#10", success("b", "wb")), "answer DrainResponse u2 [T b wb]")
	b.agent(peers["c"], agentDeployed("#6", success("c", "wc")), "save deployed c2", "answer DeployResponse r1 [T b wb] [T c wc] [T = c2]")
}
