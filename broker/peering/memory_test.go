package peering

import (
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// liveHeap returns the bytes of all reachable objects: the least of a few
// measurements, because each includes what is allocated meanwhile.
func liveHeap() int {
	least := math.MaxInt
	for range 5 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		least = min(least, int(m.HeapAlloc))
	}
	return least
}

// announce sends the length of a frame of n bytes.
func (p *rawPeer) announce(n int) {
	p.t.Helper()
	p.write(binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// TestIncompleteFramesOfManyPeers lets 60 peers announce 60 MB each and send the
// beginning. The memory is limited, and another peer, whose frames are less than its
// share of the memory, is not affected.
func TestIncompleteFramesOfManyPeers(t *testing.T) {
	const peers, announced, sent, limit, messages = 60, 60_000_000, 3 << 20, 16 << 20, 50
	var log syncBuffer
	e := newEndpoint(t, Config{ID: smallID, Subscriptions: []string{"t"}, MaxIncomplete: limit, PingInterval: -1, StallTimeout: time.Hour, Log: zerolog.New(&log)})
	address := listen(t, e)
	good := connect(t, address, largeID)
	var attackers []*rawPeer
	for range peers {
		attackers = append(attackers, connect(t, address, uuid.New()))
	}
	before := liveHeap()
	var sending sync.WaitGroup
	beginning := make([]byte, 64<<10)
	for _, p := range attackers {
		p.announce(announced)
		sending.Go(func() {
			for range sent / len(beginning) {
				if _, err := p.conn.Write(beginning); err != nil {
					return // it was closed
				}
			}
		})
	}
	payload := bin.Append(nil, broker.String(strings.Repeat("x", 128<<10)))
	for range messages { // meanwhile
		good.send(wire.Envelope{Type: wire.TypeData, Topic: "t", Payload: payload})
		good.sync()
	}
	sending.Wait()
	good.sync()
	if grown := liveHeap() - before; grown > 2*limit {
		t.Errorf("the heap has grown by %d bytes, the limit is %d", grown, limit)
	}
	if used := e.intake.Used(); used > limit {
		t.Errorf("%d bytes are used, the limit is %d", used, limit)
	}
	received, lost := 0, 0
	for received < messages || lost < peers/2 {
		n, err := e.Next(testContext(t))
		if err != nil {
			t.Fatalf("received %d, lost %d: %v", received, lost, err)
		}
		switch n := n.(type) {
		case broker.Received:
			received++
		case broker.PeerLost:
			lost++
			if n.Peer.ID == largeID || !errors.Is(n.Err, intake.ErrMemory) {
				t.Fatalf("lost %s: %v", n.Peer.ID, n.Err)
			}
		}
	}
	for _, p := range attackers {
		p.conn.Close()
	}
	for e.intake.Used() > 0 {
		time.Sleep(time.Millisecond)
	}
	if text := log.String(); !strings.Contains(text, "too much memory for incomplete messages") || !strings.Contains(text, `"addr":"127.0.0.1:`) {
		t.Errorf("the log does not name the peer and the reason: %.500s", text)
	}
}

type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestAnnouncedLengthTakesNoMemory lets many peers announce large frames, of which
// nothing follows.
func TestAnnouncedLengthTakesNoMemory(t *testing.T) {
	e := newEndpoint(t, Config{ID: smallID})
	address := listen(t, e)
	var peers []*rawPeer
	for range 60 {
		peers = append(peers, connect(t, address, uuid.New()))
	}
	before := liveHeap()
	for _, p := range peers {
		p.announce(60_000_000)
		p.write(make([]byte, 100))
	}
	for {
		e.intake.Used()
		if time.Sleep(time.Millisecond); e.intake.Used() >= 60*100 {
			break
		}
	}
	if grown := liveHeap() - before; grown > 60*(100<<10) {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// TestLargeFramesAreReleased receives large frames of many peers. Afterwards no
// connection keeps their memory.
func TestLargeFramesAreReleased(t *testing.T) {
	e := newEndpoint(t, Config{ID: smallID, Subscriptions: []string{"t"}})
	address := listen(t, e)
	var peers []*rawPeer
	for range 20 {
		peers = append(peers, connect(t, address, uuid.New()))
	}
	before := liveHeap()
	for _, p := range peers {
		p.send(wire.Envelope{Type: wire.TypeData, Topic: "other", Payload: make([]byte, 1<<20-100)})
		p.sync()
	}
	if grown := liveHeap() - before; grown > 4<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if used := e.intake.Used(); used != 0 {
		t.Errorf("%d bytes are used", used)
	}
}

// TestDecodedMessagesWait sends frames whose values take 32 times the frames' memory.
// As long as Next is not called, only a few frames are decoded.
func TestDecodedMessagesWait(t *testing.T) {
	const elements = 1 << 20
	e := newEndpoint(t, Config{ID: smallID, Subscriptions: []string{"t"}, ReceiveQueue: 1, ReceiveOverflow: broker.OverflowBlock, PingInterval: -1})
	address := listen(t, e)
	payload := bin.Append(nil, broker.Vector(make([]broker.Value, elements)...))
	var peers []*rawPeer
	for range 20 {
		peers = append(peers, connect(t, address, uuid.New()))
		next[broker.PeerAdded](t, e)
	}
	before := liveHeap()
	for _, p := range peers {
		p.send(wire.Envelope{Type: wire.TypeData, Topic: "t", Payload: payload})
	}
	for e.intake.Used() < (len(peers)-1)*len(payload) { // the others wait for their turn
		time.Sleep(time.Millisecond)
	}
	if grown := liveHeap() - before; grown > 5*32*elements {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	for range peers {
		if n := next[broker.Received](t, e).Message.Value.Len(); n != elements {
			t.Fatalf("received %d elements", n)
		}
	}
}

func TestStalledFrame(t *testing.T) {
	for name, begin := range map[string][]byte{
		"length": {0},
		"small":  {0, 0, 1, 0, 1},
		"large":  {3, 0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, conn, frames := pipePeer(t, Config{PingInterval: -1})
				answer(t, conn, frames)
				next[broker.PeerAdded](t, e)
				conn.Write(begin)
				began := time.Now()
				if name == "large" {
					go func() {
						for { // it makes progress, but too slowly
							time.Sleep(100 * time.Millisecond)
							if _, err := conn.Write([]byte{1}); err != nil {
								return
							}
						}
					}()
				}
				lost := next[broker.PeerLost](t, e)
				if !errors.Is(lost.Err, intake.ErrStalled) || time.Since(began) != DefaultStallTimeout {
					t.Errorf("after %s: lost with error %v", time.Since(began), lost.Err)
				}
				time.Sleep(time.Second) // for the sender
			})
		})
	}
}

// TestSlowFrame sends a frame of 512 KiB at 20 kbit/s.
func TestSlowFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, conn, frames := pipePeer(t, Config{Subscriptions: []string{"t"}})
		answer(t, conn, frames)
		go func() {
			for range frames { // pings
			}
		}()
		next[broker.PeerAdded](t, e)
		payload := bin.Append(nil, broker.String(strings.Repeat("x", 512<<10)))
		env := wire.Envelope{Sender: largeID, Type: wire.TypeData, Topic: "t", Payload: payload}
		go func() {
			for rest := env.AppendFrame(nil); len(rest) > 0; {
				n := min(len(rest), 1250)
				conn.Write(rest[:n])
				rest = rest[n:]
				time.Sleep(500 * time.Millisecond)
			}
		}()
		if n, err := e.Next(t.Context()); err != nil {
			t.Error(err)
		} else if _, ok := n.(broker.Received); !ok {
			t.Errorf("got %v", n)
		}
	})
}

