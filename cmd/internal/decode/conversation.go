package decode

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// conversation is the state of one connection. The meaning of a native frame
// depends on the frames before it.
type conversation struct {
	file string
	conn recording.Connection
	line int

	peered bool // the handshake is over
}

// frame decodes an entry and encodes it again, to compare the bytes.
func (c *conversation) frame(e recording.Entry) Frame {
	f := Frame{
		File: printable(c.file), Line: c.line, Connection: printable(c.conn.Name),
		T: json.Number(e.T), From: string(e.From), Kind: string(e.Kind), Bytes: len(e.Data),
		Check: VerdictIdentical,
	}
	switch e.Kind {
	case recording.KindFrame:
		c.native(&f, e.Data)
	case recording.KindHTTP:
		f.What = "response"
		if e.From == recording.Client {
			f.What = "request"
		}
		first, _, _ := strings.Cut(string(e.Data), "\r\n")
		f.Text = printable(first)
	case recording.KindText, recording.KindBinary:
		// Zeek's WebSocket server treats binary messages like text.
		c.text(&f, e)
	case recording.KindPing, recording.KindPong:
		f.What, f.Text = f.Kind, strconv.Quote(string(e.Data))
	case recording.KindClose:
		f.close(e.Data)
	}
	f.locate(c.conn, e)
	return f
}

func (c *conversation) native(f *Frame, b []byte) {
	switch {
	case len(b) == 0:
		f.What = "empty"
	case c.peered:
		f.envelope(b)
	default:
		f.handshake(b)
		c.peered = f.What == wire.TypeOriginatorAck.String()
	}
}

func (f *Frame) handshake(b []byte) {
	m, err := wire.DecodeHandshake(b)
	if m == nil {
		f.malformed(err)
		return
	}
	f.What = m.Type().String()
	if err != nil {
		f.Error = printable(err.Error())
	}
	switch m := m.(type) {
	case wire.Hello:
		f.Sender = m.Sender.String()
		f.Version = fmt.Sprintf("%d..%d", m.MinVersion, m.MaxVersion)
	case wire.VersionSelect:
		f.Sender = m.Sender.String()
		f.Version = strconv.Itoa(int(m.Version))
	case wire.DropConn:
		f.Sender = m.Sender.String()
		f.Code, f.Text = m.Code.String(), strconv.Quote(m.Description)
	case wire.OriginatorSyn:
		f.Topics = printables(m.Filter)
	case wire.ResponderSynAck:
		f.Topics = printables(m.Filter)
	}
	f.compare("handshake message", b, m.Append(nil))
}

func (f *Frame) envelope(b []byte) {
	env, err := wire.DecodeEnvelope(b)
	if err != nil {
		f.malformed(err)
		return
	}
	f.What = env.Type.String()
	f.Sender, f.TTL, f.Topic = env.Sender.String(), env.TTL, printable(env.Topic)
	if env.Receiver != uuid.Nil {
		f.Receiver = env.Receiver.String()
	}
	f.compare("envelope", b, env.Append(nil))
	switch env.Type {
	case wire.TypeData:
		v, err := bin.Decode(env.Payload)
		if err != nil {
			f.malformed(err)
			return
		}
		f.Message = message(v)
		f.compare("value", env.Payload, bin.Append(nil, v))
		if z, err := broker.ParseZeekMessage(v); err == nil {
			f.compare("Zeek message", env.Payload, bin.Append(nil, z.Value()))
		}
	case wire.TypeRoutingUpdate:
		filter, err := wire.DecodeFilter(env.Payload)
		if err != nil {
			f.malformed(err)
			return
		}
		f.Topics = printables(filter)
		f.compare("filter", env.Payload, wire.AppendFilter(nil, filter))
	case wire.TypePing, wire.TypePong:
		if env.IsBye() {
			f.What = "bye"
		}
		f.Text = strconv.Quote(string(env.Payload))
	case wire.TypeCommand:
		f.Text = fmt.Sprintf("of a data store, %d bytes", len(env.Payload))
	}
}

func (c *conversation) text(f *Frame, e recording.Entry) {
	frame, err := jsonv1.Decode(e.Data)
	if err != nil {
		f.malformed(err)
		return
	}
	exact := e.From == recording.Server && isCompact(e.Data)
	switch frame := frame.(type) {
	case jsonv1.Subscriptions:
		f.What, f.Topics = "subscribe", printables(frame)
	case jsonv1.Ack:
		f.What, f.Sender, f.Version = "ack", printable(frame.Endpoint), printable(frame.Version)
	case jsonv1.Error:
		f.What, f.Code, f.Text = "error", printable(frame.Code), strconv.Quote(frame.Context)
		exact = false // Zeek 7.2 names a member differently
	case jsonv1.Data:
		f.Topic, f.Message = printable(frame.Topic), message(frame.Value)
		if z, err := broker.ParseZeekMessage(frame.Value); err == nil {
			f.compare("Zeek message", jsonv1.AppendValue(nil, frame.Value), jsonv1.AppendValue(nil, z.Value()))
		}
	}
	encoded := jsonv1.Append(nil, frame)
	if exact || bytes.Equal(encoded, e.Data) {
		f.compare("text", e.Data, encoded)
		return
	}
	again, err := jsonv1.Decode(encoded)
	if err != nil {
		f.differs("text", "cannot be decoded again: "+err.Error())
		return
	}
	f.compare("content", encoded, jsonv1.Append(nil, again))
	if f.Check == VerdictIdentical {
		f.Check = VerdictEqual
	}
}

// isCompact reports whether a text has no white space between its tokens, like
// the output of Zeek 6.2 and later. Only such text can be reproduced byte by
// byte. Older versions and other clients differ in spacing, the order of
// members and the form of numbers.
func isCompact(text []byte) bool {
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case !inString && (c == ' ' || c == '\t' || c == '\n'):
			return false
		}
	}
	return true
}

// close decodes the payload of a close frame (RFC 6455, section 5.5.1).
func (f *Frame) close(b []byte) {
	f.What = "close"
	switch {
	case len(b) == 1:
		f.malformed(errors.New("close frame with a payload of one byte"))
	case len(b) >= 2:
		code := binary.BigEndian.Uint16(b)
		f.Code = strconv.Itoa(int(code))
		if len(b) > 2 {
			f.Text = strconv.Quote(string(b[2:]))
		}
	}
}

// compare sets the verdict for one layer of the frame, unless an outer layer is
// already different.
func (f *Frame) compare(layer string, original, encoded []byte) {
	if bytes.Equal(original, encoded) {
		return
	}
	i := 0
	for i < min(len(original), len(encoded)) && original[i] == encoded[i] {
		i++
	}
	f.differs(layer, fmt.Sprintf("differs from byte %d of %d on: %s, re-encoded %s", i, len(original), excerpt(original, i), excerpt(encoded, i)))
}

func (f *Frame) differs(layer, how string) {
	if f.Check != VerdictDifferent {
		f.Check, f.mismatch = VerdictDifferent, layer+" "+how
	}
}

// excerpt returns a few bytes that begin at index i.
func excerpt(b []byte, i int) string {
	const most = 8
	switch rest := b[i:]; {
	case len(rest) == 0:
		return "ends"
	case len(rest) <= most:
		return fmt.Sprintf("%x", rest)
	default:
		return fmt.Sprintf("%x...", rest[:most])
	}
}
