package controller_test

import (
	"slices"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// checkOfC2 returns a bench whose agents of a and b check c2 for the request r1.
func checkOfC2(t *testing.T) (*bench, map[string]broker.Peer) {
	t.Helper()
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	return b, peers
}

// describe7 makes peer 7 describe itself as our agent of instance a.
func (b *bench) describe7(want ...string) {
	b.t.Helper()
	b.agent(peer(7), zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision}, want...)
}

// A deployment begins only if the agents that the instances have then have passed the
// check, not other ones that they had before.
func TestAgentChangesDuringCheck(t *testing.T) {
	begins := []string{"save target c2"}
	t.Run("after it passed", func(t *testing.T) {
		b, peers := checkOfC2(t)
		b.agent(peers["a"], checked("#1"))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #3")
		b.describe7("to a: AgentCheckRequest #4 c2")
		b.agent(peers["b"], checked("#2"))
		b.agent(peer(7), checked("#4", problem("wa", "bad")), `answer DeployResponse r1 [F a wa bad = ["", "bad"]] `+refused)
	})
	t.Run("after it failed", func(t *testing.T) {
		b, peers := checkOfC2(t)
		b.agent(peers["a"], checked("#1", problem("wa", "bad"), portsInUse(9000)))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #3")
		b.describe7("to a: AgentCheckRequest #4 c2")
		b.agent(peer(7), checked("#4"))
		b.agent(peers["b"], checked("#2"), begins...)
	})
	t.Run("without an answer", func(t *testing.T) {
		b, peers := checkOfC2(t)
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #3")
		b.describe7("to a: AgentCheckRequest #4 c2")
		b.agent(peers["b"], checked("#2"))
		b.agent(peer(7), checked("#4"), begins...)
	})
	t.Run("and is away at the end", func(t *testing.T) {
		b, peers := checkOfC2(t)
		b.agent(peers["a"], checked("#1"))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peers["b"], checked("#2"), "answer DeployResponse r1 "+absent("a")+" "+refused)
		b.idle()
	})
	t.Run("and has yet to describe itself", func(t *testing.T) {
		b, peers := checkOfC2(t)
		b.agent(peers["a"], checked("#1"))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.do(controller.FromAgent{Peer: peer(7), Dialect: zeekapi.Operations, Message: hello("a")}, "to a: AgentWelcomeRequest #3")
		b.agent(peers["b"], checked("#2"))
		b.describe7("to a: AgentCheckRequest #4 c2")
		b.agent(peer(7), checked("#4"), begins...)
	})
	t.Run("and cannot check", func(t *testing.T) {
		b, peers := checkOfC2(t)
		b.agent(peers["a"], checked("#1"))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.do(controller.FromAgent{Peer: peer(7), Dialect: zeekapi.Operations, Message: hello("a")}, "to a: AgentWelcomeRequest #3")
		b.agent(peers["b"], checked("#2"))
		b.agent(peer(7), zeekapi.AgentDescription{Instance: "a"}, begins...)
	})
	t.Run("several times", func(t *testing.T) {
		b, peers := checkOfC2(t)
		b.agent(peers["b"], checked("#2"))
		b.do(controller.PeerLost{Peer: peers["a"]}, "answer DeployResponse r1 "+absent("a")+" "+refused)
	})
}

// An agent that takes over its instance from one that does not answer, and was
// connected before, has to pass the check, too.
func TestSuccessorIsChecked(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.described(map[string]broker.Peer{"b": peers["b"]})
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #2")
	b.describe7()
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"), "to b: AgentCheckRequest #3 c2") // the agent of a is Zeek's
	b.tick("to a: AgentWelcomeRequest #4", "to a: AgentCheckRequest #5 c2")
	b.agent(peers["b"], checked("#3"))
	b.agent(peer(7), checked("#5", problem("wa", "bad")), `answer DeployResponse r1 [F a wa bad = ["", "bad"]] `+refused)

	// The same after the first one is lost.
	b, peers = deployedBench(t, config("c1", "a", "b"))
	b.described(map[string]broker.Peer{"b": peers["b"]})
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #2")
	b.describe7()
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"), "to b: AgentCheckRequest #3 c2")
	b.do(controller.PeerLost{Peer: peers["a"]}, "to a: AgentWelcomeRequest #4", "to a: AgentCheckRequest #5 c2")
	b.agent(peers["b"], checked("#3"))
	b.agent(peer(7), checked("#5"), "save target c2")
}

