package fake

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
)

// junction joins any number of buses into one. Buses may be attached at any
// time. One goroutine reads each of them.
type junction struct {
	ctx      context.Context // done after close
	cancel   context.CancelFunc
	arrivals chan broker.Notification
	readers  sync.WaitGroup

	mu       sync.Mutex
	branches []*branch
	peers    map[uuid.UUID]attachedPeer
}

// branch is a bus of a junction.
type branch struct {
	broker.Bus

	// drop closes the connection of one peer. If it is nil, the whole bus is
	// closed instead.
	drop func(broker.Peer)

	// serve, if non-nil, runs in a goroutine of the junction until the bus is
	// closed.
	serve func(context.Context)

	// single says that the bus is of no use after its first peer is lost.
	single bool
}

type attachedPeer struct {
	broker.Peer
	at *branch
}

func newJunction() *junction {
	j := &junction{arrivals: make(chan broker.Notification), peers: make(map[uuid.UUID]attachedPeer)}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j
}

// attach adds a bus, which now belongs to the junction. It closes the bus if
// the junction is closed.
func (j *junction) attach(b *branch) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ctx.Err() != nil {
		return errors.Join(broker.ErrClosed, b.Close())
	}
	j.branches = append(j.branches, b)
	j.readers.Go(func() { j.read(b) })
	if b.serve != nil {
		j.readers.Go(func() { b.serve(j.ctx) })
	}
	return nil
}

// read forwards the notifications of a bus until the bus or the junction is closed.
func (j *junction) read(b *branch) {
	defer j.detach(b)
	for {
		n, err := b.Next(j.ctx)
		if err != nil {
			return
		}
		j.track(b, n)
		if !j.arrive(n) {
			return
		}
		if _, lost := n.(broker.PeerLost); lost && b.single {
			return
		}
	}
}

func (j *junction) arrive(n broker.Notification) bool {
	select {
	case j.arrivals <- n:
		return true
	case <-j.ctx.Done():
		return false
	}
}

// track remembers which peers a bus has.
func (j *junction) track(b *branch, n broker.Notification) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch n := n.(type) {
	case broker.PeerAdded:
		j.peers[n.Peer.ID] = attachedPeer{n.Peer, b}
	case broker.PeerLost:
		delete(j.peers, n.Peer.ID)
	}
}

// detach removes a bus, with the peers that it still has.
func (j *junction) detach(b *branch) {
	j.mu.Lock()
	j.branches = slices.DeleteFunc(j.branches, func(x *branch) bool { return x == b })
	var left []broker.Peer
	for id, p := range j.peers {
		if p.at == b {
			left = append(left, p.Peer)
			delete(j.peers, id)
		}
	}
	j.mu.Unlock()
	_ = b.Close()
	for _, p := range left {
		j.arrive(broker.PeerLost{Peer: p, Err: broker.ErrClosed})
	}
}

func (j *junction) next(ctx context.Context) (broker.Notification, error) {
	select {
	case n := <-j.arrivals:
		return n, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-j.ctx.Done():
		return nil, broker.ErrClosed
	}
}

func (j *junction) publish(ctx context.Context, topic string, v broker.Value) error {
	j.mu.Lock()
	all := slices.Clone(j.branches)
	j.mu.Unlock()
	var failed []error
	for _, b := range all {
		if err := b.Publish(ctx, topic, v); err != nil && !errors.Is(err, broker.ErrClosed) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (j *junction) publishTo(ctx context.Context, peer uuid.UUID, topic string, v broker.Value) (known bool, err error) {
	b := j.branchOf(peer)
	if b == nil {
		return false, nil
	}
	if d, ok := b.Bus.(broker.Director); ok {
		return d.PublishTo(ctx, peer, topic, v)
	}
	return true, b.Publish(ctx, topic, v)
}

func (j *junction) reject(peer uuid.UUID) {
	if b := j.branchOf(peer); b != nil {
		if r, ok := b.Bus.(broker.Rejecter); ok {
			r.Reject(peer)
		}
	}
}

func (j *junction) branchOf(peer uuid.UUID) *branch {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.peers[peer].at
}

// disconnect closes the connections of the peers for which which returns true.
func (j *junction) disconnect(which func(broker.Peer) bool) {
	j.mu.Lock()
	var dropped []attachedPeer
	for _, p := range j.peers {
		if which(p.Peer) {
			dropped = append(dropped, p)
		}
	}
	j.mu.Unlock()
	for _, p := range dropped {
		if p.at.drop != nil {
			p.at.drop(p.Peer)
		} else {
			_ = p.at.Close()
		}
	}
}

// close closes all buses and waits for the goroutines.
func (j *junction) close() {
	j.mu.Lock()
	j.cancel()
	all := slices.Clone(j.branches)
	j.mu.Unlock()
	for _, b := range all {
		_ = b.Close()
	}
	j.readers.Wait()
}
