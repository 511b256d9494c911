// Package queue implements the bounded queues of all transports: the send queue
// of each connection and the receive queue of each bus.
package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// Queue is a bounded queue with any number of producers and one consumer. It
// holds loose items, which its policy may drop, and kept items, which are never
// dropped. Items stay in the order in which they were added.
//
// Next and TryNext are for the consumer and must not be called concurrently. All
// other methods may be called concurrently. When the consumer has no items left
// it takes over all items of the queue at once. Those items are no longer
// dropped and do not count against the limits, so memory use can reach twice the
// limits.
type Queue[T any] struct {
	limits Limits
	share  *share // nil without a Total

	// ready holds a value when there are items to take over. It is closed with
	// the queue.
	ready chan struct{}

	// Items that the consumer took over; taken[:next] has been returned. Only
	// the consumer uses these fields.
	taken []Entry[T]
	next  int
	using int // charge of the item that the consumer uses
	calm  int // number of small takeovers since the last large one

	mu      sync.Mutex
	items   []Entry[T]
	head    int // items[:head] were dropped
	loose   int
	bytes   int
	keeping int
	dropped uint64
	before  uint64 // value of dropped at the last takeover
	episode bool   // items have been dropped since before the last takeover
	closed  bool
	room    chan struct{} // closed when there may be room; nil if no producer waits
}

// Limits are the limits of a queue and its policy.
type Limits struct {
	Policy broker.Overflow // for loose items beyond the limits
	Loose  int             // number of loose items
	Bytes  int             // of all loose items; a single item may exceed it
	Kept   int             // number of kept items before Keep blocks

	// Total, if non-nil, limits the loose items of many queues. It calls Full, which
	// must end the use of the queue, and may call its methods.
	Total *Total
	Full  func()
}

// Entry is an item and its size in bytes.
type Entry[T any] struct {
	Item T
	Size int

	// Shared is the number of queues with the same item. Each counts a part of the
	// size for its Total. Zero means 1.
	Shared int

	kept bool
}

// charge returns the bytes that count for a Total.
func (e Entry[T]) charge() int {
	if e.kept {
		return 0
	}
	return e.Size / max(1, e.Shared)
}

// Lost describes the items dropped by a Push.
type Lost struct {
	Items int
	First bool // no item was dropped between the last two takeovers
}

// Memory for more than keepEntries entries is released after calmDown takeovers
// of fewer entries.
const (
	keepEntries = 256
	calmDown    = 1000
)

// New returns an empty queue.
func New[T any](limits Limits) *Queue[T] {
	return &Queue[T]{limits: limits, share: newShare(limits.Total, limits.Full), ready: make(chan struct{}, 1)}
}

// Budget returns the default of Limits.Bytes for items of at most largest bytes:
// 64 MiB, or four of the largest items if that is more, but at most 1 GiB.
func Budget(largest int) int {
	const least, few, absurd = 64 << 20, 4, 256 << 20
	return max(least, few*min(largest, absurd))
}

// Push adds loose items in order. For an item that does not fit it applies the
// policy: it blocks until there is room or ctx ends, drops an item, or returns
// broker.ErrOverflow. If the queue is closed it returns broker.ErrClosed.
func (q *Queue[T]) Push(ctx context.Context, entries ...Entry[T]) (lost Lost, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.dropped
	defer func() {
		lost.Items = int(q.dropped - before)
		lost.First = lost.Items > 0 && !q.episode
		q.episode = q.episode || lost.Items > 0
	}()
	for _, e := range entries {
		if err := q.push(ctx, e); err != nil {
			return lost, err
		}
	}
	return lost, nil
}

func (q *Queue[T]) push(ctx context.Context, e Entry[T]) error {
	for !q.closed && (q.loose >= q.limits.Loose || q.loose > 0 && q.bytes+e.Size > q.limits.Bytes) {
		switch q.limits.Policy {
		case broker.OverflowDropOldest:
			q.dropOldest()
		case broker.OverflowDropNewest:
			q.dropped++
			return nil
		case broker.OverflowDisconnect:
			return broker.ErrOverflow
		default:
			if err := q.wait(ctx); err != nil {
				return err
			}
		}
	}
	if q.closed {
		return broker.ErrClosed
	}
	q.loose++
	q.bytes += e.Size
	e.kept = false
	q.add(e)
	q.share.add(e.charge())
	return nil
}