// An instance that gets nodes again during a check is checked as well.
func TestUndrainDuringCheck(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.client(zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "a", Drain: true}, "to a: AgentStandbyRequest #1")
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"), "to b: AgentCheckRequest #2 c2")
	b.client(zeekapi.DrainRequest{ReqID: reqID("u"), Instance: "a"},
		"answer DrainResponse d [F the instance is no longer drained]", "to a: AgentWelcomeRequest #3")
	b.agent(peers["b"], checked("#2"), "to a: AgentCheckRequest #4 c2")
	b.agent(peers["a"], checked("#4", problem("wa", "bad")), `answer DeployResponse r1 [F a wa bad = ["", "bad"]] `+refused)
}

// The problems of an instance do not matter once it is drained.
func TestDrainAfterFailedCheck(t *testing.T) {
	b, peers := checkOfC2(t)
	b.agent(peers["a"], checked("#1", problem("wa", "bad")))
	b.client(zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "a", Drain: true}, "to a: AgentStandbyRequest #3")
	b.agent(peers["b"], checked("#2"), "save target c2", "to b: AgentDeployNodesRequest #4 c2")
}

// A check without a deployment follows the agents as well, and awaits the description
// of one that has just connected.
func TestAgentChangesDuringCheckRequest(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.client(zeekapi.CheckRequest{ReqID: reqID("r1")}, "to a: AgentCheckRequest #1 c1", "to b: AgentCheckRequest #2 c1")
	b.agent(peers["a"], checked("#1"))
	b.do(controller.PeerLost{Peer: peers["a"]})
	b.do(controller.FromAgent{Peer: peer(7), Dialect: zeekapi.Operations, Message: hello("a")}, "to a: AgentWelcomeRequest #3")
	b.client(zeekapi.CheckRequest{ReqID: reqID("r2")})
	b.describe7("to a: AgentCheckRequest #4 c1", "to a: AgentCheckRequest #5 c1", "to b: AgentCheckRequest #6 c1")
	b.agent(peers["b"], checked("#2"))
	b.agent(peer(7), checked("#4", problem("wa", "bad")), `answer CheckResponse r1 [F a wa bad = ["", "bad"]]`)
	b.agent(peer(7), checked("#5"))
	b.agent(peers["b"], checked("#6"), "answer CheckResponse r2 [T = c1]")
}

// An agent that takes over an instance while another one gets the site gets it, too,
// and then checks.
func TestAgentChangesDuringUpload(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(withSite(config("c2", "a", "b")))
	b.client(deploy("r1"), "to a: AgentSiteRequest #2 from 0", "to b: AgentSiteRequest #4 from 0")
	b.do(controller.PeerLost{Peer: peers["a"]})
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #5")
	b.describe7("to a: AgentSiteRequest #7 from 0")
	b.agent(peers["b"], progress("#4", 9, true), "to b: AgentCheckRequest #8 c2")
	b.agent(peers["b"], checked("#8"))
	b.agent(peer(7), progress("#7", 9, true), "to a: AgentCheckRequest #9 c2")
	b.agent(peer(7), checked("#9"), "save target c2")
}

// An agent that turns out not to know the request is reported as one that cannot check.
func TestCheckIsUnsupported(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.client(zeekapi.CheckRequest{ReqID: reqID("r1")}, "to a: AgentCheckRequest #1 c1", "to b: AgentCheckRequest #2 c1")
	b.agent(peers["b"], checked("#2"))
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "a", Peer: peers["a"].ID, Message: zeekapi.AgentCheckRequest{ReqID: reqID("#1")}}},
		"answer CheckResponse r1 [T a = its nodes are not checked: the agent is Zeek's own, or an old one of zeekwire] [T = c1]")
}

// A new agent checks with the address that it has, and not with that of the former one.
func TestCheckHasAddressOfNewAgent(t *testing.T) {
	c := config("c1", "a", "b")
	c.Nodes[0].Port = broker.TCP(9000)
	b, peers := ourBench(t, c)
	c.ID = "c2"
	b.stageQuietly(c)
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.do(controller.PeerLost{Peer: peers["a"]})
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #3")
	outputs := b.machine.Step(b.now, controller.FromAgent{Peer: peer(7), Message: zeekapi.AgentDescription{
		Instance: "a", LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision,
	}})
	c = b.saved[controller.Ready]
	c.Instances = slices.Clone(c.Instances)
	c.Instances[0].Host, c.Instances[1].Host = peer(7).Addr.Addr(), peers["b"].Addr.Addr()
	for _, o := range outputs {
		if to, ok := o.(controller.ToAgent); ok {
			if request, ok := to.Message.(zeekapi.AgentCheckRequest); ok && request.LayoutID == layoutOf(c).ID() {
				return
			}
		}
	}
	t.Errorf("outputs are %+v, want a check with the layout of %+v", outputs, c.Instances)
}

