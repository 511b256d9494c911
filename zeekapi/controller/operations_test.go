package controller_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func reqID(id string) zeekapi.ReqID { return zeekapi.ReqID{ID: id} }

// alice is a client with a name, on the machine of the agent of peer 1.
var alice = broker.Peer{ID: uuid.New(), Name: "alice", Addr: netip.MustParseAddrPort("10.0.0.1:50000")}

// ask sends a request of alice's and returns the data of the only result, into
// data unless that is nil, and what else the machine said.
func (b *bench) ask(msg zeekapi.Message, data any) (result zeekapi.Result, described []string) {
	b.t.Helper()
	return b.answered(b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: msg}), msg.RequestID(), data)
}

// answered takes the answer to a request out of outputs.
func (b *bench) answered(outputs []controller.Output, id string, data any) (result zeekapi.Result, described []string) {
	b.t.Helper()
	var others []controller.Output
	found := false
	for _, o := range outputs {
		to, ok := o.(controller.ToClients)
		if !ok || to.Message.RequestID() != id {
			others = append(others, o)
			continue
		}
		found = true
		result = resultsOf(to.Message)[0]
	}
	described = b.take(others)
	if !found {
		b.t.Fatalf("request %s has no answer, but %q", id, described)
	}
	if data != nil {
		if !result.Success {
			b.t.Fatalf("request %s: %s", id, result.Error)
		}
		if err := record.Unmarshal(result.Data, data); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.machine.Check(); err != nil {
		b.t.Error(err)
	}
	return result, described
}

func (b *bench) history(limit uint64) (entries []string) {
	b.t.Helper()
	var list []zeekapi.Deployment
	b.ask(zeekapi.HistoryRequest{ReqID: reqID("history"), Limit: limit}, &list)
	for _, d := range list {
		entries = append(entries, strings.TrimSpace(fmt.Sprintf("%d %s %s by %s: %s %s", d.Number, d.Action, d.Config, d.By, d.Outcome, strings.Join(d.Errors, ", "))))
	}
	return entries
}

func want[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpState); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

func TestHistory(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	want(t, "history", []string{"1 deploy c1 by unknown: deployed"}, b.history(0))

	b.do(controller.FromClient{Peer: alice, Message: set("r1", config("c2", "a"))},
		"save staged c2", "save ready c2", "save target c2", "to a: AgentDeployRequest #1 c2")
	want(t, "history", []string{"2 set-configuration c2 by alice at 10.0.0.1: pending"}, b.history(1))
	b.agent(peers["a"], agentDeployed("#1", zeekapi.Result{Node: "wa", Data: mustMarshal(zeekapi.NodeOutputs{Stderr: "line\nfatal error\n"})}),
		"save deployed c2", "answer SetConfigurationResponse r1 [F a wa = [\"\", \"line\\nfatal error\\n\"]]")
	want(t, "history", []string{"2 set-configuration c2 by alice at 10.0.0.1: failed a: wa: failed: fatal error", "1 deploy c1 by unknown: deployed"}, b.history(0))

	var c zeekapi.Configuration
	b.ask(zeekapi.GetPastRequest{ReqID: reqID("r2"), Number: 1}, &c)
	if c.ID != "c1" {
		t.Errorf("deployment 1 was of %s", c.ID)
	}
	if res, _ := b.ask(zeekapi.GetPastRequest{ReqID: reqID("r3"), Number: 9}, nil); res.Error != "no deployment 9 in the history" {
		t.Error(res.Error)
	}

	// Back to what went well. By force, for an agent that missed what came in
	// between may run it with other addresses.
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r4")}, "save target c1", "to a: AgentDeployRequest #2 c1 by force")
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r5")}, "answer RollbackResponse r5 [F earlier deployment r4 still pending] [F waiting for a]")
	b.agent(peers["a"], agentDeployed("#2", success("a", "wa")), "save deployed c1", "answer RollbackResponse r4 [T a wa] [T = c1]")
	want(t, "history", []string{"3 rollback c1 by unknown: deployed"}, b.history(1))
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r6")}, "answer RollbackResponse r6 [F no other configuration was deployed before]")
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r7"), Number: 7}, "answer RollbackResponse r7 [F no deployment 7 in the history]")
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r8"), Number: 2}, "save target c2", "to a: AgentDeployRequest #3 c2 by force")

	// What the next life finds under way has been lost.
	b = b.again()
	b.start()
	want(t, "history", []string{"4 rollback c2 by unknown: lost"}, b.history(1))
}

func TestHistoryIsBounded(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	for i := range 150 {
		id := strconv.Itoa(i)
		for _, o := range b.machine.Step(b.now, controller.FromClient{Message: zeekapi.ForceDeployRequest{ReqID: reqID(id)}}) {
			b.take([]controller.Output{o})
			if to, ok := o.(controller.ToAgent); ok {
				b.take(b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: answerTo(to)}))
			}
		}
	}
	entries := b.history(0)
	if len(entries) != 100 || entries[0] != "151 force c1 by unknown: deployed" {
		t.Errorf("%d entries, the last is %s", len(entries), entries[0])
	}
	if n := len(b.state.History); n != 100 {
		t.Errorf("%d entries stored", n)
	}
}

