package peering

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// Reasons for the end of a peering. PeerLost.Err wraps one of these,
// broker.ErrOverflow, broker.ErrClosed, admission.ErrEvicted or the error of the
// connection.
var (
	ErrPeerBye     = errors.New("peering: the peer said bye")
	ErrPeerClosed  = errors.New("peering: the peer closed the connection")
	ErrPeerTimeout = errors.New("peering: the peer does not answer")
	ErrPeerRemoved = errors.New("peering: the peer was removed")
)

var (
	// ErrNoPeer is wrapped by the error of Send for an unknown peer.
	ErrNoPeer = errors.New("peering: no such peer")

	// ErrUnknownAddress is wrapped by errors of RemovePeer and AwaitPeer for an
	// address that was not added.
	ErrUnknownAddress = errors.New("peering: no peer was added with this address")

	// ErrTopic is wrapped by errors for invalid topics and prefixes.
	ErrTopic = errors.New("invalid topic")

	errUnsent = fmt.Errorf("peering: send queue: %w: too many bytes in the queues of all peers, and this one reads the slowest", broker.ErrOverflow)

	errHandshakeTimeout = errors.New("peering: handshake timeout")
)

// MismatchError means that the other end speaks another protocol, or another
// version of it. Retrying does not help until a setting is changed. If Met is
// wire.ProtocolPortProbe, nothing is wrong: a client looked for the protocol of the port.
type MismatchError struct {
	Met    wire.Protocol // the protocol of the other end
	Dialed bool          // this end opened the connection
	Secure bool          // this end uses TLS
	First  []byte        // the first bytes of the other end
	Err    error         // the underlying error
}

// Unwrap returns the underlying error.
func (e *MismatchError) Unwrap() error { return e.Err }

// Error names the protocol of the other end and the setting to change.
func (e *MismatchError) Error() string {
	return "peering: " + e.text()
}

func (e *MismatchError) text() string {
	switch {
	case e.Met == wire.ProtocolTLS && !e.Secure:
		return "the peer uses TLS, this end does not: turn it on here, or off in Zeek with Broker::disable_ssl=T"
	case e.Met == wire.ProtocolNative && e.Secure:
		return "the peer does not use TLS, this end does: turn it off here, or on in Zeek with Broker::disable_ssl=F"
	case e.Met == wire.ProtocolNative:
		return fmt.Sprintf("the peer speaks another version of the protocol: %v", e.Err)
	case e.Met == wire.ProtocolWebSocket:
		return "a WebSocket client connected to the native port: use the WebSocket port"
	case e.Met == wire.ProtocolHTTP && e.Dialed:
		return "the port speaks HTTP: connect to the native port of Zeek (Broker::listen), not to the WebSocket port"
	case e.Met == wire.ProtocolHTTP:
		return "an HTTP client connected to the native port: use another port"
	case e.Met == wire.ProtocolPortProbe:
		return "a client only looked for the protocol of this port"
	}
	return fmt.Sprintf("the peer speaks neither Broker nor TLS: its first bytes are %q", e.First)
}

// explain returns a *MismatchError for a failed handshake if the first bytes of
// the stream, or those within TLS, belong to another protocol. Otherwise it
// returns err, possibly with a hint.
func (l *link) explain(err error) error {
	outer := wire.Sniff(l.outer.first())
	met, first := outer, l.outer.first()
	if l.inner != nil {
		met, first = wire.Sniff(l.inner.first()), l.inner.first()
	}
	e := &MismatchError{
		Met: met, First: first, Dialed: l.target != nil,
		Secure: l.e.cfg.TLS != nil, Err: err,
	}
	var drop *wire.DropError
	var protocol *wire.ProtocolError
	var size *wire.FrameSizeError
	switch {
	case outer == wire.ProtocolNative && e.Secure:
		e.Met, e.First = outer, l.outer.first()
		return e
	case met == wire.ProtocolPortProbe:
		return e
	case met == wire.ProtocolTLS && l.inner == nil && e.Secure:
		return err // the error of the TLS handshake is clear
	case met == wire.ProtocolTLS || met == wire.ProtocolHTTP || met == wire.ProtocolWebSocket:
		return e
	case errors.As(err, &drop) && drop.Code == wire.CodePeerIncompatible,
		errors.As(err, &protocol) && protocol.Code == wire.CodePeerIncompatible:
		e.Met = wire.ProtocolNative
		return e
	case met == wire.ProtocolUnknown && (errors.As(err, &size) || errors.As(err, &protocol)):
		return e
	case len(l.outer.first()) > 0 || !e.Dialed || l.target.worked:
		return err
	case errors.Is(err, errHandshakeTimeout):
		// Broker's own WebSocket server waits for the end of a line.
		return fmt.Errorf("%w, received nothing: it may be a WebSocket port", err)
	case e.Secure:
		return err
	}
	// Broker without TLS sends a greeting to every connection, unless it is just
	// starting or ending.
	return fmt.Errorf("%w without sending anything: it may require TLS, as Zeek does unless Broker::disable_ssl=T", err)
}

// readError returns the error for a failed read.
func readError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return ErrPeerClosed
	case errors.Is(err, io.ErrUnexpectedEOF):
		// Within TLS also a normal end: Zeek sends no close notification.
		return fmt.Errorf("%w: %w", ErrPeerClosed, err)
	}
	return fmt.Errorf("peering: read: %w", err)
}

// broken returns the error for the frame that the link read last.
func (l *link) broken(err error) error {
	offset, first := l.frames.Position()
	client, server := l.peer.Addr, addrPort(l.outer.LocalAddr())
	if l.peer.Dialed {
		client, server = server, client
	}
	return fmt.Errorf("peering: %w", broker.NewFrameError(client, server, !l.peer.Dialed, offset, first, err))
}

// brokenHandshake returns err, the failure of a handshake, as the error for a broken
// frame if it is one. A frame of another version is not broken.
func (l *link) brokenHandshake(err error) error {
	var protocol *wire.ProtocolError
	var unexpected *wire.UnexpectedError
	if errors.As(err, &protocol) && protocol.Code != wire.CodePeerIncompatible || errors.As(err, &unexpected) {
		return l.broken(err)
	}
	return err
}

// repeated returns the text of err without what differs when the same peer makes
// the same mistake again on a new connection.
func repeated(err error) string {
	text := err.Error()
	var frame *broker.FrameError
	if errors.As(err, &frame) {
		text = strings.Replace(text, frame.Error(), frame.Err.Error(), 1)
	}
	return text
}
