package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/wire"
)

func TestPeering(t *testing.T) {
	for _, test := range []struct {
		name             string
		dialer, acceptor uuid.UUID
	}{
		{"dialer is originator", smallID, largeID},
		{"dialer is responder", largeID, smallID},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newEndpoint(t, Config{ID: test.dialer, Subscriptions: []string{"to-a"}})
			b := newEndpoint(t, Config{ID: test.acceptor, Subscriptions: []string{"to-b"}})
			address := listen(t, b)
			peer := dial(t, a, address)
			if peer.ID != b.ID() || !peer.Dialed || peer.Address != address || peer.Addr.String() != address {
				t.Errorf("a's peer is %+v", peer)
			}
			if got := next[broker.PeerAdded](t, a); got.Peer != peer {
				t.Errorf("a's notification is %+v", got)
			}
			added := next[broker.PeerAdded](t, b)
			if added.Peer.ID != a.ID() || added.Peer.Dialed || !added.Peer.Addr.IsValid() {
				t.Errorf("b's notification is %+v", added)
			}

			publish(t, a, "to-c", broker.String("no subscriber"))
			publish(t, a, "to-b/1", broker.Count(1))
			want := broker.Received{Peer: added.Peer, Message: broker.Message{Topic: "to-b/1", Value: broker.Count(1)}}
			if diff := cmp.Diff(want, next[broker.Received](t, b), equalValues); diff != "" {
				t.Errorf("b received (-want +got):\n%s", diff)
			}
			publish(t, b, "to-a", broker.String("back"))
			if got := next[broker.Received](t, a); got.Peer != peer || got.Message.Topic != "to-a" {
				t.Errorf("a received %+v", got)
			}

			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if lost := next[broker.PeerLost](t, a); !errors.Is(lost.Err, broker.ErrClosed) || lost.Peer != peer {
				t.Errorf("a lost %+v", lost)
			}
			if lost := next[broker.PeerLost](t, b); !errors.Is(lost.Err, ErrPeerBye) || lost.Peer != added.Peer {
				t.Errorf("b lost %+v", lost)
			}
			if _, err := a.Next(t.Context()); err != broker.ErrClosed {
				t.Errorf("after close: %v", err)
			}
		})
	}
}

var equalValues = cmp.Options{
	cmp.Comparer(broker.Equal),
	cmp.Comparer(func(a, b broker.Peer) bool { return a == b }),
}

