package websocket_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// counts implements all hooks and adds up their arguments.
type counts struct {
	mu                       sync.Mutex
	added, lost              int
	sent, received           int
	sentBytes, receivedBytes int
}

func (c *counts) add(n *int, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n += by
}

func (c *counts) PeerAdded(broker.Peer)       { c.add(&c.added, 1) }
func (c *counts) PeerLost(broker.Peer, error) { c.add(&c.lost, 1) }
func (c *counts) Sent(_ broker.Peer, texts, bytes int) {
	c.add(&c.sent, texts)
	c.add(&c.sentBytes, bytes)
}
func (c *counts) Received(_ broker.Peer, texts, bytes int) {
	c.add(&c.received, texts)
	c.add(&c.receivedBytes, bytes)
}

func TestHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c := new(counts)
		server := serve(t, n, websocket.ServerConfig{Hooks: c})
		client := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, Subscriptions: []string{"t"}})
		next[broker.PeerAdded](t, server)
		for range 3 {
			if err := server.Publish(t.Context(), "t", broker.Count(1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.Publish(t.Context(), "u", broker.Count(2)); err != nil {
			t.Fatal(err)
		}
		next[broker.Received](t, server)
		synctest.Wait()
		if q := server.Queued(); q != 0 {
			t.Errorf("%d messages are queued", q)
		}
		client.Close()
		next[broker.PeerLost](t, server)
		synctest.Wait()
		if c.sentBytes < 3*50 || c.receivedBytes < 50 {
			t.Errorf("%d bytes sent, %d received", c.sentBytes, c.receivedBytes)
		}
		got := [4]int{c.added, c.lost, c.sent, c.received} // includes the ack and the subscriptions
		if diff := cmp.Diff([4]int{1, 1, 4, 2}, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
