package controller_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func TestDeployment(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.client(deploy("r0"), "answer DeployResponse r0 [F no configuration available to deploy]")
	b.client(zeekapi.GetConfigurationRequest{ReqID: zeekapi.ReqID{ID: "r1"}},
		"answer GetConfigurationResponse r1 [F no staged configuration available]")
	b.client(zeekapi.GetConfigurationRequest{ReqID: zeekapi.ReqID{ID: "r2"}, Deployed: true},
		"answer GetConfigurationResponse r2 [F no deployed configuration available]")

	b.agent(peer(1), hello("a"))
	b.client(stage("r3", config("c1", "a", "b")),
		"save staged c1", "save ready c1", "answer StageConfigurationResponse r3 [T = c1]")
	b.client(deploy("r4"), "save target c1", "to a: AgentWelcomeRequest #1")
	b.client(deploy("r5"), "answer DeployResponse r5 [F earlier deployment r4 still pending] [F waiting for a, b]")
	b.agent(peer(1), welcomed("#1", "a"))
	b.agent(peer(2), hello("b"), "to b: AgentWelcomeRequest #2")
	b.agent(peer(2), welcomed("#2", "b"), "to a: AgentDeployRequest #3 c1", "to b: AgentDeployRequest #4 c1")
	b.agent(peer(1), agentDeployed("#3", success("a", "wa")))
	b.agent(peer(1), agentDeployed("#3", success("a", "wa"))) // agents repeat themselves
	b.agent(peer(2), agentDeployed("#4", zeekapi.Result{Node: "wb", Data: broker.Vector(broker.String("out"), broker.String("err"))}),
		"save deployed c1",
		`answer DeployResponse r4 [T a wa] [F b wb = ["out", "err"]] [T = c1]`)
	b.agent(peer(2), agentDeployed("#4"))
	b.agent(peer(2), agentDeployed(""))

	deployed := b.saved[controller.Deployed]
	if diff := cmp.Diff([]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")},
		[]netip.Addr{deployed.Instances[0].Host, deployed.Instances[1].Host}, cmp.Comparer(sameAddr)); diff != "" {
		t.Errorf("hosts of the deployed configuration\n%s", diff)
	}
	// b said hello after the staging, and so has no address there.
	if host := b.saved[controller.Ready].Instances[1].Host; !host.IsUnspecified() {
		t.Errorf("b has address %s when staged", host)
	}
	if b.saved[controller.Staged].Instances[0].Host != netip.IPv4Unspecified() {
		t.Error("what is staged is not as it was uploaded")
	}
}

func sameAddr(a, b netip.Addr) bool { return a == b }

// The target stays when a deployment times out, so a late agent completes it.
// Zeek's controller would undo the deployment.
func TestLateAgentGetsTheNewConfiguration(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.client(stage("r1", config("c2", "a", "b")), "save staged c2", "save ready c2", "answer StageConfigurationResponse r1 [T = c2]")
	b.client(deploy("r2"), "save target c2")
	b.tick("answer DeployResponse r2 [F request timed out] [F waited for b]")
	if b.saved[controller.Deployed].ID != "c1" {
		t.Error("a deployment that timed out counts as deployed")
	}
	b.idle()
	// It comes from another address, which is no reason to stop anything.
	b.agent(peer(7), hello("b"), "to b: AgentWelcomeRequest #1")
	b.agent(peer(7), welcomed("#1", "b"),
		"to a: AgentDeployRequest #3 c2", "to b: AgentDeployRequest #4 c2")
	b.agent(peers["a"], agentDeployed("#3", success("a", "wa")))
	b.agent(peer(7), agentDeployed("#4", success("b", "wb")), "save deployed c2")
}

