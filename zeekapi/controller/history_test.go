package controller_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func (b *bench) history(limit uint64) (entries []string) {
	b.t.Helper()
	var list []zeekapi.Deployment
	b.ask(zeekapi.HistoryRequest{ReqID: reqID("history"), Limit: limit}, &list)
	for _, d := range list {
		entries = append(entries, strings.TrimSpace(fmt.Sprintf("%d %s %s by %s: %s %s", d.Number, d.Action, d.Config, d.By, d.Outcome, strings.Join(d.Errors, ", "))))
	}
	return entries
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
		t.Errorf("the configuration of deployment 1 is %s, want c1", c.ID)
	}
	if res, _ := b.ask(zeekapi.GetPastRequest{ReqID: reqID("r3"), Number: 9}, nil); res.Error != "no deployment 9 in the history" {
		t.Error(res.Error)
	}

	// Roll back to the last successful deployment. The force flag is set because an
	// agent that missed the later deployment may run the same configuration with
	// other addresses.
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r4")}, "save target c1", "to a: AgentDeployRequest #2 c1 by force")
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r5")}, "answer RollbackResponse r5 [F earlier deployment r4 still pending] [F waiting for a]")
	b.agent(peers["a"], agentDeployed("#2", success("a", "wa")), "save deployed c1", "answer RollbackResponse r4 [T a wa] [T = c1]")
	want(t, "history", []string{"3 rollback c1 by unknown: deployed"}, b.history(1))
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r6")}, "answer RollbackResponse r6 [F no other configuration was deployed before]")
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r7"), Number: 7}, "answer RollbackResponse r7 [F no deployment 7 in the history]")
	b.client(zeekapi.RollbackRequest{ReqID: reqID("r8"), Number: 2}, "save target c2", "to a: AgentDeployRequest #3 c2 by force")

	// A deployment that is pending when the controller restarts continues.
	b = b.again()
	b.start()
	want(t, "history", []string{"4 rollback c2 by unknown: pending"}, b.history(1))
	b.meet(peers["a"], "a")
	want(t, "history", []string{"4 rollback c2 by unknown: deployed"}, b.history(1))
}

func TestHistoryLimitsDeployments(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	for i := range 150 {
		id := strconv.Itoa(i)
		for _, o := range b.machine.Step(b.now, controller.FromClient{Message: zeekapi.DeployStagedRequest{ReqID: reqID(id), DeployOptions: zeekapi.DeployOptions{Force: true}}}) {
			b.take([]controller.Output{o})
			if to, ok := o.(controller.ToAgent); ok {
				b.take(b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: answerTo(to)}))
			}
		}
	}
	entries := b.history(0)
	if len(entries) != 100 || entries[0] != "151 force c1 by unknown: deployed" {
		t.Errorf("got %d entries, want 100; the last is %s", len(entries), entries[0])
	}
	if n := len(b.state.History); n != 100 {
		t.Errorf("%d entries stored, want 100", n)
	}
}

// The history is limited to 64 MiB of configurations, but keeps at least two
// deployments. Events and log lines about large configurations are truncated.
func TestHistoryLimitsBytes(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for i, tt := range []struct{ mebibytes, kept int }{{5, 1}, {20, 2}, {20, 3}, {20, 3}, {45, 2}} {
		c := zeekapi.Configuration{ID: strconv.Itoa(i) + strings.Repeat("x", tt.mebibytes<<20)}
		id := "r" + strconv.Itoa(i)
		b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: zeekapi.SetConfigurationRequest{ReqID: reqID(id), Config: c}})
		var list []zeekapi.Deployment
		b.ask(zeekapi.HistoryRequest{ReqID: reqID("history")}, &list)
		if len(list) != tt.kept {
			t.Errorf("after deployment %d of %d MiB, %d deployments are kept, want %d", i+1, tt.mebibytes, len(list), tt.kept)
		}
	}
	var events []zeekapi.ClusterEvent
	b.ask(zeekapi.EventsRequest{ReqID: reqID("events")}, &events)
	for _, n := range events {
		if len(n.Text) > 3000 {
			t.Errorf("event %q has %d bytes", n.Kind, len(n.Text))
		}
	}
	for _, line := range b.log.take() {
		if len(line) > 5000 {
			t.Errorf("a log line has %d bytes: %.200s", len(line), line)
		}
	}
}
