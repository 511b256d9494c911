package controller

import (
	"slices"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// arrivals deals with agents that connect, introduce themselves and are lost.
type arrivals struct {
	*outbox
	agents     *agents
	members    *members
	names      *nameSets
	requests   *requests
	states     *nodeStates
	events     *eventLog
	complaints *complaints
	log        zerolog.Logger
}

// hello takes note of an agent. Of several peers with the same name, the last
// one becomes the agent of the instance: it may be the successor of a peer whose
// loss was not noticed yet. Later hellos change nothing in that, or two agents
// with the same name would take turns.
func (a *arrivals) hello(peer broker.Peer, dialect string, msg zeekapi.AgentHello) {
	known := a.agents.peer(peer.ID)
	if !a.acceptable(peer, known, msg) {
		return
	}
	log := a.log.With().Str("instance", msg.Instance).Str("peer", peer.ID.String()).Stringer("address", peer.Addr).Logger()
	if msg.EndpointID != "" && msg.EndpointID != peer.ID.String() {
		log.Debug().Str("claimed", msg.EndpointID).Msg("agent claims another endpoint ID than its peering has")
	}
	before := a.agents.of(msg.Instance)
	switch {
	case known == nil:
		known = a.agents.meet(peer, msg.Instance)
		if before != nil {
			log.Warn().Str("before", before.peer.String()).Msg("another agent takes over the instance")
			a.vacate(before, "another agent takes over the instance")
		}
		log.Info().Bool("connecting", msg.Connecting).Bool("wanted", a.members.of(msg.Instance) != nil).Msg("agent said hello")
		a.occupy(known)
	case before != known:
		a.complaints.about(peer).Str("instance", msg.Instance).Str("current", before.peer.String()).Msg("ignoring the hello of an agent whose instance another took over")
		return
	}
	if dialect != "" && !slices.Contains(known.dialects, dialect) {
		known.dialects = append(known.dialects, dialect)
	}
	a.members.greet(known)
}

// acceptable reports whether a peer, known if it said hello before, may be the
// agent that it says it is.
func (a *arrivals) acceptable(peer broker.Peer, known *agent, msg zeekapi.AgentHello) bool {
	switch n := len(msg.Instance); {
	case n > maxText:
		a.complaints.about(peer).Int("bytes", n).Msg("ignoring an agent with such a long name")
		return false
	case msg.APIVersion != zeekapi.APIVersion:
		a.complaints.about(peer).Str("instance", msg.Instance).Uint64("version", msg.APIVersion).Msg("agent has an API version that we do not speak")
		if known != nil {
			a.forget(known, "it speaks another version of the API")
		}
		return false
	case known != nil && known.Name != msg.Instance:
		// Otherwise one peer could fill the memory with names.
		a.complaints.about(peer).Str("instance", msg.Instance).Str("before", known.Name).Msg("ignoring the hello of an agent that had another name before")
		return false
	}
	return true
}

// peerLost forgets the agent that a peer is, if it is one.
func (a *arrivals) peerLost(peer broker.Peer) {
	if known := a.agents.peer(peer.ID); known != nil {
		a.log.Warn().Str("instance", known.Name).Str("peer", peer.ID.String()).Msg("lost the agent")
		a.forget(known, "agent disconnected")
	}
}

// hangUp ends the peering with the agent of an instance that listens, and forgets
// the agent.
func (a *arrivals) hangUp(i zeekapi.Instance) {
	a.members.hangUp(i)
	if known := a.agents.of(i.Name); known != nil && !known.Connects() && addressOf(known.Instance) == addressOf(i) {
		a.forget(known, "the cluster no longer needs the agent")
	}
}

// drop tells an instance that the cluster does not need it any more. The agent
// stays known, unless the controller has to hang up.
func (a *arrivals) drop(w *member) {
	a.log.Info().Str("instance", w.Name).Msg("dropping the instance")
	a.members.standBy(w.Name)
	a.members.remove(w.Name)
	if !w.Connects() {
		a.hangUp(w.Instance)
	}
	a.members.release(w.Name)
}

// forget removes an agent. If another peer has the same name, it follows.
func (a *arrivals) forget(known *agent, why string) {
	successor := a.agents.forget(known)
	if a.agents.of(known.Name) != known {
		return
	}
	a.vacate(known, why)
	if successor != nil {
		a.occupy(successor)
		a.members.greet(successor)
	}
	a.members.release(known.Name)
}

// occupy makes a peer the agent of its instance.
func (a *arrivals) occupy(known *agent) {
	a.members.change(known.Name, func() { a.agents.occupy(known) })
	a.members.contact(known.Name).since = alarmAt(a.now)
	if w := a.members.of(known.Name); w != nil {
		w.host = known.Host
	}
	if a.names.drained(known.Name) {
		a.names.keep(Owed, known.Name, true) // it may be a new agent that does not know it
	}
	a.events.add(zeekapi.EventConnected, known.Name, "", "agent connected from "+known.Host.String())
}

// vacate takes the instance from an agent, and ends the calls that it cannot
// answer any more.
func (a *arrivals) vacate(known *agent, why string) {
	a.members.change(known.Name, func() { a.agents.vacate(known.Name) })
	a.members.contact(known.Name).since = alarmAt(a.now)
	a.members.lose(known.Name)
	a.states.lost(known.Name)
	a.events.add(zeekapi.EventLost, known.Name, "", why)
	a.requests.lost(known)
}

// welcomed takes the answer to a welcome. It returns the member whose agent is
// ready now, nil if there is none.
func (a *arrivals) welcomed(peer broker.Peer, msg zeekapi.AgentWelcomeResponse) *member {
	known := a.agents.speaking(peer.ID)
	if known == nil {
		a.complaints.about(peer).Msg("ignoring the answer to a welcome by another peer than the agent")
		return nil
	}
	w := a.members.of(known.Name)
	if w == nil || w.welcome == "" || w.welcome != msg.ID {
		a.log.Debug().Str("instance", known.Name).Msg("ignoring the answer to no welcome")
		return nil
	}
	w.welcome = ""
	if !msg.Result.Success {
		a.log.Warn().Str("instance", known.Name).Str("error", msg.Result.Error).Msg("agent refuses our welcome")
		a.members.contact(known.Name).lastError = clip("refuses our welcome: " + msg.Result.Error)
		a.agents.tell(known.Name, zeekapi.AgentStandbyRequest{})
		return nil
	}
	a.members.change(known.Name, func() { w.ready = true })
	return w
}

// stoodBy takes the answer to a standby. It need not be the answer to the last
// one, because messages arrive in order.
func (a *arrivals) stoodBy(peer broker.Peer, msg zeekapi.AgentStandbyResponse) {
	known := a.agents.speaking(peer.ID)
	if known == nil || msg.Result.Instance != "" && msg.Result.Instance != known.Name {
		return
	}
	if msg.Result.Success { // otherwise it may start its nodes again
		a.names.keep(Owed, known.Name, false)
	}
	if msg.ID != "" {
		a.requests.answered(peer, msg)
	}
}