// Results that came in before the time-out are not lost, and neither are those
// that come in later: a deployment that takes long goes on, the client just
// cannot wait for it.
func TestDeploymentTimesOutHalfway(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #1 c1", "to b: AgentDeployRequest #2 c1")
	b.agent(peers["b"], agentDeployed("#2", success("b", "wb")))
	b.tick("answer DeployResponse r1 [T b wb] [F request timed out] [F the deployment goes on, waiting for a]")
	b.client(deploy("r2"), "answer DeployResponse r2 [F earlier deployment r1 still pending] [F waiting for a]")
	if got := b.state.History[1].Outcome; got != zeekapi.OutcomePending {
		t.Errorf("the outcome is %s while the deployment goes on", got)
	}
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c1")
	if got := b.state.History[1].Outcome; got != zeekapi.OutcomeDeployed {
		t.Errorf("in the end the outcome is %s", got)
	}
	b.idle()

	// Not for ever. What an agent did not answer may have been lost.
	b.client(set("r3", config("c2", "a", "b")), "save staged c2", "save ready c2", "save target c2",
		"to a: AgentDeployRequest #3 c2", "to b: AgentDeployRequest #4 c2")
	b.agent(peers["b"], agentDeployed("#4", success("b", "wb")))
	b.tick("answer SetConfigurationResponse r3 [T b wb] [F request timed out] [F the deployment goes on, waiting for a]")
	b.tick("to a: AgentDeployRequest #6 c2")
	if got := b.state.History[2]; got.Outcome != zeekapi.OutcomeTimeout || !slices.Contains(got.Errors, "waited for a") {
		t.Errorf("in the end the history has %s %q", got.Outcome, got.Errors)
	}
	b.agent(peers["a"], agentDeployed("#4")) // late
	b.agent(peers["a"], agentDeployed("#6"), "save deployed c2")
	b.idle()
}

func TestRedeployAtStart(t *testing.T) {
	target, filled := config("c1", "a"), config("c1", "a")
	filled.Instances[0].Host = netip.MustParseAddr("10.0.0.1")
	slots := map[controller.Slot]zeekapi.Configuration{
		controller.Staged: target, controller.Ready: target, controller.Deployed: filled, controller.Target: target,
	}
	b := newBench(t, slots)
	b.start()
	b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peer(1), welcomed("#2", "a"), "to a: AgentDeployRequest #3 c1")
	b.agent(peer(1), agentDeployed("#3", success("a", "")))
	b.tick()
	b.idle()

	// A client need not wait for a deployment that is our own.
	b = newBench(t, slots)
	b.start()
	b.client(deploy("r1"), "save target c1")
	b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peer(1), welcomed("#2", "a"), "to a: AgentDeployRequest #3 c1")
	b.agent(peer(1), agentDeployed("#3", success("a", "wa")),
		"save deployed c1", "answer DeployResponse r1 [T a wa] [T = c1]")

	// Nobody hears of it when our own times out.
	b = newBench(t, slots)
	b.start()
	b.tick()
	b.idle()
}

func TestEmptyConfiguration(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	b.client(stage("r1", zeekapi.Configuration{ID: "c0"}),
		"save staged c0", "save ready c0", "answer StageConfigurationResponse r1 [T = c0]")
	b.client(deploy("r2"), "save target c0", "to a: AgentStandbyRequest",
		"save deployed c0", "answer DeployResponse r2 [T = c0]")
	b.client(restart("r3"), "answer RestartResponse r3 [F no active cluster deployment]")
	b.client(getID("r4", "x"), "answer GetIDValueResponse r4 [F no cluster deployed]")
	b.client(set("r5", zeekapi.Configuration{ID: "c0"}), "save staged c0", "save ready c0",
		"save target c0", "save deployed c0", "answer SetConfigurationResponse r5 [T = c0]")
	b.idle()
}

