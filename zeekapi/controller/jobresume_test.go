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

// resumed returns a bench with a controller that was killed during a rolling restart,
// with the stored job, and has met its agents again.
func resumed(t *testing.T, stored controller.StoredJob) (*bench, map[string]broker.Peer) {
	t.Helper()
	before, peers := deployedBench(t, config("c1", "a", "b"))
	stored.Number, stored.By, stored.Started = 4, "alice", testStart
	before.state.Job = &stored
	b := before.again()
	b.take(b.machine.Start(b.now))
	for _, name := range []string{"a", "b"} {
		b.meet(peers[name], name)
	}
	b.ids = 0
	return b, peers
}

// meet connects an agent, which runs its configuration already.
func (b *bench) meet(p broker.Peer, name string) {
	b.t.Helper()
	outputs := b.machine.Step(b.now, controller.FromAgent{Peer: p, Message: hello(name)})
	for len(outputs) > 0 {
		b.take(outputs[:1])
		to, ok := outputs[0].(controller.ToAgent)
		outputs = outputs[1:]
		if !ok {
			continue
		}
		if _, asked := to.Message.(zeekapi.AgentGetNodesRequest); !asked {
			outputs = append(outputs, b.machine.Step(b.now, controller.FromAgent{Peer: p, Message: answerTo(to)})...)
		}
	}
}

// jobText describes the stored job.
func (b *bench) jobText() string {
	j := b.state.Job.Job
	return fmt.Sprintf("done %s, next %s, ended %t: %s", j.Done, j.Next, !j.Ended.IsZero(), j.Error)
}

// nodesAre returns the response to the request with an ID for the nodes of an instance.
func nodesAre(id string, statuses ...zeekapi.NodeStatus) zeekapi.Message {
	return zeekapi.AgentGetNodesResponse{ReqID: reqID(id), Result: zeekapi.Result{Success: true, Data: mustMarshal(statuses)}}
}

// process returns the status of a worker.
func process(node string, state zeekapi.State, pid int64) zeekapi.NodeStatus {
	return zeekapi.NodeStatus{Node: node, State: state, PID: pid, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
}

// TestRestartWithUnknownOutcome kills the controller after it has told an agent to
// restart a node. The next one restarts the node again only if it must.
func TestRestartWithUnknownOutcome(t *testing.T) {
	const again = "to a: AgentRestartRequest #4 of wa"
	for _, tt := range []struct {
		name   string
		before int64
		status []zeekapi.NodeStatus
		want   []string // outputs
		job    string
	}{
		{"another process runs", 10, []zeekapi.NodeStatus{process("wa", zeekapi.StateRunning, 11)}, []string{"to b: AgentGetNodesRequest #4"}, "done [wa], now [wb]"},
		{"another process starts", 10, []zeekapi.NodeStatus{process("wa", zeekapi.StatePending, 11)}, nil, "done [], now [wa]"},
		{"the process is about to end", 10, []zeekapi.NodeStatus{process("wa", zeekapi.StatePending, 10)}, nil, "done [], now [wa]"},
		{"no process yet", 10, []zeekapi.NodeStatus{process("wa", zeekapi.StatePending, 0)}, nil, "done [], now [wa]"},
		{"the process is the same", 10, []zeekapi.NodeStatus{process("wa", zeekapi.StateRunning, 10)}, []string{again}, "done [], now [wa]"},
		{"no process is known", 10, []zeekapi.NodeStatus{process("wa", zeekapi.StateRunning, 0)}, []string{again}, "done [], now [wa]"},
		{"no process was known", 0, []zeekapi.NodeStatus{process("wa", zeekapi.StateRunning, 10)}, []string{again}, "done [], now [wa]"},
		{"the node has failed", 10, []zeekapi.NodeStatus{process("wa", zeekapi.StateFailed, 0)}, []string{again}, "done [], now [wa]"},
		{"the agent does not know the node", 10, nil, nil, "done [], now [wa]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, peers := resumed(t, controller.StoredJob{
				Job: zeekapi.Job{Now: []string{"wa"}, Next: []string{"wb"}}, AtOnce: 1, Told: map[string]int64{"wa": tt.before},
			})
			b.tick("to a: AgentGetNodesRequest #2")
			b.agent(peers["a"], nodesAre("#2", tt.status...), tt.want...)
			j := b.machine.Job()
			want(t, "job", tt.job, fmt.Sprintf("done %s, now %s", j.Done, j.Now))
		})
	}
}

