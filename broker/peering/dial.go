package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/backoff"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// target is an address given to AddPeer. Its goroutine connects, serves the
// connection until it ends, and connects again.
type target struct {
	e       *Endpoint
	address string
	ctx     context.Context // ends the current attempt or connection
	cancel  context.CancelCauseFunc
	quit    chan struct{} // closed by stop
	done    chan struct{} // closed when the goroutine ends
	worked  bool          // was peered before; used by the goroutine only

	mu      sync.Mutex
	stops   sync.Once
	since   time.Time
	lastErr error     // of the last attempt, nil once peered
	other   uuid.UUID // peer at the address, if another connection with it exists
}

// Connect connects to address, "host:port", and waits until the peering is
// established. Like AddPeer, it keeps the peering: the endpoint reconnects until
// RemovePeer or Close. If Connect fails, with the errors of AddPeer and
// AwaitPeer, the endpoint makes no further attempts for an address that Connect
// itself has added.
func (e *Endpoint) Connect(ctx context.Context, address string) (broker.Peer, error) {
	added, err := e.addPeer(address)
	if err != nil {
		return broker.Peer{}, err
	}
	peer, err := e.AwaitPeer(ctx, address)
	if err != nil && added {
		_ = e.RemovePeer(address) // it fails only if the address has gone already
	}
	return peer, err
}

// AddPeer starts a lasting peering with the endpoint at address, "host:port". It
// returns at once; a goroutine connects, retries with growing pauses after
// failures, and reconnects at once when an established peering is lost, until
// RemovePeer or Close. Use AwaitPeer to wait for the peering, or Connect to do
// both. Adding an address again does nothing.
func (e *Endpoint) AddPeer(address string) error {
	_, err := e.addPeer(address)
	return err
}

func (e *Endpoint) addPeer(address string) (added bool, err error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return false, fmt.Errorf("peering: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return false, broker.ErrClosed
	}
	if e.targets[address] != nil {
		return false, nil
	}
	t := &target{
		e: e, address: address, since: time.Now(),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancelCause(e.ctx)
	e.targets[address] = t
	e.wg.Go(t.run)
	return true, nil
}

// RemovePeer undoes AddPeer. If there is a peering with the address, RemovePeer
// sends the queued messages, ends the peering with a closing handshake of at
// most Config.ByeTimeout, and PeerLost wraps ErrPeerRemoved. It returns
// ErrUnknownAddress if the address was not added.
func (e *Endpoint) RemovePeer(address string) error {
	e.mu.Lock()
	t := e.targets[address]
	delete(e.targets, address)
	e.mu.Unlock()
	if t == nil {
		return fmt.Errorf("%w: %s", ErrUnknownAddress, address)
	}
	t.stop()
	ctx, cancel := context.WithTimeoutCause(e.ctx, e.cfg.ByeTimeout, ErrPeerTimeout)
	defer cancel()
	for _, l := range e.registry.peers() {
		if l.target == t {
			_ = l.leave(ctx, ErrPeerRemoved) // it ends either way
		}
	}
	t.cancel(ErrPeerRemoved)
	e.failLinks(func(l *link) bool { return l.target == t }, ErrPeerRemoved)
	<-t.done
	return nil
}

// AwaitPeer waits for a peering with an address given to AddPeer and returns the
// peer. If ctx ends first, the error wraps its cause and the error of the last
// attempt to connect. AwaitPeer returns early with a *MismatchError if the other
// end speaks another protocol; the endpoint keeps trying nevertheless. It returns
// ErrUnknownAddress if the address was not added.
func (e *Endpoint) AwaitPeer(ctx context.Context, address string) (broker.Peer, error) {
	e.mu.Lock()
	t := e.targets[address]
	e.mu.Unlock()
	if t == nil {
		if e.closing.Load() {
			return broker.Peer{}, broker.ErrClosed
		}
		return broker.Peer{}, fmt.Errorf("%w: %s", ErrUnknownAddress, address)
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
		return broker.Peer{}, ErrPeerRemoved
	case lastErr != nil:
		return broker.Peer{}, fmt.Errorf("peering: not peered with %s: %w, last attempt: %w", address, err, lastErr)
	}
	return broker.Peer{}, fmt.Errorf("peering: not peered with %s: %w", address, err)
}

// peering returns the target's link if there is one, or else the error of the
// last attempt.
func (t *target) peering() (*link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.e.registry.at(t, t.other); l != nil {
		return l, nil
	}
	return nil, t.lastErr
}

// info returns the target's entry for Peers and Targets.
func (t *target) info() PeerInfo {
	if l, _ := t.peering(); l != nil {
		return l.info()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return PeerInfo{
		Peer: broker.Peer{Dialed: true, Address: t.address}, State: Connecting,
		Since: t.since, Err: t.lastErr,
	}
}

// stop ends further attempts.
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
	retry := backoff.Backoff{Min: t.e.cfg.RetryMin, Max: t.e.cfg.RetryMax}
	logged := "" // the last failure that was logged
	for !t.stopped() {
		began := time.Now()
		wasPeered, err := t.attempt()
		if t.stopped() {
			return
		}
		if wasPeered {
			// Reconnect at once, unless the peering was very short: then the
			// next would be, too.
			logged = ""
			if time.Since(began) >= t.e.cfg.RetryMin {
				retry.Reset()
				continue
			}
		} else {
			level := zerolog.DebugLevel
			if text := repeated(err); text != logged {
				level, logged = zerolog.WarnLevel, text
			}
			t.e.cfg.Log.WithLevel(level).Err(err).Str("address", t.address).Msg("cannot connect, retrying")
		}
		if !retry.Wait(t.ctx, t.quit) {
			return
		}
	}
}

// attempt connects once and returns when the connection has ended. If the peer
// is connected already, it waits for the end of that other peering.
func (t *target) attempt() (wasPeered bool, err error) {
	ctx, cancel := context.WithTimeoutCause(t.ctx, t.e.cfg.HandshakeTimeout, errHandshakeTimeout)
	conn, err := t.e.cfg.DialContext(ctx, "tcp", t.address)
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

// redundant returns the peer if err means that it is connected already, and
// uuid.Nil otherwise. If only the peer knows of another connection, it has not
// noticed yet that we lost that connection, and the attempt counts as failed.
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

// failed stores the result of an attempt.
func (t *target) failed(err error, other uuid.UUID) {
	t.mu.Lock()
	t.lastErr, t.other = err, other
	t.since = time.Now()
	t.mu.Unlock()
	t.e.registry.touch()
}