func TestSetConfiguration(t *testing.T) {
	b := newBench(t, nil)
	b.agent(peer(1), hello("a"))
	bad := config("c0", "a")
	bad.Nodes[0].Instance = "b"
	b.client(set("r1", bad), "answer SetConfigurationResponse r1 [F node 'wa' has undeclared instance name 'b']")
	b.client(set("r2", config("c1", "a")), "save staged c1", "save ready c1", "save target c1", "to a: AgentWelcomeRequest #1")
	b.client(set("r3", config("c2", "a")), "answer SetConfigurationResponse r3 [F request r2 still pending] [F waiting for a]")
	b.client(deploy("r4"), "answer DeployResponse r4 [F earlier deployment r2 still pending] [F waiting for a]")
	b.agent(peer(1), welcomed("#1", "a"), "to a: AgentDeployRequest #2 c1")
	b.agent(peer(1), agentDeployed("#2", success("a", "")),
		"save deployed c1", "answer SetConfigurationResponse r2 [T a]")
	b.client(set("r5", config("c3", "a", "b")), "save staged c3", "save ready c3", "save target c3")
	b.tick("answer SetConfigurationResponse r5 [F request timed out] [F waited for b]")
}

// Zeek's agents without nodes of their own always report a time-out.
func TestAgentWithoutNodes(t *testing.T) {
	c := config("c1", "a", "b")
	c.Nodes = c.Nodes[:1]
	b, peers := deployedBench(t, c)
	b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #1 c1", "to b: AgentDeployRequest #2 c1")
	timeout := zeekapi.Result{Error: zeekapi.ErrorTimeout}
	b.agent(peers["b"], agentDeployed("#2", timeout))
	b.agent(peers["a"], agentDeployed("#1", timeout, success("", "wa")), "save deployed c1",
		"answer DeployResponse r1 [T b] [F a request timed out] [T a wa] [T = c1]")
}

// An instance that is to be reached in another way is dropped and added at
// once. Zeek's controller forgets to add it.
func TestInstanceMoves(t *testing.T) {
	at1 := listening(config("c1", "a"), "a", "10.1.0.1:2151")
	at2 := listening(config("c2", "a"), "a", "10.1.0.2:2151")
	b := newBench(t, nil)
	b.client(set("r1", at1), "save staged c1", "save ready c1", "save target c1", "dial 10.1.0.1:2151")
	p1 := dialedPeer(1, "10.1.0.1:2151")
	b.agent(p1, hello("a"), "to a: AgentWelcomeRequest #1")
	b.agent(p1, welcomed("#1", "a"), "to a: AgentDeployRequest #2 c1")
	b.agent(p1, agentDeployed("#2", success("a", "wa")), "save deployed c1", "answer SetConfigurationResponse r1 [T a wa]")

	b.client(set("r2", at2), "save staged c2", "save ready c2", "save target c2",
		"to a: AgentStandbyRequest", "hang up 10.1.0.1:2151", "dial 10.1.0.2:2151")
	b.do(controller.PeerLost{Peer: p1})
	p2 := dialedPeer(2, "10.1.0.2:2151")
	b.agent(p2, hello("a"), "to a: AgentWelcomeRequest #3")
	b.agent(p2, welcomed("#3", "a"), "to a: AgentDeployRequest #4 c2")
	b.agent(p2, agentDeployed("#4", success("a", "wa")), "save deployed c2", "answer SetConfigurationResponse r2 [T a wa]")

	// From now on the agent connects.
	b.client(set("r3", config("c3", "a")), "save staged c3", "save ready c3", "save target c3",
		"to a: AgentStandbyRequest", "hang up 10.1.0.2:2151")
	b.agent(peer(3), hello("a"), "to a: AgentWelcomeRequest #5")
	b.agent(peer(3), welcomed("#5", "a"), "to a: AgentDeployRequest #6 c3")
	b.agent(peer(3), agentDeployed("#6", success("a", "wa")), "save deployed c3", "answer SetConfigurationResponse r3 [T a wa]")

	// Where the agent that connects is said to be makes no difference.
	elsewhere := config("c4", "a")
	elsewhere.Instances[0].Host = netip.MustParseAddr("10.9.9.9")
	b.client(set("r4", elsewhere), "save staged c4", "save ready c4", "save target c4",
		"to a: AgentDeployRequest #7 c4")
}

