// Package jsonv1 is the JSON that Zeek's WebSocket servers speak: the encoding
// of a value and the text frames around it (Broker: format::json::v1). It does
// no I/O, and all functions are safe for concurrent use.
//
// Zeek's texts are not quite JSON: strings escape a vertical tab as \v and
// hold all other bytes raw, valid UTF-8 or not, and reals may be a bare inf,
// -inf, nan or -nan. The decoder takes that and proper JSON and loses nothing
// of either. The encoder writes what Zeek 8.0 writes, byte for byte, wherever
// that is exact. Zeek rounds reals to 6 decimals and cuts timestamps to
// milliseconds before we see them; that loss is not ours to repair. Our own
// values are never rounded: where 6 decimals or milliseconds do not suffice, a
// real is written with as many digits as it takes, and a timestamp with 6 or 9
// decimals.
//
// What receivers make of our texts:
//   - Zeek reads timespans as floating-point numbers, exact up to 2^53 units.
//   - Zeek before 8.0 takes timestamps as its local time (and writes them so,
//     while Decode assumes UTC) and misreads all but 3 decimals.
//   - Zeek cannot read all that it writes; AppendForZeek is for its clients.
//     The largest of reals it reads as infinite.
//   - Zeek's own server, unlike Broker's, refuses texts that are not UTF-8.
//   - Zeek since 6.0 refuses more than 128 levels of JSON nesting, of which a
//     container takes two and a table three.
package jsonv1

import (
	"errors"

	"github.com/zeekwire/zeekwire/broker"
)

// Path is the HTTP path of the servers that speak this encoding.
const Path = "/v1/messages/json"

// Limits of Decode and DecodeValue, those of the binary encoding. The caller
// limits the length of the text.
const (
	MaxDepth    = 128     // nesting of containers
	MaxElements = 1 << 22 // elements of all containers of one text together
)

// ErrMalformed is wrapped by every error of Decode and DecodeValue.
var ErrMalformed = errors.New("malformed JSON")

// CodeDeserializationFailed is the code of the Error with which servers answer
// what they cannot decode.
const CodeDeserializationFailed = "deserialization_failed"

// Frame is the content of one text frame: Subscriptions, Ack, Error or Data.
type Frame interface{ frame() }

// Subscriptions is the first frame of a client: the topic prefixes that it
// wants to receive.
type Subscriptions []string

// Ack is the server's answer to Subscriptions.
type Ack struct {
	// Endpoint is the server's endpoint ID in Broker's embedded server, and a
	// name that is no UUID in Zeek's own.
	Endpoint string

	// Version is Broker's version in Broker's embedded server, and Zeek's in
	// Zeek's own.
	Version string
}

// Error is a server's complaint about something that the client sent, or
// that it could not send to the client. Most leave the connection open.
type Error struct {
	Code    string // a name from Broker's enumeration ec, or one of Zeek's own
	Context string // for people
}

// Error implements the error interface.
func (e Error) Error() string { return "server reports " + e.Code + ": " + e.Context }

// Data is a message, in either direction.
type Data broker.Message

func (Subscriptions) frame() {}
func (Ack) frame()           {}
func (Error) frame()         {}
func (Data) frame()          {}

// Append appends the text of f to b.
func Append(b []byte, f Frame) []byte { return asWritten.append(b, f) }

// AppendForZeek is Append for clients of Zeek: it writes what Zeek reads as f,
// where that is not what Zeek would write. Zeek can neither read a bare inf nor
// a zero byte in a string, and before 6.0 no escaped vertical tab. Before 8.0
// there is no way at all to write a zero byte that Zeek would read.
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
