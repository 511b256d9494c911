// Package bus is what zeekwire's commands publish and subscribe do: a message
// to peers over either transport, and messages of peers in a form for people or
// programs.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// Transport is how to talk to peers.
type Transport string

// The transports.
const (
	Native    Transport = "native"
	WebSocket Transport = "websocket"
)

// DefaultPort returns Zeek's own: Broker::default_port, or that of the
// WebSocket server in policy/frameworks/cluster/websocket/server.
func (t Transport) DefaultPort() string {
	if t == WebSocket {
		return "27759"
	}
	return "9999"
}

// Options say who to talk to.
type Options struct {
	Transport Transport

	// Connect is the address to connect to, Listen the one to listen at; either
	// may be "". Only native peers can be listened for.
	Connect, Listen string

	// Security protects connections; nil for in the clear.
	Security *security.Layer

	// Timeout is how long to try to connect, and for Publish, all it may take.
	Timeout time.Duration

	// Status is for people: who comes and goes.
	Status *log.Logger
}

// Check says, in words of the command line, whether the options make sense.
// Publish and Subscribe do that, too.
func (o *Options) Check() error {
	switch {
	case o.Transport != Native && o.Transport != WebSocket:
		return fmt.Errorf("--transport %q: want %s or %s", o.Transport, Native, WebSocket)
	case o.Transport == WebSocket && o.Listen != "":
		return errors.New("--listen: requires --transport native; WebSocket servers can only be connected to")
	case o.Connect == "" && o.Listen == "":
		return errors.New("neither an address to connect to nor one to listen at")
	case o.Timeout <= 0:
		return fmt.Errorf("--timeout %s: want more than 0", o.Timeout)
	}
	return nil
}

func (o *Options) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("gave up after %s", o.Timeout))
}

// native returns an endpoint that has the peer to connect to, if there is one.
func (o *Options) native(ctx context.Context, cfg peering.Config) (*peering.Endpoint, error) {
	if o.Security != nil {
		cfg.TLS = o.Security.Hook()
	}
	e, err := peering.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := o.attach(ctx, e); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (o *Options) attach(ctx context.Context, e *peering.Endpoint) error {
	if o.Listen != "" {
		addr, err := e.Listen(ctx, o.Listen)
		if err != nil {
			return err
		}
		o.Status.Printf("listening at %s", addr)
	}
	if o.Connect != "" {
		if err := e.AddPeer(o.Connect); err != nil {
			return err
		}
		ctx, cancel := o.withTimeout(ctx)
		defer cancel()
		if _, err := e.AwaitPeer(ctx, o.Connect); err != nil {
			return err
		}
	}
	return nil
}

// webSocket connects to a server.
func (o *Options) webSocket(ctx context.Context, cfg websocket.ClientConfig) (*websocket.Client, error) {
	cfg.Address, cfg.ApplicationName = o.Connect, "zeekwire"
	if o.Security != nil {
		cfg.DialContext = o.Security.DialContext
	}
	ctx, cancel := o.withTimeout(ctx)
	defer cancel()
	return websocket.Dial(ctx, cfg)
}

// Publish sends an event and returns when all peers that want it have it, on a
// WebSocket when the server has the bytes. That nobody wants it is an error.
func Publish(ctx context.Context, o Options, topic string, ev broker.Event) error {
	if err := o.Check(); err != nil {
		return err
	}
	if topic == "" {
		return errors.New("the topic is empty")
	}
	ctx, cancel := o.withTimeout(ctx)
	defer cancel()
	if o.Transport == WebSocket {
		return o.publishWebSocket(ctx, topic, ev)
	}
	return o.publishNative(ctx, topic, ev)
}

func (o *Options) publishNative(ctx context.Context, topic string, ev broker.Event) error {
	e, err := o.native(ctx, peering.Config{})
	if err != nil {
		return err
	}
	defer e.Close()
	takers, err := o.awaitTakers(ctx, e, topic)
	if err != nil {
		return err
	}
	if err := broker.PublishEvent(ctx, e, topic, ev); err != nil {
		return err
	}
	if err := e.Flush(ctx); err != nil {
		return fmt.Errorf("a peer may not have got it: %w", err)
	}
	// Flush does not mind peers that are lost, but they may not have got it.
	still := make(map[uuid.UUID]time.Time)
	for _, p := range e.Peers() {
		still[p.Peer.ID] = p.Since
	}
	for _, p := range takers {
		if !still[p.Peer.ID].Equal(p.Since) {
			return fmt.Errorf("lost %s, which may not have got it", describe(p.Peer))
		}
		o.Status.Printf("%s has it", describe(p.Peer))
	}
	return e.Drain(ctx)
}

// look is how often awaitTakers looks at what peers subscribe to, of which
// there is no notification.
const look = 50 * time.Millisecond

// awaitTakers returns the peers that want topic. If we listen, it waits for
// one.
func (o *Options) awaitTakers(ctx context.Context, e *peering.Endpoint, topic string) ([]peering.PeerInfo, error) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		var takers []peering.PeerInfo
		var others []string
		for _, p := range e.Peers() {
			switch {
			case p.State != peering.Peered:
			case p.Filter.Matches(topic):
				takers = append(takers, p)
			default:
				others = append(others, fmt.Sprintf("%s subscribes to %q", describe(p.Peer), []string(p.Filter)))
			}
		}
		var end error
		switch {
		case len(takers) > 0:
			return takers, nil
		case len(others) > 0 && o.Listen == "":
			return nil, fmt.Errorf("nobody wants %s: %s", topic, strings.Join(others, ", "))
		}
		select {
		case <-ticker.C:
			continue
		case <-ctx.Done():
			end = context.Cause(ctx)
		}
		if len(others) > 0 {
			return nil, fmt.Errorf("nobody wants %s: %s: %w", topic, strings.Join(others, ", "), end)
		}
		return nil, fmt.Errorf("no peer: %w", end)
	}
}

