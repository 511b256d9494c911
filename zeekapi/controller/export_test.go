package controller

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// CheckLimit is the longest time that a client waits for a check.
const CheckLimit = checkLimit

// ProbeTimeout is how long an agent may take to answer when its name is claimed.
const ProbeTimeout = probeTimeout

// Held returns the number of peers and of pending requests.
func (m *Machine) Held() (peers, requests int) { return len(m.agents.peers), len(m.requests.pending) }

// Ready returns the instances that are ready.
func (m *Machine) Ready() []string {
	var names []string
	for _, name := range m.members.sorted() {
		if m.members.of(name).ready {
			names = append(names, name)
		}
	}
	return names
}

// AgentOf returns the peer that is the agent of an instance.
func (m *Machine) AgentOf(instance string) uuid.UUID {
	if a := m.agents.of(instance); a != nil {
		return a.peer
	}
	return uuid.Nil
}

// SetPost sets the position among other controllers.
func (m *Machine) SetPost(p Post) { *m.post = p }

// Apply applies a change to the state, as a store does.
func (s *State) Apply(c Change) {
	*s = s.After(c)
}

// Clone returns a deep copy of s.
func (s State) Clone() State {
	configs := make(map[Slot]zeekapi.Configuration)
	maps.Copy(configs, s.Configs)
	s.Configs = configs
	s.History, s.Events = slices.Clone(s.History), slices.Clone(s.Events)
	s.Stopped = slices.Clone(s.Stopped)
	s.Drained, s.Owed = slices.Clone(s.Drained), slices.Clone(s.Owed)
	return s
}

// Shift moves all times of the state, as a step of the clock does that is not in them.
func (s *State) Shift(d time.Duration) {
	shift := func(t *time.Time) {
		if !t.IsZero() {
			*t = t.Add(d)
		}
	}
	for i := range s.History {
		shift(&s.History[i].Started)
		shift(&s.History[i].Ended)
	}
	for i := range s.Events {
		shift(&s.Events[i].Time)
	}
	s.Stopped = slices.Clone(s.Stopped)
	for i := range s.Stopped {
		shift(&s.Stopped[i].Since)
	}
	if s.Job != nil {
		job := *s.Job
		shift(&job.Started)
		shift(&job.Ended)
		s.Job = &job
	}
}

// IsReady reports whether an instance is ready.
func (m *Machine) IsReady(instance string) bool {
	w := m.members.of(instance)
	return w != nil && w.ready
}

// JobNow returns the number of nodes that the job is restarting, and the limit.
func (m *Machine) JobNow() (now, most int) {
	if !m.jobs.last.running() {
		return 0, 0
	}
	return len(m.jobs.last.now), m.jobs.last.atOnce
}

// Checks reports whether the agent of an instance can check configurations.
func (m *Machine) Checks(instance string) bool {
	a := m.agents.of(instance)
	return a != nil && a.checks()
}

// Job returns the progress of the last job.
func (m *Machine) Job() zeekapi.Job { return m.jobs.last.snapshot() }

// StateStore is what Run needs of a Store.
type StateStore = stateStore

// RunWith is Run with another store.
func RunWith(ctx context.Context, cfg Config, store StateStore, state State) error {
	return run(ctx, cfg, store, state)
}
