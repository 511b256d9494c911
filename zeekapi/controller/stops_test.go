package controller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func stop(id string, nodes ...string) zeekapi.Message {
	return zeekapi.StopRequest{ReqID: reqID(id), Nodes: nodes, All: len(nodes) == 0, Stop: true}
}

func startNodes(id string, nodes ...string) zeekapi.Message {
	return zeekapi.StopRequest{ReqID: reqID(id), Nodes: nodes, All: len(nodes) == 0}
}

// twoEach returns a configuration whose instances have two workers.
func twoEach(id string, instances ...string) zeekapi.Configuration {
	c := config(id, instances...)
	for _, n := range c.Nodes {
		n.Name += "2"
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

// nodesBench is an ourBench that describes the nodes that agents are to run.
func nodesBench(t *testing.T, c zeekapi.Configuration) (*bench, map[string]broker.Peer) {
	b, peers := ourBench(t, c)
	b.nodes = true
	return b, peers
}

func rolling(id string, nodes ...string) zeekapi.Message {
	return zeekapi.RollingRestartRequest{ReqID: reqID(id), Nodes: nodes}
}

func description(instance string) zeekapi.Message {
	return zeekapi.AgentDescription{Instance: instance, LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision}
}

// detailsAre returns the response of an agent with nodes.
func detailsAre(id string, nodes ...zeekapi.NodeDetail) zeekapi.Message {
	return zeekapi.AgentStatusResponse{ReqID: reqID(id), Result: zeekapi.Result{Success: true, Data: mustMarshal(nodes)}}
}

func detail(name string, state zeekapi.State) zeekapi.NodeDetail {
	return zeekapi.NodeDetail{Status: process(name, state, 1)}
}

// An agent of an older revision gets no request with more than it knows: it would
// ignore the request.
func TestStopWithOlderAgents(t *testing.T) {
	for revision := uint64(1); revision <= zeekapi.AgentRevision; revision++ {
		b, peers := nodesBench(t, twoEach("c1", "a"))
		b.agent(peers["a"], zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm, Revision: revision})
		var asked []zeekapi.AgentDeployNodesRequest
		for _, o := range b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: stop("r1", "wa")}) {
			if o, ok := o.(controller.ToAgent); ok {
				if msg, ok := o.Message.(zeekapi.AgentDeployNodesRequest); ok {
					asked = append(asked, msg)
				}
			}
		}
		if len(asked) != 1 || asked[0].Continue != (revision >= 2) {
			t.Errorf("an agent of revision %d got %+v", revision, asked)
		}
	}
}

// A stopped node stays stopped over a deployment, and over restarts of its agent and of
// the controller, until it is started.
func TestStop(t *testing.T) {
	c := twoEach("c1", "a", "b")
	b, peers := nodesBench(t, c)
	b.do(controller.FromClient{Peer: alice, Message: stop("r1", "wa")},
		"to a: AgentDeployNodesRequest #2 c1 wa2", "to a: AgentStatusRequest #3")
	b.expectEvents("stopped a wa: by alice at 10.0.0.1")
	b.agent(peers["a"], agentDeployed("#2", success("a", "wa2")))
	b.agent(peers["a"], detailsAre("#3", detail("wa", zeekapi.StateUnknown), detail("wa2", zeekapi.StateRunning)))
	b.tick("to a: AgentStatusRequest #4")
	b.agent(peers["a"], detailsAre("#4", detail("wa2", zeekapi.StateRunning)), "answer StopResponse r1 [T a wa]")
	b.idle()
	want(t, "stopped", []zeekapi.StoppedNode{{Node: "wa", By: "alice at 10.0.0.1", Since: testStart.Add(time.Minute)}}, b.state.Stopped)

	// Its agent returns.
	b.do(controller.PeerLost{Peer: peers["a"]})
	peers["a"] = peer(7)
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #5")
	b.agent(peers["a"], description("a"))
	b.agent(peers["a"], welcomed("#5", "a"), "to a: AgentDeployNodesRequest #7 c1 wa2")

	// The controller restarts.
	b = b.again()
	b.start()
	for i, name := range []string{"a", "b"} {
		b.agent(peers[name], hello(name), "to "+name+": AgentWelcomeRequest #"+string(rune('2'+i)))
		b.agent(peers[name], description(name))
	}
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentDeployNodesRequest #5 c1 wa2")
	b.agent(peers["b"], welcomed("#3", "b"), "to a: AgentDeployNodesRequest #6 c1 wa2", "to b: AgentDeployNodesRequest #7 c1 wb wb2")
}

