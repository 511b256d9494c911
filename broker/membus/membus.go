// Package membus implements broker.Bus without a network: all endpoints of a Hub
// are peers of each other. It is for tests and for clusters within one process.
package membus

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
)

// Backlog is the number of messages queued for an endpoint before Publish of its
// peers blocks.
const Backlog = 1024

// Hub connects endpoints, created by New. Its methods may be called concurrently.
type Hub struct {
	mu        sync.Mutex
	endpoints []*Endpoint // in order of creation
	created   uint16
}

// New returns a hub without endpoints.
func New() *Hub { return new(Hub) }

// Endpoint returns a new endpoint that is a peer of all others. It receives the
// messages that they publish to topics with one of the prefixes. The caller must
// Close it.
func (h *Hub) Endpoint(prefixes ...string) *Endpoint { return h.EndpointOf(nil, prefixes...) }

// EndpointOf is like Endpoint; the others see id as the authenticated identity of
// the new endpoint.
func (h *Hub) EndpointOf(id *broker.Identity, prefixes ...string) *Endpoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.created++
	e := &Endpoint{
		hub: h,
		peer: broker.Peer{
			ID: uuid.New(), Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), h.created),
			Name: id.Name(), Identity: id,
		},
		filter: broker.NewFilter(prefixes...),
		inbox:  queue.New[broker.Notification](queue.Limits{Policy: broker.OverflowBlock, Loose: Backlog}),
	}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	for _, other := range h.endpoints {
		dialed := other.peer
		dialed.Dialed, dialed.Address = true, dialed.Addr.String()
		e.inbox.Force(broker.PeerAdded{Peer: dialed})
		other.inbox.Force(broker.PeerAdded{Peer: e.peer})
	}
	h.endpoints = append(h.endpoints, e)
	return e
}

// Endpoint is a broker.Bus, created by the methods of Hub. Its methods may be
// called concurrently, except that Next must not be called by two goroutines at
// once.
type Endpoint struct {
	hub    *Hub
	peer   broker.Peer // as seen by the others
	filter broker.Filter
	inbox  *queue.Queue[broker.Notification]

	publishing sync.RWMutex // read-locked by Publish, so that nothing follows PeerLost
	closing    sync.Once
	ctx        context.Context // ends with Close
	cancel     context.CancelCauseFunc
}

var (
	_ broker.Bus        = (*Endpoint)(nil)
	_ broker.Subscriber = (*Endpoint)(nil)
)

// ID returns the endpoint ID, which is the Peer.ID that its peers see.
func (e *Endpoint) ID() uuid.UUID { return e.peer.ID }

// Publish sends v to every other endpoint that subscribes to topic. It blocks
// while the queue of one of them is full. If ctx ends first, it returns the
// cause.
func (e *Endpoint) Publish(ctx context.Context, topic string, v broker.Value) error {
	e.publishing.RLock()
	defer e.publishing.RUnlock()
	if e.ctx.Err() != nil {
		return broker.ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(broker.ErrClosed) })()
	notification := broker.Received{Peer: e.peer, Message: broker.Message{Topic: topic, Value: v}}
	for _, other := range e.hub.others(e) {
		if !other.filter.Matches(topic) {
			continue
		}
		_, err := other.inbox.Push(ctx, queue.Entry[broker.Notification]{Item: notification})
		if err != nil && other.ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// Subscriptions implements broker.Subscriber.
func (e *Endpoint) Subscriptions() broker.Filter { return e.filter }

// Next implements broker.Bus. If ctx ends by a timeout and the endpoint has no
// subscriptions, the error also wraps a *broker.NotSubscribedError.
func (e *Endpoint) Next(ctx context.Context) (broker.Notification, error) {
	n, err := e.inbox.Next(ctx)
	if err != nil {
		err = queue.ExplainTimeout(err, e.filter)
	}
	return n, err
}

// Close ends the endpoint's peerings. Its peers receive a PeerLost that wraps
// broker.ErrClosed. It always returns nil.
func (e *Endpoint) Close() error {
	e.closing.Do(func() {
		e.cancel(broker.ErrClosed)
		e.inbox.Close()
		e.publishing.Lock()
		defer e.publishing.Unlock()
		e.hub.mu.Lock()
		defer e.hub.mu.Unlock()
		e.hub.endpoints = slices.DeleteFunc(e.hub.endpoints, func(x *Endpoint) bool { return x == e })
		for _, other := range e.hub.endpoints {
			other.inbox.Force(broker.PeerLost{Peer: e.peer, Err: broker.ErrClosed})
		}
	})
	return nil
}

func (h *Hub) others(e *Endpoint) []*Endpoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.endpoints), func(x *Endpoint) bool { return x == e })
}
