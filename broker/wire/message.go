package wire

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
)

// Version is the one version of the protocol.
const Version = 1

const magic = "ZEEK"

// Type is the tag of a message. Handshake messages and envelopes share the
// numbering (Broker: p2p_message_type).
type Type uint8

// The types, in wire order. Envelopes have the first five.
const (
	TypeData Type = iota + 1
	TypeCommand
	TypeRoutingUpdate
	TypePing
	TypePong
	TypeHello
	TypeProbe
	TypeVersionSelect
	TypeDropConn
	TypeOriginatorSyn
	TypeResponderSynAck
	TypeOriginatorAck
)

var typeNames = [...]string{
	TypeData: "data", TypeCommand: "command",
	TypeRoutingUpdate: "routing_update", TypePing: "ping", TypePong: "pong",
	TypeHello: "hello", TypeProbe: "probe",
	TypeVersionSelect: "version_select", TypeDropConn: "drop_conn",
	TypeOriginatorSyn: "originator_syn", TypeResponderSynAck: "responder_syn_ack",
	TypeOriginatorAck: "originator_ack",
}

// String returns Broker's name of the type, such as "routing_update".
func (t Type) String() string {
	if t == 0 || int(t) >= len(typeNames) {
		return "type(" + strconv.Itoa(int(t)) + ")"
	}
	return typeNames[t]
}

// HandshakeMessage is one of Probe, Hello, VersionSelect, DropConn,
// OriginatorSyn, ResponderSynAck and OriginatorAck.
type HandshakeMessage interface {
	// Type returns the tag, which is the first byte of the message.
	Type() Type

	// Append appends the message, without the length of its frame.
	Append(b []byte) []byte
}

// Probe is what an acceptor sends first, so that the dialer sees a Broker.
type Probe struct{}

// Hello introduces an endpoint and the versions it speaks.
type Hello struct {
	Sender                 uuid.UUID
	MinVersion, MaxVersion uint8
}

// VersionSelect is the originator's answer to Hello.
type VersionSelect struct {
	Sender  uuid.UUID
	Version uint8
}

// DropConn refuses the connection.
type DropConn struct {
	Sender      uuid.UUID
	Code        Code
	Description string
}

// OriginatorSyn tells the responder what the originator subscribes to. The
// filter is as it travels, in any order and with redundant entries.
type OriginatorSyn struct{ Filter broker.Filter }

// ResponderSynAck tells the originator what the responder subscribes to.
type ResponderSynAck struct{ Filter broker.Filter }

// OriginatorAck ends the handshake.
type OriginatorAck struct{}

// Type implements HandshakeMessage.
func (Probe) Type() Type { return TypeProbe }

// Type implements HandshakeMessage.
func (Hello) Type() Type { return TypeHello }

// Type implements HandshakeMessage.
func (VersionSelect) Type() Type { return TypeVersionSelect }

// Type implements HandshakeMessage.
func (DropConn) Type() Type { return TypeDropConn }

// Type implements HandshakeMessage.
func (OriginatorSyn) Type() Type { return TypeOriginatorSyn }

// Type implements HandshakeMessage.
func (ResponderSynAck) Type() Type { return TypeResponderSynAck }

// Type implements HandshakeMessage.
func (OriginatorAck) Type() Type { return TypeOriginatorAck }

// Append implements HandshakeMessage.
func (m Probe) Append(b []byte) []byte { return appendMagic(b, m) }

// Append implements HandshakeMessage.
func (m Hello) Append(b []byte) []byte {
	b = append(appendMagic(b, m), m.Sender[:]...)
	return append(b, m.MinVersion, m.MaxVersion)
}

// Append implements HandshakeMessage.
func (m VersionSelect) Append(b []byte) []byte {
	b = append(appendMagic(b, m), m.Sender[:]...)
	return append(b, m.Version)
}

// Append implements HandshakeMessage.
func (m DropConn) Append(b []byte) []byte {
	b = append(appendMagic(b, m), m.Sender[:]...)
	return bin.AppendString(append(b, byte(m.Code)), m.Description)
}

// Append implements HandshakeMessage.
func (m OriginatorSyn) Append(b []byte) []byte {
	return AppendFilter(append(b, byte(m.Type())), m.Filter)
}

// Append implements HandshakeMessage.
func (m ResponderSynAck) Append(b []byte) []byte {
	return AppendFilter(append(b, byte(m.Type())), m.Filter)
}

// Append implements HandshakeMessage.
func (m OriginatorAck) Append(b []byte) []byte { return append(b, byte(m.Type())) }

func appendMagic(b []byte, m HandshakeMessage) []byte {
	return append(append(b, byte(m.Type())), magic...)
}

// ProtocolError says what is wrong with a handshake message. Code and Text are
// what Broker puts into the DROP_CONN with which it answers.
type ProtocolError struct {
	Code Code
	Text string

	// Detail is for people at our end only.
	Detail string
}

func (e *ProtocolError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("wire: %s (%s)", plain(e.Text), e.Code)
	}
	return fmt.Sprintf("wire: %s (%s): %s", plain(e.Text), e.Code, e.Detail)
}

