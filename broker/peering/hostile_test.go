package peering

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/wire"
)

func frame(m wire.HandshakeMessage) []byte { return wire.AppendFrame(nil, m.Append(nil)) }

// TestHostileHandshakes sends invalid data to the port. Each of these
// connections must be closed, and other peers must not be affected.
func TestHostileHandshakes(t *testing.T) {
	e := newEndpoint(t, Config{ID: smallID, Subscriptions: []string{""}})
	address := listen(t, e)
	good := connect(t, address, uuid.New())
	next[broker.PeerAdded](t, e)

	hello := frame(wire.Hello{Sender: largeID, MinVersion: 1, MaxVersion: 1})
	drop := func(code wire.Code, text string) []byte {
		return frame(wire.DropConn{Sender: smallID, Code: code, Description: text})
	}
	for _, test := range []struct {
		name   string
		bytes  []byte
		answer []byte // after PROBE
	}{
		{"nothing", nil, nil},
		{"half a length", []byte{0, 0}, nil},
		{"half a hello", hello[:20], nil},
		{"zero-length frame", make([]byte, 4), nil},
		{"oversized frame", []byte{0, 1, 0, 1}, nil},
		{"absurd frame", []byte{255, 255, 255, 255, 0}, nil},
		{"wrong magic", bytes.Replace(hello, []byte("ZEEK"), []byte("BROK"), 1), drop(38, "wrong magic number")},
		{"wrong version", frame(wire.Hello{Sender: largeID, MinVersion: 2, MaxVersion: 3}), drop(2, "unsupported versions offered")},
		{"unknown message", wire.AppendFrame(nil, []byte{99}), drop(20, "invalid message type tag")},
		{"truncated hello", wire.AppendFrame(nil, hello[4:10]), drop(20, "failed to parse hello_msg")},
		{"out of turn", frame(wire.OriginatorSyn{}), nil},
		{"our own ID", frame(wire.Hello{Sender: smallID, MinVersion: 1, MaxVersion: 1}), drop(3, "both endpoints have the same ID")},
		{"ID of another peer", frame(wire.Hello{Sender: good.id, MinVersion: 1, MaxVersion: 1}), nil}, // the response depends on the ID
		{"drop", frame(wire.DropConn{Sender: largeID, Code: 28}), nil},
		{"HTTP", []byte("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), nil},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newRawPeer(t, largeID, dialRaw(t, address))
			p.write(test.bytes)
			if len(test.answer) > 0 {
				p.frame() // PROBE
				if got := p.frame(); !bytes.Equal(got, test.answer[4:]) {
					t.Errorf("response is %x, want %x", got, test.answer[4:])
				}
			} else {
				p.conn.(*net.TCPConn).CloseWrite()
			}
			p.closed()
		})
	}
	good.sync()
	good.send(wire.Envelope{Type: wire.TypeData, Topic: "t", Payload: bin.Append(nil, broker.None())})
	next[broker.Received](t, e)
	if n := e.Admission().Arriving; n != 0 {
		t.Errorf("%d handshakes are still counted", n)
	}
}

func TestSlowHandshake(t *testing.T) {
	e := newEndpoint(t, Config{ID: smallID})
	p := newRawPeer(t, largeID, &slowConn{dialRaw(t, listen(t, e))})
	p.handshake(true, "x")
	next[broker.PeerAdded](t, e)
	p.sync()
}

// slowConn writes one byte at a time.
type slowConn struct{ net.Conn }

func (c *slowConn) Write(b []byte) (n int, err error) {
	for i := range b {
		if n, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i + n, err
		}
	}
	return len(b), nil
}

