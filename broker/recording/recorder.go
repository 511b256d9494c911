package recording

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Recorder records a connection from the bytes of its two streams. Errors of the
// recording do not affect the connection. A Recorder is safe for concurrent use.
type Recorder struct {
	mu       sync.Mutex
	splitter *Splitter
	conn     Connection
	start    time.Time
	out      io.WriteCloser
	writer   *Writer // nil until the protocol is known
	failed   func(error)
	ended    bool
	buffered int64 // part of the bytes that MaxBuffered limits
}

// NewRecorder returns a Recorder that writes to out and closes it at the end. It
// must be given all bytes of the connection. Times are relative to start;
// connections recorded together should have the same start. The Recorder detects
// the protocol and ignores c.Protocol. If failed is non-nil, it is called once,
// with the first error of the recording; it must not call the Recorder.
func NewRecorder(out io.WriteCloser, c Connection, start time.Time, failed func(error)) *Recorder {
	splitter := NewSplitter()
	splitter.SetAddresses(c.Client, c.Server)
	return &Recorder{splitter: splitter, conn: c, start: start, out: out, failed: failed}
}

// MaxBuffered limits the bytes of incomplete entries in all Recorders of a process. A
// recording for which more is needed ends, with an error that wraps ErrBuffer.
const MaxBuffered = 256 << 20

// ErrBuffer means that a recording has ended because of MaxBuffered.
var ErrBuffer = errors.New("too many bytes of incomplete frames in all recordings")

// buffered is the number of bytes that MaxBuffered limits.
var buffered atomic.Int64

var maxBuffered int64 = MaxBuffered // smaller in tests

// Write records bytes sent by one side. It does not keep b.
func (r *Recorder) Write(from Side, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if buffered.Load()+int64(len(b)) > maxBuffered {
		r.fail(fmt.Errorf("recording: %w: limit is %d", ErrBuffer, maxBuffered))
		r.end()
		return
	}
	r.add(r.splitter.Write(from, b))
}

// count updates the number of buffered bytes.
func (r *Recorder) count() {
	now := int64(r.splitter.Buffered())
	buffered.Add(now - r.buffered)
	r.buffered = now
}

// end ends the recording without the data that is buffered.
func (r *Recorder) end() {
	r.splitter = NewSplitter()
	r.count()
	r.ended = true
	r.fail(r.out.Close())
}

// CloseSide records that one side sends no further bytes.
func (r *Recorder) CloseSide(from Side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.add(r.splitter.Close(from))
	}
}

// Close ends the recording and closes its output. Later calls of any method do
// nothing.
func (r *Recorder) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.add(r.splitter.Close(Client))
	r.add(r.splitter.Close(Server))
	if !r.ended {
		r.end()
	}
}

// Protocol returns the detected protocol, or "" before the first entry.
func (r *Recorder) Protocol() Protocol {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conn.Protocol
}

// Conn returns a connection that records everything read from and written to c,
// which belongs to side as. Closing it ends the recording. If the connection uses
// TLS, c must be the connection within TLS.
func (r *Recorder) Conn(c net.Conn, as Side) net.Conn { return &recordedConn{c, r, as} }

func (r *Recorder) add(entries []Entry, err error) {
	r.count()
	if len(entries) > 0 && r.writer == nil {
		r.conn.Protocol = r.splitter.Protocol()
		w, err := NewWriter(r.out, r.conn)
		if err != nil {
			r.fail(err)
			r.end()
			return
		}
		r.writer = w
	}
	now := At(time.Since(r.start))
	for _, e := range entries {
		e.T = now
		r.fail(r.writer.Write(e))
	}
	if len(entries) > 0 {
		r.fail(r.writer.Flush())
	}
	r.fail(err)
}

func (r *Recorder) fail(err error) {
	if err != nil && r.failed != nil {
		r.failed(err)
		r.failed = nil
	}
}

type recordedConn struct {
	net.Conn
	recorder *Recorder
	as       Side
}

func (c *recordedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.recorder.Write(c.as.Other(), b[:n])
	if errors.Is(err, io.EOF) {
		c.recorder.CloseSide(c.as.Other())
	}
	return n, err
}

// Write records before it writes, so that a response is never recorded before
// its request.
func (c *recordedConn) Write(b []byte) (int, error) {
	c.recorder.Write(c.as, b)
	return c.Conn.Write(b)
}

func (c *recordedConn) Close() error {
	err := c.Conn.Close()
	c.recorder.Close()
	return err
}

// Tracer records the frames of a native connection, without TLS. It implements
// peering.FrameTracer.
type Tracer struct {
	writer *Writer
	as     Side
	out    io.WriteCloser
	failed func(error)
}

// NewTracer returns a Tracer for an endpoint that is side as of connection c. It
// writes to out and closes it at the end. If failed is non-nil, it is called once,
// with the first error of the recording.
func NewTracer(out io.WriteCloser, c Connection, as Side, failed func(error)) *Tracer {
	t := &Tracer{as: as, out: out, failed: failed}
	c.Protocol = Native
	w, err := NewWriter(out, c)
	if err != nil {
		t.fail(err)
		return t
	}
	t.writer = w
	return t
}

// Frame records a frame. Calls must not overlap each other or Close.
func (t *Tracer) Frame(sent bool, frame []byte) {
	if t.writer == nil {
		return
	}
	from := t.as
	if !sent {
		from = t.as.Other()
	}
	t.fail(t.writer.Record(from, KindFrame, frame))
}

// Close ends the recording and closes its output.
func (t *Tracer) Close() {
	if t.writer != nil {
		t.fail(t.writer.Flush())
	}
	t.fail(t.out.Close())
}

func (t *Tracer) fail(err error) {
	if err != nil && t.failed != nil {
		t.failed(err)
		t.failed = nil
	}
}
