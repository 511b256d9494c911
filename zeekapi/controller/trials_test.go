package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

const refused = "[F the deployment is refused, nothing has changed]"

// absent describes the result of an instance whose agent is not connected.
func absent(instance string) string {
	return "[F " + instance + " the agent of instance " + instance + " is not connected; start it, or drain the instance to go on without it]"
}

// described makes agents describe themselves as ours.
func (b *bench) described(peers map[string]broker.Peer) {
	for name, p := range peers {
		b.agent(p, zeekapi.AgentDescription{Instance: name, LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision})
	}
}

// ourBench is a deployedBench with our agents.
func ourBench(t *testing.T, c zeekapi.Configuration) (*bench, map[string]broker.Peer) {
	b, peers := deployedBench(t, c)
	b.described(peers)
	return b, peers
}

func checked(id string, problems ...zeekapi.Result) zeekapi.AgentCheckResponse {
	if len(problems) == 0 {
		problems = []zeekapi.Result{{Success: true}}
	}
	return zeekapi.AgentCheckResponse{ReqID: reqID(id), Results: problems}
}

// problem is the result of a node that could not run, or does not.
func problem(node, text string) zeekapi.Result {
	return zeekapi.Result{Node: node, Error: text, Data: broker.Vector(broker.String(""), broker.String(text))}
}

// stageQuietly stages a configuration.
func (b *bench) stageQuietly(c zeekapi.Configuration) {
	b.client(stage("stage", c), "save staged "+c.ID, "save ready "+c.ID, "answer StageConfigurationResponse stage [T = "+c.ID+"]")
}

func (b *bench) lastDeployment() zeekapi.Deployment {
	return b.state.History[len(b.state.History)-1].Deployment
}

// A configuration that an agent cannot run changes nothing. All problems are
// reported at once.
func TestCheckRefusesDeployment(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.client(deploy("r2"), "answer DeployResponse r2 [F earlier deployment r1 still pending] [F waiting for a, b]")
	b.agent(peers["a"], checked("#1", problem("wa", "scripts do not load")))
	b.agent(peers["b"], checked("#2", problem("wb", "no interface"), zeekapi.Result{Error: "disk full"}),
		`answer DeployResponse r1 [F a wa scripts do not load = ["", "scripts do not load"]] `+
			`[F b wb no interface = ["", "no interface"]] [F b disk full] `+refused)
	if got := b.saved[controller.Target].ID; got != "c1" {
		t.Errorf("the target is %s, want c1", got)
	}
	last := b.lastDeployment()
	if last.Outcome != zeekapi.OutcomeRefused || last.Config != "c2" || !slices.Contains(last.Errors, "a: wa: scripts do not load") {
		t.Errorf("the history has %+v", last)
	}
	b.idle()
}

func TestCheckPrecedesDeployment(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.agent(peers["a"], checked("#1"))
	b.agent(peers["b"], checked("#2"), "save target c2", "to a: AgentDeployNodesRequest #3 c2", "to b: AgentDeployNodesRequest #4 c2")
	b.agent(peers["a"], agentDeployed("#3", success("a", "wa")))
	b.agent(peers["b"], agentDeployed("#4", success("b", "wb")), "save deployed c2", "answer DeployResponse r1 [T a wa] [T b wb] [T = c2]")
	b.idle()
}

// Zeek's agents cannot check. The deployment goes on without them.
func TestCheckOmitsOtherAgents(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.described(map[string]broker.Peer{"a": peers["a"]})
	b.stageQuietly(config("c2", "a", "b"))
	b.client(zeekapi.CheckRequest{ReqID: reqID("r0")}, "to a: AgentCheckRequest #1 c2")
	b.agent(peers["a"], checked("#1"), "answer CheckResponse r0 [T b = its nodes are not checked: the agent is Zeek's own, or an old one of zeekwire] [T = c2]")
	b.client(deploy("r1"), "to a: AgentCheckRequest #2 c2")
	b.agent(peers["a"], checked("#2"), "save target c2", "to a: AgentDeployNodesRequest #3 c2", "to b: AgentDeployRequest #4 c2")
}