// TestHostilePeers sends invalid data after the handshake.
func TestHostilePeers(t *testing.T) {
	data := func(env wire.Envelope) []byte {
		env.TTL, env.Payload = 16, bin.Append(nil, broker.None())
		if env.Type == 0 {
			env.Type = wire.TypeData
		}
		return env.AppendFrame(nil)
	}
	control := func(typ wire.Type, payload string) []byte {
		env := wire.Envelope{Sender: largeID, Receiver: smallID, Type: typ, Topic: "<$>", Payload: []byte(payload)}
		return env.AppendFrame(nil)
	}
	for _, test := range []struct {
		name  string
		bytes []byte
		lost  string // reason for the end of the peering; empty if it continues
		skips uint64
	}{
		{"zero-length frame", make([]byte, 4), "", 0},
		{"command", control(wire.TypeCommand, "payload"), "", 0},
		{"unsolicited pong", control(wire.TypePong, "payload"), "", 0},
		{"empty ping", control(wire.TypePing, ""), "", 0},
		{"nil sender", data(wire.Envelope{Topic: "t"}), "", 1},
		{"foreign sender", data(wire.Envelope{Sender: uuid.New(), Topic: "t"}), "", 1},
		{"our own ID as sender", data(wire.Envelope{Sender: smallID, Topic: "t"}), "", 1},
		{"other receiver", data(wire.Envelope{Sender: largeID, Receiver: uuid.New(), Topic: "t"}), "", 1},
		{"topic without a subscription", data(wire.Envelope{Sender: largeID, Receiver: smallID, Topic: "u"}), "", 0},
		{"undecodable value", (&wire.Envelope{Sender: largeID, Type: wire.TypeData, Topic: "t", Payload: []byte{99}}).AppendFrame(nil), "", 1},
		{"bytes after the value", (&wire.Envelope{Sender: largeID, Type: wire.TypeData, Topic: "t", Payload: []byte{0, 0}}).AppendFrame(nil), "", 1},
		{"no value", (&wire.Envelope{Sender: largeID, Type: wire.TypeData, Topic: "t"}).AppendFrame(nil), "", 1},

		{"short envelope", wire.AppendFrame(nil, make([]byte, 36)), "malformed envelope: 36 bytes", 0},
		{"unknown type", data(wire.Envelope{Sender: largeID, Topic: "t", Type: 6}), "message type is 6", 0},
		{"handshake message", frame(wire.OriginatorAck{}), "malformed envelope", 0},
		{"oversized frame", []byte{1, 0, 0, 0}, "frame of 16777216 bytes, limit is 1048576", 0},
		{"malformed routing update", control(wire.TypeRoutingUpdate, "\x01\x20abc"), "routing update", 0},
		{"routing update with rest", control(wire.TypeRoutingUpdate, "\x01\x01ab"), "routing update", 0},
		{"large ping", control(wire.TypePing, strings.Repeat("x", maxPing+1)), "ping of 4097 bytes", 0},
		{"end within a frame", control(wire.TypePing, "x")[:20], "closed the connection: unexpected EOF", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEndpoint(t, Config{ID: smallID, Subscriptions: []string{"t"}, MaxMessage: 1 << 20})
			p := connect(t, listen(t, e), largeID)
			next[broker.PeerAdded](t, e)
			p.send(wire.Envelope{Type: wire.TypeData, Topic: "t", Payload: bin.Append(nil, broker.Count(1))})
			p.write(test.bytes)
			if test.lost == "" {
				p.sync()
				p.send(wire.Envelope{Type: wire.TypeData, Topic: "t", Payload: bin.Append(nil, broker.Count(2))})
				next[broker.Received](t, e)
				if v := next[broker.Received](t, e).Message.Value; !broker.Equal(v, broker.Count(2)) {
					t.Errorf("received %s", v)
				}
				if got := e.Peers()[0].Skipped; got != test.skips {
					t.Errorf("skipped %d, want %d", got, test.skips)
				}
				return
			}
			if strings.Contains(test.lost, "EOF") {
				p.conn.(*net.TCPConn).CloseWrite()
			}
			p.closed()
			next[broker.Received](t, e) // earlier messages are delivered
			if lost := next[broker.PeerLost](t, e); !strings.Contains(lost.Err.Error(), test.lost) {
				t.Errorf("lost with error %q, want %q", lost.Err, test.lost)
			}
		})
	}
}

