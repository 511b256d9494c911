package controller

import (
	"testing"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
)

// The last peer of a name is the agent; when it is forgotten, the one before
// follows, in a new term.
func TestAgentsSucceed(t *testing.T) {
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
		t.Fatal("the first peer does not follow")
	}
	a.occupy(successor)
	if a.of("i") != first || first.term == term {
		t.Errorf("the agent's term is still %d", term)
	}
	if err := a.check(); err != nil {
		t.Error(err)
	}
	if a.forget(first) != nil {
		t.Error("a peer follows that does not exist")
	}
}
