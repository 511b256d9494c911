package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/wire"
)

const (
	// readBuffer is the largest size of a connection's buffer. Larger frames take memory
	// of the endpoint's pool while they arrive.
	readBuffer = 16 << 10

	// minElements is the number of elements that a value may have in any case.
	minElements = 64 << 10

	// maxControl limits the queued pings and pongs.
	maxControl = 1024
)

// link is one connection, from its first byte to its last. The goroutine that
// calls run owns it: it performs the handshake, then reads, and at the end waits
// for the goroutine that writes, and for the pulse.
type link struct {
	e        *Endpoint
	target   *target           // nil for an accepted connection
	ticket   *admission.Ticket // the place of the connection
	outer    *tap              // the connection itself
	inner    *tap              // the connection within TLS, nil without TLS
	conn     net.Conn
	frames   *wire.FrameReader
	intake   *intake.Account
	values   *bin.Decoder // used by the reader only, as is envelope; nil while it waits
	envelope wire.Envelope
	trace    trace
	log      zerolog.Logger

	ctx     context.Context
	cancel  context.CancelCauseFunc
	claimed uuid.UUID           // the peer that the registry knows the link for; guarded by the registry
	resume  chan wire.Admission // answer of the registry to a held handshake

	peer   broker.Peer
	since  time.Time
	filter atomic.Pointer[broker.Filter] // the peer's subscriptions
	told   *broker.Filter                // our subscriptions last sent; used by the writer only
	out    *queue.Queue[[]byte]          // whole frames

	skipped  atomic.Uint64 // ignored frames
	stalled  atomic.Bool   // the reader waits for room in the receive queue
	bye      atomic.Bool   // the peer sent a BYE
	byeTimer *time.Timer   // ends the link some time later; used by the reader only

	pongMu sync.Mutex
	pongs  map[string]chan struct{} // keyed by the payload of the ping
}

