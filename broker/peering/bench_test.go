package peering

import (
	"context"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/twoprocs"
)

// BenchmarkEvents sends small events from one endpoint to another, over
// loopback and within one process.
func BenchmarkEvents(b *testing.B) {
	from := newEndpoint(b, Config{SendOverflow: broker.OverflowBlock})
	to := newEndpoint(b, Config{ReceiveOverflow: broker.OverflowBlock, Subscriptions: []string{"t"}})
	dial(b, from, listen(b, to))
	next[broker.PeerAdded](b, to)
	event := broker.NewEvent("Bench::event", broker.Count(42), broker.String("hello world"), broker.Timestamp(time.Unix(0, 0))).Value()
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			from.Publish(ctx, "t", event)
		}
	}()
	for range b.N {
		if _, err := to.Next(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkTwoProcesses sends small events from one process to another.
func BenchmarkTwoProcesses(b *testing.B) {
	twoprocs.Bench(b, func(address string) broker.Bus {
		e := newEndpoint(b, Config{SendOverflow: broker.OverflowBlock, Subscriptions: []string{twoprocs.Count}})
		dial(b, e, address)
		return e
	})
}

func receiver() (broker.Bus, string, error) {
	e, err := New(Config{SendOverflow: broker.OverflowBlock, ReceiveOverflow: broker.OverflowBlock, Subscriptions: []string{""}})
	if err != nil {
		return nil, "", err
	}
	addr, err := e.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	return e, addr.String(), nil
}

// BenchmarkFanOut publishes to 100 peers, of which every tenth subscribes to
// the topic.
func BenchmarkFanOut(b *testing.B) {
	hub := newEndpoint(b, Config{})
	address := listen(b, hub)
	for i := range 100 {
		topic := "other"
		if i%10 == 0 {
			topic = "t"
		}
		dial(b, newEndpoint(b, Config{Subscriptions: []string{topic}}), address)
	}
	event := broker.NewEvent("Bench::event", broker.Count(42)).Value()
	b.ReportAllocs()
	for b.Loop() {
		hub.Publish(b.Context(), "t", event)
	}
}
