package controller_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func TestForceDeploy(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("r1"), DeployOptions: zeekapi.DeployOptions{Force: true}}, "save target c1", "to a: AgentDeployRequest #1 c1 by force")
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c1", "answer DeployStagedResponse r1 [T a wa] [T = c1]")
}

// Zeek's agents compare only configuration IDs. A configuration that changed under
// the same ID is therefore deployed with the force flag.
func TestDeployForcesChangedContentWithSameID(t *testing.T) {
	// Agents that announce a layout form also compare the content.
	b, peers := deployedBench(t, config("c1", "a"))
	b.agent(peers["a"], zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm})
	b.client(set("r0", config("c1", "a", "b")), "save staged c1", "save ready c1")
	b.agent(peer(2), hello("b"), "save target c1", "to b: AgentWelcomeRequest #1")
	b.agent(peer(2), welcomed("#1", "b"), "to a: AgentDeployNodesRequest #2 c1", "to b: AgentDeployRequest #3 c1 by force")

	b, peers = deployedBench(t, config("c1", "a", "b"))
	c := config("c1", "a", "b")
	c.Nodes[0].Interface = "eth1"
	b.client(stage("r1", c), "save staged c1", "save ready c1", "answer StageConfigurationResponse r1 [T = c1]")
	b.client(deploy("r2"), "save target c1", "to a: AgentDeployRequest #1 c1 by force", "to b: AgentDeployRequest #2 c1 by force")
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")))

	// A restarted controller does not know the content that b has, and forces it
	// again.
	b = b.again()
	b.start()
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentDeployRequest #4 c1") // the former content
	b.agent(peers["b"], hello("b"), "to b: AgentWelcomeRequest #5")
	b.agent(peers["b"], welcomed("#5", "b"), "to a: AgentDeployRequest #6 c1 by force", "to b: AgentDeployRequest #7 c1 by force")
	b.agent(peers["a"], agentDeployed("#6"))
	b.agent(peers["b"], agentDeployed("#7"), "save deployed c1")
	b.client(deploy("r3"), "save target c1", "to a: AgentDeployRequest #8 c1", "to b: AgentDeployRequest #9 c1")
}

// The controller sends a layout only to agents that announce the same layout
// form. Other agents get the request of Zeek's API.
func TestLayoutIsSentOnlyForSameForm(t *testing.T) {
	for form, want := range map[uint64]string{
		zeekapi.LayoutForm - 1: "to a: AgentDeployRequest #1 c1",
		zeekapi.LayoutForm:     "to a: AgentDeployNodesRequest #1 c1",
		zeekapi.LayoutForm + 1: "to a: AgentDeployRequest #1 c1",
	} {
		b, peers := deployedBench(t, config("c1", "a"))
		b.agent(peers["a"], zeekapi.AgentDescription{Instance: "a", LayoutForm: form})
		b.client(deploy("r1"), "save target c1", want)
	}
}

// When an agent returns with another address, its nodes are deployed with that
// address. Instances whose nodes connect to it are deployed again.
func TestDeployAfterAgentAddressChange(t *testing.T) {
	c := config("c1", "a", "b")
	c.Nodes[0].Role = zeekapi.RoleManager
	b, peers := deployedBench(t, c)
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.agent(peer(8), hello("b"), "to b: AgentWelcomeRequest #1")
	b.agent(peer(8), welcomed("#1", "b"), "to b: AgentDeployRequest #3 c1")
	b.agent(peer(8), agentDeployed("#3"))

	b.do(controller.PeerLost{Peer: peers["a"]})
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #4")
	b.agent(peer(7), welcomed("#4", "a"), "to a: AgentDeployRequest #6 c1 by force", "to b: AgentDeployRequest #7 c1 by force")
	b.agent(peer(7), agentDeployed("#6"))
	b.agent(peer(8), agentDeployed("#7"), "save deployed c1")
	if got := b.saved[controller.Deployed].Instances[0].Host.String(); got != "10.0.0.7" {
		t.Errorf("a is deployed with address %s, want 10.0.0.7", got)
	}

	// A running deployment is sent to all agents again.
	b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #8 c1", "to b: AgentDeployRequest #9 c1")
	b.agent(peer(8), agentDeployed("#9", success("b", "wb")))
	b.do(controller.PeerLost{Peer: peer(7)})
	b.agent(peer(6), hello("a"), "to a: AgentWelcomeRequest #10")
	b.agent(peer(6), welcomed("#10", "a"), "to a: AgentDeployRequest #11 c1 by force", "to b: AgentDeployRequest #12 c1 by force")
	b.agent(peer(6), agentDeployed("#11", success("a", "wa")))
	b.agent(peer(8), agentDeployed("#12", success("b", "wb")), "save deployed c1", "answer DeployResponse r1 [T a wa] [T b wb] [T = c1]")
}

