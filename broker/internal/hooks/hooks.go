// Package hooks finds out which hook interfaces a Config.Hooks implements.
package hooks

import (
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
)

// Hooks holds one implementation of each hook interface. Its fields are never
// nil: a missing hook is replaced by one that does nothing.
type Hooks struct {
	broker.HookPeers
	broker.HookTraffic
	broker.HookDrops
}

// New returns the hooks that impl implements. A nil impl has none. It is an
// error if any other impl implements none of the interfaces.
func New(impl any) (Hooks, error) {
	h := Hooks{none{}, none{}, none{}}
	peers, hasPeers := impl.(broker.HookPeers)
	if hasPeers {
		h.HookPeers = peers
	}
	traffic, hasTraffic := impl.(broker.HookTraffic)
	if hasTraffic {
		h.HookTraffic = traffic
	}
	drops, hasDrops := impl.(broker.HookDrops)
	if hasDrops {
		h.HookDrops = drops
	}
	if impl != nil && !hasPeers && !hasTraffic && !hasDrops {
		return h, fmt.Errorf("Hooks is a %T, which implements none of HookPeers, HookTraffic and HookDrops", impl)
	}
	return h, nil
}

type none struct{}

func (none) PeerAdded(broker.Peer)            {}
func (none) PeerLost(broker.Peer, error)      {}
func (none) Sent(broker.Peer, int, int)       {}
func (none) Received(broker.Peer, int, int)   {}
func (none) DroppedSending(broker.Peer, int)  {}
func (none) DroppedReceived(broker.Peer, int) {}
