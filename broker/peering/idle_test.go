package peering

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
)

// TestIdleMemory measures the memory of both ends of a peering that is idle after a large
// message and a small one.
func TestIdleMemory(t *testing.T) {
	const pairs, limit = 100, 30_000 // bytes
	for _, mode := range []security.Mode{security.Off, security.Anonymous} {
		t.Run(mode.String(), func(t *testing.T) {
			layer, err := layerOf(mode.String())
			if err != nil {
				t.Fatal(err)
			}
			before := heap()
			hub := newEndpoint(t, Config{TLS: layer})
			address := listen(t, hub)
			var peers []*Endpoint
			for range pairs {
				e := newEndpoint(t, Config{TLS: layer, Subscriptions: []string{"t"}})
				dial(t, e, address)
				next[broker.PeerAdded](t, hub)
				peers = append(peers, e)
			}
			for _, n := range []int{readBuffer / 2, 100} {
				if err := hub.Publish(t.Context(), "t", broker.String(strings.Repeat("x", n))); err != nil {
					t.Fatal(err)
				}
				for _, e := range peers {
					awaitReceived(t, e)
				}
			}
			var each int64
			for range 100 { // until all readers wait for the next message
				if each = (heap() - before) / pairs; each <= limit {
					t.Logf("a peering takes %d bytes", each)
					runtime.KeepAlive(peers)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Errorf("a peering takes %d bytes, want at most %d", each, limit)
			runtime.KeepAlive(peers)
		})
	}
}

// awaitReceived waits for a message.
func awaitReceived(t *testing.T, e *Endpoint) {
	t.Helper()
	for {
		n, err := e.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := n.(broker.Received); ok {
			return
		}
	}
}

// heap returns the memory in use, without that of pools.
func heap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
