package controller_test

import (
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// A client gets responses to 5000 requests at once, and then to 1000 per second. That
// does not affect other clients.
func TestRequestRate(t *testing.T) {
	b := newBench(t, nil)
	answered := func(p broker.Peer) (n int) {
		for range 6000 {
			for _, o := range b.machine.Step(b.now, controller.FromClient{Peer: p, Message: getInstances("r")}) {
				if _, ok := o.(controller.ToClients); ok {
					n++
				}
			}
		}
		return n
	}
	flood, other := peer(1), peer(2)
	want(t, "responses at first", 5000, answered(flood))
	want(t, "responses to another client", 5000, answered(other))
	b.now = b.now.Add(time.Second)
	want(t, "responses a second later", 1000, answered(flood))
}

// The pending request of a client that disconnects ends like any other.
func TestRequestOutlivesClient(t *testing.T) {
	b := newBench(t, nil)
	b.do(controller.FromClient{Peer: peer(1), Message: zeekapi.TestTimeoutRequest{ReqID: reqID("r"), WithState: true}})
	b.do(controller.PeerLost{Peer: peer(1)})
	for {
		at, ok := b.machine.Deadline()
		if _, requests := b.machine.Held(); requests == 0 || !ok {
			want(t, "pending requests", 0, requests)
			return
		}
		b.now = at
		b.machine.Step(b.now, controller.Tick{})
	}
}
