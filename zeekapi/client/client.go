// Package client makes requests of a cluster controller: typed calls over any
// broker.Bus, native or WebSocket, in any dialect.
//
// A call publishes a request and waits for the response with its ID. As
// controllers answer on the topic that all clients share, and Zeek's
// controllers say nothing to requests that they do not understand, every call
// needs a context with a deadline; DefaultTimeout suits Zeek.
package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// DefaultTimeout is the time that zeek-client waits for a response. Zeek's
// controller reports a timeout of its agents after 10 to 12 seconds.
const DefaultTimeout = 20 * time.Second

// MaxResults limits the results of one response. A call whose response has more
// returns an error.
const MaxResults = 100_000

// Client makes requests of one controller, created by New. Its methods may be
// called concurrently.
type Client struct {
	dialects []*zeekapi.Dialect
	exchange *request.Exchanger[zeekapi.Message]
	onEvent  atomic.Pointer[func(zeekapi.ClusterEvent)]
}

// New returns a client that makes requests over bus, each in the first dialect that
// has it. The bus must subscribe to the controller topics of the dialects, and to
// their event topics for OnEvent; a call whose response the bus is known not to
// receive fails at once, with a *broker.NotSubscribedError. The client takes
// ownership of the bus; the caller must Close the client instead.
func New(bus broker.Bus, dialects ...*zeekapi.Dialect) *Client {
	c := &Client{dialects: dialects}
	c.exchange = request.NewExchanger(bus, c.decode)
	return c
}

// OnEvent makes f receive every further event of the controller, one at a time and
// in order. f must not block or make calls. It replaces the function of an earlier
// call.
func (c *Client) OnEvent(f func(zeekapi.ClusterEvent)) { c.onEvent.Store(&f) }

// Has reports whether one of the dialects has the message. A call whose request
// none of them has returns an error that wraps zeekapi.ErrUnknown.
func (c *Client) Has(m zeekapi.Message) bool {
	_, err := c.dialectOf(m)
	return err == nil
}

// Close ends all pending calls and closes the bus.
func (c *Client) Close() error { return c.exchange.Close() }

// Stats returns the counts so far.
func (c *Client) Stats() request.Stats { return c.exchange.Stats() }

// Complain reports an error of the server about a request that it could not
// understand, as WebSocket servers send (websocket.ClientConfig.OnError). Such an
// error does not name the request. When there were as many errors as calls are
// pending, these end with their last error: a single call ends at once. Until then,
// those that get no response mention err in their error.
func (c *Client) Complain(err error) { c.exchange.Complain(err) }

func (c *Client) decode(m broker.Message) (id string, message zeekapi.Message, err error) {
	for _, d := range c.dialects {
		if m.Topic != d.Topics.Controller && m.Topic != d.Topics.Events {
			continue
		}
		ev, err := broker.ParseEvent(m.Value)
		if err != nil {
			return "", nil, err
		}
		message, err := d.Decode(ev)
		switch {
		case errors.Is(err, zeekapi.ErrUnknown):
			continue // perhaps of another dialect on the same topic
		case err != nil:
			// The first argument is the request ID, also if the rest makes no sense.
			if len(ev.Args) > 0 {
				id, _ = ev.Args[0].Text()
			}
			return id, nil, err
		}
		if event, ok := message.(zeekapi.EventReport); ok {
			if f := c.onEvent.Load(); f != nil {
				(*f)(event.Event)
			}
		}
		return message.RequestID(), message, nil
	}
	return "", nil, request.ErrForeign
}

// dialectOf returns the dialect in which to make a request.
func (c *Client) dialectOf(m zeekapi.Message) (*zeekapi.Dialect, error) {
	for _, d := range c.dialects {
		if d.Has(m) {
			return d, nil
		}
	}
	return nil, fmt.Errorf("client: %T: %w", m, zeekapi.ErrUnknown)
}

// Do makes a request and returns the response, whose results may be failures. It
// returns an error if there is no dialect for the request, a
// *request.NoResponseError if there is no response, and an error if the response has
// more than MaxResults results. The methods of Client do
// the same and interpret the results.
func Do[Q, A zeekapi.Message](ctx context.Context, c *Client, call zeekapi.Call[Q, A], q Q) (A, error) {
	var none A
	id := c.exchange.NewID()
	q = call.WithID(q, id)
	dialect, err := c.dialectOf(q)
	if err != nil {
		return none, err
	}
	ev, err := dialect.Encode(q)
	if err != nil {
		return none, fmt.Errorf("client: %w", err)
	}
	message, err := c.exchange.Do(ctx, id, dialect.Topics.Controller, dialect.Topics.Controller, ev, func(m zeekapi.Message) bool {
		_, ok := m.(A)
		return ok
	})
	if err != nil {
		return none, &request.NoResponseError{Event: ev.Name, Err: err}
	}
	if _, results := zeekapi.ResponseOf(message); len(results) > MaxResults {
		return none, fmt.Errorf("client: the response to %s has %d results, the limit is %d", ev.Name, len(results), MaxResults)
	}
	return message.(A), nil
}

// results makes a request and returns the results of the response.
func results[Q, A zeekapi.Message](ctx context.Context, c *Client, call zeekapi.Call[Q, A], q Q) ([]zeekapi.Result, error) {
	response, err := Do(ctx, c, call, q)
	if err != nil {
		return nil, err
	}
	_, results := zeekapi.ResponseOf(response)
	return results, nil
}

// data makes a request and returns the data of the only result.
func data[T any, Q, A zeekapi.Message](ctx context.Context, c *Client, call zeekapi.Call[Q, A], q Q) (T, error) {
	var none T
	all, err := results(ctx, c, call, q)
	if err != nil {
		return none, err
	}
	if err := refusal(all); err != nil {
		return none, err
	}
	if len(all) != 1 {
		return none, fmt.Errorf("client: %s: want one result, got %d", call.Name, len(all))
	}
	return single[T](all[0])
}

// deploy makes a request whose results tell how a deployment went.
func deploy[Q, A zeekapi.Message](ctx context.Context, c *Client, call zeekapi.Call[Q, A], q Q) (DeployResult, error) {
	all, err := results(ctx, c, call, q)
	if err != nil {
		return DeployResult{}, err
	}
	return newDeployResult(all)
}
