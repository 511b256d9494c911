// Package queue is the bounded queue between goroutines that both transports
// use for what they send and for what they receive.
package queue

import (
	"context"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// Queue holds at most a fixed number of items. All methods may be called from
// any goroutine.
type Queue[T any] struct {
	limit  int
	policy broker.Overflow

	mu      sync.Mutex
	items   []T
	head    int // items[:head] are taken
	dropped uint64
	closed  bool
	ready   chan struct{} // closed and replaced when an item or Close arrives
	room    chan struct{} // closed and replaced when an item leaves
}

// New returns a queue of at most limit items, which must be positive.
func New[T any](limit int, policy broker.Overflow) *Queue[T] {
	return &Queue[T]{limit: limit, policy: policy}
}

// Push adds v. When the queue is full it does what the policy says: waits for
// room or ctx, drops an item and counts it, or returns broker.ErrOverflow.
// After Close it returns broker.ErrClosed.
func (q *Queue[T]) Push(ctx context.Context, v T) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && len(q.items)-q.head >= q.limit {
		switch q.policy {
		case broker.OverflowDropOldest:
			q.take()
			q.dropped++
		case broker.OverflowDropNewest:
			q.dropped++
			return nil
		case broker.OverflowDisconnect:
			return broker.ErrOverflow
		default:
			if err := q.wait(ctx, &q.room); err != nil {
				return err
			}
		}
	}
	if q.closed {
		return broker.ErrClosed
	}
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
	wake(&q.ready)
	return nil
}

// Pop waits for an item and takes it. After Close it takes what is left, then
// returns broker.ErrClosed.
func (q *Queue[T]) Pop(ctx context.Context) (T, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == len(q.items) {
		if q.closed {
			var zero T
			return zero, broker.ErrClosed
		}
		if err := q.wait(ctx, &q.ready); err != nil {
			var zero T
			return zero, err
		}
	}
	v := q.take()
	wake(&q.room)
	return v, nil
}

// PopAll waits for an item and takes all there are, in place of Pop where
// batches are cheaper. It appends to buf.
func (q *Queue[T]) PopAll(ctx context.Context, buf []T) ([]T, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == len(q.items) {
		if q.closed {
			return buf, broker.ErrClosed
		}
		if err := q.wait(ctx, &q.ready); err != nil {
			return buf, err
		}
	}
	buf = append(buf, q.items[q.head:]...)
	clear(q.items)
	q.items, q.head = q.items[:0], 0
	wake(&q.room)
	return buf, nil
}

// Close lets no more items in. Calling it again does nothing.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	wake(&q.ready)
	wake(&q.room)
}

// Len returns the number of items in the queue.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.head
}

// Dropped returns how many items the policy has dropped so far.
func (q *Queue[T]) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// take removes the first item, which must exist.
func (q *Queue[T]) take() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return v
}

// wait releases the lock until *signal is woken or ctx ends.
func (q *Queue[T]) wait(ctx context.Context, signal *chan struct{}) error {
	if *signal == nil {
		*signal = make(chan struct{})
	}
	c := *signal
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func wake(signal *chan struct{}) {
	if *signal != nil {
		close(*signal)
		*signal = nil
	}
}
