package decode

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/recording"
)

// Frame describes one entry of a recording. Its JSON form omits members that do
// not apply. All strings are printable: other characters, and bytes that are
// not UTF-8, are escaped as in Go, for example \n or \xff.
type Frame struct {
	File       string `json:"file"`
	Line       int    `json:"line"` // line of the file; in a capture, number of the frame in its connection
	Connection string `json:"connection"`

	T     json.Number `json:"t"`
	From  string      `json:"from"`
	Kind  string      `json:"kind"`
	Bytes int         `json:"bytes"`

	// Sender is the ID of the endpoint that sent a handshake message, an ack or
	// an envelope. Receiver is the ID of the receiver, empty for all endpoints.
	Sender   string `json:"sender,omitempty"`
	Receiver string `json:"receiver,omitempty"`
	TTL      uint16 `json:"ttl,omitempty"`
	Topic    string `json:"topic,omitempty"`

	Message

	Topics  []string `json:"topics,omitzero"`  // topics of a filter or subscription
	Version string   `json:"version,omitzero"` // selected, offered ("1..1"), or of the server
	Code    string   `json:"code,omitzero"`    // code of an error or a close frame
	Text    string   `json:"text,omitzero"`    // payload, first line of an HTTP head, or explanation

	// Error is the reason why the frame is malformed, or why a peer rejects its
	// content.
	Error string `json:"error,omitempty"`

	// Check is the result of the comparison after encoding. It is empty if
	// Options.Check is not set, or if the frame is malformed.
	Check Verdict `json:"check,omitempty"`

	// Offset, First, Client and Server describe a malformed frame: its position in
	// the stream of its sender, its first bytes in hexadecimal, and the addresses of
	// the connection, if they are known.
	Offset *int64 `json:"offset,omitempty"`
	First  string `json:"first,omitempty"`
	Client string `json:"client,omitempty"`
	Server string `json:"server,omitempty"`

	mismatch string // explains VerdictDifferent
	broken   error  // describes a malformed frame in one line
}

// Message is the content of a frame: a message of Zeek, or another frame with
// only its type.
type Message struct {
	// What is the type of the frame: of a handshake message, an envelope or a
	// text ("hello", "pong", "ack"), of the message in it ("event", "batch"), of
	// an HTTP head ("request"), of a control frame ("close"), or "malformed".
	What string `json:"what"`

	// Values are in a readable form.
	Event    string    `json:"event,omitzero"`
	Args     []string  `json:"args,omitzero"`
	Metadata []string  `json:"metadata,omitzero"`
	Stream   string    `json:"stream,omitzero"`
	Writer   string    `json:"writer,omitzero"`
	Path     string    `json:"path,omitzero"`
	ID       string    `json:"id,omitzero"`
	Value    string    `json:"value,omitzero"`
	Messages []Message `json:"messages,omitzero"`
}

// Verdict is the result of comparing a frame with its encoding after it was
// decoded.
type Verdict string

// The verdicts of a comparison.
const (
	VerdictIdentical Verdict = "identical" // all bytes are the same
	VerdictEqual     Verdict = "equal"     // the same JSON, written differently
	VerdictDifferent Verdict = "different"
)

// whatMalformed is Message.What of a frame that cannot be decoded.
const whatMalformed = "malformed"

func (f *Frame) malformed(err error) {
	f.What, f.Error, f.Check, f.broken = whatMalformed, printable(err.Error()), "", err
}

// locate adds the position of a malformed frame in its connection.
func (f *Frame) locate(c recording.Connection, e recording.Entry) {
	if f.What != whatMalformed {
		return
	}
	f.broken = c.Broken(e, f.broken)
	var at *broker.FrameError
	if !errors.As(f.broken, &at) {
		return
	}
	f.Offset, f.First = &at.Offset, hex.EncodeToString(at.First)
	if at.Client.IsValid() {
		f.Client = at.Client.String()
	}
	if at.Server.IsValid() {
		f.Server = at.Server.String()
	}
}