// TestBrokenFrame checks the description of broken frames on both ends of
// connections.
func TestBrokenFrame(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes []byte
		text  string
	}{
		{"envelope", wire.AppendFrame(nil, make([]byte, 36)), "first bytes 00000024000000000000"},
		{"oversized", []byte{255, 0, 0, 1, 2, 3}, "first bytes ff000001020"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEndpoint(t, Config{ID: smallID})
			p := connect(t, listen(t, e), largeID)
			handshake := 4 + len(wire.Hello{}.Append(nil)) + 4 + len(wire.ResponderSynAck{}.Append(nil))
			empty := make([]byte, 4)
			p.write(append(empty, test.bytes...))
			next[broker.PeerAdded](t, e)
			lost := next[broker.PeerLost](t, e)
			var frame *broker.FrameError
			if !errors.As(lost.Err, &frame) {
				t.Fatalf("lost with error %v", lost.Err)
			}
			if frame.Client.String() != p.conn.LocalAddr().String() || frame.Server.String() != p.conn.RemoteAddr().String() ||
				!frame.FromClient || frame.Offset != int64(handshake+len(empty)) {
				t.Errorf("got %+v", frame)
			}
			if text := lost.Err.Error(); !strings.Contains(text, test.text) || strings.Contains(text, "\n") {
				t.Errorf("got %q, want %q", text, test.text)
			}
		})
	}
}