// What is kept of clients does not grow with what they write into a
// configuration: 64 MiB, or two deployments.
func TestHistoryOfLargeConfigurations(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for i, tt := range []struct{ mebibytes, kept int }{{5, 1}, {20, 2}, {20, 3}, {20, 3}, {45, 2}} {
		c := zeekapi.Configuration{ID: strconv.Itoa(i) + strings.Repeat("x", tt.mebibytes<<20)}
		id := "r" + strconv.Itoa(i)
		b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: zeekapi.SetConfigurationRequest{ReqID: reqID(id), Config: c}})
		var list []zeekapi.Deployment
		b.ask(zeekapi.HistoryRequest{ReqID: reqID("history")}, &list)
		if len(list) != tt.kept {
			t.Errorf("after number %d of %d MiB %d deployments are kept, want %d", i+1, tt.mebibytes, len(list), tt.kept)
		}
	}
	var events []zeekapi.ClusterEvent
	b.ask(zeekapi.EventsRequest{ReqID: reqID("events")}, &events)
	for _, n := range events {
		if len(n.Text) > 3000 {
			t.Errorf("a event %q has %d bytes", n.Kind, len(n.Text))
		}
	}
	for _, line := range b.log.take() {
		if len(line) > 5000 {
			t.Errorf("a line of the log has %d bytes: %.200s", len(line), line)
		}
	}
}

func TestForce(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(zeekapi.ForceDeployRequest{ReqID: reqID("r1")}, "save target c1", "to a: AgentDeployRequest #1 c1 by force")
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c1", "answer ForceDeployResponse r1 [T a wa] [T = c1]")
}

// Agents compare nothing but IDs, so what changed under the same ID is forced.
func TestSameIDOtherContent(t *testing.T) {
	// But ours, who say so, compare more.
	b, peers := deployedBench(t, config("c1", "a"))
	b.agent(peers["a"], zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm})
	b.client(set("r0", config("c1", "a", "b")), "save staged c1", "save ready c1", "save target c1")
	b.agent(peer(2), hello("b"), "to b: AgentWelcomeRequest #1")
	b.agent(peer(2), welcomed("#1", "b"), "to a: AgentDeployNodesRequest #2 c1", "to b: AgentDeployRequest #3 c1 by force")

	b, peers = deployedBench(t, config("c1", "a", "b"))
	c := config("c1", "a", "b")
	c.Nodes[0].Interface = "eth1"
	b.client(stage("r1", c), "save staged c1", "save ready c1", "answer StageConfigurationResponse r1 [T = c1]")
	b.client(deploy("r2"), "save target c1", "to a: AgentDeployRequest #1 c1 by force", "to b: AgentDeployRequest #2 c1 by force")
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")))

	// A controller that does not know what b got forces it again.
	b = b.again()
	b.start()
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentDeployRequest #4 c1") // what all had before
	b.agent(peers["b"], hello("b"), "to b: AgentWelcomeRequest #5")
	b.agent(peers["b"], welcomed("#5", "b"), "to a: AgentDeployRequest #6 c1 by force", "to b: AgentDeployRequest #7 c1 by force")
	b.agent(peers["a"], agentDeployed("#6"))
	b.agent(peers["b"], agentDeployed("#7"), "save deployed c1")
	b.client(deploy("r3"), "save target c1", "to a: AgentDeployRequest #8 c1", "to b: AgentDeployRequest #9 c1")
}