func TestCallsAfterClose(t *testing.T) {
	e := newEndpoint(t, Config{})
	address := listen(t, e)
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	ctx := testContext(t)
	_, next := e.Next(ctx)
	_, listen := e.Listen(ctx, "127.0.0.1:0")
	_, await := e.AwaitPeer(ctx, address)
	for what, err := range map[string]error{
		"publish": e.Publish(ctx, "t", broker.None()), "send": e.Send(ctx, smallID, "t", broker.None()),
		"subscribe": e.Subscribe("t"), "dial": e.AddPeer(address), "next": next, "listen": listen, "await": await,
	} {
		if !errors.Is(err, broker.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBothSidesDial(t *testing.T) {
	for range 20 {
		a, b := newEndpoint(t, Config{ID: smallID}), newEndpoint(t, Config{ID: largeID})
		toA, toB := listen(t, a), listen(t, b)
		if err := errors.Join(a.AddPeer(toB), b.AddPeer(toA)); err != nil {
			t.Fatal(err)
		}
		ctx := testContext(t)
		peerOfA, errA := a.AwaitPeer(ctx, toB)
		peerOfB, errB := b.AwaitPeer(ctx, toA)
		if errA != nil || errB != nil || peerOfA.ID != b.ID() || peerOfB.ID != a.ID() || peerOfA.Dialed == peerOfB.Dialed {
			t.Fatalf("a has %+v, %v; b has %+v, %v", peerOfA, errA, peerOfB, errB)
		}
		next[broker.PeerAdded](t, a)
		next[broker.PeerAdded](t, b)
		// A second connection would be closed soon.
		if err := a.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		publish(t, a, "t", broker.None())
		if len(peered(a)) != 1 || len(peered(b)) != 1 {
			t.Fatalf("a has %d peers, b has %d", len(peered(a)), len(peered(b)))
		}
		a.Close()
		b.Close()
		next[broker.PeerLost](t, a)
		next[broker.PeerLost](t, b)
	}
}

func peered(e *Endpoint) []PeerInfo {
	var infos []PeerInfo
	for _, info := range e.Peers() {
		if info.State == Peered {
			infos = append(infos, info)
		}
	}
	return infos
}

func TestReconnectsAfterPeerRestart(t *testing.T) {
	a := newEndpoint(t, Config{})
	b := newEndpoint(t, Config{})
	address := unusedAddress(t)
	if _, err := b.Listen(testContext(t), address); err != nil {
		t.Fatal(err)
	}
	dial(t, a, address)
	next[broker.PeerAdded](t, a)
	next[broker.PeerAdded](t, b)
	b.Close()
	if lost := next[broker.PeerLost](t, a); !errors.Is(lost.Err, ErrPeerBye) {
		t.Errorf("lost with error %v", lost.Err)
	}
	again := newEndpoint(t, Config{})
	if _, err := again.Listen(testContext(t), address); err != nil {
		t.Fatal(err)
	}
	if added := next[broker.PeerAdded](t, a); added.Peer.ID != again.ID() {
		t.Errorf("added %s, want %s", added.Peer.ID, again.ID())
	}
}

func TestRemovePeer(t *testing.T) {
	a := newEndpoint(t, Config{})
	b := newEndpoint(t, Config{Subscriptions: []string{""}})
	address := listen(t, b)
	dial(t, a, address)
	publish(t, a, "last", broker.None())
	if err := a.RemovePeer(address); err != nil {
		t.Fatal(err)
	}
	next[broker.PeerAdded](t, a)
	if lost := next[broker.PeerLost](t, a); !errors.Is(lost.Err, ErrPeerRemoved) {
		t.Errorf("a lost b with error %v", lost.Err)
	}
	next[broker.PeerAdded](t, b)
	next[broker.Received](t, b)
	if lost := next[broker.PeerLost](t, b); !errors.Is(lost.Err, ErrPeerBye) {
		t.Errorf("b lost a with error %v", lost.Err)
	}
	if err := a.RemovePeer(address); !errors.Is(err, ErrUnknownAddress) {
		t.Errorf("removed twice: %v", err)
	}
	if len(a.Peers()) != 0 {
		t.Errorf("a has peers %+v", a.Peers())
	}
	// The address can be added again.
	dial(t, a, address)
}

func TestDialsUntilPeerListens(t *testing.T) {
	a, address := newEndpoint(t, Config{}), unusedAddress(t)
	if err := a.AddPeer(address); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := a.registry.await(testContext(t), func() bool { return a.Peers()[0].Err != nil })
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := a.AwaitPeer(ctx, address); !errors.Is(err, context.Canceled) || !errors.Is(err, a.Peers()[0].Err) {
		t.Errorf("awaiting: %v", err)
	}
	if got := a.Peers()[0]; got.State != Connecting || got.Peer.Address != address {
		t.Errorf("info is %+v", got)
	}
	again := newEndpoint(t, Config{})
	if _, err := again.Listen(testContext(t), address); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AwaitPeer(testContext(t), address); err != nil {
		t.Error(err)
	}
}

// An added address is peered, too, if its peer has connected to this endpoint.
func TestTargets(t *testing.T) {
	a, b := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	dial(t, b, listen(t, a)) // b connects to a
	address, unused := listen(t, b), unusedAddress(t)
	for _, to := range []string{address, unused} {
		if err := a.AddPeer(to); err != nil {
			t.Fatal(err)
		}
	}
	if peer, err := a.AwaitPeer(testContext(t), address); err != nil || peer.Dialed || peer.ID != b.ID() {
		t.Fatalf("peer is %+v, %v", peer, err)
	}
	if err := a.registry.await(testContext(t), func() bool { return a.Targets()[unused].Err != nil }); err != nil {
		t.Fatal(err)
	}
	targets := a.Targets()
	if got := targets[address]; len(targets) != 2 || got.State != Peered || got.Peer.ID != b.ID() {
		t.Errorf("targets are %+v", targets)
	}
	if got := targets[unused]; got.State != Connecting || got.Peer.Address != unused || !got.Peer.Dialed {
		t.Errorf("target without a listener is %+v", got)
	}
	if len(a.Peers()) != 2 { // b, and the address without a listener
		t.Errorf("peers are %+v", a.Peers())
	}
	b.Close()
	if err := a.registry.await(testContext(t), func() bool { return a.Targets()[address].State == Connecting }); err != nil {
		t.Error(err)
	}
}

// TestRetriesRedundantConnection dials a peer that has not yet noticed the loss
// of an earlier connection.
func TestRetriesRedundantConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := newEndpoint(t, Config{ID: smallID})
	address := l.Addr().String()
	if err := a.AddPeer(address); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, largeID, conn)
		p.frame() // HELLO
		p.write(frame(wire.DropConn{Sender: largeID, Code: wire.CodeRedundantConnection, Description: "redundant connection"}))
		p.closed()
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	newRawPeer(t, largeID, conn).handshake(false)
	next[broker.PeerAdded](t, a)
}

func TestSubscriptions(t *testing.T) {
	a := newEndpoint(t, Config{Subscriptions: []string{"b", "a/x", "a"}})
	p := connect(t, listen(t, a), largeID)
	if !p.filter.Equal(broker.Filter{"a", "b"}) {
		t.Errorf("initial filter is %q", p.filter)
	}
	for _, change := range []struct {
		do   func(...string) error
		arg  string
		want broker.Filter
	}{
		{a.Subscribe, "c", broker.Filter{"a", "b", "c"}},
		{a.Unsubscribe, "a", broker.Filter{"a/x", "b", "c"}},
		{a.Subscribe, "", broker.Filter{""}},
	} {
		if err := change.do(change.arg); err != nil {
			t.Fatal(err)
		}
		env := p.envelope()
		got, err := wire.DecodeFilter(env.Payload)
		if err != nil || env.Type != wire.TypeRoutingUpdate || env.Sender != a.ID() || env.Receiver != p.id || !got.Equal(change.want) {
			t.Errorf("after %q: %+v with filter %q, %v", change.arg, env, got, err)
		}
	}
	if err := a.Subscribe("b"); err != nil { // changes nothing
		t.Fatal(err)
	}
	p.sync()

	b := newEndpoint(t, Config{})
	if err := b.Subscribe(string(make([]byte, broker.MaxTopicLen+1))); !errors.Is(err, ErrTopic) {
		t.Errorf("long prefix: %v", err)
	}
}

func TestSubscribeDuringHandshake(t *testing.T) {
	a := newEndpoint(t, Config{ID: smallID})
	p := newRawPeer(t, largeID, dialRaw(t, listen(t, a)))
	p.write(wire.AppendFrame(nil, wire.Hello{Sender: largeID, MinVersion: 1, MaxVersion: 1}.Append(nil)))
	p.frame() // PROBE
	p.frame() // VERSION_SELECT
	p.frame() // ORIGINATOR_SYN, without topics
	if err := a.Subscribe("late"); err != nil {
		t.Fatal(err)
	}
	p.write(wire.AppendFrame(nil, wire.ResponderSynAck{}.Append(nil)))
	p.frame() // ORIGINATOR_ACK
	if env := p.envelope(); env.Type != wire.TypeRoutingUpdate || string(env.Payload) != "\x01\x04late" {
		t.Errorf("got %+v", env)
	}
}

func TestPublishFollowsFilter(t *testing.T) {
	a := newEndpoint(t, Config{})
	p := connect(t, listen(t, a), largeID, "x/", "x") // not minimal
	next[broker.PeerAdded](t, a)
	update := func(payload ...byte) {
		p.send(wire.Envelope{Type: wire.TypeRoutingUpdate, Receiver: a.ID(), Payload: payload})
		p.sync()
	}
	publish(t, a, "x/1", broker.None())
	if env := p.envelope(); env.Topic != "x/1" || env.Receiver != uuid.Nil || env.Sender != a.ID() || env.TTL != wire.DefaultTTL {
		t.Errorf("got %+v", env)
	}
	update(1, 1, 'y')
	publish(t, a, "x/2", broker.None())
	publish(t, a, "y/2", broker.None())
	if env := p.envelope(); env.Topic != "y/2" {
		t.Errorf("got %+v", env)
	}
	update(0)
	publish(t, a, "y/3", broker.None())
	if err := a.Send(testContext(t), p.id, "z/3", broker.None()); err != nil {
		t.Fatal(err)
	}
	if env := p.envelope(); env.Topic != "z/3" || env.Receiver != p.id {
		t.Errorf("got %+v", env)
	}
	if err := a.Send(testContext(t), smallID, "z", broker.None()); !errors.Is(err, ErrNoPeer) {
		t.Errorf("sent to an unknown peer: %v", err)
	}
	if got := a.Peers()[0]; len(got.Filter) != 0 || got.Peer.ID != p.id {
		t.Errorf("info is %+v", got)
	}
}

func TestPublishRejectsInvalidMessages(t *testing.T) {
	a := newEndpoint(t, Config{MaxMessage: 100})
	connect(t, listen(t, a), largeID, "")
	next[broker.PeerAdded](t, a)
	for _, topic := range []string{"", "<$>/local/data/statuses", string(make([]byte, broker.MaxTopicLen+1))} {
		if err := a.Publish(testContext(t), topic, broker.None()); !errors.Is(err, ErrTopic) {
			t.Errorf("topic of %d bytes: %v", len(topic), err)
		}
	}
	var size *wire.FrameSizeError
	err := a.Publish(testContext(t), "t", broker.String(string(make([]byte, 100))))
	if !errors.As(err, &size) || size.Limit != 100 {
		t.Errorf("large value: %v", err)
	}
}

func TestDrainDeliversAllMessages(t *testing.T) {
	const n = 5_000
	a := newEndpoint(t, Config{SendOverflow: broker.OverflowBlock})
	b := newEndpoint(t, Config{ReceiveOverflow: broker.OverflowBlock, Subscriptions: []string{""}})
	dial(t, a, listen(t, b))
	done := make(chan error, 1)
	go func() {
		for i := range n {
			if err := a.Publish(t.Context(), "t", broker.Count(uint64(i))); err != nil {
				done <- err
				return
			}
		}
		done <- a.Drain(testContext(t))
	}()
	next[broker.PeerAdded](t, b)
	for i := range uint64(n) {
		if got, _ := next[broker.Received](t, b).Message.Value.Count(); got != i {
			t.Fatalf("message %d is %d", i, got)
		}
	}
	next[broker.PeerLost](t, b)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestManyPeers(t *testing.T) {
	const n = 20
	hub := newEndpoint(t, Config{Subscriptions: []string{"up"}})
	address := listen(t, hub)
	leaves := make([]*Endpoint, n)
	for i := range leaves {
		leaves[i] = newEndpoint(t, Config{Subscriptions: []string{"down", fmt.Sprint("only/", i, "/")}})
		dial(t, leaves[i], address)
		next[broker.PeerAdded](t, hub)
		next[broker.PeerAdded](t, leaves[i])
	}
	publish(t, hub, "down", broker.None())
	publish(t, hub, "only/7/", broker.None())
	for i, leaf := range leaves {
		next[broker.Received](t, leaf)
		if i == 7 {
			next[broker.Received](t, leaf)
		}
		publish(t, leaf, "up", broker.Count(uint64(i)))
		if got, _ := next[broker.Received](t, hub).Message.Value.Count(); got != uint64(i) {
			t.Errorf("hub got %d from leaf %d", got, i)
		}
	}
	if got := len(hub.Peers()); got != n {
		t.Errorf("%d peers", got)
	}
}

// leave returns no error if the peer has sent a BYE, even if the peering has
// not been removed yet.
func TestLeaveAfterBye(t *testing.T) {
	conn, other := net.Pipe()
	t.Cleanup(func() { other.Close() })
	l := newLink(t.Context(), newEndpoint(t, Config{}), conn, nil)
	l.fail(ErrPeerBye)
	if err := l.leave(testContext(t), broker.ErrClosed); err != nil {
		t.Error(err)
	}
}

// closedListener is a listener that has been closed.
type closedListener struct{ accepts atomic.Int64 }

func (l *closedListener) Accept() (net.Conn, error) {
	l.accepts.Add(1)
	return nil, &net.OpError{Op: "accept", Err: net.ErrClosed}
}
func (l *closedListener) Close() error   { return nil }
func (l *closedListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestServeEndsWhenListenerIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, Config{})
		l := new(closedListener)
		if err := e.Serve(l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := l.accepts.Load(); n != 1 {
			t.Errorf("%d attempts to accept, want 1", n)
		}
	})
}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]Config{
		"version 7 ID":  {ID: uuid.MustParse("01936b2e-0000-7000-8000-000000000000")},
		"queue":         {SendQueue: -1},
		"queue's bytes": {SendBytes: -1},
		"timeout":       {ByeTimeout: -1},
		"retry":         {RetryMin: 2, RetryMax: 1},
		"frame":         {MaxMessage: 1 << 31},
		"negative":      {MaxMessage: -1},
		"hooks":         {Hooks: struct{}{}},
		"subscriptions": {Subscriptions: []string{string(make([]byte, 1<<16))}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	e := newEndpoint(t, Config{})
	if e.ID().Version() != 4 {
		t.Errorf("default ID is %s", e.ID())
	}
	if err := e.AddPeer("localhost"); err == nil {
		t.Error("AddPeer accepts an address without a port")
	}
}

// A message to several peers is sent to those that exist and subscribe, and to no other peer.
func TestPublishToAll(t *testing.T) {
	a := newEndpoint(t, Config{})
	b := newEndpoint(t, Config{Subscriptions: []string{"t"}})
	c := newEndpoint(t, Config{Subscriptions: []string{"t", "u"}})
	d := newEndpoint(t, Config{Subscriptions: []string{"t"}})
	for _, e := range []*Endpoint{b, c, d} {
		dial(t, a, listen(t, e))
	}
	for v, topic := range []string{"t/x", "u", "other"} {
		peers := []uuid.UUID{c.ID(), uuid.New(), b.ID()}
		if err := a.PublishToAll(t.Context(), peers, topic, broker.Count(uint64(v))); err != nil {
			t.Errorf("topic %s: %v", topic, err)
		}
	}
	publish(t, a, "t", broker.Count(9))
	for e, want := range map[*Endpoint][]uint64{b: {0, 9}, c: {0, 1, 9}, d: {9}} {
		next[broker.PeerAdded](t, e)
		for _, v := range want {
			if got := next[broker.Received](t, e).Message.Value; !broker.Equal(got, broker.Count(v)) {
				t.Errorf("received %v, want %d", got, v)
			}
		}
	}
	if err := a.PublishToAll(t.Context(), nil, "", broker.None()); !errors.Is(err, ErrTopic) {
		t.Errorf("without a topic: %v", err)
	}
	a.Close()
	if err := a.PublishToAll(t.Context(), []uuid.UUID{b.ID()}, "t", broker.None()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A message to one peer is not sent to other peers with the same subscription.
func TestPublishTo(t *testing.T) {
	a := newEndpoint(t, Config{})
	b := newEndpoint(t, Config{Subscriptions: []string{"t"}})
	c := newEndpoint(t, Config{Subscriptions: []string{"t"}})
	for _, e := range []*Endpoint{b, c} {
		dial(t, a, listen(t, e))
	}
	to := func(peer uuid.UUID, topic string, v uint64) bool {
		t.Helper()
		known, err := a.PublishTo(t.Context(), peer, topic, broker.Count(v))
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	if !to(b.ID(), "t/x", 1) || !to(b.ID(), "other", 2) || to(uuid.New(), "t/x", 3) {
		t.Error("PublishTo reports the wrong peers as known")
	}
	publish(t, a, "t", broker.Count(4))
	for e, want := range map[*Endpoint][]uint64{b: {1, 4}, c: {4}} {
		next[broker.PeerAdded](t, e)
		for _, v := range want {
			if got := next[broker.Received](t, e).Message.Value; !broker.Equal(got, broker.Count(v)) {
				t.Errorf("received %v, want %d", got, v)
			}
		}
	}
	if _, err := a.PublishTo(t.Context(), b.ID(), "", broker.Count(5)); !errors.Is(err, ErrTopic) {
		t.Errorf("without a topic: %v", err)
	}
}

// PeerSubscribed is delivered when the subscriptions of a peer change, and not
// when they are repeated.
func TestPeerSubscribed(t *testing.T) {
	a := newEndpoint(t, Config{})
	b := newEndpoint(t, Config{Subscriptions: []string{"one"}})
	dial(t, a, listen(t, b))
	next[broker.PeerAdded](t, a)
	next[broker.PeerAdded](t, b) // changes before this are not reported separately
	change := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	change(b.Subscribe("two"))
	change(b.Subscribe("two/three")) // no change
	change(b.Unsubscribe("one"))
	for _, want := range []broker.Filter{{"one", "two"}, {"two"}} {
		n, err := a.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := n.(broker.PeerSubscribed)
		if !ok || !got.Filter.Equal(want) || got.Peer.ID != b.ID() {
			t.Errorf("notification is %+v, want filter %q", n, want)
		}
	}
}

func TestConnect(t *testing.T) {
	a, b := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	address := listen(t, b)
	for range 2 { // the second call returns the existing peer
		peer, err := a.Connect(testContext(t), address)
		if err != nil || peer.ID != b.ID() || !peer.Dialed {
			t.Fatalf("peer %+v, error %v", peer, err)
		}
	}
	if err := a.RemovePeer(address); err != nil {
		t.Error(err)
	}
}

// When Connect fails, dialing ends, unless AddPeer has added the address.
func TestConnectFails(t *testing.T) {
	refuse := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
	e := newEndpoint(t, Config{DialContext: refuse, RetryMin: time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := e.Connect(ctx, "x:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if err := e.RemovePeer("x:1"); !errors.Is(err, ErrUnknownAddress) {
		t.Errorf("after Connect failed: %v", err)
	}
	if err := e.AddPeer("x:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Connect(ctx, "x:1"); err == nil {
		t.Error("no error")
	}
	if err := e.RemovePeer("x:1"); err != nil {
		t.Errorf("after AddPeer: %v", err)
	}
}

// If Next times out without subscriptions, the error says that there are none.
func TestNextWithoutSubscriptions(t *testing.T) {
	e := newEndpoint(t, Config{})
	for _, subscribed := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := e.Next(ctx)
		cancel()
		if missing := errors.As(err, new(*broker.NotSubscribedError)); missing == subscribed || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("subscribed %t: error %v", subscribed, err)
		}
		if err := e.Subscribe("t"); err != nil {
			t.Fatal(err)
		}
	}
}

// unusedAddress returns a loopback address without a listener. The address is
// not 127.0.0.1, where a dialer that retries could get the port as its local
// port and connect to itself.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.7.7.7:0")
	if err != nil {
		t.Skip("only Linux has all of 127.0.0.0/8:", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A peer that has received the messages is confirmed, and one that has left is not.
func TestConfirm(t *testing.T) {
	a, b := newEndpoint(t, Config{}), newEndpoint(t, Config{Subscriptions: []string{"t"}})
	ctx := testContext(t)
	toB := listen(t, b)
	if err := a.AddPeer(toB); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AwaitPeer(ctx, toB); err != nil {
		t.Fatal(err)
	}
	publish(t, a, "t", broker.None())
	received, err := a.Confirm(ctx)
	if err != nil || len(received) != 1 || received[0].Peer.ID != b.ID() {
		t.Errorf("confirmed by %v, %v", received, err)
	}
	b.Close()
	if received, err := a.Confirm(ctx); err != nil || len(received) > 0 {
		t.Errorf("without a peer: confirmed by %v, %v", received, err)
	}
}
