package httpapi

import (
	"context"
	"errors"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
)

// steadyBus is the connection that receives the events of the controller for the server itself.
// If it does not keep up with them, and is disconnected therefore, it connects again. Requests
// of the server have a connection of their own, so that they do not fail with it.
type steadyBus struct {
	bus    *membus.Server
	topics []string
	lost   func() // called after a new connection

	mu     sync.Mutex
	line   *membus.Client
	closed bool
}

// connect connects the bus, also in place of a connection that was lost.
func (b *steadyBus) connect() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return broker.ErrClosed
	}
	line, err := b.bus.Connect(systemPeer(eventsID), b.topics...)
	if err == nil {
		b.line = line
	}
	return err
}

func (b *steadyBus) present() *membus.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.line
}

// Publish implements broker.Bus.
func (b *steadyBus) Publish(ctx context.Context, topic string, v broker.Value) error {
	return b.present().Publish(ctx, topic, v)
}

// Subscriptions implements broker.Subscriber.
func (b *steadyBus) Subscriptions() broker.Filter { return b.present().Subscriptions() }

// Next implements broker.Bus.
func (b *steadyBus) Next(ctx context.Context) (broker.Notification, error) {
	n, err := b.present().Next(ctx)
	if !errors.Is(err, broker.ErrClosed) {
		return n, err
	}
	if failed := b.connect(); failed != nil {
		return nil, failed
	}
	b.lost()
	return broker.PeerLost{Peer: broker.Peer{Dialed: true}, Err: broker.ErrOverflow}, nil
}

// Close implements broker.Bus.
func (b *steadyBus) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.line.Close()
}
