package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
)

// conn is one established WebSocket connection of either end. It hides the
// WebSocket library. Three goroutines share it: one reads, one writes texts, and
// one writes pings and pongs. Control frames are written between whole texts
// only, because Broker's embedded server does not accept them within a text.
type conn struct {
	ws     *websocket.Conn
	stream *stream
	intake *intake.Account
	pool   *intake.Pool
	out    *queue.Queue[[]byte] // texts to send; closing it starts the closing handshake

	early   []message // texts that were read before run
	reading message   // the text that is being processed; used by the reader only

	masked       bool                   // frames sent are masked, as required of clients
	pingInterval time.Duration          // 0 for no pings
	ping         func(n int) string     // payload of ping n
	strictUTF8   bool                   // close the connection over texts that are not UTF-8
	receive      func(b []byte) error   // takes each text; an error ends the connection
	sent         func(texts, bytes int) // called for texts sent
	fed          fed                    // of the feed, called once feeding is true
	feeding      atomic.Bool

	ctx     context.Context // ends when no more texts are sent
	cancel  context.CancelCauseFunc
	writing chan struct{} // holds a token during a write
	pongs   chan string   // payload of the last ping to answer
	ending  chan farewell // sent by keepAlive when ctx ends
	heard   atomic.Bool   // something was received since our last ping
	busy    atomic.Bool   // receive is running

	mu       sync.Mutex
	farewell farewell
	drainer  *time.Timer
}

// farewell is a close frame to send, and the reason for the end.
type farewell struct {
	code   int
	reason string
	cause  error
}

// message is a text of the peer, and the beginning of its first frame.
type message struct {
	header frameHeader
	text   []byte
}

func newConn(ws *websocket.Conn, s *stream, out *queue.Queue[[]byte], pool *intake.Pool, maxMessage int) *conn {
	c := &conn{
		ws:       ws,
		stream:   s,
		pool:     pool,
		out:      out,
		writing:  make(chan struct{}, 1),
		pongs:    make(chan string, 1),
		ending:   make(chan farewell, 1),
		farewell: farewell{code: websocket.CloseNormalClosure, cause: broker.ErrClosed},
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.intake = pool.Account(c.ctx.Done(), func(err error) { c.abort(fmt.Errorf("websocket: %w", err)) })
	s.meter, s.heard = c.intake, &c.heard
	ws.SetReadLimit(int64(maxMessage))
	ws.SetPongHandler(nil) // it counts as heard, like all other bytes
	c.answerPings()
	return c
}

// answerPings makes keepAlive answer pings.
func (c *conn) answerPings() {
	c.ws.SetPingHandler(func(payload string) error {
		select {
		case <-c.pongs: // answering the last one suffices
		default:
		}
		c.pongs <- payload // does not block: there is no other sender
		return nil
	})
}

// run serves the connection until it ends and returns why.
func (c *conn) run() error {
	c.heard.Store(true) // the handshake
	var others sync.WaitGroup
	others.Go(c.write)
	others.Go(c.keepAlive)
	c.cancel(c.read())
	c.intake.Done()
	c.ws.Close()
	others.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drainer != nil {
		c.drainer.Stop()
		return c.farewell.cause // not the errors that follow from closing
	}
	return context.Cause(c.ctx)
}

// drain closes the connection once the queued texts are sent, or after
// drainTimeout.
func (c *conn) drain(f farewell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drainer != nil {
		return
	}
	c.farewell = f
	c.out.Close()
	c.drainer = time.AfterFunc(drainTimeout, func() { c.abort(f.cause) })
}

// dismiss ends the connection at once. It sends the close frame if that takes no
// longer than dismissTimeout.
func (c *conn) dismiss(f farewell) {
	deadline := time.NewTimer(dismissTimeout)
	defer deadline.Stop()
	select {
	case c.writing <- struct{}{}:
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(f.code, f.reason), time.Now().Add(dismissTimeout))
		<-c.writing
	case <-deadline.C:
	}
	c.abort(f.cause)
}

// abort ends the connection without a closing handshake.
func (c *conn) abort(cause error) {
	c.cancel(cause)
	c.ws.Close()
}

// end makes keepAlive send the close frame of f, and stops sending anything else.
// It does not wait.
func (c *conn) end(f farewell) {
	select {
	case c.ending <- f:
	default: // the connection is ending already
	}
	c.cancel(f.cause)
}

// sayFarewell sends the close frame, if there is one, and limits the time for the
// peer's answer.
func (c *conn) sayFarewell() {
	select {
	case f := <-c.ending:
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(f.code, f.reason), time.Now().Add(closeTimeout))
		c.ws.NetConn().SetReadDeadline(time.Now().Add(closeTimeout))
	default:
	}
}

// write sends queued texts, and those of the feed, until the queue or the connection ends.
func (c *conn) write() {
	var buf []byte
	for c.ctx.Err() == nil {
		text, err := c.nextQueued()
		if errors.Is(err, broker.ErrClosed) {
			c.mu.Lock()
			f := c.farewell
			c.mu.Unlock()
			c.end(f)
			return
		}
		if err != nil {
			return
		}
		if cap(buf) > keepBuffer {
			buf = nil
		}
		buf = buf[:0]
		texts, size := 0, 0
		var large []byte // after buf
		for ok := true; ok; text, ok = c.out.TryNext() {
			texts, size = texts+1, size+len(text)
			if len(text) >= writeBuffer && !c.masked { // a copy of it would be too much memory
				buf, large = appendTextHeader(buf, len(text)), text
				break
			}
			buf = appendText(buf, text, c.masked)
			if len(buf) >= writeBuffer {
				break
			}
		}
		if c.send(buf, large) != nil {
			return
		}
		if c.sent != nil {
			c.sent(texts, size)
		}
	}
}

