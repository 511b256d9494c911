// Package peertest speaks with controllers, agents and nodes in tests.
package peertest

import (
	"context"
	"errors"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Say publishes a message in a dialect.
func Say(ctx context.Context, t testing.TB, bus broker.Bus, d *zeekapi.Dialect, topic string, m zeekapi.Message) {
	t.Helper()
	ev, err := d.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.PublishEvent(ctx, bus, topic, ev); err != nil {
		t.Fatal(err)
	}
}

// Hear waits for the next message of a type and returns it. It passes over
// peers that come and go, messages of other types, and events that are not in
// the dialect; what is wrong with one that is ends the test.
func Hear[M zeekapi.Message](ctx context.Context, t testing.TB, bus broker.Bus, d *zeekapi.Dialect) M {
	t.Helper()
	for {
		n, err := bus.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		received, ok := n.(broker.Received)
		if !ok {
			continue
		}
		ev, err := broker.ParseEvent(received.Message.Value)
		if err != nil {
			t.Fatal(err)
		}
		m, err := d.Decode(ev)
		if err != nil && !errors.Is(err, zeekapi.ErrUnknown) {
			t.Fatal(err)
		}
		if m, ok := m.(M); ok {
			return m
		}
	}
}