// stoppedBench returns a bench the stopped node wa, next to wa2, wb and wb2.
func stoppedBench(t *testing.T) (*bench, map[string]broker.Peer) {
	b, peers := nodesBench(t, twoEach("c1", "a", "b"))
	outputs := b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: stop("stop", "wa")})
	b.take(outputs)
	b.agent(peers["a"], agentDeployed("#2", success("a", "wa2")))
	b.agent(peers["a"], detailsAre("#3", detail("wa2", zeekapi.StateRunning)), "answer StopResponse stop [T a wa]")
	b.ids, b.events = 0, nil
	b.idle()
	return b, peers
}

func TestStart(t *testing.T) {
	b, peers := stoppedBench(t)
	b.do(controller.FromClient{Peer: alice, Message: startNodes("r1", "wa", "wb")},
		"to a: AgentDeployNodesRequest #2 c1 wa wa2", "to b: AgentDeployNodesRequest #4 c1 wb wb2",
		"to a: AgentStatusRequest #5", "to b: AgentStatusRequest #6")
	b.expectEvents("started a wa: by alice at 10.0.0.1")
	b.agent(peers["b"], detailsAre("#6", detail("wb", zeekapi.StateRunning)))
	b.agent(peers["a"], detailsAre("#5", detail("wa", zeekapi.StatePending)))
	b.tick("to a: AgentStatusRequest #7")
	failed := detail("wa", zeekapi.StateFailed)
	failed.LastError = "no interface"
	b.agent(peers["a"], detailsAre("#7", failed), "answer StopResponse r1 [T b wb] [F a wa the node does not run: no interface]")
	want(t, "stopped", nil, b.state.Stopped)
}

// All nodes stop, and only the stopped ones start.
func TestStopAll(t *testing.T) {
	b, peers := stoppedBench(t)
	b.client(stop("r1"), "to a: AgentDeployNodesRequest #2 c1", "to b: AgentDeployNodesRequest #4 c1", "to a: AgentStatusRequest #5", "to b: AgentStatusRequest #6")
	b.expectEvents("stopped a wa2: by unknown", "stopped b : wb, wb2 by unknown")
	b.agent(peers["b"], detailsAre("#6"))
	b.agent(peers["a"], detailsAre("#5"), "answer StopResponse r1 [T b wb] [T b wb2] [T a wa] [T a wa2]")
	if got := b.state.Stopped[0].By; got != "alice at 10.0.0.1" {
		t.Errorf("wa is stopped by %s, want the first client", got)
	}
	b.client(startNodes("r2"), "to a: AgentDeployNodesRequest #8 c1 wa wa2", "to b: AgentDeployNodesRequest #10 c1 wb wb2",
		"to a: AgentStatusRequest #11", "to b: AgentStatusRequest #12")
	b.client(startNodes("r3"), "answer StopResponse r3")
}

