package gateway

import (
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// Stats are the numbers of a Gateway. Counters begin with New.
type Stats struct {
	Zeeks   int // that are attached
	Readers int // of Server-Sent Events

	Messages  uint64 // that were passed on
	Delivered uint64 // messages that were sent to readers of Server-Sent Events
	Lost      uint64 // messages that such readers missed
	Published uint64 // messages of readers
	Refused   uint64 // messages of readers that may not publish them

	Kept, KeptBytes int // messages in the ring, and their memory

	// Places has the connections of readers of either kind.
	Places struct{ Arriving, Anonymous, Known int }
}

// Stats returns the current numbers.
func (g *Gateway) Stats() Stats {
	s := Stats{
		Messages: g.messages.Load(), Delivered: g.delivered.Load(), Lost: g.lost.Load(),
		Published: g.published.Load(), Refused: g.refused.Load(),
	}
	g.mu.Lock()
	s.Zeeks, s.Readers = len(g.zeeks), len(g.readers)
	g.mu.Unlock()
	s.Kept, s.KeptBytes = g.ring.size()
	places := g.gate.Stats()
	s.Places.Arriving, s.Places.Anonymous, s.Places.Known = places.Arriving, places.Anonymous, places.Known
	return s
}

// Reader describes a reader of Server-Sent Events.
type Reader struct {
	Peer      broker.Peer
	Since     time.Time
	Behind    uint64 // messages that it has not got yet, of all topics
	Delivered uint64
	Lost      uint64 // messages that it missed, of all topics
}

// Readers returns the readers of Server-Sent Events, in no order.
func (g *Gateway) Readers() []Reader {
	end := g.ring.end()
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Reader, 0, len(g.readers))
	for rd := range g.readers {
		all = append(all, Reader{
			Peer: rd.peer, Since: rd.since, Behind: rd.behind(end), Delivered: rd.delivered.Load(), Lost: rd.lost.Load(),
		})
	}
	return all
}
