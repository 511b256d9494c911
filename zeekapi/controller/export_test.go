package controller

import (
	"fmt"

	"github.com/google/uuid"
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
	calls := 0
	for id, r := range m.requests {
		if r.id != id || !r.deadline.After(m.now) && !m.Deadline().Equal(r.deadline) {
			return fmt.Errorf("request %s outlives its deadline", id)
		}
		if r.config != nil && r != m.deployment {
			return fmt.Errorf("request %s is a second deployment", id)
		}
		calls += len(r.open)
	}
	if calls != len(m.calls) {
		return fmt.Errorf("%d calls, of which %d belong to requests", len(m.calls), calls)
	}
	if m.deployment != nil {
		if m.requests[m.deployment.id] != m.deployment {
			return fmt.Errorf("deployment %s is no request", m.deployment.id)
		}
		if len(m.wanted) != len(m.deployment.config.Instances) {
			return fmt.Errorf("deployment of %d instances wants %d", len(m.deployment.config.Instances), len(m.wanted))
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