// A deployment says which nodes stay stopped, also a forced one. A node that is no longer
// part of the configuration is forgotten.
func TestDeployWithStoppedNodes(t *testing.T) {
	b, peers := stoppedBench(t)
	b.client(stage("s1", twoEach("c2", "a", "b")), "save staged c2", "save ready c2", "answer StageConfigurationResponse s1 [T = c2]")
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("r1"), DeployOptions: zeekapi.DeployOptions{Force: true}},
		"save target c2", "to a: AgentDeployNodesRequest #1 c2 by force wa2", "to b: AgentDeployNodesRequest #2 c2 by force wb wb2")
	b.client(startNodes("r2", "wa"), "answer StopResponse r2 [F earlier deployment r1 still pending]")
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa2")))
	b.agent(peers["b"], agentDeployed("#2", success("b", "wb")), "save deployed c2",
		"answer DeployStagedResponse r1 [T a wa2] [T b wb] [T a = stays stopped: wa] [T = c2]")

	// The check leaves out the node.
	b.client(zeekapi.CheckRequest{ReqID: reqID("r3")}, "to a: AgentCheckRequest #3 c2 wa2", "to b: AgentCheckRequest #4 c2 wb wb2")
	b.agent(peers["a"], checked("#3"))
	b.agent(peers["b"], checked("#4"), "answer CheckResponse r3 [T a = stays stopped: wa] [T = c2]")

	b.client(set("r4", config("c3", "b")), "save staged c3", "save ready c3", "to b: AgentCheckRequest #5 c3 wb")
	b.agent(peers["b"], checked("#5"), "save target c3", "to a: AgentStandbyRequest", "to b: AgentDeployNodesRequest #6 c3 wb")
	want(t, "stopped", 1, len(b.state.Stopped))
	b.agent(peers["b"], agentDeployed("#6", success("b", "wb")), "save deployed c3", "answer SetConfigurationResponse r4 [T b wb]")
	want(t, "stopped", 0, len(b.state.Stopped))
}

// Status and lists of nodes contain stopped nodes, which are no reason to restart
// or roll back.
func TestStoppedNodesInOtherRequests(t *testing.T) {
	b, peers := stoppedBench(t)
	b.client(zeekapi.StatusRequest{ReqID: reqID("r1")}, "to a: AgentStatusRequest #1", "to b: AgentStatusRequest #2")
	b.do(controller.FromAgent{Peer: peers["b"], Message: detailsAre("#2")})
	outputs := b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: detailsAre("#1", detail("wa2", zeekapi.StateRunning))})
	var status zeekapi.Status
	b.answered(outputs, "r1", &status)
	nodes := status.Instances[0].Nodes
	if n := nodes[1]; len(nodes) != 2 || n.Status.Node != "wa" || n.Status.State != zeekapi.StateStopped || n.StoppedBy != "alice at 10.0.0.1" || !n.Since.Equal(b.now) {
		t.Errorf("nodes %+v", nodes)
	}
	if got := b.machine.Snapshot().Nodes[zeekapi.StateStopped]; got != 1 {
		t.Errorf("%d nodes are counted as stopped, want 1", got)
	}

	b.client(getNodes("r2"), "to a: AgentGetNodesRequest #3", "to b: AgentGetNodesRequest #4")
	b.agent(peers["b"], nodesAre("#4"))
	outputs = b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: nodesAre("#3", process("wa2", zeekapi.StateRunning, 1))})
	if got := describe(outputs[0]); !strings.Contains(got, "Management::STOPPED") {
		t.Errorf("the stopped node is missing: %s", got)
	}

	text := "stopped by alice at 10.0.0.1; start runs it again"
	b.client(restart("r3", "wa", "wb"), "to b: AgentCheckRestartRequest #5 of wb")
	b.agent(peers["b"], checkedRestart("#5"), "to a: AgentRestartRequest #6 of wb", "to b: AgentRestartRequest #7 of wb")
	b.agent(peers["a"], zeekapi.AgentRestartResponse{ReqID: reqID("#6")})
	b.agent(peers["b"], zeekapi.AgentRestartResponse{ReqID: reqID("#7")}, "answer RestartResponse r3 [F wa "+text+"]")
	b.client(getID("r4", "x", "wa"), "answer GetIDValueResponse r4 [F wa "+text+"]")
	b.client(rolling("r5", "wa"), "answer RollingRestartResponse r5 [F node wa is "+text+"]")
	b.client(zeekapi.LogsRequest{ReqID: reqID("r6"), Node: "wa"}, "to a: AgentLogsRequest #8")
	outputs = b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: zeekapi.AgentLogsResponse{
		ReqID: reqID("#8"), Result: zeekapi.Result{Success: true, Data: mustMarshal(zeekapi.NodeLogs{Remark: "it is no longer assigned to this instance"})},
	}})
	var logs zeekapi.NodeLogs
	b.answered(outputs, "r6", &logs)
	want(t, "remark", text, logs.Remark)
}

