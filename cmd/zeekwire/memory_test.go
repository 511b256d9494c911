package main

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// TestIncomingMemory sends a message of 20 MiB to the ports of services that have 16
// MiB for incoming messages.
func TestIncomingMemory(t *testing.T) {
	plain, err := security.New(security.Config{Mode: security.Off})
	if err != nil {
		t.Fatal(err)
	}
	open, err := (&gateSettings{}).gate(false, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	const want = "too much memory for incomplete messages"
	run := func(t *testing.T, service func(context.Context) error) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- service(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("agent", func(t *testing.T) {
		log, listens := &awaited{more: make(chan struct{}, 1)}, make(chan net.Addr, 1)
		set := newSimulatedAgent("i", t.TempDir())
		set.incoming = leastIncoming
		service := agentService{settings: set, security: plain, log: zerolog.New(log), started: func(a net.Addr) { listens <- a }}
		run(t, service.run)
		sendLarge(t, dialPeer(t, (<-listens).String()))
		log.await(t, want)
	})
	t.Run("controller", func(t *testing.T) {
		log, listens := &awaited{more: make(chan struct{}, 1)}, make(chan [2]net.Addr, 1)
		set := newLoopbackController(t.TempDir())
		set.incoming = leastIncoming
		service := controllerService{
			settings: set, security: plain, gate: open, log: zerolog.New(log),
			started: func(native, clients, _ net.Addr) { listens <- [2]net.Addr{native, clients} },
		}
		run(t, service.run)
		addresses := <-listens
		sendLarge(t, dialPeer(t, addresses[0].String()))
		log.await(t, want)
		log.forget()
		c, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: addresses[1].String()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sendLarge(t, c)
		log.await(t, want)
	})
}

// dialPeer connects an endpoint to a native port.
func dialPeer(t *testing.T, address string) broker.Bus {
	t.Helper()
	e, err := peering.New(peering.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	peer, err := e.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return toPeer{e, peer}
}

// toPeer publishes to one peer, whatever it subscribes to.
type toPeer struct {
	*peering.Endpoint
	peer broker.Peer
}

func (p toPeer) Publish(ctx context.Context, topic string, v broker.Value) error {
	return p.Send(ctx, p.peer.ID, topic, v)
}

func sendLarge(t *testing.T, bus broker.Bus) {
	t.Helper()
	if err := bus.Publish(t.Context(), "t", broker.String(strings.Repeat("x", 20*mebibyte))); err != nil {
		t.Fatal(err)
	}
}