// An agent whose instance is removed while it is disconnected gets the standby
// request when it returns, even from a restarted controller, until it responds.
func TestRemovedInstanceGetsStandbyOnReturn(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.client(set("r1", config("c2", "a")), "save staged c2", "save ready c2", "save target c2",
		"to a: AgentDeployRequest #1 c2")
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c2", "answer SetConfigurationResponse r1 [T a wa]")

	b = b.again()
	b.start()
	b.agent(peer(7), hello("b"), "to b: AgentStandbyRequest")
	b.agent(peer(7), zeekapi.AgentStandbyResponse{Result: zeekapi.Result{Error: "cannot save the configuration"}})
	b.agent(peer(7), hello("b"), "to b: AgentStandbyRequest")
	b.agent(peer(7), zeekapi.AgentStandbyResponse{Result: zeekapi.Result{Success: true}})
	b.agent(peer(7), hello("b"))
	want(t, "instances that have not answered", nil, b.state.Owed)
}

func TestStageAndDeploy(t *testing.T) {
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
	b.agent(peer(1), agentDeployed("#3", success("a", "wa"))) // agents repeat responses
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
	// b connected after the staging. Its address is not in the staged
	// configuration.
	if host := b.saved[controller.Ready].Instances[1].Host; !host.IsUnspecified() {
		t.Errorf("the staged address of b is %s, want none", host)
	}
	if b.saved[controller.Staged].Instances[0].Host != netip.IPv4Unspecified() {
		t.Error("the staged configuration differs from the uploaded one")
	}
}

func sameAddr(a, b netip.Addr) bool { return a == b }

// The target of a first deployment stays when it times out, so an agent that
// connects later completes it. Zeek's controller would undo the deployment.
func TestLateAgentCompletesFirstDeployment(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.agent(peer(1), hello("a"))
	b.client(set("r1", config("c1", "a", "b")), "save staged c1", "save ready c1", "save target c1", "to a: AgentWelcomeRequest #1")
	b.agent(peer(1), welcomed("#1", "a"))
	b.tick("answer SetConfigurationResponse r1 [F request timed out] [F waited for b] [F no agent is connected for b; drain such an instance to deploy without it]")
	if _, ok := b.saved[controller.Deployed]; ok {
		t.Error("the deployment timed out, but its configuration is the deployed one")
	}
	b.idle()
	b.agent(peer(2), hello("b"), "to b: AgentWelcomeRequest #2")
	b.agent(peer(2), welcomed("#2", "b"), "to a: AgentDeployRequest #4 c1", "to b: AgentDeployRequest #5 c1")
	b.agent(peer(1), agentDeployed("#4", success("a", "wa")))
	b.agent(peer(2), agentDeployed("#5", success("b", "wb")), "save deployed c1")
}