// message describes the value of a data message.
func message(v broker.Value) Message {
	z, err := broker.ParseZeekMessage(v)
	if err != nil {
		return Message{What: "data", Value: printable(v.String())}
	}
	return zeekMessage(z)
}

func zeekMessage(z broker.ZeekMessage) Message {
	switch z := z.(type) {
	case broker.Event:
		m := Message{What: "event", Event: printable(z.Name), Args: []string{}}
		for _, a := range z.Args {
			m.Args = append(m.Args, printable(a.String()))
		}
		for _, entry := range z.Metadata {
			key := strconv.FormatUint(entry.Key, 10)
			if entry.Key == broker.MetadataNetworkTimestamp {
				key = "network_timestamp"
			}
			m.Metadata = append(m.Metadata, key+"="+printable(entry.Value.String()))
		}
		return m
	case broker.LogCreate:
		return Message{What: "log_create", Stream: printable(z.Stream), Writer: printable(z.Writer),
			Value: printable(broker.Vector(z.WriterInfo, z.Fields).String())}
	case broker.LogWrite:
		return Message{What: "log_write", Stream: printable(z.Stream), Writer: printable(z.Writer),
			Path: printable(z.Path), Value: strconv.Quote(z.Data)}
	case broker.IdentifierUpdate:
		return Message{What: "identifier_update", ID: printable(z.ID), Value: printable(z.NewValue.String())}
	case broker.Batch:
		m := Message{What: "batch", Messages: []Message{}}
		for _, inner := range z {
			m.Messages = append(m.Messages, zeekMessage(inner))
		}
		return m
	}
	return Message{What: "data", Value: printable(z.Value().String())}
}

// String returns the message in one line.
func (m Message) String() string {
	switch m.What {
	case "event":
		s := m.Event + "(" + strings.Join(m.Args, ", ") + ")"
		if len(m.Metadata) > 0 {
			s += " " + strings.Join(m.Metadata, " ")
		}
		return s
	case "log_create":
		return fmt.Sprintf("%s %s %s", m.Stream, m.Writer, m.Value)
	case "log_write":
		return fmt.Sprintf("%s %s %s %s", m.Stream, m.Writer, m.Path, m.Value)
	case "identifier_update":
		return m.ID + " = " + m.Value
	case "batch":
		inner := make([]string, len(m.Messages))
		for i, each := range m.Messages {
			inner[i] = each.What + " " + each.String()
		}
		return fmt.Sprintf("of %d: %s", len(inner), strings.Join(inner, "; "))
	}
	return m.Value
}

// String returns the frame in one line, without its file.
func (f *Frame) String() string {
	arrow := "client -> server"
	if f.From == "server" {
		arrow = "client <- server"
	}
	seconds := recording.Time(f.T).Duration().Seconds()
	words := []string{fmt.Sprintf("%12.6f  %s  %-17s", seconds, arrow, f.What)}
	add := func(prefix, s string) {
		if s != "" {
			words = append(words, prefix+s)
		}
	}
	add("", f.Topic)
	if f.Topic == "" {
		add("from ", f.Sender)
	}
	add("to ", f.Receiver)
	add("", f.Message.String())
	if f.Topics != nil {
		add("", "["+strings.Join(f.Topics, ", ")+"]")
	}
	add("version ", f.Version)
	add("", f.Code)
	add("", f.Text)
	add("", f.Error)
	return strings.TrimRight(strings.Join(words, " "), " ")
}

// printable escapes all characters that are not printable, such as control
// sequences of terminals, and all bytes that JSON cannot represent.
func printable(s string) string {
	plain := true
	for _, r := range s {
		if plain = plain && unicode.IsPrint(r) && r != utf8.RuneError; !plain {
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if unicode.IsPrint(r) && !(r == utf8.RuneError && n == 1) {
			b.WriteRune(r)
		} else {
			quoted := strconv.Quote(s[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// printables applies printable to each string.
func printables(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = printable(s)
	}
	return out
}
