package controller

import "maps"

// tally counts things by their state. Copies are shared until the next change, so
// that a snapshot after a step that changed nothing costs nothing.
type tally[S comparable] struct {
	counts map[S]int
	copied map[S]int // nil: out of date
}

func newTally[S comparable]() tally[S] { return tally[S]{counts: make(map[S]int)} }

func (t *tally[S]) add(state S, n int) {
	t.counts[state] += n
	t.copied = nil
}

// copy returns the counts. The caller must not change them.
func (t *tally[S]) copy() map[S]int {
	if t.copied == nil {
		t.copied = maps.Clone(t.counts)
	}
	return t.copied
}
