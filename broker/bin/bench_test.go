package bin_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
)

// payloads returns the event of the specification's JSON examples, 310 bytes
// there, and the largest recorded get_nodes_response of Zeek's agent.
func payloads(b *testing.B) map[string][]byte {
	event := broker.NewEvent("event_1", broker.Integer(42), broker.String("test")).Value()
	return map[string][]byte{
		"event":     bin.Append(nil, event),
		"get_nodes": recordedGetNodes(b),
	}
}

// envelopeHeader is the size of an envelope without its topic, in bytes: two
// endpoint IDs, type, TTL and topic length.
const envelopeHeader = 37

func recordedGetNodes(b *testing.B) []byte {
	var largest []byte
	for _, f := range brokertest.Frames(b, "../../testdata/recordings/zeek-8.0.10-management/agent-controller-01.jsonl") {
		frame := f.Payload
		if len(frame) < envelopeHeader {
			continue
		}
		topic := int(frame[envelopeHeader-2])<<8 | int(frame[envelopeHeader-1])
		if envelopeHeader+topic > len(frame) {
			continue
		}
		payload := frame[envelopeHeader+topic:]
		v, err := bin.Decode(payload)
		if err != nil {
			continue
		}
		if ev, err := broker.ParseEvent(v); err == nil && ev.Name == "Management::Agent::API::get_nodes_response" && len(payload) > len(largest) {
			largest = payload
		}
	}
	if largest == nil {
		b.Fatal("the recording has no get_nodes_response")
	}
	return largest
}

func BenchmarkDecode(b *testing.B) {
	for name, data := range payloads(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bin.Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecoder(b *testing.B) {
	for name, data := range payloads(b) {
		b.Run(name, func(b *testing.B) {
			var d bin.Decoder
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, data := range payloads(b) {
		b.Run(name, func(b *testing.B) {
			v, err := bin.Decode(data)
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 0, len(data))
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				buf = bin.Append(buf[:0], v)
			}
		})
	}
}
