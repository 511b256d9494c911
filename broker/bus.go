package broker

import (
	"context"
	"errors"
	"net/netip"

	"github.com/google/uuid"
)

// Bus is what both transports have in common, native endpoints and WebSocket
// connections: publish to a topic, and one ordered stream of what arrives and
// of peers that come and go.
//
// Publish and Close may be called from any goroutine; Next from one at a time.
type Bus interface {
	// Publish sends v to every peer that wants topic. That nobody does is not
	// an error.
	Publish(ctx context.Context, topic string, v Value) error

	// Next waits for the next notification. After Close it returns what is left and
	// then ErrClosed.
	Next(ctx context.Context) (Notification, error)

	// Close ends all peerings and waits for the goroutines of the bus.
	Close() error
}

// Director is a Bus that can address its peers. To publish to one out of many
// is cheaper so, and nobody else hears it.
type Director interface {
	// PublishTo is Publish to one peer alone, if that wants topic. It reports
	// whether there is such a peer.
	PublishTo(ctx context.Context, peer uuid.UUID, topic string, v Value) (known bool, err error)
}

// Rejecter is a Bus that can tell a peer that a message of its means nothing to
// us. Native peers cannot be told.
type Rejecter interface {
	// Reject tells a peer, if it is there. It never waits.
	Reject(peer uuid.UUID)
}

// Notification is one of Received, PeerAdded, PeerSubscribed and PeerLost.
type Notification interface{ notification() }

// Received says that a peer sent a message.
type Received struct {
	Peer    Peer
	Message Message
}

// PeerAdded says that a peering is up; messages of the peer follow.
type PeerAdded struct{ Peer Peer }

// PeerSubscribed says that a peer wants other topics than before. Only native
// endpoints say so; what a peer wants at first, Endpoint.Peers tells.
type PeerSubscribed struct {
	Peer   Peer
	Filter Filter
}

// PeerLost says that a peering is over; nothing of the peer follows.
type PeerLost struct {
	Peer Peer
	Err  error // why, never nil
}

func (Received) notification()       {}
func (PeerAdded) notification()      {}
func (PeerSubscribed) notification() {}
func (PeerLost) notification()       {}

// Peer says who is at the other end of a peering.
type Peer struct {
	// ID is the peer's endpoint ID. On a WebSocket, where peers have none, it
	// is random and ours.
	ID uuid.UUID

	// Addr is the network address of the other end of the connection.
	Addr netip.AddrPort

	// Dialed says that we opened the connection. Address then is what we were
	// told to dial.
	Dialed  bool
	Address string

	// Name is the first name of Identity. Without one it is what the peer calls
	// itself, where the transport has a place for that: the X-Application-Name
	// of a WebSocket client.
	Name string

	// Identity is who the peer has proved to be; nil if nobody asked for a
	// proof.
	Identity *Identity
}

// Identity is who a peer has proved to be. It must not be changed.
type Identity struct {
	// Names are the common name and the alternative names of a certificate, or
	// the one name that whoever asked for a proof has given the peer.
	Names []string

	// Certified says that the proof was a TLS certificate.
	Certified bool

	// Proof tells one proof of a name from another, for whoever asked for it. It
	// holds no secret.
	Proof string
}

// Name returns the first name, or nothing if there is none.
func (i *Identity) Name() string {
	if i == nil || len(i.Names) == 0 {
		return ""
	}
	return i.Names[0]
}

// ErrClosed is returned by calls on an endpoint or connection after Close.
var ErrClosed = errors.New("broker: closed")

// ErrOverflow is wrapped by the error with which a peering ends when its queue
// is full and its policy is OverflowDisconnect.
var ErrOverflow = errors.New("broker: queue overflow")

// Overflow says what happens to a message for a queue that is full.
type Overflow uint8

// The policies, of which Broker has all but OverflowBlock
// (Broker: overflow_policy).
const (
	OverflowDropOldest Overflow = iota // make room by dropping the oldest
	OverflowDropNewest                 // drop the message itself
	OverflowDisconnect                 // end the peering
	OverflowBlock                      // let the sender wait
)

var overflowNames = [...]string{"drop-oldest", "drop-newest", "disconnect", "block"}

// String returns the policy's name, such as "drop-oldest".
func (o Overflow) String() string {
	if int(o) >= len(overflowNames) {
		return "overflow(?)"
	}
	return overflowNames[o]
}
