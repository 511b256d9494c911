package peering

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// registry holds all peers, including those in their handshake. It ensures that
// there is one connection per peer, the first. The originator of a connection
// decides, the responder follows (Broker: connect_state::proceed_with_handshake).
type registry struct {
	// routes are replaced under mu, so that Publish need not lock it.
	routes atomic.Pointer[routes]

	mu      sync.Mutex
	closing bool
	claims  map[uuid.UUID]*claim
	dialed  map[*target]*link // peers at added addresses
	changed chan struct{}     // closed and replaced when anything changes
}

// claim is the connection that a peer has or is establishing.
type claim struct {
	owner   *link
	peered  bool
	waiting []*link // held until the owner is peered or has failed
}

func newRegistry() *registry {
	r := &registry{claims: make(map[uuid.UUID]*claim), dialed: make(map[*target]*link), changed: make(chan struct{})}
	r.routes.Store(new(routes))
	return r
}

// admit is the answer to the handshake of l with peer.
func (r *registry) admit(l *link, peer uuid.UUID, originator bool) wire.Admission {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.claimed = peer
	c := r.claims[peer]
	switch {
	case r.closing:
		return wire.ShuttingDown
	case c == nil:
		r.claims[peer] = &claim{owner: l}
		return wire.Admit
	case originator && !c.peered:
		c.waiting = append(c.waiting, l)
		return wire.Hold
	}
	return wire.Redundant
}

// add makes l the connection with its peer. Only now are the held connections
// redundant: their DROP_CONN must not overtake the handshake of l.
func (r *registry) add(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.claims[l.claimed]
	c.peered = true
	for _, held := range c.waiting {
		held.resume <- wire.Redundant
	}
	c.waiting = nil
	if l.target != nil {
		r.dialed[l.target] = l
	}
	r.routes.Store(&routes{peers: append(slices.Clone(r.peers()), l)})
	r.signal()
}

// remove removes l from the peers. Until release, a new connection of its peer
// is held.
func (r *registry) remove(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims[l.claimed].peered = false
	if l.target != nil {
		delete(r.dialed, l.target)
	}
	peers := slices.DeleteFunc(slices.Clone(r.peers()), func(o *link) bool { return o == l })
	r.routes.Store(&routes{peers: peers})
	r.signal()
}

// reroute discards the routes, after a peer has changed its subscriptions.
func (r *registry) reroute() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.routes.Store(&routes{peers: r.peers()})
}

// peers returns the links of all peers. The result must not be changed.
func (r *registry) peers() []*link { return r.routes.Load().peers }

// release removes l. The first held connection continues in its place. Broker
// lets held connections wait forever.
func (r *registry) release(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.claims[l.claimed]
	if c == nil {
		return
	}
	if i := slices.Index(c.waiting, l); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	if c.owner != l {
		return
	}
	if len(c.waiting) == 0 {
		delete(r.claims, l.claimed)
	} else {
		c.owner, c.peered = c.waiting[0], false
		c.waiting = slices.Delete(c.waiting, 0, 1)
		c.owner.resume <- wire.Admit
	}
	r.signal()
}

// close refuses further peers.
func (r *registry) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
	r.signal()
}

// knows reports whether peer has a connection or is establishing one.
func (r *registry) knows(peer uuid.UUID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.claims[peer] != nil
}

// await calls done now and after each change until it returns true. If ctx ends
// first, await returns its cause.
func (r *registry) await(ctx context.Context, done func() bool) error {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// touch makes all calls of await check again.
func (r *registry) touch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signal()
}

func (r *registry) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// at returns the link that t has opened, or else the link of the peer
// with the ID other, or nil.
func (r *registry) at(t *target, other uuid.UUID) *link {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.dialed[t]; l != nil {
		return l
	}
	return r.peered(other)
}

// find returns the link of peer, or nil.
func (r *registry) find(peer uuid.UUID) *link {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peered(peer)
}

// peered is find for a caller that holds the mutex.
func (r *registry) peered(peer uuid.UUID) *link {
	if c := r.claims[peer]; c != nil && c.peered {
		return c.owner
	}
	return nil
}
