package anontls

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNotTLS is wrapped by the error of a handshake whose peer does not speak
// TLS at all.
var ErrNotTLS = errors.New("anontls: the peer does not speak TLS")

// errWriteClosed is returned by Write after CloseWrite.
var errWriteClosed = errors.New("anontls: write after CloseWrite")

const (
	// goodbyeTimeout is how long Close, and a call that fails, waits for a slow
	// peer to take the last alert. Alerts fit into any socket's buffer, so a
	// peer that does not take one in that time has stopped reading.
	goodbyeTimeout = time.Second

	// maxUseless is how many records in a row may carry nothing: empty data or
	// warnings.
	maxUseless = 16
)

// Conn is a TLS connection over another connection. It is a net.Conn.
//
// One goroutine may read while another writes; concurrent calls of the same
// kind wait for each other. Close and the deadlines may be used at any time.
// The first Read or Write completes the handshake if nobody has.
//
// Each call of Write sends records of its own, which never carry data of
// another call. Broker depends on that where its handshake hands over to its
// normal operation.
//
// A timeout of Read is harmless, a timeout of Write or of the handshake ends
// the connection: part of a record may have been sent.
type Conn struct {
	conn     net.Conn
	isClient bool
	config   config

	handshakeMu  sync.Mutex
	handshakeErr error
	complete     atomic.Bool // the handshake succeeded
	state        State

	in  inbound
	out outbound

	endMu  sync.Mutex
	ending bool // the last alert has its own deadline
	closed bool
}

// State says what was negotiated.
type State struct {
	// ExtendedMasterSecret says that the keys depend on the whole handshake.
	ExtendedMasterSecret bool

	// EncryptThenMAC says that the MAC covers what was encrypted, not what was
	// to be.
	EncryptThenMAC bool
}

// config is what tests change.
type config struct {
	random                 io.Reader
	noEncryptThenMAC       bool
	noExtendedMasterSecret bool
}

// inbound is what the peer sends. The goroutine that reads owns it by mu; the
// handshake owns it before anybody can read.
type inbound struct {
	mu      sync.Mutex
	records recordReader
	opener  *opener // nil before ChangeCipherSpec
	version uint16  // of all records once it is negotiated, 0 before
	begun   bool    // a record has arrived
	useless int
	hand    []byte // of handshake messages, not parsed yet
	data    []byte // decrypted, not read yet
	err     error  // what ended this direction
}

// outbound is what we send.
type outbound struct {
	mu      sync.Mutex
	sealer  *sealer // nil before ChangeCipherSpec
	version uint16  // of all records
	buf     []byte  // records, not sent yet
	err     error   // what ended this direction
}

// InsecureClient returns the client's end of a connection with an anonymous
// server over conn. Nothing tells who the server is.
func InsecureClient(conn net.Conn) *Conn { return newConn(conn, true, config{}) }

// InsecureServer returns the server's end of a connection with an anonymous
// client over conn. Nothing tells who the client is.
func InsecureServer(conn net.Conn) *Conn { return newConn(conn, false, config{}) }

func newConn(conn net.Conn, isClient bool, config config) *Conn {
	if config.random == nil {
		config.random = rand.Reader
	}
	version := uint16(versionTLS12)
	if isClient {
		version = versionTLS10 // until the server has chosen (RFC 5246, appendix E.1)
	}
	return &Conn{
		conn:     conn,
		isClient: isClient,
		config:   config,
		in:       inbound{records: recordReader{conn: conn}},
		out:      outbound{version: version},
	}
}

// Handshake is HandshakeContext without a context.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext agrees on keys with the peer, unless that has been done. If
// ctx ends first, the connection is closed and the error is that of ctx. A
// failed handshake is not tried again: all later calls return its error.
func (c *Conn) HandshakeContext(ctx context.Context) error {
	if c.complete.Load() {
		return nil
	}
	c.handshakeMu.Lock()
	defer c.handshakeMu.Unlock()
	if c.complete.Load() || c.handshakeErr != nil {
		return c.handshakeErr
	}
	if err := ctx.Err(); err != nil {
		return err
	}

	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		c.conn.Close()
	})
	err := c.handshake()
	if !stop() {
		<-closed
		err = ctx.Err()
	}
	if err == nil {
		c.complete.Store(true)
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	var alert *AlertError
	if !errors.As(err, &alert) && !errors.Is(err, ErrNotTLS) {
		err = fmt.Errorf("anontls: handshake: %w", err)
	}
	c.handshakeErr = err
	return err
}

