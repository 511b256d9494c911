package events_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/events"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type greeting struct {
	N    uint64
	Text string
}

var stamp = broker.Metadata{Key: broker.MetadataNetworkTimestamp, Value: broker.TimestampNanos(17)}

func TestHandlers(t *testing.T) {
	hello := func(meta []broker.Metadata, args ...broker.Value) broker.Value {
		return broker.Event{Name: "hello", Args: args, Metadata: meta}.Value()
	}
	right := []broker.Value{broker.Count(1), broker.String("a")}
	long := strings.Repeat("n", 128)
	for name, tt := range map[string]struct {
		value   broker.Value
		want    *events.Event[greeting]
		handled bool
		err     string
	}{
		"without metadata":     {value: hello(nil, right...), handled: true, want: &events.Event[greeting]{Args: greeting{1, "a"}}},
		"empty metadata":       {value: hello([]broker.Metadata{}, right...), handled: true, want: &events.Event[greeting]{Args: greeting{1, "a"}, Metadata: []broker.Metadata{}}},
		"metadata":             {value: hello([]broker.Metadata{stamp}, right...), handled: true, want: &events.Event[greeting]{Args: greeting{1, "a"}, Metadata: []broker.Metadata{stamp}}},
		"surplus argument":     {value: hello(nil, append(slices.Clone(right), broker.Boolean(true))...), handled: true, want: &events.Event[greeting]{Args: greeting{1, "a"}}},
		"long name":            {value: broker.NewEvent(long, right...).Value()},
		"another event":        {value: broker.NewEvent("goodbye", right...).Value()},
		"no event":             {value: broker.LogWrite{Stream: "hello"}.Value()},
		"no message":           {value: broker.Vector(broker.Count(1))},
		"missing argument":     {value: hello(nil, right[:1]...), handled: true, err: "event hello: record: want a record of 2 fields, got 1"},
		"argument of any kind": {value: hello(nil, right[1], right[1]), handled: true, err: "event hello: record: n: want count, got string"},
	} {
		t.Run(name, func(t *testing.T) {
			var got *events.Event[greeting]
			var h events.Handlers
			events.On(&h, "hello", func(e events.Event[greeting]) { got = &e })
			check := func(handled bool, err error) {
				t.Helper()
				if text := errorText(err); handled != tt.handled || text != tt.err {
					t.Errorf("got %t and %q, want %t and %q", handled, text, tt.handled, tt.err)
				}
				if tt.want != nil {
					tt.want.Topic = "/topic"
				}
				if diff := cmp.Diff(tt.want, got, options); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				got = nil
			}
			check(h.Payload(broker.Peer{}, "/topic", bin.Append(nil, tt.value)))
			check(h.Received(broker.Received{Message: broker.Message{Topic: "/topic", Value: tt.value}}))
		})
	}
}

// options compares values by their meaning.
var options = cmp.Options{cmp.Comparer(broker.Equal), cmp.Comparer(func(a, b broker.Peer) bool { return a.ID == b.ID })}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestPayloadErrors(t *testing.T) {
	var h events.Handlers
	events.On(&h, "hello", func(events.Event[greeting]) { t.Error("called") })
	data := bin.Append(nil, broker.Event{
		Name: "hello", Args: []broker.Value{broker.Count(1), broker.String("a")}, Metadata: []broker.Metadata{stamp},
	}.Value())
	kinds := slices.Clone(data)
	kinds[len(kinds)-9] = byte(broker.KindCount) // of the timestamp
	for name, tt := range map[string]struct {
		data      []byte
		malformed bool
	}{
		"truncated":     {data[:len(data)-1], true},
		"trailing byte": {append(slices.Clone(data), 0), true},
		"metadata":      {kinds, false},
	} {
		handled, err := h.Payload(broker.Peer{}, "/topic", tt.data)
		if !handled || err == nil || errors.Is(err, bin.ErrMalformed) != tt.malformed {
			t.Errorf("%s: got %t and %v", name, handled, err)
		}
	}
	for n := range 40 {
		if handled, err := h.Payload(broker.Peer{}, "/topic", data[:n]); err == nil && handled {
			t.Errorf("%d bytes: no error", n)
		}
	}
}

