package controller

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Check returns an error if the machine's state contradicts itself or holds
// more than it has reason to.
func (m *Machine) Check() error {
	for name, a := range m.agents {
		if m.peers[a.peer] != a || a.Name != name {
			return fmt.Errorf("agent of %s is no peer", name)
		}
	}
	for id, a := range m.peers {
		if a.peer != id || m.agents[a.Name] == nil {
			return fmt.Errorf("peer %s of %s is lost", id, a.Name)
		}
	}
	for name, w := range m.wanted {
		if w.ready && (m.agents[name] == nil || w.welcome != "") {
			return fmt.Errorf("instance %s is ready, but nobody welcomed", name)
		}
		if w.welcome != "" && (m.agents[name] == nil || m.rewelcome.IsZero()) {
			return fmt.Errorf("the welcome of %s is never repeated", name)
		}
	}
	unready := 0
	for name, w := range m.wanted {
		if w.Name != name {
			return fmt.Errorf("member %s is called %s", w.Name, name)
		}
		if m.drained[name] && (w.ready || w.welcome != "") {
			return fmt.Errorf("instance %s is drained, but welcomed", name)
		}
		if m.blocks(w) {
			unready++
		}
	}
	if unready != m.unready {
		return fmt.Errorf("%d instances are not ready, %d were counted", unready, m.unready)
	}
	for name := range m.contacts {
		if m.wanted[name] == nil && m.agents[name] == nil {
			return fmt.Errorf("contact with %s is no good", name)
		}
	}
	return m.checkRequests()
}

func (m *Machine) checkRequests() error {
	calls, counted := 0, make(map[uuid.UUID]int)
	for id, r := range m.requests {
		if r.id != id || m.deadlines[r.index] != r || r.deadline.Before(m.Deadline()) {
			return fmt.Errorf("request %s has no deadline", id)
		}
		if r.deployment != nil && r != m.deployment {
			return fmt.Errorf("request %s is a second deployment", id)
		}
		if r.counted {
			counted[r.client]++
		}
		calls += len(r.open)
		for instance, c := range r.open {
			if c.request != r || c.instance != instance || m.calls[c.id] != c || c.agent != nil && !c.agent.calls[c] {
				return fmt.Errorf("call %s is astray", c.id)
			}
		}
	}
	if len(m.deadlines) != len(m.requests) {
		return fmt.Errorf("%d requests with %d deadlines", len(m.requests), len(m.deadlines))
	}
	if calls != len(m.calls) {
		return fmt.Errorf("%d calls, of which %d belong to requests", len(m.calls), calls)
	}
	for id, c := range m.clients {
		if c.open != counted[id] || c.gone && c.open == 0 {
			return fmt.Errorf("client %s has %d requests, %d were counted", id, counted[id], c.open)
		}
	}
	if m.deployment != nil {
		if m.requests[m.deployment.id] != m.deployment {
			return fmt.Errorf("deployment %s is no request", m.deployment.id)
		}
		if len(m.wanted) != len(m.deployment.target.Instances) {
			return fmt.Errorf("deployment of %d instances wants %d", len(m.deployment.target.Instances), len(m.wanted))
		}
	}
	return nil
}

// Held returns how much the machine holds.
func (m *Machine) Held() (peers, requests int) { return len(m.peers), len(m.requests) }

// Ready returns the instances that are ready.
func (m *Machine) Ready() []string {
	var names []string
	for _, name := range sortedKeys(m.wanted) {
		if m.wanted[name].ready {
			names = append(names, name)
		}
	}
	return names
}

// AgentOf returns the peer that is the agent of an instance.
func (m *Machine) AgentOf(instance string) uuid.UUID {
	if a := m.agents[instance]; a != nil {
		return a.peer
	}
	return uuid.Nil
}

// Apply makes a change to the state, as a store does.
func (s *State) Apply(c Change) {
	switch c := c.(type) {
	case Save:
		s.Configs[c.Slot] = c.Config
	case SaveDeployment:
		s.History = slices.DeleteFunc(s.History, func(p Past) bool { return p.Number == c.Past.Number || p.Number < c.Oldest })
		s.History = append(s.History, c.Past)
	case SaveNames:
		names := &s.Drained
		if c.Set == Owed {
			names = &s.Owed
		}
		*names = slices.DeleteFunc(*names, func(n string) bool { return n == c.Name })
		if c.In {
			*names = append(*names, c.Name)
		}
	case SaveJob:
		s.Job = &c.Job
	case SaveSent:
		s.Sent = c.Sent
	case Announce:
		for len(s.Events) > 0 && s.Events[0].Number < c.Oldest {
			s.Events = s.Events[1:]
		}
		s.Events = append(s.Events, c.Event)
	}
}

// Clone returns a copy that Apply does not share with s.
func (s State) Clone() State {
	configs := make(map[Slot]zeekapi.Configuration)
	maps.Copy(configs, s.Configs)
	s.Configs = configs
	s.History, s.Events = slices.Clone(s.History), slices.Clone(s.Events)
	s.Drained, s.Owed = slices.Clone(s.Drained), slices.Clone(s.Owed)
	return s
}

// IsReady reports whether an instance is ready.
func (m *Machine) IsReady(instance string) bool {
	w := m.wanted[instance]
	return w != nil && w.ready
}

// JobNow returns how many nodes the job restarts, and how many it may.
func (m *Machine) JobNow() (now, most int) {
	if !m.job.running() {
		return 0, 0
	}
	return len(m.job.now), m.job.atOnce
}
