// Package events calls functions with the arguments of events, as Go structs.
//
// Handlers are for programs that receive many events of known types. A native endpoint
// passes them the encoded events, with the Payload method as the Payload hook of
// peering.Config; this takes less than half of the time of decoding a broker.Value and
// unmarshalling that. With other buses, pass what Next returns to Received.
package events

import (
	"bytes"
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/record"
)

// Event is an event whose arguments are the fields of A.
type Event[A any] struct {
	Peer     broker.Peer // that sent it
	Topic    string
	Args     A
	Metadata []broker.Metadata // as in broker.Event
}

// Handlers has functions for the events of some names. The zero Handlers has none. Its
// methods may be called concurrently.
type Handlers struct {
	byName map[string]handler
}

type handler struct {
	binary func(peer broker.Peer, topic string, r *bin.Reader, metadata bool) error
	event  func(peer broker.Peer, topic string, ev broker.Event) error
}

// On registers f as the function for events with the given qualified name, such as
// "Conn::log_conn". The fields of the struct A are the arguments, with the tags of
// package record. On must be called before the methods of h, and panics if the name has
// a function already or if A is not a struct that package record supports. The function
// is called by the goroutine that calls Payload or Received, so it may be called
// concurrently.
func On[A any](h *Handlers, name string, f func(Event[A])) {
	if h.byName[name].event != nil {
		panic("events: two functions for " + name)
	}
	if typ := record.TypeOf[A](); typ.Kind != "record" {
		panic(fmt.Sprintf("events: arguments of %s are of type %s, want a struct", name, typ.Kind))
	}
	if h.byName == nil {
		h.byName = make(map[string]handler)
	}
	h.byName[name] = handler{
		binary: func(peer broker.Peer, topic string, r *bin.Reader, metadata bool) error {
			ev := Event[A]{Peer: peer, Topic: topic}
			if err := readEvent(r, &ev.Args, &ev.Metadata, metadata); err != nil {
				return fmt.Errorf("event %s: %w", name, err)
			}
			f(ev)
			return nil
		},
		event: func(peer broker.Peer, topic string, e broker.Event) error {
			ev := Event[A]{Peer: peer, Topic: topic, Metadata: e.Metadata}
			if err := record.Unmarshal(broker.Vector(e.Args...), &ev.Args); err != nil {
				return fmt.Errorf("event %s: %w", name, err)
			}
			f(ev)
			return nil
		},
	}
}

// readEvent reads what follows the name of an event.
func readEvent(r *bin.Reader, args any, metadata *[]broker.Metadata, present bool) error {
	if err := record.Read(r, args); err != nil {
		return err
	}
	if present {
		m, err := broker.ParseMetadata(r.Value())
		if r.Err() == nil && err != nil {
			return err
		}
		*metadata = m
	}
	return r.Close()
}

// Received calls the function for an event that a bus has received. The result handled is
// false if v is not an event, or one without a function. The error wraps that of package
// record if the arguments are not those of the function, which is then not called.
func (h *Handlers) Received(received broker.Received) (handled bool, err error) {
	ev, err := broker.ParseEvent(received.Message.Value)
	if err != nil {
		return false, nil // not an event
	}
	found, ok := h.byName[ev.Name]
	if !ok {
		return false, nil
	}
	return true, found.event(received.Peer, received.Message.Topic, ev)
}

// Payload calls the function for the event with the given encoding. Its results are those
// of Received. It does not keep payload.
func (h *Handlers) Payload(peer broker.Peer, topic string, payload []byte) (handled bool, err error) {
	name, metadata, ok := nameOf(payload)
	if !ok {
		return false, nil
	}
	found, ok := h.byName[string(name)]
	if !ok {
		return false, nil
	}
	r := bin.NewReader(payload)
	readName(r)
	return true, found.binary(peer, topic, r, metadata)
}

// prefix is the encoding of all events up to the number of their elements.
var prefix = func() []byte {
	b := bin.Append(nil, broker.NewEvent("").Value())
	return b[:bytes.IndexByte(b, byte(broker.KindString))-1]
}()

// nameOf returns the name of an encoded event, and whether it has metadata. The result ok
// is false for other messages, and for names of 128 bytes and more.
func nameOf(payload []byte) (name []byte, metadata, ok bool) {
	rest, ok := bytes.CutPrefix(payload, prefix)
	if !ok || len(rest) < 3 || rest[0] != 2 && rest[0] != 3 || broker.Kind(rest[1]) != broker.KindString {
		return nil, false, false
	}
	n := int(rest[2])
	if n >= 0x80 || n > len(rest)-3 {
		return nil, false, false
	}
	return rest[3 : 3+n], rest[0] == 3, true
}

// readName reads what nameOf has parsed.
func readName(r *bin.Reader) {
	r.Elements(broker.KindVector)
	r.Uint64(broker.KindCount)
	r.Uint64(broker.KindCount)
	r.Elements(broker.KindVector)
	r.ShortText(broker.KindString)
}
