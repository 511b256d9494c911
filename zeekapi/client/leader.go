package client

import (
	"context"
	"errors"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Redirect connects to the controller that leads, or to another one that may know. The
// refusal is that of the present controller, and says who leads. The bus needs the
// subscriptions of the bus of New.
type Redirect func(ctx context.Context, refusal zeekapi.NotLeader) (broker.Bus, error)

// The pauses before a request is made again at the next controller. The first redirect
// has none: the present controller knows the leader.
const (
	redirectPause    = 100 * time.Millisecond
	maxRedirectPause = 2 * time.Second
)

// FollowLeader makes c follow the leader of several controllers: a request that is
// refused because the controller stands by is made again at the controller to which f
// connects, until one accepts it or the context of the call ends. The refused request had
// no effect. Further requests are made of the last controller. If f returns an error, it
// is called again after a pause; with ErrNoRedirect, the refusal is the response. FollowLeader must be called before any request is made.
func (c *Client) FollowLeader(f Redirect) { c.redirect = f }

// OnRedirect makes f receive every further connection of FollowLeader. f must not block
// or make calls. It replaces the function of an earlier call.
func (c *Client) OnRedirect(f func()) { c.onRedirect.Store(&f) }

// link is the connection of a client. Its exchange is closed when the next but one
// replaces it, because calls may still wait for responses.
type link struct {
	*request.Exchanger[zeekapi.Message]
	extended bool // the controller is known to speak the dialect of package operations
}

func (c *Client) newLink(bus broker.Bus) *link {
	e, ok := bus.(extended)
	return &link{request.NewExchanger(bus, c.decode), ok && e.SpeaksOperations()}
}

// extended is a bus that may know the dialects of its controller.
type extended interface {
	// SpeaksOperations reports whether the controller is known to speak the dialect of
	// package operations.
	SpeaksOperations() bool
}

// ErrNoRedirect is wrapped by errors of a Redirect that cannot be expected to succeed
// later.
var ErrNoRedirect = errors.New("client: cannot follow the leader")

// errClosed means that the client is closed.
var errClosed = errors.New("client: closed")

// redirected reports whether a response is the refusal of a controller that stands by,
// and the request is to be made again. It has then waited for that.
func (c *Client) redirected(ctx context.Context, from *link, response zeekapi.Message, pause *time.Duration) bool {
	if c.redirect == nil {
		return false
	}
	_, results := zeekapi.ResponseOf(response)
	refusal, ok := zeekapi.NotLeaderOf(results)
	if !ok {
		return false
	}
	select {
	case <-time.After(*pause):
	case <-ctx.Done():
		return false
	}
	*pause = min(max(2*(*pause), redirectPause), maxRedirectPause)
	err := c.move(ctx, from, refusal)
	return ctx.Err() == nil && !errors.Is(err, errClosed) && !errors.Is(err, ErrNoRedirect)
}

// move replaces a link, unless another call has done so.
func (c *Client) move(ctx context.Context, from *link, refusal zeekapi.NotLeader) error {
	c.moving.Lock()
	defer c.moving.Unlock()
	switch {
	case c.closed:
		return errClosed
	case c.link.Load() != from:
		return nil
	}
	if c.redirect == nil {
		return ErrNoRedirect
	}
	bus, err := c.redirect(ctx, refusal)
	if err != nil {
		return err
	}
	if c.former != nil {
		_ = c.former.Close() // its controller stands by
	}
	c.former = from
	c.link.Store(c.newLink(bus))
	if f := c.onRedirect.Load(); f != nil {
		(*f)()
	}
	return nil
}

// Close ends all pending calls and closes the bus.
func (c *Client) Close() error {
	c.moving.Lock()
	defer c.moving.Unlock()
	c.closed = true
	if c.former != nil {
		_ = c.former.Close() // the error of the present bus counts
	}
	return c.link.Load().Close()
}

// Controllers returns the controllers that share their state.
func (c *Client) Controllers(ctx context.Context) (zeekapi.Controllers, error) {
	return data[zeekapi.Controllers](ctx, c, zeekapi.ControllersCall, zeekapi.ControllersRequest{})
}

// SeekLeader makes c connect to the leader, as FollowLeader does, if the present
// controller stands by. It returns the controllers as the last one of them knows them.
// The present controller must know the request, see Probe.
func (c *Client) SeekLeader(ctx context.Context) (zeekapi.Controllers, error) {
	for range maxSeeks {
		at := c.link.Load()
		all, err := c.Controllers(ctx)
		if err != nil || all.Leads {
			return all, err
		}
		leader, _ := all.Leader()
		if err := c.move(ctx, at, zeekapi.NotLeader{Leader: leader, Term: all.Term}); err != nil {
			return all, err
		}
	}
	return c.Controllers(ctx)
}

// maxSeeks is the number of controllers that SeekLeader asks. There may be an election
// between the first and the second one.
const maxSeeks = 3
