package peering

import (
	"bufio"
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
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/wire"
)

const (
	readBuffer = 16 << 10

	// maxControl is how many pings and pongs may wait to be written.
	maxControl = 1024
)

// link is one connection, from its first byte to its last. The goroutine that
// calls run owns it: it does the handshake and then reads, and waits for the
// two others, which write and keep alive.
type link struct {
	e      *Endpoint
	target *target // nil if we accepted the connection
	outer  *tap    // the connection itself
	inner  *tap    // what is within TLS, nil without
	conn   net.Conn
	reader *bufio.Reader
	values bin.Decoder // the reader's
	trace  trace
	log    zerolog.Logger

	ctx     context.Context
	cancel  context.CancelCauseFunc
	claimed uuid.UUID           // whom the registry knows the link for; the registry's
	resume  chan wire.Admission // from the registry, if the handshake is held

	peer   broker.Peer
	since  time.Time
	filter atomic.Pointer[broker.Filter] // what the peer wants
	told   *broker.Filter                // what the peer knows that we want; the writer's
	out    *queue.Queue[[]byte]          // whole frames

	skipped  atomic.Uint64 // frames that were of no use
	stalled  atomic.Bool   // the reader waits for room in the inbox
	bye      atomic.Bool   // the peer said bye
	byeTimer *time.Timer   // then it has to go; the reader's

	pongMu sync.Mutex
	pongs  map[string]chan struct{} // by the payload of the ping
}

func newLink(ctx context.Context, e *Endpoint, conn net.Conn, t *target) *link {
	l := &link{
		e: e, target: t, outer: &tap{Conn: conn}, log: e.cfg.Log,
		resume: make(chan wire.Admission, 1),
		out: queue.New[[]byte](queue.Limits{
			Policy: e.cfg.SendOverflow, Loose: e.cfg.SendQueue, Bytes: e.cfg.SendBytes, Kept: maxControl,
		}),
		pongs: make(map[string]chan struct{}),
		peer:  broker.Peer{Addr: addrPort(conn.RemoteAddr()), Dialed: t != nil},
	}
	l.conn = l.outer
	if t != nil {
		l.peer.Address = t.address
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	return l
}

// fail ends the link. The first error says why.
func (l *link) fail(err error) {
	l.cancel(err)
	l.out.Close()
	l.outer.Close()
}

// handshake returns when the peer is peered.
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
	l.reader = bufio.NewReaderSize(l.conn, readBuffer)
	h := wire.NewHandshake(wire.Config{
		Self: l.e.cfg.ID, Dialed: l.peer.Dialed,
		Filter: func() broker.Filter {
			l.told = l.e.filter.Load()
			return *l.told
		},
		Admit: func(peer uuid.UUID, originator bool) wire.Admission {
			return l.e.registry.admit(l, peer, originator)
		},
	})
	var buf []byte
	for step := h.Start(); ; {
		if len(step.Send) > 0 {
			l.trace.sent(step.Send)
			if _, err := l.conn.Write(step.Send); err != nil && step.Err == nil {
				return nil, handshakeError(ctx, err)
			}
		}
		switch step.Outcome {
		case wire.Peered:
			return h, l.outer.SetDeadline(time.Time{})
		case wire.Failed:
			return nil, step.Err
		case wire.Held:
			select {
			case answer := <-l.resume:
				step = h.Resume(answer)
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			continue
		}
		var err error
		if buf, err = wire.ReadFrame(l.reader, wire.MaxHandshakeFrame, buf); err != nil {
			return nil, handshakeError(ctx, err)
		}
		l.trace.frame(false, buf)
		step = h.Receive(buf)
	}
}

func (l *link) secure(ctx context.Context) error {
	if l.e.cfg.Secure == nil {
		return nil
	}
	conn, err := l.e.cfg.Secure(ctx, l.outer, l.peer.Dialed)
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

// handshakeError names the errors of a connection during the handshake.
func handshakeError(ctx context.Context, err error) error {
	var size *wire.FrameSizeError
	switch {
	case tooLate(ctx, err):
		return errHandshakeTimeout
	case errors.As(err, &size), errors.Is(err, wire.ErrEmptyFrame):
		return fmt.Errorf("peering: %w", err)
	}
	return readError(err)
}

// tooLate reports whether err means that the time for the handshake, which is
// that of ctx, was over.
func tooLate(ctx context.Context, err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(context.Cause(ctx), errHandshakeTimeout)
}

// run is the life of the link. It returns why it ended and whether it ever was
// peered.
func (l *link) run() (wasPeered bool, err error) {
	defer l.trace.close()
	defer l.out.Close()
	defer l.outer.Close()
	defer l.cancel(nil)
	h, err := l.handshake()
	if l.target == nil {
		l.e.handshakes.Add(-1)
	}
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
	l.log.Info().Bool("dialed", l.peer.Dialed).Msg("peer added")

	var helpers sync.WaitGroup
	helpers.Go(l.write)
	helpers.Go(l.keepAlive)
	l.stalled.Store(true)
	announced := l.e.inbox.Keep(l.ctx, broker.PeerAdded{Peer: l.peer}) == nil
	l.stalled.Store(false)
	if announced {
		if l.e.hooks.peers != nil {
			l.e.hooks.peers.PeerAdded(l.peer)
		}
		l.fail(l.read())
	}
	if l.byeTimer != nil {
		l.byeTimer.Stop()
	}
	helpers.Wait()
	err = context.Cause(l.ctx)
	l.e.registry.remove(l)
	if announced {
		l.e.inbox.Force(broker.PeerLost{Peer: l.peer, Err: err})
		if l.e.hooks.peers != nil {
			l.e.hooks.peers.PeerLost(l.peer, err)
		}
	}
	l.e.registry.release(l)
	l.log.Info().Err(err).Msg("peer lost")
	return true, err
}

// setFilter notes what the peer wants.
func (l *link) setFilter(f broker.Filter) {
	minimal := broker.NewFilter(f...)
	l.filter.Store(&minimal)
}

// subscribes reports whether the peer wants topic.
func (l *link) subscribes(topic string) bool { return l.filter.Load().Matches(topic) }

// ping sends a ping and waits for its pong, which proves that the peer has got
// all that was queued before.
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
		return context.Cause(l.ctx)
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

// leave says bye after all that is queued and ends the link when the peer has
// answered, or with ctx. The error says that the peer may not have got all.
func (l *link) leave(ctx context.Context, cause error) error {
	err := l.ping(ctx, wire.AppendBye(nil, l.e.token.Add(1)))
	l.fail(cause)
	if errors.Is(err, ErrPeerBye) {
		return nil // it left first, and wants nothing any more
	}
	return err
}

// keepAlive pings the peer when it is silent, and ends the link when it stays
// so.
func (l *link) keepAlive() {
	interval := l.e.cfg.PingInterval
	if interval < 0 {
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last uint64
	var silent time.Duration
	for {
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return
		}
		if reads := l.outer.reads.Load(); reads != last || l.stalled.Load() {
			last, silent = reads, 0
			continue
		}
		if silent += interval; silent >= l.e.cfg.PeerTimeout {
			l.fail(ErrPeerTimeout)
			return
		}
		// If even pings do not leave, the next ticks will see to it.
		_ = l.out.Keep(noWait, l.pingFrame([]byte("alive")))
	}
}
