package peering

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
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
	readBuffer  = 16 << 10
	writeBuffer = 64 << 10

	// maxBatch is how many messages the reader collects before it hands them
	// over; it does so earlier when it would have to wait for the next.
	maxBatch = 256

	// A frame buffer above this size is not kept for the next frame.
	keepBuffer = 1 << 20

	// Zeek's pings have 11 bytes. We have to keep what we answer.
	maxPing = 4 << 10

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
	case errors.As(err, &size), err == wire.ErrEmptyFrame:
		return fmt.Errorf("peering: %w", err)
	}
	return readError(err)
}

// tooLate reports whether err means that the time for the handshake, which is
// that of ctx, was over.
func tooLate(ctx context.Context, err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || context.Cause(ctx) == errHandshakeTimeout
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

func (l *link) setFilter(f broker.Filter) {
	minimal := broker.NewFilter(f...)
	l.filter.Store(&minimal)
}

// read hands over what the peer sends, until the connection ends or must end.
func (l *link) read() error {
	var buf []byte
	var env wire.Envelope
	batch := inboxBatch{l: l}
	for {
		if batch.full() || !frameBuffered(l.reader) {
			if err := batch.flush(); err != nil {
				return err
			}
		}
		var err error
		buf, err = wire.ReadFrame(l.reader, l.e.cfg.MaxFrame, buf)
		if err == wire.ErrEmptyFrame {
			continue // as Broker does
		}
		if err != nil {
			return l.readError(err)
		}
		l.trace.frame(false, buf)
		batch.frames++
		batch.bytes += 4 + len(buf)
		if err := env.Decode(buf); err != nil {
			batch.flush()
			return fmt.Errorf("peering: %w", err)
		}
		message, err := l.receive(&env)
		if err != nil {
			batch.flush()
			return err
		}
		if message != nil {
			batch.add(message, len(buf))
		}
		if cap(buf) > keepBuffer {
			buf = nil
		}
	}
}

// frameBuffered reports whether the next frame can be read without waiting.
func frameBuffered(r *bufio.Reader) bool {
	if r.Buffered() < 4 {
		return false
	}
	header, err := r.Peek(4)
	return err == nil && uint64(binary.BigEndian.Uint32(header)) <= uint64(r.Buffered()-4)
}

func (l *link) readError(err error) error {
	var size *wire.FrameSizeError
	switch {
	case errors.As(err, &size):
		return fmt.Errorf("peering: %w", err)
	case l.bye.Load():
		return ErrPeerBye
	}
	return readError(err)
}

// inboxBatch collects messages on their way to the inbox.
type inboxBatch struct {
	l             *link
	entries       []queue.Entry[broker.Notice]
	frames, bytes int // of all types, for the hooks
}

func (b *inboxBatch) full() bool { return len(b.entries) >= maxBatch }

func (b *inboxBatch) add(n broker.Notice, size int) {
	b.entries = append(b.entries, queue.Entry[broker.Notice]{Item: n, Size: size})
}

func (b *inboxBatch) flush() error {
	l, hooks := b.l, &b.l.e.hooks
	if b.frames > 0 && hooks.traffic != nil {
		hooks.traffic.Received(l.peer, b.frames, b.bytes)
	}
	b.frames, b.bytes = 0, 0
	if len(b.entries) == 0 {
		return nil
	}
	l.stalled.Store(true)
	lost, err := l.e.inbox.Push(l.ctx, b.entries...)
	l.stalled.Store(false)
	clear(b.entries)
	b.entries = b.entries[:0]
	if lost.Items > 0 {
		if lost.First {
			l.log.Warn().Int("limit", l.e.cfg.ReceiveQueue).Stringer("policy", l.e.cfg.ReceiveOverflow).
				Msg("receive queue is full, dropping messages")
		}
		if hooks.drops != nil {
			hooks.drops.DroppedReceived(l.peer, lost.Items)
		}
	}
	if err != nil {
		return fmt.Errorf("peering: receive queue: %w", err)
	}
	return nil
}

// receive acts upon an envelope. It returns a notice where there is something
// for the caller of Next, and an error if the connection must end.
func (l *link) receive(env *wire.Envelope) (broker.Notice, error) {
	if env.Sender != l.peer.ID {
		// Nil, ourselves, or somebody whose envelope was forwarded as it was.
		l.skip("foreign sender", nil).Stringer("sender", env.Sender).Send()
		return nil, nil
	}
	if env.Receiver != uuid.Nil && env.Receiver != l.e.cfg.ID {
		l.skip("other receiver", nil).Stringer("receiver", env.Receiver).Send()
		return nil, nil
	}
	switch env.Type {
	case wire.TypeData:
		return l.receiveData(env), nil
	case wire.TypeRoutingUpdate:
		f, err := wire.DecodeFilter(env.Payload)
		if err != nil {
			return nil, fmt.Errorf("peering: routing update: %w", err)
		}
		return l.receiveFilter(f), nil
	case wire.TypePing:
		return nil, l.receivePing(env)
	case wire.TypePong:
		l.pongMu.Lock()
		defer l.pongMu.Unlock()
		if c, ok := l.pongs[string(env.Payload)]; ok {
			close(c)
			delete(l.pongs, string(env.Payload))
		}
	case wire.TypeCommand:
		// For data stores, which we have none of.
	}
	return nil, nil
}

// receiveFilter returns a notice if f is another filter than before: Zeek
// repeats its own.
func (l *link) receiveFilter(f broker.Filter) broker.Notice {
	before := *l.filter.Load()
	l.setFilter(f)
	now := *l.filter.Load()
	if now.Equal(before) {
		return nil
	}
	return broker.PeerSubscribed{Peer: l.peer, Filter: slices.Clone(now)}
}

// receiveData returns what our scripts would get if we were a Zeek: also a
// message to us alone must match a subscription. Zeek sends us LogCreate that
// does not.
func (l *link) receiveData(env *wire.Envelope) broker.Notice {
	if !l.e.filter.Load().Matches(env.Topic) {
		return nil
	}
	v, err := l.values.Decode(env.Payload)
	if err != nil {
		l.skip("undecodable value", err).Str("topic", env.Topic).Send()
		return nil
	}
	return broker.Received{Peer: l.peer, Message: broker.Message{Topic: env.Topic, Value: v}}
}

func (l *link) receivePing(env *wire.Envelope) error {
	if len(env.Payload) > maxPing {
		return fmt.Errorf("peering: ping of %d bytes, limit is %d", len(env.Payload), maxPing)
	}
	pong := env.Pong(l.e.cfg.ID)
	if err := l.out.Keep(noWait, pong.AppendFrame(nil)); err != nil {
		return fmt.Errorf("peering: pings faster than it reads pongs: %w", broker.ErrOverflow)
	}
	if env.IsBye() && !l.bye.Swap(true) {
		// It closes when it has the pong.
		l.byeTimer = time.AfterFunc(l.e.cfg.ByeTimeout, func() { l.fail(ErrPeerBye) })
	}
	return nil
}

// noWait is a context that ended.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// skip counts a frame that is of no use and begins a line in the log: a warning
// the first time, which is when there may be somebody to be told.
func (l *link) skip(what string, err error) *zerolog.Event {
	level := zerolog.DebugLevel
	if l.skipped.Add(1) == 1 {
		level = zerolog.WarnLevel
	}
	return l.log.WithLevel(level).Err(err).Str("skipped", what)
}

// write sends what is queued, and our filter when it has changed.
func (l *link) write() {
	batch := outBatch{l: l, buf: make([]byte, 0, 4<<10)}
	for {
		frame, ok := l.out.TryNext()
		var err error
		// Only now: who subscribes and then sends a ping wants them in this
		// order.
		if f := l.e.filter.Load(); f != l.told {
			l.told = f
			update := wire.RoutingUpdate(l.e.cfg.ID, l.peer.ID, *f)
			err = batch.add(update.AppendFrame(nil))
		}
		switch {
		case err != nil:
		case ok:
			err = batch.add(frame)
		default:
			err = batch.flush()
		}
		if err != nil {
			l.fail(err)
			return
		}
		if !ok {
			if _, open := <-l.out.Ready(); !open {
				return
			}
		}
	}
}

// outBatch collects frames on their way to the connection.
type outBatch struct {
	l      *link
	buf    []byte
	frames int // in buf
}

func (b *outBatch) add(frame []byte) error {
	b.l.trace.sent(frame)
	if len(b.buf)+len(frame) > writeBuffer {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.frames++
	if len(frame) >= writeBuffer {
		return b.write(frame)
	}
	b.buf = append(b.buf, frame...)
	return nil
}

func (b *outBatch) flush() error {
	if b.frames == 0 {
		return nil
	}
	buf := b.buf
	b.buf = b.buf[:0]
	return b.write(buf)
}

func (b *outBatch) write(buf []byte) error {
	_, err := b.l.conn.Write(buf)
	switch {
	case err != nil && b.l.bye.Load():
		return ErrPeerBye
	case err != nil:
		return fmt.Errorf("peering: write: %w", err)
	}
	if traffic := b.l.e.hooks.traffic; traffic != nil {
		traffic.Sent(b.l.peer, b.frames, len(buf))
	}
	b.frames = 0
	return nil
}

// enqueue lets frame wait for the writer. The error is that of ctx; what ends
// the link is no concern of the publisher.
func (l *link) enqueue(ctx context.Context, frame []byte) error {
	lost, err := l.out.Push(ctx, queue.Entry[[]byte]{Item: frame, Size: len(frame)})
	if lost.Items > 0 {
		if lost.First {
			l.log.Warn().Int("messages", l.e.cfg.SendQueue).Int("bytes", l.e.cfg.SendBytes).Stringer("policy", l.e.cfg.SendOverflow).
				Msg("send queue is full, dropping messages")
		}
		if l.e.hooks.drops != nil {
			l.e.hooks.drops.DroppedSending(l.peer, lost.Items)
		}
	}
	switch err {
	case broker.ErrClosed:
		return nil
	case broker.ErrOverflow:
		l.fail(fmt.Errorf("peering: send queue: %w", err))
		return nil
	}
	return err
}

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
		l.out.Keep(noWait, l.pingFrame([]byte("alive")))
	}
}
