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

// ErrForeign is what a Decode function returns for messages that are no
// business of ours.
var ErrForeign = errors.New("not for us")

// Decode turns a message into what it says, and into the ID of the request that
// it answers. If it returns an error and an ID, the exchange with that ID ends
// with the error.
type Decode[M any] func(broker.Message) (id string, m M, err error)

// Stats counts the received messages that were not used.
type Stats struct {
	// Stale counts responses to requests of ours that were already answered or
	// abandoned.
	Stale uint64

	// Foreign counts messages meant for other programs on the same topic.
	Foreign uint64

	// Malformed counts messages that are not events, and events whose arguments
	// do not fit.
	Malformed uint64
}

// Exchanger has one goroutine, which reads the bus. All methods may be called
// from any goroutine.
type Exchanger[M any] struct {
	bus    broker.Bus
	decode Decode[M]
	prefix string // of the IDs of all our requests
	stop   context.CancelFunc
	done   chan struct{} // closed when the reader has ended

	last atomic.Uint64 // number of a request

	mu      sync.Mutex
	waiting map[string]*waiter[M]
	stats   Stats
	ended   error // why there will be no more responses
}

// waiter is an exchange that waits for its response.
type waiter[M any] struct {
	accept    func(M) bool
	answer    chan answer[M] // has room for one
	complaint error          // of the other side, perhaps about this request
}

type answer[M any] struct {
	message M
	err     error
}

// NewExchanger returns an Exchanger on a bus that receives the responses. The bus now
// belongs to it, and its owner must Close it. Exchanges that end with the last
// peer or with the bus wrap ErrDisconnected.
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

// Close ends all exchanges, closes the bus and waits for the goroutine.
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

// Complain is for complaints of the other side that name no request: err ends
// the exchange that is under way if there is just one. If there are several,
// those that get no response will mention it.
func (x *Exchanger[M]) Complain(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.waiting) == 1 {
		x.failAll(err)
		return
	}
	for _, w := range x.waiting {
		w.complaint = err
	}
}

// NewID returns the ID of a new request.
func (x *Exchanger[M]) NewID() string {
	return x.prefix + strconv.FormatUint(x.last.Add(1), 10)
}

// Do publishes a request with that ID and waits for a message with the ID that
// accept takes for the response. It calls accept in the reader's goroutine.
func (x *Exchanger[M]) Do(ctx context.Context, id, topic string, request broker.Event, accept func(M) bool) (M, error) {
	var none M
	w := &waiter[M]{accept: accept, answer: make(chan answer[M], 1)}
	x.mu.Lock()
	if x.ended != nil {
		defer x.mu.Unlock()
		return none, x.ended
	}
	x.waiting[id] = w
	x.mu.Unlock()

	defer x.forget(id)
	if err := x.bus.Publish(ctx, topic, request.Value()); err != nil {
		return none, err
	}
	select {
	case a := <-w.answer:
		return a.message, a.err
	case <-ctx.Done():
		select {
		case a := <-w.answer: // came first
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

// read takes what the bus brings until that ends.
func (x *Exchanger[M]) read(ctx context.Context) {
	defer close(x.done)
	peers := 0
	var lost error
	for {
		notification, err := x.bus.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = broker.ErrClosed
			} else if lost != nil {
				err = lost
			}
			x.mu.Lock()
			x.ended = fmt.Errorf("%w: %w", ErrDisconnected, err)
			x.failAll(x.ended)
			x.mu.Unlock()
			return
		}
		switch n := notification.(type) {
		case broker.Received:
			x.receive(n.Message)
		case broker.PeerAdded:
			peers++
			lost = nil
		case broker.PeerLost:
			// With peers left the lost one need not have been the one we ask.
			if peers = max(0, peers-1); peers == 0 {
				lost = n.Err
				x.mu.Lock()
				x.failAll(fmt.Errorf("%w: %w", ErrDisconnected, lost))
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
	case w == nil && strings.HasPrefix(id, x.prefix):
		x.stats.Stale++
	default:
		x.stats.Foreign++
	}
}
