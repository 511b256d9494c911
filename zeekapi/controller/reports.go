package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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
	case zeekapi.AgentProblems:
		r.problems(a.Name, c, msg.Problems)
	case zeekapi.AgentChange:
		log.Info().Str("node", clip(msg.Node.Name)).Str("from", string(msg.Old)).Str("to", string(msg.New)).Msg("node changed state")
		r.events.add(zeekapi.EventState, a.Name, clip(msg.Node.Name), string(msg.New))
	}
}

// problems takes the present problems of an instance. They stay those of the instance when
// its agent is lost.
func (r *reports) problems(instance string, c *contact, reported []zeekapi.Problem) {
	present := validProblems(reported)
	for _, p := range present {
		if !slices.ContainsFunc(c.problems, func(o zeekapi.Problem) bool { return o.Key() == p.Key() }) {
			r.log.Warn().Str("instance", instance).Str("node", p.Node).Msg(p.Text)
			r.problemEvent(c, zeekapi.EventProblem, instance, p)
		}
	}
	for _, p := range c.problems {
		if !slices.ContainsFunc(present, func(o zeekapi.Problem) bool { return o.Key() == p.Key() }) {
			r.problemEvent(c, zeekapi.EventSolved, instance, p)
		}
	}
	c.problems = present
}

// problemEvent adds an event about a problem, within the limit for reports.
func (r *reports) problemEvent(c *contact, kind, instance string, p zeekapi.Problem) {
	if c.reports.take(r.now) {
		r.events.addAbout(strings.TrimSpace(p.Kind+" "+p.Subject), kind, instance, p.Node, p.Text)
	}
}

// validProblems returns problems within the limits, sorted by key and without duplicates.
func validProblems(reported []zeekapi.Problem) []zeekapi.Problem {
	var valid []zeekapi.Problem
	for _, p := range reported[:min(len(reported), zeekapi.MaxProblems)] {
		p.Kind, p.Node, p.Subject, p.Text = clip(p.Kind), clip(p.Node), clip(p.Subject), clip(p.Text)
		valid = append(valid, p)
	}
	slices.SortStableFunc(valid, func(a, b zeekapi.Problem) int { return cmp.Compare(a.Key(), b.Key()) })
	return slices.CompactFunc(valid, func(a, b zeekapi.Problem) bool { return a.Key() == b.Key() })
}
