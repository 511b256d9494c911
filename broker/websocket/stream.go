package websocket

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
)

// stream is the connection beneath a WebSocket. The library reads ahead, and does
// not tell where in the stream its frames and errors are. So a stream follows the
// frames of the peer as it delivers their bytes. One goroutine reads from it.
type stream struct {
	net.Conn
	dialed bool
	meter  *intake.Account // times incomplete messages; nil before the session
	heard  *atomic.Bool    // set when bytes arrive; nil before the session

	http   int         // bytes of the end of an HTTP response that were read; httpDone after it
	offset int64       // of the next byte, after the HTTP handshake
	frame  frameHeader // the frame that is being read
	rest   uint64      // bytes of its payload that have not been read
	within bool        // a message is incomplete between two frames
	begun  bool        // the meter times the message
	bad    *frameHeader
	starts []frameHeader // of the messages; the library has returned the first ones
	used   int           // number of these

	writing sync.Mutex
}

// frameHeader is the beginning of a frame.
type frameHeader struct {
	offset int64
	bytes  [14]byte
	n      int // of bytes
}

const httpDone = 4 // length of "\r\n\r\n"

// Opcodes and bits of a frame's first two bytes (RFC 6455, section 5.2).
const (
	bitFinal     = 0x80
	bitsReserved = 0x70
	bitMask      = 0x80
	opContinue   = 0
	opText       = 1
	opBinary     = 2
	opControl    = 8
	opPong       = 10
	maxControl   = 125
)

// newStream returns the stream of a connection that is to become a WebSocket. If
// this end dialed, an HTTP response precedes the frames.
func newStream(nc net.Conn, dialed bool) *stream {
	s := &stream{Conn: nc, dialed: dialed}
	if !dialed {
		s.http = httpDone
	}
	return s
}

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 && s.heard != nil {
		s.heard.Store(true) // within a large message the peer cannot answer pings
	}
	s.follow(p[:n])
	return n, err
}

// Write implements net.Conn. Calls do not interleave. Large data must make progress
// instead of being written within a fixed time.
func (s *stream) Write(p []byte) (n int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.write(p)
}

// writeBoth writes two slices as Write writes one.
func (s *stream) writeBoth(p, q []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if _, err := s.write(p); err != nil || len(q) == 0 {
		return err
	}
	_, err := s.write(q)
	return err
}

