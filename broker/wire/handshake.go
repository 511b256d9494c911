package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
)

// Admission is the answer to the question whether a handshake may go on, now
// that it is known who is at the other end.
type Admission uint8

// The answers. What Broker does is Admit for an unknown peer, Redundant for one
// that is peered already, ShuttingDown towards its end; and for one with which
// another handshake is in progress, Hold if it is the originator, Redundant if
// it is the responder (Broker: connect_state::proceed_with_handshake).
const (
	Admit        Admission = iota
	Hold                   // wait for Resume before anything is sent
	Redundant              // refuse: there is a connection already
	ShuttingDown           // refuse: we are about to leave
	Full                   // refuse: we have as many peers as we want
)

// Config is what a Handshake needs to know. All of it is required.
type Config struct {
	// Self is our endpoint ID, Dialed whether we opened the connection.
	Self   uuid.UUID
	Dialed bool

	// Filter returns what we subscribe to. It is called once, when the message
	// that carries the filter is made.
	Filter func() broker.Filter

	// Admit is asked once, when the peer's ID is known. We are the originator
	// if ours is the smaller one. Hold must not be the answer to a responder.
	Admit func(peer uuid.UUID, originator bool) Admission
}

// Handshake is the peering handshake of one connection, seen from our end. It
// takes the payloads of frames and returns what to send and how it goes on.
//
// Dialer and acceptor say who opened the connection, originator and responder
// who has the smaller ID; the two have nothing to do with each other
// (Broker: connect_state).
type Handshake struct {
	cfg    Config
	state  state
	hello  uuid.UUID // sender of HELLO, nil if it sent none
	peer   uuid.UUID
	filter broker.Filter
}

// state says what the handshake waits for.
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

// Step is what follows from an input.
type Step struct {
	// Send holds the frames to send, with their lengths. They are to be
	// written at once and by a Write of their own, before anything else: Broker
	// does not see an envelope that shares a TLS record with the last of them.
	Send []byte

	// Outcome says how it goes on.
	Outcome Outcome

	// Err says why the outcome is Failed: a *ProtocolError, a *DropError, a
	// *RefusedError, a *UnexpectedError or ErrSameID.
	Err error
}

// Outcome says how a handshake goes on after a step.
type Outcome uint8

// The outcomes.
const (
	Continue Outcome = iota // the next frame is awaited
	Held                    // Resume is awaited
	Peered                  // the next frame is an envelope
	Failed                  // the connection is to be closed
)

// ErrSameID is the failure of a handshake with an endpoint that has our own ID,
// such as ourselves.
var ErrSameID = errors.New("wire: the peer has our own endpoint ID")

// DropError says that the peer refused the connection with a DROP_CONN.
type DropError struct{ DropConn }

func (e *DropError) Error() string {
	return fmt.Sprintf("wire: refused by peer %s: %s (%s)", e.Sender, plain(e.Description), e.Code)
}

// RefusedError says that we refused the connection, which was the answer to
// Config.Admit.
type RefusedError struct {
	Peer   uuid.UUID
	Answer Admission
	Text   string // the description in our DROP_CONN
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("wire: refused peer %s: %s", e.Peer, e.Text)
}

// UnexpectedError says that a message was not the one that the handshake
// awaited. Broker closes the connection without a word, and so do we.
type UnexpectedError struct {
	Type    Type
	Awaited string
}

func (e *UnexpectedError) Error() string {
	return fmt.Sprintf("wire: unexpected %s, awaited %s", e.Type, e.Awaited)
}

// NewHandshake returns a handshake that waits for Start.
func NewHandshake(cfg Config) *Handshake { return &Handshake{cfg: cfg} }

// Start returns what we send first. A dialer need not wait for the PROBE of the
// acceptor.
func (h *Handshake) Start() Step {
	if h.cfg.Dialed {
		h.state = awaitHelloOrVersionSelect
		return send(Continue, h.ownHello())
	}
	h.state = awaitHello
	return send(Continue, Probe{})
}

// Peer returns the ID of the peer, nil as long as it is not known.
func (h *Handshake) Peer() uuid.UUID { return h.peer }

// Filter returns what the peer subscribes to, once peered.
func (h *Handshake) Filter() broker.Filter { return h.filter }

// Originator reports whether our ID is the smaller one.
func (h *Handshake) Originator() bool { return less(h.cfg.Self, h.peer) }

// Receive takes the payload of the next frame.
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

// Resume ends the wait that began with the outcome Held: with Admit, after the
// other handshake failed, or with a refusal.
func (h *Handshake) Resume(a Admission) Step {
	if h.state != awaitResume {
		return h.fail(errors.New("wire: resumed a handshake that is not held"))
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

// check refuses IDs that nobody can peer with. Broker does so less clearly: it
// stumbles over the HELLO that an endpoint with the same ID sends in return.
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

// less orders endpoint IDs as Broker does, by their bytes.
func less(a, b uuid.UUID) bool { return bytes.Compare(a[:], b[:]) < 0 }
