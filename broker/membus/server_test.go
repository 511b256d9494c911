package membus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
)

// TestServer checks that clients are peers of the server only, each with its identity, and
// that the server reaches one or all of them.
func TestServer(t *testing.T) {
	s := membus.NewServer("to/server")
	defer s.Close()
	alice, err := s.Connect(broker.Peer{Name: "alice", Identity: &broker.Identity{Names: []string{"alice"}}}, "to/clients")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := s.Connect(broker.Peer{Name: "bob"}, "to/clients")
	if err != nil {
		t.Fatal(err)
	}
	first, second := next[broker.PeerAdded](t, s).Peer, next[broker.PeerAdded](t, s).Peer
	if first.Identity.Name() != "alice" || second.Name != "bob" || first.ID == second.ID {
		t.Errorf("the peers are %+v and %+v", first, second)
	}
	for _, c := range []*membus.Client{alice, bob} {
		next[broker.PeerAdded](t, c)
		for _, topic := range []string{"to/server", "to/clients"} { // the server does not subscribe to the second
			if err := c.Publish(t.Context(), topic, broker.String("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, want := range []broker.Peer{first, second} {
		if got := next[broker.Received](t, s); got.Peer.ID != want.ID || got.Message.Topic != "to/server" {
			t.Errorf("received %+v from %+v", got.Message, got.Peer)
		}
	}
	if known, err := s.PublishTo(t.Context(), second.ID, "to/clients", broker.String("for bob")); !known || err != nil {
		t.Errorf("PublishTo: %v, %v", known, err)
	}
	if err := s.Publish(t.Context(), "to/clients", broker.String("for all")); err != nil {
		t.Fatal(err)
	}
	for c, texts := range map[*membus.Client][]string{alice: {"for all"}, bob: {"for bob", "for all"}} {
		for _, want := range texts {
			if got, _ := next[broker.Received](t, c).Message.Value.Text(); got != want {
				t.Errorf("received %q, want %q", got, want)
			}
		}
	}
	alice.Close()
	if got := next[broker.PeerLost](t, s); got.Peer.ID != first.ID || !errors.Is(got.Err, broker.ErrClosed) {
		t.Errorf("after Close: %+v", got)
	}
	if known, err := s.PublishTo(t.Context(), first.ID, "to/clients", broker.None()); known || err != nil {
		t.Errorf("PublishTo a lost client: %v, %v", known, err)
	}
	if err := alice.Publish(t.Context(), "to/server", broker.None()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
	if s.Clients() != 1 {
		t.Errorf("%d clients, want 1", s.Clients())
	}
}

// TestServerDropsSlowClient checks that a client that does not keep up loses its peering,
// and does not block others.
func TestServerDropsSlowClient(t *testing.T) {
	s := membus.NewServer()
	defer s.Close()
	slow, err := s.Connect(broker.Peer{}, "t")
	if err != nil {
		t.Fatal(err)
	}
	for range membus.ClientBacklog + 1 {
		if err := s.Publish(t.Context(), "t", broker.None()); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-slow.Done():
	case <-time.After(time.Minute):
		t.Fatal("the slow client is still connected")
	}
	next[broker.PeerAdded](t, s)
	if got := next[broker.PeerLost](t, s); !errors.Is(got.Err, broker.ErrOverflow) {
		t.Errorf("the peering ended with %v", got.Err)
	}
}

// TestServerCloses checks that Close ends a blocked Publish, and refuses new clients.
func TestServerCloses(t *testing.T) {
	s := membus.NewServer("t")
	c, err := s.Connect(broker.Peer{})
	if err != nil {
		t.Fatal(err)
	}
	blocked := make(chan error, 1)
	go func() {
		for {
			if err := c.Publish(context.Background(), "t", broker.None()); err != nil {
				blocked <- err
				return
			}
		}
	}()
	time.Sleep(10 * time.Millisecond)
	s.Close()
	if err := <-blocked; !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Publish: %v", err)
	}
	if _, err := s.Connect(broker.Peer{}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Connect after Close: %v", err)
	}
}
