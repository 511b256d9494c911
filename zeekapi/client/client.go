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
	"sync"
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
	link     atomic.Pointer[link]
	onStored atomic.Pointer[func(zeekapi.StoredAnswer)]
	onEvent  atomic.Pointer[func(zeekapi.ClusterEvent)]

	redirect   Redirect // nil: refusals are not followed
	onRedirect atomic.Pointer[func()]
	moving     sync.Mutex // held while link is replaced
	former     *link      // the one before, nil if there was none
	closed     bool
}

// New returns a client that makes requests over bus, each in the first dialect that
// has it. The bus must subscribe to the controller topics of the dialects, and to
// their event topics for OnEvent; a call whose response the bus is known not to
// receive fails at once, with a *broker.NotSubscribedError. The client takes
// ownership of the bus; the caller must Close the client instead.
func New(bus broker.Bus, dialects ...*zeekapi.Dialect) *Client {
	c := &Client{dialects: dialects}
	c.link.Store(c.newLink(bus))
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

// OnStoredAnswer makes f receive the announcements of responses from stored states. f must not
// block or make calls. It replaces the function of an earlier call.
func (c *Client) OnStoredAnswer(f func(zeekapi.StoredAnswer)) { c.onStored.Store(&f) }

// Stats returns the counts of the present connection so far.
func (c *Client) Stats() request.Stats { return c.link.Load().Stats() }

// Complain reports an error of the server about a request that it could not
// understand, as WebSocket servers send (websocket.ClientConfig.OnError). Such an
// error does not name the request. When there were as many errors as calls are
// pending, these end with their last error: a single call ends at once. Until then,
// those that get no response mention err in their error.
func (c *Client) Complain(err error) { c.link.Load().Complain(err) }

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
	message, err := c.do(ctx, call.Request, q)
	if err != nil {
		var none A
		return none, err
	}
	return message.(A), nil
}

// Results makes a request whose kind is not known in advance, and returns the results of
// the response. Its errors are those of Do.
func (c *Client) Results(ctx context.Context, q zeekapi.Message) ([]zeekapi.Result, error) {
	r := zeekapi.ClientRequest(q)
	if r == nil {
		return nil, fmt.Errorf("client: %T is not a request of clients", q)
	}
	message, err := c.do(ctx, r, q)
	if err != nil {
		return nil, err
	}
	_, results := zeekapi.ResponseOf(message)
	return results, nil
}

// do makes a request, at another controller if the first one stands by.
func (c *Client) do(ctx context.Context, r *zeekapi.Request, q zeekapi.Message) (zeekapi.Message, error) {
	var pause time.Duration
	for {
		at := c.link.Load()
		response, err := c.exchange(ctx, at, r, q)
		if err != nil || !c.redirected(ctx, at, response, &pause) {
			return response, err
		}
	}
}

// exchange makes a request over a link.
func (c *Client) exchange(ctx context.Context, at *link, r *zeekapi.Request, q zeekapi.Message) (zeekapi.Message, error) {
	id := at.NewID()
	q = r.WithID(q, id)
	dialect, err := c.dialectOf(q)
	if err != nil {
		return nil, err
	}
	ev, err := dialect.Encode(q)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	message, err := at.Do(ctx, id, dialect.Topics.Controller, dialect.Topics.Controller, ev, func(m zeekapi.Message) bool {
		stored, ok := m.(zeekapi.StoredAnswer)
		if f := c.onStored.Load(); ok && f != nil {
			(*f)(stored)
		}
		return r.RespondedBy(m)
	})
	if err != nil {
		return nil, &request.NoResponseError{Event: ev.Name, Err: err}
	}
	if _, results := zeekapi.ResponseOf(message); len(results) > MaxResults {
		return nil, fmt.Errorf("client: the response to %s has %d results, the limit is %d", ev.Name, len(results), MaxResults)
	}
	return message, nil
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
	return NewDeployResult(all)
}
