// Package websocket carries Broker messages as JSON over WebSockets. Client
// connects to Zeek; Server replaces Zeek for its clients. Both are a broker.Bus.
//
// Zeek has two such servers. Broker's embedded server (Zeek 5.0 to 8.0) carries
// every value, does not answer a first message that it does not understand, and
// never pings. Zeek's own server (Cluster::listen_websocket, since 7.2) carries
// only events, answers messages that it does not understand with an error, and
// pings every 5 seconds. Client works with both; Server behaves like the latter.
//
// Both ends answer pings in the background. All queues are bounded; the
// configuration determines what happens when a queue is full.
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

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// Defaults of ClientConfig and ServerConfig.
const (
	DefaultQueue            = 8192            // messages; Broker's own value
	DefaultMaxClients       = 100             // Zeek's own value
	DefaultPingInterval     = 5 * time.Second // Zeek's own value
	DefaultMaxHandshakes    = 256             // of a server
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultAckTimeout       = 10 * time.Second
	DefaultMaxMessage       = 64 << 20 // bytes
	DefaultMaxIncomplete    = intake.DefaultBytes
	DefaultStallTimeout     = intake.DefaultTimeout
	DefaultMaxUnsent        = queue.DefaultTotal
	DefaultRetryMin         = time.Second
	DefaultRetryMax         = 30 * time.Second
)

const (
	// serverHandshakeTimeout limits the handshakes of TLS and WebSocket
	// (Zeek: kDefaultHandShakeTimeoutSecs).
	serverHandshakeTimeout = 3 * time.Second

	// subscribeTimeout limits the time until the first message of a client, with
	// its subscriptions. Zeek waits forever.
	subscribeTimeout = 10 * time.Second

	writeTimeout   = 30 * time.Second       // for writeBuffer bytes to a slow peer
	controlTimeout = 5 * time.Second        // for a ping or pong
	dismissTimeout = 100 * time.Millisecond // for the close frame of a client that has to go at once
	closeTimeout   = time.Second            // for sending a close frame, and for the peer's answer
	drainTimeout   = 5 * time.Second        // for sending queued messages at the end

	readBuffer  = 16 << 10 // bytes for each connection
	writeBuffer = 64 << 10 // bytes written at once
	keepBuffer  = 1 << 20  // larger buffers for sending are not kept for the next message

	maxEarly = 1 << 20 // bytes of messages kept before the ack; more are dropped
)

// ErrPingTimeout is the reason for the end of a connection whose peer does not
// answer pings.
var ErrPingTimeout = errors.New("websocket: ping timeout")

// ErrNoAck is wrapped by the error of Dial if the server does not answer the
// subscriptions in time.
var ErrNoAck = errors.New("no answer to the subscriptions")

// ErrNotUTF8 is wrapped by the error of Client.Publish for values with bytes that
// are not UTF-8, if the server is Zeek's own. That server would close the
// connection.
var ErrNotUTF8 = errors.New("bytes that are not UTF-8, which this server cannot read")

// ErrZeroByte is wrapped by the error of Client.Publish for values with a zero
// byte, if the server is one of Zeek 5.0 to 6.2, which can read no JSON encoding
// of it. The server of Zeek 7 cannot read it either, but is indistinguishable
// from that of Zeek 8.0, and answers with an error.
var ErrZeroByte = errors.New("a zero byte, which this server cannot read")

// CloseError is the reason for the end of a connection that the peer closed.
type CloseError struct {
	Code   int    // RFC 6455, section 7.4; 1006 if the peer sent none
	Reason string // given by the peer, may be empty
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

// MismatchError is an error of Dial. It means that the other end is not one of
// Zeek's WebSocket servers, or has other settings.
type MismatchError struct {
	Met    string // kind of the other end, such as MetTLS
	Status int    // of an HTTP response, or 0
	Advice string // what to change
	Err    error  // the underlying error
}

// Error implements the error interface.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("met %s; %s (%v)", e.Met, e.Advice, e.Err)
}

// Unwrap returns the underlying error.
func (e *MismatchError) Unwrap() error { return e.Err }

// newInbox returns a receive queue.
func newInbox(limit int, policy broker.Overflow, maxMessage int) *queue.Queue[broker.Notification] {
	return queue.New[broker.Notification](queue.Limits{Policy: policy, Loose: limit, Bytes: queue.Budget(maxMessage), Kept: limit})
}

// pushReceived queues a message for Next. Size is that of its text in bytes.
func pushReceived(ctx context.Context, inbox *queue.Queue[broker.Notification], p broker.Peer, d jsonv1.Data, size int) (queue.Lost, error) {
	return inbox.Push(ctx, queue.Entry[broker.Notification]{Item: broker.Received{Peer: p, Message: broker.Message(d)}, Size: size})
}

// newOut returns a queue of texts to send. One of them, the ack, is kept.
func newOut(limit int, policy broker.Overflow, maxMessage int) *queue.Queue[[]byte] {
	return queue.New[[]byte](outLimits(limit, policy, maxMessage))
}

// outLimits returns the limits of a queue of texts to send.
func outLimits(limit int, policy broker.Overflow, maxMessage int) queue.Limits {
	return queue.Limits{Policy: policy, Loose: limit, Bytes: queue.Budget(maxMessage), Kept: 1}
}

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// encode returns the text of d in a slice without spare capacity.
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

// pushText queues a text for the writer, as one of several writers.
func pushText(ctx context.Context, out *queue.Queue[[]byte], text []byte, writers int) (queue.Lost, error) {
	return out.Push(ctx, queue.Entry[[]byte]{Item: text, Size: len(text), Shared: writers})
}

// defaultPings replaces zero by the default and a negative interval, which
// disables pings, by zero.
func defaultPings(interval *time.Duration) {
	switch {
	case *interval < 0:
		*interval = 0
	case *interval == 0:
		*interval = DefaultPingInterval
	}
}