// A rolling restart leaves out the nodes that are stopped, also those that are stopped
// while they restart.
func TestRollingRestartWithStoppedNodes(t *testing.T) {
	b, peers := stoppedBench(t)
	b.client(rolling("r1"), "to a: AgentCheckRestartRequest #1 of wa2", "to b: AgentCheckRestartRequest #2 of wb wb2")
	b.agent(peers["a"], checkedRestart("#1"))
	b.take(b.machine.Step(b.now, controller.FromAgent{Peer: peers["b"], Message: checkedRestart("#2")}))
	want(t, "job", zeekapi.Job{Now: []string{"wa2"}, Next: []string{"wb", "wb2"}}, zeekapi.Job{Now: b.machine.Job().Now, Next: b.machine.Job().Next})
	b.take(b.machine.Step(b.now, controller.FromClient{Message: stop("r2", "wa2")}))
	want(t, "job", zeekapi.Job{Now: []string{"wb"}, Next: []string{"wb2"}}, zeekapi.Job{Now: b.machine.Job().Now, Next: b.machine.Job().Next})
}

// Requests for nodes that cannot be stopped, or not now, say why.
func TestStopIsRefused(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.client(stop("r1", "wa"), "answer StopResponse r1 [F instance a: the agent is Zeek's own, or an old one of zeekwire, and runs all nodes of its instance or none; drain the instance, or deploy a configuration without the node]")
	b.client(stop("r2", "wz"), "answer StopResponse r2 [F unknown cluster node wz]")
	b.client(zeekapi.StopRequest{ReqID: reqID("r3"), Stop: true}, "answer StopResponse r3 [F want either the names of nodes, or all nodes]")

	// An agent that is away gets its nodes when it returns. If it is Zeek's, they start.
	b.do(controller.PeerLost{Peer: peers["a"]})
	b.client(stop("r4", "wa"), "answer StopResponse r4 [F a wa agent not connected; the node is stopped when it returns]")
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #1")
	b.events = nil
	b.agent(peer(7), welcomed("#1", "a"), "to a: AgentDeployRequest #3 c1")
	b.expectEvents("started a : wa: the agent is Zeek's own, or an old one of zeekwire, and runs all nodes of its instance or none")
	want(t, "stopped", 0, len(b.state.Stopped))

	b = newBench(t, nil)
	b.client(stop("r5", "wa"), "answer StopResponse r5 [F no active cluster deployment]")
}

// The request for a node of a drained instance takes effect later.
func TestStopOnDrainedInstance(t *testing.T) {
	b, peers := stoppedBench(t)
	b.client(zeekapi.DrainRequest{ReqID: reqID("r1"), Instance: "a", Drain: true}, "to a: AgentStandbyRequest #1")
	b.agent(peers["a"], zeekapi.AgentStandbyResponse{ReqID: reqID("#1"), Result: zeekapi.Result{Success: true}}, "to a: AgentStatusRequest #2")
	b.agent(peers["a"], detailsAre("#2"), "answer DrainResponse r1 [T a]")
	b.client(stop("r2", "wa2"), "answer StopResponse r2 [T a wa2]")
	b.client(startNodes("r3", "wa"), "answer StopResponse r3 [F a wa the instance is drained; the node starts when it is undrained]")
	b.client(zeekapi.DrainRequest{ReqID: reqID("r4"), Instance: "a"}, "to a: AgentWelcomeRequest #3")
	b.agent(peers["a"], welcomed("#3", "a"), "to a: AgentDeployNodesRequest #5 c1 wa")
}

// A request ends when its agent is lost, or at its deadline, and says what is left.
func TestStopWaits(t *testing.T) {
	begin := func(t *testing.T) (*bench, broker.Peer) {
		b, peers := nodesBench(t, twoEach("c1", "a"))
		b.client(stop("r1", "wa"), "to a: AgentDeployNodesRequest #2 c1 wa2", "to a: AgentStatusRequest #3")
		return b, peers["a"]
	}
	t.Run("agent is lost", func(t *testing.T) {
		b, a := begin(t)
		b.do(controller.PeerLost{Peer: a}, "answer StopResponse r1 [F a wa agent not connected]")
	})
	t.Run("deadline", func(t *testing.T) {
		b, a := begin(t)
		b.agent(a, detailsAre("#3", detail("wa", zeekapi.StateUnknown)))
		b.now = b.now.Add(15 * time.Second)
		b.do(controller.Tick{}, "answer StopResponse r1 [F a wa still stopping]")
	})
	t.Run("the node is started", func(t *testing.T) {
		b, a := begin(t)
		b.client(startNodes("r2", "wa"), "to a: AgentDeployNodesRequest #5 c1 wa wa2", "to a: AgentStatusRequest #6")
		b.agent(a, detailsAre("#3", detail("wa", zeekapi.StateUnknown)), "answer StopResponse r1 [F a wa the node was started in the meantime]")
		b.agent(a, detailsAre("#6", detail("wa", zeekapi.StateRunning)), "answer StopResponse r2 [T a wa]")
	})
}

