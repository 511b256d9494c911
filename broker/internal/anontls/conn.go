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

// ErrNotTLS is wrapped by the error of a handshake whose peer does not use
// TLS.
var ErrNotTLS = errors.New("anontls: the peer does not speak TLS")

// errWriteClosed is the error of Write after CloseWrite.
var errWriteClosed = errors.New("anontls: write after CloseWrite")

const (
	// goodbyeTimeout limits the time for sending the last alert, in Close and
	// after a failure. Alerts fit into the buffer of any socket, so a peer
	// that does not receive one in this time has stopped reading.
	goodbyeTimeout = time.Second

	// maxUseless is the maximum number of consecutive records without content:
	// empty data or warnings.
	maxUseless = 16
)

// Conn is a TLS connection on top of another connection. It implements
// net.Conn.
//
// All methods may be called concurrently. A Read and a Write can proceed at
// the same time; concurrent calls of the same method wait for each other. The
// first Read or Write runs the handshake if it has not been completed.
//
// Each call of Write sends its own records, which never contain data of other
// calls. Broker depends on this at the transition from its handshake to normal
// operation.
//
// A connection remains usable after a Read timeout. A timeout of a Write or of
// the handshake ends the connection, because part of a record may have been
// sent.
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
	ending bool // the deadline is that of the last alert
	closed bool
}

// State describes the negotiated parameters.
type State struct {
	// X25519 reports whether the keys were exchanged with x25519 instead of
	// secp384r1.
	X25519 bool

	// ExtendedMasterSecret reports whether the keys depend on the whole
	// handshake.
	ExtendedMasterSecret bool

	// EncryptThenMAC reports whether the MAC covers the encrypted data instead
	// of the plaintext.
	EncryptThenMAC bool
}

// config holds settings that tests change. The zero value is used in
// production.
type config struct {
	random                 io.Reader
	noX25519               bool
	noEncryptThenMAC       bool
	noExtendedMasterSecret bool
}

// inbound is the receiving direction. Its mutex protects it after the
// handshake; before that, only the handshake accesses it.
type inbound struct {
	mu      sync.Mutex
	records recordReader
	opener  *opener // nil before ChangeCipherSpec
	version uint16  // of all records; 0 before negotiation
	begun   bool    // a record has been received
	useless int
	hand    []byte // handshake data that is not parsed yet
	data    []byte // decrypted data that has not been read yet
	err     error  // reason why this direction ended, or nil
}

// outbound is the sending direction.
type outbound struct {
	mu      sync.Mutex
	sealer  *sealer // nil before ChangeCipherSpec
	version uint16  // of all records
	buf     []byte  // records that have not been sent yet, or nil
	err     error   // reason why this direction ended, or nil
}

// InsecureClient returns the client end of an anonymous TLS connection over
// conn. The server is not authenticated.
func InsecureClient(conn net.Conn) *Conn { return newConn(conn, true, config{}) }

// InsecureServer returns the server end of an anonymous TLS connection over
// conn. The client is not authenticated.
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
		in:       inbound{records: newRecordReader(conn)},
		out:      outbound{version: version},
	}
}

// Handshake is like HandshakeContext, without a context.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext runs the handshake unless it has been completed. If ctx
// ends first, it closes the connection and returns the error of ctx. A failed
// handshake is not repeated: all later calls return its error.
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

// State returns the negotiated parameters, or the zero State before the
// handshake has completed.
func (c *Conn) State() State {
	if !c.complete.Load() {
		return State{}
	}
	return c.state
}

// Read reads data. It returns io.EOF after the peer's close notification, and
// also if the stream ends between two records: Broker ends its connections
// that way, so the regular end cannot be distinguished from truncation by an
// attacker. If the stream ends inside a record, the error is
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
	if c.in.data = c.in.data[n:]; len(c.in.data) == 0 {
		c.in.data = nil // it is in a buffer that another connection may use next
	}
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
			return c.fail(NoRenegotiation, "the peer requested a renegotiation")
		}
		return c.fail(UnexpectedMessage, "the peer sent a %s after the handshake", messageType(content[0]))
	}
	return c.fail(UnexpectedMessage, "the peer sent a %s after the handshake", typ)
}

// readRecord returns the next record that is not an alert. Its content is not
// empty unless it is application data.
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
				return 0, nil, c.fail(BadRecordMAC, "a record was changed in transit, or the peer has different keys")
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

// receiveAlert processes an alert. It returns nil if the alert is a warning
// that may be ignored.
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

// Write sends p in records of its own, which have been written to the
// underlying connection when Write returns. After an error, later calls fail
// as well.
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

// queueRecord adds a record to the output buffer. Errors are reported by
// flush.
func (c *Conn) queueRecord(typ recordType, content []byte) {
	if c.out.err != nil {
		return
	}
	if c.out.buf == nil {
		c.out.buf = buffers.Get().(*buffer)[:0]
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
	if c.out.buf == nil {
		return c.out.err
	}
	if c.out.err == nil {
		_, c.out.err = c.conn.Write(c.out.buf)
	}
	buffers.Put((*buffer)(c.out.buf[:cap(c.out.buf)]))
	c.out.buf = nil
	return c.out.err
}

// fail ends the connection because of a fault of the peer. Only the reading
// goroutine may call it.
func (c *Conn) fail(alert Alert, format string, args ...any) error {
	err := &AlertError{Alert: alert, Reason: fmt.Sprintf(format, args...)}
	c.in.err = err
	c.goodbye(alert, err)
	return err
}

// goodbye sends the last alert and ends the sending direction with err. It
// interrupts a blocked Write.
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
	_ = c.flush() // ignore errors: the peer may have disconnected
	c.out.err = err
}

// CloseWrite sends a close notification. Reads remain possible.
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

// Close sends a close notification, for at most a second, and closes the
// connection. Blocked calls return.
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

// RemoteAddr returns the remote address of the underlying connection.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline sets the read and write deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the read deadline. A zero t means no deadline.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline sets the write deadline. A zero t means no deadline. It has
// no effect once the connection is being closed.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.endMu.Lock()
	defer c.endMu.Unlock()
	if c.ending {
		return nil
	}
	return c.conn.SetWriteDeadline(t)
}