// Keep adds an item that is never dropped. It blocks until there is room or ctx
// ends. If the queue is closed it returns broker.ErrClosed.
func (q *Queue[T]) Keep(ctx context.Context, item T) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && q.keeping >= q.limits.Kept {
		if err := q.wait(ctx); err != nil {
			return err
		}
	}
	if q.closed {
		return broker.ErrClosed
	}
	q.keep(item)
	return nil
}

// Force is Keep without the limit, for items whose number is bounded by other
// means. If the queue is closed it does nothing.
func (q *Queue[T]) Force(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.keep(item)
	}
}

// Next waits for an item and removes it. After Close it returns the items that
// are left, and then broker.ErrClosed. If ctx ends it returns the cause.
func (q *Queue[T]) Next(ctx context.Context) (T, error) {
	open := true
	for {
		item, ok := q.TryNext()
		switch {
		case ok:
			return item, nil
		case !open:
			return item, broker.ErrClosed
		}
		select {
		case _, open = <-q.ready:
		case <-ctx.Done():
			return item, context.Cause(ctx)
		}
	}
}

// TryNext removes an item if there is one. It does not wait.
//
// The item before is no longer in use, and no longer counts for a Total.
func (q *Queue[T]) TryNext() (item T, ok bool) {
	q.share.remove(q.using, true)
	q.using = 0
	if q.next == len(q.taken) {
		q.takeOver()
		if len(q.taken) == 0 {
			return item, false
		}
	}
	item, q.using = q.taken[q.next].Item, q.taken[q.next].charge()
	q.taken[q.next] = Entry[T]{}
	q.next++
	return item, true
}

// Ready is for a consumer that selects from several channels. It receives a
// value after an item was added or Wake was called, and is closed by Close. Once
// it is closed and TryNext finds nothing, there will be no further items.
func (q *Queue[T]) Ready() <-chan struct{} { return q.ready }

// Wake sends a value to Ready although there may be no item.
func (q *Queue[T]) Wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.signalReady()
}

// Close refuses further items. Items in the queue can still be removed.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.ready)
		q.signalRoom()
	}
}

// Discard closes the queue and removes all items, so that they no longer count for a
// Total. The consumer must no longer use the queue.
func (q *Queue[T]) Discard() {
	q.Close()
	for ok := true; ok; {
		_, ok = q.TryNext()
	}
}

// Stats returns the number of items in the queue, without those that the
// consumer took over, and the number of items dropped since New.
func (q *Queue[T]) Stats() (waiting int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.head, q.dropped
}

// takeOver hands all items to the consumer. The queue reuses the memory of the
// consumer's former items, unless it was needed for a burst long ago.
func (q *Queue[T]) takeOver() {
	q.mu.Lock()
	defer q.mu.Unlock()
	empty := q.taken[:0]
	if q.calm++; len(q.items)-q.head > keepEntries {
		q.calm = 0
	} else if q.calm >= calmDown && cap(empty) > keepEntries {
		empty = nil
	}
	q.taken, q.next = q.items[q.head:], 0
	q.items, q.head = empty, 0
	q.loose, q.bytes, q.keeping = 0, 0, 0
	q.episode = q.dropped > q.before
	q.before = q.dropped
	q.signalRoom()
}

func (q *Queue[T]) keep(item T) {
	q.keeping++
	q.add(Entry[T]{Item: item, kept: true})
}

func (q *Queue[T]) add(e Entry[T]) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) {
		// Half of the slice is free: moving the items is cheaper than growing.
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, e)
	q.signalReady()
}

// dropOldest removes the first loose item, which must exist. The few kept items
// before it move up.
func (q *Queue[T]) dropOldest() {
	i := q.head
	for q.items[i].kept {
		i++
	}
	q.loose--
	q.bytes -= q.items[i].Size
	q.share.remove(q.items[i].charge(), false)
	q.dropped++
	copy(q.items[q.head+1:i+1], q.items[q.head:i])
	q.items[q.head] = Entry[T]{}
	q.head++
}

// wait releases the lock until there may be room.
func (q *Queue[T]) wait(ctx context.Context) error {
	if q.room == nil {
		q.room = make(chan struct{})
	}
	room := q.room
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (q *Queue[T]) signalReady() {
	if q.closed {
		return
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *Queue[T]) signalRoom() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// ExplainTimeout returns err, an error of Next of a bus with the given
// subscriptions. If it is a timeout and the bus has no subscriptions, the result
// also wraps a *broker.NotSubscribedError.
func ExplainTimeout(err error, subscriptions broker.Filter) error {
	if len(subscriptions) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", err, &broker.NotSubscribedError{})
}
