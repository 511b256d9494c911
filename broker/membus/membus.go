// Package membus is a bus without a network: endpoints of one process that are
// all peers of each other. It is for tests and for clusters that live in one
// process.
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

// Backlog is how many messages an endpoint holds before those who publish to
// it have to wait.
const Backlog = 1024

// Hub connects endpoints. Its methods may be called from any goroutine.
type Hub struct {
	mu        sync.Mutex
	endpoints []*Endpoint // in order of creation
	created   uint16
}

// New returns a hub without endpoints.
func New() *Hub { return new(Hub) }

// Endpoint returns a new endpoint, a peer of all others, that receives what
// they publish to topics with these prefixes. Its owner must Close it.
func (h *Hub) Endpoint(prefixes ...string) *Endpoint { return h.EndpointOf(nil, prefixes...) }

// EndpointOf is Endpoint for one whose identity the others know.
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

// Endpoint is a broker.Bus.
type Endpoint struct {
	hub    *Hub
	peer   broker.Peer // as the others see it
	filter broker.Filter
	inbox  *queue.Queue[broker.Notification]

	publishing sync.RWMutex // held by every Publish, so that Close is the last word
	closing    sync.Once
	ctx        context.Context // ends with Close
	cancel     context.CancelCauseFunc
}

var _ broker.Bus = (*Endpoint)(nil)

// ID returns the endpoint's ID, by which its peers know it.
func (e *Endpoint) ID() uuid.UUID { return e.peer.ID }

// Publish hands v to every other endpoint that wants topic. It waits while one
// of them has a full backlog.
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

// Next waits for the next notification.
func (e *Endpoint) Next(ctx context.Context) (broker.Notification, error) { return e.inbox.Next(ctx) }

// Close ends the endpoint's peerings.
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
