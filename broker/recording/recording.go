// Package recording is recorded traffic: the file format, a reader and a
// writer for it, a splitter that makes recordings of raw TCP streams, and a
// replay that plays one side of a recording to a live peer.
//
// A file holds one connection, one JSON object per line. The first line is
//
//	{"connection": {"name": "agent", "protocol": "native", "server_port": 2151}}
//
// and every other line one thing that a side said, in the order of time:
//
//	{"t": 0.349507, "from": "server", "kind": "frame", "hex": "075a45454b"}
//	{"t": 0.0003, "from": "client", "kind": "http", "text": "GET /v1/..."}
//
// Member t counts seconds from the start of the capture. Of a native
// connection every line is a frame without the length before it. Of a
// WebSocket connection it is the head of the HTTP request or response, or a
// message or control frame: unmasked, reassembled, without its header.
//
// Heads are text, everything else is hex. Text holds one byte per character,
// U+0000 to U+00FF, so that it can hold any head there is.
//
// A Writer is safe for concurrent use; all other types are for one goroutine.
package recording

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Sizes in bytes of what a recording can hold.
const (
	MaxData = 64 << 20 // of one entry
	MaxHead = 64 << 10 // of an HTTP head
	MaxName = 1 << 10  // of a connection's name
)

// Connection describes the connection that a recording holds.
type Connection struct {
	// Name says who talks, such as "agent-controller". Several recordings may
	// share one.
	Name     string
	Protocol Protocol

	// ServerPort is the TCP port of the side that accepted the connection.
	ServerPort uint16
}

// Protocol is what the two sides speak.
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

// Kind is what an entry holds.
type Kind string

// The kinds: KindFrame is the only one of a native connection, the others are
// those of a WebSocket connection.
const (
	KindFrame Kind = "frame"

	KindHTTP   Kind = "http"
	KindText   Kind = "text"
	KindBinary Kind = "binary"
	KindPing   Kind = "ping"
	KindPong   Kind = "pong"
	KindClose  Kind = "close"
)

// Entry is one thing that one side said.
type Entry struct {
	T    Time
	From Side
	Kind Kind
	Data []byte // at most MaxData bytes, of an HTTP head MaxHead
}

// Time is an offset from the start of the capture in seconds, as the text of a
// JSON number. Being text it survives reading and writing to the last digit.
type Time string

// At returns d as a Time with microseconds, the resolution of captures.
func At(d time.Duration) Time {
	s := strconv.FormatFloat(d.Seconds(), 'f', 6, 64)
	whole, fraction, _ := strings.Cut(s, ".")
	fraction = strings.TrimRight(fraction, "0")
	return Time(whole + "." + cmp.Or(fraction, "0"))
}

// Duration returns t as a duration, and 0 for a Time that is no number.
func (t Time) Duration() time.Duration {
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil || !(f >= 0 && f <= maxSeconds) {
		return 0
	}
	return time.Duration(math.Round(f * float64(time.Second)))
}

// maxSeconds is some 30 years and fits a time.Duration.
const maxSeconds = 1e9

// ErrFormat is wrapped by the errors of Reader and Writer about things that a
// recording cannot hold.
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
		return invalid("kind is %q, which a %s connection does not have", clip(string(e.Kind)), p)
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

// clip keeps what a file says from flooding the error about it.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
