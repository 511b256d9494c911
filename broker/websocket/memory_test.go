package websocket_test

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/websocket"
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

// subscribed connects a raw client that subscribes to nothing.
func subscribed(t *testing.T, n *network) *rawClient {
	t.Helper()
	c := rawDial(t, n, jsonv1.Path, nil)
	c.send(`[]`)
	c.ws.SetReadDeadline(time.Now().Add(patience))
	if _, _, err := c.ws.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	go func() { // answers pings
		c.ws.SetReadDeadline(time.Time{})
		for {
			if _, _, err := c.ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	return c
}

// announce returns the header of a frame with n bytes of payload.
func announce(first byte, n int) []byte {
	b := binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, uint64(n))
	return append(b, 0, 0, 0, 0) // a mask that changes nothing
}

// TestIncompleteMessagesOfManyClients lets 60 clients send the beginning of large
// messages, some of them in fragments. The memory is limited, and another client,
// whose messages are less than its share of the memory, is not affected.
func TestIncompleteMessagesOfManyClients(t *testing.T) {
	const clients, announced, sent, limit, messages = 60, 60_000_000, 3 << 20, 16 << 20, 50
	n := newNetwork(t)
	var log syncBuffer
	s := serve(t, n, websocket.ServerConfig{MaxIncomplete: limit, Private: true, PingInterval: -1, StallTimeout: time.Hour, Log: zerolog.New(&log)})
	good := subscribed(t, n)
	goodPeer := next[broker.PeerAdded](t, s).Peer
	var attackers []*rawClient
	for range clients {
		attackers = append(attackers, subscribed(t, n))
		next[broker.PeerAdded](t, s)
	}
	before := liveHeap()
	piece := make([]byte, 64<<10)
	var sending sync.WaitGroup
	for i, c := range attackers {
		sending.Go(func() {
			nc := c.ws.NetConn()
			if i%2 == 0 {
				nc.Write(announce(0x81, announced))
			}
			for k := range sent / len(piece) {
				if i%2 != 0 {
					nc.Write(announce([]byte{0, 1}[min(1, max(0, 1-k))], len(piece)))
				}
				if _, err := nc.Write(piece); err != nil {
					return // it was closed
				}
			}
		})
	}
	text := message("/x", broker.String(strings.Repeat("x", 100<<10)))
	received := 0
	for range messages { // meanwhile
		good.send(text)
	}
	sending.Wait()
	lost := 0
	for received < messages || lost < clients/2 {
		n, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch n := n.(type) {
		case broker.Received:
			received++
		case broker.PeerLost:
			lost++
			if n.Peer.ID == goodPeer.ID || !errors.Is(n.Err, intake.ErrMemory) {
				t.Fatalf("lost %+v: %v", n.Peer, n.Err)
			}
		}
	}
	if grown := liveHeap() - before; grown > 2*limit {
		t.Errorf("the heap has grown by %d bytes, the limit is %d", grown, limit)
	}
	if text := log.String(); !strings.Contains(text, "too much memory for incomplete messages") {
		t.Errorf("logged %.500s", text)
	}
}

func TestServerEndsStalledMessages(t *testing.T) {
	for name, begin := range map[string][]byte{
		"header":              {0x81},
		"message":             announce(0x81, 100),
		"between fragments":   append(announce(1, 3), "abc"...),
		"continuation header": append(append(announce(1, 3), "abc"...), 0),
		"ping":                {0x89, 0x81, 0, 0},
		"after a message":     append(append(announce(0x81, 3), "abc"...), 0x81),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				s := serve(t, n, websocket.ServerConfig{PingInterval: -1})
				c := subscribed(t, n)
				next[broker.PeerAdded](t, s)
				began := time.Now()
				c.ws.NetConn().Write(begin)
				lost := next[broker.PeerLost](t, s)
				if !errors.Is(lost.Err, intake.ErrStalled) || time.Since(began) != websocket.DefaultStallTimeout {
					t.Errorf("after %s: lost with error %v", time.Since(began), lost.Err)
				}
			})
		})
	}
}

