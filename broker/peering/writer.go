package peering

import (
	"context"
	"errors"
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// writeBuffer is how many bytes of frames go to the connection at once. Larger
// frames go alone.
const writeBuffer = 64 << 10

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
	switch {
	case errors.Is(err, broker.ErrClosed):
		return nil
	case errors.Is(err, broker.ErrOverflow):
		l.fail(fmt.Errorf("peering: send queue: %w", err))
		return nil
	}
	return err
}