// An agent of another build gets what all agents understand, unless both know
// the same form of layouts.
func TestAgentOfAnotherBuild(t *testing.T) {
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

// An agent that comes back from elsewhere is where it is now. That concerns the
// others if their nodes connect there.
func TestAgentMoves(t *testing.T) {
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
		t.Errorf("a is deployed at %s", got)
	}

	// A deployment under way goes to all again.
	b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #8 c1", "to b: AgentDeployRequest #9 c1")
	b.agent(peer(8), agentDeployed("#9", success("b", "wb")))
	b.do(controller.PeerLost{Peer: peer(7)})
	b.agent(peer(6), hello("a"), "to a: AgentWelcomeRequest #10")
	b.agent(peer(6), welcomed("#10", "a"), "to a: AgentDeployRequest #11 c1 by force", "to b: AgentDeployRequest #12 c1 by force")
	b.agent(peer(6), agentDeployed("#11", success("a", "wa")))
	b.agent(peer(8), agentDeployed("#12", success("b", "wb")), "save deployed c1", "answer DeployResponse r1 [T a wa] [T b wb] [T = c1]")
}

// Who is dropped while away hears of it when it returns, also from the next
// controller, until it says that it did.
func TestDroppedWhileAway(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.client(set("r1", config("c2", "a")), "save staged c2", "save ready c2", "save target c2",
		"to b: AgentStandbyRequest", "to a: AgentDeployRequest #1 c2")
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c2", "answer SetConfigurationResponse r1 [T a wa]")

	b = b.again()
	b.start()
	b.agent(peer(7), hello("b"), "to b: AgentStandbyRequest")
	b.agent(peer(7), hello("b"), "to b: AgentStandbyRequest")
	b.agent(peer(7), zeekapi.AgentStandbyResponse{})
	b.agent(peer(7), hello("b"))
	want(t, "instances that have not answered", nil, b.state.Owed)
}

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
	b.client(drain("r4", "x", true), "answer DrainResponse r4 [F the cluster has no instance 'x']")
	b.heard("drained b : by unknown")

	// It is left out of everything, whatever happens to it or to us.
	b.client(deploy("r5"), "save target c1", "to a: AgentDeployRequest #3 c1")
	b.agent(peers["a"], agentDeployed("#3", success("a", "wa")), "save deployed c1", "answer DeployResponse r5 [T a wa] [T = c1]")
	b.client(restart("r6"), "to a: AgentRestartRequest #4 of")
	b.agent(peers["a"], zeekapi.AgentRestartResponse{ReqID: reqID("#4")}, "answer RestartResponse r6 [F wb instance is drained]")
	b.agent(peers["b"], hello("b"))
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.agent(peer(7), hello("b"), "to b: AgentStandbyRequest") // it may be new
	b = b.again()
	b.start()
	b.agent(peer(7), hello("b"), "to b: AgentStandbyRequest")
	b.agent(peer(7), zeekapi.AgentStandbyResponse{})
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentDeployRequest #3 c1")
	b.agent(peers["a"], agentDeployed("#3"))

	b.client(drain("r7", "b", false), "to b: AgentWelcomeRequest #4")
	b.agent(peer(7), welcomed("#4", "b"), "to b: AgentDeployRequest #6 c1")
	b.agent(peer(7), agentDeployed("#6", success("b", "wb")), "answer DrainResponse r7 [T b wb]")
	want(t, "drained instances", nil, b.state.Drained)

	// A deployment goes on without an instance that is drained.
	b.client(set("r8", config("c2", "a", "b")), "save staged c2", "save ready c2", "save target c2",
		"to a: AgentDeployRequest #7 c2", "to b: AgentDeployRequest #8 c2")
	b.agent(peers["a"], agentDeployed("#7", success("a", "wa")))
	b.client(drain("r9", "b", true), "to b: AgentStandbyRequest #9",
		"save deployed c2", "answer SetConfigurationResponse r8 [T a wa] [F b instance is drained]")
	b.agent(peer(7), standby("#9"), "to b: AgentStatusRequest #10")
	b.agent(peer(7), nothing("#10"), "answer DrainResponse r9 [T b]")

	// Who is away is told when it is back.
	b.do(controller.PeerLost{Peer: peer(7)})
	b.client(drain("r10", "b", false), "answer DrainResponse r10 [F b agent not connected, the instance gets its nodes when it returns]")
	b.client(drain("r11", "b", true), "answer DrainResponse r11 [F b agent not connected, the instance is drained when it returns]")
	b.client(deploy("r12"), "save target c2", "to a: AgentDeployRequest #11 c2")
	b.agent(peers["a"], agentDeployed("#11", success("a", "wa")), "save deployed c2", "answer DeployResponse r12 [T a wa] [T = c2]")
}

