package httpapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/request"
)

// steadyBus is the connection of the server itself to the controller. It receives events.
// If it does not keep up with them, and is disconnected therefore, it connects again.
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
	line, err := b.bus.Connect(broker.Peer{ID: systemID, Name: "HTTP server", Application: application}, b.topics...)
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

// A request of the server itself is made again if its connection is lost meanwhile. A new one takes
// microseconds.
const (
	maxAttempts  = 20
	attemptPause = 5 * time.Millisecond
)

// ask calls a method of the client that uses the server's own connection, until it does not fail
// because that is lost. The request must not change anything.
func ask[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		answer, err := call(ctx)
		if attempt == maxAttempts || !errors.Is(err, request.ErrDisconnected) {
			return answer, err
		}
		select {
		case <-time.After(attemptPause):
		case <-ctx.Done():
			return answer, err
		}
	}
}
