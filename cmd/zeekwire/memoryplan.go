package main

import (
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// memoryPlan divides the memory of a service among its transports. All values are in
// bytes. The zero memoryPlan selects the defaults of the transports.
type memoryPlan struct {
	message int // of the largest message to receive
	pending int // of the incomplete messages of a transport
	receive int // of the receive queue of a transport
	send    int // of the send queue of a peer or client
	unsent  int // of all send queues of a transport; peers may have four times as much for 5 s
}

// planMemory returns the plan for a service that may use so many bytes, 0 if that is
// unknown. With 2 GiB or more, messages have the size that the transports accept by
// default.
func planMemory(limit int64) memoryPlan {
	if limit == 0 {
		return memoryPlan{}
	}
	share := func(part, least, most int64) int { return int(min(max(limit/part, least), most)) }
	return memoryPlan{
		message: share(32, 4<<20, websocket.DefaultMaxMessage),
		pending: share(16, 8<<20, peering.DefaultMaxIncomplete),
		receive: share(32, 4<<20, 256<<20),
		send:    share(32, 4<<20, maxPeerBytes),
		unsent:  share(32, 4<<20, 1<<30),
	}
}

// native applies the plan to a native endpoint.
func (m memoryPlan) native(c *peering.Config) {
	c.MaxMessage, c.MaxIncomplete = m.message, m.limitPending(c.MaxIncomplete)
	c.ReceiveBytes, c.SendBytes, c.MaxUnsent = m.receive, m.send, m.unsent
}

// web applies the plan to a WebSocket server.
func (m memoryPlan) web(c *websocket.ServerConfig) {
	c.MaxMessage, c.MaxIncomplete = m.message, m.limitPending(c.MaxIncomplete)
	c.ReceiveBytes, c.SendBytes, c.MaxUnsent = m.receive, m.send, m.unsent
}

// limitPending returns the memory for incomplete messages, of which a setting wants so
// much.
func (m memoryPlan) limitPending(setting int) int {
	if m.pending == 0 {
		return setting
	}
	return min(setting, m.pending)
}
