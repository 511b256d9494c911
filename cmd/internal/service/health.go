package service

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Health is how a service is: alive if its work goes on, ready if nothing
// speaks against it. Its methods may be called from any goroutine.
type Health struct {
	now func() time.Time

	mu      sync.Mutex
	beat    time.Time         // the zero time before the first
	against map[string]string // what speaks against being ready
}

// starting is what speaks against a service that has not begun to serve.
const starting = "starting"

// NewHealth returns the health of a service that is not ready.
func NewHealth() *Health {
	return &Health{now: time.Now, against: map[string]string{starting: "the service does not serve yet"}}
}

// Beat says that the service's work goes on. Who does the work must call it, or
// it would prove nothing.
func (h *Health) Beat() {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beat = now
}

// Set says what speaks against being ready in respect of something; "" that
// nothing does any more.
func (h *Health) Set(what, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reason == "" {
		delete(h.against, what)
	} else {
		h.against[what] = reason
	}
}

// Alive returns nothing if the service is alive, or else why not.
func (h *Health) Alive() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if silence := h.now().Sub(h.beat); !h.beat.IsZero() && silence > StuckAfter {
		return []string{fmt.Sprintf("stuck: no sign of life for %s", silence.Truncate(time.Second))}
	}
	return nil
}

// Ready returns nothing if the service is ready, or else all that speaks
// against it, in a fixed order.
func (h *Health) Ready() []string {
	reasons := h.Alive()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(h.against)) {
		reasons = append(reasons, what+": "+h.against[what])
	}
	return reasons
}
