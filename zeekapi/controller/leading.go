package controller

import (
	"slices"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// leading sends our agents the term in which the controller leads, before all other
// messages. Agents refuse the requests of controllers whose term is over.
type leading struct {
	*outbox
	post     *Post
	newID    func() string
	agents   *agents
	contacts func(instance string) *contact
	events   *eventLog
	log      zerolog.Logger
}

// introduce sends an agent the term, once. Only our agents know terms, and their first
// hello is in our dialect.
func (l *leading) introduce(a *agent) {
	if l.post.Term == 0 || a.claim != "" || !slices.Contains(a.dialects, zeekapi.Operations) {
		return
	}
	a.claim = l.newID()
	l.emit(l.post.announcement(a.claim, a.Name, a.peer))
}

// answered handles the response of an agent. Agents send their responses to all
// controllers, so the request may be that of another one.
func (l *leading) answered(peer broker.Peer, msg zeekapi.AgentLeaderResponse) {
	a := l.agents.peer(peer.ID)
	if a == nil || a.claim == "" || a.claim != msg.ID || msg.Result.Success {
		return
	}
	why := clip(msg.Result.Error)
	l.log.Error().Str("instance", a.Name).Stringer("peer", a.peer).Uint64("term", l.post.Term).Str("error", why).
		Msg("the agent does not obey this controller")
	if l.agents.speaking(peer.ID) == a {
		l.contacts(a.Name).lastError = clip("does not obey this controller: " + why)
		l.events.add(zeekapi.EventError, a.Name, "", "does not obey this controller: "+why)
	}
}