// send writes whole frames, the last of which may end with more. Control frames are not
// written meanwhile. An error has ended the connection.
func (c *conn) send(frames, more []byte) error {
	c.writing <- struct{}{}
	c.stream.SetWriteDeadline(time.Now().Add(writeTimeout))
	err := c.stream.writeBoth(frames, more)
	<-c.writing
	if err != nil {
		c.abort(fmt.Errorf("websocket: sending: %w", err))
	}
	return err
}

// keepAlive sends pings, pongs and the close frame.
func (c *conn) keepAlive() {
	defer c.sayFarewell()
	var tick <-chan time.Time
	if c.pingInterval > 0 {
		ticker := time.NewTicker(c.pingInterval)
		defer ticker.Stop()
		tick = ticker.C
	}
	n := 0
	ping := func() {
		c.heard.Store(false)
		c.control(websocket.PingMessage, c.ping(n))
		n++
	}
	if tick != nil {
		ping()
	}
	for {
		select {
		case <-c.ctx.Done():
			return
		case payload := <-c.pongs:
			c.control(websocket.PongMessage, payload)
		case <-tick:
			switch {
			case len(c.writing) > 0 || c.busy.Load():
				// This end is busy, or a large text is being written, which
				// has its own timeout.
			case c.heard.Load():
				ping()
			default:
				c.end(farewell{websocket.CloseInternalServerErr, "Ping timeout", ErrPingTimeout})
				return
			}
		}
	}
}

// control writes a control frame as soon as no text is being written.
func (c *conn) control(kind int, payload string) {
	select {
	case c.writing <- struct{}{}:
		// The reader or the writer will see the same error.
		_ = c.ws.WriteControl(kind, []byte(payload), time.Now().Add(controlTimeout))
		<-c.writing
	case <-c.ctx.Done():
	}
}

// read receives texts until the connection ends. It returns the reason, which
// does not count if the connection was ended by another goroutine before.
func (c *conn) read() error {
	for _, m := range c.early {
		c.take(m)
	}
	c.early = nil
	for {
		m, err := c.next()
		if err != nil {
			return err
		}
		c.take(m)
		c.done()
		c.reading = message{}
		if cap(m.text) == readBuffer {
			reads.Put((*[readBuffer]byte)(m.text[:readBuffer]))
		}
	}
}

// reads has the memory in which messages are read. A connection whose peer sends nothing
// needs none.
var reads = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// next reads a message. A large one takes memory of the pool, which the caller must return
// with done.
func (c *conn) next() (message, error) {
	var m message
	_, r, err := c.ws.NextReader() // binary messages are treated as texts
	m.header = c.stream.next()
	if err != nil {
		return m, c.failed(m, err)
	}
	buf := reads.Get().(*[readBuffer]byte)[:]
	for m.text = buf[:0]; err == nil && len(m.text) < cap(m.text); {
		var n int
		n, err = r.Read(m.text[len(m.text):cap(m.text)])
		m.text = m.text[:len(m.text)+n]
	}
	if err == nil {
		m.text, err = intake.Collect(taker{c.intake, c}, r, m.text, m.header.message())
	}
	if err == nil || errors.Is(err, io.EOF) {
		return m, nil
	}
	return m, c.failed(m, err)
}

// failed returns the error for a message that cannot be read because of err.
func (c *conn) failed(m message, err error) error {
	if errors.Is(err, intake.ErrMemory) {
		return fmt.Errorf("websocket: %w", err)
	}
	return readError(c.stream.explain(err, m.header))
}

// taker takes memory for messages, for which it may have to wait. The stream counts
// what arrives.
type taker struct {
	*intake.Account
	c *conn
}

func (taker) Arrived(int) {}

func (t taker) Take(n int) error {
	t.c.busy.Store(true)
	defer t.c.busy.Store(false)
	return t.Account.Take(n)
}

// done returns the memory of a message, and continues the timing of what follows.
func (c *conn) done() {
	c.stream.pause()
	c.intake.Done()
	c.stream.resume()
}

// take handles one message.
func (c *conn) take(m message) {
	if c.ctx.Err() != nil {
		return // waiting for the answer to our close frame
	}
	c.reading = m
	if c.strictUTF8 && !utf8.Valid(m.text) {
		c.end(farewell{websocket.CloseInvalidFramePayloadData, "Invalid frame payload data", c.broken(errInvalidUTF8)})
		return
	}
	c.stream.pause()
	c.busy.Store(true)
	err := c.deliver(m.text)
	c.busy.Store(false)
	if err != nil {
		c.end(farewell{websocket.ClosePolicyViolation, "", err})
	}
}

// deliver passes a text on. Few large ones are decoded and not yet delivered at the
// same time.
func (c *conn) deliver(text []byte) error {
	if len(text) > readBuffer {
		end, err := c.pool.Turn(c.ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	return c.receive(text)
}

// broken returns the error for the message that is being processed.
func (c *conn) broken(err error) error {
	return fmt.Errorf("websocket: %w", c.stream.broken(c.reading.header.offset, c.reading.text, err))
}

var errInvalidUTF8 = errors.New("the text is not UTF-8")

// readError returns the error for a failed read.
func readError(err error) error {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return &CloseError{Code: closed.Code, Reason: closed.Text}
	}
	var frame *broker.FrameError
	switch {
	case errors.As(err, &frame):
		return fmt.Errorf("websocket: %w", err)
	case errors.Is(err, net.ErrClosed):
		return broker.ErrClosed
	}
	return fmt.Errorf("websocket: receiving: %w", err)
}