func TestWelcome(t *testing.T) {
	t.Run("repeated hello", func(t *testing.T) {
		b := newBench(t, nil)
		b.client(set("r1", config("c1", "a")), "save staged c1", "save ready c1", "save target c1")
		b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #1")
		b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #1") // it may have missed the first
		b.agent(peer(1), welcomed("#1", "a"), "to a: AgentDeployRequest #2 c1")
		b.agent(peer(1), welcomed("#1", "a"))
		b.agent(peer(1), hello("a"))
	})
	t.Run("unanswered", func(t *testing.T) {
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
	t.Run("too late", func(t *testing.T) {
		b := newBench(t, nil)
		b.agent(peer(1), hello("a"))
		b.client(set("r1", config("c1", "a", "b")), "save staged c1", "save ready c1", "save target c1", "to a: AgentWelcomeRequest #1")
		b.tick("answer SetConfigurationResponse r1 [F request timed out] [F waited for a, b]", "to a: AgentWelcomeRequest #1")
		b.client(set("r2", config("c2", "b")), "save staged c2", "save ready c2", "save target c2", "to a: AgentStandbyRequest")
		b.agent(peer(1), welcomed("#1", "a"))
	})
	t.Run("answered with something else", func(t *testing.T) {
		b := newBench(t, nil)
		b.client(set("r1", config("c1", "a")), "save staged c1", "save ready c1", "save target c1")
		b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #1")
		b.agent(peer(1), agentDeployed("#1"))
		b.agent(peer(1), zeekapi.AgentDispatchResponse{ReqID: zeekapi.ReqID{ID: "#1"}})
		b.agent(peer(1), welcomed("#1", "a"), "to a: AgentDeployRequest #2 c1")
	})
}

func TestAPIVersion(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	other := zeekapi.AgentHello{Instance: "a", APIVersion: 2}
	b.agent(peer(9), other) // of no concern to the agent that is there
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1")
	b.agent(peers["a"], other, "answer GetNodesResponse r1 [F a agent not connected]")
	b.client(getNodes("r2"), "answer GetNodesResponse r2 [F no instances connected]")

	// A deployment waits for an agent that speaks our version.
	b.client(deploy("r3"), "save target c1")
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentDeployRequest #3 c1")
}

func TestAgentRestarts(t *testing.T) {
	t.Run("noticed", func(t *testing.T) {
		b, peers := deployedBench(t, config("c1", "a", "b"))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #1")
		b.agent(peer(7), welcomed("#1", "a"),
			"to a: AgentDeployRequest #3 c1")
	})
	t.Run("unnoticed", func(t *testing.T) {
		b, peers := deployedBench(t, config("c1", "a", "b"))
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #1")
		b.agent(peer(7), welcomed("#1", "a"),
			"to a: AgentDeployRequest #3 c1")
		b.do(controller.PeerLost{Peer: peers["a"]}) // what was lost long ago
		b.client(zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: "r1"}},
			`answer GetInstancesResponse r1 [T = [["a", 10.0.0.7, nil], ["b", 10.0.0.2, nil]]]`)
	})
	t.Run("while another is missing", func(t *testing.T) {
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
	t.Run("its connection breaks during a deployment", func(t *testing.T) {
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

// Two agents of one name: the later has the instance, and they do not take
// turns however often they say hello.
func TestTwoAgentsOfOneName(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #1")
	b.agent(peer(7), welcomed("#1", "a"), "to a: AgentDeployRequest #3 c1")
	b.agent(peer(7), agentDeployed("#3"))
	for range 3 {
		b.agent(peers["a"], hello("a"))
		b.agent(peer(7), hello("a"))
	}
	// Both hear what is meant for the later.
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #4")
	b.agent(peers["a"], answerTo(controller.ToAgent{Instance: "a", Message: zeekapi.AgentGetNodesRequest{ReqID: zeekapi.ReqID{ID: "#4"}}}))
	b.agent(peer(7), answerTo(controller.ToAgent{Instance: "a", Message: zeekapi.AgentGetNodesRequest{ReqID: zeekapi.ReqID{ID: "#4"}}}),
		"answer GetNodesResponse r1 [T a = []]")
	// What either says by itself counts only if it is the later.
	b.events = nil
	b.agent(peers["a"], zeekapi.AgentLog{Instance: "a", Text: "from the earlier"})
	b.agent(peer(7), zeekapi.AgentLog{Instance: "a", Text: "from the later"})
	b.heard("log a : from the later")

	b.do(controller.PeerLost{Peer: peer(7)}, "to a: AgentWelcomeRequest #5")
	b.agent(peers["a"], welcomed("#5", "a"), "to a: AgentDeployRequest #7 c1")
}

func TestOnePeerIsOneAgent(t *testing.T) {
	b := newBench(t, nil)
	for _, name := range []string{"a", "b", "c"} {
		b.agent(peer(1), hello(name))
	}
	b.client(zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: "r1"}},
		`answer GetInstancesResponse r1 [T = [["a", 10.0.0.1, nil]]]`)
	b.do(controller.PeerLost{Peer: peer(1)})
	if peers, _ := b.machine.Held(); peers != 0 {
		t.Errorf("%d peers left", peers)
	}
}

// A peer cannot fill the log or the memory with what it calls itself.
func TestManyNames(t *testing.T) {
	b := newBench(t, nil)
	b.agent(peer(1), hello(strings.Repeat("x", 1001)))
	if peers, _ := b.machine.Held(); peers != 0 {
		t.Errorf("%d agents", peers)
	}
	b.agent(peer(1), hello("a"))
	b.log.take()
	for i := range 1000 {
		b.agent(peer(1), hello(fmt.Sprint("a", i)))
		b.agent(peer(2), zeekapi.AgentWelcomeResponse{ReqID: reqID("x")})
	}
	if log := b.log.take(); len(log) > 64 {
		t.Errorf("%d lines in the log, of which the last is %s", len(log), log[len(log)-1])
	}
	b.do(controller.PeerLost{Peer: peer(1)})
	b.log.take()
	b.agent(peer(1), hello("b"))
	b.agent(peer(1), hello("c"))
	if log := b.log.take(); len(log) != 2 || !strings.Contains(log[1], "had another name before") {
		t.Errorf("log: %s", strings.Join(log, "\n"))
	}
}

// Only the agent that was asked can answer, and only what it was asked.
func TestForeignAnswers(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	answer := func(id string) zeekapi.Message {
		return zeekapi.AgentGetNodesResponse{ReqID: zeekapi.ReqID{ID: id}, Result: zeekapi.Result{Success: true, Instance: "x", Data: broker.Vector()}}
	}
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1", "to b: AgentGetNodesRequest #2")
	b.agent(peers["b"], answer("#1"))
	b.agent(peer(9), answer("#1"))
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")))
	b.agent(peers["a"], answer("#3"))
	b.agent(peers["a"], answer("#1"))
	b.agent(peers["b"], answer("#2"), "answer GetNodesResponse r1 [T a = []] [T b = []]")

	// No agent can claim to be done for another, nor pass for the controller.
	b.client(deploy("r2"), "save target c1", "to a: AgentDeployRequest #3 c1", "to b: AgentDeployRequest #4 c1")
	b.agent(peers["b"], agentDeployed("#3", success("a", "wa")))
	b.agent(peers["b"], agentDeployed("#4", zeekapi.Result{Success: true, Data: broker.String("c9")}))
	b.agent(peers["a"], agentDeployed("#3", success("a", "wa")), "save deployed c1",
		"answer DeployResponse r2 [T b] [T a wa] [T = c1]")

	// Nobody else can welcome.
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.agent(peers["b"], hello("b"), "to b: AgentWelcomeRequest #5")
	b.agent(peers["a"], welcomed("#5", "b"))
	b.agent(peer(9), welcomed("#5", "b"))
	if got := b.machine.Ready(); !cmp.Equal(got, []string{"a"}) {
		t.Errorf("ready: %s", got)
	}
}

// Clients must be able to read what an agent sends for data.
func TestUnreadableData(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1")
	b.agent(peers["a"], zeekapi.AgentGetNodesResponse{ReqID: zeekapi.ReqID{ID: "#1"}, Result: zeekapi.Result{Success: true, Data: broker.String("x")}},
		"answer GetNodesResponse r1 [F a agent sent something else than the status of nodes]")
}

// Where nobody is left to answer, the client learns at once.
func TestLostWhileAsked(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1", "to b: AgentGetNodesRequest #2")
	b.client(getID("r2", "x"), "to a: AgentDispatchRequest #3 get_id_value x of", "to b: AgentDispatchRequest #4 get_id_value x of")
	b.client(restart("r3", "wb", "w"), "to a: AgentRestartRequest #5 of wb", "to b: AgentRestartRequest #6 of wb")
	b.agent(peers["a"], answerTo(controller.ToAgent{Instance: "a", Message: zeekapi.AgentRestartRequest{ReqID: zeekapi.ReqID{ID: "#5"}}}))
	b.agent(peers["a"], zeekapi.AgentDispatchResponse{ReqID: zeekapi.ReqID{ID: "#3"}, Results: []zeekapi.Result{
		{Success: true, Instance: "a", Node: "wa", Data: broker.String("1")}}})
	b.do(controller.PeerLost{Peer: peers["b"]},
		"answer GetIDValueResponse r2 [T a wa = 1] [F wb agent not connected]",
		"answer RestartResponse r3 [F w unknown cluster node] [F wb agent not connected]")
	b.agent(peers["a"], answerTo(controller.ToAgent{Instance: "a", Message: zeekapi.AgentGetNodesRequest{ReqID: zeekapi.ReqID{ID: "#1"}}}),
		"answer GetNodesResponse r1 [F b agent not connected] [T a = []]")

	b.client(getID("r4", "x", "wb"), "to a: AgentDispatchRequest #7 get_id_value x of wb")
	b.do(controller.PeerLost{Peer: peers["a"]}, "answer GetIDValueResponse r4 [F wb agent not connected]")
	b.client(getID("r5", "x"), "answer GetIDValueResponse r5 [F wa agent not connected] [F wb agent not connected]")
	b.client(getID("r6", "x", "y"), "answer GetIDValueResponse r6 [F y unknown cluster node]")
	b.client(restart("r7"), "answer RestartResponse r7 [F no instances connected]")
	b.idle()
}

func TestUnsupported(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	b.client(restart("r1"), "to a: AgentRestartRequest #1 of")
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "a", Message: zeekapi.AgentRestartRequest{ReqID: zeekapi.ReqID{ID: "#1"}}}},
		"answer RestartResponse r1 [F wa not supported by the agent]")
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "a", Message: zeekapi.AgentStandbyRequest{}}})
}

