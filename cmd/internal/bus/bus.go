// Package bus implements zeekwire's commands publish and subscribe. It sends a
// message to peers over either transport, and prints messages of peers for
// people or programs.
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
	"github.com/zeekwire/zeekwire/cmd/internal/listening"
)

// Transport is the protocol of the connections to peers.
type Transport string

// The transports.
const (
	Native    Transport = "native"
	WebSocket Transport = "websocket"
)

// DefaultPort returns the default port of Zeek: Broker::default_port, or the
// port of the WebSocket server in policy/frameworks/cluster/websocket/server.
func (t Transport) DefaultPort() string {
	if t == WebSocket {
		return "27759"
	}
	return "9999"
}

// Options configure the connections to peers.
type Options struct {
	Transport Transport

	// Connect is the address to connect to, and Listen the address to listen at.
	// One of them may be empty. Listen requires the native transport.
	Connect, Listen string

	// Security encrypts connections. If nil, connections are not encrypted.
	Security *security.Layer

	// Timeout limits the time to connect and, for Publish, the time of the whole
	// call.
	Timeout time.Duration

	// Status receives messages about peers that connect and disconnect.
	Status *log.Logger
}

// Check returns an error if the options are invalid. The error names the flags
// of the commands. Publish and Subscribe call Check.
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
	return context.WithTimeoutCause(ctx, o.Timeout, &timeoutError{o.Timeout})
}

// timeoutError means that a connection or a delivery took too long.
type timeoutError struct{ limit time.Duration }

func (e *timeoutError) Error() string   { return fmt.Sprintf("gave up after %s", e.limit) }
func (*timeoutError) Is(err error) bool { return err == context.DeadlineExceeded }

// native returns a native endpoint. If there is an address to connect to, the
// endpoint is peered with it.
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

// attach makes e listen and connect.
func (o *Options) attach(ctx context.Context, e *peering.Endpoint) error {
	if o.Listen != "" {
		addr, err := e.Listen(ctx, o.Listen)
		if err != nil {
			return listening.Purpose{For: "peers", Flag: "--listen"}.Explain(o.Listen, err)
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
			return advised(o.Connect, err)
		}
	}
	return nil
}

// webSocket connects to a WebSocket server.
func (o *Options) webSocket(ctx context.Context, cfg websocket.ClientConfig) (*websocket.Client, error) {
	cfg.Address, cfg.ApplicationName = o.Connect, "zeekwire"
	if o.Security != nil {
		cfg.DialContext = o.Security.DialContext
	}
	ctx, cancel := o.withTimeout(ctx)
	defer cancel()
	c, err := websocket.Dial(ctx, cfg)
	if err != nil {
		return nil, advised(o.Connect, err)
	}
	return c, nil
}

// Publish sends an event and returns when all subscribed peers have received
// it, or over a WebSocket, when the server has received the bytes. Over the
// native transport it is an error if no peer subscribes to the topic.
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
	subscribers, err := o.awaitSubscribers(ctx, e, topic)
	if err != nil {
		return err
	}
	if err := broker.PublishEvent(ctx, e, topic, ev); err != nil {
		return err
	}
	received, err := e.Confirm(ctx)
	if err != nil {
		return fmt.Errorf("a peer may not have received the event: %w", err)
	}
	confirmed := make(map[uuid.UUID]time.Time) // some may be lost by now
	for _, p := range received {
		confirmed[p.Peer.ID] = p.Since
	}
	for _, p := range subscribers {
		if !confirmed[p.Peer.ID].Equal(p.Since) {
			return fmt.Errorf("lost %s, which may not have received the event", describe(p.Peer))
		}
		o.Status.Printf("%s has received the event", describe(p.Peer))
	}
	return e.Drain(ctx)
}

// pollInterval is the time between two looks at the subscriptions of peers.
// There is no notification when they change.
const pollInterval = 50 * time.Millisecond

