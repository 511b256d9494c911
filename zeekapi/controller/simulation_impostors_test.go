package controller_test

import (
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// impostors are the peers of the simulation that say hello with the name of an agent.
type impostors struct {
	byPeer   map[uuid.UUID]*impostor            // connected to the controller
	fooled   map[string]bool                    // instances whose impostor got a message of the controller
	holders  map[string]uuid.UUID               // agents of instances after the step before
	asked    map[uuid.UUID]map[string]time.Time // unanswered welcome requests, by peer and ID
	replaced int                                // agents that did not answer
}

// impostor is a peer with the name of an agent. A silent one is like the connection
// of a machine that lost power. Unlike the others, it stays when there are no more
// faults.
type impostor struct {
	of     *simAgent
	peer   broker.Peer
	silent bool
}

// reset forgets the connections to a controller that has ended.
func (i *impostors) reset() {
	i.byPeer = make(map[uuid.UUID]*impostor)
	i.holders = make(map[string]uuid.UUID)
	i.asked = make(map[uuid.UUID]map[string]time.Time)
	if i.fooled == nil {
		i.fooled = make(map[string]bool)
	}
}

// intrude connects an impostor.
func (s *simulation) intrude() {
	i := &impostor{of: s.anyAgent(), silent: s.chance(0.5), peer: broker.Peer{
		ID: uuid.Must(uuid.NewRandomFromReader(source{s.random})), Addr: netip.MustParseAddrPort("172.16.0.1:40000"),
	}}
	life := s.life
	s.after(s.delay(), func() {
		if s.life != life || s.calm {
			return
		}
		s.peers[i.peer.ID], s.impostors.byPeer[i.peer.ID] = true, i
		s.step(controller.PeerAdded{Peer: i.peer}, "")
		s.fromAgent(i.of, i.peer, zeekapi.AgentHello{Instance: i.of.name, APIVersion: 1})
	})
}

// expose ends the impostors that are not silent.
func (s *simulation) expose() {
	for _, i := range s.impostors.byPeer {
		if !i.silent {
			s.lose(i.peer)
		}
	}
}

// toImpostor delivers a message to an impostor. It answers that all is well.
func (s *simulation) toImpostor(i *impostor, o controller.ToAgent) {
	s.impostors.fooled[i.of.name] = true
	answer := answerTo(o)
	if i.silent || answer == nil {
		return
	}
	if msg, ok := o.Message.(zeekapi.AgentDeployRequest); ok {
		s.ran[i.of.name][msg.Config.ID] = true
	}
	s.fromAgent(i.of, i.peer, answer)
}

// question notes that an agent was asked for a sign of life, and answer that it gave
// one.
func (i *impostors) question(peer uuid.UUID, id string, now time.Time) {
	if i.asked[peer] == nil {
		i.asked[peer] = make(map[string]time.Time)
	}
	if _, again := i.asked[peer][id]; !again {
		i.asked[peer][id] = now
	}
}

func (i *impostors) answer(peer uuid.UUID, id string) { delete(i.asked[peer], id) }

// checkHolder checks that an agent that is still connected lost its instance only
// if it was asked for a sign of life and gave none in time.
func (s *simulation) checkHolder(name string) {
	before, now := s.impostors.holders[name], s.machine.AgentOf(name)
	s.impostors.holders[name] = now
	if before == now || before == uuid.Nil || now == uuid.Nil || !s.peers[before] {
		return
	}
	for _, at := range s.impostors.asked[before] {
		if s.now.Sub(at) == controller.ProbeTimeout {
			s.impostors.replaced++
			return
		}
	}
	s.failf("%s took over %s from %s, which had no time to answer", now, name, before)
}
