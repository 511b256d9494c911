package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
)

// Admission is the decision whether a handshake continues once the peer's
// endpoint ID is known.
type Admission uint8

// The decisions. Broker returns Admit for an unknown peer, Redundant for a
// connected one, and ShuttingDown during shutdown. If another handshake with
// the peer is in progress, Broker returns Hold as the originator and Redundant
// as the responder (Broker: connect_state::proceed_with_handshake).
const (
	Admit        Admission = iota
	Hold                   // send nothing until Resume
	Redundant              // refuse: the peer is connected already
	ShuttingDown           // refuse: this endpoint is shutting down
	Full                   // refuse: this endpoint has the maximum number of peers
)

// Config configures a Handshake. All fields are required.
type Config struct {
	// Self is the ID of this endpoint. Dialed reports whether this endpoint
	// opened the connection.
	Self   uuid.UUID
	Dialed bool

	// Filter returns the subscriptions of this endpoint. It is called once,
	// when the message that contains the filter is built.
	Filter func() broker.Filter

	// Admit is called once, when the peer's ID is known. The value originator
	// reports whether this endpoint has the smaller ID. Admit must not return
	// Hold if originator is false.
	Admit func(peer uuid.UUID, originator bool) Admission
}

// Handshake is the state of one end of a peering handshake. Its methods take
// the payloads of received frames, and return the frames to send and the
// outcome.
//
// The dialer opens the connection and the acceptor accepts it. The originator
// is the endpoint with the smaller ID and the responder the one with the
// greater ID, independent of who dialed (Broker: connect_state).
type Handshake struct {
	cfg    Config
	state  state
	hello  uuid.UUID // ID in the peer's HELLO, nil before it
	peer   uuid.UUID
	filter broker.Filter
}

// state names the input that the handshake waits for.
type state uint8

const (
	awaitStart state = iota
	awaitHello
	awaitHelloOrVersionSelect
	awaitResume
	awaitVersionSelect
	awaitOriginatorSyn
	awaitResponderSynAck
	awaitOriginatorAck
	peered
	failed
)

var stateNames = [...]string{
	"start", "hello", "hello or version_select", "resume", "version_select",
	"originator_syn", "responder_syn_ack", "originator_ack", "nothing (peered)",
	"nothing (failed)",
}

func (s state) String() string { return stateNames[s] }

// Step is the result of an input.
type Step struct {
	// Send holds complete frames to send. They must be passed to a single
	// Write that contains nothing else: Broker misses an envelope that shares
	// a TLS record with the last handshake message.
	Send []byte

	// Outcome is the state of the handshake after the input.
	Outcome Outcome

	// Err is the reason if Outcome is Failed: a *ProtocolError, a *DropError,
	// a *RefusedError, an *UnexpectedError or ErrSameID.
	Err error
}

// Outcome is the state of a handshake after an input.
type Outcome uint8

// The outcomes.
const (
	Continue Outcome = iota // waits for the next frame
	Held                    // waits for Resume
	Peered                  // succeeded; the next frame is an envelope
	Failed                  // failed; close the connection
)

// ErrSameID is the failure of a handshake with an endpoint that has the same
// ID, such as this endpoint itself.
var ErrSameID = errors.New("wire: the peer has the same endpoint ID")

// DropError reports that the peer refused the connection with a DROP_CONN.
type DropError struct{ DropConn }

func (e *DropError) Error() string {
	return fmt.Sprintf("wire: refused by peer %s: %s (%s)", e.Sender, plain(e.Description), e.Code)
}

// RefusedError reports that this endpoint refused the connection, as decided
// by Config.Admit.
type RefusedError struct {
	Peer   uuid.UUID
	Answer Admission
	Text   string // description in the DROP_CONN
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("wire: refused peer %s: %s", e.Peer, e.Text)
}

// UnexpectedError reports a message that is not valid in the current state.
// The connection is closed without a response, as Broker does.
type UnexpectedError struct {
	Type    Type
	Awaited string
}

func (e *UnexpectedError) Error() string {
	return fmt.Sprintf("wire: unexpected %s, awaited %s", e.Type, e.Awaited)
}

// NewHandshake returns a handshake. Call Start first.
func NewHandshake(cfg Config) *Handshake { return &Handshake{cfg: cfg} }

// Start returns the first frames to send. A dialer does not wait for the
// acceptor's PROBE.
func (h *Handshake) Start() Step {
	if h.cfg.Dialed {
		h.state = awaitHelloOrVersionSelect
		return send(Continue, h.ownHello())
	}
	h.state = awaitHello
	return send(Continue, Probe{})
}

// Peer returns the ID of the peer, or uuid.Nil while it is unknown.
func (h *Handshake) Peer() uuid.UUID { return h.peer }

// Filter returns the subscriptions of the peer. It is valid after the outcome
// Peered.
func (h *Handshake) Filter() broker.Filter { return h.filter }

// Originator reports whether this endpoint has the smaller ID. It is valid
// once the peer's ID is known.
func (h *Handshake) Originator() bool { return less(h.cfg.Self, h.peer) }

