package controller

import (
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// probeTimeout is how long the agent of an instance may take to answer when
// another peer claims its name. An agent that returns after its machine lost
// power waits as long as that, because its earlier connection looks alive.
const probeTimeout = 5 * time.Second

// Limits for the events about refused agents.
const (
	refusalEventBurst      = 50
	refusalEventsPerSecond = 0.1
)

// contests decides which of several peers with the same name is the agent of
// an instance. The agent keeps the instance as long as it answers.
type contests struct {
	*outbox
	agents   *agents
	requests *requests
	events   *eventLog
	log      zerolog.Logger

	open map[string]bool // instances whose agents have yet to answer
	news allowance

	// replace is called when an agent does not answer.
	replace func(holder *agent)
}

func newContests(out *outbox, a *agents, r *requests, events *eventLog, log zerolog.Logger) *contests {
	return &contests{
		outbox: out, agents: a, requests: r, events: events, log: log, open: make(map[string]bool),
		news: newAllowance(refusalEventBurst, refusalEventsPerSecond),
	}
}

// askPresence asks an agent for a sign of life. Every agent answers a welcome
// at once, and it changes nothing.
var askPresence = question{
	message: func(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentWelcomeRequest{ReqID: id} },
}

// probe is the task of waiting for a sign of life of an agent.
type probe struct {
	basicTask
	contests *contests
	holder   *agent
	alive    bool
}

// claim notes that a peer claims the name of the agent of an instance, and asks
// that agent for a sign of life.
func (c *contests) claim(holder, rival *agent) {
	rival.claims = true
	if c.open[holder.Name] {
		return
	}
	c.open[holder.Name] = true
	r := c.requests.start(probeTimeout, &probe{contests: c, holder: holder})
	c.requests.call(r, holder.Name, askPresence)
}

// claimAll is like claim, for all rivals of an agent that has become the agent.
func (c *contests) claimAll(holder *agent) {
	for _, rival := range c.agents.rivals[holder.Name] {
		if rival != holder {
			c.claim(holder, rival)
		}
	}
}

// renew asks an agent that has just taken over its instance for a sign of life, if
// other peers still claim the instance.
func (c *contests) renew(holder *agent) {
	if slices.ContainsFunc(c.agents.rivals[holder.Name], func(r *agent) bool { return r.claims }) {
		c.claimAll(holder)
	}
}

func (p *probe) accept(_ *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	_, ok := msg.(zeekapi.AgentWelcomeResponse)
	p.alive = p.alive || ok
	return nil, ok
}

// missed counts an agent that cannot be asked yet, because it has not said hello
// in all its dialects, as alive.
func (p *probe) missed(_ *call, why reason) ([]zeekapi.Result, bool) {
	p.alive = why == unsupported
	return nil, true
}

func (p *probe) ended(*request) {
	c := p.contests
	delete(c.open, p.holder.Name)
	switch {
	case c.agents.of(p.holder.Name) != p.holder: // another peer follows
	case !p.alive:
		c.replace(p.holder)
	default:
		for _, rival := range slices.Clone(c.agents.rivals[p.holder.Name]) {
			if rival.claims {
				c.refuse(p.holder, rival)
			}
		}
	}
}

// refuse tells a peer that it is not the agent of the instance that it claims.
func (c *contests) refuse(holder, rival *agent) {
	rival.claims = false
	if !rival.refused {
		rival.refused = true
		c.agents.refused++
		c.log.Warn().Str("instance", rival.Name).Str("peer", rival.peer.String()).Str("address", rival.address()).
			Str("current", holder.address()).Msg("refusing another agent with the name of one that is connected and answers")
		if c.news.take(c.now) {
			c.events.add(zeekapi.EventError, rival.Name, "", fmt.Sprintf(
				"refused another agent with this name from %s: the one from %s is connected and answers", rival.address(), holder.address()))
		}
	}
	if rival.isOurs() {
		c.emit(ToAgent{
			Instance: rival.Name, Peer: rival.peer, Dialects: rival.dialects,
			Message: zeekapi.AgentRefusal{
				Instance: rival.Name,
				Reason:   fmt.Sprintf("another agent called %s is connected from %s and answers", rival.Name, holder.address()),
			},
		})
	}
}
