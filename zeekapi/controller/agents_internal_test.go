package controller

import (
	"testing"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
)

// The last peer that registered with a name is the agent. When it is removed, the
// peer that registered before it becomes the agent, in a new term.
func TestEarlierPeerBecomesAgent(t *testing.T) {
	a := newAgents(new(outbox))
	occupy := func() (broker.Peer, *agent) {
		p := broker.Peer{ID: uuid.New()}
		met := a.meet(p, "i")
		a.vacate("i")
		a.occupy(met)
		return p, met
	}
	one, first := occupy()
	two, second := occupy()
	if a.speaking(one.ID) != nil || a.speaking(two.ID) != second || a.peer(one.ID) != first {
		t.Error("the second peer is not the agent")
	}
	term := first.term
	successor := a.forget(second)
	a.vacate("i")
	if successor != first {
		t.Fatal("the first peer is not the agent after the second was removed")
	}
	a.occupy(successor)
	if a.of("i") != first || first.term == term {
		t.Errorf("the term of the agent is %d, want a new one", term)
	}
	if err := a.check(); err != nil {
		t.Error(err)
	}
	if a.forget(first) != nil {
		t.Error("the last peer has a successor")
	}
}
