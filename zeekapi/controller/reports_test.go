package controller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func TestEventsAreReported(t *testing.T) {
	b := newBench(t, nil)
	b.agent(peer(1), hello("a"))
	b.client(set("r1", config("c1", "a")), "save staged c1", "save ready c1", "save target c1", "to a: AgentWelcomeRequest #1")
	b.agent(peer(1), zeekapi.AgentChange{Instance: "a", Node: zeekapi.Node{Name: "wa"}, Old: zeekapi.StateRunning, New: zeekapi.StateCrashed})
	b.agent(peer(1), zeekapi.AgentLog{Instance: "a", Text: "hm", Node: "wa"})
	b.agent(peer(2), zeekapi.AgentError{Instance: "a", Text: "I am not a"})
	b.do(controller.AgentRefused{Peer: peer(3), Instance: "b", Why: "not allowed"})
	b.do(controller.PeerLost{Peer: peer(1)})
	b.expectEvents("connected a : agent connected from 10.0.0.1",
		"staged  : configuration c1 by unknown",
		"deploying  : set-configuration of configuration c1 by unknown",
		"state a wa: CRASHED",
		"log a wa: hm",
		"error b : refused an agent from 10.0.0.3: not allowed",
		"lost a : agent disconnected")

	var list []zeekapi.ClusterEvent
	b.ask(zeekapi.EventsRequest{ReqID: reqID("r2"), After: 2, Limit: 3}, &list)
	if len(list) != 3 || list[0].Number != 5 || list[2].Kind != zeekapi.EventLost {
		t.Errorf("unexpected events %v", list)
	}
	b = b.again()
	b.agent(peer(1), hello("a"))
	b.ask(zeekapi.EventsRequest{ReqID: reqID("r3")}, &list)
	if len(list) != 8 || list[7].Number != 8 {
		t.Errorf("after a restart: %d events, the last has number %d", len(list), list[len(list)-1].Number)
	}
}

// The number and the size of events from an agent are limited.
func TestEventsAreLimited(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	for range 5000 {
		b.agent(peers["a"], zeekapi.AgentLog{Instance: "a", Text: strings.Repeat("x", 5000)})
	}
	if n := len(b.events); n > 300 {
		t.Errorf("%d of 5000 messages kept, want at most 300", n)
	}
	b.events = nil
	b.agent(peers["b"], zeekapi.AgentLog{Instance: "b", Text: "me too"})
	b.expectEvents("log b : me too")
	b.now = b.now.Add(time.Second)
	b.agent(peers["a"], zeekapi.AgentLog{Instance: "a", Text: "and again"})
	b.expectEvents("log a : 4800 messages of the agent were ignored, there were too many", "log a : and again")
	for range 10 {
		b.now = b.now.Add(time.Minute)
		for range 200 {
			b.agent(peers["a"], zeekapi.AgentLog{Instance: "a", Text: "x"})
		}
	}
	if n := len(b.state.Events); n != 1000 {
		t.Errorf("%d events kept, want 1000", n)
	}
	for _, n := range b.state.Events {
		if len(n.Text) > 1003 {
			t.Fatalf("kept a text of %d bytes, want at most 1003", len(n.Text))
		}
	}
}
