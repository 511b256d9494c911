package peering

import (
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
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

// BenchmarkFanOut publishes to 100 peers of which each tenth subscribes.
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
