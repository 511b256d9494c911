package membus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func next[N broker.Notification](t *testing.T, b broker.Bus) N {
	t.Helper()
	n, err := b.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, ok := n.(N)
	if !ok {
		t.Fatalf("got %T, want %T", n, got)
	}
	return got
}

func TestEndpointsArePeers(t *testing.T) {
	hub := membus.New()
	a := hub.Endpoint("a/")
	b := hub.Endpoint("b/")
	defer a.Close()

	if got := next[broker.PeerAdded](t, a).Peer; got.ID != b.ID() || got.Dialed {
		t.Errorf("the first endpoint's peer is %+v", got)
	}
	if got := next[broker.PeerAdded](t, b).Peer; got.ID != a.ID() || !got.Dialed {
		t.Errorf("the second endpoint's peer is %+v", got)
	}

	for _, topic := range []string{"b/1", "c/1", "a/1", "b/2"} {
		if err := a.Publish(t.Context(), topic, broker.String(topic)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"b/1", "b/2"} {
		if got := next[broker.Received](t, b); got.Message.Topic != want || got.Peer.ID != a.ID() {
			t.Errorf("got %+v, want topic %s", got, want)
		}
	}

	b.Close()
	if got := next[broker.PeerLost](t, a); got.Peer.ID != b.ID() || got.Err == nil {
		t.Errorf("after Close: %+v", got)
	}
	if err := b.Publish(t.Context(), "a/1", broker.None()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
	if _, err := b.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}

func TestNextReturnsQueuedMessagesAfterClose(t *testing.T) {
	hub := membus.New()
	a := hub.Endpoint()
	b := hub.Endpoint("")
	defer a.Close()
	if err := a.Publish(t.Context(), "x", broker.None()); err != nil {
		t.Fatal(err)
	}
	b.Close()
	next[broker.PeerAdded](t, b)
	next[broker.Received](t, b)
	if _, err := b.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestPublishWaitsForRoom(t *testing.T) {
	hub := membus.New()
	a := hub.Endpoint()
	b := hub.Endpoint("")
	defer b.Close()
	next[broker.PeerAdded](t, b)
	for i := range membus.Backlog {
		if err := a.Publish(t.Context(), "x", broker.Count(uint64(i))); err != nil {
			t.Fatal(err)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Publish(ctx, "x", broker.None()); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish to a full endpoint: %v, want context canceled", err)
	}

	published := make(chan error)
	go func() { published <- a.Publish(t.Context(), "x", broker.None()) }()
	next[broker.Received](t, b)
	if err := <-published; err != nil {
		t.Errorf("Publish after there was room: %v", err)
	}

	go func() {
		for { // b has taken all messages, so there is room again
			if err := a.Publish(t.Context(), "x", broker.None()); err != nil {
				published <- err
				return
			}
		}
	}()
	a.Close()
	if err := <-published; !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Publish while closing: %v", err)
	}
}

// A call of Publish that waits does not delay another call whose context ends.
func TestPublishEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.New()
		a := hub.Endpoint()
		b := hub.Endpoint("")
		defer b.Close()
		published := make(chan error)
		go func() {
			for range membus.Backlog {
				a.Publish(t.Context(), "x", broker.None())
			}
			published <- a.Publish(t.Context(), "x", broker.None())
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Publish(ctx, "x", broker.None()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish: %v, want context deadline exceeded", err)
		}
		a.Close()
		if err := <-published; !errors.Is(err, broker.ErrClosed) {
			t.Errorf("Publish while closing: %v", err)
		}
	})
}

// No notification about a peer may follow its PeerLost.
func TestPeerLostIsLastNotification(t *testing.T) {
	for i := range 100 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			hub := membus.New()
			a := hub.Endpoint()
			b := hub.Endpoint("")
			defer b.Close()
			next[broker.PeerAdded](t, b)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for a.Publish(context.Background(), "x", broker.None()) == nil {
				}
			}()
			next[broker.Received](t, b)
			go a.Close()
			for {
				n, err := b.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, lost := n.(broker.PeerLost); lost {
					break
				}
			}
			<-done
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if n, err := b.Next(ctx); err == nil {
				t.Errorf("%T after PeerLost", n)
			}
		})
	}
}