// An agent removes a site that no node uses, so it is asked again when nodes start.
func TestSiteIsSentAgain(t *testing.T) {
	c := config("c1", "a")
	c.Site = strings.Repeat("5", 64)
	b, peers := nodesBench(t, c)
	b.agent(peers["a"], hello("a"))
	b.client(deploy("r1"), "to a: AgentSiteRequest #2 from 0")
	b.agent(peers["a"], progress("#2", 9, true), "to a: AgentCheckRequest #3 c1 wa")
	b.agent(peers["a"], checked("#3"), "save target c1", "to a: AgentDeployNodesRequest #4 c1 wa")
	b.agent(peers["a"], agentDeployed("#4", success("a", "wa")), "save deployed c1", "answer DeployResponse r1 [T a wa] [T = c1]")
	b.client(stop("r2", "wa"), "to a: AgentDeployNodesRequest #6 c1", "to a: AgentStatusRequest #7")
	b.agent(peers["a"], detailsAre("#7"), "answer StopResponse r2 [T a wa]")
	b.client(startNodes("r3", "wa"), "to a: AgentSiteRequest #9 from 0", "to a: AgentStatusRequest #10")
	b.agent(peers["a"], progress("#9", 9, true), "to a: AgentDeployNodesRequest #12 c1 wa")
}

// Agents do not know which nodes are stopped: a diagnosis says so, and a cleanup keeps the
// directories of all nodes of the target.
func TestDiagnosisAndCleanupWithStoppedNodes(t *testing.T) {
	b, peers := stoppedBench(t)
	b.client(zeekapi.DiagnoseRequest{ReqID: reqID("r1"), Node: "wa"}, "to a: AgentDiagnoseRequest #1")
	outputs := b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: zeekapi.AgentDiagnoseResponse{
		ReqID: reqID("#1"), Result: zeekapi.Result{Success: true, Data: mustMarshal(zeekapi.Diagnosis{Instance: "a", Remark: "it is not assigned to this instance"})},
	}})
	var d zeekapi.Diagnosis
	b.answered(outputs, "r1", &d)
	want(t, "remark", "stopped by alice at 10.0.0.1; start runs it again", d.Remark)
	b.client(zeekapi.DiagnoseRequest{ReqID: reqID("r2"), Node: "wz"}, "answer DiagnoseResponse r2 [F wz unknown cluster node]")

	b.agent(peer(9), hello("stranger"))
	outputs = b.machine.Step(b.now, controller.FromClient{Message: zeekapi.CleanupRequest{ReqID: reqID("r3"), DryRun: true}})
	want(t, "requests", 2, len(outputs)) // strangers are left out
	keep := outputs[0].(controller.ToAgent).Message.(zeekapi.AgentCleanupRequest)
	if !keep.DryRun || len(keep.Keep) != 2 || keep.Keep[0] != "wa" {
		t.Errorf("request %+v", keep)
	}
	b.agent(peers["a"], zeekapi.AgentCleanupResponse{ReqID: reqID("#2"), Result: zeekapi.Result{Success: true, Data: mustMarshal([]zeekapi.Leftover{})}})
	b.agent(peers["b"], zeekapi.AgentCleanupResponse{ReqID: reqID("#3"), Result: zeekapi.Result{Error: "busy"}},
		"answer CleanupResponse r3 [T a = []] [F b busy]")
	b.client(zeekapi.CleanupRequest{ReqID: reqID("r4"), Instances: []string{"x"}}, "answer CleanupResponse r4 [F x agent not connected]")
}
