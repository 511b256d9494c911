package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func nodesOf(id, text string) zeekapi.Message {
	s := zeekapi.NodeStatus{Node: text, State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
	return zeekapi.AgentGetNodesResponse{ReqID: reqID(id), Result: zeekapi.Result{Success: true, Data: mustMarshal([]zeekapi.NodeStatus{s})}}
}

func noNodes(id string) zeekapi.Message {
	return zeekapi.AgentGetNodesResponse{ReqID: reqID(id), Result: zeekapi.Result{Success: true, Data: broker.Vector()}}
}

// TestStrangersDoNotDisturb checks that agents of instances that are not in the cluster
// neither fail nor delay the list of nodes, whatever they do.
func TestStrangersDoNotDisturb(t *testing.T) {
	for name, do := range map[string]func(b *bench){
		"silent": func(*bench) {},
		"lost":   func(b *bench) { b.do(controller.PeerLost{Peer: peer(9)}) },
		"strange data": func(b *bench) {
			b.agent(peer(9), zeekapi.AgentGetNodesResponse{ReqID: reqID("#2"), Result: zeekapi.Result{Success: true, Data: broker.String("x")}})
		},
		"failure": func(b *bench) {
			b.agent(peer(9), zeekapi.AgentGetNodesResponse{ReqID: reqID("#2"), Result: zeekapi.Failure("#2", "x")})
		},
		"much data": func(b *bench) { b.agent(peer(9), nodesOf("#2", strings.Repeat("x", 8<<20))) },
	} {
		t.Run(name, func(t *testing.T) {
			b, peers := deployedBench(t, config("c1", "a"))
			b.agent(peer(9), hello("stranger"))
			began := b.now
			b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1", "to stranger: AgentGetNodesRequest #2")
			do(b)
			outputs := b.take(b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: noNodes("#1")}))
			if len(outputs) == 0 {
				b.now, _ = b.machine.Deadline()
				outputs = b.take(b.machine.Step(b.now, controller.Tick{}))
			}
			want(t, "outputs", []string{"answer GetNodesResponse r1 [T a = []]"}, outputs)
			if took := b.now.Sub(began); took > 2*time.Second {
				t.Errorf("the list takes %v", took)
			}
			b.idle()
		})
	}
}

// TestSilentInstances checks that each instance of the cluster that does not answer is
// one failure, and that without a cluster all agents count.
func TestSilentInstances(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.agent(peer(9), hello("stranger"))
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1", "to b: AgentGetNodesRequest #2", "to stranger: AgentGetNodesRequest #3")
	b.agent(peer(9), noNodes("#3"))
	b.agent(peers["b"], noNodes("#2"))
	b.tick()
	b.tick("answer GetNodesResponse r1 [T stranger = []] [T b = []] [F a request timed out]")

	b = newBench(t, nil)
	b.start()
	b.agent(peer(9), hello("stranger"))
	b.client(getNodes("r1"), "to stranger: AgentGetNodesRequest #1")
	b.tick("answer GetNodesResponse r1 [F stranger request timed out]")
}

// TestManyStrangers checks that requests are passed to few strangers only, and that
// strangers do not replace the events of the cluster.
func TestManyStrangers(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	b.events = nil
	for i := range 3000 {
		b.agent(peer(100+i), hello(fmt.Sprint("stranger-", i)))
		b.agent(peer(100+i), zeekapi.AgentError{Instance: fmt.Sprint("stranger-", i), Text: "oops"})
	}
	if n := len(b.events); n > 200 {
		t.Errorf("%d events", n)
	}
	asked := len(b.take(b.machine.Step(b.now, controller.FromClient{Message: getNodes("r1")})))
	if asked != 101 {
		t.Errorf("%d agents are asked, want 101", asked)
	}
}

// TestStatusWithStrangers checks that silent strangers delay the status by less than
// instances of the cluster, and that their data is limited.
func TestStatusWithStrangers(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.agent(peer(8), hello("loud"))
	b.agent(peer(9), hello("silent"))
	began := b.now
	b.client(zeekapi.StatusRequest{ReqID: reqID("r1")}, "to a: AgentStatusRequest #1", "to loud: AgentStatusRequest #2", "to silent: AgentStatusRequest #3")
	b.agent(peers["a"], zeekapi.AgentStatusResponse{ReqID: reqID("#1"), Result: zeekapi.Result{Success: true, Data: broker.Vector()}})
	b.agent(peer(8), nodesOf("#2", strings.Repeat("x", 8<<20)))
	b.now, _ = b.machine.Deadline()
	if took := b.now.Sub(began); took > 2*time.Second {
		t.Errorf("the status takes %v", took)
	}
	var s zeekapi.Status
	b.answered(b.machine.Step(b.now, controller.Tick{}), "r1", &s)
	errors := make(map[string]string)
	for _, i := range s.Instances {
		errors[i.Instance.Name] = i.LastError
	}
	want(t, "errors", map[string]string{"a": "", "loud": "sends too much data", "silent": "no answer when asked for the status"}, errors)
}
