package websocket_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// Events from a client to the application behind a server, over loopback.
func BenchmarkClientToServer(b *testing.B) {
	l := loopback(b)
	s := serve(b, l, websocket.ServerConfig{ReceiveOverflow: broker.OverflowBlock})
	c := dial(b, websocket.ClientConfig{Address: l.Addr().String(), SendOverflow: broker.OverflowBlock})
	next[broker.PeerAdded](b, s)
	event := broker.NewEvent("event_1", broker.Integer(42), broker.String("test")).Value()
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			c.Publish(b.Context(), "/foo/bar", event)
		}
	}()
	for range b.N {
		if _, err := s.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
