package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
)

var compareValues = cmp.Comparer(broker.Equal)

func TestZeekMessagesRoundTrip(t *testing.T) {
	event := broker.NewEvent("M::e", broker.Count(1), broker.None())
	for _, m := range []broker.ZeekMessage{
		event,
		broker.Event{Name: "e", Args: []broker.Value{}, Metadata: []broker.Metadata{}},
		broker.Event{Name: "e", Args: []broker.Value{}, Metadata: []broker.Metadata{
			{Key: broker.MetadataNetworkTimestamp, Value: broker.TimestampNanos(1)}, {Key: 200, Value: broker.String("x")}}},
		broker.LogCreate{Stream: "Conn::LOG", Writer: "Log::WRITER_ASCII", WriterInfo: broker.Vector(), Fields: broker.Vector()},
		broker.LogWrite{Stream: "Conn::LOG", Writer: "Log::WRITER_ASCII", Path: "conn", Data: "\x00\x01"},
		broker.IdentifierUpdate{ID: "M::g", NewValue: broker.Count(1)},
		broker.Batch{event, broker.Batch{event}},
	} {
		got, err := broker.ParseZeekMessage(m.Value())
		if err != nil {
			t.Errorf("%#v: %v", m, err)
			continue
		}
		if diff := cmp.Diff(m, got, compareValues); diff != "" {
			t.Errorf("(-sent +parsed)\n%s", diff)
		}
	}
}

func TestParseZeekMessageErrors(t *testing.T) {
	vector, count, str := broker.Vector, broker.Count, broker.String
	event := func(content ...broker.Value) broker.Value { return vector(count(1), count(1), vector(content...)) }
	for _, tt := range []struct {
		name  string
		value broker.Value
		want  string
	}{
		{"not a vector", str("x"), "want a vector of 3 elements, got a string of length 1"},
		{"vector too short", vector(count(1), count(1)), "want a vector of 3 elements, got a vector of length 2"},
		{"unknown format number", vector(count(2), count(1), vector()), "format number is 2"},
		{"format number of another kind", vector(broker.Integer(1), count(1), vector()), "format number has kind integer, want count"},
		{"type of another kind", vector(count(1), str("1"), vector()), "type has kind string"},
		{"type 0", vector(count(1), count(0), vector()), "unknown type 0"},
		{"type 6", vector(count(1), count(6), vector()), "unknown type 6"},
		{"content not a vector", vector(count(1), count(1), str("e")), "content has kind string"},
		{"event without arguments", event(str("e")), "event is not [string, vector]"},
		{"event name of another kind", event(count(1), vector()), "event is not [string, vector]"},
		{"metadata not a vector", event(str("e"), vector(), broker.None()), "event e: metadata has kind none"},
		{"short metadata entry", event(str("e"), vector(), vector(count(1))), "element 0 is not [count, value]"},
		{"network timestamp of another kind", event(str("e"), vector(), vector(vector(count(1), count(1)))), "network timestamp has kind count"},
		{"empty log create", vector(count(1), count(2), vector()), "log create is not"},
		{"empty log write", vector(count(1), count(3), vector()), "log write is not"},
		{"short identifier update", vector(count(1), count(4), vector(str("x"))), "identifier update is not"},
		{"batch with a string", vector(count(1), count(5), vector(event(str("e"), vector()), str("x"))), "batch element 1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := broker.ParseZeekMessage(tt.value)
			if !errors.Is(err, broker.ErrInvalidMessage) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v and error %v, want %q", m, err, tt.want)
			}
		})
	}
	if _, err := broker.ParseEvent(broker.Batch{}.Value()); !errors.Is(err, broker.ErrInvalidMessage) {
		t.Errorf("ParseEvent accepts a batch: %v", err)
	}
}

// Errors are written to logs, so they must stay short even if the message is
// as large as a frame.
func TestErrorsAreShort(t *testing.T) {
	huge := broker.String(strings.Repeat("a", 1<<20))
	one := broker.Count(1)
	for _, v := range []broker.Value{
		huge,
		broker.Vector(huge, one, broker.Vector()),
		broker.Vector(one, huge, broker.Vector()),
		broker.Vector(one, one, broker.Vector(huge, huge)),
		broker.Vector(one, one, broker.Vector(huge, broker.Vector(), huge)),
		broker.Vector(one, one, broker.Vector(huge, broker.Vector(), broker.Vector(huge))),
		broker.Vector(one, one, broker.Vector(huge, broker.Vector(), broker.Vector(broker.Vector(one, huge)))),
	} {
		if _, err := broker.ParseZeekMessage(v); err == nil || len(err.Error()) > 200 {
			t.Errorf("the error is %.200v", err)
		}
	}
}

func TestNetworkTimestamp(t *testing.T) {
	now := time.Date(2023, 4, 18, 14, 13, 14, 0, time.UTC)
	e := broker.Event{Metadata: []broker.Metadata{{Key: broker.MetadataNetworkTimestamp, Value: broker.Timestamp(now)}}}
	if got, ok := e.NetworkTimestamp(); !ok || !got.Equal(now) {
		t.Errorf("got %v, %v", got, ok)
	}
	if _, ok := (broker.Event{}).NetworkTimestamp(); ok {
		t.Error("an event without metadata has a timestamp")
	}
}