func TestConnectionReset(t *testing.T) {
	e := newEndpoint(t, Config{})
	p := connect(t, listen(t, e), uuid.New())
	next[broker.PeerAdded](t, e)
	p.write([]byte{0, 0, 1, 0, 'x'})
	p.conn.(*net.TCPConn).SetLinger(0)
	p.conn.Close()
	if lost := next[broker.PeerLost](t, e); !strings.Contains(lost.Err.Error(), "reset by peer") {
		t.Errorf("lost with error %v", lost.Err)
	}
}

func TestFullSendQueue(t *testing.T) {
	value := broker.String(strings.Repeat("x", 64<<10))
	// publishMany publishes much more than the socket's buffers hold.
	publishMany := func(ctx context.Context, e *Endpoint) error {
		for range 400 {
			if err := e.Publish(ctx, "t", value); err != nil {
				return err
			}
		}
		return nil
	}
	for _, cfg := range []Config{ // each holds ten messages
		{SendQueue: 10, SendOverflow: broker.OverflowDropOldest},
		{SendQueue: 10, SendOverflow: broker.OverflowDropNewest},
		{SendQueue: 10, SendOverflow: broker.OverflowDisconnect},
		{SendQueue: 10, SendOverflow: broker.OverflowBlock},
		{SendBytes: 700 << 10, SendOverflow: broker.OverflowDropOldest},
	} {
		policy := cfg.SendOverflow
		t.Run(fmt.Sprintf("%s of %d", policy, max(cfg.SendQueue, cfg.SendBytes)), func(t *testing.T) {
			cfg.ByeTimeout = time.Millisecond
			e := newEndpoint(t, cfg)
			address := listen(t, e)
			connect(t, address, smallID, "t") // never reads
			next[broker.PeerAdded](t, e)
			other := connect(t, address, largeID, "other")
			next[broker.PeerAdded](t, e)

			ctx, cancel := context.WithCancel(t.Context())
			if policy == broker.OverflowBlock {
				stuck := make(chan error)
				go func() { stuck <- publishMany(ctx, e) }()
				for e.Peers()[0].Queued < 10 {
					other.sync()
				}
				cancel()
				if err := <-stuck; !errors.Is(err, context.Canceled) {
					t.Errorf("publish: %v", err)
				}
				return
			}
			defer cancel()
			if err := publishMany(ctx, e); err != nil {
				t.Fatal(err)
			}
			if policy == broker.OverflowDisconnect {
				if lost := next[broker.PeerLost](t, e); lost.Peer.ID != smallID || !errors.Is(lost.Err, broker.ErrOverflow) {
					t.Errorf("lost %+v", lost)
				}
			}
			// Messages that the writer has taken are no longer queued, but the
			// writer blocks eventually.
			for policy != broker.OverflowDisconnect {
				info := e.Peers()[0]
				if info.Queued > 10 {
					t.Errorf("%d queued", info.Queued)
				}
				if info.Queued == 10 && info.Dropped > 0 {
					break
				}
				publish(t, e, "t", value)
			}
			publish(t, e, "other", broker.None())
			if env := other.envelope(); env.Topic != "other" {
				t.Errorf("the other peer got %+v", env)
			}
		})
	}
}