// Receive processes the payload of the next frame.
func (h *Handshake) Receive(frame []byte) Step {
	m, err := DecodeHandshake(frame)
	if err != nil {
		return h.reject(err.(*ProtocolError)) //nolint:errorlint // DecodeHandshake returns no other error
	}
	if drop, ok := m.(DropConn); ok {
		return h.fail(&DropError{drop})
	}
	switch h.state {
	case awaitHello, awaitHelloOrVersionSelect:
		switch m := m.(type) {
		case Probe:
			return Step{}
		case Hello:
			return h.onHello(m)
		case VersionSelect:
			if h.state == awaitHelloOrVersionSelect {
				return h.onVersionSelect(m)
			}
		}
	case awaitVersionSelect:
		switch m := m.(type) {
		case Probe:
			return Step{}
		case VersionSelect:
			return h.onVersionSelect(m)
		}
	case awaitOriginatorSyn:
		if m, ok := m.(OriginatorSyn); ok {
			h.filter, h.state = m.Filter, awaitOriginatorAck
			return send(Continue, ResponderSynAck{h.cfg.Filter()})
		}
	case awaitResponderSynAck:
		if m, ok := m.(ResponderSynAck); ok {
			h.filter, h.state = m.Filter, peered
			return send(Peered, OriginatorAck{})
		}
	case awaitOriginatorAck:
		if _, ok := m.(OriginatorAck); ok {
			h.state = peered
			return Step{Outcome: Peered}
		}
	}
	return h.fail(&UnexpectedError{m.Type(), h.state.String()})
}

// Resume continues a handshake whose outcome is Held: with Admit after the
// competing handshake failed, or with a refusal.
func (h *Handshake) Resume(a Admission) Step {
	if h.state != awaitResume {
		return h.fail(errors.New("wire: Resume called on a handshake that is not held"))
	}
	return h.originate(a)
}

func (h *Handshake) onHello(m Hello) Step {
	if step, ok := h.check(m.Sender); !ok {
		return step
	}
	h.hello = m.Sender
	if less(h.cfg.Self, m.Sender) {
		h.peer = m.Sender
		return h.originate(h.cfg.Admit(m.Sender, true))
	}
	h.state = awaitVersionSelect
	return send(Continue, h.ownHello())
}

func (h *Handshake) originate(a Admission) Step {
	switch a {
	case Admit:
		h.state = awaitResponderSynAck
		return send(Continue, VersionSelect{h.cfg.Self, Version}, OriginatorSyn{h.cfg.Filter()})
	case Hold:
		h.state = awaitResume
		return Step{Outcome: Held}
	}
	return h.refuse(a, DropConn{Code: CodeRedundantConnection, Description: "redundant connection"})
}

func (h *Handshake) onVersionSelect(m VersionSelect) Step {
	if h.hello != uuid.Nil && h.hello != m.Sender {
		return h.reject(&ProtocolError{CodePeerInvalid, "endpoint ID changed",
			fmt.Sprintf("hello of %s, version_select of %s", h.hello, m.Sender)})
	}
	if step, ok := h.check(m.Sender); !ok {
		return step
	}
	h.peer = m.Sender
	if a := h.cfg.Admit(m.Sender, false); a != Admit {
		return h.refuse(a, DropConn{Code: CodeLogicError,
			Description: "detected redundant connection at the responder"})
	}
	h.state = awaitOriginatorSyn
	return Step{}
}

// check refuses endpoint IDs that cannot be peered with. Broker fails less
// clearly on its own ID: it rejects the HELLO with which the other endpoint
// responds.
func (h *Handshake) check(id uuid.UUID) (Step, bool) {
	switch id {
	case uuid.Nil:
		return h.reject(&ProtocolError{CodePeerInvalid, "endpoint ID is nil", ""}), false
	case h.cfg.Self:
		step := h.drop(DropConn{Code: CodePeerInvalid, Description: "both endpoints have the same ID"})
		step.Err = ErrSameID
		return step, false
	}
	return Step{}, true
}

func (h *Handshake) refuse(a Admission, redundant DropConn) Step {
	m := redundant
	switch a {
	case ShuttingDown:
		m = DropConn{Code: CodeShuttingDown, Description: "shutting down"}
	case Full:
		m = DropConn{Code: CodeUnspecified, Description: "too many peers"}
	}
	step := h.drop(m)
	step.Err = &RefusedError{h.peer, a, m.Description}
	return step
}

func (h *Handshake) reject(e *ProtocolError) Step {
	step := h.drop(DropConn{Code: e.Code, Description: e.Text})
	step.Err = e
	return step
}

func (h *Handshake) drop(m DropConn) Step {
	h.state = failed
	m.Sender = h.cfg.Self
	return send(Failed, m)
}

func (h *Handshake) fail(err error) Step {
	h.state = failed
	return Step{Outcome: Failed, Err: err}
}

func (h *Handshake) ownHello() Hello {
	return Hello{Sender: h.cfg.Self, MinVersion: Version, MaxVersion: Version}
}

func send(o Outcome, messages ...HandshakeMessage) Step {
	var frames, payload []byte
	for _, m := range messages {
		payload = m.Append(payload[:0])
		frames = AppendFrame(frames, payload)
	}
	return Step{Send: frames, Outcome: o}
}

// less orders endpoint IDs bytewise, as Broker does.
func less(a, b uuid.UUID) bool { return bytes.Compare(a[:], b[:]) < 0 }
