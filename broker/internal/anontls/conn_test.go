package anontls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

var _ net.Conn = (*Conn)(nil)

// tcpPair returns the two ends of a TCP connection, which buffers data, unlike
// net.Pipe.
func tcpPair(t *testing.T) (dialed, accepted net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if dialed, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{dialed, accepted} {
		c.SetDeadline(time.Now().Add(time.Minute)) // fail instead of hanging
		t.Cleanup(func() { c.Close() })
	}
	return dialed, accepted
}

// handshakeBoth runs the handshakes of both ends.
func handshakeBoth(client, server *Conn) (clientErr, serverErr error) {
	var wg sync.WaitGroup
	wg.Go(func() { serverErr = server.Handshake() })
	clientErr = client.Handshake()
	wg.Wait()
	return clientErr, serverErr
}

// connected returns two ends that have completed the handshake.
func connected(t *testing.T, config config) (client, server *Conn) {
	t.Helper()
	a, b := tcpPair(t)
	return connectedOver(t, a, b, config)
}

func connectedOver(t *testing.T, a, b net.Conn, config config) (client, server *Conn) {
	t.Helper()
	client, server = newConn(a, true, config), newConn(b, false, config)
	if err, err2 := handshakeBoth(client, server); err != nil || err2 != nil {
		t.Fatalf("client: %v; server: %v", err, err2)
	}
	return client, server
}

func read(t *testing.T, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Fatalf("got %.40q, want %.40q", got, want)
	}
}

func TestCombinations(t *testing.T) {
	t.Parallel()
	for i := range 64 {
		client := config{noEncryptThenMAC: i&1 != 0, noExtendedMasterSecret: i&2 != 0, noX25519: i&16 != 0}
		server := config{noEncryptThenMAC: i&4 != 0, noExtendedMasterSecret: i&8 != 0, noX25519: i&32 != 0}
		want := State{
			X25519:               !client.noX25519 && !server.noX25519,
			EncryptThenMAC:       !client.noEncryptThenMAC && !server.noEncryptThenMAC,
			ExtendedMasterSecret: !client.noExtendedMasterSecret && !server.noExtendedMasterSecret,
		}
		t.Run(fmt.Sprintf("%06b", i), func(t *testing.T) {
			a, b := net.Pipe()
			c, s := newConn(a, true, client), newConn(b, false, server)
			defer c.Close()
			defer s.Close()
			if c.State() != (State{}) {
				t.Error("State is not zero before the handshake")
			}
			if err, err2 := handshakeBoth(c, s); err != nil || err2 != nil {
				t.Fatalf("client: %v; server: %v", err, err2)
			}
			if c.State() != want || s.State() != want {
				t.Errorf("client state %+v, server state %+v, want %+v", c.State(), s.State(), want)
			}
			var wg sync.WaitGroup
			wg.Go(func() { io.Copy(s, s) })
			for _, text := range []string{"x", "a few words", string(make([]byte, 3*maxPlaintext+1))} {
				wg.Go(func() { io.WriteString(c, text) })
				read(t, c, text)
			}
			c.Close()
			wg.Wait()
		})
	}
}

// TestImplicitHandshake lets Read and Write run the handshake.
func TestImplicitHandshake(t *testing.T) {
	a, b := tcpPair(t)
	c, s := InsecureClient(a), InsecureServer(b)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if _, err := io.WriteString(s, "hello"); err != nil {
			t.Error(err)
		}
	})
	read(t, c, "hello")
}

// TestBothDirections reads and writes at both ends at the same time, and
// closes one end meanwhile.
func TestBothDirections(t *testing.T) {
	c, s := connected(t, config{})
	var wg sync.WaitGroup
	for _, end := range []*Conn{c, s} {
		wg.Go(func() {
			var err error
			for err == nil {
				_, err = end.Write(make([]byte, 1000))
			}
		})
		wg.Go(func() {
			n, err := io.CopyN(io.Discard, end, 1<<20)
			if n == 1<<20 {
				end.Close()
			} else if err == nil {
				t.Error("read ended without an error")
			}
		})
	}
	wg.Wait()
}