// State returns what was negotiated, and the zero State before that.
func (c *Conn) State() State {
	if !c.complete.Load() {
		return State{}
	}
	return c.state
}

// Read reads data of the peer. It returns io.EOF when the peer says that it
// has finished, and also when the stream just ends between two records:
// Broker ends its connections like that, so no end of a stream can be told
// from a cut by somebody else. A stream that ends within a record yields
// io.ErrUnexpectedEOF.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	for len(c.in.data) == 0 {
		if err := c.readData(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.in.data)
	c.in.data = c.in.data[n:]
	return n, nil
}

func (c *Conn) readData() error {
	typ, content, err := c.readRecord()
	if err != nil {
		return err
	}
	switch typ {
	case recordData:
		c.in.data = content
		return nil
	case recordHandshake:
		again := typeClientHello
		if c.isClient {
			again = typeHelloRequest
		}
		if messageType(content[0]) == again {
			return c.fail(NoRenegotiation, "the peer wants to renegotiate")
		}
		return c.fail(UnexpectedMessage, "the peer sent a %s after the handshake", messageType(content[0]))
	}
	return c.fail(UnexpectedMessage, "the peer sent a %s after the handshake", typ)
}

// readRecord returns the next record that is not an alert, with content unless
// it is data.
func (c *Conn) readRecord() (recordType, []byte, error) {
	if c.in.err != nil {
		return 0, nil, c.in.err
	}
	typ, content, err := c.readAnyRecord()
	if isTimeout(err) {
		return 0, nil, err
	}
	if err != nil {
		c.in.err = err
	}
	return typ, content, err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (c *Conn) readAnyRecord() (recordType, []byte, error) {
	for {
		if !c.in.begun {
			b, err := c.in.records.peek(recordHeaderLen)
			if err != nil {
				return 0, nil, err
			}
			if typ := recordType(b[0]); b[1] != 3 || typ != recordAlert && typ != recordHandshake {
				return 0, nil, fmt.Errorf("%w: it began with % x", ErrNotTLS, b[:recordHeaderLen])
			}
			c.in.begun = true
		}
		r, err := c.in.records.next()
		if errors.Is(err, errRecordTooLong) {
			return 0, nil, c.fail(RecordOverflow, "the peer sent a record of more than %d bytes", maxCiphertext)
		}
		if err != nil {
			return 0, nil, err
		}
		if r.version>>8 != 3 || c.in.version != 0 && r.version != c.in.version {
			return 0, nil, c.fail(ProtocolVersion, "the peer sent a record of version %#04x", r.version)
		}
		content := r.content
		if c.in.opener != nil {
			content, err = c.in.opener.open(r.typ, content)
			if errors.Is(err, errBadRecord) {
				return 0, nil, c.fail(BadRecordMAC, "a record is not what the peer sent, or the peer's keys differ")
			}
			if err != nil {
				return 0, nil, c.fail(InternalError, "%v", err)
			}
		}
		if len(content) > maxPlaintext {
			return 0, nil, c.fail(RecordOverflow, "the peer sent a record with more than %d bytes of data", maxPlaintext)
		}

		switch {
		case r.typ == recordAlert:
			if err := c.receiveAlert(content); err != nil {
				return 0, nil, err
			}
		case len(content) > 0:
			c.in.useless = 0
			return r.typ, content, nil
		case r.typ != recordData || !c.complete.Load():
			return 0, nil, c.fail(UnexpectedMessage, "the peer sent an empty %s", r.typ)
		}
		if c.in.useless++; c.in.useless > maxUseless {
			return 0, nil, c.fail(UnexpectedMessage, "the peer sent %d records in a row without content", c.in.useless)
		}
	}
}

// receiveAlert returns nil for a warning that may be ignored.
func (c *Conn) receiveAlert(content []byte) error {
	if len(content) != 2 {
		return c.fail(DecodeError, "the peer sent an alert of %d bytes", len(content))
	}
	level, alert := content[0], Alert(content[1])
	switch {
	case alert == CloseNotify:
		return io.EOF
	case level == levelWarning && alert != NoRenegotiation:
		return nil
	case level == levelWarning, level == levelFatal:
		return &AlertError{Alert: alert, Received: true}
	}
	return c.fail(IllegalParameter, "the peer sent an alert of level %d", level)
}

// Write sends p. What it sends has records of its own, and has been handed to
// the underlying connection when Write returns. An error ends this direction.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	var n int
	for len(p) > 0 {
		piece := p[:min(len(p), maxPlaintext)]
		c.queueRecord(recordData, piece)
		if err := c.flush(); err != nil {
			return n, err
		}
		n += len(piece)
		p = p[len(piece):]
	}
	return n, c.out.err
}

