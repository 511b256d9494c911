// Package websocket carries Broker messages as JSON over WebSockets, as a
// client of Zeek and in Zeek's place as a server. Both ends are a broker.Bus.
//
// Zeek has two such servers. Broker's embedded one (Zeek 5.0 to 8.0) carries
// every value, says nothing about a first message that it does not understand
// and never pings. Zeek's own one (Cluster::listen_websocket, since 7.2) knows
// events only, answers what it does not understand with an error, and pings
// every 5 seconds. Client works with both; Server behaves like the latter.
//
// All methods may be called from any goroutine, except Next, which one at a
// time may call. Both ends answer pings in the background, whatever the
// application does. All queues are bounded; what happens when one is full is
// the choice of the configuration.
package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// Defaults of ClientConfig and ServerConfig.
const (
	DefaultQueue            = 8192             // messages, of each queue; Broker's own number
	DefaultMaxClients       = 100              // Zeek's own number
	DefaultPingInterval     = 5 * time.Second  // Zeek's own number
	DefaultHandshakeTimeout = 10 * time.Second // of a client, up to the upgrade
	DefaultAckTimeout       = 10 * time.Second
	DefaultMaxMessage       = 64 << 20 // bytes
	DefaultReconnectMin     = time.Second
	DefaultReconnectMax     = 30 * time.Second
)

const (
	// serverHandshakeTimeout is how long a connection may take to become a
	// WebSocket (Zeek: kDefaultHandShakeTimeoutSecs).
	serverHandshakeTimeout = 3 * time.Second

	writeTimeout   = 30 * time.Second // for one message to a peer that reads slowly
	controlTimeout = 5 * time.Second  // for a ping or pong; nobody's buffers stay full that long
	closeTimeout   = time.Second      // for our close frame, and for the peer's answer to it
	drainTimeout   = 5 * time.Second  // for what is queued when we close

	readBuffer  = 16 << 10 // bytes, for each connection
	writeBuffer = 64 << 10 // that wait to be written together
	keepBuffer  = 1 << 20  // what one large message needed is not worth keeping

	maxEarly = 1 << 20 // bytes of messages before the ack; more is dropped
)

// ErrPingTimeout is why a connection ends whose peer answers no pings.
var ErrPingTimeout = errors.New("websocket: ping timeout")

// ErrNoAck is wrapped by the error of Dial when the server does not answer
// our subscriptions in time.
var ErrNoAck = errors.New("no answer to our subscriptions")

// ErrNotUTF8 is wrapped by the error of Client.Publish for values that hold
// bytes that are no UTF-8, when the server is Zeek's own, which would close
// the connection.
var ErrNotUTF8 = errors.New("bytes that are not UTF-8, which this server cannot read")

// ErrZeroByte is wrapped by the error of Client.Publish for values that hold
// a zero byte, when the server is one of Zeek 5.0 to 6.2: no JSON brings it
// there. Zeek 7, which cannot be told from Zeek 8.0, answers with an error.
var ErrZeroByte = errors.New("a zero byte, which this server cannot read")

// CloseError is why a connection ends that the peer closed.
type CloseError struct {
	Code   int    // RFC 6455, section 7.4; 1006 if the peer sent none
	Reason string // what the peer wrote
}

var closeWords = map[int]string{
	websocket.CloseNormalClosure:           "normal end",
	websocket.CloseGoingAway:               "peer is terminating",
	websocket.CloseProtocolError:           "protocol error",
	websocket.CloseUnsupportedData:         "unsupported data",
	websocket.CloseNoStatusReceived:        "no reason given",
	websocket.CloseAbnormalClosure:         "connection lost",
	websocket.CloseInvalidFramePayloadData: "text is not UTF-8",
	websocket.ClosePolicyViolation:         "refused",
	websocket.CloseMessageTooBig:           "message too big",
	websocket.CloseInternalServerErr:       "internal error",
	websocket.CloseServiceRestart:          "peer is restarting",
	websocket.CloseTryAgainLater:           "peer is overloaded",
}

// Error implements the error interface.
func (e *CloseError) Error() string {
	text := "websocket: closed by peer: " + strconv.Itoa(e.Code)
	if words := closeWords[e.Code]; words != "" {
		text += " (" + words + ")"
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// MismatchError is why Dial fails when something else than one of Zeek's
// WebSocket servers answers, or one with other settings.
type MismatchError struct {
	Met    string // what answered, such as MetTLS
	Status int    // of an HTTP response, if there was one
	Advice string // what to change
	Err    error  // how it showed
}

// Error implements the error interface.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("met %s; %s (%v)", e.Met, e.Advice, e.Err)
}

// Unwrap returns the underlying error.
func (e *MismatchError) Unwrap() error { return e.Err }

func newInbox(limit int, policy broker.Overflow, maxMessage int64) *queue.Queue[broker.Notification] {
	return queue.New[broker.Notification](queue.Limits{Policy: policy, Loose: limit, Bytes: queue.Budget(int(maxMessage)), Kept: limit})
}

// pushReceived lets a message of a text of so many bytes wait for Next.
func pushReceived(ctx context.Context, inbox *queue.Queue[broker.Notification], p broker.Peer, d jsonv1.Data, size int) (queue.Lost, error) {
	return inbox.Push(ctx, queue.Entry[broker.Notification]{Item: broker.Received{Peer: p, Message: broker.Message(d)}, Size: size})
}

// newOut returns a queue of texts to send, of which one, the ack, is kept.
func newOut(limit int, policy broker.Overflow, maxMessage int64) *queue.Queue[[]byte] {
	return queue.New[[]byte](queue.Limits{Policy: policy, Loose: limit, Bytes: queue.Budget(int(maxMessage)), Kept: 1})
}

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// encode returns the text of d in memory of its size.
func encode(appendTo func([]byte, jsonv1.Frame) []byte, d jsonv1.Data) []byte {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	*buf = appendTo((*buf)[:0], d)
	text := bytes.Clone(*buf)
	if cap(*buf) > keepBuffer {
		*buf = nil
	}
	return text
}

func pushText(ctx context.Context, out *queue.Queue[[]byte], text []byte) (queue.Lost, error) {
	return out.Push(ctx, queue.Entry[[]byte]{Item: text, Size: len(text)})
}

func positiveOr[T int | int64 | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// pings returns the interval for a setting of which negative means none.
func pings(setting time.Duration) time.Duration {
	if setting < 0 {
		return 0
	}
	return positiveOr(setting, DefaultPingInterval)
}

func orSilent(log *zerolog.Logger) zerolog.Logger {
	if log == nil {
		return zerolog.Nop()
	}
	return *log
}