func TestOnPanics(t *testing.T) {
	for name, on := range map[string]func(h *events.Handlers){
		"twice": func(h *events.Handlers) {
			events.On(h, "hello", func(events.Event[greeting]) {})
			events.On(h, "hello", func(events.Event[greeting]) {})
		},
		"no struct": func(h *events.Handlers) { events.On(h, "hello", func(events.Event[string]) {}) },
		"no type":   func(h *events.Handlers) { events.On(h, "hello", func(events.Event[struct{ C chan int }]) {}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			on(new(events.Handlers))
		})
	}
}

// An endpoint passes encoded events to their functions, and returns other messages.
func TestEndpoint(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	greetings := make(chan events.Event[greeting], 1)
	var h events.Handlers
	events.On(&h, "hello", func(e events.Event[greeting]) { greetings <- e })
	receiver, err := peering.New(peering.Config{Subscriptions: []string{"/a"}, Payload: h.Payload})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	addr, err := receiver.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sender, err := peering.New(peering.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	if _, err := sender.Connect(ctx, addr.String()); err != nil {
		t.Fatal(err)
	}
	publish := func(name string, args ...broker.Value) {
		t.Helper()
		if err := broker.PublishEvent(ctx, sender, "/a", broker.NewEvent(name, args...)); err != nil {
			t.Fatal(err)
		}
	}
	publish("hello", broker.String("wrong")) // logged, and not delivered
	publish("hello", broker.Count(5), broker.String("five"))
	publish("other")
	if e := <-greetings; e.Args != (greeting{5, "five"}) || e.Topic != "/a" || e.Peer.ID != sender.ID() {
		t.Errorf("got %+v", e)
	}
	for {
		n, err := receiver.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := n.(broker.Received); ok {
			if ev, err := broker.ParseEvent(r.Message.Value); err != nil || ev.Name != "other" {
				t.Errorf("got %v, %v", ev, err)
			}
			return
		}
	}
}

// Payload and Received agree on every input that can be decoded.
func FuzzPayload(f *testing.F) {
	for _, m := range brokertest.Messages() {
		f.Add(bin.Append(nil, m.Value))
	}
	f.Add(bin.Append(nil, broker.Event{Name: "hello", Args: []broker.Value{broker.Count(1), broker.String("a")}, Metadata: []broker.Metadata{stamp}}.Value()))
	f.Fuzz(func(t *testing.T, data []byte) {
		var calls []events.Event[greeting]
		var h events.Handlers
		events.On(&h, "hello", func(e events.Event[greeting]) { calls = append(calls, e) })
		handled, err := h.Payload(broker.Peer{}, "", data)
		v, decodeErr := bin.Decode(data)
		if !handled {
			return
		}
		if decodeErr != nil {
			if err == nil {
				t.Fatalf("handled what cannot be decoded: %v", decodeErr)
			}
			return
		}
		_, want := h.Received(broker.Received{Message: broker.Message{Value: v}})
		if (err == nil) != (want == nil) && len(calls) > 0 {
			t.Fatalf("got %v, want %v", err, want)
		}
		if len(calls) == 2 && !cmp.Equal(calls[0], calls[1], options) {
			t.Fatalf("got %v, want %v", calls[0], calls[1])
		}
	})
}

// BenchmarkHandlers compares a function that gets an encoded event with one that gets it
// from a decoded broker.Value.
func BenchmarkHandlers(b *testing.B) {
	args, err := record.Marshal(greeting{1, "a"})
	if err != nil {
		b.Fatal(err)
	}
	data := bin.Append(nil, broker.Event{Name: "hello", Args: slices.Collect(args.Elements())}.Value())
	var h events.Handlers
	events.On(&h, "hello", func(events.Event[greeting]) {})
	b.Run("payload", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if handled, err := h.Payload(broker.Peer{}, "", data); !handled || err != nil {
				b.Fatal(handled, err)
			}
		}
	})
	b.Run("received", func(b *testing.B) {
		b.ReportAllocs()
		var d bin.Decoder
		for b.Loop() {
			v, err := d.Decode(data)
			if err != nil {
				b.Fatal(err)
			}
			if handled, err := h.Received(broker.Received{Message: broker.Message{Value: v}}); !handled || err != nil {
				b.Fatal(handled, err)
			}
		}
	})
}
