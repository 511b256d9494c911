// Package recording records and replays connections of Broker. It defines a
// file format, with a reader and a writer, a splitter that converts raw TCP
// streams to recordings, and a replay of one side of a recording to a live
// peer.
//
// A file contains one connection, one JSON object per line. The first line is
//
//	{"connection": {"name": "agent", "protocol": "native", "server_port": 2151}}
//
// possibly with the addresses of both sides as "client" and "server", and every other line is an entry, in the order of time:
//
//	{"t": 0.349507, "from": "server", "kind": "frame", "hex": "075a45454b"}
//	{"t": 0.0003, "from": "client", "kind": "http", "text": "GET /v1/..."}
//
// The member t is the time in seconds since the start of the capture. On a
// native connection, each entry is a frame without its length. On a WebSocket
// connection, each entry is the head of the HTTP request or response, or a
// message or control frame: unmasked, reassembled and without its header.
//
// HTTP heads are text, all other entries are hex. Text contains one character
// from U+0000 to U+00FF for each byte, so that it can represent any head.
//
// A Writer may be used concurrently, and so may a Recorder; other types must
// not.
package recording

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/broker"
)

// Limits of a recording, in bytes.
const (
	MaxData = 64 << 20 // data of an entry, except for an HTTP head
	MaxHead = 64 << 10 // HTTP head
	MaxName = 1 << 10  // name of a connection
)

// Connection describes the connection of a recording.
type Connection struct {
	// Name describes the connection, such as "agent-controller". Names need
	// not be unique.
	Name     string
	Protocol Protocol

	// ServerPort is the TCP port of the side that accepted the connection.
	ServerPort uint16

	// Client and Server are the addresses of the sides, or invalid if they are not
	// known.
	Client, Server netip.AddrPort
}

// Protocol is the protocol of a connection.
type Protocol string

// The protocols that can be recorded.
const (
	Native    Protocol = "native"    // frames of Broker's own protocol
	WebSocket Protocol = "websocket" // WebSocket, from its HTTP handshake on
)

// Side is one of the two ends of a connection.
type Side string

// The sides.
const (
	Client Side = "client" // opened the TCP connection
	Server Side = "server" // accepted it
)

// Other returns the opposite side.
func (s Side) Other() Side {
	if s == Client {
		return Server
	}
	return Client
}

// Kind is the kind of an entry.
type Kind string

// The kinds. Native connections have only KindFrame; WebSocket connections
// have all others.
const (
	KindFrame Kind = "frame"

	KindHTTP   Kind = "http"
	KindText   Kind = "text"
	KindBinary Kind = "binary"
	KindPing   Kind = "ping"
	KindPong   Kind = "pong"
	KindClose  Kind = "close"
)

// Entry is a frame, an HTTP head or a WebSocket message that one side sent.
type Entry struct {
	T    Time
	From Side
	Kind Kind
	Data []byte // at most MaxData bytes, or MaxHead for an HTTP head

	// Offset is the position of the entry's first byte in the stream of its side; in
	// a WebSocket connection, after the HTTP handshake. A Splitter sets it, and so
	// does a Reader, which assumes that no frame is missing and none is fragmented.
	Offset int64
}

// Broken returns the *broker.FrameError for an entry of the connection.
func (c Connection) Broken(e Entry, err error) error {
	first := e.Data
	if e.Kind == KindFrame {
		first = e.AppendWire(nil)
	}
	return broker.NewFrameError(c.Client, c.Server, e.From == Client, e.Offset, first, err)
}

// Time is the time since the start of the capture in seconds, in the form of a
// JSON number. It is text so that reading and writing preserve all digits.
type Time string

// At returns d as a Time with microsecond resolution, as in captures.
func At(d time.Duration) Time {
	s := strconv.FormatFloat(d.Seconds(), 'f', 6, 64)
	whole, fraction, _ := strings.Cut(s, ".")
	fraction = strings.TrimRight(fraction, "0")
	return Time(whole + "." + cmp.Or(fraction, "0"))
}

// Duration returns t as a duration, or 0 if t is not a valid number.
func (t Time) Duration() time.Duration {
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil || !(f >= 0 && f <= maxSeconds) {
		return 0
	}
	return time.Duration(math.Round(f * float64(time.Second)))
}

// maxSeconds is about 30 years. It fits a time.Duration.
const maxSeconds = 1e9

// ErrFormat is wrapped by errors of Reader and Writer about content that is
// not valid in a recording.
var ErrFormat = errors.New("not a valid recording")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

func (c Connection) check() error {
	switch {
	case c.Protocol != Native && c.Protocol != WebSocket:
		return invalid("protocol is %q, want native or websocket", clip(string(c.Protocol)))
	case !utf8.ValidString(c.Name):
		return invalid("name is not UTF-8")
	case len(c.Name) > MaxName:
		return invalid("name of %d bytes, limit is %d", len(c.Name), MaxName)
	}
	return nil
}

func (e Entry) check(p Protocol) error {
	switch {
	case !e.T.valid():
		return invalid("t is %s, want seconds since the start of the capture", clip(string(e.T)))
	case e.From != Client && e.From != Server:
		return invalid("from is %q, want client or server", clip(string(e.From)))
	case !e.Kind.of(p):
		return invalid("kind %q is not valid on a %s connection", clip(string(e.Kind)), p)
	}
	limit := MaxData
	if e.Kind == KindHTTP {
		limit = MaxHead
	}
	if len(e.Data) > limit {
		return invalid("%s of %d bytes, limit is %d", e.Kind, len(e.Data), limit)
	}
	return nil
}

func (k Kind) of(p Protocol) bool {
	switch k {
	case KindFrame:
		return p == Native
	case KindHTTP, KindText, KindBinary, KindPing, KindPong, KindClose:
		return p == WebSocket
	}
	return false
}

func (t Time) valid() bool {
	var n json.Number
	if len(t) > 32 || json.Unmarshal([]byte(t), &n) != nil || string(n) != string(t) {
		return false
	}
	f, err := n.Float64()
	return err == nil && f >= 0 && f <= maxSeconds
}

// clip shortens text from a file for use in an error.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
