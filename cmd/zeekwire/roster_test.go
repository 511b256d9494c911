package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
)

// newPeers returns an endpoint with two peers that connected to it.
func newPeers(t *testing.T) (e *peering.Endpoint, peers []broker.Peer) {
	t.Helper()
	endpoint := func() *peering.Endpoint {
		e, err := peering.New(peering.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		return e
	}
	e = endpoint()
	at, err := e.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := endpoint().Connect(t.Context(), at.String()); err != nil {
			t.Fatal(err)
		}
		n, err := e.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, n.(broker.PeerAdded).Peer)
	}
	return e, peers
}

// lost waits for the end of a peering, and checks that its reason has a text.
func lost(t *testing.T, e *peering.Endpoint, p broker.Peer, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n, err := e.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := n.(broker.PeerLost); !ok || l.Peer.ID != p.ID || !strings.Contains(l.Err.Error(), why) {
		t.Errorf("got %+v, want the loss of %s because of %q", n, p.ID, why)
	}
}

// After a reload of allow-agents, agents that it no longer has are disconnected, and others
// are not.
func TestReloadedAgentNames(t *testing.T) {
	e, peers := newPeers(t)
	names := newAgentNames([]string{"*"})
	names.roster.use(e)
	for i, name := range []string{"sensor-1", "hq"} {
		if !names.permits(peers[i], name) {
			t.Errorf("%s is not accepted", name)
		}
	}
	names.change([]string{"hq", "sensor-2"})
	lost(t, e, peers[0], `allow-agents no longer has agent "sensor-1"`)
	if names.permits(peers[0], "sensor-1") || !names.permits(peers[1], "hq") || len(e.Peers()) != 1 {
		t.Error("the wrong agent was disconnected")
	}
	names.change([]string{"*"})
	if !names.permits(peers[1], "sensor-1") || len(e.Peers()) != 1 {
		t.Error("not all agents are accepted again")
	}
}

// After a reload of obey, controllers that it no longer has are disconnected. Peers that sent
// no requests, such as nodes, are not.
func TestReloadedObey(t *testing.T) {
	e, peers := newPeers(t)
	all, err := parseCallers("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	o := newObeyed(&agentSettings{callers: all})
	o.roster.use(e)
	if !o.accepts(peers[0]) {
		t.Error("the controller is not obeyed")
	}
	none, err := parseCallers("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	o.change(none)
	lost(t, e, peers[0], "obey no longer has the controller at 127.0.0.1")
	if o.accepts(peers[1]) || len(e.Peers()) != 1 {
		t.Error("a peer that is no controller was disconnected, or is obeyed")
	}
}

// A roster forgets peers that have gone.
func TestRosterForgets(t *testing.T) {
	e, peers := newPeers(t)
	names := newAgentNames(nil)
	names.roster.use(e)
	names.permits(peers[0], "here")
	for range 10_000 {
		names.permits(broker.Peer{ID: uuid.New(), Addr: netip.MustParseAddrPort("192.0.2.1:1")}, "gone")
	}
	if n := len(names.roster.accepted); n > 2*leastRoster {
		t.Errorf("%d peers are remembered", n)
	}
	if _, ok := names.roster.accepted[peers[0].ID]; !ok {
		t.Error("a connected peer was forgotten")
	}
}
