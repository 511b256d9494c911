package controller

import "github.com/rs/zerolog"

// maxNames is the number of instances that each set can hold. Their names come
// from clients, not from agents.
const maxNames = 1 << 16

// nameSets keeps sets of names of instances.
type nameSets struct {
	*outbox
	log  zerolog.Logger
	sets map[NameSet]map[string]bool
}

func newNameSets(out *outbox, state State, log zerolog.Logger) *nameSets {
	return &nameSets{outbox: out, log: log, sets: map[NameSet]map[string]bool{
		Drained: setOf(state.Drained), Owed: setOf(state.Owed),
	}}
}

func (n *nameSets) has(set NameSet, instance string) bool { return n.sets[set][instance] }

// all returns the instances in a set, sorted.
func (n *nameSets) all(set NameSet) []string { return sortedKeys(n.sets[set]) }

func (n *nameSets) drained(instance string) bool { return n.has(Drained, instance) }

// keep puts an instance into a set, or removes it.
func (n *nameSets) keep(set NameSet, instance string, in bool) {
	names := n.sets[set]
	switch {
	case names[instance] == in:
		return
	case !in:
		delete(names, instance)
	case len(names) >= maxNames:
		n.log.Error().Str("instance", instance).Str("set", string(set)).Msg("cannot remember another instance")
		return
	default:
		names[instance] = true
	}
	n.emit(SaveNames{Set: set, Name: instance, In: in})
}
