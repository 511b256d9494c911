package wire_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// topic is the one of Broker's benchmark.
const topic = "/micro/benchmark"

// BenchmarkMessage encodes and decodes the messages of Broker's benchmark, with
// their envelopes.
func BenchmarkMessage(b *testing.B) {
	for _, m := range brokertest.Messages() {
		sent := wire.Envelope{Type: wire.TypeData, TTL: wire.DefaultTTL, Topic: topic, Payload: bin.Append(nil, m.Value)}
		data := sent.Append(nil)
		b.Run("decode/"+m.Name, func(b *testing.B) {
			var values bin.Decoder
			var env wire.Envelope
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := env.Decode(data); err != nil {
					b.Fatal(err)
				}
				if _, err := values.Decode(env.Payload); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("encode/"+m.Name, func(b *testing.B) {
			var payload, buf []byte
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				payload = bin.Append(payload[:0], m.Value)
				env := sent
				env.Payload = payload
				buf = env.Append(buf[:0])
			}
		})
	}
}
