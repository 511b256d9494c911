// Package request implements requests and responses over any broker.Bus, in the
// same way as Zeek's own APIs: a request is an event whose first argument is an
// ID, and its response is another event with the same ID.
//
// A Pair declares a request and its response for both sides. Call makes a request
// through a Requester; Handle adds a handler to a Server. Either side may be a
// Zeek script:
//
//	event Square::request(id: string, n: count)
//		{
//		Broker::publish("/square", Square::response, id, n * n);
//		}
package request

import (
	"context"
	"errors"
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
)

// Pair declares a request and its response. Q and A are structs. Their fields are
// the arguments of the two events after the ID, converted by package record.
type Pair[Q, A any] struct {
	Request, Response string // qualified names of the events
	Topic             string // topic of requests

	// ReplyTopic is the topic of responses, to which the bus of the Requester
	// must subscribe. If empty, responses use Topic.
	ReplyTopic string
}

func (p Pair[Q, A]) replyTopic() string {
	if p.ReplyTopic == "" {
		return p.Topic
	}
	return p.ReplyTopic
}

// ErrDisconnected is wrapped by the errors of calls that cannot get a response
// any more, because the last peer was lost or the bus was closed.
var ErrDisconnected = errors.New("disconnected")

// NoResponseError means that a call ended without a valid response. Err is or
// wraps the error of the context, ErrDisconnected, a *broker.NotSubscribedError,
// an error of the bus, or the error of decoding the response.
type NoResponseError struct {
	Event string // name of the request
	Err   error
}

// Error implements the error interface.
func (e *NoResponseError) Error() string {
	return fmt.Sprintf("request: no response to %s: %v", e.Event, e.Err)
}

// Unwrap returns e.Err.
func (e *NoResponseError) Unwrap() error { return e.Err }

// Requester makes requests. Its methods, and Call, may be called concurrently.
type Requester struct {
	exchange *Exchanger[broker.Event]
}

// NewRequester returns a Requester that reads responses from bus, which must
// subscribe to their topics. It takes ownership of the bus; the caller must Close
// the Requester instead.
func NewRequester(bus broker.Bus) *Requester {
	return &Requester{NewExchanger(bus, func(m broker.Message) (string, broker.Event, error) {
		ev, err := broker.ParseEvent(m.Value)
		if err != nil {
			return "", ev, err
		}
		id, ok := requestID(ev)
		if !ok {
			return "", ev, ErrForeign
		}
		return id, ev, nil
	})}
}

// Close ends all pending calls and closes the bus.
func (r *Requester) Close() error { return r.exchange.Close() }

// Stats returns the counts so far.
func (r *Requester) Stats() Stats { return r.exchange.Stats() }

// Complain reports an error of the other side about a request that it could not
// understand, as WebSocket servers send (websocket.ClientConfig.OnError). Such an
// error does not name the request. When there were as many errors as calls are
// pending, these end with their last error: a single call ends at once. Until then,
// those that get no response mention err in their error.
func (r *Requester) Complain(err error) { r.exchange.Complain(err) }

// Call publishes a request and waits for its response. ctx should have a
// deadline, because there may be no peer that answers. Late and repeated
// responses, and those to other programs, are ignored. If there is no valid
// response, the error is a *NoResponseError. Call fails at once if the bus is
// known not to subscribe to the topic of the response.
func Call[Q, A any](ctx context.Context, r *Requester, p Pair[Q, A], q Q) (A, error) {
	var a A
	id := r.exchange.NewID()
	ev, err := encode(p.Request, id, q)
	if err != nil {
		return a, err
	}
	response, err := r.exchange.Do(ctx, id, p.Topic, p.replyTopic(), ev, func(ev broker.Event) bool { return ev.Name == p.Response })
	if err == nil {
		err = decode(response, &a)
	}
	if err != nil {
		return a, &NoResponseError{p.Request, err}
	}
	return a, nil
}

// requestID returns the first argument of an event.
func requestID(ev broker.Event) (id string, ok bool) {
	if len(ev.Args) == 0 {
		return "", false
	}
	return ev.Args[0].Text()
}

// encode returns the event with arguments id and the fields of v.
func encode(name, id string, v any) (broker.Event, error) {
	fields, err := record.Marshal(v)
	if err != nil {
		return broker.Event{}, fmt.Errorf("request: event %s: %w", name, err)
	}
	if fields.Kind() != broker.KindVector {
		return broker.Event{}, fmt.Errorf("request: event %s: arguments must be a struct, not %T", name, v)
	}
	args := make([]broker.Value, 0, 1+fields.Len())
	args = append(args, broker.String(id))
	for f := range fields.Elements() {
		args = append(args, f)
	}
	return broker.NewEvent(name, args...), nil
}

// decode stores the arguments after the ID in the fields of the struct that into
// points to.
func decode(ev broker.Event, into any) error {
	if err := record.Unmarshal(broker.Vector(ev.Args[1:]...), into); err != nil {
		return fmt.Errorf("event %s: %w", ev.Name, err)
	}
	return nil
}
