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

// Version is the protocol version of this package.
const Version = 1

const magic = "ZEEK"

// Type is the tag of a message. Handshake messages and envelopes share one
// numbering (Broker: p2p_message_type).
type Type uint8

// The types, in the order of their numbers. The first five are envelopes.
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

// String returns Broker's name of t, such as "routing_update".
func (t Type) String() string {
	if t == 0 || int(t) >= len(typeNames) {
		return "type(" + strconv.Itoa(int(t)) + ")"
	}
	return typeNames[t]
}

// HandshakeMessage is a message of the handshake: Probe, Hello, VersionSelect,
// DropConn, OriginatorSyn, ResponderSynAck or OriginatorAck.
type HandshakeMessage interface {
	// Type returns the tag, which is the first byte of the message.
	Type() Type

	// Append appends the message to b, without the length of its frame, and
	// returns the result.
	Append(b []byte) []byte
}

// Probe is the first message of an acceptor. It tells the dialer that the
// acceptor speaks Broker's protocol.
type Probe struct{}

// Hello announces the ID of an endpoint and the versions that it supports.
type Hello struct {
	Sender                 uuid.UUID
	MinVersion, MaxVersion uint8
}

// VersionSelect is the originator's response to Hello.
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

// OriginatorSyn announces the subscriptions of the originator. A received
// filter is unchanged: it may be unsorted and redundant.
type OriginatorSyn struct{ Filter broker.Filter }

// ResponderSynAck announces the subscriptions of the responder.
type ResponderSynAck struct{ Filter broker.Filter }

// OriginatorAck is the last message of the handshake.
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

// ProtocolError reports an invalid handshake message. Code and Text are the
// content of Broker's response, a DROP_CONN.
type ProtocolError struct {
	Code Code
	Text string

	// Detail explains the error in local logs. It is not sent.
	Detail string
}

func (e *ProtocolError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("wire: %s (%s)", plain(e.Text), e.Code)
	}
	return fmt.Sprintf("wire: %s (%s): %s", plain(e.Text), e.Code, e.Detail)
}

// plain returns the beginning of a text from a peer for use in an error. It
// quotes the text if it contains control characters, which a terminal could
// execute.
func plain(s string) string {
	quoted := fmt.Sprintf("%.200q", s)
	if bare := quoted[1 : len(quoted)-1]; strings.HasPrefix(s, bare) {
		return bare
	}
	return quoted
}

// DecodeHandshake returns the message in b, the payload of a frame. All errors
// are of type *ProtocolError. If the message can be decoded but its magic,
// version or code is invalid, it is returned along with the error.
//
// Like Broker, DecodeHandshake ignores bytes after the message. To detect
// them, compare b with the result of the message's Append; the two are equal
// for all frames of Zeek.
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

// brokerName returns the name of t in Broker's error descriptions.
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

// MaxFilterTopics limits the number of topics in a received filter. Zeek's
// filters have a few dozen.
const MaxFilterTopics = 1 << 16

// AppendFilter appends f to b, in the encoding of handshake messages and
// routing updates, and returns the result.
func AppendFilter(b []byte, f broker.Filter) []byte {
	b = bin.AppendVarbyte(b, uint32(len(f)))
	for _, topic := range f {
		b = bin.AppendString(b, topic)
	}
	return b
}

// DecodeFilter returns the filter in b, the payload of a routing update. It
// does not sort the filter or remove redundant prefixes. The filter must fill
// b.
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
