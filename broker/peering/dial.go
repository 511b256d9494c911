package peering

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// target is an address that we keep a peering with. Its goroutine dials, lives
// the life of the connection, and dials again.
type target struct {
	e       *Endpoint
	address string
	ctx     context.Context // ends what is under way
	cancel  context.CancelCauseFunc
	quit    chan struct{} // closed when there shall be no further attempt
	done    chan struct{} // closed with the goroutine
	worked  bool          // was peered once; the goroutine's

	mu      sync.Mutex
	stops   sync.Once
	since   time.Time
	lastErr error     // of the last attempt, nil once peered
	other   uuid.UUID // peer with which we have a connection of another origin
}

// Dial connects to address, "host:port", and keeps doing so for ever: with
// pauses after failures, at once after a peering is lost. It does not wait; see
// AwaitPeer. To dial an address twice is to dial it once.
func (e *Endpoint) Dial(address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("peering: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return broker.ErrClosed
	}
	if e.targets[address] != nil {
		return nil
	}
	t := &target{
		e: e, address: address, since: time.Now(),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancelCause(e.ctx)
	e.targets[address] = t
	e.wg.Go(t.run)
	return nil
}

// Undial ends what Dial began, and the peering if there is one by that address:
// the peer gets what is queued and is told goodbye, for which it has ByeTimeout.
func (e *Endpoint) Undial(address string) error {
	e.mu.Lock()
	t := e.targets[address]
	delete(e.targets, address)
	e.mu.Unlock()
	if t == nil {
		return fmt.Errorf("%w: %s", ErrNotDialed, address)
	}
	t.stop()
	ctx, cancel := context.WithTimeoutCause(e.ctx, e.cfg.ByeTimeout, ErrPeerTimeout)
	defer cancel()
	for _, l := range e.registry.peers() {
		if l.target == t {
			_ = l.leave(ctx, ErrUndialed) // it ends either way
		}
	}
	t.cancel(ErrUndialed)
	e.failLinks(func(l *link) bool { return l.target == t }, ErrUndialed)
	<-t.done
	return nil
}

// AwaitPeer waits until there is a peering with the dialed address and returns
// the peer. It returns early with a *MismatchError, for which there is no use in
// waiting; the endpoint tries on nevertheless. At the end of ctx, the error also
// wraps that of the last attempt.
func (e *Endpoint) AwaitPeer(ctx context.Context, address string) (broker.Peer, error) {
	e.mu.Lock()
	t := e.targets[address]
	e.mu.Unlock()
	if t == nil {
		if e.closing.Load() {
			return broker.Peer{}, broker.ErrClosed
		}
		return broker.Peer{}, fmt.Errorf("%w: %s", ErrNotDialed, address)
	}
	var found *link
	var lastErr error
	var mismatch *MismatchError
	err := e.registry.await(ctx, func() bool {
		found, lastErr = t.peering()
		return found != nil || errors.As(lastErr, &mismatch) || t.stopped()
	})
	switch {
	case found != nil:
		return found.peer, nil
	case mismatch != nil:
		return broker.Peer{}, lastErr
	case e.closing.Load():
		return broker.Peer{}, broker.ErrClosed
	case t.stopped():
		return broker.Peer{}, ErrUndialed
	case lastErr != nil:
		return broker.Peer{}, fmt.Errorf("peering: not peered with %s: %w, last attempt: %w", address, err, lastErr)
	}
	return broker.Peer{}, fmt.Errorf("peering: not peered with %s: %w", address, err)
}

// peering returns the link that the target stands for, if there is one.
func (t *target) peering() (*link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.e.registry.peers() {
		if l.target == t || l.peer.ID == t.other {
			return l, nil
		}
	}
	return nil, t.lastErr
}

// info returns what Peers says about the target, unless it is peered.
func (t *target) info() (PeerInfo, bool) {
	if l, _ := t.peering(); l != nil {
		return PeerInfo{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return PeerInfo{
		Peer: broker.Peer{Dialed: true, Address: t.address}, State: Connecting,
		Since: t.since, Err: t.lastErr,
	}, true
}

// stop lets the target make no further attempt.
func (t *target) stop() {
	t.stops.Do(func() { close(t.quit) })
	t.e.registry.touch()
}

func (t *target) stopped() bool {
	select {
	case <-t.quit:
		return true
	default:
		return false
	}
}

func (t *target) run() {
	defer close(t.done)
	defer t.cancel(nil)
	retry := backoff{min: t.e.cfg.RetryMin, max: t.e.cfg.RetryMax}
	logged := "" // the last failure in the log
	for !t.stopped() {
		began := time.Now()
		wasPeered, err := t.attempt()
		if t.stopped() {
			return
		}
		if wasPeered {
			// At once, unless it did not last: then it will not the next time.
			logged = ""
			if time.Since(began) >= t.e.cfg.RetryMin {
				retry.reset()
				continue
			}
		} else {
			level := zerolog.DebugLevel
			if text := err.Error(); text != logged {
				level, logged = zerolog.WarnLevel, text
			}
			t.e.cfg.Log.WithLevel(level).Err(err).Str("address", t.address).Msg("cannot connect, will try on")
		}
		if !retry.wait(t.ctx, t.quit) {
			return
		}
	}
}

// attempt connects once. It returns after the peering, if it comes to one, and
// also waits for the end of another peering that makes this one redundant.
func (t *target) attempt() (wasPeered bool, err error) {
	ctx, cancel := context.WithTimeoutCause(t.ctx, t.e.cfg.HandshakeTimeout, errHandshakeTimeout)
	conn, err := t.e.cfg.DialContext(ctx, t.address)
	cancel()
	if err != nil {
		t.failed(err, uuid.Nil)
		return false, err
	}
	_, wasPeered, err = t.e.serve(t.ctx, conn, t)
	if wasPeered {
		t.worked = true
		t.failed(err, uuid.Nil)
		return true, err
	}
	peer := t.redundant(err)
	t.failed(err, peer)
	if peer == uuid.Nil {
		return false, err
	}
	t.e.cfg.Log.Debug().Str("address", t.address).Stringer("peer", peer).Msg("connected already")
	ctx, cancel = context.WithCancel(t.ctx)
	defer cancel()
	_ = t.e.registry.await(ctx, func() bool { return t.stopped() || !t.e.registry.knows(peer) })
	return true, err
}

// redundant returns the peer with which there is a connection already, if that
// is why this one failed. It is not if the peer says so and we do not know of
// any: then the peer has not noticed yet that we lost it.
func (t *target) redundant(err error) uuid.UUID {
	var refused *wire.RefusedError
	var drop *wire.DropError
	switch {
	case errors.As(err, &refused) && refused.Answer == wire.Redundant:
		return refused.Peer
	case errors.As(err, &drop) && (drop.Code == wire.CodeRedundantConnection || drop.Code == wire.CodeLogicError):
		if t.e.registry.knows(drop.Sender) {
			return drop.Sender
		}
	}
	return uuid.Nil
}

// failed notes how an attempt ended.
func (t *target) failed(err error, other uuid.UUID) {
	t.mu.Lock()
	t.lastErr, t.other = err, other
	t.since = time.Now()
	t.mu.Unlock()
	t.e.registry.touch()
}

// backoff is the time between attempts.
type backoff struct {
	min, max time.Duration
	last     time.Duration
}

func (b *backoff) reset() { b.last = 0 }

// wait waits for twice as long as the last time, within the limits and less up
// to half of it. It returns false if ctx or quit ends first.
func (b *backoff) wait(ctx context.Context, quit <-chan struct{}) bool {
	b.last = min(max(2*b.last, b.min), b.max)
	timer := time.NewTimer(b.last - rand.N(b.last/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-quit:
	case <-ctx.Done():
	}
	return false
}
