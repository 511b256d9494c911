package controller

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// requestsBench holds the request tables of a machine without the machine.
type requestsBench struct {
	*requests
	t      *testing.T
	client broker.Peer
}

func newRequestsBench(t *testing.T) *requestsBench {
	out := &outbox{now: time.Unix(0, 0)}
	log := zerolog.Nop()
	return &requestsBench{
		requests: newRequests(out, newAgents(out), newClients(), newComplaints(log), uuid.NewString, time.Second, log),
		t:        t, client: broker.Peer{ID: uuid.New()},
	}
}

func (b *requestsBench) agent(instance string) (broker.Peer, *agent) {
	p := broker.Peer{ID: uuid.New()}
	a := b.agents.meet(p, instance)
	b.agents.occupy(a)
	return p, a
}

func (b *requestsBench) begin(id string, t task) *request {
	r := b.requests.begin(b.client, zeekapi.GetNodesRequest{ReqID: zeekapi.ReqID{ID: id}})
	r.task = t
	return r
}

// responses returns the errors of all results since the last call. A success has
// an empty error.
func (b *requestsBench) responses() (errs []string) {
	b.t.Helper()
	for _, o := range b.take() {
		if to, ok := o.(ToClients); ok {
			_, results := zeekapi.ResponseOf(to.Message)
			for _, res := range results {
				errs = append(errs, res.Error)
			}
		}
	}
	if err := b.check(); err != nil {
		b.t.Error(err)
	}
	return errs
}

func (b *requestsBench) expect(want ...string) {
	b.t.Helper()
	got := b.responses()
	if len(got) != len(want) {
		b.t.Fatalf("responses %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			b.t.Errorf("responses %q, want %q", got, want)
		}
	}
}

// A request ends with the last response of an agent, at its deadline, or when its
// agents are lost. The client gets one response.
func TestRequestEndsOnce(t *testing.T) {
	b := newRequestsBench(t)
	one, _ := b.agent("one")
	_, second := b.agent("two")
	answer := func(c *call) zeekapi.Message {
		return zeekapi.AgentGetNodesResponse{ReqID: zeekapi.ReqID{ID: c.poll.id}, Result: zeekapi.Result{Success: true}}
	}

	r := b.begin("answered", takeAnyNodes)
	c := b.call(r, "one", askNodes)
	b.call(r, "two", askNodes)
	b.answered(broker.Peer{ID: uuid.New()}, answer(c)) // another peer
	b.answered(one, zeekapi.AgentRestartResponse{ReqID: zeekapi.ReqID{ID: c.poll.id}})
	b.answered(one, answer(c))
	b.expect()
	b.lost(second)
	b.agents.vacate("two")
	b.agents.forget(second)
	b.expect("", "agent not connected")
	b.answered(one, answer(c))
	b.expect()

	r = b.begin("overdue", takeAnyNodes)
	b.call(r, "one", askNodes)
	b.now = b.now.Add(time.Second)
	b.expire()
	b.expect(zeekapi.ErrorTimeout)
	if b.deadline().set || b.awaited != 0 {
		t.Error("an expired request is still pending")
	}

	c = b.call(b.begin("unsupported", takeStatus{}), "one", askStatus)
	b.unsupported(ToAgent{Message: zeekapi.AgentStatusRequest{ReqID: zeekapi.ReqID{ID: c.poll.id}}})
	out := b.take()
	if to, ok := out[len(out)-1].(ToAgent); !ok || to.Message != zeekapi.Message(zeekapi.AgentGetNodesRequest{ReqID: zeekapi.ReqID{ID: c.poll.id}}) {
		t.Errorf("got %v, want a request for nodes instead of the status", out)
	}
	b.unsupported(ToAgent{Message: zeekapi.AgentGetNodesRequest{ReqID: zeekapi.ReqID{ID: c.poll.id}}})
	b.expect("not supported by the agent")
}

// waitingTask waits for the next agent when an agent is lost.
type waitingTask struct {
	basicTask
	done bool
}

func (t *waitingTask) missed(*call, reason) ([]zeekapi.Result, bool) { return nil, false }
func (t *waitingTask) complete(*request) bool                        { return t.done }

// A task can keep a call when its agent is lost, and decides when the request ends.
func TestTaskKeepsCallOfLostAgent(t *testing.T) {
	b := newRequestsBench(t)
	_, a := b.agent("one")
	task := new(waitingTask)
	r := b.begin("r", task)
	c := b.call(r, "one", askNodes)
	b.lost(a)
	b.agents.vacate("one")
	b.agents.forget(a)
	b.expect()
	if c.agent != nil || r.open["one"] != c {
		t.Error("the call ended when its agent was lost")
	}
	b.drop(c)
	b.settle(r)
	b.expect()
	task.done = true
	r.results = []zeekapi.Result{{Success: true}}
	b.settle(r)
	b.expect("")
}
