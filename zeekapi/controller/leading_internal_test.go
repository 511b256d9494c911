package controller

import (
	"testing"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// A machine that takes over hears the hello in our own dialect first, as from the agent:
// the agent would refuse a welcome before it knows the term.
func TestIntroductionsBeginWithOurDialect(t *testing.T) {
	i := introductions{byPeer: make(map[uuid.UUID]*introduction)}
	from := broker.Peer{ID: uuid.New()}
	for _, dialect := range []string{zeekapi.Management, zeekapi.ClusterAgent, zeekapi.Operations} {
		i.noteAny(FromAgent{Peer: from, Dialect: dialect, Message: zeekapi.AgentHello{Instance: "a"}})
	}
	i.noteAny(FromAgent{Peer: from, Dialect: zeekapi.Operations, Message: zeekapi.AgentDescription{Instance: "a"}})
	all := i.inputs(&Machine{agents: newAgents(new(outbox))})
	if len(all) != 4 || all[0].(FromAgent).Dialect != zeekapi.Operations {
		t.Errorf("inputs %+v", all)
	}
}

// A controller that stands by tells our agents who leads, once for each term and peering.
// Zeek's agents hear nothing of it.
func TestStandbyTellsWhoLeads(t *testing.T) {
	l := &lives{agents: introductions{byPeer: make(map[uuid.UUID]*introduction)}, Machine: &Machine{agents: newAgents(new(outbox))}}
	l.post = Post{Term: 7, Members: []zeekapi.ControllerMember{{Name: "c2", Agents: "b:2150", Leads: true}}}
	hello := FromAgent{Peer: broker.Peer{ID: uuid.New()}, Dialect: zeekapi.Operations, Message: zeekapi.AgentHello{Instance: "a"}}
	hear := func(in FromAgent) []Output {
		l.agents.noteAny(in)
		return l.greet(in)
	}
	out := hear(hello)
	if len(out) != 1 {
		t.Fatalf("outputs %+v", out)
	}
	to := out[0].(ToAgent)
	said, ok := to.Message.(zeekapi.AgentLeaderRequest)
	if !ok || said.Leads || said.Term != 7 || said.Leader != "b:2150" || to.Peer != hello.Peer.ID {
		t.Errorf("output %+v", to)
	}
	zeeks := hello
	zeeks.Dialect = zeekapi.Management
	if out := append(hear(hello), hear(zeeks)...); len(out) > 0 {
		t.Errorf("outputs %+v", out)
	}
	l.post.Term = 8
	if out := hear(hello); len(out) != 1 {
		t.Errorf("%d outputs in the next term", len(out))
	}
	l.agents.note(l.Machine, PeerLost{hello.Peer})
	if out := hear(hello); len(out) != 1 {
		t.Errorf("%d outputs for the next peering", len(out))
	}
	l.post = Post{}
	l.agents.note(l.Machine, PeerLost{hello.Peer})
	if out := hear(hello); len(out) != 0 {
		t.Errorf("%d outputs before there is a leader", len(out))
	}
}