// Before anything was deployed there are nodes nevertheless: those that the
// deployment under way, or one that timed out, is about.
func TestNothingDeployedYet(t *testing.T) {
	b := newBench(t, nil)
	b.agent(peer(1), hello("a"))
	b.client(restart("r1"), "answer RestartResponse r1 [F no active cluster deployment]")
	b.client(getID("r2", "x"), "answer GetIDValueResponse r2 [F no cluster deployed]")
	b.client(set("r3", config("c1", "a", "b")), "save staged c1", "save ready c1", "save target c1", "to a: AgentWelcomeRequest #1")
	b.client(getID("r4", "x", "wa"), "answer GetIDValueResponse r4 [F wa agent not connected]")
	b.agent(peer(1), welcomed("#1", "a"))
	b.client(restart("r5", "wa"), "to a: AgentRestartRequest #2 of wa")
	b.tick("answer SetConfigurationResponse r3 [F request timed out] [F waited for b]", "answer RestartResponse r5 [F request timed out]")
}

func TestRequestIDs(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #1 c1")
	b.client(deploy("r1"))
	b.client(getNodes("r1"))
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c1",
		"answer DeployResponse r1 [T a wa] [T = c1]")
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #2")
	b.tick("answer GetNodesResponse r1 [F request timed out]")
}

