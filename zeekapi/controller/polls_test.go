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

// Requests that arrive while an agent has not answered share one further question. None of
// them gets the answer to a question from before it.
func TestRequestsShareQuestions(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1")
	for i := range 100 {
		b.client(getNodes(fmt.Sprint("late", i)))
	}
	b.client(zeekapi.StatusRequest{ReqID: reqID("s")}, "to a: AgentStatusRequest #2") // another question
	answered := func(id, node string) (n int, outputs []string) {
		outputs = b.take(b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: nodesOf(id, node)}))
		for _, o := range outputs {
			if strings.HasPrefix(o, "answer GetNodesResponse ") && strings.Contains(o, `"`+node+`"`) {
				n++
			}
		}
		return n, outputs
	}
	if n, outputs := answered("#1", "old"); n != 1 || len(outputs) != 2 || outputs[1] != "to a: AgentGetNodesRequest #3" {
		t.Errorf("outputs %q, want one response and the next question", outputs)
	}
	b.client(getNodes("r2"))
	if n, outputs := answered("#3", "new"); n != 100 || len(outputs) != 101 || outputs[100] != "to a: AgentGetNodesRequest #4" {
		t.Errorf("outputs %q, want 100 responses and the next question", outputs)
	}
	b.agent(peers["a"], noNodes("#4"), "answer GetNodesResponse r2 [T a = []]")
}

// A request waits half a second for the answer to the question before it. What an agent
// does not answer in that time delays no other request for longer.
func TestSilentAgentDelaysOthersLittle(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	began := b.now
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1")
	b.client(getNodes("r2"))
	b.tick("to a: AgentGetNodesRequest #2")
	if waited := b.now.Sub(began); waited != 500*time.Millisecond {
		t.Errorf("the second request waited for %v, want half a second", waited)
	}
	b.agent(peers["a"], noNodes("#2"), "answer GetNodesResponse r2 [T a = []]")
	b.client(getNodes("r3"), "to a: AgentGetNodesRequest #3")
	b.agent(peers["a"], noNodes("#1"), "answer GetNodesResponse r1 [T a = []]") // late, but asked after r1
	b.client(getNodes("r4"))
	b.tick("to a: AgentGetNodesRequest #4")
	b.tick("answer GetNodesResponse r3 [F a request timed out]", "answer GetNodesResponse r4 [F a request timed out]")
	b.idle()
}

// Requests share a question only if it is the same.
func TestDifferentQuestionsAreNotShared(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(getID("r1", "x"), "to a: AgentDispatchRequest #1 get_id_value x of")
	b.client(getID("r2", "y"), "to a: AgentDispatchRequest #2 get_id_value y of")
	b.client(getID("r3", "x", "wa"), "to a: AgentDispatchRequest #3 get_id_value x of wa")
	b.client(getID("r4", "x"))
	value := func(id, text string) zeekapi.Message {
		return zeekapi.AgentDispatchResponse{ReqID: reqID(id), Results: []zeekapi.Result{{Success: true, Node: "wa", Data: broker.String(text)}}}
	}
	b.agent(peers["a"], value("#2", "y"), "answer GetIDValueResponse r2 [T a wa = y]")
	b.agent(peers["a"], value("#1", "1"), "answer GetIDValueResponse r1 [T a wa = 1]", "to a: AgentDispatchRequest #4 get_id_value x of")
	b.agent(peers["a"], value("#4", "2"), "answer GetIDValueResponse r4 [T a wa = 2]")
	b.agent(peers["a"], value("#3", "3"), "answer GetIDValueResponse r3 [T a wa = 3]")

	// Changes are never shared.
	b.client(restart("r5", "wa"), "to a: AgentRestartRequest #5 of wa")
	b.client(restart("r6", "wa"), "to a: AgentRestartRequest #6 of wa")
}

// Requests that share a question fare alike if the agent cannot answer.
func TestSharedQuestionWithoutAnswer(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	scripts := func(id string) zeekapi.Message { return zeekapi.LogsRequest{ReqID: reqID(id), Node: "wa"} }
	b.client(scripts("r1"), "to a: AgentLogsRequest #1")
	b.client(scripts("r2"))
	b.client(scripts("r3"))
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "a", Message: zeekapi.AgentLogsRequest{ReqID: reqID("#1")}}},
		"answer LogsResponse r1 [F wa not supported by the agent]", "to a: AgentLogsRequest #2")
	b.client(scripts("r4"))
	b.do(controller.PeerLost{Peer: peers["a"]},
		"answer LogsResponse r2 [F wa agent not connected]", "answer LogsResponse r3 [F wa agent not connected]", "answer LogsResponse r4 [F wa agent not connected]")
	b.idle()
}

// A restart reaches an agent among thousands of requests for the status.
func TestFloodCostsAgentsFewQuestions(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	asked, answered := 0, 0
	count := func(outputs []controller.Output) (id string) {
		for _, o := range outputs {
			switch o := o.(type) {
			case controller.ToAgent:
				asked++
				id = o.Message.RequestID()
			case controller.ToClients:
				answered++
			}
		}
		return id
	}
	last := ""
	for i := range 4000 {
		if id := count(b.machine.Step(b.now, controller.FromClient{Peer: peer(100 + i/200), Message: zeekapi.StatusRequest{ReqID: reqID(fmt.Sprint("s", i))}})); id != "" {
			last = id
		}
	}
	for last != "" {
		last = count(b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: zeekapi.AgentStatusResponse{
			ReqID: reqID(last), Result: zeekapi.Result{Success: true, Data: mustMarshal([]zeekapi.NodeDetail(nil))},
		}}))
	}
	if asked != 2 || answered < 3000 {
		t.Errorf("%d questions for %d responses, want 2", asked, answered)
	}
	if err := b.machine.Check(); err != nil {
		t.Error(err)
	}
}
