package peering

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
	"github.com/zeekwire/zeekwire/broker/internal/twoprocs"
	"github.com/zeekwire/zeekwire/broker/security"
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
func BenchmarkTwoProcesses(b *testing.B) { benchmarkTwoProcesses(b, security.Off, twoprocs.Small()) }

// BenchmarkTwoProcessesKinds sends small events and records, also over anonymous TLS.
func BenchmarkTwoProcessesKinds(b *testing.B) {
	for name, event := range map[string]broker.Event{"small": twoprocs.Small(), "record": recordEvent()} {
		for _, mode := range []security.Mode{security.Off, security.Anonymous} {
			b.Run(name+"/"+mode.String(), func(b *testing.B) { benchmarkTwoProcesses(b, mode, event) })
		}
	}
}

// recordEvent returns an event whose arguments are the record of Broker's benchmark.
func recordEvent() broker.Event {
	record := brokertest.Messages()[1].Value
	return broker.NewEvent("event_2", slices.Collect(record.Elements())...)
}

func benchmarkTwoProcesses(b *testing.B, mode security.Mode, event broker.Event) {
	twoprocs.Bench(b, mode.String(), event, func(address string) broker.Bus {
		layer, err := layerOf(mode.String())
		if err != nil {
			b.Fatal(err)
		}
		e := newEndpoint(b, Config{TLS: layer, SendOverflow: broker.OverflowBlock, Subscriptions: []string{twoprocs.Count}})
		dial(b, e, address)
		return e
	})
}

// secure is a value of Config.TLS.
type secure = func(context.Context, net.Conn, bool) (net.Conn, error)

// layerOf returns the layer of TLS of the named mode.
func layerOf(mode string) (secure, error) {
	m, err := security.ParseMode(mode)
	if err != nil {
		return nil, err
	}
	layer, err := security.New(security.Config{Mode: m})
	if err != nil {
		return nil, err
	}
	return layer.Hook(), nil
}

func receiver(mode string) (broker.Bus, string, error) {
	layer, err := layerOf(mode)
	if err != nil {
		return nil, "", err
	}
	e, err := New(Config{TLS: layer, SendOverflow: broker.OverflowBlock, ReceiveOverflow: broker.OverflowBlock, Subscriptions: []string{""}})
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