func TestTestTimeout(t *testing.T) {
	b := newBench(t, nil)
	b.client(zeekapi.TestTimeoutRequest{ReqID: zeekapi.ReqID{ID: "r1"}})
	b.idle()
	b.client(zeekapi.TestTimeoutRequest{ReqID: zeekapi.ReqID{ID: "r2"}, WithState: true})
	b.tick("answer TestTimeoutResponse r2 [F request timed out]")
	b.idle()
}

func TestShutdown(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(getNodes("before"), "to a: AgentGetNodesRequest #1")
	b.do(controller.Shutdown{})
	b.client(getNodes("r1"), "answer GetNodesResponse r1 [F the controller is shutting down]")
	b.client(deploy("r2"), "answer DeployResponse r2 [F the controller is shutting down]")
	b.client(zeekapi.StatusRequest{ReqID: zeekapi.ReqID{ID: "r3"}}, "answer StatusResponse r3 [F the controller is shutting down]")
	if n := b.machine.Pending(); n != 1 {
		t.Errorf("%d requests are pending", n)
	}
	b.agent(peers["a"], zeekapi.AgentGetNodesResponse{ReqID: zeekapi.ReqID{ID: "#1"}, Result: success("a", "")}, "answer GetNodesResponse before [T a]")
	if n := b.machine.Pending(); n != 0 {
		t.Errorf("%d requests are pending", n)
	}
}

