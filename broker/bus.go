package broker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/uuid"
)

// Bus is the interface of all transports: native endpoints, WebSocket clients
// and servers, and endpoints in memory. It publishes messages to topics, and
// delivers the messages and peerings of its peers as one ordered stream of
// notifications.
//
// Publish and Close may be called concurrently. Next must not be called by two
// goroutines at once.
type Bus interface {
	// Publish sends v to every peer that subscribes to topic. It is not an
	// error if no peer does. Use PublishEvent for events.
	Publish(ctx context.Context, topic string, v Value) error

	// Next waits for the next notification. After Close it returns the
	// notifications that are left, and then ErrClosed.
	Next(ctx context.Context) (Notification, error)

	// Close ends all peerings and waits for the goroutines of the bus. Further
	// calls do nothing.
	Close() error
}

// Publisher is the part of Bus that publishes.
type Publisher interface {
	Publish(ctx context.Context, topic string, v Value) error
}

// PublishEvent publishes ev to topic on p, which is usually a Bus. Its errors
// are those of Publish.
func PublishEvent(ctx context.Context, p Publisher, topic string, ev Event) error {
	return p.Publish(ctx, topic, ev.Value())
}

// Director is a Bus that can send a message to one of its peers. That is
// cheaper than Publish where only one peer needs the message, and no other peer
// sees it.
type Director interface {
	// PublishTo sends v to one peer, if the peer subscribes to topic. It
	// reports whether there is such a peer.
	PublishTo(ctx context.Context, peer uuid.UUID, topic string, v Value) (known bool, err error)
}

// Multicaster is a Bus that can send a message to several of its peers. It encodes the message
// only once for all of them.
type Multicaster interface {
	// PublishToAll is like Publish, but sends v only to the given peers. It ignores peers that
	// do not exist or do not subscribe to topic.
	PublishToAll(ctx context.Context, peers []uuid.UUID, topic string, v Value) error
}

// Rejecter is a Bus that can tell a peer that its last message was not
// understood. Only WebSocket servers can; the native protocol has no such
// message.
type Rejecter interface {
	// Reject tells the peer, and does nothing if it is gone. It never blocks.
	Reject(peer uuid.UUID)
}

// Subscriber is a Bus that knows its own subscriptions: it delivers only
// messages with a topic that matches them. A Bus that is not a Subscriber may
// deliver messages of any topic.
type Subscriber interface {
	// Subscriptions returns the current subscriptions. The caller must not
	// change the result.
	Subscriptions() Filter
}

// CheckSubscribed returns a *NotSubscribedError if bus is a Subscriber and does
// not subscribe to topic, so that waiting for messages of the topic would be in
// vain.
func CheckSubscribed(bus Bus, topic string) error {
	s, ok := bus.(Subscriber)
	if !ok {
		return nil
	}
	if f := s.Subscriptions(); !f.Matches(topic) {
		return &NotSubscribedError{Topic: topic, Subscriptions: f}
	}
	return nil
}

// NotSubscribedError means that a bus cannot receive the messages that the
// caller waits for.
type NotSubscribedError struct {
	Topic         string // "" for any topic
	Subscriptions Filter // of the bus
}

// Error implements the error interface.
func (e *NotSubscribedError) Error() string {
	switch {
	case e.Topic == "":
		return "broker: the bus has no subscriptions"
	case len(e.Subscriptions) == 0:
		return fmt.Sprintf("broker: the bus does not subscribe to topic %q: it has no subscriptions", e.Topic)
	}
	return fmt.Sprintf("broker: the bus does not subscribe to topic %q, only to %q", e.Topic, []string(e.Subscriptions))
}

// Notification is what Next of a Bus returns: a Received, PeerAdded,
// PeerSubscribed or PeerLost.
type Notification interface{ notification() }

// Received is a message of a peer.
type Received struct {
	Peer    Peer
	Message Message
}

// PeerAdded is the begin of a peering. Messages of the peer follow.
type PeerAdded struct{ Peer Peer }

// PeerSubscribed is a change of a peer's subscriptions. Only native endpoints
// report changes; Endpoint.Peers of package peering returns the first
// subscriptions.
type PeerSubscribed struct {
	Peer   Peer
	Filter Filter // all subscriptions of the peer
}

// PeerLost is the end of a peering. No other notification of the peer follows.
type PeerLost struct {
	Peer Peer
	Err  error // the reason, never nil
}

func (Received) notification()       {}
func (PeerAdded) notification()      {}
func (PeerSubscribed) notification() {}
func (PeerLost) notification()       {}

// Peer describes the other end of a peering.
type Peer struct {
	// ID is the peer's endpoint ID. WebSocket peers have none; theirs is a
	// random ID that the bus assigns.
	ID uuid.UUID

	// Addr is the network address of the other end of the connection.
	Addr netip.AddrPort

	// Dialed reports whether this end opened the connection. If so, Address is
	// the address that it was told to connect to.
	Dialed  bool
	Address string

	// Name is the first name of Identity. Without Identity it is the name that
	// the peer claims, if the transport carries one: X-Application-Name of a
	// WebSocket client, the endpoint name of a WebSocket server.
	Name string

	// Application is the name of the program that the peer claims, if the transport carries
	// one: X-Application-Name of a WebSocket client.
	Application string

	// Identity is the authenticated identity of the peer, or nil if the peer
	// was not authenticated.
	Identity *Identity
}

// Identity is an authenticated identity. It must not be changed.
type Identity struct {
	// Names are the common name and the alternative names of a certificate, or
	// the single name that other means of authentication gave the peer.
	Names []string

	// Certified reports whether a TLS certificate was verified.
	Certified bool

	// Proof distinguishes credentials of the same name, for the code that
	// verified them. It contains no secret.
	Proof string
}

// Name returns the first name, or "" if there is none. It may be called on nil.
func (i *Identity) Name() string {
	if i == nil || len(i.Names) == 0 {
		return ""
	}
	return i.Names[0]
}

// ErrClosed is returned by methods of a Bus after Close.
var ErrClosed = errors.New("broker: closed")

// ErrOverflow is wrapped by the error of a peering that ended because its queue
// was full and the policy is OverflowDisconnect.
var ErrOverflow = errors.New("broker: queue overflow")

// Overflow is a policy for messages that do not fit in a queue. The default is
// OverflowDropOldest.
type Overflow uint8

// The policies. Broker has the first three (Broker: overflow_policy).
const (
	OverflowDropOldest Overflow = iota // drop the oldest message
	OverflowDropNewest                 // drop the new message
	OverflowDisconnect                 // end the peering
	OverflowBlock                      // block the sender
)

var overflowNames = [...]string{"drop-oldest", "drop-newest", "disconnect", "block"}

// String returns the policy's name, such as "drop-oldest".
func (o Overflow) String() string {
	if int(o) >= len(overflowNames) {
		return "overflow(?)"
	}
	return overflowNames[o]
}
