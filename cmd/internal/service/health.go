package service

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Health is the health of a service: it is alive while it makes progress, and
// ready if no subject reports a reason against it. Its methods may be called
// concurrently.
type Health struct {
	now func() time.Time

	mu      sync.Mutex
	beat    time.Time         // the zero time before the first
	against map[string]string // reasons against being ready, by subject
}

// starting is the subject of the reason against a service that is not yet ready.
const starting = "starting"

// NewHealth returns the health of a service that is not ready.
func NewHealth() *Health {
	return &Health{now: time.Now, against: map[string]string{starting: "the service is starting"}}
}

// Beat reports that the service makes progress.
func (h *Health) Beat() {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beat = now
}

// Set sets the reason against being ready for a subject; "" removes it.
func (h *Health) Set(what, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reason == "" {
		delete(h.against, what)
	} else {
		h.against[what] = reason
	}
}

// Alive returns nil if the service is alive, and otherwise the reasons.
func (h *Health) Alive() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if silence := h.now().Sub(h.beat); !h.beat.IsZero() && silence > StuckAfter {
		return []string{fmt.Sprintf("stuck: no progress for %s", silence.Truncate(time.Second))}
	}
	return nil
}

// Ready returns nil if the service is ready, and otherwise the reasons, sorted
// by subject.
func (h *Health) Ready() []string {
	reasons := h.Alive()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(h.against)) {
		reasons = append(reasons, what+": "+h.against[what])
	}
	return reasons
}
