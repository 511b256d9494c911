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
	leading    *leading
	members    *members
	names      *nameSets
	requests   *requests
	contests   *contests
	states     *nodeStates
	events     *eventLog
	complaints *complaints
	log        zerolog.Logger
}

// hello takes note of an agent. If an instance has an agent already, that keeps
// the instance as long as it answers, unless the new peer has a better claim.
func (a *arrivals) hello(peer broker.Peer, dialect string, msg zeekapi.AgentHello) {
	known := a.agents.peer(peer.ID)
	if !a.acceptable(peer, known, msg) {
		return
	}
	log := a.log.With().Str("instance", msg.Instance).Str("peer", peer.ID.String()).Stringer("address", peer.Addr).Logger()
	if msg.EndpointID != "" && msg.EndpointID != peer.ID.String() {
		log.Debug().Str("claimed", msg.EndpointID).Msg("agent claims another endpoint ID than its peering has")
	}
	first := known == nil
	if !first {
		a.agents.claim(known)
	} else {
		known = a.agents.meet(peer, msg.Instance)
		log.Info().Bool("connecting", msg.Connecting).Bool("wanted", a.members.of(msg.Instance) != nil).Msg("agent said hello")
	}
	if dialect != "" && !slices.Contains(known.dialects, dialect) {
		known.dialects = append(known.dialects, dialect)
	}
	a.leading.introduce(known)
	switch holder := a.agents.of(msg.Instance); {
	case holder == nil:
		a.occupy(known)
	case holder == known:
	case a.outranks(known, holder, first):
		log.Warn().Str("before", holder.peer.String()).Str("before-address", holder.address()).Msg("another agent takes over the instance")
		a.vacate(holder, "another agent takes over the instance, from "+known.address())
		a.occupy(known)
		a.contests.renew(known)
	default:
		a.contests.claim(holder, known)
		return
	}
	a.members.greet(known)
}

// outranks reports whether a peer replaces the agent of its instance without
// asking it. A certificate for the name is the best claim. Of two peers with
// certificates the newest counts: it may be the successor of a peer whose loss was
// not noticed yet. But later hellos of the same peers change nothing, or they would
// take turns. Next best is to be where the configuration has the agent.
func (a *arrivals) outranks(rival, holder *agent, first bool) bool {
	if rival.certified() != holder.certified() {
		return rival.certified()
	}
	return rival.certified() && first || a.members.place(rival) > a.members.place(holder)
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
		a.succeed(successor)
		a.contests.claimAll(successor) // it may be lost as well
	}
	a.members.release(known.Name)
}

// replace gives the instance of an agent that does not answer to a peer that claims
// it.
func (a *arrivals) replace(holder *agent) {
	holder.silent = true
	successor := a.agents.successor(holder)
	if successor == nil {
		return
	}
	a.log.Warn().Str("instance", holder.Name).Str("peer", holder.peer.String()).Str("address", holder.address()).
		Str("successor", successor.address()).Msg("the agent does not answer, and another one has its name")
	a.vacate(holder, "the agent does not answer, and another one with its name has connected from "+successor.address())
	a.succeed(successor)
	a.contests.renew(successor)
}

// succeed makes a peer the agent of its instance, which has none.
func (a *arrivals) succeed(successor *agent) {
	a.occupy(successor)
	a.members.greet(successor)
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
	if a.members.newsworthy(known.Name) {
		a.events.add(zeekapi.EventConnected, known.Name, "", "agent connected from "+peerHost(known.from))
	}
}

// vacate takes the instance from an agent, and ends the calls that it cannot
// answer any more.
func (a *arrivals) vacate(known *agent, why string) {
	a.members.change(known.Name, func() { a.agents.vacate(known.Name) })
	a.members.contact(known.Name).since = alarmAt(a.now)
	a.members.lose(known.Name)
	a.states.lost(known.Name)
	if a.members.newsworthy(known.Name) {
		a.events.add(zeekapi.EventLost, known.Name, "", why)
	}
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
		if known.claim == "" { // otherwise it may obey another controller, which decides what it runs
			a.agents.tell(known.Name, zeekapi.AgentStandbyRequest{})
		}
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
