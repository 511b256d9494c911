package recording

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Recorder writes the recording of a connection while it lasts, from the bytes
// of its two streams. Nothing that goes wrong with the recording reaches those
// who talk.
//
// A Recorder is safe for concurrent use.
type Recorder struct {
	mu       sync.Mutex
	splitter *Splitter
	conn     Connection
	start    time.Time
	out      io.WriteCloser
	writer   *Writer // nil until the protocol is known
	failed   func(error)
	ended    bool
}

// NewRecorder returns a Recorder that writes to out, from the first byte of
// the connection on, and closes it in the end. Its times count from start,
// which connections recorded together should have in common. The protocol of c
// it finds out by itself. If something cannot be recorded, failed is called, once and with
// the first reason; it must not call the Recorder.
func NewRecorder(out io.WriteCloser, c Connection, start time.Time, failed func(error)) *Recorder {
	return &Recorder{splitter: NewSplitter(), conn: c, start: start, out: out, failed: failed}
}

// Write records what one side said. It keeps nothing of b.
func (r *Recorder) Write(from Side, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.add(r.splitter.Write(from, b))
	}
}

// CloseSide records that one side says no more.
func (r *Recorder) CloseSide(from Side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.add(r.splitter.Close(from))
	}
}

// Close ends the recording. Later calls do nothing.
func (r *Recorder) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.add(r.splitter.Close(Client))
	r.add(r.splitter.Close(Server))
	r.ended = true
	r.fail(r.out.Close())
}

// Protocol returns the protocol of the connection, or "" as long as there is
// nothing recorded.
func (r *Recorder) Protocol() Protocol {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conn.Protocol
}

// Conn returns c, the as side's end of the connection, in a form that records
// what is read and written, and ends the recording when it is closed. Of a
// connection with TLS, c is what TLS protects.
func (r *Recorder) Conn(c net.Conn, as Side) net.Conn { return &recordedConn{c, r, as} }

func (r *Recorder) add(entries []Entry, err error) {
	if len(entries) > 0 && r.writer == nil {
		r.conn.Protocol = r.splitter.Protocol()
		w, err := NewWriter(r.out, r.conn)
		if err != nil {
			r.fail(err)
			r.ended = true
			r.out.Close()
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

// Write records before it writes, so that no answer comes before its question.
func (c *recordedConn) Write(b []byte) (int, error) {
	c.recorder.Write(c.as, b)
	return c.Conn.Write(b)
}

func (c *recordedConn) Close() error {
	err := c.Conn.Close()
	c.recorder.Close()
	return err
}

// Tracer records the frames of a native connection as its endpoint sees them,
// which is within TLS if there is any. It is a peering.FrameTracer.
type Tracer struct {
	writer *Writer
	as     Side
	out    io.WriteCloser
	failed func(error)
}

// NewTracer returns a Tracer for the endpoint that is the as side of c. It
// closes out in the end. If something cannot be recorded, failed is called,
// once and with the first reason.
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

// Close ends the recording.
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