func TestTooManyRequests(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	const asked = 5000
	answers := func(in controller.Input, text string) int {
		n := 0
		for _, o := range b.machine.Step(b.now, in) {
			if o, ok := o.(controller.ToClients); ok && strings.Contains(describe(o), text) {
				n++
			}
		}
		return n
	}
	refused := 0
	for i := range asked {
		refused += answers(controller.FromClient{Message: getNodes(strconv.Itoa(i))}, "[F too many requests under way]")
	}
	_, requests := b.machine.Held()
	if requests != 256 || refused != 200 {
		t.Errorf("%d requests under way, %d refused", requests, refused)
	}
	if n := answers(controller.FromAgent{Peer: peer(7), Message: hello("a")}, "[F a agent not connected]"); n != requests {
		t.Errorf("%d answers when the agent is replaced, want %d", n, requests)
	}
}

// A request's ID is kept for as long as the request is under way.
func TestLongRequestID(t *testing.T) {
	b := newBench(t, nil)
	b.client(zeekapi.TestTimeoutRequest{ReqID: reqID(strings.Repeat("x", 1<<20)), WithState: true})
	if n := b.machine.Pending(); n != 0 {
		t.Errorf("%d requests are under way", n)
	}
}

func TestManyUnknownNodes(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	nodes := make([]string, 100_000)
	for i := range nodes {
		nodes[i] = strconv.Itoa(i)
	}
	for _, o := range b.machine.Step(b.now, controller.FromClient{Message: zeekapi.RestartRequest{ReqID: reqID("r1"), Nodes: nodes}}) {
		results := resultsOf(o.(controller.ToClients).Message)
		if n := len(results); n != 1001 || results[n-1].Error != "more than 1000 unknown cluster nodes" {
			t.Errorf("%d results, the last is %q", n, results[n-1].Error)
		}
	}
}