// queueRecord adds a record to what flush sends. Errors show there.
func (c *Conn) queueRecord(typ recordType, content []byte) {
	if c.out.err != nil {
		return
	}
	start := len(c.out.buf)
	b := appendRecordHeader(c.out.buf, typ, c.out.version)
	if c.out.sealer == nil {
		b = append(b, content...)
	} else {
		var err error
		if b, err = c.out.sealer.seal(b, typ, content); err != nil {
			c.out.err = fmt.Errorf("anontls: sending: %w", err)
			return
		}
	}
	setRecordLen(b[start:], b[start+recordHeaderLen:])
	c.out.buf = b
}

// flush sends the queued records.
func (c *Conn) flush() error {
	if c.out.err == nil && len(c.out.buf) > 0 {
		_, c.out.err = c.conn.Write(c.out.buf)
	}
	c.out.buf = c.out.buf[:0]
	return c.out.err
}

// fail ends the connection because of what the peer did. Only whoever reads may
// call it.
func (c *Conn) fail(alert Alert, format string, args ...any) error {
	err := &AlertError{Alert: alert, Reason: fmt.Sprintf(format, args...)}
	c.in.err = err
	c.goodbye(alert, err)
	return err
}

// goodbye sends the last alert and ends the direction to the peer with err. It
// interrupts a Write that the peer does not take.
func (c *Conn) goodbye(alert Alert, err error) {
	c.endMu.Lock()
	if !c.ending {
		c.ending = true
		c.conn.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	}
	c.endMu.Unlock()

	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.err != nil {
		return
	}
	c.queueRecord(recordAlert, []byte{alert.level(), byte(alert)})
	_ = c.flush() // the peer may be gone
	c.out.err = err
}

// CloseWrite tells the peer that nothing follows. Reading goes on.
func (c *Conn) CloseWrite() error {
	if err := c.Handshake(); err != nil {
		return err
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if errors.Is(c.out.err, errWriteClosed) {
		return nil
	}
	c.queueRecord(recordAlert, []byte{CloseNotify.level(), byte(CloseNotify)})
	err := c.flush()
	if err == nil {
		c.out.err = errWriteClosed
	}
	return err
}

// Close tells the peer, waiting at most a second, and closes the connection.
// Calls that are under way return.
func (c *Conn) Close() error {
	c.endMu.Lock()
	closed := c.closed
	c.closed = true
	c.endMu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if c.complete.Load() {
		c.goodbye(CloseNotify, net.ErrClosed)
	}
	return c.conn.Close()
}

// LocalAddr returns the local address of the underlying connection.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the peer's address of the underlying connection.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of writes. It has no effect once the
// connection has begun to end.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.endMu.Lock()
	defer c.endMu.Unlock()
	if c.ending {
		return nil
	}
	return c.conn.SetWriteDeadline(t)
}
