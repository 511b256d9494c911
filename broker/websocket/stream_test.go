package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
)

// input is a connection with the given input, of which each Read returns at most
// piece bytes. It discards output.
type input struct {
	*bytes.Reader
	piece int
}

func (c input) Read(p []byte) (int, error)       { return c.Reader.Read(p[:min(len(p), c.piece)]) }
func (input) Write(b []byte) (int, error)        { return len(b), nil }
func (input) Close() error                       { return nil }
func (input) LocalAddr() net.Addr                { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (input) RemoteAddr() net.Addr               { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (input) SetDeadline(time.Time) error        { return nil }
func (input) SetReadDeadline(time.Time) error    { return nil }
func (input) SetWriteDeadline(time.Time) error   { return nil }
func (c input) WriteTo(io.Writer) (int64, error) { return 0, errors.ErrUnsupported }

// follow reads b as the frames of a client, as a server does. It returns the
// offsets and texts of all messages, and the error at the end.
func follow(t testing.TB, b []byte, piece int) (offsets []int64, texts []string, err error) {
	t.Helper()
	s := newStream(input{bytes.NewReader(b), piece}, false)
	pool := intake.NewPool(intake.Limits{Bytes: 1 << 20})
	c := newConn(serverConn(t, s), s, newOut(1, broker.OverflowDropNewest, 1), pool, 1<<10)
	for {
		m, err := c.next()
		if err != nil {
			c.intake.Done()
			if used := pool.Used(); used != 0 {
				t.Errorf("%d bytes are used", used)
			}
			return offsets, texts, err
		}
		offsets, texts = append(offsets, m.header.offset), append(texts, string(m.text))
		c.done()
	}
}

// clientFrame appends a frame of a client, with its first byte and payload.
func clientFrame(b []byte, first byte, payload string) []byte {
	b = append(b, first, bitMask|byte(len(payload)), 1, 2, 3, 4)
	for i := range len(payload) {
		b = append(b, payload[i]^byte(i%4+1))
	}
	return b
}

func TestStreamOffsets(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 100))
	var b []byte
	b = clientFrame(b, bitFinal|1, "one")  // 0
	b = clientFrame(b, bitFinal|9, "ping") // 9
	b = clientFrame(b, 1, "frag")          // 19
	b = clientFrame(b, bitFinal|9, "")
	b = clientFrame(b, 0, "men")
	b = clientFrame(b, bitFinal, "ted")
	at := int64(len(b))
	b = clientFrame(b, bitFinal|2, long)
	b = appendText(b, bytes.Repeat([]byte("y"), 1000), true)
	broken := int64(len(b))
	b = clientFrame(b, bitFinal|3, "unknown")
	b = clientFrame(b, bitFinal|1, "after") // the stream does not continue
	for _, piece := range []int{1, 2, 7, 64, 1 << 20} {
		offsets, texts, err := follow(t, b, piece)
		want := []int64{0, 19, at, at + 106}
		if len(offsets) != 4 || [4]int64(offsets) != [4]int64(want) || texts[1] != "fragmented" || texts[2] != long {
			t.Errorf("pieces of %d: offsets %v, want %v, texts %.20q", piece, offsets, want, texts)
		}
		var frame *broker.FrameError
		if !errors.As(err, &frame) || frame.Offset != broken || !frame.FromClient || len(frame.First) < 2 || !bytes.HasPrefix(b[broken:], frame.First) {
			t.Errorf("pieces of %d: error %v, want offset %d", piece, err, broken)
		}
		if frame.Client.Port() != 2 || frame.Server.Port() != 1 {
			t.Errorf("addresses are %v and %v", frame.Client, frame.Server)
		}
	}
}

func TestStreamErrors(t *testing.T) {
	good := clientFrame(nil, bitFinal|1, "good")
	for name, bad := range map[string][]byte{
		"reserved bit":         clientFrame(nil, bitFinal|0x40|1, "x"),
		"unmasked":             {bitFinal | 1, 1, 'x'},
		"fragmented ping":      clientFrame(nil, 9, "x"),
		"long ping":            {bitFinal | 9, bitMask | 126, 0, 126, 1, 2, 3, 4},
		"continuation":         clientFrame(nil, bitFinal, "x"),
		"opcode":               clientFrame(nil, bitFinal|11, "x"),
		"large":                {bitFinal | 1, bitMask | 126, 4, 1, 1, 2, 3, 4},
		"huge":                 {bitFinal | 1, bitMask | 127, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4},
		"two messages at once": append(clientFrame(nil, 1, "x"), clientFrame(nil, bitFinal|1, "y")...),
	} {
		t.Run(name, func(t *testing.T) {
			_, texts, err := follow(t, append(good[:len(good):len(good)], bad...), 1)
			want := int64(len(good))
			if name == "two messages at once" {
				want += 7
			}
			var frame *broker.FrameError
			if !errors.As(err, &frame) || frame.Offset != want || len(frame.First) < 2 || len(texts) != 1 {
				t.Errorf("got %v after %q, want offset %d", err, texts, want)
			}
		})
	}
}

func TestStreamAfterHTTP(t *testing.T) {
	s := newStream(input{bytes.NewReader([]byte("HTTP/1.1 101 x\r\n\r\r\n\r\n\x81\x02hi\x81\x01!")), 3}, true)
	if _, err := io.ReadAll(struct{ io.Reader }{s}); err != nil {
		t.Fatal(err)
	}
	if first, second := s.next(), s.next(); first.offset != 0 || second.offset != 4 || s.open() || s.bad != nil {
		t.Errorf("messages at %d and %d, bad %v", first.offset, second.offset, s.bad)
	}
}

// FuzzStream reads arbitrary frames. Each message must have a position, in order,
// and the stream must agree with the library on what is an error.
func FuzzStream(f *testing.F) {
	f.Add(clientFrame(clientFrame(nil, 1, "a"), bitFinal, "b"), 3)
	f.Add(clientFrame(nil, bitFinal|8, "\x03\xe8bye"), 1)
	f.Add([]byte{bitFinal | 1, bitMask | 126, 0, 1, 1, 2, 3, 4, 5}, 2)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		offsets, _, err := follow(t, b, max(1, piece))
		last := int64(-1)
		for _, offset := range offsets {
			if offset <= last || offset >= int64(len(b)) {
				t.Fatalf("offsets %v in %d bytes", offsets, len(b))
			}
			last = offset
		}
		var frame *broker.FrameError
		if errors.As(err, &frame) && (frame.Offset < last || frame.Offset >= int64(len(b))) {
			t.Fatalf("offset %d after %d in %d bytes: %v", frame.Offset, last, len(b), err)
		}
	})
}

// serverConn returns the library's connection of a server.
func serverConn(t testing.TB, s *stream) *websocket.Conn {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for name, value := range map[string]string{
		"Connection": "upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	} {
		r.Header.Set(name, value)
	}
	u := websocket.Upgrader{ReadBufferSize: readBuffer}
	ws, err := u.Upgrade(connection{httptest.NewRecorder(), s}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

// connection is the ResponseWriter of a connection.
type connection struct {
	http.ResponseWriter
	s *stream
}

func (c connection) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return c.s, bufio.NewReadWriter(bufio.NewReader(c.s), bufio.NewWriter(c.s)), nil
}
