package controller

import (
	"fmt"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

const (
	// maxEvents is how many events are kept.
	maxEvents = 1000

	// maxText is how long, in bytes, a text may be that others write and we
	// keep.
	maxText = 1000

	// How many events we take from an agent.
	eventBurst     = 200
	eventPerSecond = 5
)

// clip shortens a text that others wrote.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..."
}

// who names a client, for people.
func who(p broker.Peer) string {
	switch {
	case p.Name != "" && p.Addr.IsValid():
		return clip(p.Name) + " at " + p.Addr.Addr().Unmap().String()
	case p.Name != "":
		return clip(p.Name)
	case p.Addr.IsValid():
		return p.Addr.Addr().Unmap().String()
	}
	return "unknown"
}

// allowance is how much we take from somebody: a burst at first, and so much
// per second in the long run.
type allowance struct {
	burst, perSecond float64
	spent            float64
	at               time.Time
	refused          uint64 // since something was taken
}

func newAllowance(burst, perSecond float64) allowance {
	return allowance{burst: burst, perSecond: perSecond}
}

func (a *allowance) take(now time.Time) bool {
	a.spent = max(0, a.spent-now.Sub(a.at).Seconds()*a.perSecond)
	a.at = now
	if a.spent+1 > a.burst {
		a.refused++
		return false
	}
	a.spent++
	return true
}

// reported takes what an agent tells without being asked.
func (m *Machine) reported(peer broker.Peer, msg zeekapi.Message) {
	a := m.peers[peer.ID]
	if a == nil || m.agents[a.Name] != a {
		m.complain(peer).Msgf("ignoring what a peer tells that is no instance's agent, %T", msg)
		return
	}
	c := m.contact(a.Name)
	if !c.events.take(m.now) {
		if c.events.refused == 1 {
			m.log.Warn().Str("instance", a.Name).Msg("the agent tells too much, ignoring some of it")
		}
		return
	}
	if n := c.events.refused; n > 0 {
		c.events.refused = 0
		m.event(zeekapi.EventLog, a.Name, "", fmt.Sprintf("%d messages of the agent were ignored, there were too many", n))
	}
	log := m.log.With().Str("instance", a.Name).Logger()
	switch msg := msg.(type) {
	case zeekapi.AgentError:
		text := clip(msg.Text)
		c.lastError = text
		log.Error().Str("node", clip(msg.Node)).Msg(text)
		m.event(zeekapi.EventError, a.Name, clip(msg.Node), text)
	case zeekapi.AgentLog:
		text := clip(msg.Text)
		log.Info().Str("node", clip(msg.Node)).Msg(text)
		m.event(zeekapi.EventLog, a.Name, clip(msg.Node), text)
	case zeekapi.AgentChange:
		log.Info().Str("node", clip(msg.Node.Name)).Str("from", string(msg.Old)).Str("to", string(msg.New)).Msg("node changed state")
		m.event(zeekapi.EventState, a.Name, clip(msg.Node.Name), string(msg.New))
	}
}

// event keeps and publishes a event.
func (m *Machine) event(kind, instance, node, text string) {
	number := uint64(1)
	if n := len(m.events); n > 0 {
		number = m.events[n-1].Number + 1
	}
	n := zeekapi.ClusterEvent{Number: number, Time: m.now, Kind: kind, Instance: instance, Node: node, Text: text}
	m.events = append(m.events, n)
	if excess := len(m.events) - maxEvents; excess > 0 {
		m.events = m.events[excess:]
	}
	m.emit(Announce{Event: n, Oldest: m.events[0].Number})
}

func (m *Machine) eventsRequest(req zeekapi.EventsRequest) {
	list := m.events
	for len(list) > 0 && list[0].Number <= req.After {
		list = list[1:]
	}
	if n := uint64(len(list)); req.Limit > 0 && n > req.Limit {
		list = list[n-req.Limit:]
	}
	m.answer(zeekapi.EventsResponse{ReqID: req.ReqID, Result: successWith(req.ID, list)})
}

// successWith returns a successful result with data for a client.
func successWith(reqID string, data any) zeekapi.Result {
	return zeekapi.Result{ReqID: reqID, Success: true, Data: mustMarshal(data)}
}