func TestFullReceiveQueue(t *testing.T) {
	const n = 100
	for _, test := range []struct {
		policy broker.Overflow
		want   []uint64 // nil for all
	}{
		{broker.OverflowDropOldest, []uint64{97, 98, 99}},
		{broker.OverflowDropNewest, []uint64{0, 1, 2}},
		{broker.OverflowDisconnect, []uint64{0, 1, 2}},
		{broker.OverflowBlock, nil},
	} {
		t.Run(test.policy.String(), func(t *testing.T) {
			e := newEndpoint(t, Config{ReceiveQueue: 3, ReceiveOverflow: test.policy, Subscriptions: []string{"t"}})
			p := connect(t, listen(t, e), smallID)
			var stream []byte
			for i := range uint64(n) {
				env := wire.Envelope{Sender: p.id, Type: wire.TypeData, Topic: "t", Payload: bin.Append(nil, broker.Count(i))}
				stream = env.AppendFrame(stream)
			}
			p.write(stream)
			if test.want != nil {
				if test.policy != broker.OverflowDisconnect {
					p.sync()
					p.conn.(*net.TCPConn).CloseWrite()
				}
				p.closed()
			} else {
				for i := range uint64(n) {
					test.want = append(test.want, i)
				}
			}
			next[broker.PeerAdded](t, e)
			for _, want := range test.want {
				if got, _ := next[broker.Received](t, e).Message.Value.Count(); got != want {
					t.Errorf("received %d, want %d", got, want)
				}
			}
			p.conn.Close()
			lost := next[broker.PeerLost](t, e)
			if (test.policy == broker.OverflowDisconnect) != errors.Is(lost.Err, broker.ErrOverflow) {
				t.Errorf("lost with error %v", lost.Err)
			}
		})
	}
}

func TestPingFlood(t *testing.T) {
	e := newEndpoint(t, Config{ByeTimeout: time.Millisecond})
	p := connect(t, listen(t, e), smallID)
	next[broker.PeerAdded](t, e)
	ping := wire.Envelope{Sender: p.id, Type: wire.TypePing, Topic: "<$>", Payload: make([]byte, maxPing)}
	flood := bytes.Repeat(ping.AppendFrame(nil), 100)
	for { // without reading
		if _, err := p.conn.Write(flood); err != nil {
			break
		}
	}
	if lost := next[broker.PeerLost](t, e); !errors.Is(lost.Err, broker.ErrOverflow) {
		t.Errorf("lost with error %v", lost.Err)
	}
}

func TestConnectionFlood(t *testing.T) {
	e := newEndpoint(t, Config{ID: smallID, MaxHandshakes: 3, MaxPeers: 2})
	address := listen(t, e)
	var idle []*rawPeer
	for range 3 {
		p := newRawPeer(t, largeID, dialRaw(t, address))
		p.frame() // PROBE
		idle = append(idle, p)
	}
	for range 10 {
		newRawPeer(t, largeID, dialRaw(t, address)).closed()
	}
	for _, p := range idle {
		p.conn.Close()
	}
	for e.Admission().Arriving > 0 {
		time.Sleep(time.Millisecond)
	}
	connect(t, address, uuid.New())
	connect(t, address, uuid.New())
	third := newRawPeer(t, largeID, dialRaw(t, address))
	third.write(frame(wire.Hello{Sender: largeID, MinVersion: 1, MaxVersion: 1}))
	third.frame() // PROBE
	if got, want := third.frame(), (wire.DropConn{Sender: smallID, Code: 1, Description: "too many peers"}).Append(nil); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	third.closed()
}

// TestSameID makes an endpoint dial itself.
func TestSameID(t *testing.T) {
	e := newEndpoint(t, Config{})
	address := listen(t, e)
	if err := e.AddPeer(address); err != nil {
		t.Fatal(err)
	}
	e.registry.await(testContext(t), func() bool { return e.Peers()[0].Err != nil })
	var drop *wire.DropError
	if err := e.Peers()[0].Err; !errors.Is(err, wire.ErrSameID) && !(errors.As(err, &drop) && drop.Code == wire.CodePeerInvalid) {
		t.Errorf("failed with %v", err)
	}
}

