package request

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
)

// ErrForeign is returned by a Decode function for messages of other programs.
var ErrForeign = errors.New("message of another program")

// Decode decodes a message and returns the ID of the request that it answers. If
// it returns an error and an ID, the exchange with that ID ends with the error.
type Decode[M any] func(broker.Message) (id string, m M, err error)

// Stats counts received messages that were ignored.
type Stats struct {
	// Stale counts responses to own requests that were already answered or
	// abandoned.
	Stale uint64

	// Foreign counts messages for other programs on the same topic.
	Foreign uint64

	// Malformed counts messages that are not events, and events with wrong
	// arguments.
	Malformed uint64
}

// Exchanger publishes requests and matches responses to them by ID, for message
// types of the caller's. Most programs use Requester instead. Its methods may be
// called concurrently.
type Exchanger[M any] struct {
	bus    broker.Bus
	decode Decode[M]
	prefix string // of the IDs of own requests
	stop   context.CancelFunc
	done   chan struct{} // closed when the reader has ended

	last atomic.Uint64 // number of the last request

	mu      sync.Mutex
	waiting map[string]*waiter[M]
	stats   Stats
	lost    error // the reason why no response can come: the last peer or the bus is gone; nil if one can
}

// waiter is a pending exchange.
type waiter[M any] struct {
	accept     func(M) bool
	answer     chan answer[M] // has room for one
	complaint  error          // the last one of the other side, possibly about this request
	complaints int            // how many there were
}

type answer[M any] struct {
	message M
	err     error
}

// NewExchanger returns an Exchanger that reads responses from bus. It takes
// ownership of the bus; the caller must Close the Exchanger instead. When the last
// peer is lost or the bus is closed, all pending exchanges end with an error that
// wraps ErrDisconnected.
func NewExchanger[M any](bus broker.Bus, decode Decode[M]) *Exchanger[M] {
	ctx, stop := context.WithCancel(context.Background())
	x := &Exchanger[M]{
		bus: bus, decode: decode,
		prefix: uuid.NewString() + "/", stop: stop,
		done: make(chan struct{}), waiting: make(map[string]*waiter[M]),
	}
	go x.read(ctx)
	return x
}

// Close ends all pending exchanges and closes the bus.
func (x *Exchanger[M]) Close() error {
	x.stop()
	err := x.bus.Close()
	<-x.done
	return err
}

// Stats returns the counts so far.
func (x *Exchanger[M]) Stats() Stats {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stats
}

// Complain reports an error of the other side that names no request. It is assumed
// that the other side reports at most one error for each request. So when there
// were as many errors as exchanges are pending, all of these end with their last
// error: a single exchange ends at once. Until then, those that get no response
// mention err in their error.
func (x *Exchanger[M]) Complain(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, w := range x.waiting {
		w.complaint = err
		w.complaints++
	}
	x.failRefused()
}

// failRefused ends the pending exchanges if there was an error about each of them.
// It must be called with the lock held.
func (x *Exchanger[M]) failRefused() {
	for _, w := range x.waiting {
		if w.complaints < len(x.waiting) {
			return
		}
	}
	for id, w := range x.waiting {
		x.end(id, answer[M]{err: w.complaint})
	}
}

// NewID returns the ID of a new request.
func (x *Exchanger[M]) NewID() string {
	return x.prefix + strconv.FormatUint(x.last.Add(1), 10)
}

// Do publishes request, whose ID is id, to topic and waits for a response: a
// message with the same ID on replyTopic for which accept returns true. It
// returns a *broker.NotSubscribedError at once if the bus does not subscribe to
// replyTopic, and an error that wraps ErrDisconnected if all peers were lost. accept is called from another goroutine and must not block.
func (x *Exchanger[M]) Do(ctx context.Context, id, topic, replyTopic string, request broker.Event, accept func(M) bool) (M, error) {
	var none M
	if err := broker.CheckSubscribed(x.bus, replyTopic); err != nil {
		return none, err
	}
	w := &waiter[M]{accept: accept, answer: make(chan answer[M], 1)}
	x.mu.Lock()
	if x.lost != nil {
		defer x.mu.Unlock()
		return none, x.lost
	}
	x.waiting[id] = w
	x.mu.Unlock()

	defer x.forget(id)
	if err := broker.PublishEvent(ctx, x.bus, topic, request); err != nil {
		return none, err
	}
	select {
	case a := <-w.answer:
		return a.message, a.err
	case <-ctx.Done():
		select {
		case a := <-w.answer: // arrived first
			return a.message, a.err
		default:
		}
		err := context.Cause(ctx)
		x.mu.Lock()
		defer x.mu.Unlock()
		if w.complaint != nil {
			err = fmt.Errorf("%w, after %w", err, w.complaint)
		}
		return none, err
	}
}

func (x *Exchanger[M]) forget(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.waiting, id)
}

// read handles notifications until the bus ends.
func (x *Exchanger[M]) read(ctx context.Context) {
	defer close(x.done)
	peers := 0
	for {
		notification, err := x.bus.Next(ctx)
		if err != nil {
			x.mu.Lock()
			if ctx.Err() != nil {
				x.lost = fmt.Errorf("%w: %w", ErrDisconnected, broker.ErrClosed)
			} else if x.lost == nil {
				x.lost = fmt.Errorf("%w: %w", ErrDisconnected, err)
			}
			x.failAll(x.lost)
			x.mu.Unlock()
			return
		}
		switch n := notification.(type) {
		case broker.Received:
			x.receive(n.Message)
		case broker.PeerAdded:
			peers++
			x.mu.Lock()
			x.lost = nil
			x.mu.Unlock()
		case broker.PeerLost:
			// If peers are left, the lost peer may not be the one that answers.
			if peers = max(0, peers-1); peers == 0 {
				x.mu.Lock()
				x.lost = fmt.Errorf("%w: %w", ErrDisconnected, n.Err)
				x.failAll(x.lost)
				x.mu.Unlock()
			}
		}
	}
}

// failAll must be called with the lock held.
func (x *Exchanger[M]) failAll(err error) {
	for id := range x.waiting {
		x.end(id, answer[M]{err: err})
	}
}

// end must be called with the lock held.
func (x *Exchanger[M]) end(id string, a answer[M]) {
	x.waiting[id].answer <- a
	delete(x.waiting, id)
}

// receive passes a message to the exchange that waits for it.
func (x *Exchanger[M]) receive(m broker.Message) {
	id, message, err := x.decode(m)
	x.mu.Lock()
	defer x.mu.Unlock()
	w := x.waiting[id]
	switch {
	case errors.Is(err, ErrForeign):
		x.stats.Foreign++
	case err != nil:
		x.stats.Malformed++
		if w != nil {
			x.end(id, answer[M]{err: err})
		}
	case w != nil && w.accept(message):
		x.end(id, answer[M]{message: message})
		x.failRefused() // earlier errors were about the others
	case w == nil && strings.HasPrefix(id, x.prefix):
		x.stats.Stale++
	default:
		x.stats.Foreign++
	}
}
