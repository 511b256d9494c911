package broker

// The Hooks field of the transports' configurations may implement any of the
// following interfaces. Methods are called from the goroutines of the
// connections, for one peer from several goroutines at once. They must return
// quickly and must not call the bus.
type (
	// HookPeers is called when peerings begin and end.
	HookPeers interface {
		PeerAdded(Peer)
		PeerLost(Peer, error)
	}

	// HookTraffic is called for frames written and read, several at a time.
	// Frames include those of the transport itself; on a WebSocket only text
	// messages count. Bytes include the headers of native frames, but not those
	// of WebSocket frames.
	HookTraffic interface {
		Sent(p Peer, frames, bytes int)
		Received(p Peer, frames, bytes int)
	}

	// HookDrops is called for messages dropped because a queue was full: the
	// send queue of the peer, or the receive queue of the bus.
	HookDrops interface {
		DroppedSending(p Peer, messages int)
		DroppedReceived(p Peer, messages int)
	}
)
