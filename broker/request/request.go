// Package request makes and serves requests over any broker.Bus, native,
// WebSocket or in memory, in the way that Zeek's own APIs do: a request is an
// event whose first argument is an ID, and its response is another event with
// the same ID.
//
// What both sides have to agree on is a Pair. Call makes a request through a
// Requester; Handle adds a handler to a Server. On the Zeek side either is a
// script:
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

// Pair declares a request and its response. Q and A are structs whose fields
// are the arguments of the two events after the ID, as in record.Marshal.
type Pair[Q, A any] struct {
	Request, Response string // qualified names of the events
	Topic             string // of requests

	// ReplyTopic is the topic of responses, which who asks must subscribe to;
	// "" stands for Topic.
	ReplyTopic string
}

func (p Pair[Q, A]) replyTopic() string {
	if p.ReplyTopic == "" {
		return p.Topic
	}
	return p.ReplyTopic
}

// ErrDisconnected is wrapped by errors of calls whose response cannot come any
// more, because the last peer is gone or the bus is closed.
var ErrDisconnected = errors.New("disconnected")

// NoResponseError says that a call ended without a response that makes sense.
type NoResponseError struct {
	Event string // the request
	Err   error  // why: of the context, ErrDisconnected, what is wrong with the response
}

// Error implements the error interface.
func (e *NoResponseError) Error() string {
	return fmt.Sprintf("request: no response to %s: %v", e.Event, e.Err)
}

// Unwrap returns the reason.
func (e *NoResponseError) Unwrap() error { return e.Err }

// Requester makes requests. All methods may be called from any goroutine, and
// several calls may be under way at once.
type Requester struct {
	exchange *Exchanger[broker.Event]
}

// NewRequester returns a Requester on a bus that receives the topics of the
// responses. The bus now belongs to it, and its owner must Close it.
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

// Close ends all calls, closes the bus and waits for the Requester's goroutine.
func (r *Requester) Close() error { return r.exchange.Close() }

// Stats returns the counts so far.
func (r *Requester) Stats() Stats { return r.exchange.Stats() }

// Complain is for transports over which the other side reports errors about
// what it was sent (websocket.ClientConfig.OnError). As those name no request,
// err ends the call that is under way if there is just one. If there are
// several, those that get no response will mention it.
func (r *Requester) Complain(err error) { r.exchange.Complain(err) }

// Call publishes a request and waits for its response. As nobody might answer,
// ctx should have a deadline. Responses that come late, twice, or to others are
// ignored. If the call ends without a response, the error is a
// *NoResponseError.
func Call[Q, A any](ctx context.Context, r *Requester, p Pair[Q, A], q Q) (A, error) {
	var a A
	id := r.exchange.NewID()
	ev, err := encode(p.Request, id, q)
	if err != nil {
		return a, err
	}
	response, err := r.exchange.Do(ctx, id, p.Topic, ev, func(ev broker.Event) bool { return ev.Name == p.Response })
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

// encode returns the event with an ID and the fields of v for arguments.
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

// decode stores the arguments after the ID in the fields of what into points
// to.
func decode(ev broker.Event, into any) error {
	if err := record.Unmarshal(broker.Vector(ev.Args[1:]...), into); err != nil {
		return fmt.Errorf("event %s: %w", ev.Name, err)
	}
	return nil
}