// TestHeldConnection makes a peer connect twice at the same time.
func TestHeldConnection(t *testing.T) {
	syn := frame(wire.ResponderSynAck{})
	hello := frame(wire.Hello{Sender: largeID, MinVersion: 1, MaxVersion: 1})
	setup := func(t *testing.T) (e *Endpoint, first, second *rawPeer) {
		e = newEndpoint(t, Config{ID: smallID})
		address := listen(t, e)
		first = newRawPeer(t, largeID, dialRaw(t, address))
		first.write(hello)
		first.frame() // PROBE
		first.frame() // VERSION_SELECT
		first.frame() // ORIGINATOR_SYN
		second = newRawPeer(t, largeID, dialRaw(t, address))
		second.write(hello)
		second.frame() // PROBE
		for held := 0; held == 0; {
			e.registry.mu.Lock()
			held = len(e.registry.claims[largeID].waiting)
			e.registry.mu.Unlock()
		}
		return e, first, second
	}
	t.Run("first succeeds", func(t *testing.T) {
		e, first, second := setup(t)
		first.write(syn)
		first.frame() // ORIGINATOR_ACK
		want := (wire.DropConn{Sender: smallID, Code: 39, Description: "redundant connection"}).Append(nil)
		if got := second.frame(); !bytes.Equal(got, want) {
			t.Errorf("got %x, want %x", got, want)
		}
		second.closed()
		first.remote = e.ID()
		first.sync()
	})
	t.Run("first fails", func(t *testing.T) {
		e, first, second := setup(t)
		first.conn.Close()
		second.frame() // VERSION_SELECT
		second.frame() // ORIGINATOR_SYN
		second.write(syn)
		second.frame() // ORIGINATOR_ACK
		next[broker.PeerAdded](t, e)
	})
	t.Run("second fails too", func(t *testing.T) {
		e, first, second := setup(t)
		second.conn.Close()
		first.conn.Close()
		connect(t, e.listenerAddr(), largeID)
		next[broker.PeerAdded](t, e)
	})
}

func (e *Endpoint) listenerAddr() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.listeners {
		return l.Addr().String()
	}
	return ""
}

// pipePeer returns an endpoint that dials a raw peer over a pipe in a synctest
// bubble, and the peer's end of the pipe. All output of the endpoint is read.
// The channel receives its frames.
func pipePeer(t *testing.T, cfg Config) (*Endpoint, net.Conn, chan []byte) {
	ours, theirs := net.Pipe()
	dialed := false
	cfg.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		if dialed {
			return nil, errors.New("gone")
		}
		dialed = true
		return ours, nil
	}
	cfg.ID = smallID
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	frames := make(chan []byte, 1000)
	go func() {
		defer close(frames)
		for {
			frame, err := wire.ReadFrame(theirs, wire.DefaultMaxFrame, nil)
			if err != nil {
				io.Copy(io.Discard, theirs) // such as TLS
				return
			}
			frames <- frame
		}
	}()
	t.Cleanup(func() {
		e.Close()
		theirs.Close()
	})
	if err := e.AddPeer("pipe:1"); err != nil {
		t.Fatal(err)
	}
	return e, theirs, frames
}

func TestHandshakeTimeout(t *testing.T) {
	const silence = ", received nothing: it may be a WebSocket port"
	overTLS := secureWith("", new(writeLog))
	for _, test := range []struct {
		name   string
		secure func(context.Context, net.Conn, bool) (net.Conn, error)
		begin  []byte
		hint   string
	}{
		// Broker's WebSocket server also sends nothing, because it waits for
		// the end of a line.
		{"silence", nil, nil, silence},
		{"silence after TLS", overTLS, nil, silence},
		{"half a frame", nil, []byte{0, 0, 0, 5, 7}, ""},
		{"half a TLS record", overTLS, []byte{0x16, 3, 3}, ""},
		{"half the handshake", nil, frame(wire.Hello{Sender: largeID, MinVersion: 1, MaxVersion: 1}), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, conn, _ := pipePeer(t, Config{RetryMin: time.Hour, RetryMax: time.Hour, TLS: test.secure})
				began := time.Now()
				conn.Write(test.begin)
				e.registry.await(t.Context(), func() bool { return e.Peers()[0].Err != nil })
				err := e.Peers()[0].Err
				if !errors.Is(err, errHandshakeTimeout) || time.Since(began) != DefaultHandshakeTimeout {
					t.Errorf("after %s: %v", time.Since(began), err)
				}
				if want := errHandshakeTimeout.Error() + test.hint; err.Error() != want {
					t.Errorf("failed with %q, want %q", err, want)
				}
			})
		})
	}
}

