package controller

import (
	"context"
	"errors"
	"testing"
)

// farSites is a store whose sites are on other machines, until arrive is closed.
type farSites struct {
	RemoteSites
	arrive chan struct{}
}

func (f farSites) Local(string) bool { return false }

func (f farSites) Fetch(context.Context, string) error {
	<-f.arrive
	return errors.New("it is gone")
}

// The outputs that wait for a site are limited, and end together.
func TestDelayedOutputs(t *testing.T) {
	far := farSites{arrive: make(chan struct{})}
	f := newFetches(far)
	defer f.workers.Wait()
	for n := range maxDelayed {
		if wait, err := f.delay(t.Context(), "site", StepDown{}); !wait || err != nil {
			t.Fatalf("output %d: %t, %v", n, wait, err)
		}
	}
	if wait, err := f.delay(t.Context(), "site", StepDown{}); wait || !errors.Is(err, errFetching) {
		t.Errorf("one more output: %t, %v", wait, err)
	}
	if wait, err := f.delay(t.Context(), "another site", StepDown{}); !wait || err != nil {
		t.Errorf("another site: %t, %v", wait, err)
	}
	close(far.arrive)
	for range 2 {
		next, _, err := f.workers.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		in := next.(fetched)
		if n := len(in.outputs); n != maxDelayed && n != 1 || in.why == "" {
			t.Errorf("%d outputs end: %q", n, in.why)
		}
	}
}