func newLink(ctx context.Context, e *Endpoint, conn net.Conn, t *target) *link {
	l := &link{
		e: e, target: t, outer: &tap{Conn: conn}, log: e.cfg.Log,
		resume: make(chan wire.Admission, 1),
		pongs:  make(map[string]chan struct{}),
		peer:   broker.Peer{Addr: addrPort(conn.RemoteAddr()), Dialed: t != nil},
	}
	l.out = queue.New[[]byte](queue.Limits{
		Policy: e.cfg.SendOverflow, Loose: e.cfg.SendQueue, Bytes: e.cfg.SendBytes, Kept: maxControl,
		Total: e.unsent, Full: func() { l.fail(errUnsent) },
	})
	l.conn = l.outer
	if l.ticket = admission.TicketOf(conn); l.ticket == nil {
		l.ticket = e.gate.Own(conn.RemoteAddr())
	}
	if t != nil {
		l.peer.Address = t.address
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.intake = e.intake.Account(l.ctx.Done(), func(err error) { l.fail(fmt.Errorf("peering: %w", err)) })
	if evict := func() { l.fail(admission.ErrEvicted) }; !l.ticket.OnEvict(evict) {
		evict()
	}
	return l
}

// fail ends the link. The error of the first call becomes the reason.
func (l *link) fail(err error) {
	l.cancel(err)
	l.out.Close()
	l.outer.Close()
}

// handshake performs the handshakes of TLS and Broker, within the time limit.
func (l *link) handshake() (*wire.Handshake, error) {
	ctx, cancel := context.WithTimeoutCause(l.ctx, l.e.cfg.HandshakeTimeout, errHandshakeTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	l.outer.SetDeadline(deadline)
	if l.e.cfg.Trace != nil {
		l.trace.tracer = l.e.cfg.Trace(ConnInfo{
			Local: addrPort(l.outer.LocalAddr()), Remote: l.peer.Addr, Dialed: l.peer.Dialed,
		})
	}
	if err := l.secure(ctx); err != nil {
		return nil, err
	}
	l.frames = wire.NewFrameReader(l.conn, readBuffer, meter{l.intake, l})
	return l.negotiate(ctx)
}

// negotiate performs the handshake of Broker.
func (l *link) negotiate(ctx context.Context) (*wire.Handshake, error) {
	h := wire.NewHandshake(wire.Config{
		Self: l.e.cfg.ID, Dialed: l.peer.Dialed,
		Filter: func() broker.Filter {
			l.told = l.e.filter.Load()
			return *l.told
		},
		Admit: func(peer uuid.UUID, originator bool) wire.Admission {
			return l.establish(l.e.registry.admit(l, peer, originator))
		},
	})
	for step := h.Start(); ; {
		if len(step.Send) > 0 {
			l.trace.sent(step.Send)
			if _, err := l.conn.Write(step.Send); err != nil && step.Err == nil {
				return nil, l.handshakeError(ctx, err)
			}
		}
		switch step.Outcome {
		case wire.Peered:
			return h, l.outer.SetDeadline(time.Time{})
		case wire.Failed:
			return nil, l.brokenHandshake(step.Err)
		case wire.Held:
			select {
			case answer := <-l.resume:
				step = h.Resume(l.establish(answer))
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			continue
		}
		frame, err := l.frames.Next(wire.MaxHandshakeFrame)
		if err != nil {
			return nil, l.handshakeError(ctx, err)
		}
		l.trace.frame(false, frame)
		step = h.Receive(frame)
		l.intake.Done()
	}
}

// establish returns the answer to a handshake that the registry has answered. It
// is wire.Full if there is no room for the peer.
func (l *link) establish(answer wire.Admission) wire.Admission {
	if answer != wire.Admit || l.target != nil {
		return answer
	}
	name := ""
	if l.peer.Identity != nil && l.peer.Identity.Certified {
		name = l.peer.Identity.Name()
	}
	if l.ticket.Establish(name) != nil {
		return wire.Full
	}
	return answer
}

// secure performs the TLS handshake, if the endpoint uses TLS.
func (l *link) secure(ctx context.Context) error {
	if l.e.cfg.TLS == nil {
		return nil
	}
	conn, err := l.e.cfg.TLS(ctx, l.outer, l.peer.Dialed)
	switch {
	case err != nil && tooLate(ctx, err):
		return errHandshakeTimeout
	case err != nil:
		return fmt.Errorf("peering: TLS: %w", err)
	}
	if named, ok := conn.(interface{ PeerNames() []string }); ok {
		l.peer.Identity = &broker.Identity{Names: named.PeerNames(), Certified: true}
		l.peer.Name = l.peer.Identity.Name()
	}
	l.inner = &tap{Conn: conn}
	l.conn = l.inner
	return nil
}

// handshakeError returns the error for a failed read or write during the
// handshake.
func (l *link) handshakeError(ctx context.Context, err error) error {
	var size *wire.FrameSizeError
	switch {
	case tooLate(ctx, err):
		return errHandshakeTimeout
	case errors.As(err, &size), errors.Is(err, wire.ErrEmptyFrame):
		return l.broken(err)
	}
	return readError(err)
}

// tooLate reports whether err means that the handshake timed out. ctx is the
// handshake's context.
func tooLate(ctx context.Context, err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(context.Cause(ctx), errHandshakeTimeout)
}

// run serves the link until it ends. It returns the reason and whether the link
// was ever peered.
func (l *link) run() (wasPeered bool, err error) {
	defer l.trace.close()
	defer l.intake.Done()
	defer l.out.Discard()
	defer l.outer.Close()
	defer l.cancel(nil)
	defer l.ticket.Leave()
	h, err := l.handshake()
	if err != nil {
		l.e.registry.release(l)
		if l.ctx.Err() != nil {
			return false, context.Cause(l.ctx)
		}
		return false, l.explain(err)
	}
	l.peer.ID, l.since = h.Peer(), time.Now()
	l.setFilter(h.Filter())
	l.log = l.log.With().Stringer("peer", l.peer.ID).Stringer("addr", l.peer.Addr).Logger()
	l.e.registry.add(l)
	l.note(zerolog.InfoLevel, "peer added").Bool("dialed", l.peer.Dialed).Msg("peer added")

	var helpers sync.WaitGroup
	helpers.Go(l.write)
	alive := keepAlive(l)
	l.stalled.Store(true)
	announced := l.e.inbox.Keep(l.ctx, broker.PeerAdded{Peer: l.peer}) == nil
	l.stalled.Store(false)
	if announced {
		l.e.hooks.PeerAdded(l.peer)
		l.fail(l.read())
	}
	if l.byeTimer != nil {
		l.byeTimer.Stop()
	}
	helpers.Wait()
	alive.stop()
	err = context.Cause(l.ctx)
	l.e.registry.remove(l)
	if announced {
		l.e.inbox.Force(broker.PeerLost{Peer: l.peer, Err: err})
		l.e.hooks.PeerLost(l.peer, err)
	}
	l.e.registry.release(l)
	kind := "peer lost"
	if time.Since(l.since) < shortPeering {
		kind = "peer lost at once" // must not suppress lines about others
	}
	l.note(zerolog.InfoLevel, kind).Err(err).Msg("peer lost")
	return true, err
}

// shortPeering is the duration below which the loss of a peering is logged as a kind of its
// own, because a peer can cause any number of such losses.
const shortPeering = 10 * time.Second

// note begins a line of the log about the peer, at debug level if there are too many lines
// of its kind.
func (l *link) note(level zerolog.Level, kind string) *zerolog.Event {
	line := l.e.notices.Peers(level, kind)
	if line == nil {
		return l.log.Debug()
	}
	return line.Stringer("peer", l.peer.ID).Stringer("addr", l.peer.Addr)
}

// info returns the link's entry for Peers.
func (l *link) info() PeerInfo {
	queued, dropped := l.out.Stats()
	return PeerInfo{
		Peer: l.peer, State: Peered, Since: l.since, Filter: *l.filter.Load(),
		Queued: queued, Dropped: dropped, Skipped: l.skipped.Load(),
	}
}

// setFilter stores the peer's subscriptions.
func (l *link) setFilter(f broker.Filter) {
	minimal := broker.NewFilter(f...)
	l.filter.Store(&minimal)
}

// subscribes reports whether the peer subscribes to topic.
func (l *link) subscribes(topic string) bool { return l.filter.Load().Matches(topic) }

// ping sends a ping and waits for its pong, which proves that the peer has
// received all messages queued before.
func (l *link) ping(ctx context.Context, payload []byte) error {
	pong := make(chan struct{})
	l.pongMu.Lock()
	l.pongs[string(payload)] = pong
	l.pongMu.Unlock()
	defer func() {
		l.pongMu.Lock()
		defer l.pongMu.Unlock()
		delete(l.pongs, string(payload))
	}()
	err := l.out.Keep(ctx, l.pingFrame(payload))
	switch {
	case errors.Is(err, broker.ErrClosed): // the link has ended, which has a reason
		return context.Cause(l.ctx)
	case err != nil:
		return err
	}
	select {
	case <-pong:
		return nil
	case <-l.ctx.Done():
		select {
		case <-pong: // before the end
			return nil
		default:
			return context.Cause(l.ctx)
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *link) pingFrame(payload []byte) []byte {
	env := wire.Envelope{
		Sender: l.e.cfg.ID, Receiver: l.peer.ID, Type: wire.TypePing, TTL: wire.DefaultTTL,
		Topic: broker.ControlTopic, Payload: payload,
	}
	return env.AppendFrame(nil)
}

// leave performs the closing handshake after all queued messages, and ends the
// link. It returns an error if the peer may have missed messages because ctx or
// the link ended first.
func (l *link) leave(ctx context.Context, cause error) error {
	err := l.ping(ctx, wire.AppendBye(nil, l.e.token.Add(1)))
	l.fail(cause)
	if errors.Is(err, ErrPeerBye) {
		return nil // it left first and needs no further messages
	}
	return err
}