// TestSlowConsumerStallsNoClient lets messages wait for Next, while the beginning of
// the next message has been read.
func TestSlowConsumerStallsNoClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		s := serve(t, n, websocket.ServerConfig{ReceiveQueue: 1, ReceiveOverflow: broker.OverflowBlock, PingInterval: -1})
		c := subscribed(t, n)
		go func() {
			var b []byte
			for range 3 {
				text := message("/x", broker.Count(1))
				b = append(append(b, announce(0x81, len(text))...), text...)
			}
			c.ws.NetConn().Write(b[:len(b)-1])
			time.Sleep(time.Hour + 10*time.Second)
			c.ws.NetConn().Write(b[len(b)-1:])
		}()
		time.Sleep(time.Hour)
		next[broker.PeerAdded](t, s)
		for range 3 {
			next[broker.Received](t, s)
		}
	})
}

// TestServerTakesSlowMessages sends a message of 512 KiB at 20 kbit/s, with which the
// client cannot answer pings.
func TestServerTakesSlowMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		s := serve(t, n, websocket.ServerConfig{})
		c := rawDial(t, n, jsonv1.Path, nil)
		c.ws.SetPingHandler(func(string) error { return nil })
		go readAll(c.ws)
		c.send(`[]`)
		next[broker.PeerAdded](t, s)
		text := message("/x", broker.String(strings.Repeat("x", 512<<10)))
		go func() {
			nc := c.ws.NetConn()
			nc.Write(announce(0x81, len(text)))
			for rest := []byte(text); len(rest) > 0; {
				n := min(len(rest), 1250)
				time.Sleep(500 * time.Millisecond)
				nc.Write(rest[:n])
				rest = rest[n:]
			}
		}()
		if got, err := s.Next(t.Context()); err != nil {
			t.Error(err)
		} else if _, ok := got.(broker.Received); !ok {
			t.Errorf("got %+v", got)
		}
	})
}

// TestBrokenMessages checks the descriptions of broken messages in the log of a
// server and in the errors of a client.
func TestBrokenMessages(t *testing.T) {
	l := loopback(t)
	var log syncBuffer
	s := serve(t, l, websocket.ServerConfig{PingInterval: -1, Log: zerolog.New(&log).Level(zerolog.InfoLevel)})
	ws, _, err := (&gorilla.Dialer{}).Dial("ws://"+l.Addr().String()+jsonv1.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	c := &rawClient{t, ws}
	c.send(`[]`) // 8 bytes
	c.want(zeekAck("0"))
	c.send(`{"topic": 1}`) // 18 bytes
	c.want(complaint("failed to decode JSON object"))
	ws.NetConn().Write([]byte{0x8F, 0x80, 1, 2, 3, 4})
	next[broker.PeerAdded](t, s)
	lost := next[broker.PeerLost](t, s)
	var frame *broker.FrameError
	if !errors.As(lost.Err, &frame) || frame.Offset != 26 || frame.Client.String() != ws.LocalAddr().String() || frame.Server.String() != l.Addr().String() {
		t.Errorf("lost with error %v", lost.Err)
	}
	s.Close()
	from := "broken frame from client " + ws.LocalAddr().String() + " to server " + l.Addr().String()
	for _, want := range []string{
		from + " at offset 8, first bytes 7b22746f706963223a20317d: jsonv1: ",
		from + " at offset 26, first bytes 8f80",
	} {
		if text := log.String(); !strings.Contains(text, want) {
			t.Errorf("logged %s, want %s", text, want)
		}
	}
}

func TestClientReportsBrokenMessages(t *testing.T) {
	n := scripted(t, func(ws *gorilla.Conn) {
		accept(ws)
		ws.WriteMessage(gorilla.TextMessage, []byte("{]"))
		readAll(ws)
	})
	c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial})
	lost := next[broker.PeerLost](t, c)
	var broken *broker.FrameError
	if !errors.As(lost.Err, &broken) || broken.FromClient || broken.Offset != int64(2+len(ack)) || string(broken.First) != "{]" {
		t.Errorf("lost with error %v", lost.Err)
	}
}

// TestSlowReaderGetsLargeMessages reads a message of 2 MB at 300 kbit/s.
func TestSlowReaderGetsLargeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scripted(t, func(ws *gorilla.Conn) {
			accept(ws)
			nc := ws.NetConn()
			for range 2_000_000 / 12_500 {
				time.Sleep(time.Second / 3)
				if _, err := io.ReadFull(nc, make([]byte, 12_500)); err != nil {
					t.Error(err)
					return
				}
			}
			readAll(ws)
		})
		c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, PingInterval: -1})
		publish(t, c, "/x", broker.String(strings.Repeat("x", 2_000_000)))
		time.Sleep(time.Minute)
	})
}