// plain is what an error shows of a text that a peer may have written: the
// beginning, and that in quotes if a terminal could take it for a command.
func plain(s string) string {
	quoted := fmt.Sprintf("%.200q", s)
	if bare := quoted[1 : len(quoted)-1]; strings.HasPrefix(s, bare) {
		return bare
	}
	return quoted
}

// DecodeHandshake returns the message that b, the payload of a frame, holds.
// Every error is a *ProtocolError. A message that can be read and is not
// acceptable, for its magic, version or code, is returned along with the error.
//
// Like Broker it ignores what follows the message. Who must know whether there
// is anything compares b with what Append of the message makes: for every frame
// of a Zeek they are equal.
func DecodeHandshake(b []byte) (HandshakeMessage, error) {
	r := bin.NewReader(b)
	typ := Type(r.Uint8("message type"))
	switch {
	case r.Err() != nil:
		return nil, &ProtocolError{CodeInvalidMessage, "invalid message type tag", "empty message"}
	case typ < TypeHello || typ > TypeOriginatorAck:
		return nil, &ProtocolError{CodeInvalidMessage, "invalid message type tag", "tag is " + strconv.Itoa(int(typ))}
	}
	mark := magic
	if typ <= TypeDropConn {
		mark = r.Bytes(len(magic), "magic number")
	}
	var m HandshakeMessage
	var filter broker.Filter
	var refusal *ProtocolError
	var err error
	switch typ {
	case TypeProbe:
		m = Probe{}
	case TypeHello:
		hello := Hello{readID(r), r.Uint8("minimum version"), r.Uint8("maximum version")}
		if hello.MinVersion > Version || hello.MaxVersion < Version {
			refusal = &ProtocolError{CodePeerIncompatible, "unsupported versions offered",
				fmt.Sprintf("%d to %d, want %d", hello.MinVersion, hello.MaxVersion, Version)}
		}
		m = hello
	case TypeVersionSelect:
		selected := VersionSelect{readID(r), r.Uint8("version")}
		if selected.Version != Version {
			refusal = &ProtocolError{CodePeerIncompatible, "unsupported version selected",
				fmt.Sprintf("%d, want %d", selected.Version, Version)}
		}
		m = selected
	case TypeDropConn:
		drop := DropConn{readID(r), Code(r.Uint8("code")), r.Text("description")}
		if !drop.Code.Valid() {
			refusal = &ProtocolError{CodeUnspecified, drop.Description,
				fmt.Sprintf("drop_conn with unknown code %d", drop.Code)}
		}
		m = drop
	case TypeOriginatorSyn:
		filter, err = readFilter(r)
		m = OriginatorSyn{filter}
	case TypeResponderSynAck:
		filter, err = readFilter(r)
		m = ResponderSynAck{filter}
	case TypeOriginatorAck:
		m = OriginatorAck{}
	}
	if err = cmp.Or(err, r.Err()); err != nil {
		return nil, &ProtocolError{CodeInvalidMessage, "failed to parse " + brokerName(typ), err.Error()}
	}
	if mark != magic {
		refusal = &ProtocolError{CodeWrongMagicNumber, "wrong magic number", fmt.Sprintf("%q in %s, want %q", mark, typ, magic)}
	}
	if refusal != nil {
		return m, refusal
	}
	return m, nil
}

// brokerName is the name that Broker's descriptions of errors use.
func brokerName(t Type) string {
	if t >= TypeOriginatorSyn {
		return "v1::" + t.String() + "_msg"
	}
	return t.String() + "_msg"
}

func readID(r *bin.Reader) uuid.UUID {
	var id uuid.UUID
	copy(id[:], r.Bytes(len(id), "endpoint ID"))
	return id
}

// MaxFilterTopics bounds what a filter can cost; Zeek's have a few dozen
// entries.
const MaxFilterTopics = 1 << 16

// AppendFilter appends the form that handshake messages and routing updates
// have in common.
func AppendFilter(b []byte, f broker.Filter) []byte {
	b = bin.AppendVarbyte(b, uint32(len(f)))
	for _, topic := range f {
		b = bin.AppendString(b, topic)
	}
	return b
}

// DecodeFilter returns the filter in the payload of a routing update, as it
// travels. It must fill b.
func DecodeFilter(b []byte) (broker.Filter, error) {
	if len(b) > MaxHandshakeFrame {
		return nil, fmt.Errorf("wire: filter of %d bytes, limit is %d", len(b), MaxHandshakeFrame)
	}
	r := bin.NewReader(b)
	f, err := readFilter(r)
	if err := cmp.Or(err, r.Close()); err != nil {
		return nil, fmt.Errorf("wire: filter: %w", err)
	}
	return f, nil
}

func readFilter(r *bin.Reader) (broker.Filter, error) {
	n := r.Count(1, "filter topics")
	if n > MaxFilterTopics {
		return nil, fmt.Errorf("%d topics, limit is %d", n, MaxFilterTopics)
	}
	f := make(broker.Filter, n)
	for i := range f {
		f[i] = r.Text("filter topic")
	}
	return f, r.Err()
}
