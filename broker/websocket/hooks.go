package websocket

import "github.com/zeekwire/zeekwire/broker"

// ServerConfig.Hooks may implement any of the following interfaces, which are
// those of package peering. Calls come from the goroutines of the connections,
// for one client from several at once; they must return quickly and not call
// the Server.
type (
	// HookPeers is told of clients that subscribed, and of those among them that
	// are gone.
	HookPeers interface {
		PeerAdded(broker.Peer)
		PeerLost(broker.Peer, error)
	}

	// HookTraffic is told of texts and their bytes.
	HookTraffic interface {
		Sent(p broker.Peer, frames, bytes int)
		Received(p broker.Peer, frames, bytes int)
	}

	// HookDrops is told of messages that got lost in a full queue: on their
	// way to the client, or received from it.
	HookDrops interface {
		DroppedSending(p broker.Peer, messages int)
		DroppedReceived(p broker.Peer, messages int)
	}
)

// hooks are those that there are; the others do nothing.
type hooks struct {
	HookPeers
	HookTraffic
	HookDrops
}

func newHooks(impl any) hooks {
	h := hooks{silent{}, silent{}, silent{}}
	if peers, ok := impl.(HookPeers); ok {
		h.HookPeers = peers
	}
	if traffic, ok := impl.(HookTraffic); ok {
		h.HookTraffic = traffic
	}
	if drops, ok := impl.(HookDrops); ok {
		h.HookDrops = drops
	}
	return h
}

type silent struct{}

func (silent) PeerAdded(broker.Peer)            {}
func (silent) PeerLost(broker.Peer, error)      {}
func (silent) Sent(broker.Peer, int, int)       {}
func (silent) Received(broker.Peer, int, int)   {}
func (silent) DroppedSending(broker.Peer, int)  {}
func (silent) DroppedReceived(broker.Peer, int) {}

// Queued returns how many messages wait to be sent, to all clients.
func (s *Server) Queued() (messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		waiting, _ := c.out.Stats()
		messages += waiting
	}
	return messages
}
