package agent

import "time"

// history outputs the history of nodes, so that it is stored.
type history struct {
	*outbox
	stored map[string]NodeHistory
	quiet  time.Time // no output before
}

// save outputs the history if it has changed, at most once per
// RememberInterval.
func (h *history) save(now time.Time, ns *nodes) {
	if now.Before(h.quiet) || !h.outdated(ns) {
		return
	}
	h.quiet = now.Add(RememberInterval)
	h.store(ns)
}

func (h *history) store(ns *nodes) {
	h.stored = make(map[string]NodeHistory)
	for name, n := range ns.all {
		if past := n.history(); past != (NodeHistory{}) {
			h.stored[name] = past
		}
	}
	h.emit(Remember{Nodes: h.stored})
}

// outdated reports whether the history has changed since it was last output.
func (h *history) outdated(ns *nodes) bool {
	found := 0
	for name, n := range ns.all {
		past := n.history()
		if past != h.stored[name] {
			return true
		}
		if past != (NodeHistory{}) {
			found++
		}
	}
	return found != len(h.stored)
}
