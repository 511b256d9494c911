package jsonv1_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// getNodesResponse returns the largest recorded get_nodes_response of a
// controller.
func getNodesResponse(b *testing.B) []byte {
	var largest []byte
	for _, r := range recordedTexts(b, "zeek-8.0.10-management/client-controller-*.jsonl") {
		if bytes.Contains(r.text, []byte("get_nodes_response")) && len(r.text) > len(largest) {
			largest = r.text
		}
	}
	if largest == nil {
		b.Fatal("no get_nodes_response among the recordings")
	}
	return largest
}

func BenchmarkDecodeEvent(b *testing.B)            { benchmarkDecode(b, []byte(event)) }
func BenchmarkDecodeGetNodesResponse(b *testing.B) { benchmarkDecode(b, getNodesResponse(b)) }

func benchmarkDecode(b *testing.B, text []byte) {
	b.Run("jsonv1", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jsonv1.Decode(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			var m struct {
				Topic string          `json:"topic"`
				Type  string          `json:"@data-type"`
				Raw   json.RawMessage `json:"data"`
			}
			if err := json.Unmarshal(text, &m); err != nil {
				b.Fatal(err)
			}
			if err := into[[]typedValue](&typedValue{Type: m.Type, Raw: m.Raw}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// typedValue is the usual way to decode tagged values with encoding/json: the
// content is kept as raw text until its type is known.
type typedValue struct {
	Type string          `json:"@data-type"`
	Raw  json.RawMessage `json:"data"`
	data any
}

func (v *typedValue) UnmarshalJSON(b []byte) error {
	type plain typedValue
	if err := json.Unmarshal(b, (*plain)(v)); err != nil {
		return err
	}
	switch v.Type {
	case "vector", "set":
		return into[[]typedValue](v)
	case "table":
		return into[[]struct{ Key, Value typedValue }](v)
	case "count":
		return into[uint64](v)
	case "integer":
		return into[int64](v)
	case "real":
		return into[float64](v)
	case "boolean":
		return into[bool](v)
	case "none":
		return nil
	default:
		return into[string](v)
	}
}

func into[T any](v *typedValue) error {
	var x T
	err := json.Unmarshal(v.Raw, &x)
	v.data = x
	return err
}

func BenchmarkAppendEvent(b *testing.B) {
	data := eventData()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = jsonv1.Append(buf[:0], data)
	}
	b.SetBytes(int64(len(buf)))
}

func TestAllocations(t *testing.T) {
	text, data := []byte(event), eventData()
	if n := testing.AllocsPerRun(100, func() { jsonv1.Decode(text) }); n > 4 {
		t.Errorf("Decode of an event allocates %v times", n)
	}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { jsonv1.Append(buf, data) }); n > 0 {
		t.Errorf("Append of an event allocates %v times", n)
	}
}
