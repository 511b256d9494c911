package main

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// The limits of all transports together leave memory for the rest of a service.
func TestMemoryPlan(t *testing.T) {
	for _, limit := range []int64{256 << 20, 512 << 20, 2 << 30, 64 << 30} {
		m := planMemory(limit)
		const transports = 2
		// The consumer of a queue may have taken over as much again.
		if used := int64(transports * (m.pending + 2*m.receive + 4*m.unsent)); used > limit/8*5 {
			t.Errorf("with %d MiB, queues may use %d MiB", limit>>20, used>>20)
		}
		if m.message > m.receive || m.message > m.pending {
			t.Errorf("with %d MiB, a message of %d MiB exceeds a queue", limit>>20, m.message>>20)
		}
	}
	if m := planMemory(2 << 30); m.message != min(peering.DefaultMaxMessage, websocket.DefaultMaxMessage) {
		t.Errorf("messages are limited to %d bytes with plenty of memory", m.message)
	}
	if planMemory(0) != (memoryPlan{}) {
		t.Error("a plan without knowledge of the memory")
	}
}
