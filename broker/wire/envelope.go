package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
)

// DefaultTTL is the TTL that Broker writes. Receivers ignore it.
const DefaultTTL = 16

// envelopeHeader is the size of an envelope before its topic, in bytes.
const envelopeHeader = 37

// ErrEnvelope is wrapped by all errors of DecodeEnvelope.
var ErrEnvelope = errors.New("malformed envelope")

// Envelope is a message that peers exchange after the handshake (Broker:
// envelope).
type Envelope struct {
	Sender   uuid.UUID // the sending peer, even if it forwards the message
	Receiver uuid.UUID // nil for all subscribers of the topic
	Type     Type      // TypeData to TypePong
	TTL      uint16
	Topic    string // at most broker.MaxTopicLen bytes
	Payload  []byte
}

// Len returns the size of the envelope in bytes.
func (e *Envelope) Len() int { return envelopeHeader + len(e.Topic) + len(e.Payload) }

// Append appends the envelope to b, without the length of its frame, and
// returns the result.
func (e *Envelope) Append(b []byte) []byte {
	b = append(b, e.Sender[:]...)
	b = append(b, e.Receiver[:]...)
	b = append(b, byte(e.Type))
	b = binary.BigEndian.AppendUint16(b, e.TTL)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Topic)))
	b = append(b, e.Topic...)
	return append(b, e.Payload...)
}

// AppendFrame appends the frame that contains the envelope to b and returns
// the result.
func (e *Envelope) AppendFrame(b []byte) []byte {
	return e.Append(binary.BigEndian.AppendUint32(b, uint32(e.Len())))
}

// DecodeEnvelope returns the envelope in b, the payload of a frame. The
// payload of the envelope shares the memory of b. Errors wrap ErrEnvelope.
func DecodeEnvelope(b []byte) (Envelope, error) {
	var e Envelope
	err := e.Decode(b)
	return e, err
}

// Decode is like DecodeEnvelope, but overwrites e. It does not allocate a
// topic if the topic equals that of the previous content of e.
func (e *Envelope) Decode(b []byte) error {
	if len(b) < envelopeHeader {
		return fmt.Errorf("wire: %w: %d bytes, want at least %d", ErrEnvelope, len(b), envelopeHeader)
	}
	typ := Type(b[32])
	if typ < TypeData || typ > TypePong {
		return fmt.Errorf("wire: %w: message type is %d, want %d to %d", ErrEnvelope, uint8(typ), TypeData, TypePong)
	}
	size, rest := int(binary.BigEndian.Uint16(b[35:])), b[envelopeHeader:]
	if size > len(rest) {
		return fmt.Errorf("wire: %w: topic of %d bytes, %d left", ErrEnvelope, size, len(rest))
	}
	e.Sender, e.Receiver = uuid.UUID(b[:16]), uuid.UUID(b[16:32])
	e.Type, e.TTL = typ, binary.BigEndian.Uint16(b[33:])
	if topic := rest[:size]; e.Topic != string(topic) {
		e.Topic = string(topic)
	}
	e.Payload = rest[size:]
	return nil
}

// A BYE is a ping whose payload is this mark and a token of the sender.
const (
	byeMark  = "BYE"
	byeToken = 8
)

// AppendBye appends the payload of a BYE to b and returns the result.
func AppendBye(b []byte, token uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, byeMark...), token)
}

// IsBye reports whether e is a BYE: a ping of a peer that disconnects as soon
// as it receives the pong (Broker: peering::make_bye_message, since Zeek 5.2).
func (e *Envelope) IsBye() bool {
	return e.Type == TypePing && len(e.Payload) == len(byeMark)+byeToken &&
		bytes.HasPrefix(e.Payload, []byte(byeMark))
}

// Pong returns the response of the endpoint self to the ping e.
func (e *Envelope) Pong(self uuid.UUID) Envelope {
	return Envelope{
		Sender: self, Receiver: e.Sender, Type: TypePong, TTL: DefaultTTL,
		Topic: e.Topic, Payload: e.Payload,
	}
}

// RoutingUpdate returns the envelope that replaces the subscriptions of self
// at the peer receiver by f.
func RoutingUpdate(self, receiver uuid.UUID, f broker.Filter) Envelope {
	return Envelope{
		Sender: self, Receiver: receiver, Type: TypeRoutingUpdate, TTL: DefaultTTL,
		Topic: broker.ControlTopic, Payload: AppendFilter(nil, f),
	}
}