// A client that names the configuration it wants to deploy does not deploy another, which
// somebody has staged since.
func TestDeploysOnlyNamedConfiguration(t *testing.T) {
	b, _ := ourBench(t, config("c1", "a"))
	b.stageQuietly(config("c2", "a"))
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("r1"), Config: "c1"},
		"answer DeployStagedResponse r1 [F configuration c1 is not staged: somebody has staged c2 since; see get-config and events, and stage yours again to deploy it]")
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("r2"), Config: "c2"}, "to a: AgentCheckRequest #1 c2")
}

func TestForceSkipsCheck(t *testing.T) {
	b, _ := ourBench(t, config("c1", "a"))
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("r1"), DeployOptions: zeekapi.DeployOptions{Force: true}},
		"save target c1", "to a: AgentDeployNodesRequest #1 c1 by force")
}

// A check without a deployment reports the problems, also of a configuration that
// is not staged, and changes nothing.
func TestCheckRequest(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	c := config("c2", "a", "b")
	b.client(zeekapi.CheckRequest{ReqID: reqID("r1"), Config: &c}, "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.client(deploy("r2"), "to a: AgentCheckRequest #3 c1", "to b: AgentCheckRequest #4 c1") // nothing blocks
	b.agent(peers["b"], checked("#2"))
	b.agent(peers["a"], checked("#1", problem("wa", "bad")), `answer CheckResponse r1 [F a wa bad = ["", "bad"]]`)
	c.Nodes[0].Instance = "z"
	b.client(zeekapi.CheckRequest{ReqID: reqID("r3"), Config: &c}, "answer CheckResponse r3 [F node 'wa' has undeclared instance name 'z']")
	if n := len(b.state.History); n != 2 {
		t.Errorf("%d deployments in the history, want 2", n)
	}

	b.do(controller.PeerLost{Peer: peers["b"]})
	c = config("c3", "a", "b")
	b.client(zeekapi.CheckRequest{ReqID: reqID("r4"), Config: &c}, "to a: AgentCheckRequest #5 c3")
	b.agent(peers["a"], checked("#5"), "answer CheckResponse r4 "+absent("b"))

	b = newBench(t, nil)
	b.client(zeekapi.CheckRequest{ReqID: reqID("r5")}, "answer CheckResponse r5 [F no configuration available to check]")
}

// A missing agent refuses a deployment, unless it connects in time.
func TestMissingAgentRefusesDeployment(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"))
	b.tick("answer DeployResponse r1 [F request timed out] " + absent("b") + " " + refused)
	b.idle()

	b.client(deploy("r2"))
	b.agent(peer(7), zeekapi.AgentHello{Instance: "b", APIVersion: zeekapi.APIVersion}, "to b: AgentWelcomeRequest #1", "to a: AgentCheckRequest #2 c2")
	b.agent(peers["a"], checked("#2"), "save target c2")
	b.agent(peer(7), welcomed("#1", "b"), "to a: AgentDeployNodesRequest #3 c2", "to b: AgentDeployRequest #4 c2")
}

// Draining an instance lets a trial go on without it, whatever it waits for.
func TestDrainDuringCheck(t *testing.T) {
	drain := zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "b", Drain: true}
	go1 := []string{"save target c2", "to a: AgentDeployNodesRequest #4 c2"}

	b, peers := ourBench(t, config("c1", "a", "b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"))
	b.client(drain, "answer DrainResponse d [T b = the agent is not connected; the instance gets no nodes when it returns]", "to a: AgentCheckRequest #1 c2")
	b.agent(peers["a"], checked("#1"), "save target c2", "to a: AgentDeployNodesRequest #2 c2")

	b, peers = ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.agent(peers["a"], checked("#1"))
	b.client(drain, append([]string{"to b: AgentStandbyRequest #3"}, go1...)...)

	b, peers = ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(withSite(config("c2", "a", "b")))
	b.client(deploy("r1"), "to a: AgentSiteRequest #2 from 0", "to b: AgentSiteRequest #4 from 0")
	b.agent(peers["a"], progress("#2", 9, true), "to a: AgentCheckRequest #5 c2")
	b.agent(peers["a"], checked("#5"))
	b.client(drain, "to b: AgentStandbyRequest #6", "save target c2", "to a: AgentDeployNodesRequest #7 c2")
}

