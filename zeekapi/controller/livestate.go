package controller

import (
	"cmp"
	"maps"
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// liveState is a State to which changes can be applied.
type liveState struct {
	configs map[Slot]zeekapi.Configuration
	history []Past
	events  []zeekapi.ClusterEvent
	names   map[NameSet]map[string]bool
	job     *StoredJob
	sent    Sent
	stopped []zeekapi.StoppedNode
	term    uint64
}

func newLiveState(s State) *liveState {
	k := &liveState{
		configs: make(map[Slot]zeekapi.Configuration),
		history: slices.Clone(s.History), events: slices.Clone(s.Events),
		names: map[NameSet]map[string]bool{Drained: setOf(s.Drained), Owed: setOf(s.Owed)},
		job:   s.Job, sent: s.Sent, stopped: s.Stopped, term: s.Term,
	}
	maps.Copy(k.configs, s.Configs)
	return k
}

// After returns the state after changes, as a Store stores it.
func (s State) After(changes ...Change) State {
	k := newLiveState(s)
	for _, c := range changes {
		k.apply(c)
	}
	return k.state()
}

// state returns the state after all changes.
func (k *liveState) state() State {
	return State{
		Configs: maps.Clone(k.configs), History: slices.Clone(k.history), Events: slices.Clone(k.events),
		Drained: sortedKeys(k.names[Drained]), Owed: sortedKeys(k.names[Owed]), Job: k.job, Sent: k.sent,
		Stopped: k.stopped, Term: k.term,
	}
}

// apply applies a change, as the Save of a Store does.
func (k *liveState) apply(c Change) {
	switch c := c.(type) {
	case Save:
		k.configs[c.Slot] = c.Config
	case SaveDeployment:
		i, found := slices.BinarySearchFunc(k.history, c.Past.Number, func(p Past, number uint64) int { return cmp.Compare(p.Number, number) })
		if found {
			k.history[i] = c.Past
		} else {
			k.history = slices.Insert(k.history, i, c.Past)
		}
		k.history = slices.DeleteFunc(k.history, func(p Past) bool { return p.Number < c.Oldest })
	case SaveNames:
		if c.In {
			k.names[c.Set][c.Name] = true
		} else {
			delete(k.names[c.Set], c.Name)
		}
	case SaveJob:
		k.job = &c.Job
	case SaveSent:
		k.sent = c.Sent
	case SaveStopped:
		k.stopped = c.Nodes
	case Announce:
		k.events = append(k.events, c.Event)
		for len(k.events) > 0 && k.events[0].Number < c.Oldest {
			k.events = k.events[1:]
		}
	}
}
