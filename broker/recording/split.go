package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// ErrStream is wrapped by all errors of a Splitter.
var ErrStream = errors.New("not a stream that can be recorded")

// Splitter splits the two byte streams of an unencrypted connection into the
// entries of a recording. It detects the protocol by the first bytes, and ignores
// a connection with a wire.PortProbe. For each stream it buffers at most MaxData
// bytes, and the same amount for a fragmented WebSocket message. A Splitter must
// not be used concurrently.
type Splitter struct {
	protocol Protocol
	ends     addresses
	client   stream
	server   stream
}

// NewSplitter returns a Splitter for a new connection.
func NewSplitter() *Splitter {
	return &Splitter{client: stream{from: Client}, server: stream{from: Server}}
}

// addresses are those of the two ends of a connection, which errors contain.
type addresses struct{ client, server netip.AddrPort }

// SetAddresses sets the addresses of the connection, for errors.
func (s *Splitter) SetAddresses(client, server netip.AddrPort) {
	s.ends = addresses{client, server}
	s.client.ends, s.server.ends = s.ends, s.ends
}

// Buffered returns the bytes of incomplete entries of both sides.
func (s *Splitter) Buffered() int {
	n := 0
	for _, st := range []*stream{&s.client, &s.server} {
		n += len(st.buf) + len(st.fragments)
	}
	return n
}

// Protocol returns the detected protocol, or "" if it is not known yet. Before
// that, there are no entries.
func (s *Splitter) Protocol() Protocol { return s.protocol }

// Write processes the next bytes of one side's stream and returns the entries
// that they complete, with an unset T. The error for data that breaks the protocol
// wraps a *broker.FrameError. It does not keep b. Entries may be
// returned along with an error. After an error, the rest of that stream is
// ignored.
func (s *Splitter) Write(from Side, b []byte) ([]Entry, error) {
	st := s.stream(from)
	if st.phase == phaseEnded {
		return nil, nil
	}
	st.buf = append(st.buf, b...)
	return s.split(st)
}

// Close ends the stream of one side. It returns the entry that the end of the
// stream completes, which can only be an HTTP response with its body. It
// returns an error if the stream ends inside an entry.
func (s *Splitter) Close(from Side) ([]Entry, error) {
	st := s.stream(from)
	if st.phase == phaseEnded {
		return nil, nil
	}
	st.closed = true
	entries, err := s.split(st)
	if err == nil && (len(st.buf) > 0 || st.message != "") {
		st.rest = st.buf
		err = st.wrong("unexpected end within %s", phaseNames[st.phase])
	}
	st.end()
	return entries, err
}

func (s *Splitter) stream(from Side) *stream {
	if from == Client {
		return &s.client
	}
	return &s.server
}

// split processes the buffered bytes of st.
func (s *Splitter) split(st *stream) ([]Entry, error) {
	var entries []Entry
	rest := st.buf
	for len(rest) > 0 {
		st.rest = rest
		e, n, err := s.next(st, rest)
		if err != nil {
			st.end()
			return entries, err
		}
		if n == 0 {
			break
		}
		if e.Kind != "" {
			entries = append(entries, e)
		}
		rest = rest[n:]
		if st.offset += int64(n); e.Kind == KindHTTP {
			st.offset = 0
		}
	}
	st.rest = nil
	switch {
	case len(rest) == 0 && cap(st.buf) > keepBuffer:
		st.buf = nil
	case len(rest) < len(st.buf):
		st.buf = append(st.buf[:0], rest...)
	}
	return entries, nil
}

// keepBuffer is the maximum size of an empty buffer that is kept for reuse.
const keepBuffer = 64 << 10

// next returns the entry at the beginning of b, and its size there. The size
// is 0 if b does not contain the whole entry. The entry has no kind if it is
// not recorded by itself.
func (s *Splitter) next(st *stream, b []byte) (Entry, int, error) {
	if st.phase == phaseStart {
		if err := s.begin(st, b); err != nil {
			return Entry{}, 0, err
		}
	}
	switch st.phase {
	case phaseNative:
		return st.nativeFrame(b)
	case phaseHTTP:
		return st.head(b)
	case phaseWebSocket:
		return st.webSocketFrame(b)
	}
	return Entry{}, 0, nil
}