// Who drains a machine to switch it off wants to know when its nodes are gone.
func TestDrainEndsWhenNodesAreGone(t *testing.T) {
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
	// begin drains until the agent has said which nodes there are still.
	begin := func(t *testing.T) (*bench, broker.Peer) {
		b, peers := deployedBench(t, config("c1", "a"))
		b.client(drain("r1", true), "to a: AgentStandbyRequest #1")
		b.agent(peers["a"], standby("#1"), "to a: AgentStatusRequest #2")
		b.agent(peers["a"], nodes("#2", "wa", "wb"))
		return b, peers["a"]
	}
	t.Run("in time", func(t *testing.T) {
		b, a := begin(t)
		b.tick("to a: AgentStatusRequest #3")
		b.agent(a, zeekapi.AgentGetNodesResponse{ReqID: reqID("#3"), Result: zeekapi.Result{Error: "busy"}})
		b.tick("to a: AgentStatusRequest #4")
		b.agent(a, nodes("#4"), "answer DrainResponse r1 [T a]")
		b.idle()
	})
	t.Run("an agent that cannot tell", func(t *testing.T) {
		b, _ := begin(t)
		b.tick("to a: AgentStatusRequest #3")
		b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "a", Message: zeekapi.AgentGetNodesRequest{ReqID: reqID("#3")}}},
			"answer DrainResponse r1 [T a]")
	})
	t.Run("not in time", func(t *testing.T) {
		b, a := begin(t)
		b.now = b.now.Add(time.Minute)
		b.do(controller.Tick{}, "answer DrainResponse r1 [F a still stopping: wa, wb] [F request timed out]")
		b.idle()
		// One can wait on.
		b.client(drain("r2", true), "to a: AgentStandbyRequest #3")
		b.agent(a, standby("#3"), "to a: AgentStatusRequest #4")
		b.agent(a, nodes("#4"), "answer DrainResponse r2 [T a]")
	})
	t.Run("two wait", func(t *testing.T) {
		b, a := begin(t)
		b.client(drain("r2", true), "to a: AgentStandbyRequest #3")
		b.agent(a, standby("#3"), "to a: AgentStatusRequest #4")
		b.tick("to a: AgentStatusRequest #5")
		b.agent(a, nodes("#4"), "answer DrainResponse r2 [T a]")
		b.agent(a, nodes("#5"), "answer DrainResponse r1 [T a]")
	})
	t.Run("the agent goes", func(t *testing.T) {
		b, a := begin(t)
		b.do(controller.PeerLost{Peer: a})
		b.tick("answer DrainResponse r1 [F a agent not connected]")
		b.idle()

		b, a = begin(t)
		b.tick("to a: AgentStatusRequest #3")
		b.do(controller.PeerLost{Peer: a}, "answer DrainResponse r1 [F a agent not connected]")
		b.idle()
	})
	t.Run("somebody undrains", func(t *testing.T) {
		b, _ := begin(t)
		b.client(drain("r2", false), "answer DrainResponse r1 [F the instance is no longer drained]", "to a: AgentWelcomeRequest #3")
	})
}

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
		j := *b.state.Job
		return fmt.Sprintf("done %s, next %s, ended %t: %s", j.Done, j.Next, !j.Ended.IsZero(), j.Error)
	}

	t.Run("to the end", func(t *testing.T) {
		b, peers, described := begin(t, zeekapi.RollingRestartRequest{AtOnce: 2})
		want(t, "outputs", []string{"to b: AgentRestartRequest #2 of logger"}, described)
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r1")}, "answer RollingRestartResponse r1 [F job 1 is still under way]")
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r2"), Nodes: []string{"x"}}, "answer RollingRestartResponse r2 [F unknown cluster node x]")
		b.agent(peers["b"], restarted("#2", success("b", "logger")), "to b: AgentGetNodesRequest #4")
		b.agent(peers["b"], nodes("#4", status("logger", zeekapi.StatePending), status("wb", zeekapi.StateRunning)))
		b.tick("to b: AgentGetNodesRequest #6")
		b.agent(peers["b"], nodes("#6", status("logger", zeekapi.StateRunning)), "to a: AgentRestartRequest #8 of manager")
		b.agent(peers["a"], restarted("#8", zeekapi.Result{Node: "manager", Error: zeekapi.ErrorTimeout}), "to a: AgentGetNodesRequest #10")
		b.agent(peers["a"], nodes("#10", status("manager", zeekapi.StateRunning)),
			"to a: AgentRestartRequest #12 of wa", "to b: AgentRestartRequest #14 of wb")
		b.agent(peers["a"], restarted("#12"), "to a: AgentGetNodesRequest #16")
		b.agent(peers["b"], restarted("#14"), "to b: AgentGetNodesRequest #18")
		// What b says of a node of a does not count, so wa is the last to be done.
		b.agent(peers["b"], nodes("#18", status("wa", zeekapi.StateRunning), status("wb", zeekapi.StateRunning)))
		b.agent(peers["a"], nodes("#16", status("wa", zeekapi.StateRunning)))
		want(t, "job", "done [logger manager wb wa], next [], ended true: ", job(b))
		b.idle()
	})
	t.Run("a node does not come back", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{Roles: []zeekapi.ClusterRole{zeekapi.RoleWorker}})
		b.agent(peers["a"], restarted("#2", success("a", "wa")), "to a: AgentGetNodesRequest #4")
		b.agent(peers["a"], nodes("#4", status("wa", zeekapi.StateCrashed)))
		for b.state.Job.Ended.IsZero() { // and does not answer any more
			b.now, _ = b.machine.Deadline()
			b.take(b.machine.Step(b.now, controller.Tick{}))
			if b.now.Sub(testStart) > time.Hour {
				t.Fatal("the job never ends")
			}
		}
		want(t, "job", "done [], next [wa wb], ended true: node wa is not back after 1m0s", job(b))
	})
	t.Run("an agent cannot", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{})
		b.agent(peers["b"], restarted("#2", zeekapi.Result{Node: "logger", Error: "could not restart node logger"}))
		want(t, "job", "done [], next [logger manager wa wb], ended true: node logger: could not restart node logger", job(b))
		b.idle()
	})
	t.Run("an agent goes", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{})
		b.do(controller.PeerLost{Peer: peers["b"]})
		want(t, "job", "done [], next [logger manager wa wb], ended true: node logger: agent not connected", job(b))
	})
	t.Run("cancelled", func(t *testing.T) {
		b, peers, _ := begin(t, zeekapi.RollingRestartRequest{Nodes: []string{"wa", "wb"}})
		b.ask(zeekapi.CancelJobRequest{ReqID: reqID("r1")}, new(zeekapi.Job))
		b.agent(peers["a"], restarted("#2"), "to a: AgentGetNodesRequest #4")
		b.agent(peers["a"], nodes("#4", status("wa", zeekapi.StateRunning)))
		want(t, "job", "done [wa], next [wb], ended true: cancelled by alice at 10.0.0.1", job(b))
		b.client(zeekapi.CancelJobRequest{ReqID: reqID("r2")}, "answer CancelJobResponse r2 [F no job is under way]")
	})
	t.Run("deployment", func(t *testing.T) {
		b, _, _ := begin(t, zeekapi.RollingRestartRequest{})
		b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #3 c1", "to b: AgentDeployRequest #4 c1")
		want(t, "job", "done [], next [logger manager wa wb], ended true: a deployment began", job(b))
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r2")}, "answer RollingRestartResponse r2 [F earlier deployment r1 still pending]")
	})
	t.Run("the controller ends", func(t *testing.T) {
		b, _, _ := begin(t, zeekapi.RollingRestartRequest{})
		b = b.again()
		b.start()
		want(t, "job", "done [], next [logger manager wa wb], ended true: the controller ended before the job did", job(b))
	})
	t.Run("refused", func(t *testing.T) {
		b, _ := deployedBench(t, c)
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r1"), Nodes: []string{"x", "wa"}}, "answer RollingRestartResponse r1 [F unknown cluster node x]")
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r2"), Roles: []zeekapi.ClusterRole{zeekapi.RoleProxy}}, "answer RollingRestartResponse r2 [F there are no such nodes to restart]")
		b = newBench(t, nil)
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r3")}, "answer RollingRestartResponse r3 [F no active cluster deployment]")
	})
}

