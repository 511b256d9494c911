package jsonv1_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// BenchmarkMessage decodes and encodes the messages of Broker's benchmark.
func BenchmarkMessage(b *testing.B) {
	for _, m := range brokertest.Messages() {
		data := jsonv1.Data{Topic: "/micro/benchmark", Value: m.Value}
		text := jsonv1.Append(nil, data)
		b.Run("decode/"+m.Name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jsonv1.Decode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("encode/"+m.Name, func(b *testing.B) {
			var buf []byte
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				buf = jsonv1.Append(buf[:0], data)
			}
		})
	}
}
