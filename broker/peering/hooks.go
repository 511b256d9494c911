package peering

import (
	"bytes"
	"net"
	"net/netip"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// Config.Hooks may implement any of the following interfaces. Calls come from
// the goroutines of the connections, for one peer from several at once; they
// must return quickly and not call the Endpoint. The depth of queues is not
// told; Peers returns it.
type (
	// HookPeers is told of peers that come and go.
	HookPeers interface {
		PeerAdded(broker.Peer)
		PeerLost(broker.Peer, error)
	}

	// HookTraffic is told, in batches, of frames and their bytes.
	HookTraffic interface {
		Sent(p broker.Peer, frames, bytes int)
		Received(p broker.Peer, frames, bytes int)
	}

	// HookDrops is told of messages that got lost in a full queue: on their
	// way to the peer, or received from it.
	HookDrops interface {
		DroppedSending(p broker.Peer, messages int)
		DroppedReceived(p broker.Peer, messages int)
	}
)

type hooks struct {
	peers   HookPeers
	traffic HookTraffic
	drops   HookDrops
}

func newHooks(impl any) hooks {
	var h hooks
	h.peers, _ = impl.(HookPeers)
	h.traffic, _ = impl.(HookTraffic)
	h.drops, _ = impl.(HookDrops)
	return h
}

// FrameTracer sees every frame of one connection, handshake included, in the
// order of either direction and without the length. It must not keep the slice.
// Calls never overlap; Close is the last.
type FrameTracer interface {
	Frame(sent bool, frame []byte)
	Close()
}

// ConnInfo says which connection is to be traced.
type ConnInfo struct {
	Local, Remote netip.AddrPort
	Dialed        bool
}

// trace serialises what reader and writer of a connection tell its tracer.
type trace struct {
	mu     sync.Mutex
	tracer FrameTracer // nil if there is none
}

func (t *trace) frame(sent bool, frame []byte) {
	if t.tracer == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tracer.Frame(sent, frame)
}

// sent takes whole frames with their lengths, as they are written.
func (t *trace) sent(stream []byte) {
	if t.tracer == nil {
		return
	}
	for r := bytes.NewReader(stream); r.Len() > 0; {
		if payload, err := wire.ReadFrame(r, len(stream), nil); err == nil {
			t.frame(true, payload)
		}
	}
}

func (t *trace) close() {
	if t.tracer != nil {
		t.tracer.Close()
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
