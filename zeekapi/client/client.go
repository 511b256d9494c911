// Package client makes requests of a cluster controller: typed calls over any
// broker.Bus, native or WebSocket, in any dialect.
//
// A call publishes a request and waits for the response with its ID. As
// controllers answer on the topic that all clients share, and Zeek's
// controllers say nothing to requests that they do not understand, every call
// needs a context with a deadline; DefaultTimeout suits Zeek.
package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// DefaultTimeout is how long zeek-client waits for a response. Zeek's
// controller gives up on its agents after 10 to 12 seconds and says so.
const DefaultTimeout = 20 * time.Second

// ErrDisconnected is wrapped by errors of calls whose response cannot come any
// more, because the last peer is gone or the bus is closed.
var ErrDisconnected = errors.New("disconnected from the controller")

// NoResponseError says that a call ended without a response.
type NoResponseError struct {
	Event string // the request
	Err   error  // why: of the context, ErrDisconnected, or a complaint of the server
}

// Error implements the error interface.
func (e *NoResponseError) Error() string {
	return fmt.Sprintf("client: no response to %s: %v", e.Event, e.Err)
}

// Unwrap returns the reason.
func (e *NoResponseError) Unwrap() error { return e.Err }

// Stats counts events that came in and were of no use.
type Stats struct {
	// Stale responses were to requests of ours that had been answered already
	// or that nobody waits for any more.
	Stale uint64

	// Foreign events were for others.
	Foreign uint64

	// Malformed events have arguments that do not fit the dialect, or are none.
	Malformed uint64
}

// Client makes requests of one controller. All methods may be called from any
// goroutine, and several calls may be under way at once.
type Client struct {
	bus     broker.Bus
	dialect *zeekapi.Dialect
	prefix  string // of the IDs of all our requests
	stop    context.CancelFunc
	done    chan struct{} // closed when the reader has ended

	last atomic.Uint64 // number of a request

	mu      sync.Mutex
	waiting map[string]*waiter
	stats   Stats
	ended   error // why there will be no more responses
}

// waiter is a call that waits for its response.
type waiter struct {
	want      reflect.Type
	answer    chan answer // has room for one
	complaint error       // of the server, perhaps about this request
}

type answer struct {
	message zeekapi.Message
	err     error
}

// New returns a client on a bus that receives the dialect's controller topic.
// The bus now belongs to the client, and its owner must Close it.
func New(bus broker.Bus, dialect *zeekapi.Dialect) *Client {
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{
		bus: bus, dialect: dialect, prefix: uuid.NewString() + "/", stop: stop,
		done: make(chan struct{}), waiting: make(map[string]*waiter),
	}
	go c.read(ctx)
	return c
}

// Close ends all calls, closes the bus and waits for the client's goroutine.
func (c *Client) Close() error {
	c.stop()
	err := c.bus.Close()
	<-c.done
	return err
}

// Stats returns the counts so far.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Complain is for transports over which the server reports errors about what it
// was sent (websocket.ClientConfig.OnError). As those name no request, err ends
// the call that is under way if there is just one. If there are several, those
// that get no response will mention it.
func (c *Client) Complain(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 1 {
		c.failAll(err)
		return
	}
	for _, w := range c.waiting {
		w.complaint = err
	}
}

// read takes what the bus brings until that ends.
func (c *Client) read(ctx context.Context) {
	defer close(c.done)
	peers := 0
	var lost error
	for {
		notice, err := c.bus.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = broker.ErrClosed
			} else if lost != nil {
				err = lost
			}
			c.mu.Lock()
			c.ended = fmt.Errorf("%w: %w", ErrDisconnected, err)
			c.failAll(c.ended)
			c.mu.Unlock()
			return
		}
		switch n := notice.(type) {
		case broker.Received:
			c.receive(n.Message)
		case broker.PeerAdded:
			peers++
			lost = nil
		case broker.PeerLost:
			// With peers left the lost one need not have been the controller.
			if peers = max(0, peers-1); peers == 0 {
				lost = n.Err
				c.mu.Lock()
				c.failAll(fmt.Errorf("%w: %w", ErrDisconnected, lost))
				c.mu.Unlock()
			}
		}
	}
}

// failAll must be called with the lock held.
func (c *Client) failAll(err error) {
	for id, w := range c.waiting {
		w.answer <- answer{err: err}
		delete(c.waiting, id)
	}
}

func (c *Client) receive(m broker.Message) {
	var message zeekapi.Message
	ev, err := broker.ParseEvent(m.Value)
	if err == nil {
		message, err = c.dialect.Decode(ev)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, zeekapi.ErrUnknown) || m.Topic != c.dialect.Topics.Controller:
		c.stats.Foreign++
		return
	case err != nil:
		c.stats.Malformed++
		if id, ok := firstText(ev.Args); ok && c.waiting[id] != nil {
			c.waiting[id].answer <- answer{err: err}
			delete(c.waiting, id)
		}
		return
	}
	w := c.waiting[message.RequestID()]
	switch {
	case w != nil && w.want == reflect.TypeOf(message):
		w.answer <- answer{message: message}
		delete(c.waiting, message.RequestID())
	case w == nil && c.ours(message.RequestID()):
		c.stats.Stale++
	default:
		c.stats.Foreign++
	}
}

// firstText returns the first argument of an event, which is where the request
// ID is, also if the rest makes no sense.
func firstText(args []broker.Value) (string, bool) {
	if len(args) == 0 {
		return "", false
	}
	return args[0].Text()
}

func (c *Client) ours(id string) bool { return strings.HasPrefix(id, c.prefix) }

// call publishes a request and waits for its response, of type R.
func call[R zeekapi.Message](ctx context.Context, c *Client, request func(zeekapi.ReqID) zeekapi.Message) (R, error) {
	var none R
	id := c.prefix + strconv.FormatUint(c.last.Add(1), 10)
	ev, err := c.dialect.Encode(request(zeekapi.ReqID{ID: id}))
	if err != nil {
		return none, fmt.Errorf("client: %w", err)
	}
	message, err := c.exchange(ctx, id, ev, reflect.TypeFor[R]())
	if err != nil {
		return none, &NoResponseError{Event: ev.Name, Err: err}
	}
	return message.(R), nil
}

// exchange publishes the request with that ID and waits for a message of type
// want in return.
func (c *Client) exchange(ctx context.Context, id string, request broker.Event, want reflect.Type) (zeekapi.Message, error) {
	w := &waiter{want: want, answer: make(chan answer, 1)}
	c.mu.Lock()
	if c.ended != nil {
		defer c.mu.Unlock()
		return nil, c.ended
	}
	c.waiting[id] = w
	c.mu.Unlock()

	defer c.forget(id)
	if err := c.bus.Publish(ctx, c.dialect.Topics.Controller, request.Value()); err != nil {
		return nil, err
	}
	select {
	case a := <-w.answer:
		return a.message, a.err
	case <-ctx.Done():
		err := context.Cause(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		if w.complaint != nil {
			err = fmt.Errorf("%w, after %w", err, w.complaint)
		}
		return nil, err
	}
}

func (c *Client) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}
