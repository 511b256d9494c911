package peering

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/wire"
)

const (
	// maxBatch limits the messages that the reader collects before it queues
	// them. It queues them earlier when the next read would block.
	maxBatch = 256

	// maxPing limits the payload of a ping, which the pong has to repeat. Zeek's
	// pings have 11 bytes.
	maxPing = 4 << 10
)

// read receives frames until the connection ends or must end, and returns the
// reason.
func (l *link) read() error {
	batch := inboxBatch{l: l}
	for {
		if batch.full() || !l.frames.Buffered() {
			if err := batch.flush(); err != nil {
				return err
			}
			l.releaseMemory()
		}
		frame, err := l.frames.Next(l.e.cfg.MaxMessage)
		switch {
		case errors.Is(err, wire.ErrEmptyFrame):
			l.trace.frame(false, nil)
			continue // as Broker does
		case err != nil:
			return l.readError(err)
		case len(frame) > readBuffer:
			err = l.takeLarge(&batch, frame)
		default:
			err = l.take(&batch, frame)
		}
		if err != nil {
			return err
		}
	}
}

// decoder returns the decoder of the reader. It takes one from a pool if the reader has none.
// releaseMemory returns it to the pool, so that idle connections have none.
func (l *link) decoder() *bin.Decoder {
	if l.values == nil {
		// A decoded element takes 32 bytes, an encoded one may take a single byte.
		l.values, _ = l.e.decoders.Get().(*bin.Decoder)
		if l.values == nil {
			l.values = &bin.Decoder{MaxElements: max(minElements, l.e.cfg.MaxMessage/16)}
		}
	}
	return l.values
}

// releaseMemory gives up the memory that a waiting reader does not need. The last payload is
// in a buffer that another connection may use next.
func (l *link) releaseMemory() {
	l.envelope.Payload = nil
	if l.values != nil {
		l.e.decoders.Put(l.values)
		l.values = nil
	}
}

// take adds the message in a frame to the batch. If it fails, the link must end.
func (l *link) take(batch *inboxBatch, frame []byte) error {
	l.trace.frame(false, frame)
	batch.frames++
	batch.bytes += 4 + len(frame)
	var message broker.Notification
	err := l.envelope.Decode(frame)
	if err != nil {
		err = l.broken(err)
	} else {
		message, err = l.receive(&l.envelope)
	}
	if err != nil {
		_ = batch.flush() // the error below ends the link
		return err
	}
	switch message.(type) {
	case nil:
	case broker.Received:
		batch.add(message, l.decoder().Size())
	default:
		batch.add(message, len(frame))
	}
	return nil
}

// takeLarge is take for a large frame, whose message it delivers at once. Few
// large messages are decoded and not yet delivered at the same time.
func (l *link) takeLarge(batch *inboxBatch, frame []byte) error {
	defer l.intake.Done()
	if err := batch.flush(); err != nil {
		return err
	}
	l.stalled.Store(true)
	end, err := l.e.intake.Turn(l.ctx)
	l.stalled.Store(false)
	if err != nil {
		return err
	}
	defer end()
	if err := l.take(batch, frame); err != nil {
		return err
	}
	return batch.flush()
}

// meter is the account of a link's incomplete frames. While it waits for memory,
// the peer is not expected to send.
type meter struct {
	*intake.Account
	l *link
}

func (m meter) Take(n int) error {
	m.l.stalled.Store(true)
	defer m.l.stalled.Store(false)
	return m.Account.Take(n)
}

func (l *link) readError(err error) error {
	var size *wire.FrameSizeError
	switch {
	case errors.As(err, &size):
		return l.broken(err)
	case l.bye.Load():
		return ErrPeerBye
	}
	return readError(err)
}

// inboxBatch collects messages for the receive queue.
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
	if b.frames > 0 {
		hooks.Received(l.peer, b.frames, b.bytes)
	}
	b.frames, b.bytes = 0, 0
	if len(b.entries) == 0 {
		return nil
	}
	l.ticket.Touch()
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
		hooks.DroppedReceived(l.peer, lost.Items)
	}
	if err != nil {
		return fmt.Errorf("peering: receive queue: %w", err)
	}
	return nil
}

// receive handles an envelope. It returns a notification for the caller of Next,
// or nil, and an error if the connection must end.
func (l *link) receive(env *wire.Envelope) (broker.Notification, error) {
	if env.Sender != l.peer.ID {
		// Nil, this endpoint, or an endpoint whose envelope was forwarded.
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
			return nil, l.broken(fmt.Errorf("routing update: %w", err))
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
		// For data stores, which this endpoint does not have.
	}
	return nil, nil
}

// receiveFilter stores the peer's subscriptions. It returns a notification if
// they have changed, because Zeek repeats them.
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

// receiveData returns a Received if the topic matches a subscription. As in Zeek,
// that is required even of messages addressed to this endpoint alone. Zeek sends
// LogCreate messages that do not match.
func (l *link) receiveData(env *wire.Envelope) broker.Notification {
	if !l.e.filter.Load().Matches(env.Topic) {
		return nil
	}
	if payload := l.e.cfg.Payload; payload != nil {
		handled, err := payload(l.peer, env.Topic, env.Payload)
		if err != nil {
			l.skip("unexpected value", l.broken(err)).Str("topic", env.Topic).Send()
		}
		if handled {
			return nil
		}
	}
	v, err := l.decoder().Decode(env.Payload)
	if err != nil {
		l.skip("undecodable value", l.broken(err)).Str("topic", env.Topic).Send()
		return nil
	}
	return broker.Received{Peer: l.peer, Message: broker.Message{Topic: env.Topic, Value: v}}
}

func (l *link) receivePing(env *wire.Envelope) error {
	if len(env.Payload) > maxPing {
		return l.broken(fmt.Errorf("ping of %d bytes, limit is %d", len(env.Payload), maxPing))
	}
	pong := env.Pong(l.e.cfg.ID)
	if err := l.out.Keep(noWait, pong.AppendFrame(nil)); err != nil {
		return fmt.Errorf("peering: the peer sends pings faster than it reads pongs: %w", broker.ErrOverflow)
	}
	if env.IsBye() && !l.bye.Swap(true) {
		// The peer closes the connection when it has received the pong.
		l.byeTimer = time.AfterFunc(l.e.cfg.ByeTimeout, func() { l.fail(ErrPeerBye) })
	}
	return nil
}

// noWait is a context that has ended.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// skip counts an ignored frame and begins a log entry: a warning for the first
// frame of the link, if there are not too many of other links, debug for further ones.
func (l *link) skip(what string, err error) *zerolog.Event {
	line := l.log.Debug()
	if l.skipped.Add(1) == 1 {
		line = l.note(zerolog.WarnLevel, "skipped")
	}
	return line.Err(err).Str("skipped", what)
}
