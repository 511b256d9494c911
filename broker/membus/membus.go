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
func (h *Hub) Endpoint(prefixes ...string) *Endpoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.created++
	e := &Endpoint{
		hub:    h,
		peer:   broker.Peer{ID: uuid.New(), Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), h.created)},
		filter: broker.NewFilter(prefixes...),
		closed: make(chan struct{}),
		inbox:  inbox{changed: make(chan struct{})},
	}
	for _, other := range h.endpoints {
		dialed := other.peer
		dialed.Dialed, dialed.Address = true, dialed.Addr.String()
		e.inbox.notify(broker.PeerAdded{Peer: dialed})
		other.inbox.notify(broker.PeerAdded{Peer: e.peer})
	}
	h.endpoints = append(h.endpoints, e)
	return e
}

// Endpoint is a broker.Bus.
type Endpoint struct {
	hub    *Hub
	peer   broker.Peer // as the others see it
	filter broker.Filter
	inbox  inbox

	publishing sync.Mutex // held by Publish, so that Close is the last word
	closing    sync.Once
	closed     chan struct{}
}

var _ broker.Bus = (*Endpoint)(nil)

// ID returns the endpoint's ID, by which its peers know it.
func (e *Endpoint) ID() uuid.UUID { return e.peer.ID }

// Publish hands v to every other endpoint that wants topic. It waits while one
// of them has a full backlog.
func (e *Endpoint) Publish(ctx context.Context, topic string, v broker.Value) error {
	e.publishing.Lock()
	defer e.publishing.Unlock()
	select {
	case <-e.closed:
		return broker.ErrClosed
	default:
	}
	notice := broker.Received{Peer: e.peer, Message: broker.Message{Topic: topic, Value: v}}
	for _, other := range e.hub.others(e) {
		if !other.filter.Matches(topic) {
			continue
		}
		if err := other.inbox.receive(ctx, e.closed, notice); err != nil {
			return err
		}
	}
	return nil
}

// Next waits for the next notice.
func (e *Endpoint) Next(ctx context.Context) (broker.Notice, error) { return e.inbox.next(ctx) }

// Close ends the endpoint's peerings.
func (e *Endpoint) Close() error {
	e.closing.Do(func() {
		close(e.closed)
		e.inbox.close()
		e.publishing.Lock()
		defer e.publishing.Unlock()
		e.hub.mu.Lock()
		defer e.hub.mu.Unlock()
		e.hub.endpoints = slices.DeleteFunc(e.hub.endpoints, func(x *Endpoint) bool { return x == e })
		for _, other := range e.hub.endpoints {
			other.inbox.notify(broker.PeerLost{Peer: e.peer, Err: broker.ErrClosed})
		}
	})
	return nil
}

func (h *Hub) others(e *Endpoint) []*Endpoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.endpoints), func(x *Endpoint) bool { return x == e })
}

// inbox is a queue in which only messages have to wait for room: of the coming
// and going of peers there is little, and none of it may be lost.
type inbox struct {
	mu      sync.Mutex
	notices []broker.Notice
	closed  bool
	changed chan struct{} // closed and replaced with every change
}

func (b *inbox) notify(n broker.Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.add(n)
	}
}

// receive waits for room, ctx or the end of the sender. An inbox that is
// closed takes nothing, which is no concern of the sender.
func (b *inbox) receive(ctx context.Context, senderClosed <-chan struct{}, n broker.Received) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed && len(b.notices) >= Backlog {
		if err := b.wait(ctx, senderClosed); err != nil {
			return err
		}
	}
	if !b.closed {
		b.add(n)
	}
	return nil
}

func (b *inbox) next(ctx context.Context) (broker.Notice, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.notices) == 0 {
		if b.closed {
			return nil, broker.ErrClosed
		}
		if err := b.wait(ctx, nil); err != nil {
			return nil, err
		}
	}
	n := b.notices[0]
	b.notices[0] = nil
	b.notices = b.notices[1:]
	b.wake()
	return n, nil
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.wake()
}

func (b *inbox) add(n broker.Notice) {
	b.notices = append(b.notices, n)
	b.wake()
}

func (b *inbox) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// wait releases the lock until something changes.
func (b *inbox) wait(ctx context.Context, senderClosed <-chan struct{}) error {
	changed := b.changed
	b.mu.Unlock()
	defer b.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-senderClosed:
		return broker.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