// complaintTime is how long Publish listens for a complaint. A WebSocket server
// says what is wrong with a message, but never that nothing is.
var complaintTime = 300 * time.Millisecond

func (o *Options) publishWebSocket(ctx context.Context, topic string, ev broker.Event) error {
	complaints := make(chan error, 1)
	c, err := o.webSocket(ctx, websocket.ClientConfig{OnError: func(e jsonv1.Error) {
		select {
		case complaints <- e:
		default: // the first is enough
		}
	}})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := broker.PublishEvent(ctx, c, topic, ev); err != nil {
		return err
	}
	select {
	case err := <-complaints:
		return err
	case <-time.After(complaintTime):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.Close() // and so send what is queued
	for {
		n, err := c.Next(ctx)
		if err != nil {
			return fmt.Errorf("the server may not have got it: %w", err)
		}
		if lost, ok := n.(broker.PeerLost); ok {
			if !errors.Is(lost.Err, broker.ErrClosed) {
				return fmt.Errorf("the server may not have got it: %w", lost.Err)
			}
			o.Status.Printf("%s has it", describe(lost.Peer))
			return nil
		}
	}
}

// Subscribe prints the messages of peers on topics with these prefixes, until
// it has printed count of them, unless that is 0, or ctx ends, which is no
// error.
func Subscribe(ctx context.Context, o Options, prefixes []string, p *Printer, count int) error {
	if err := o.Check(); err != nil {
		return err
	}
	b, err := o.subscribe(ctx, prefixes)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer b.Close()
	p.filter = broker.NewFilter(prefixes...)
	for printed := 0; count == 0 || printed < count; {
		n, err := b.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		switch n := n.(type) {
		case broker.PeerAdded:
			o.Status.Printf("peered with %s", describe(n.Peer))
		case broker.PeerLost:
			p.forget(n.Peer)
			o.Status.Printf("lost %s: %v", describe(n.Peer), n.Err)
		case broker.Received:
			limit := 0
			if count > 0 {
				limit = count - printed
			}
			lines, err := p.print(n, limit)
			if err != nil {
				return err
			}
			printed += lines
		}
	}
	return nil
}

func (o *Options) subscribe(ctx context.Context, prefixes []string) (broker.Bus, error) {
	if o.Transport == WebSocket {
		return o.webSocket(ctx, websocket.ClientConfig{
			Subscriptions: prefixes, Reconnect: true,
			OnError: func(e jsonv1.Error) { o.Status.Printf("%v", e) },
		})
	}
	return o.native(ctx, peering.Config{Subscriptions: prefixes, Hooks: &drops{status: o.Status}})
}

// drops tells, once, that messages come faster than they can be printed.
type drops struct {
	once   sync.Once
	status *log.Logger
}

func (*drops) DroppedSending(broker.Peer, int) {}

func (d *drops) DroppedReceived(broker.Peer, int) {
	d.once.Do(func() { d.status.Print("messages come faster than they can be printed, some are lost") })
}

// describe names a peer by where it is.
func describe(p broker.Peer) string {
	if p.Dialed {
		return p.Address
	}
	return p.Addr.String()
}
