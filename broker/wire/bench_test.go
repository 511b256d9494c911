package wire_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// topic is the one of Broker's benchmark.
const topic = "/micro/benchmark"

// BenchmarkMessage decodes, encodes and forwards the messages of Broker's benchmark,
// with their envelopes.
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
		b.Run("encode/"+m.Name, func(b *testing.B) { benchmarkEncode(b, sent, m.Value) })
		received, err := bin.Decode(sent.Payload)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("forward/"+m.Name, func(b *testing.B) { benchmarkEncode(b, sent, received) })
		b.Run("copy/"+m.Name, func(b *testing.B) { // what the speed of memory permits
			buf := make([]byte, len(data))
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				copy(buf, data)
			}
		})
	}
}

func benchmarkEncode(b *testing.B, env wire.Envelope, v broker.Value) {
	var payload, buf []byte
	b.SetBytes(int64(env.Len()))
	b.ReportAllocs()
	for b.Loop() {
		payload = bin.Append(payload[:0], v)
		env.Payload = payload
		buf = env.Append(buf[:0])
	}
}
