package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
)

// DefaultTTL is what Broker writes. Nobody acts on it.
const DefaultTTL = 16

// envelopeHeader is the size of an envelope before its topic.
const envelopeHeader = 37

// ErrEnvelope is wrapped by every error of DecodeEnvelope.
var ErrEnvelope = errors.New("malformed envelope")

// Envelope is what peers exchange after the handshake (Broker: envelope).
type Envelope struct {
	Sender   uuid.UUID // the peer itself, also for what it forwards
	Receiver uuid.UUID // nil for everybody who subscribes to the topic
	Type     Type      // TypeData to TypePong
	TTL      uint16
	Topic    string // at most broker.MaxTopicLen bytes
	Payload  []byte
}

// Len returns the size of the envelope in bytes.
func (e *Envelope) Len() int { return envelopeHeader + len(e.Topic) + len(e.Payload) }

// Append appends the envelope, without the length of its frame.
func (e *Envelope) Append(b []byte) []byte {
	b = append(b, e.Sender[:]...)
	b = append(b, e.Receiver[:]...)
	b = append(b, byte(e.Type))
	b = binary.BigEndian.AppendUint16(b, e.TTL)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Topic)))
	b = append(b, e.Topic...)
	return append(b, e.Payload...)
}

// AppendFrame appends the frame that carries the envelope.
func (e *Envelope) AppendFrame(b []byte) []byte {
	return e.Append(binary.BigEndian.AppendUint32(b, uint32(e.Len())))
}

// DecodeEnvelope returns the envelope that b, the payload of a frame, holds.
// The payload of the envelope stays in the memory of b. Errors wrap ErrEnvelope
// and say what is wrong.
func DecodeEnvelope(b []byte) (Envelope, error) {
	var e Envelope
	err := e.Decode(b)
	return e, err
}

// Decode is DecodeEnvelope for many envelopes in a row: it allocates no topic
// where the one that e holds is the same.
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

// A BYE is a ping whose payload is this mark and a token of the sender's.
const (
	byeMark  = "BYE"
	byeToken = 8
)

// AppendBye appends the payload of a BYE.
func AppendBye(b []byte, token uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, byeMark...), token)
}

// IsBye reports whether e is the ping with which a peer announces that it will
// leave as soon as it gets the pong (Broker: peering::make_bye_message, since
// Zeek 5.2).
func (e *Envelope) IsBye() bool {
	return e.Type == TypePing && len(e.Payload) == len(byeMark)+byeToken &&
		bytes.HasPrefix(e.Payload, []byte(byeMark))
}

// Pong returns the answer of self to the ping e.
func (e *Envelope) Pong(self uuid.UUID) Envelope {
	return Envelope{
		Sender: self, Receiver: e.Sender, Type: TypePong, TTL: DefaultTTL,
		Topic: e.Topic, Payload: e.Payload,
	}
}

// RoutingUpdate returns the envelope that tells receiver what self subscribes
// to from now on.
func RoutingUpdate(self, receiver uuid.UUID, f broker.Filter) Envelope {
	return Envelope{
		Sender: self, Receiver: receiver, Type: TypeRoutingUpdate, TTL: DefaultTTL,
		Topic: broker.ControlTopic, Payload: AppendFilter(nil, f),
	}
}
