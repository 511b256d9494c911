package fake

import (
	"context"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// transports are the ways to reach a fake. Each is opened when it is first asked for.
type transports struct {
	version  string // of Zeek, for WebSocket clients
	topics   []string
	outward  []string // topics that peers usually receive
	junction *junction

	connections connections

	mu        sync.Mutex
	webSocket string // address
	native    *peering.Endpoint
	listening string // address of native
}

// Topics returns the topic prefixes that the fake receives. A bus that is given
// to Attach must subscribe to them.
func (t *transports) Topics() []string { return t.topics }

// Bus returns a new in-process bus whose only peer is the fake. It receives
// topics with the given prefixes, or without any those on which the fake
// speaks. Its owner must close it.
func (t *transports) Bus(prefixes ...string) broker.Bus {
	if len(prefixes) == 0 {
		prefixes = t.outward
	}
	hub := membus.New()
	ours := hub.Endpoint(t.topics...)
	theirs := hub.Endpoint(prefixes...)
	if err := t.junction.attach(&branch{Bus: ours, single: true}); err != nil {
		_ = theirs.Close()
	}
	return theirs
}

// Attach makes the fake speak on another bus, such as a WebSocket server with
// TLS. The bus must subscribe to Topics. It now belongs to the fake, which
// closes it. A handler that returns ErrDisconnect closes the whole bus.
func (t *transports) Attach(bus broker.Bus) error { return t.junction.attach(&branch{Bus: bus}) }

// ListenWebSocket listens for WebSocket clients on a free port of 127.0.0.1 and
// returns the address. Further calls return the same address.
func (t *transports) ListenWebSocket(ctx context.Context) (address string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.webSocket != "" {
		return t.webSocket, nil
	}
	l, err := t.connections.listen(ctx)
	if err != nil {
		return "", err
	}
	server, err := websocket.NewServer(websocket.ServerConfig{Endpoint: "fake", Version: t.version})
	if err != nil {
		_ = l.Close()
		return "", err
	}
	serve := func(ctx context.Context) { _ = server.Serve(ctx, l) }
	if err := t.junction.attach(&branch{Bus: server, drop: t.connections.drop, serve: serve}); err != nil {
		_ = l.Close()
		return "", err
	}
	t.webSocket = l.Addr().String()
	return t.webSocket, nil
}

// ListenNative listens for native peers on a free port of 127.0.0.1 and returns
// the address. Further calls return the same address. Connections do not use
// TLS.
func (t *transports) ListenNative(ctx context.Context) (address string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listening != "" {
		return t.listening, nil
	}
	l, err := t.connections.listen(ctx)
	if err != nil {
		return "", err
	}
	e, err := t.endpoint()
	if err == nil {
		err = e.Serve(l)
	}
	if err != nil {
		_ = l.Close()
		return "", err
	}
	t.listening = l.Addr().String()
	return t.listening, nil
}

// AddPeer connects to a native endpoint at an address "host:port", and again
// whenever the connection is lost. It does not wait for the connection.
func (t *transports) AddPeer(address string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, err := t.endpoint()
	if err != nil {
		return err
	}
	return e.AddPeer(address)
}

// RemovePeer undoes AddPeer.
func (t *transports) RemovePeer(address string) error {
	t.mu.Lock()
	e, err := t.endpoint()
	t.mu.Unlock()
	if err != nil {
		return err
	}
	return e.RemovePeer(address)
}

// endpoint returns the native endpoint, which it creates if there is none.
func (t *transports) endpoint() (*peering.Endpoint, error) {
	if t.native != nil {
		return t.native, nil
	}
	e, err := peering.New(peering.Config{Subscriptions: t.topics, DialContext: t.connections.dial})
	if err != nil {
		return nil, err
	}
	if err := t.junction.attach(&branch{Bus: e, drop: t.connections.drop}); err != nil {
		return nil, err
	}
	t.native = e
	return e, nil
}