// The agents that have not checked in time are named, with the reason.
func TestCheckExpires(t *testing.T) {
	b, peers := checkOfC2(t)
	b.agent(peers["a"], checked("#1"))
	b.do(controller.PeerLost{Peer: peers["a"]})
	b.tick("answer DeployResponse r1 [F request timed out] [F the check goes on, and the deployment if it passes, waiting for a, b]")
	b.tick()
	want(t, "errors", []string{
		"request timed out",
		"the agent of instance a is not connected; start it, or drain the instance to go on without it",
		"the agent of instance b has not answered the check; start-limit of the controller allows it more time",
		"the deployment is refused, nothing has changed",
	}, b.lastDeployment().Errors)
	b.idle()
}

// A check before the first deployment connects to the agents that listen, and leaves them
// afterwards. It waits for them for a while only, and does not wait for other agents.
func TestCheckDialsAgents(t *testing.T) {
	for _, answers := range []bool{true, false} {
		b := newBench(t, nil)
		b.machine.Start(b.now)
		x := dialedPeer(9, "10.0.0.9:2151")
		c := listening(config("c", "a", "x"), "x", "10.0.0.9:2151")
		b.client(zeekapi.CheckRequest{ReqID: reqID("r"), Config: &c}, "dial 10.0.0.9:2151")
		if !answers {
			b.tick("hang up 10.0.0.9:2151", "answer CheckResponse r "+absent("a")+" "+absent("x"))
			continue
		}
		b.do(controller.FromAgent{Peer: x, Dialect: zeekapi.Operations, Message: hello("x")})
		b.agent(x, zeekapi.AgentDescription{Instance: "x", LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision}, "to x: AgentCheckRequest #1 c")
		b.agent(x, checked("#1"), "hang up 10.0.0.9:2151", "answer CheckResponse r "+absent("a"))
		b.idle()
	}
}

// A deployment that is refused may end the check of another configuration, because the
// controller leaves an agent that it dialed for the first one.
func TestRefusalEndsOtherCheck(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	x := dialedPeer(9, "10.0.0.9:2151")
	b.stageQuietly(listening(config("c2", "a", "b", "x"), "x", "10.0.0.9:2151"))
	b.client(deploy("r1"), "dial 10.0.0.9:2151")
	b.agent(x, hello("x"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.agent(x, zeekapi.AgentDescription{Instance: "x", LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision}, "to x: AgentCheckRequest #3 c2")
	other := listening(config("c3", "x"), "x", "10.0.0.9:2151")
	b.client(zeekapi.CheckRequest{ReqID: reqID("r2"), Config: &other}, "to x: AgentCheckRequest #4 c3")
	b.agent(peers["a"], checked("#1", problem("wa", "bad")))
	b.agent(x, checked("#3"))
	b.client(zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "b", Drain: true},
		"to b: AgentStandbyRequest #5", "hang up 10.0.0.9:2151", "answer CheckResponse r2 "+absent("x"),
		`answer DeployResponse r1 [F a wa bad = ["", "bad"]] `+refused)
}

// Of agents that return from other addresses during a check, the first gets a new plan at
// once, and the others share the next one.
func TestAgentsReturnDuringCheck(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b", "c"))
	b.stageQuietly(config("c2", "a", "b", "c"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2", "to c: AgentCheckRequest #3 c2")
	back := func(number int, name, welcome string, want ...string) {
		t.Helper()
		b.do(controller.PeerLost{Peer: peers[name]})
		b.agent(peer(number), hello(name), "to "+name+": AgentWelcomeRequest "+welcome)
		b.agent(peer(number), zeekapi.AgentDescription{Instance: name, LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision}, want...)
	}
	back(7, "a", "#4", "to a: AgentCheckRequest #5 c2")
	back(8, "b", "#6")
	back(9, "c", "#7")
	b.agent(peer(7), checked("#5"))
	b.tick("to b: AgentCheckRequest #8 c2", "to c: AgentCheckRequest #9 c2")
	b.agent(peer(8), checked("#8"))
	b.agent(peer(9), checked("#9"), "save target c2")
}