// begin detects the protocol of st by its first bytes, if there are enough.
func (s *Splitter) begin(st *stream, b []byte) error {
	var p Protocol
	switch wire.Sniff(b) {
	case wire.ProtocolHTTP, wire.ProtocolWebSocket:
		p = WebSocket
	case wire.ProtocolTLS:
		return st.wrong("encrypted with TLS")
	case wire.ProtocolPortProbe: // only the answer follows, of a protocol that the client does not know
		s.client.end()
		s.server.end()
		return nil
	default:
		switch {
		case len(b) < 4, !st.closed && len(b) < wire.SniffLen && strings.HasPrefix(wire.PortProbe, string(b)):
			return nil
		case binary.BigEndian.Uint32(b) <= wire.MaxHandshakeFrame:
			p = Native
		case len(b) < wire.SniffLen && !st.closed:
			return nil
		default:
			return st.wrong("starts with %q, which is neither a Broker frame nor HTTP", b[:min(len(b), wire.SniffLen)])
		}
	}
	if s.protocol != "" && s.protocol != p {
		return st.wrong("protocol is %s, but the other side's is %s", p, s.protocol)
	}
	s.protocol = p
	st.phase = phaseHTTP
	if p == Native {
		st.phase = phaseNative
	}
	return nil
}

// stream is the state of one direction.
type stream struct {
	from   Side
	phase  phase
	buf    []byte // not processed yet
	offset int64  // of buf in the stream, after the HTTP handshake
	rest   []byte // buf from the current entry on, for errors
	closed bool   // the stream ends after buf
	ends   addresses

	message   Kind // kind of the message received in fragments; empty if there is none
	fragments []byte
	began     int64 // offset of its first fragment
}

type phase uint8

const (
	phaseStart phase = iota
	phaseNative
	phaseHTTP
	phaseWebSocket
	phaseEnded
)

var phaseNames = [...]string{
	phaseStart: "its first bytes", phaseNative: "a frame", phaseHTTP: "an HTTP message",
	phaseWebSocket: "a WebSocket message",
}

func (st *stream) end() { *st = stream{from: st.from, phase: phaseEnded} }

func (st *stream) wrong(format string, args ...any) error {
	err := fmt.Errorf("%w: %s", ErrStream, fmt.Sprintf(format, args...))
	return fmt.Errorf("recording: %w", broker.NewFrameError(st.ends.client, st.ends.server, st.from == Client, st.offset, st.rest, err))
}

func (st *stream) entry(k Kind, data []byte) Entry {
	return Entry{From: st.from, Kind: k, Data: bytes.Clone(data), Offset: st.offset}
}

func (st *stream) nativeFrame(b []byte) (Entry, int, error) {
	const header = 4
	if len(b) < header {
		return Entry{}, 0, nil
	}
	size := binary.BigEndian.Uint32(b)
	if size > MaxData {
		return Entry{}, 0, st.wrong("frame of %d bytes, limit is %d", size, MaxData)
	}
	n := header + int(size)
	if len(b) < n {
		return Entry{}, 0, nil
	}
	return st.entry(KindFrame, b[header:n]), n, nil
}

// head returns an HTTP head. For the response to a rejected request it
// includes the body.
func (st *stream) head(b []byte) (Entry, int, error) {
	const end = "\r\n\r\n"
	n := bytes.Index(b[:min(len(b), MaxHead)], []byte(end))
	if n < 0 {
		if len(b) >= MaxHead {
			return Entry{}, 0, st.wrong("HTTP head of more than %d bytes", MaxHead)
		}
		return Entry{}, 0, nil
	}
	n += len(end)
	h := string(b[:n])
	upgrade, body := false, 0
	if st.from == Client {
		upgrade = strings.EqualFold(headField(h, "Upgrade"), "websocket")
	} else {
		upgrade = headStatus(h) == "101"
	}
	length := headField(h, "Content-Length")
	switch {
	case upgrade:
		st.phase = phaseWebSocket
	case length != "":
		size, err := strconv.ParseUint(length, 10, 32)
		if err != nil || size > uint64(MaxHead-n) {
			return Entry{}, 0, st.wrong("HTTP message with a body of %q bytes, limit is %d with its head", clip(length), MaxHead)
		}
		body = int(size)
	case st.from == Server:
		// The response lasts until the end of the connection.
		if len(b) > MaxHead {
			return Entry{}, 0, st.wrong("HTTP message of more than %d bytes", MaxHead)
		}
		if !st.closed {
			return Entry{}, 0, nil
		}
		body = len(b) - n
	}
	if n += body; len(b) < n {
		return Entry{}, 0, nil
	}
	return st.entry(KindHTTP, b[:n]), n, nil
}