// awaitSubscribers returns the peers that subscribe to topic. If the endpoint
// listens, it waits for one.
func (o *Options) awaitSubscribers(ctx context.Context, e *peering.Endpoint, topic string) ([]peering.PeerInfo, error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		var subscribers []peering.PeerInfo
		var others []string
		for _, p := range e.Peers() {
			switch {
			case p.State != peering.Peered:
			case p.Filter.Matches(topic):
				subscribers = append(subscribers, p)
			default:
				others = append(others, fmt.Sprintf("%s subscribes to %q", describe(p.Peer), []string(p.Filter)))
			}
		}
		var end error
		switch {
		case len(subscribers) > 0:
			return subscribers, nil
		case len(others) > 0 && o.Listen == "":
			return nil, fmt.Errorf("no peer subscribes to %s: %s", topic, strings.Join(others, ", "))
		}
		select {
		case <-ticker.C:
			continue
		case <-ctx.Done():
			end = context.Cause(ctx)
		}
		if len(others) > 0 {
			return nil, fmt.Errorf("no peer subscribes to %s: %s: %w", topic, strings.Join(others, ", "), end)
		}
		return nil, fmt.Errorf("no peer: %w", end)
	}
}

// errorTime is the time that Publish waits for an error message. A WebSocket
// server reports invalid messages, but does not confirm valid ones.
var errorTime = 300 * time.Millisecond

func (o *Options) publishWebSocket(ctx context.Context, topic string, ev broker.Event) error {
	serverErrors := make(chan error, 1)
	c, err := o.webSocket(ctx, websocket.ClientConfig{OnError: func(e jsonv1.Error) {
		select {
		case serverErrors <- e:
		default: // the first error is enough
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
	case err := <-serverErrors:
		return err
	case <-time.After(errorTime):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.Close() // sends the queued messages first, and takes what the server still sends
	select {
	case err := <-serverErrors:
		return err
	default:
	}
	for {
		n, err := c.Next(ctx)
		if err != nil {
			return fmt.Errorf("the server may not have received the event: %w", err)
		}
		if lost, ok := n.(broker.PeerLost); ok {
			if !errors.Is(lost.Err, broker.ErrClosed) {
				return fmt.Errorf("the server may not have received the event: %w", lost.Err)
			}
			o.Status.Printf("%s has received the event", describe(lost.Peer))
			return nil
		}
	}
}

// Subscribe prints the messages that peers publish to topics with one of the
// prefixes. It returns when it has printed count messages, or when ctx ends,
// which is not an error. A count of 0 means no limit. An error that a WebSocket server
// reports ends it, and so does a refusal to connect again.
func Subscribe(ctx context.Context, o Options, prefixes []string, p *Printer, count int) error {
	if err := o.Check(); err != nil {
		return err
	}
	interrupted := ctx.Err
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	b, err := o.subscribe(ctx, prefixes, end)
	if err != nil {
		if interrupted() != nil {
			return nil
		}
		return err
	}
	defer b.Close()
	p.filter = broker.NewFilter(prefixes...)
	for printed := 0; count == 0 || printed < count; {
		n, err := b.Next(ctx)
		switch {
		case interrupted() != nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
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
	acknowledge(ctx, b)
	return nil
}

// acknowledgeTime limits acknowledge.
const acknowledgeTime = time.Second

// acknowledge waits until each peer has responded once more. Meanwhile, this end answers
// publishers that ask whether their events were received.
func acknowledge(ctx context.Context, b broker.Bus) {
	ctx, cancel := context.WithTimeout(ctx, acknowledgeTime)
	defer cancel()
	if e, ok := b.(*peering.Endpoint); ok {
		_ = e.Flush(ctx) // an error does not matter: the events have been printed
	}
}

// subscribe connects to the peers. It calls fail with an error that a WebSocket server
// reports.
func (o *Options) subscribe(ctx context.Context, prefixes []string, fail func(error)) (broker.Bus, error) {
	if o.Transport == WebSocket {
		return o.webSocket(ctx, websocket.ClientConfig{
			Subscriptions: prefixes, Reconnect: true,
			OnError: func(e jsonv1.Error) { fail(e) },
		})
	}
	return o.native(ctx, peering.Config{Subscriptions: prefixes, Hooks: &drops{status: o.Status}})
}

// drops reports, once, that messages were dropped because they arrive faster
// than they can be printed.
type drops struct {
	once   sync.Once
	status *log.Logger
}

func (*drops) DroppedSending(broker.Peer, int) {}

func (d *drops) DroppedReceived(broker.Peer, int) {
	d.once.Do(func() { d.status.Print("messages arrive faster than they can be printed; some are lost") })
}

// describe returns the address of a peer, for messages.
func describe(p broker.Peer) string {
	if p.Dialed {
		return p.Address
	}
	return p.Addr.String()
}
