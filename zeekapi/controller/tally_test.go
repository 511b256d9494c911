package controller

import (
	"maps"
	"testing"
)

// A copy keeps its counts when the tally changes. A copy allocates no memory if the
// tally did not change since the last one.
func TestTallyCopiesAreIndependent(t *testing.T) {
	c := newTally[string]()
	c.add("a", 2)
	before := c.copy()
	c.add("a", -1)
	c.add("b", 3)
	if want := map[string]int{"a": 2}; !maps.Equal(before, want) {
		t.Errorf("an earlier copy is %v, want %v", before, want)
	}
	if got, want := c.copy(), (map[string]int{"a": 1, "b": 3}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { c.copy() }); n != 0 {
		t.Errorf("a copy without a change takes %v allocations", n)
	}
}