// write is Write for a caller that has the lock.
func (s *stream) write(p []byte) (n int, err error) {
	for len(p)-n > writeBuffer && err == nil {
		s.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		var written int
		written, err = s.Conn.Write(p[n : n+writeBuffer])
		n += written
	}
	if err != nil {
		return n, err
	}
	if n > 0 {
		s.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	written, err := s.Conn.Write(p[n:])
	return n + written, err
}

// follow processes bytes of the peer.
func (s *stream) follow(b []byte) {
	b = s.skipHTTP(b)
	if len(b) == 0 || s.bad != nil {
		return
	}
	open := s.open()
	ended := false
	for rest := b; len(rest) > 0 && s.bad == nil; {
		n := 0
		if s.rest > 0 {
			n = int(min(s.rest, uint64(len(rest))))
			s.rest -= uint64(n)
		} else {
			n = s.header(rest)
		}
		s.offset += int64(n)
		rest = rest[n:]
		ended = ended || !s.open()
	}
	s.time(open, ended, len(b))
}

// time times the message that is incomplete after n more bytes. Open reports
// whether one was incomplete before, and ended whether it is complete.
func (s *stream) time(open, ended bool, n int) {
	if s.meter == nil {
		return
	}
	switch {
	case !s.open():
		s.pause()
	case s.begun && open && !ended:
		s.meter.Arrived(n)
	default:
		s.meter.Begin(n)
		s.begun = true
	}
}

// pause stops the timing while a message is processed, and resume continues it: the
// beginning of the next message may have been read with it.
func (s *stream) pause() {
	if s.begun {
		s.meter.Complete()
		s.begun = false
	}
}

func (s *stream) resume() {
	if s.open() && s.bad == nil {
		s.meter.Begin(0)
		s.begun = true
	}
}

// open reports whether a message or a control frame is incomplete.
func (s *stream) open() bool { return s.rest > 0 || s.frame.n > 0 || s.within }

// skipHTTP returns what follows the HTTP response in b.
func (s *stream) skipHTTP(b []byte) []byte {
	const end = "\r\n\r\n"
	for s.http < httpDone && len(b) > 0 {
		switch {
		case b[0] == end[s.http]:
			s.http++
		case b[0] == end[0]:
			s.http = 1
		default:
			s.http = 0
		}
		b = b[1:]
	}
	return b
}

// header adds bytes of b to the header of the current frame and returns their
// number. When the header is complete, the payload follows.
func (s *stream) header(b []byte) int {
	h := &s.frame
	if h.n == 0 {
		h.offset = s.offset
	}
	taken := 0
	for taken < len(b) && h.n < h.size() {
		h.bytes[h.n] = b[taken]
		h.n++
		taken++
	}
	if h.n < h.size() {
		return taken
	}
	op, final := h.bytes[0]&0x0F, h.bytes[0]&bitFinal != 0
	s.rest = h.payload()
	if h.invalid(s.within, s.dialed) {
		s.bad = new(frameHeader)
		*s.bad = *h
		return taken
	}
	if op < opControl {
		if op != opContinue {
			s.starts = append(s.starts, *h)
		}
		s.within = !final
	}
	h.n = 0
	return taken
}

// size returns the length of the header, as far as it is known.
func (h *frameHeader) size() int {
	if h.n < 2 {
		return 2
	}
	size := 2
	switch h.bytes[1] &^ bitMask {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if h.bytes[1]&bitMask != 0 {
		size += 4
	}
	return size
}

// payload returns the length of the payload.
func (h *frameHeader) payload() uint64 {
	switch n := h.bytes[1] &^ bitMask; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(h.bytes[2:]))
	case 127:
		return binary.BigEndian.Uint64(h.bytes[2:])
	default:
		return uint64(n)
	}
}

// message returns the length of the message that begins with the frame, or -1 if more
// frames follow.
func (h *frameHeader) message() int {
	if h.n == 0 || h.bytes[0]&bitFinal == 0 {
		return -1
	}
	return int(h.payload())
}

// invalid reports whether the library refuses the header. Within reports whether
// the frame follows a fragment, and dialed whether the peer is the server, whose
// frames are not masked.
func (h *frameHeader) invalid(within, dialed bool) bool {
	op, final := h.bytes[0]&0x0F, h.bytes[0]&bitFinal != 0
	masked := h.bytes[1]&bitMask != 0
	control := op >= opControl
	return h.bytes[0]&bitsReserved != 0 || masked == dialed ||
		op > opBinary && !control || op > opPong ||
		control && (!final || h.payload() > maxControl) ||
		!control && (op == opContinue) != within
}

// next returns the beginning of the message that the library returns now.
func (s *stream) next() frameHeader {
	if s.used == len(s.starts) { // the library fails, possibly before the end of a header
		return s.frame
	}
	h := s.starts[s.used]
	if s.used++; s.used == len(s.starts) {
		s.starts, s.used = s.starts[:0], 0
	}
	return h
}

// broken returns the error for a frame at offset that begins with first.
func (s *stream) broken(offset int64, first []byte, err error) error {
	client, server := addrPort(s.RemoteAddr()), addrPort(s.LocalAddr())
	if s.dialed {
		client, server = server, client
	}
	return broker.NewFrameError(client, server, !s.dialed, offset, first, err)
}

func addrPort(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	p, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// explain returns err, an error of the library, as the error for a broken frame if it
// is one. The message is the one that was being read.
func (s *stream) explain(err error, message frameHeader) error {
	if !errors.Is(err, websocket.ErrReadLimit) {
		var closed *websocket.CloseError
		if errors.As(err, &closed) || !strings.HasPrefix(err.Error(), "websocket: ") {
			return err // of the connection
		}
		if message = s.frame; s.bad != nil {
			message = *s.bad
		}
	}
	return s.broken(message.offset, message.bytes[:message.n], err)
}

// hijacker is a ResponseWriter that makes the connection of a request a stream.
type hijacker struct {
	http.ResponseWriter
	stream *stream
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.stream = newStream(nc, false)
	return h.stream, rw, nil
}
