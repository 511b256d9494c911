package launch

import (
	"context"
	"slices"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// Events is the queue of a launcher's Next. The zero Events is ready to use. All
// methods may be called from any goroutine.
//
// The queue is bounded without a limit of its own: each start of a node adds at most
// a Started, an Up and an Exited, the agent limits its requests and so the responses,
// and only the last Measured, Upgraded and Edited are kept.
type Events struct {
	mu     sync.Mutex
	queue  []Event
	closed bool
	wake   chan struct{} // closed on a change; nil if no call waits
}

// Add adds an event, or drops it after Close.
func (e *Events) Add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	switch ev.(type) {
	case Measured:
		e.queue = slices.DeleteFunc(e.queue, isA[Measured])
	case Upgraded:
		e.queue = slices.DeleteFunc(e.queue, isA[Upgraded])
	case Edited:
		e.queue = slices.DeleteFunc(e.queue, isA[Edited])
	}
	e.queue = append(e.queue, ev)
	e.changed()
}

// Next waits for the next event. After Close it returns the remaining events and then
// broker.ErrClosed.
func (e *Events) Next(ctx context.Context) (Event, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.queue) == 0 {
		if e.closed {
			return nil, broker.ErrClosed
		}
		if e.wake == nil {
			e.wake = make(chan struct{})
		}
		wake := e.wake
		e.mu.Unlock()
		select {
		case <-wake:
			e.mu.Lock()
		case <-ctx.Done():
			e.mu.Lock()
			return nil, context.Cause(ctx)
		}
	}
	ev := e.queue[0]
	e.queue[0] = nil
	e.queue = e.queue[1:]
	return ev, nil
}

// Close rejects further events.
func (e *Events) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.changed()
}

func (e *Events) changed() {
	if e.wake != nil {
		close(e.wake)
		e.wake = nil
	}
}

func isA[E Event](ev Event) bool {
	_, ok := ev.(E)
	return ok
}
