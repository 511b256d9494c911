package broker

// The Hooks field of a transport's configuration may implement any of the
// following interfaces. The goroutines of the connections call the methods,
// several of them concurrently for the same peer. Methods must return quickly
// and must not call the bus.
type (
	// HookPeers observes the beginning and the end of peerings.
	HookPeers interface {
		PeerAdded(Peer)
		PeerLost(Peer, error)
	}

	// HookTraffic counts the frames written and read, several per call. It
	// includes frames of the transport itself on native connections, and only
	// text messages on WebSocket connections. Bytes include the headers of
	// native frames, but not those of WebSocket frames.
	HookTraffic interface {
		Sent(p Peer, frames, bytes int)
		Received(p Peer, frames, bytes int)
	}

	// HookDrops counts messages dropped because a queue was full: the send
	// queue of the peer, or the receive queue of the bus.
	HookDrops interface {
		DroppedSending(p Peer, messages int)
		DroppedReceived(p Peer, messages int)
	}
)
