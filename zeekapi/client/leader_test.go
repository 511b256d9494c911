package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

// cabinet is a set of controllers, of which one leads.
type cabinet struct {
	t       *testing.T
	members map[string]*fake.Controller

	mu     sync.Mutex
	leader string // "" if none leads
	asked  []string
}

// newCabinet starts controllers. The leader answers every request with its own name.
func newCabinet(t *testing.T, names ...string) *cabinet {
	c := &cabinet{t: t, members: make(map[string]*fake.Controller)}
	for _, name := range names {
		ctl, err := fake.NewController(t.Context(), fake.Config{ScriptOnly: true, Dialects: []*zeekapi.Dialect{dialect}})
		if err != nil {
			t.Fatal(err)
		}
		ctl.HandleRest(func(context.Context, zeekapi.Message) ([]zeekapi.Result, error) { return c.serve(name), nil })
		c.members[name] = ctl
		t.Cleanup(func() { ctl.Close() })
	}
	return c
}

func (c *cabinet) serve(name string) []zeekapi.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, name)
	if name == c.leader {
		return []zeekapi.Result{{Success: true, Data: data(c.t, []zeekapi.Instance{{Name: name}})}}
	}
	r := zeekapi.Failure("", "this controller stands by")
	r.Data = data(c.t, zeekapi.NotLeader{Leader: zeekapi.ControllerMember{Name: c.leader}})
	return []zeekapi.Result{r}
}

func (c *cabinet) elect(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = name
}

// client returns a client of a controller that goes where refusals say, or else to the
// next controller.
func (c *cabinet) client(at string) *client.Client {
	x := client.New(c.members[at].Bus(), dialect)
	c.t.Cleanup(func() { x.Close() })
	names := []string{"a", "b", "c"}
	x.FollowLeader(func(_ context.Context, refusal zeekapi.NotLeader) (broker.Bus, error) {
		if at = refusal.Leader.Name; at == "" {
			at = names[(slices.Index(names, at)+1)%len(names)]
		}
		return c.members[at].Bus(), nil
	})
	return x
}

func leaderOf(ctx context.Context, x *client.Client) string {
	instances, err := x.GetInstances(ctx)
	if err != nil {
		return err.Error()
	}
	return instances[0].Name
}

// A request that is refused by a controller that stands by is made of the leader, and so
// are further requests.
func TestFollowLeader(t *testing.T) {
	c := newCabinet(t, "a", "b", "c")
	c.elect("b")
	x := c.client("a")
	moves := 0
	x.OnRedirect(func() { moves++ })
	for range 2 {
		if got := leaderOf(t.Context(), x); got != "b" {
			t.Errorf("response of %q", got)
		}
	}
	c.elect("c")
	if got := leaderOf(t.Context(), x); got != "c" {
		t.Errorf("response of %q", got)
	}
	if want := []string{"a", "b", "b", "b", "c"}; !slices.Equal(c.asked, want) || moves != 2 {
		t.Errorf("asked %q, want %q; %d moves", c.asked, want, moves)
	}
}

// A call waits for the end of an election.
func TestFollowLeaderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCabinet(t, "a", "b", "c")
		x := c.client("a")
		time.AfterFunc(5*time.Second, func() { c.elect("c") })
		if got := leaderOf(t.Context(), x); got != "c" {
			t.Errorf("response of %q", got)
		}
		if n := len(c.asked); n > 12 {
			t.Errorf("%d requests in 5 s", n)
		}
	})
}

// If no controller leads until the end of the context, the refusal is the response.
func TestFollowLeaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCabinet(t, "a", "b", "c")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := c.client("a").GetInstances(ctx)
		if !errors.As(err, new(*client.RefusedError)) {
			t.Errorf("error %v", err)
		}
	})
}

// A connection that cannot be made is tried again, unless that makes no sense.
func TestFollowLeaderTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCabinet(t, "a", "b")
		c.elect("b")
		tries := 0
		failure := errors.New("connection refused")
		x := client.New(c.members["a"].Bus(), dialect)
		defer x.Close()
		x.FollowLeader(func(context.Context, zeekapi.NotLeader) (broker.Bus, error) {
			if tries++; tries < 4 || errors.Is(failure, client.ErrNoRedirect) {
				return nil, failure
			}
			return c.members["b"].Bus(), nil
		})
		if got := leaderOf(t.Context(), x); got != "b" || tries != 4 {
			t.Errorf("response of %q after %d tries", got, tries)
		}
		c.elect("a")
		tries, failure = 0, fmt.Errorf("%w: there is no certificate", client.ErrNoRedirect)
		if _, err := x.GetInstances(t.Context()); !errors.As(err, new(*client.RefusedError)) || tries != 1 {
			t.Errorf("error %v after %d tries", err, tries)
		}
	})
}

// Calls at the same time move once. One that waits at the former controller is answered.
func TestFollowLeaderConcurrently(t *testing.T) {
	c := newCabinet(t, "a", "b")
	c.elect("b")
	x := c.client("a")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got := leaderOf(t.Context(), x); got != "b" {
				t.Errorf("response of %q", got)
			}
		})
	}
	wg.Wait()
}