// TestResumedJob checks how a job continues that the end of the controller interrupted.
func TestResumedJob(t *testing.T) {
	job := zeekapi.Job{Done: []string{"l"}, Now: []string{"wa"}, Next: []string{"wb"}}
	t.Run("before the restart", func(t *testing.T) {
		b, peers := resumed(t, controller.StoredJob{Job: job, AtOnce: 1})
		want(t, "event", true, slices.Contains(b.events, "job  : job 4: resumed after a restart of the controller, 2 nodes left"))
		b.tick("to a: AgentGetNodesRequest #2")
		b.agent(peers["a"], nodesAre("#2", process("wa", zeekapi.StateRunning, 10)), "to a: AgentRestartRequest #4 of wa")
	})
	t.Run("to its end", func(t *testing.T) {
		b, peers := resumed(t, controller.StoredJob{Job: job, AtOnce: 1, Told: map[string]int64{"wa": 10}})
		b.tick("to a: AgentGetNodesRequest #2")
		b.agent(peers["a"], nodesAre("#2", process("wa", zeekapi.StateRunning, 11)), "to b: AgentGetNodesRequest #4")
		b.agent(peers["b"], nodesAre("#4", process("wb", zeekapi.StateRunning, 20)), "to b: AgentRestartRequest #6 of wb")
		b.agent(peers["b"], zeekapi.AgentRestartResponse{ReqID: reqID("#6")}, "to b: AgentGetNodesRequest #8")
		b.agent(peers["b"], nodesAre("#8", process("wb", zeekapi.StateRunning, 21)))
		want(t, "job", "done [l wa wb], next [], ended true: ", b.jobText())
		_, outputs := b.ask(zeekapi.RollingRestartRequest{ReqID: reqID("r"), Nodes: []string{"wa"}}, new(zeekapi.Job))
		want(t, "outputs of the next job", []string{"to a: AgentGetNodesRequest #10"}, outputs)
	})
	t.Run("agents stay away", func(t *testing.T) {
		before, _ := deployedBench(t, config("c1", "a", "b"))
		before.state.Job = &controller.StoredJob{Job: job, AtOnce: 1, Told: map[string]int64{"wa": 10}}
		b := before.again()
		b.take(b.machine.Start(b.now))
		b.untilJobEnds()
		want(t, "job", "done [l], next [wa wb], ended true: node wa: agent not connected", b.jobText())
		want(t, "patience", 2*time.Minute, b.now.Sub(before.now))
	})
	t.Run("cancelled before", func(t *testing.T) {
		b, peers := resumed(t, controller.StoredJob{Job: job, AtOnce: 1, Told: map[string]int64{"wa": 10}, Stopped: "cancelled by alice"})
		b.tick("to a: AgentGetNodesRequest #2")
		b.agent(peers["a"], nodesAre("#2", process("wa", zeekapi.StateRunning, 11)))
		want(t, "job", "done [l wa], next [wb], ended true: cancelled by alice", b.jobText())
	})
	t.Run("killed twice", func(t *testing.T) {
		b, _ := resumed(t, controller.StoredJob{Job: job, AtOnce: 1, Told: map[string]int64{"wa": 10}})
		b = b.again()
		b.take(b.machine.Start(b.now))
		want(t, "told", map[string]int64{"wa": 10}, b.state.Job.Told)
	})
	t.Run("agent does not answer", func(t *testing.T) {
		b, _ := resumed(t, controller.StoredJob{Job: job, AtOnce: 1, Told: map[string]int64{"wa": 10}})
		b.untilJobEnds()
		want(t, "job", "done [l], next [wa wb], ended true: node wa is not back after 1m0s", b.jobText())
	})
	t.Run("killed again after another restart", func(t *testing.T) {
		both := zeekapi.Job{Now: []string{"wa", "wb"}}
		b, peers := resumed(t, controller.StoredJob{Job: both, AtOnce: 2, Told: map[string]int64{"wa": 10}})
		b.tick("to a: AgentGetNodesRequest #2", "to b: AgentGetNodesRequest #4")
		b.agent(peers["b"], nodesAre("#4", process("wb", zeekapi.StateRunning, 20)), "to b: AgentRestartRequest #6 of wb")
		want(t, "told", map[string]int64{"wa": 10, "wb": 20}, b.state.Job.Told)
	})
	t.Run("of an earlier version", func(t *testing.T) {
		b, _ := resumed(t, controller.StoredJob{Job: job})
		want(t, "job", "done [l], next [wa wb], ended true: the controller ended before the job did", b.jobText())
	})
	t.Run("of nodes that are gone", func(t *testing.T) {
		b, _ := resumed(t, controller.StoredJob{Job: zeekapi.Job{Next: []string{"wa", "x"}}, AtOnce: 1})
		want(t, "job", "done [], next [wa x], ended true: the controller ended before the job did, and node x is no longer part of the cluster", b.jobText())
	})
}