func TestDryRun(t *testing.T) {
	c1 := config("c1", "a", "b")
	c1.Nodes[0].Port = broker.TCP(5000)
	b, _ := deployedBench(t, c1)
	cpu := int64(2)
	c2 := config("c2", "a", "c")
	c2.Nodes[0].CPUAffinity = &cpu
	c2.Nodes[0].Env = map[string]string{"B": "2", "A": "1"}
	c2.Nodes[0].Scripts = []string{"x", "y"}
	c2.Nodes = append(c2.Nodes, zeekapi.Node{Name: "m", Instance: "a", Role: zeekapi.RoleManager, State: zeekapi.StateRunning})
	var d zeekapi.Diff
	b.ask(zeekapi.DryRunRequest{ReqID: reqID("r1"), Config: c2}, &d)
	want(t, "diff", zeekapi.Diff{
		From: "c1", To: "c2",
		Instances: []zeekapi.Change{
			{Name: "a", Kind: "kept"},
			{Name: "b", Kind: "removed"},
			{Name: "c", Kind: "added"},
		},
		Nodes: []zeekapi.Change{
			{Name: "m", Kind: "added"},
			{Name: "wa", Kind: "changed", Fields: []zeekapi.FieldChange{
				{Field: "port", Old: "5000/tcp"},
				{Field: "scripts", New: "x y"},
				{Field: "cpu_affinity", New: "2"},
				{Field: "env", New: "A=1 B=2"},
				{Field: "metrics_port", Old: "9000/tcp", New: "9001/tcp"},
			}},
			{Name: "wb", Kind: "removed"},
			{Name: "wc", Kind: "added"},
		},
		Missing: []string{"c"},
	}, d)

	bad := config("c3", "a")
	bad.Nodes[0].Instance = "x"
	b.client(zeekapi.DryRunRequest{ReqID: reqID("r2"), Config: bad}, "answer DryRunResponse r2 [F node 'wa' has undeclared instance name 'x']")
	if b.saved[controller.Staged].ID != "c1" {
		t.Error("a dry run stages")
	}
}