// An agent of ours may connect before it describes itself.
func TestCheckAwaitsDescription(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a"))
	b.do(controller.PeerLost{Peer: peers["a"]})
	b.stageQuietly(config("c2", "a"))
	b.client(deploy("r1"))
	b.do(controller.FromAgent{Peer: peer(7), Dialect: zeekapi.Operations, Message: hello("a")}, "to a: AgentWelcomeRequest #1")
	b.agent(peer(7), zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm, Revision: 1}, "to a: AgentCheckRequest #2 c2")
}

// An agent that is lost during the check refuses the deployment.
func TestAgentLostDuringCheck(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c1", "to b: AgentCheckRequest #2 c1")
	b.agent(peers["a"], checked("#1"))
	b.do(controller.PeerLost{Peer: peers["b"]}, "answer DeployResponse r1 "+absent("b")+" "+refused)
	b.idle()
}

// A slow check continues after the client has got its response.
func TestSlowCheck(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(config("c2", "a", "b"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.agent(peers["b"], checked("#2"))
	b.tick("answer DeployResponse r1 [F request timed out] [F the check goes on, and the deployment if it passes, waiting for a]")
	b.agent(peers["a"], checked("#1"), "save target c2", "to a: AgentDeployNodesRequest #3 c2", "to b: AgentDeployNodesRequest #4 c2")
	b.agent(peers["a"], agentDeployed("#3", success("a", "wa")))
	b.agent(peers["b"], agentDeployed("#4", success("b", "wb")), "save deployed c2")
	if got := b.lastDeployment(); got.Outcome != zeekapi.OutcomeDeployed || len(got.Errors) > 0 {
		t.Errorf("the history has %s %q, want deployed", got.Outcome, got.Errors)
	}

	// The problems that are known so far are part of that response.
	three, peers3 := ourBench(t, config("c1", "a", "b", "c"))
	three.stageQuietly(config("c2", "a", "b", "c"))
	three.client(deploy("r1"), "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2", "to c: AgentCheckRequest #3 c2")
	three.agent(peers3["b"], checked("#2", zeekapi.Result{Error: "x"}))
	three.agent(peers3["c"], checked("#3", zeekapi.Result{Error: "y"}))
	three.tick("answer DeployResponse r1 [F b x] [F c y] [F request timed out] [F the check goes on, and the deployment if it passes, waiting for a]")

	b.client(deploy("r2"), "to a: AgentCheckRequest #5 c2", "to b: AgentCheckRequest #6 c2")
	b.tick("answer DeployResponse r2 [F request timed out] [F the check goes on, and the deployment if it passes, waiting for a, b]")
	b.tick()
	if got := b.lastDeployment(); got.Outcome != zeekapi.OutcomeRefused || !slices.Contains(got.Errors, "the agent of instance b has not answered the check; start-limit of the controller allows it more time") {
		t.Errorf("the history has %s %q, want refused", got.Outcome, got.Errors)
	}
	b.idle()
}

// A partial deployment leaves out missing agents, and reports the nodes that did
// not pass.
func TestPartialDeployment(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.stageQuietly(config("c2", "a", "b"))
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("r1"), DeployOptions: zeekapi.DeployOptions{Partial: true}}, "to a: AgentCheckRequest #1 c2")
	b.agent(peers["a"], checked("#1", problem("wa", "bad")), "save target c2", "to a: AgentDeployNodesRequest #2 c2")
	b.agent(peers["a"], agentDeployed("#2", problem("wa", "bad")), "save deployed c2",
		`answer DeployStagedResponse r1 `+absent("b")+` [F a wa bad = ["", "bad"]] [T = c2]`)
	b.agent(peer(7), hello("b"), "to b: AgentWelcomeRequest #3")
	b.agent(peer(7), welcomed("#3", "b"), "to b: AgentDeployRequest #5 c2")
}

