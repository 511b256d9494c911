package controller

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Check returns an error if the machine's state contradicts itself. It is for
// tests, which call it after every step.
func (m *Machine) Check() error {
	for _, check := range []func() error{
		m.storage.check, m.agents.check, m.members.check, m.states.check, m.requests.check, m.contests.check, m.deployments.check, m.trials.check, m.stopped.check, m.stops.check, m.jobs.check,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if next, ok := m.Deadline(); ok && m.requests.deadline().set && m.requests.deadline().at.Before(next) {
		return fmt.Errorf("a request expires before the machine's deadline")
	}
	return nil
}

func (s *storage) check() error {
	if s.why != "" && s.since.IsZero() {
		return errors.New("it is not known since when changes cannot be stored")
	}
	return nil
}

func (a *agents) check() error {
	for name, current := range a.current {
		if a.peers[current.peer] != current || current.Name != name {
			return fmt.Errorf("agent of %s is no peer", name)
		}
	}
	refused := 0
	for id, known := range a.peers {
		current := a.current[known.Name]
		switch {
		case known.peer != id || current == nil || !slices.Contains(a.rivals[known.Name], known):
			return fmt.Errorf("peer %s of %s is lost", id, known.Name)
		case known == current && (known.claims || known.refused):
			return fmt.Errorf("the agent of %s is refused", known.Name)
		}
		if known.refused {
			refused++
		}
	}
	if refused != a.refused {
		return fmt.Errorf("%d peers are refused, %d were counted", refused, a.refused)
	}
	return nil
}

// check returns an error if a claim is never decided.
func (c *contests) check() error {
	for _, known := range c.agents.peers {
		if known.claims && !c.open[known.Name] {
			return fmt.Errorf("the claim of %s to %s is never decided", known.peer, known.Name)
		}
	}
	probes := 0
	for _, r := range c.requests.pending {
		if p, ok := r.task.(*probe); ok {
			probes++
			if !c.open[p.holder.Name] || c.agents.of(p.holder.Name) != p.holder {
				return fmt.Errorf("a peer is asked that is not the agent of %s", p.holder.Name)
			}
		}
	}
	if probes != len(c.open) {
		return fmt.Errorf("%d contests with %d questions", len(c.open), probes)
	}
	return nil
}

// check returns an error if a trial has asked an agent whose address is not in its plan yet.
func (d *trials) check() error {
	for _, t := range d.all {
		for name := range t.returned {
			if t.asked[name] != (asking{}) || t.request.open[name] != nil {
				return fmt.Errorf("the agent of %s is asked before the plan has its address", name)
			}
		}
	}
	return nil
}

func (s *members) check() error {
	unready, counts := 0, make(map[InstanceState]int)
	for name, w := range s.byName {
		connected, drained := s.agents.of(name) != nil, s.names.drained(name)
		switch {
		case w.Name != name:
			return fmt.Errorf("member %s is called %s", w.Name, name)
		case w.ready && (!connected || w.welcome != ""):
			return fmt.Errorf("instance %s is ready, but was not welcomed", name)
		case w.welcome != "" && (!connected || !s.again.set):
			return fmt.Errorf("the welcome of %s is never repeated", name)
		case drained && (w.ready || w.welcome != ""):
			return fmt.Errorf("instance %s is drained, but welcomed", name)
		case s.contacts[name] == nil:
			return fmt.Errorf("there is no contact with member %s", name)
		}
		if s.blocks(name) {
			unready++
		}
	}
	if unready != s.unready {
		return fmt.Errorf("%d instances are not ready, %d were counted", unready, s.unready)
	}
	for name := range s.contacts {
		state := s.state(name)
		if state == "" {
			return fmt.Errorf("the contact with %s is not needed", name)
		}
		counts[state]++
	}
	for _, state := range InstanceStates {
		if counts[state] != s.counts.counts[state] {
			return fmt.Errorf("%d instances are %s, %d were counted", counts[state], state, s.counts.counts[state])
		}
	}
	return nil
}

func (s *nodeStates) check() error {
	total := make(map[zeekapi.State]int)
	for instance, counted := range s.counted {
		if !maps.Equal(counted, s.states(instance)) {
			return fmt.Errorf("nodes of %s are %v, counted were %v", instance, s.states(instance), counted)
		}
		for state, n := range counted {
			total[state] += n
		}
	}
	for state, n := range s.total.counts {
		if total[state] != n {
			return fmt.Errorf("%d nodes are %s, %d were counted", total[state], state, n)
		}
	}
	for instance := range s.told {
		if s.counted[instance] == nil && len(s.told[instance]) > 0 {
			return fmt.Errorf("the nodes of %s are not counted", instance)
		}
	}
	return nil
}

func (r *requests) check() error {
	calls, awaited, counted := 0, 0, make(map[uuid.UUID]int)
	total, memory := 0, make(map[uuid.UUID]int)
	for id, q := range r.pending {
		if q.id != id || r.deadlines[q.index] != q {
			return fmt.Errorf("request %s has no deadline", id)
		}
		if q.counted {
			counted[q.client]++
			memory[q.client] += q.memory
			total += q.memory
		}
		if q.reply != nil {
			awaited++
		}
		calls += len(q.open)
		for instance, c := range q.open {
			asked, waits := c.poll != nil && r.polls.byID[c.poll.id] == c.poll && c.poll.calls[c], c.line != nil && r.polls.lines[c.line.key] == c.line && c.line.waiting[c]
			if c.request != q || c.instance != instance || asked == waits || c.agent != nil && !r.byAgent[c.agent][c] {
				return fmt.Errorf("call %d to %s is astray", c.sequence, instance)
			}
		}
	}
	if r.clients.active != len(counted) {
		return fmt.Errorf("%d clients have open requests, %d were counted", len(counted), r.clients.active)
	}
	for id, q := range r.pending {
		if t, ok := q.task.(nodesReport); ok && (t.data > maxStrangerData || t.rest > 0 && q.deadline.Sub(r.now) > strangerPatience) {
			return fmt.Errorf("request %s waits for strangers until %v, and has %d bytes of them", id, q.deadline, t.data)
		}
	}
	if len(r.deadlines) != len(r.pending) {
		return fmt.Errorf("%d requests with %d deadlines", len(r.pending), len(r.deadlines))
	}
	if err := r.polls.check(calls); err != nil {
		return err
	}
	if awaited != r.awaited {
		return fmt.Errorf("%d requests are awaited, %d were counted", awaited, r.awaited)
	}
	for a, open := range r.byAgent {
		if len(open) == 0 || r.agents.peer(a.peer) != a {
			return fmt.Errorf("%d calls to the agent of %s, which is lost", len(open), a.Name)
		}
	}
	if total != r.memory {
		return fmt.Errorf("requests take %d bytes, %d were counted", total, r.memory)
	}
	for id, c := range r.clients.byPeer {
		if c.memory != memory[id] {
			return fmt.Errorf("the requests of client %s take %d bytes, %d were counted", id, memory[id], c.memory)
		}
		if c.open != counted[id] || c.gone && c.open == 0 {
			return fmt.Errorf("client %s has %d requests, %d were counted", id, counted[id], c.open)
		}
	}
	return nil
}

// check returns an error unless polls and lines together have the given number of calls, and
// each line with waiting calls has an appointment.
func (p *polls) check(calls int) error {
	found, open := 0, make(map[*line]int)
	for id, asked := range p.byID {
		if asked.id != id || len(asked.calls) == 0 || asked.line != nil && (p.lines[asked.line.key] != asked.line || asked.agent == nil) {
			return fmt.Errorf("poll %s of %d calls is astray", id, len(asked.calls))
		}
		found += len(asked.calls)
		open[asked.line]++
	}
	next := p.waiting()
	for _, l := range p.lines {
		found += len(l.waiting)
		switch {
		case l.open != open[l] || l.open == 0 && len(l.waiting) == 0:
			return fmt.Errorf("%d polls without an answer, %d were counted", open[l], l.open)
		case l.due.set != (len(l.waiting) > 0), l.due.set && (!next.set || next.at.After(l.due.at)):
			return fmt.Errorf("%d calls wait for %s in vain", len(l.waiting), l.key.agent.Name)
		}
	}
	if found != calls {
		return fmt.Errorf("%d calls, of which %d belong to requests", found, calls)
	}
	return nil
}

func (s *stoppedNodes) check() error {
	for name, n := range s.byName {
		if n.Node != name || n.Since.IsZero() {
			return fmt.Errorf("node %s is stopped as %s since %v", name, n.Node, n.Since)
		}
	}
	return nil
}

func (s *stops) check() error {
	for _, t := range s.waiting {
		if s.requests.pending[t.request.id] != t.request {
			return fmt.Errorf("request %s waits for nodes, but is not pending", t.request.id)
		}
		if len(t.left) == 0 || len(t.request.open) == 0 && !t.next.set {
			return fmt.Errorf("request %s waits for nodes of %d instances in vain", t.request.id, len(t.left))
		}
		for instance, nodes := range t.left {
			if len(nodes) == 0 {
				return fmt.Errorf("request %s waits for no node of %s", t.request.id, instance)
			}
		}
	}
	return nil
}

func (j *jobs) check() error {
	last := j.last
	switch {
	case !last.running():
		if last != nil && (last.poll.set || last.stored != nil) {
			return fmt.Errorf("job %d has ended, but continues", last.Number)
		}
	case len(j.stopped.among(last.nodes())) > 0:
		return fmt.Errorf("job %d restarts nodes that are stopped", last.Number)
	case last.stored != nil:
		return fmt.Errorf("job %d was not resumed", last.Number)
	case len(last.now) == 0 && j.storage.available() || len(last.now) > last.atOnce || !last.poll.set:
		return fmt.Errorf("job %d restarts %d nodes, at most %d, and asks for them: %t", last.Number, len(last.now), last.atOnce, last.poll.set)
	}
	return nil
}

func (d *deployments) check() error {
	for _, r := range d.requests.pending {
		if t, ok := r.task.(*deployment); ok && t != d.current {
			return fmt.Errorf("request %s is a second deployment", r.id)
		}
	}
	for instance, r := range d.waits.byInstance {
		if d.requests.pending[r.id] != r || d.members.of(instance) == nil {
			return fmt.Errorf("request %s waits for %s in vain", r.id, instance)
		}
	}
	for instance := range d.deliveries.byName {
		if d.members.of(instance) == nil {
			return fmt.Errorf("a delivery to %s, which is no member", instance)
		}
	}
	if d.current == nil {
		return nil
	}
	if r := d.current.request; d.requests.pending[r.id] != r {
		return fmt.Errorf("deployment %s is no request", r.id)
	}
	if want := len(d.current.target.Instances); len(d.members.byName) != want {
		return fmt.Errorf("deployment of %d instances has %d members", want, len(d.members.byName))
	}
	return nil
}
