package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// standsBy waits until a candidate can pass requests to the leader of a term.
func standsBy(t *testing.T, r *runner, term uint64) {
	t.Helper()
	until(t, "a controller that stands by knows the leader", func() bool {
		post := r.turn().Post
		return post.Forwards && post.Term == term
	})
}

// request returns the next request that other controllers forward to a leader.
func request(t *testing.T, r *runner) broker.Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		n, err := r.Requests().Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if received, ok := n.(broker.Received); ok {
			return received
		}
	}
}

func text(s string) broker.Message {
	return broker.Message{Topic: "controller", Value: broker.String(s)}
}

// response is the result of Forward.
type response struct {
	value broker.Value
	err   error
}

func says(r response, want string) bool {
	got, ok := r.value.Text()
	return ok && r.err == nil && got == want
}

func forward(r *runner, text broker.Message) <-chan response {
	ended := make(chan response, 1)
	go func() {
		v, err := r.Forward(context.Background(), "alice", text)
		ended <- response{v, err}
	}()
	return ended
}

// A controller that stands by passes requests to the leader, each of which is performed in one term
// or never. Nothing is left in etcd.
func TestRelay(t *testing.T) {
	c := etcdtest.Start(t, 1)
	one, two, three := start(t, c, "/relay", "one"), start(t, c, "/relay", "two"), start(t, c, "/relay", "three")
	leads := leader(t, 0, one, two, three)
	var others []*runner
	for _, r := range []*runner{one, two, three} {
		if r != leads {
			others = append(others, r)
			standsBy(t, r, leads.turn().Post.Term)
		}
	}
	if _, err := leads.Forward(context.Background(), "alice", text("x")); !errors.Is(err, controller.ErrNotForwarded) {
		t.Errorf("the leader forwards: %v", err)
	}
	bus := leads.Requests().(broker.Director)
	large := strings.Repeat("large ", 1<<20)
	for _, body := range []string{"first", large} {
		first, second := forward(others[0], text(body)), forward(others[1], text("second"))
		for range 2 {
			got := request(t, leads)
			if got.Peer.Name != "alice" || got.Message.Topic != "controller" {
				t.Errorf("got %+v", got.Peer)
			}
			said, _ := got.Message.Value.Text()
			for _, answer := range []string{"response to " + said, "in another dialect"} {
				if known, err := bus.PublishTo(context.Background(), got.Peer.ID, "controller", broker.String(answer)); !known || err != nil {
					t.Errorf("PublishTo: %t, %v", known, err)
				}
			}
		}
		for want, ended := range map[string]<-chan response{"response to " + body: first, "response to second": second} {
			if got := <-ended; !says(got, want) {
				t.Errorf("got %.60v, %v, want %.60q", got.value, got.err, want)
			}
		}
	}
	if _, err := others[0].Forward(context.Background(), "alice", broker.Message{Value: broker.String(noise(0, 4<<20))}); !errors.Is(err, controller.ErrNotForwarded) || !errors.Is(err, errTooLarge) {
		t.Errorf("a request that is too large: %v", err)
	}
	until(t, "nothing is left", func() bool { return !strings.Contains(c.Control("get", "/relay/relay/", "--prefix"), "relay") })

	// The leader goes without a response. The next one does not take the request.
	pending := forward(others[0], text("lost"))
	request(t, leads)
	term := leads.turn().Post.Term
	leads.stop()
	if got := <-pending; !errors.Is(got.err, errNewLeader) || errors.Is(got.err, controller.ErrNotForwarded) {
		t.Errorf("the leader went: %v, %v", got.value, got.err)
	}
	next := leader(t, term, others...)
	ctx, cancel := context.WithTimeout(context.Background(), 3*refreshInterval)
	defer cancel()
	if n, err := next.Requests().Next(ctx); err == nil {
		t.Errorf("the next leader took %+v", n)
	}
}

// A request that was passed to the leader ends with an error if this controller ends, or loses its
// lease or etcd.
func TestRelayEnds(t *testing.T) {
	c := etcdtest.Start(t, 1)
	one, two := start(t, c, "/relay", "one"), start(t, c, "/relay", "two")
	leads, other := leader(t, 0, one, two), two
	if leads == two {
		other = one
	}
	term := leads.turn().Post.Term
	for _, tt := range []struct {
		name string
		do   func(end context.CancelFunc)
		want error
	}{
		{"this controller ends", func(end context.CancelFunc) { end() }, errEnding},
		{"the lease is lost", func(context.CancelFunc) {
			c.Control("lease", "revoke", fmt.Sprintf("%x", other.relay.standing.Load().lease))
		}, errNoLease},
		{"etcd is lost", func(context.CancelFunc) { c.SignalAll(syscall.SIGSTOP) }, errNoEtcd},
	} {
		standsBy(t, other, term)
		ctx, end := context.WithCancel(context.Background())
		ended := make(chan response, 1)
		go func() {
			v, err := other.Forward(ctx, "alice", text(tt.name))
			ended <- response{v, err}
		}()
		request(t, leads)
		seen := time.Now() // by the leader: the other one may still wait for the answer to its write
		until(t, "the other controller has read etcd again", func() bool { return other.turn().Post.AsOf.After(seen) })
		tt.do(end)
		if got := <-ended; !errors.Is(got.err, tt.want) || errors.Is(got.err, controller.ErrNotForwarded) {
			t.Errorf("%s: %v, %v", tt.name, got.value, got.err)
		}
		end()
	}
	c.SignalAll(syscall.SIGCONT)
}

// A controller that has lost its lease, and has no other one yet, does not report another leader.
func TestWhyThereIsNoResponse(t *testing.T) {
	r := newRelay(Config{Lease: time.Minute})
	b := new(campaign)
	b.lease.Store(1)
	if !r.stand(nil, 7, b, true) {
		t.Fatal("the controller does not pass requests")
	}
	at := r.standing.Load()
	for _, tt := range []struct {
		name     string
		term     uint64
		campaign *campaign
		accepted bool
		want     error
	}{
		{"nothing has changed", 7, b, true, nil},
		{"no campaign", 7, nil, true, errNoLease},
		{"a campaign without a lease", 7, new(campaign), true, errNoLease},
		{"another leader", 8, b, true, errNewLeader},
		{"no leader", 7, b, false, errNewLeader},
		{"neither leader nor lease", 7, nil, false, errNewLeader},
	} {
		if passes := r.stand(nil, tt.term, tt.campaign, tt.accepted); passes != (tt.campaign == b && tt.accepted) {
			t.Errorf("%s: passes requests: %t", tt.name, passes)
		}
		if err := r.changed(at); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// noise returns a text that cannot be compressed well, another one for each seed.
func noise(seed uint64, n int) string {
	r, text := rand.New(rand.NewPCG(1, seed)), make([]byte, n)
	for i := range text {
		text[i] = byte('!' + r.IntN(90))
	}
	return string(text)
}

func TestParcels(t *testing.T) {
	p := parcel{Term: 7, Client: "alice\nbob", Topic: "t"}
	data, err := p.encode(broker.String("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, v, err := decodeParcel(data); got != p || !says(response{v, err}, "x") {
		t.Errorf("got %+v, %v, %v", got, v, err)
	}
	for n := range data {
		if _, _, err := decodeParcel(data[:n]); err == nil {
			t.Errorf("%d of %d bytes are accepted", n, len(data))
		}
	}
}
