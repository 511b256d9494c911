package gateway

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// feed has the messages for a WebSocket client.
type feed struct {
	gateway *Gateway
	events  []string
	peer    uuid.UUID
	place
}

// feed returns the feed for the client of a request.
func (g *Gateway) feed(r *http.Request) (websocket.Feed, error) {
	s, err := selectionOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return &feed{gateway: g, events: s.events}, nil
}

// Begin implements websocket.Feed.
func (f *feed) Begin(client broker.Peer, topics broker.Filter) {
	f.peer = client.ID
	f.begin(f.gateway.texts, selection{topics: topics, events: f.events})
}

var entryLists = sync.Pool{New: func() any { return new([batch]*entry) }}

// Take implements websocket.Feed.
func (f *feed) Take(list [][]byte) (texts [][]byte, lost int, more <-chan struct{}, err error) {
	entries := entryLists.Get().(*[batch]*entry)
	defer func() {
		clear(entries[:])
		entryLists.Put(entries)
	}()
	for {
		taken, missing, changed := f.take(0, entries[:0]) // the ring has the limit
		if lost += int(missing); lost > 0 && f.gateway.cfg.Slow == broker.OverflowDisconnect {
			return list, lost, nil, fmt.Errorf("%w: %d messages", broker.ErrOverflow, lost)
		}
		for _, e := range taken {
			if e.origin != f.peer {
				list = append(list, e.text)
			}
		}
		if len(list) > 0 || len(taken) == 0 {
			return list, lost, changed, nil
		}
	}
}

// End implements websocket.Feed.
func (f *feed) End() {
	f.ring.leave(f.group)
}