// A partial deployment begins when a new instance is ready, although another one is
// away.
func TestPartialDeploymentOfNewInstance(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a"))
	b.agent(peer(7), hello("n"))
	b.described(map[string]broker.Peer{"n": peer(7)})
	b.stageQuietly(config("c2", "a", "b", "n"))
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("r1"), DeployOptions: zeekapi.DeployOptions{Partial: true}},
		"to a: AgentCheckRequest #1 c2", "to n: AgentCheckRequest #2 c2")
	b.agent(peers["a"], checked("#1"))
	b.agent(peer(7), checked("#2"), "save target c2", "to n: AgentWelcomeRequest #3")
	b.agent(peer(7), welcomed("#3", "n"), "to a: AgentDeployNodesRequest #4 c2", "to n: AgentDeployNodesRequest #5 c2")
}

// Agents that listen are dialed for the check, and left alone again if it fails.
func TestCheckDialsNewInstances(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a"))
	b.stageQuietly(listening(config("c2", "a", "b"), "b", "10.0.0.2:2151"))
	b.client(deploy("r1"), "dial 10.0.0.2:2151")
	b.tick("hang up 10.0.0.2:2151", "answer DeployResponse r1 [F request timed out] "+absent("b")+" "+refused)

	b.client(deploy("r2"), "dial 10.0.0.2:2151")
	b.agent(dialedPeer(2, "10.0.0.2:2151"), hello("b"), "to a: AgentCheckRequest #1 c2")
	b.agent(peers["a"], checked("#1"), "save target c2", "to b: AgentWelcomeRequest #2")
	b.agent(dialedPeer(2, "10.0.0.2:2151"), welcomed("#2", "b"), "to a: AgentDeployNodesRequest #3 c2", "to b: AgentDeployRequest #4 c2")
}