func TestStatus(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b", "c"))
	detail := zeekapi.NodeDetail{
		Status: zeekapi.NodeStatus{Node: "wa", State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker},
		Memory: 1 << 20,
	}
	plain := zeekapi.NodeStatus{Node: "wb", State: zeekapi.StateCrashed, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
	itself := zeekapi.NodeStatus{Node: "b", State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementAgent, ClusterRole: zeekapi.RoleNone}
	agent := zeekapi.Process{Name: "agent", Version: "zeekwire v1", Started: testStart.UTC()}
	b.do(controller.FromAgent{Peer: peers["a"], Dialect: "Operations", Message: hello("a")})
	b.agent(peers["a"], zeekapi.AgentDescription{Instance: "a", Agent: agent, Zeek: "8.0.10"})
	b.agent(peers["b"], zeekapi.AgentError{Instance: "b", Text: "oops"})
	b.do(controller.PeerLost{Peer: peers["c"]})
	b.agent(peer(9), hello("stranger"))

	b.client(zeekapi.StatusRequest{ReqID: reqID("r1")},
		"to a: AgentStatusRequest #1", "to b: AgentStatusRequest #2", "to stranger: AgentStatusRequest #3")
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "b", Message: zeekapi.AgentStatusRequest{ReqID: reqID("#2")}}},
		"to b: AgentGetNodesRequest #2")
	b.agent(peers["a"], zeekapi.AgentStatusResponse{ReqID: reqID("#1"), Result: zeekapi.Result{Success: true, Data: mustMarshal([]zeekapi.NodeDetail{detail})}})
	b.agent(peers["b"], zeekapi.AgentGetNodesResponse{ReqID: reqID("#2"), Result: zeekapi.Result{Success: true, Data: mustMarshal([]zeekapi.NodeStatus{itself, plain})}})
	b.now, _ = b.machine.Deadline()
	if waited := b.now.Sub(testStart); waited > time.Minute+5*time.Second {
		t.Errorf("the status takes until %v", waited)
	}
	var s zeekapi.Status
	b.answered(b.machine.Step(b.now, controller.Tick{}), "r1", &s)
	s.Last.Started, s.Last.Ended = time.Time{}, time.Time{}
	at := func(name, host string) zeekapi.Instance {
		return zeekapi.Instance{Name: name, Host: netip.MustParseAddr(host)}
	}
	later := testStart.Add(time.Minute)
	want(t, "status", zeekapi.Status{
		Controller: zeekapi.Process{Started: testStart},
		Staged:     "c1", Deployed: "c1", Target: "c1",
		Last: &zeekapi.Deployment{Number: 1, Config: "c1", Action: "deploy", By: "unknown", Outcome: zeekapi.OutcomeDeployed},
		Instances: []zeekapi.InstanceStatus{
			{Instance: at("a", "10.0.0.1"), Connected: true, Since: testStart, Wanted: true, Ready: true, Dialects: []string{"Operations"},
				Agent: agent, Zeek: "8.0.10", Nodes: []zeekapi.NodeDetail{detail}},
			{Instance: at("b", "10.0.0.2"), Connected: true, Since: testStart, Wanted: true, Ready: true, LastError: "oops",
				Nodes: []zeekapi.NodeDetail{{Status: plain}}},
			{Instance: at("c", "10.0.0.3"), Since: later, Wanted: true, Nodes: []zeekapi.NodeDetail{{Status: zeekapi.NodeStatus{
				Node: "wc", State: zeekapi.StateUnknown, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker, MetricsPort: broker.TCP(9000),
			}}}},
			{Instance: at("stranger", "10.0.0.9"), Connected: true, Since: later, LastError: "no answer when asked for the status"},
		},
	}, s)

	// Since when an agent is missing outlives the controller.
	b = b.again()
	b.now = b.now.Add(time.Hour)
	b.start()
	b.ask(zeekapi.StatusRequest{ReqID: reqID("r2")}, &s)
	want(t, "missing since", []time.Time{b.now, b.now, later}, []time.Time{s.Instances[0].Since, s.Instances[1].Since, s.Instances[2].Since})
}

