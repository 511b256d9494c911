package peering

import (
	"errors"
	"fmt"
	"io"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// Why a peering ended, as far as it has a name; PeerLost.Err wraps one of these,
// broker.ErrOverflow, broker.ErrClosed or the error of the connection.
var (
	ErrPeerBye     = errors.New("peering: the peer said bye")
	ErrPeerClosed  = errors.New("peering: the peer closed the connection")
	ErrPeerTimeout = errors.New("peering: the peer does not answer")
	ErrUndialed    = errors.New("peering: undialed")
)

var (
	// ErrNoPeer is returned by Send if there is no such peer.
	ErrNoPeer = errors.New("peering: no such peer")

	// ErrNotDialed is returned for an address that nobody dialed.
	ErrNotDialed = errors.New("peering: not dialed")

	// ErrTopic is wrapped by the errors for topics and prefixes that cannot be
	// used.
	ErrTopic = errors.New("invalid topic")

	errHandshakeTimeout = errors.New("peering: no handshake in time")
)

// MismatchError says that the other end speaks another protocol than we do, or
// another version of ours. To try again is of no use before somebody changes a
// setting.
type MismatchError struct {
	Met    wire.Protocol
	Dialed bool // we opened the connection
	Secure bool // we were to use TLS
	First  []byte
	Err    error // what failed
}

// Unwrap returns what failed.
func (e *MismatchError) Unwrap() error { return e.Err }

// Error names what was met and which setting to change.
func (e *MismatchError) Error() string {
	return "peering: " + e.text()
}

func (e *MismatchError) text() string {
	switch {
	case e.Met == wire.ProtocolTLS && !e.Secure:
		return "the peer uses TLS, we do not: turn it on here, or off in Zeek with Broker::disable_ssl=T"
	case e.Met == wire.ProtocolNative && e.Secure:
		return "the peer does not use TLS, we do: turn it off here, or on in Zeek with Broker::disable_ssl=F"
	case e.Met == wire.ProtocolNative:
		return fmt.Sprintf("the peer speaks another version of the protocol: %v", e.Err)
	case e.Met == wire.ProtocolWebSocket:
		return "a WebSocket client connected to the native port: let it use the port for WebSockets"
	case e.Met == wire.ProtocolHTTP && e.Dialed:
		return "the port speaks HTTP: dial the native port of Zeek (Broker::listen), not the one for WebSockets"
	case e.Met == wire.ProtocolHTTP:
		return "an HTTP client connected to the native port: let it use another one"
	}
	return fmt.Sprintf("the peer speaks neither Broker nor TLS: its first bytes are %q", e.First)
}

// explain turns the failure of a handshake into a MismatchError where the first
// bytes of the stream, and those within TLS, tell what went wrong.
func (l *link) explain(err error) error {
	outer := wire.Sniff(l.outer.first())
	met, first := outer, l.outer.first()
	if l.inner != nil {
		met, first = wire.Sniff(l.inner.first()), l.inner.first()
	}
	e := &MismatchError{
		Met: met, First: first, Dialed: l.target != nil,
		Secure: l.e.cfg.Secure != nil, Err: err,
	}
	var drop *wire.DropError
	var protocol *wire.ProtocolError
	var size *wire.FrameSizeError
	switch {
	case outer == wire.ProtocolNative && e.Secure:
		e.Met, e.First = outer, l.outer.first()
		return e
	case met == wire.ProtocolTLS && l.inner == nil && e.Secure:
		return err // a TLS handshake that failed tells why by itself
	case met == wire.ProtocolTLS || met == wire.ProtocolHTTP || met == wire.ProtocolWebSocket:
		return e
	case errors.As(err, &drop) && drop.Code == wire.CodePeerIncompatible,
		errors.As(err, &protocol) && protocol.Code == wire.CodePeerIncompatible:
		e.Met = wire.ProtocolNative
		return e
	case errors.As(err, &size), met == wire.ProtocolUnknown && errors.As(err, &protocol):
		return e
	case len(l.outer.first()) > 0 || !e.Dialed || l.target.worked:
		return err
	case errors.Is(err, errHandshakeTimeout):
		// Broker's own WebSocket server waits for the end of a line.
		return fmt.Errorf("%w, not a byte came: it may be a port for WebSockets", err)
	case e.Secure:
		return err
	}
	// Who speaks Broker without TLS greets whoever connects, unless it is just
	// coming or going.
	return fmt.Errorf("%w without a word: it may want TLS, as Zeek does unless Broker::disable_ssl=T", err)
}

// readError names the end of a stream.
func readError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return ErrPeerClosed
	case errors.Is(err, io.ErrUnexpectedEOF):
		// Within TLS also what Zeek leaves us with, as it does not say goodbye.
		return fmt.Errorf("%w: %w", ErrPeerClosed, err)
	}
	return fmt.Errorf("peering: read: %w", err)
}
