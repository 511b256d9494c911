package controller_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

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
		t.Errorf("the status is complete after %v", waited)
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

	// The time since which an agent is disconnected survives a restart.
	b = b.again()
	b.now = b.now.Add(time.Hour)
	b.start()
	b.ask(zeekapi.StatusRequest{ReqID: reqID("r2")}, &s)
	want(t, "missing since", []time.Time{b.now, b.now, later}, []time.Time{s.Instances[0].Since, s.Instances[1].Since, s.Instances[2].Since})
}
