package peering

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// writeBuffer is the number of bytes written at once. Larger frames are written
// separately.
const writeBuffer = 64 << 10

// write sends the queued frames, and the subscriptions when they have changed.
func (l *link) write() {
	batch := outBatch{l: l}
	defer batch.release()
	for {
		frame, ok := l.out.TryNext()
		var err error
		// After TryNext, so that a changed filter is sent before a ping that was
		// queued after the change.
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

// outBatch collects frames for one write.
type outBatch struct {
	l      *link
	buf    *[]byte // nil if there are no frames
	frames int     // in buf
}

// writeBuffers has the buffers that no link uses. Links without frames to write have none.
var writeBuffers = sync.Pool{New: func() any { return new([]byte) }}

func (b *outBatch) add(frame []byte) error {
	b.l.trace.sent(frame)
	if b.buf != nil && len(*b.buf)+len(frame) > writeBuffer {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.frames++
	if len(frame) >= writeBuffer {
		return b.write(frame)
	}
	if b.buf == nil {
		b.buf = writeBuffers.Get().(*[]byte)
	}
	*b.buf = append(*b.buf, frame...)
	return nil
}

func (b *outBatch) flush() error {
	if b.buf == nil {
		return nil
	}
	defer b.release()
	return b.write(*b.buf)
}

// release returns the buffer to the pool. Its contents are lost.
func (b *outBatch) release() {
	if b.buf != nil {
		*b.buf = (*b.buf)[:0]
		writeBuffers.Put(b.buf)
		b.buf = nil
	}
}

func (b *outBatch) write(buf []byte) error {
	_, err := b.l.conn.Write(buf)
	switch {
	case err != nil && b.l.bye.Load():
		return ErrPeerBye
	case err != nil:
		return fmt.Errorf("peering: write: %w", err)
	}
	b.l.e.hooks.Sent(b.l.peer, b.frames, len(buf))
	b.frames = 0
	return nil
}

// enqueue queues frame for the writer, as one of several links. It returns an error only if ctx ends: the
// end of the link is not an error of the publisher.
func (l *link) enqueue(ctx context.Context, frame []byte, links int) error {
	lost, err := l.out.Push(ctx, queue.Entry[[]byte]{Item: frame, Size: len(frame), Shared: links})
	if lost.Items > 0 {
		if lost.First {
			l.log.Warn().Int("messages", l.e.cfg.SendQueue).Int("bytes", l.e.cfg.SendBytes).Stringer("policy", l.e.cfg.SendOverflow).
				Msg("send queue is full, dropping messages")
		}
		l.e.hooks.DroppedSending(l.peer, lost.Items)
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