// A node that ran before and does not come up makes the controller deploy the
// configuration before, once.
func TestRollback(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(config("c2", "a", "b"))
	begin := func(id string, call zeekapi.Message, first int) {
		t.Helper()
		n := func(i int) string { return fmt.Sprintf("#%d", first+i) }
		b.client(call, "to a: AgentCheckRequest "+n(0)+" c2", "to b: AgentCheckRequest "+n(1)+" c2")
		b.agent(peers["a"], checked(n(0)))
		b.agent(peers["b"], checked(n(1)), "save target c2", "to a: AgentDeployNodesRequest "+n(2)+" c2", "to b: AgentDeployNodesRequest "+n(3)+" c2")
		b.agent(peers["a"], agentDeployed(n(2), success("a", "wa")))
	}
	begin("r1", deploy("r1"), 1)
	b.agent(peers["b"], agentDeployed("#4", problem("wb", "exited with 1")), "save deployed c2", "save target c1",
		"to a: AgentDeployNodesRequest #5 c1", "to b: AgentDeployNodesRequest #6 c1")
	b.agent(peers["a"], agentDeployed("#5", success("a", "wa")))
	b.agent(peers["b"], agentDeployed("#6", success("b", "wb")), "save deployed c1",
		`answer DeployResponse r1 [T a wa] [F b wb exited with 1 = ["", "exited with 1"]] [F rolled back to deployment 1: wb on b: exited with 1]`)
	last := b.lastDeployment()
	if last.Outcome != zeekapi.OutcomeRolledBack || last.Errors[0] != "rolled back to deployment 1: wb on b: exited with 1" {
		t.Errorf("the history has %s %q", last.Outcome, last.Errors)
	}
	if !slices.ContainsFunc(b.events, func(e string) bool {
		return strings.Contains(e, "rolling back to deployment 1: wb on b: exited with 1")
	}) {
		t.Errorf("no event about the rollback: %q", b.events)
	}
	b.idle()

	// A rollback that fails, too, is the end.
	begin("r2", deploy("r2"), 7)
	b.agent(peers["b"], agentDeployed("#10", problem("wb", "exited with 1")), "save deployed c2", "save target c1",
		"to a: AgentDeployNodesRequest #11 c1", "to b: AgentDeployNodesRequest #12 c1")
	b.agent(peers["b"], agentDeployed("#12", problem("wb", "no memory")))
	b.agent(peers["a"], agentDeployed("#11", success("a", "wa")), "save deployed c1",
		`answer DeployResponse r2 [T a wa] [F b wb exited with 1 = ["", "exited with 1"]] [F rolled back to deployment 1: wb on b: exited with 1] `+
			`[F after the rollback some nodes do not run: wb on b: no memory]`)
	if last := b.lastDeployment(); last.Outcome != zeekapi.OutcomeFailed {
		t.Errorf("the outcome is %s, want failed", last.Outcome)
	}
	b.idle()

	// --no-rollback leaves everything as it is.
	begin("r3", zeekapi.DeployStagedRequest{ReqID: reqID("r3"), DeployOptions: zeekapi.DeployOptions{NoRollback: true}}, 13)
	b.agent(peers["b"], agentDeployed("#16", problem("wb", "exited with 1")), "save deployed c2",
		`answer DeployStagedResponse r3 [T a wa] [F b wb exited with 1 = ["", "exited with 1"]] [T = c2]`)
}

// A node that did not run before is no reason to roll back, nor is one with an
// agent that cannot tell slow starts from failures.
func TestNoRollback(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a"))
	c := config("c2", "a")
	c.Nodes = append(c.Nodes, zeekapi.Node{Name: "new", Instance: "a", Role: zeekapi.RoleWorker})
	b.stageQuietly(c)
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2")
	b.agent(peers["a"], checked("#1"), "save target c2", "to a: AgentDeployNodesRequest #2 c2")
	b.agent(peers["a"], agentDeployed("#2", problem("new", "bad"), success("a", "wa")), "save deployed c2",
		`answer DeployResponse r1 [F a new bad = ["", "bad"]] [T a wa] [T = c2]`)

	b, peers = deployedBench(t, config("c1", "a"))
	b.stageQuietly(config("c2", "a"))
	b.client(deploy("r1"), "save target c2", "to a: AgentDeployRequest #1 c2")
	b.agent(peers["a"], agentDeployed("#1", problem("wa", "bad")), "save deployed c2", `answer DeployResponse r1 [F a wa bad = ["", "bad"]] [T = c2]`)
}

// Nodes that are still starting keep a deployment pending after the response to the
// client.
func TestSlowStart(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a"))
	b.stageQuietly(config("c2", "a"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2")
	b.agent(peers["a"], checked("#1"), "save target c2", "to a: AgentDeployNodesRequest #2 c2")
	b.tick("answer DeployResponse r1 [F request timed out] [F the deployment goes on, waiting for a]")
	b.now = b.now.Add(controller.DefaultStartLimit)
	b.do(controller.Tick{})
	if last := b.lastDeployment(); last.Outcome != zeekapi.OutcomePending {
		t.Errorf("the outcome is %s, want pending", last.Outcome)
	}
	b.agent(peers["a"], agentDeployed("#2", success("a", "wa")), "save deployed c2")
	if last := b.lastDeployment(); last.Outcome != zeekapi.OutcomeDeployed {
		t.Errorf("the outcome is %s, want deployed", last.Outcome)
	}
}