// TestRefusedFrame checks that a broken handshake is reported once per host, although
// its description differs.
func TestRefusedFrame(t *testing.T) {
	var log syncBuffer
	e := newEndpoint(t, Config{ID: smallID, Log: zerolog.New(&log).Level(zerolog.WarnLevel)})
	address := listen(t, e)
	for range 3 {
		p := newRawPeer(t, largeID, dialRaw(t, address))
		p.write(frame(wire.Hello{Sender: largeID, MinVersion: 1, MaxVersion: 1}))
		p.write(frame(wire.Probe{})[:9])
		p.write(frame(wire.OriginatorAck{}))
		p.closed()
	}
	for !strings.Contains(log.String(), "refused") {
		time.Sleep(time.Millisecond)
	}
	text := log.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "broken frame from client 127.0.0.1:") || !strings.Contains(text, "offset") {
		t.Errorf("logged %s", text)
	}
}

// TestPortProbesAreNotLogged checks that clients that look for the protocol of the port do not
// fill the log, and that another failure of the same host is still logged.
func TestPortProbesAreNotLogged(t *testing.T) {
	var log syncBuffer
	e := newEndpoint(t, Config{ID: smallID, Log: zerolog.New(&log).Level(zerolog.WarnLevel)})
	address := listen(t, e)
	for _, first := range []string{wire.PortProbe, wire.PortProbe, "SSH-2.0-OpenSSH_9.6\r\n"} {
		p := newRawPeer(t, largeID, dialRaw(t, address))
		p.write([]byte(first))
		p.closed()
	}
	for !strings.Contains(log.String(), "SSH") {
		time.Sleep(time.Millisecond)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 {
		t.Errorf("logged %s", text)
	}
}

func TestInvalidMemoryLimits(t *testing.T) {
	for _, cfg := range []Config{{MaxIncomplete: -1}, {MaxIncomplete: math.MinInt}, {StallTimeout: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

// TestUnsentMessagesOfManyPeers sends to 20 peers that do not read. Their queues
// together are limited.
func TestUnsentMessagesOfManyPeers(t *testing.T) {
	const peers, limit, size = 20, 4 << 20, 1 << 20
	e := newEndpoint(t, Config{ID: smallID, MaxUnsent: limit, PingInterval: -1, ByeTimeout: time.Millisecond})
	address := listen(t, e)
	reader := connect(t, address, largeID, "t")
	next[broker.PeerAdded](t, e)
	var ids []uuid.UUID
	for range peers {
		ids = append(ids, uuid.New())
		connect(t, address, ids[len(ids)-1], "t")
		next[broker.PeerAdded](t, e)
	}
	before := liveHeap()
	value := broker.String(strings.Repeat("x", size))
	for range 20 { // 400 MiB in all; each queue may have 64 MiB
		for _, id := range ids {
			if _, err := e.PublishTo(testContext(t), id, "t", value); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Send(testContext(t), largeID, "t", value); err != nil {
			t.Fatal(err)
		}
		reader.envelope()
		if used := e.unsent.Used(); used > 16*limit {
			t.Fatalf("%d bytes are unsent, the limit is %d", used, limit)
		}
	}
	if grown := liveHeap() - before; grown > 20*limit {
		t.Errorf("the heap has grown by %d bytes, the limit is %d", grown, limit)
	}
	lost := next[broker.PeerLost](t, e)
	if lost.Peer.ID == largeID || !errors.Is(lost.Err, broker.ErrOverflow) {
		t.Errorf("lost %s: %v", lost.Peer.ID, lost.Err)
	}
	for _, id := range ids {
		if l := e.registry.find(id); l != nil {
			l.fail(broker.ErrClosed)
		}
	}
	reader.sync()
	for e.unsent.Used() > 0 {
		time.Sleep(time.Millisecond)
	}
}
