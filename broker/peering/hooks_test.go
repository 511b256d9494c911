package peering

import (
	"errors"
	"sync"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
)

// counters implements all hooks.
type counters struct {
	mu                                     sync.Mutex
	added, lost, sent, received, dropped   int
	lostFor                                error
	bytesSent, bytesReceived, droppedInbox int
}

func (c *counters) count(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *counters) PeerAdded(broker.Peer) { c.count(func() { c.added++ }) }

func (c *counters) PeerLost(_ broker.Peer, err error) {
	c.count(func() { c.lost++; c.lostFor = err })
}

func (c *counters) Sent(_ broker.Peer, frames, bytes int) {
	c.count(func() { c.sent += frames; c.bytesSent += bytes })
}

func (c *counters) Received(_ broker.Peer, frames, bytes int) {
	c.count(func() { c.received += frames; c.bytesReceived += bytes })
}

func (c *counters) DroppedSending(_ broker.Peer, n int)  { c.count(func() { c.dropped += n }) }
func (c *counters) DroppedReceived(_ broker.Peer, n int) { c.count(func() { c.droppedInbox += n }) }

func TestHooks(t *testing.T) {
	var ofA, ofB counters
	a := newEndpoint(t, Config{Hooks: &ofA, PingInterval: -1})
	b := newEndpoint(t, Config{Hooks: &ofB, PingInterval: -1, Subscriptions: []string{"t"}, ReceiveQueue: 3})
	dial(t, a, listen(t, b))
	for range 10 {
		publish(t, a, "t", broker.None())
	}
	if err := a.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	a.Close()
	for range 1 + 3 + 1 {
		if _, err := b.Next(testContext(t)); err != nil { // read all before b is closed
			t.Fatal(err)
		}
	}
	b.Close()
	// Ten events and two pings in one direction, and two pongs in the other.
	if ofA.added != 1 || ofA.lost != 1 || ofA.sent != 12 || ofA.received != 2 || ofA.dropped != 0 || !errors.Is(ofA.lostFor, broker.ErrClosed) {
		t.Errorf("a counted %+v", &ofA)
	}
	if ofB.added != 1 || ofB.lost != 1 || ofB.sent != 2 || ofB.received != 12 || ofB.droppedInbox != 7 || !errors.Is(ofB.lostFor, ErrPeerBye) {
		t.Errorf("b counted %+v", &ofB)
	}
	if ofA.bytesSent != ofB.bytesReceived || ofA.bytesSent == 0 {
		t.Errorf("a sent %d bytes, b received %d", ofA.bytesSent, ofB.bytesReceived)
	}
}
