package controller_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func TestRollingRestart(t *testing.T) {
	c := config("c1", "a", "b")
	c.Nodes = append(c.Nodes,
		zeekapi.Node{Name: "manager", Instance: "a", Role: zeekapi.RoleManager, State: zeekapi.StateRunning},
		zeekapi.Node{Name: "logger", Instance: "b", Role: zeekapi.RoleLogger, State: zeekapi.StateRunning})
	begin := func(t *testing.T, req zeekapi.RollingRestartRequest) (*bench, map[string]broker.Peer, []string) {
		b, peers := deployedBench(t, c)
		req.ReqID = reqID("job")
		var j zeekapi.Job
		_, described := b.ask(req, &j)
		if j.By != "alice at 10.0.0.1" || j.Number != 1 {
			t.Errorf("job %+v", j)
		}
		return b, peers, described
	}
	restarted := func(id string, results ...zeekapi.Result) zeekapi.Message {
		return zeekapi.AgentRestartResponse{ReqID: reqID(id), Results: results}
	}
	nodes := func(id string, statuses ...zeekapi.NodeStatus) zeekapi.Message {
		return zeekapi.AgentGetNodesResponse{ReqID: reqID(id), Result: zeekapi.Result{Success: true, Data: mustMarshal(statuses)}}
	}
	status := func(node string, state zeekapi.State) zeekapi.NodeStatus {
		return zeekapi.NodeStatus{Node: node, State: state, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
	}
	job := func(b *bench) string {
		j := b.state.Job.Job
		return fmt.Sprintf("done %s, next %s, ended %t: %s", j.Done, j.Next, !j.Ended.IsZero(), j.Error)
	}

	running := func(node string, pid int64) zeekapi.NodeStatus {
		s := status(node, zeekapi.StateRunning)
		s.PID = pid
		return s
	}

	t.Run("all nodes", func(t *testing.T) {
		b, peers, described := begin(t, zeekapi.RollingRestartRequest{AtOnce: 2})
		want(t, "outputs", []string{"to b: AgentGetNodesRequest #2"}, described)
		b.agent(peers["b"], nodes("#2", running("logger", 10), running("wb", 11)), "to b: AgentRestartRequest #4 of logger")
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r1")}, "answer RollingRestartResponse r1 [F job 1 is still under way]")
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r2"), Nodes: []string{"x"}}, "answer RollingRestartResponse r2 [F unknown cluster node x]")
		b.agent(peers["b"], restarted("#4", success("b", "logger")), "to b: AgentGetNodesRequest #6")
		b.agent(peers["b"], nodes("#6", status("logger", zeekapi.StatePending), running("wb", 11)))
		b.tick("to b: AgentGetNodesRequest #8")
		b.agent(peers["b"], nodes("#8", running("logger", 10))) // the former process
		b.tick("to b: AgentGetNodesRequest #10")
		b.agent(peers["b"], nodes("#10", running("logger", 20)), "to a: AgentGetNodesRequest #12")
		b.agent(peers["a"], nodes("#12", running("manager", 0)), "to a: AgentRestartRequest #14 of manager")
		b.agent(peers["a"], restarted("#14", zeekapi.Result{Node: "manager", Error: zeekapi.ErrorTimeout}), "to a: AgentGetNodesRequest #16")
		b.agent(peers["a"], nodes("#16", running("manager", 0)), "to a: AgentGetNodesRequest #18", "to b: AgentGetNodesRequest #20")
		b.agent(peers["a"], nodes("#18"), "to a: AgentRestartRequest #22 of wa")
		b.agent(peers["b"], nodes("#20", running("wb", 11)), "to b: AgentRestartRequest #24 of wb")
		b.agent(peers["a"], restarted("#22"), "to a: AgentGetNodesRequest #26")
		b.agent(peers["b"], restarted("#24"), "to b: AgentGetNodesRequest #28")
		// A status from b of a node of a does not count, so wa is done last.
		b.agent(peers["b"], nodes("#28", running("wa", 7), running("wb", 12)))
		b.agent(peers["a"], nodes("#26", running("wa", 7)))
		want(t, "job", "done [logger manager wb wa], next [], ended true: ", job(b))
		b.idle()
	})
	t.Run("node does not restart", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{Roles: []zeekapi.ClusterRole{zeekapi.RoleWorker}})
		b.agent(peers["a"], nodes("#2"), "to a: AgentRestartRequest #4 of wa")
		b.agent(peers["a"], restarted("#4", success("a", "wa")), "to a: AgentGetNodesRequest #6")
		b.agent(peers["a"], nodes("#6", status("wa", zeekapi.StateCrashed)))
		b.untilJobEnds() // without further responses of the agent
		want(t, "job", "done [], next [wa wb], ended true: node wa is not back after 1m0s", job(b))
	})
	t.Run("agent does not answer", func(t *testing.T) {
		b, _, _ := begin(t, zeekapi.RollingRestartRequest{})
		b.untilJobEnds()
		want(t, "job", "done [], next [logger manager wa wb], ended true: node logger: its agent has not said which process it is for 1m0s", job(b))
		b.idle()
	})
	t.Run("agent reports a failure", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{})
		b.agent(peers["b"], nodes("#2"), "to b: AgentRestartRequest #4 of logger")
		b.agent(peers["b"], restarted("#4", zeekapi.Result{Node: "logger", Error: "could not restart node logger"}))
		want(t, "job", "done [], next [logger manager wa wb], ended true: node logger: could not restart node logger", job(b))
		b.idle()
	})
	t.Run("agent disconnects", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{})
		b.do(controller.PeerLost{Peer: peers["b"]})
		want(t, "job", "done [], next [logger manager wa wb], ended true: node logger: agent not connected", job(b))
	})
	t.Run("agent disconnects during the restart", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{})
		b.agent(peers["b"], nodes("#2"), "to b: AgentRestartRequest #4 of logger")
		b.do(controller.PeerLost{Peer: peers["b"]})
		want(t, "job", "done [], next [logger manager wa wb], ended true: node logger: agent not connected", job(b))
	})
	t.Run("cancelled", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{Nodes: []string{"wa", "wb"}})
		b.agent(peers["a"], nodes("#2"), "to a: AgentRestartRequest #4 of wa")
		b.ask(zeekapi.CancelJobRequest{ReqID: reqID("r1")}, new(zeekapi.Job))
		b.agent(peers["a"], restarted("#4"), "to a: AgentGetNodesRequest #6")
		b.agent(peers["a"], nodes("#6", status("wa", zeekapi.StateRunning)))
		want(t, "job", "done [wa], next [wb], ended true: cancelled by alice at 10.0.0.1", job(b))
		b.client(zeekapi.CancelJobRequest{ReqID: reqID("r2")}, "answer CancelJobResponse r2 [F no job is under way]")
	})
	t.Run("instance is drained", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{Roles: []zeekapi.ClusterRole{zeekapi.RoleWorker}})
		b.client(zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "a", Drain: true}, "to a: AgentStandbyRequest #3")
		b.tick("to b: AgentGetNodesRequest #5")
		b.events = nil
		b.agent(peers["b"], nodes("#5"), "to b: AgentRestartRequest #7 of wb")
		b.agent(peers["b"], restarted("#7"), "to b: AgentGetNodesRequest #9")
		b.agent(peers["b"], nodes("#9", status("wb", zeekapi.StateRunning)))
		want(t, "job", "done [wb], next [], ended true: ", job(b))
	})
	t.Run("instance of the next node is drained", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{Roles: []zeekapi.ClusterRole{zeekapi.RoleWorker}})
		b.agent(peers["a"], nodes("#2"), "to a: AgentRestartRequest #4 of wa")
		b.client(zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "b", Drain: true}, "to b: AgentStandbyRequest #5")
		b.agent(peers["a"], restarted("#4"), "to a: AgentGetNodesRequest #7")
		b.events = nil
		b.agent(peers["a"], nodes("#7", status("wa", zeekapi.StateRunning)))
		want(t, "job", "done [wa], next [], ended true: ", job(b))
		b.expectEvents("job a wa: job 1: the node runs again", "job b wb: job 1: left out the node, its instance is drained", "job  : job 1 is done")
	})
	t.Run("instance was drained before", func(t *testing.T) {
		b, _ := deployedBench(t, c)
		b.client(zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "a", Drain: true}, "to a: AgentStandbyRequest #1")
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r1"), Nodes: []string{"wa", "manager"}},
			"answer RollingRestartResponse r1 [F there are no such nodes to restart]")
		b.events = nil
		var j zeekapi.Job
		b.ask(zeekapi.RollingRestartRequest{ReqID: reqID("r2")}, &j)
		want(t, "nodes", "[logger wb]", fmt.Sprint(slices.Concat(j.Now, j.Next)))
		b.expectEvents("job  : job 1: restart of 2 nodes by alice at 10.0.0.1")
	})
	t.Run("deployment", func(t *testing.T) {
		b, _, _ := begin(t, zeekapi.RollingRestartRequest{})
		b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #3 c1", "to b: AgentDeployRequest #4 c1")
		want(t, "job", "done [], next [logger manager wa wb], ended true: a deployment began", job(b))
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r2")}, "answer RollingRestartResponse r2 [F earlier deployment r1 still pending]")
	})
	t.Run("refused", func(t *testing.T) {
		b, _ := deployedBench(t, c)
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r1"), Nodes: []string{"x", "wa"}}, "answer RollingRestartResponse r1 [F unknown cluster node x]")
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r2"), Roles: []zeekapi.ClusterRole{zeekapi.RoleProxy}}, "answer RollingRestartResponse r2 [F there are no such nodes to restart]")
		b = newBench(t, nil)
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r3")}, "answer RollingRestartResponse r3 [F no active cluster deployment]")
	})
}