// mangler changes the records written to a connection.
type mangler struct {
	net.Conn
	n      int // number of the next record
	mangle func(n int, record []byte) []byte
}

func (m *mangler) Write(p []byte) (int, error) {
	var out []byte
	for rest := p; len(rest) > 0; m.n++ {
		n := recordHeaderLen + int(rest[3])<<8 + int(rest[4])
		out = append(out, m.mangle(m.n, bytes.Clone(rest[:n]))...)
		rest = rest[n:]
	}
	if _, err := m.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func TestWriteHasItsOwnRecords(t *testing.T) {
	a, b := tcpPair(t)
	counter := &mangler{Conn: a, mangle: func(_ int, record []byte) []byte { return record }}
	c, s := connectedOver(t, counter, b, config{})
	for _, tt := range []struct{ n, records int }{{1, 1}, {1, 1}, {0, 0}, {maxPlaintext, 1}, {maxPlaintext + 1, 2}, {5, 1}} {
		before := counter.n
		if n, err := c.Write(make([]byte, tt.n)); n != tt.n || err != nil {
			t.Fatalf("%d bytes: %d, %v", tt.n, n, err)
		}
		if got := counter.n - before; got != tt.records {
			t.Errorf("%d bytes became %d records, want %d", tt.n, got, tt.records)
		}
		if _, err := io.CopyN(io.Discard, s, int64(tt.n)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFragments splits handshake messages into records of one byte, and
// records into reads of one byte.
func TestFragments(t *testing.T) {
	// cutter splits unencrypted records.
	cutter := func(c net.Conn) net.Conn {
		encrypted := false
		return &mangler{Conn: stream{c, iotest.OneByteReader(c)}, mangle: func(_ int, record []byte) []byte {
			if recordType(record[0]) == recordChangeCipherSpec {
				encrypted = true
			}
			if encrypted {
				return record
			}
			var out []byte
			for _, b := range record[recordHeaderLen:] {
				out = append(append(out, record[:3]...), 0, 1, b)
			}
			return out
		}}
	}
	a, b := tcpPair(t)
	c, s := connectedOver(t, cutter(a), cutter(b), config{})
	io.WriteString(c, "text")
	read(t, s, "text")
}

func TestEndOfStream(t *testing.T) {
	tests := []struct {
		name string
		end  func(s *Conn)
		want error
	}{
		{"close", func(s *Conn) { s.Close() }, io.EOF},
		{"close write", func(s *Conn) { s.CloseWrite() }, io.EOF},
		{"no close notify", func(s *Conn) { s.conn.Close() }, io.EOF},
		{"cut", func(s *Conn) { s.conn.Write([]byte{23, 3, 3, 0, 48, 1, 2}); s.conn.Close() }, io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s := connected(t, config{})
			io.WriteString(s, "last words")
			tt.end(s)
			read(t, c, "last words")
			for range 2 {
				if _, err := c.Read(make([]byte, 1)); err != tt.want {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			}
		})
	}
}

func TestCloseWrite(t *testing.T) {
	c, s := connected(t, config{})
	for range 2 {
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write([]byte("x")); err != errWriteClosed {
		t.Errorf("write after CloseWrite: got %v", err)
	}
	if _, err := io.WriteString(s, "still here"); err != nil {
		t.Fatal(err)
	}
	read(t, c, "still here")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second close: got %v", err)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		call func(c *Conn) error
	}{
		{"read", func(c *Conn) error { _, err := c.Read(make([]byte, 1)); return err }},
		{"write", func(c *Conn) error { _, err := c.Write(make([]byte, 1)); return err }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := net.Pipe()
			c, _ := connectedOver(t, a, b, config{})
			done := make(chan error)
			go func() { done <- tt.call(c) }()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; err == nil {
				t.Error("the call succeeded")
			}
		})
	}
}

func TestCloseEndsHandshake(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := InsecureClient(a)
	done := make(chan error)
	go func() { done <- c.Handshake() }()
	io.ReadFull(b, make([]byte, 20))
	c.Close()
	if err := <-done; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

func TestReadDeadline(t *testing.T) {
	for _, delayed := range []bool{false, true} {
		t.Run(fmt.Sprint("inside a record ", delayed), func(t *testing.T) {
			a, b := tcpPair(t)
			var rest []byte
			n := 0
			half := &mangler{Conn: b, mangle: func(_ int, record []byte) []byte {
				if recordType(record[0]) == recordData {
					n = len(record) / 2
					rest = record[n:]
					return record[:n]
				}
				return record
			}}
			c, s := connectedOver(t, a, half, config{})
			if delayed {
				io.WriteString(s, "text")
			}
			c.SetReadDeadline(time.Unix(1, 0))
			for range 2 {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("got %v", err)
				}
			}
			c.SetReadDeadline(time.Time{})
			if !delayed {
				io.WriteString(s, "text")
			}
			go b.Write(rest)
			read(t, c, "text")
		})
	}
}

func TestWriteDeadline(t *testing.T) {
	a, b := net.Pipe()
	c, _ := connectedOver(t, a, b, config{})
	defer a.Close()
	c.SetWriteDeadline(time.Unix(1, 0))
	if _, err := io.WriteString(c, "x"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	c.SetWriteDeadline(time.Time{})
	if _, err := io.WriteString(c, "x"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after a timeout: got %v", err)
	}
}

func TestHandshakeDeadline(t *testing.T) {
	a, _ := tcpPair(t)
	c := InsecureServer(a)
	c.SetDeadline(time.Unix(1, 0))
	for range 2 {
		if err := c.Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
}

func TestHandshakeContext(t *testing.T) {
	a, b := tcpPair(t)
	c := InsecureClient(a)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.HandshakeContext(ctx) }()
	io.ReadFull(b, make([]byte, 20)) // wait until the handshake has begun
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := c.Handshake(); !errors.Is(err, context.Canceled) {
		t.Errorf("later: got %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection is still open: %v", err)
	}
}

func TestHandshakeContextEndedBefore(t *testing.T) {
	c := InsecureClient(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.HandshakeContext(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestIdleMemory measures the memory of connections that are idle after they have
// transferred some data.
func TestIdleMemory(t *testing.T) {
	heap := func() int64 {
		for range 3 { // also for the memory of pools
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const pairs, limit = 100, 5000 // bytes, of which 1500 are for the TCP connection
	idle := make([]*Conn, 0, 2*pairs)
	text := string(make([]byte, 3*maxPlaintext))
	before := heap()
	for range pairs {
		c, s := connected(t, config{})
		for _, n := range []int{len(text), 100} {
			for _, ends := range [][2]*Conn{{c, s}, {s, c}} {
				var wg sync.WaitGroup
				wg.Go(func() { io.WriteString(ends[0], text[:n]) })
				read(t, ends[1], text[:n])
				wg.Wait()
			}
		}
		for _, end := range []*Conn{c, s} {
			end.SetReadDeadline(time.Unix(1, 0))
			if _, err := end.Read(make([]byte, 1)); !isTimeout(err) {
				t.Fatal(err)
			}
		}
		idle = append(idle, c, s)
	}
	if each := (heap() - before) / (2 * pairs); each > limit {
		t.Errorf("an idle connection takes %d bytes, want at most %d", each, limit)
	} else {
		t.Logf("an idle connection takes %d bytes", each)
	}
	runtime.KeepAlive(idle)
}

// BenchmarkHandshake runs both ends of a handshake.
func BenchmarkHandshake(b *testing.B) {
	for _, config := range []config{{}, {noX25519: true}} {
		b.Run(config.groups()[0].name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x, y := net.Pipe()
				if err, err2 := handshakeBoth(newConn(x, true, config), newConn(y, false, config)); err != nil || err2 != nil {
					b.Fatal(err, err2)
				}
				x.Close()
				y.Close()
			}
		})
	}
}
