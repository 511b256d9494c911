package controller

import (
	"fmt"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// reports takes what agents report without a request, within a limit for each.
type reports struct {
	*outbox
	agents     *agents
	members    *members
	events     *eventLog
	complaints *complaints
	log        zerolog.Logger
}

func (r *reports) take(peer broker.Peer, msg zeekapi.Message) {
	a := r.agents.speaking(peer.ID)
	if a == nil {
		r.complaints.about(peer).Msgf("ignoring what a peer tells that is no instance's agent, %T", msg)
		return
	}
	c := r.members.contact(a.Name)
	if !c.reports.take(r.now) {
		if c.reports.refused == 1 {
			r.log.Warn().Str("instance", a.Name).Msg("the agent tells too much, ignoring some of it")
		}
		return
	}
	if !r.members.newsworthy(a.Name) {
		return
	}
	if n := c.reports.refused; n > 0 {
		c.reports.refused = 0
		r.events.add(zeekapi.EventLog, a.Name, "", fmt.Sprintf("%d messages of the agent were ignored, there were too many", n))
	}
	log := r.log.With().Str("instance", a.Name).Logger()
	switch msg := msg.(type) {
	case zeekapi.AgentError:
		text := clip(msg.Text)
		c.lastError = text
		log.Error().Str("node", clip(msg.Node)).Msg(text)
		r.events.add(zeekapi.EventError, a.Name, clip(msg.Node), text)
	case zeekapi.AgentLog:
		text := clip(msg.Text)
		log.Info().Str("node", clip(msg.Node)).Msg(text)
		r.events.add(zeekapi.EventLog, a.Name, clip(msg.Node), text)
	case zeekapi.AgentChange:
		log.Info().Str("node", clip(msg.Node.Name)).Str("from", string(msg.Old)).Str("to", string(msg.New)).Msg("node changed state")
		r.events.add(zeekapi.EventState, a.Name, clip(msg.Node.Name), string(msg.New))
	}
}