// A deployment continues when the request of the client times out. Results that
// arrive before and after the timeout count.
func TestDeploymentContinuesAfterRequestTimeout(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #1 c1", "to b: AgentDeployRequest #2 c1")
	b.agent(peers["b"], agentDeployed("#2", success("b", "wb")))
	b.tick("answer DeployResponse r1 [T b wb] [F request timed out] [F the deployment goes on, waiting for a]")
	b.client(deploy("r2"), "answer DeployResponse r2 [F earlier deployment r1 still pending] [F waiting for a]")
	if got := b.state.History[1].Outcome; got != zeekapi.OutcomePending {
		t.Errorf("the outcome is %s, want pending while the deployment continues", got)
	}
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c1")
	if got := b.state.History[1].Outcome; got != zeekapi.OutcomeDeployed {
		t.Errorf("the final outcome is %s, want deployed", got)
	}
	b.idle()

	// A deployment without a response ends, and the request, which may be lost, is
	// sent again.
	b.client(set("r3", config("c2", "a", "b")), "save staged c2", "save ready c2", "save target c2",
		"to a: AgentDeployRequest #3 c2", "to b: AgentDeployRequest #4 c2")
	b.agent(peers["b"], agentDeployed("#4", success("b", "wb")))
	b.tick("answer SetConfigurationResponse r3 [T b wb] [F request timed out] [F the deployment goes on, waiting for a]")
	b.tick("to a: AgentDeployRequest #6 c2")
	if got := b.state.History[2]; got.Outcome != zeekapi.OutcomeTimeout || !slices.Contains(got.Errors, "waited for a") {
		t.Errorf("the history has %s %q, want a timeout that names a", got.Outcome, got.Errors)
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

	// A deployment that the controller started itself does not block a client's.
	b = newBench(t, slots)
	b.start()
	b.client(deploy("r1"))
	b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #2", "save target c1")
	b.agent(peer(1), welcomed("#2", "a"), "to a: AgentDeployRequest #3 c1")
	b.agent(peer(1), agentDeployed("#3", success("a", "wa")),
		"save deployed c1", "answer DeployResponse r1 [T a wa] [T = c1]")

	// Without a client, a timeout has no output.
	b = newBench(t, slots)
	b.start()
	b.tick()
	b.idle()
}

func TestDeployEmptyConfiguration(t *testing.T) {
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
	b.client(set("r5", config("c3", "a", "b")), "save staged c3", "save ready c3")
	b.tick("answer SetConfigurationResponse r5 [F request timed out] " + absent("b") + " " + refused)
}

// A timeout of an agent without nodes counts as a success, because Zeek's agents
// always report a timeout when they have no nodes.
func TestTimeoutOfAgentWithoutNodesIsSuccess(t *testing.T) {
	c := config("c1", "a", "b")
	c.Nodes = c.Nodes[:1]
	b, peers := deployedBench(t, c)
	b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #1 c1", "to b: AgentDeployRequest #2 c1")
	timeout := zeekapi.Result{Error: zeekapi.ErrorTimeout}
	b.agent(peers["b"], agentDeployed("#2", timeout))
	b.agent(peers["a"], agentDeployed("#1", timeout, success("", "wa")), "save deployed c1",
		"answer DeployResponse r1 [T b] [F a request timed out] [T a wa] [T = c1]")
}

// An instance whose address or connection type changes is removed and added in one
// step. Zeek's controller only removes it.
func TestSetConfigurationChangesInstanceAddress(t *testing.T) {
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

	// Now the agent connects to the controller.
	b.client(set("r3", config("c3", "a")), "save staged c3", "save ready c3", "save target c3",
		"to a: AgentStandbyRequest", "hang up 10.1.0.2:2151")
	b.agent(peer(3), hello("a"), "to a: AgentWelcomeRequest #5")
	b.agent(peer(3), welcomed("#5", "a"), "to a: AgentDeployRequest #6 c3")
	b.agent(peer(3), agentDeployed("#6", success("a", "wa")), "save deployed c3", "answer SetConfigurationResponse r3 [T a wa]")

	// The configured address of an agent that connects has no effect.
	elsewhere := config("c4", "a")
	elsewhere.Instances[0].Host = netip.MustParseAddr("10.9.9.9")
	b.client(set("r4", elsewhere), "save staged c4", "save ready c4", "save target c4",
		"to a: AgentDeployRequest #7 c4")
}

// An agent that a partial deployment left out may still run another configuration with
// the same ID. The next life of the controller forces it, too.
func TestPartialDeploymentOfKnownID(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	changed := config("c1", "a", "b")
	changed.Nodes[0].Role = zeekapi.RoleProxy
	b.stageQuietly(changed)
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("r1"), DeployOptions: zeekapi.DeployOptions{Partial: true}},
		"save target c1", "to a: AgentDeployRequest #1 c1 by force")
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c1", "answer DeployStagedResponse r1 "+absent("b")+" [T a wa] [T = c1]")
	b = b.again()
	b.start()
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentDeployRequest #4 c1")
	b.agent(peers["b"], hello("b"), "to b: AgentWelcomeRequest #5")
	b.agent(peers["b"], welcomed("#5", "b"), "to a: AgentDeployRequest #6 c1 by force", "to b: AgentDeployRequest #7 c1 by force")
}

// The same of an instance that was drained while its agent was away.
func TestDeploymentOfKnownIDWithoutDrainedInstance(t *testing.T) {
	drain := func(drain bool) zeekapi.Message {
		return zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "b", Drain: drain}
	}
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.client(drain(true), "answer DrainResponse d [T b = the agent is not connected; the instance gets no nodes when it returns]")
	changed := config("c1", "a", "b")
	changed.Nodes[0].Role = zeekapi.RoleProxy
	b.stageQuietly(changed)
	b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #1 c1 by force")
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c1", "answer DeployResponse r1 [T a wa] [T = c1]")
	b.client(drain(false), "answer DrainResponse d [F b agent not connected, the instance gets its nodes when it returns]")
	b = b.again()
	b.start()
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentDeployRequest #4 c1")
	b.agent(peers["b"], hello("b"), "to b: AgentWelcomeRequest #5")
	b.agent(peers["b"], welcomed("#5", "b"), "to a: AgentDeployRequest #6 c1 by force", "to b: AgentDeployRequest #7 c1 by force")
}
