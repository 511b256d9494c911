package peering

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/wire"
)

const (
	// maxBatch is how many messages the reader collects before it hands them
	// over; it does so earlier when it would have to wait for the next.
	maxBatch = 256

	// A frame buffer above this size is not kept for the next frame.
	keepBuffer = 1 << 20

	// Zeek's pings have 11 bytes. We have to keep what we answer.
	maxPing = 4 << 10
)

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
		if errors.Is(err, wire.ErrEmptyFrame) {
			continue // as Broker does
		}
		if err != nil {
			return l.readError(err)
		}
		l.trace.frame(false, buf)
		batch.frames++
		batch.bytes += 4 + len(buf)
		if err := env.Decode(buf); err != nil {
			_ = batch.flush() // the error below ends the link
			return fmt.Errorf("peering: %w", err)
		}
		message, err := l.receive(&env)
		if err != nil {
			_ = batch.flush() // the error below ends the link
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
	entries       []queue.Entry[broker.Notification]
	frames, bytes int // of all types, for the hooks
}

func (b *inboxBatch) full() bool { return len(b.entries) >= maxBatch }

func (b *inboxBatch) add(n broker.Notification, size int) {
	b.entries = append(b.entries, queue.Entry[broker.Notification]{Item: n, Size: size})
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

// receive acts upon an envelope. It returns a notification where there is something
// for the caller of Next, and an error if the connection must end.
func (l *link) receive(env *wire.Envelope) (broker.Notification, error) {
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

// receiveFilter returns a notification if f is another filter than before: Zeek
// repeats its own.
func (l *link) receiveFilter(f broker.Filter) broker.Notification {
	before := *l.filter.Load()
	l.setFilter(f)
	now := *l.filter.Load()
	if now.Equal(before) {
		return nil
	}
	l.e.registry.reroute()
	return broker.PeerSubscribed{Peer: l.peer, Filter: slices.Clone(now)}
}

// receiveData returns what our scripts would get if we were a Zeek: also a
// message to us alone must match a subscription. Zeek sends us LogCreate that
// does not.
func (l *link) receiveData(env *wire.Envelope) broker.Notification {
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