// answer does the responder's part of the handshake.
func answer(t *testing.T, conn net.Conn, frames chan []byte) {
	conn.Write(frame(wire.Hello{Sender: largeID, MinVersion: 1, MaxVersion: 1}))
	conn.Write(frame(wire.ResponderSynAck{}))
	for range 4 { // HELLO, VERSION_SELECT, ORIGINATOR_SYN, ORIGINATOR_ACK
		<-frames
	}
}

func TestPeerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, conn, frames := pipePeer(t, Config{PingInterval: time.Second})
		answer(t, conn, frames)
		next[broker.PeerAdded](t, e)
		// Any data from the peer restarts the timeout.
		for range 5 {
			time.Sleep(2500 * time.Millisecond)
			conn.Write(make([]byte, 4))
		}
		silent := time.Now()
		if lost := next[broker.PeerLost](t, e); lost.Err != ErrPeerTimeout {
			t.Errorf("lost with error %v", lost.Err)
		}
		if d := time.Since(silent); d < 3*time.Second || d > 4*time.Second {
			t.Errorf("lost after %s", d)
		}
		pings := 0
		for f := range frames {
			if env, err := wire.DecodeEnvelope(f); err != nil || env.Type != wire.TypePing || env.Receiver != largeID || len(env.Payload) == 0 {
				t.Errorf("sent %+v, %v", env, err)
			}
			pings++
		}
		if pings < 5 {
			t.Errorf("%d pings", pings)
		}
	})
}

func TestSlowConsumerCausesNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, conn, frames := pipePeer(t, Config{ReceiveQueue: 1, ReceiveOverflow: broker.OverflowBlock, Subscriptions: []string{"t"}})
		answer(t, conn, frames)
		go func() {
			for range 10 {
				env := wire.Envelope{Sender: largeID, Type: wire.TypeData, Topic: "t", Payload: []byte{0}}
				conn.Write(env.AppendFrame(nil))
			}
		}()
		time.Sleep(time.Hour)
		next[broker.PeerAdded](t, e)
		for range 10 {
			next[broker.Received](t, e)
		}
	})
}

func TestPeerStaysConnectedAfterBye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, conn, frames := pipePeer(t, Config{PingInterval: -1})
		answer(t, conn, frames)
		next[broker.PeerAdded](t, e)
		said := time.Now()
		bye := wire.Envelope{Sender: largeID, Receiver: smallID, Type: wire.TypePing, Topic: "<$>", Payload: wire.AppendBye(nil, 7)}
		conn.Write(bye.AppendFrame(nil))
		if pong, err := wire.DecodeEnvelope(<-frames); err != nil || pong.Type != wire.TypePong || !bytes.Equal(pong.Payload, bye.Payload) {
			t.Errorf("response is %+v, %v", pong, err)
		}
		if lost := next[broker.PeerLost](t, e); lost.Err != ErrPeerBye || time.Since(said) != DefaultByeTimeout {
			t.Errorf("lost after %s with error %v", time.Since(said), lost.Err)
		}
	})
}

func TestCloseTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, conn, frames := pipePeer(t, Config{})
		answer(t, conn, frames)
		next[broker.PeerAdded](t, e)
		began := time.Now()
		if err := e.Close(); !errors.Is(err, ErrPeerTimeout) || time.Since(began) != DefaultByeTimeout {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if env, err := wire.DecodeEnvelope(<-frames); err != nil || !env.IsBye() {
			t.Errorf("sent %+v, %v", env, err)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []time.Time
		e, err := New(Config{DialContext: func(context.Context, string, string) (net.Conn, error) {
			attempts = append(attempts, time.Now())
			return nil, errors.New("refused")
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := e.AddPeer("unreachable:1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for i, want := range []time.Duration{1, 2, 4, 8, 10, 10, 10} {
			want *= time.Second
			if got := attempts[i+1].Sub(attempts[i]); got < want/2 || got > want {
				t.Errorf("pause %d is %s, want %s to %s", i, got, want/2, want)
			}
		}
		if n := len(attempts); n < 360 || n > 720 {
			t.Errorf("%d attempts in an hour", n)
		}
	})
}
