package websocket_test

import (
	"context"
	"net"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/twoprocs"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// BenchmarkClientToServer sends events from a client to a server over loopback.
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

// BenchmarkTwoProcesses sends events from one process to another.
func BenchmarkTwoProcesses(b *testing.B) {
	twoprocs.Bench(b, "", twoprocs.Small(), func(address string) broker.Bus {
		return dial(b, websocket.ClientConfig{
			Address: address, SendOverflow: broker.OverflowBlock, Subscriptions: []string{twoprocs.Count},
		})
	})
}

func receiver(string) (broker.Bus, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	s, err := websocket.NewServer(websocket.ServerConfig{SendOverflow: broker.OverflowBlock, ReceiveOverflow: broker.OverflowBlock})
	if err != nil {
		return nil, "", err
	}
	go s.Serve(context.Background(), l) // until the process ends
	return s, l.Addr().String(), nil
}