func TestLogs(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	logs := func(id, node string) zeekapi.Message {
		return zeekapi.LogsRequest{ReqID: reqID(id), Node: node, Bytes: 7}
	}
	b.client(logs("r1", "x"), "answer LogsResponse r1 [F x unknown cluster node]")
	b.client(logs("r2", "wa"), "to a: AgentLogsRequest #1")
	b.agent(peers["a"], zeekapi.AgentLogsResponse{ReqID: reqID("#1"), Result: zeekapi.Result{Success: true, Node: "wa", Data: mustMarshal(zeekapi.NodeOutputs{Stdout: "out"})}},
		`answer LogsResponse r2 [T a wa = ["out", ""]]`)
	b.client(logs("r3", "wa"), "to a: AgentLogsRequest #2")
	b.agent(peers["a"], zeekapi.AgentLogsResponse{ReqID: reqID("#2"), Result: zeekapi.Result{Success: true, Data: broker.Count(1)}},
		"answer LogsResponse r3 [F a wa agent sent something else than the output of a node]")
	b.client(logs("r4", "wb"), "to b: AgentLogsRequest #3")
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "b", Message: zeekapi.AgentLogsRequest{ReqID: reqID("#3")}}},
		"answer LogsResponse r4 [F wb not supported by the agent]")

	// A drained instance has files, but no nodes.
	wrote := zeekapi.Result{Success: true, Error: "gone", Node: "wb", Data: mustMarshal(zeekapi.NodeOutputs{Stdout: "out"})}
	b.client(logs("r6", "wb"), "to b: AgentLogsRequest #4")
	b.agent(peers["b"], zeekapi.AgentLogsResponse{ReqID: reqID("#4"), Result: wrote}, `answer LogsResponse r6 [T b wb gone = ["out", ""]]`)
	b.client(zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "b", Drain: true}, "to b: AgentStandbyRequest #5")
	b.client(logs("r7", "wb"), "to b: AgentLogsRequest #6")
	b.agent(peers["b"], zeekapi.AgentLogsResponse{ReqID: reqID("#6"), Result: wrote}, `answer LogsResponse r7 [T b wb instance is drained = ["out", ""]]`)
	b.do(controller.PeerLost{Peer: peers["b"]}, "answer DrainResponse d [F b agent not connected]")
	b.client(logs("r5", "wb"), "answer LogsResponse r5 [F wb agent not connected]")
}

