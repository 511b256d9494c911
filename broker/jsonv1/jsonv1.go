// Package jsonv1 implements the JSON protocol of Zeek's WebSocket servers: the
// encoding of values and the text frames that contain them (Broker:
// format::json::v1). It does no I/O, and its functions may be called
// concurrently.
//
// Zeek's texts deviate from JSON. Strings escape a vertical tab as \v and
// contain all other bytes raw, whether valid UTF-8 or not. Reals may be inf,
// -inf, nan or -nan. The decoder accepts these texts and standard JSON,
// without loss. Zeek rounds reals to 6 decimals and truncates timestamps to
// milliseconds before it sends them; that loss cannot be repaired here.
//
// The encoder writes the same bytes as Zeek 8.0 wherever those are exact, and
// never rounds. If 6 decimals are not exact, a real has as many digits as it
// needs. If milliseconds are not exact, a timestamp has 6 or 9 decimals.
//
// Receivers of these texts have limits:
//   - Zeek reads timespans as floating-point numbers, exact up to 2^53 units.
//   - Zeek before 8.0 reads and writes timestamps in its local time zone, while
//     Decode assumes UTC. It misreads timestamps without exactly 3 decimals.
//   - Zeek cannot read everything that it writes; AppendForZeek avoids these
//     forms. Zeek reads the largest reals as infinite.
//   - Zeek's own server, unlike Broker's, rejects texts that are not UTF-8.
//   - Zeek since 6.0 rejects more than 128 levels of JSON nesting. A container
//     uses two levels and a table three.
package jsonv1

import (
	"errors"

	"github.com/zeekwire/zeekwire/broker"
)

// Path is the HTTP path of servers that use this protocol.
const Path = "/v1/messages/json"

// Limits of Decode and DecodeValue, equal to those of the binary encoding. The
// caller must limit the length of the text.
const (
	MaxDepth    = 128     // nesting of containers
	MaxElements = 1 << 22 // total elements in all containers of a text
)

// ErrMalformed is wrapped by all errors of Decode and DecodeValue.
var ErrMalformed = errors.New("malformed JSON")

// CodeDeserializationFailed is the code of the Error that a server sends in
// response to a frame that it cannot decode.
const CodeDeserializationFailed = "deserialization_failed"

// Frame is a text frame: Subscriptions, Ack, Error or Data.
type Frame interface{ frame() }

// Subscriptions is the first frame of a client: the topic prefixes that it
// subscribes to.
type Subscriptions []string

// Ack is the response of the server to Subscriptions.
type Ack struct {
	// Endpoint is the server's endpoint ID if the server is Broker's. Zeek's
	// own server sends a name that is not a UUID.
	Endpoint string

	// Version is the version of Broker if the server is Broker's, and the
	// version of Zeek if it is Zeek's own.
	Version string
}

// Error reports that the server rejected a frame of the client, or that it
// could not send a message to the client. The connection usually stays open.
type Error struct {
	Code    string // name of a Broker error (ec) or of a Zeek error
	Context string // human-readable description
}

// Error implements the error interface.
func (e Error) Error() string { return "server reports " + e.Code + ": " + e.Context }

// Data is a published message, in either direction.
type Data broker.Message

func (Subscriptions) frame() {}
func (Ack) frame()           {}
func (Error) frame()         {}
func (Data) frame()          {}

// Append appends the text of f to b and returns the result.
func Append(b []byte, f Frame) []byte { return asWritten.append(b, f) }

// AppendForZeek is like Append, but avoids the forms that Zeek writes and
// cannot read: infinities, zero bytes in strings, and, before Zeek 6.0,
// escaped vertical tabs. Use it to send to a Zeek client. Before Zeek 8.0
// there is no form of a zero byte that Zeek can read.
func AppendForZeek(b []byte, f Frame) []byte { return asRead.append(b, f) }

func (m manner) append(b []byte, f Frame) []byte {
	switch f := f.(type) {
	case Subscriptions:
		b = append(b, '[')
		for i, topic := range f {
			if i > 0 {
				b = append(b, ',')
			}
			b = m.appendString(b, topic)
		}
		return append(b, ']')
	case Ack:
		b = m.appendString(append(b, `{"type":"ack","endpoint":`...), f.Endpoint)
		b = m.appendString(append(b, `,"version":`...), f.Version)
	case Error:
		b = m.appendString(append(b, `{"type":"error","code":`...), f.Code)
		b = m.appendString(append(b, `,"context":`...), f.Context)
	case Data:
		b = m.appendString(append(b, `{"type":"data-message","topic":`...), f.Topic)
		b = m.appendMembers(append(b, ','), f.Value)
	}
	return append(b, '}')
}