// untilJobEnds lets time pass until the job has ended.
func (b *bench) untilJobEnds() {
	b.t.Helper()
	for b.state.Job.Ended.IsZero() {
		b.now, _ = b.machine.Deadline()
		b.take(b.machine.Step(b.now, controller.Tick{}))
		if b.now.Sub(testStart) > time.Hour {
			b.t.Fatal("the job never ends")
		}
	}
}

// An agent that answers for a name in place of another says nothing about the nodes of
// that one. If the other takes its place, it has to restart the node.
func TestRollingRestartAtAnotherAgent(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.ask(zeekapi.RollingRestartRequest{ReqID: reqID("job")}, new(zeekapi.Job))
	b.agent(peers["a"], nodesAre("#2"), "to a: AgentRestartRequest #4 of wa")
	b.agent(peers["a"], zeekapi.AgentRestartResponse{ReqID: reqID("#4")}, "to a: AgentGetNodesRequest #6")
	b.do(controller.PeerLost{Peer: peers["a"]})
	described(b, peer(7), "a", "to a: AgentWelcomeRequest #7")
	b.agent(peer(7), welcomed("#7", "a"), "to a: AgentDeployRequest #9 c1")
	b.tick("to a: AgentGetNodesRequest #11")
	b.agent(peer(7), nodesAre("#11", process("wa", zeekapi.StateRunning, 6)), "to a: AgentRestartRequest #13 of wa")
	b.agent(peer(7), zeekapi.AgentRestartResponse{ReqID: reqID("#13")}, "to a: AgentGetNodesRequest #15")
	b.agent(peer(7), nodesAre("#15", process("wa", zeekapi.StateRunning, 7)))
	if got, want := b.jobText(), "done [wa], next [], ended true: "; got != want {
		t.Errorf("the job is %q, want %q", got, want)
	}
}