func TestEvents(t *testing.T) {
	b := newBench(t, nil)
	b.agent(peer(1), hello("a"))
	b.client(set("r1", config("c1", "a")), "save staged c1", "save ready c1", "save target c1", "to a: AgentWelcomeRequest #1")
	b.agent(peer(1), zeekapi.AgentChange{Instance: "a", Node: zeekapi.Node{Name: "wa"}, Old: zeekapi.StateRunning, New: zeekapi.StateCrashed})
	b.agent(peer(1), zeekapi.AgentLog{Instance: "a", Text: "hm", Node: "wa"})
	b.agent(peer(2), zeekapi.AgentError{Instance: "a", Text: "I am not a"})
	b.do(controller.AgentRefused{Peer: peer(3), Instance: "b", Why: "not allowed"})
	b.do(controller.PeerLost{Peer: peer(1)})
	b.heard("connected a : agent connected from 10.0.0.1",
		"staged  : configuration c1 by unknown",
		"deploying  : set-configuration of configuration c1 by unknown",
		"state a wa: CRASHED",
		"log a wa: hm",
		"error b : refused an agent from 10.0.0.3: not allowed",
		"lost a : agent disconnected")

	var list []zeekapi.ClusterEvent
	b.ask(zeekapi.EventsRequest{ReqID: reqID("r2"), After: 2, Limit: 3}, &list)
	if len(list) != 3 || list[0].Number != 5 || list[2].Kind != zeekapi.EventLost {
		t.Errorf("events %v", list)
	}
	b = b.again()
	b.agent(peer(1), hello("a"))
	b.ask(zeekapi.EventsRequest{ReqID: reqID("r3")}, &list)
	if len(list) != 8 || list[7].Number != 8 {
		t.Errorf("after a restart there are %d events, the last has number %d", len(list), list[len(list)-1].Number)
	}
}

// An agent cannot make us keep more than so much.
func TestEventsAreLimited(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	for range 5000 {
		b.agent(peers["a"], zeekapi.AgentLog{Instance: "a", Text: strings.Repeat("x", 5000)})
	}
	if n := len(b.events); n > 300 {
		t.Errorf("%d of 5000 messages kept", n)
	}
	b.events = nil
	b.agent(peers["b"], zeekapi.AgentLog{Instance: "b", Text: "me too"})
	b.heard("log b : me too")
	b.now = b.now.Add(time.Second)
	b.agent(peers["a"], zeekapi.AgentLog{Instance: "a", Text: "and again"})
	b.heard("log a : 4800 messages of the agent were ignored, there were too many", "log a : and again")
	for range 10 {
		b.now = b.now.Add(time.Minute)
		for range 200 {
			b.agent(peers["a"], zeekapi.AgentLog{Instance: "a", Text: "x"})
		}
	}
	if n := len(b.state.Events); n != 1000 {
		t.Errorf("%d events kept", n)
	}
	for _, n := range b.state.Events {
		if len(n.Text) > 1003 {
			t.Fatalf("a text of %d bytes is kept", len(n.Text))
		}
	}
}

// One client cannot take all there is.
func TestFloodOfRequests(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	for i := range 10_000 {
		b.take(b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: getNodes(strconv.Itoa(i))}))
	}
	b.client(restart("r1", "x"), "answer RestartResponse r1 [F x unknown cluster node]")
}