// headField returns the value of the first field with the given name in an
// HTTP head.
func headField(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// headStatus returns the status of a response's head, such as "101".
func headStatus(head string) string {
	_, rest, _ := strings.Cut(head, " ")
	status, _, _ := strings.Cut(rest, " ")
	return strings.TrimSpace(status)
}

// Parts of a WebSocket frame's header (RFC 6455, section 5.2).
const (
	bitFin    = 0x80
	bitsRSV   = 0x70
	bitsOp    = 0x0F
	bitMasked = 0x80

	opContinuation = 0x0
	opControl      = 0x8 // and above
	maxControl     = 125
)

var opKinds = [16]Kind{0x1: KindText, 0x2: KindBinary, 0x8: KindClose, 0x9: KindPing, 0xA: KindPong}

// webSocketFrame processes one frame at the beginning of b and returns its
// length, or 0 if b does not contain the whole frame. The entry has no kind
// unless the frame completes a message.
func (st *stream) webSocketFrame(b []byte) (Entry, int, error) {
	n, size, ok := webSocketHeader(b)
	if !ok {
		return Entry{}, 0, nil
	}
	if err := st.checkWebSocketFrame(b[0], size); err != nil {
		return Entry{}, 0, err
	}
	op, fin := b[0]&bitsOp, b[0]&bitFin != 0
	kind := opKinds[op]
	var mask []byte
	if b[1]&bitMasked != 0 {
		if len(b) < n+4 {
			return Entry{}, 0, nil
		}
		mask = b[n : n+4]
		n += 4
	}
	end := n + int(size)
	if len(b) < end {
		return Entry{}, 0, nil
	}
	payload := bytes.Clone(b[n:end])
	for i := range payload {
		if mask == nil {
			break
		}
		payload[i] ^= mask[i%4]
	}
	switch {
	case op >= opControl, op != opContinuation && fin:
		return Entry{From: st.from, Kind: kind, Data: payload, Offset: st.offset}, end, nil
	case op != opContinuation:
		st.message, st.fragments, st.began = kind, payload, st.offset
		return Entry{}, end, nil
	}
	st.fragments = append(st.fragments, payload...)
	if !fin {
		return Entry{}, end, nil
	}
	e := Entry{From: st.from, Kind: st.message, Data: st.fragments, Offset: st.began}
	st.message, st.fragments = "", nil
	return e, end, nil
}

// webSocketHeader returns the length of a frame's header without the mask, and
// the size of the payload. The result ok is false if b ends inside the header.
func webSocketHeader(b []byte) (n int, size uint64, ok bool) {
	if len(b) < 2 {
		return 0, 0, false
	}
	n, size = 2, uint64(b[1]&^bitMasked)
	switch {
	case size == 126 && len(b) >= 4:
		n, size = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case size == 127 && len(b) >= 10:
		n, size = 10, binary.BigEndian.Uint64(b[2:])
	case size >= 126:
		return 0, 0, false
	}
	return n, size, true
}

// checkWebSocketFrame returns an error if a frame with the given first byte
// and payload size is not valid.
func (st *stream) checkWebSocketFrame(first byte, size uint64) error {
	op, fin := first&bitsOp, first&bitFin != 0
	kind := opKinds[op]
	switch {
	case first&bitsRSV != 0:
		return st.wrong("WebSocket frame with reserved bits, such as those for compression")
	case kind == "" && op != opContinuation:
		return st.wrong("WebSocket frame with unknown opcode %d", op)
	case op >= opControl && (!fin || size > maxControl):
		return st.wrong("%s is fragmented or longer than %d bytes", kind, maxControl)
	case op == opContinuation && st.message == "":
		return st.wrong("continuation frame without a message")
	case op < opControl && op != opContinuation && st.message != "":
		return st.wrong("%s within a fragmented message", kind)
	case size > MaxData, op == opContinuation && size > uint64(MaxData-len(st.fragments)):
		return st.wrong("WebSocket message of more than %d bytes", MaxData)
	}
	return nil
}
