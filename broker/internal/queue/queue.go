// Package queue is the bounded queue that every bus has between its connections
// and those who call it, for what is sent and for what is received.
package queue

import (
	"context"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// Queue is a bounded queue from any number of producers to one consumer. It
// holds loose items, of which some may get lost by its policy, and kept ones,
// which never do. All stay in the order in which they came.
//
// Next and TryNext are for the consumer, one at a time; any goroutine may call
// the other methods. The consumer takes over all there is when it has nothing
// left. What it took over no policy can drop any more, and it does not count
// against the limits, so that there may be twice as much in memory.
type Queue[T any] struct {
	limits Limits

	// ready has a value when there is something to take over, and is closed
	// with the queue.
	ready chan struct{}

	// What the consumer took over; taken[:next] has been returned. These are
	// the consumer's.
	taken []Entry[T]
	next  int
	calm  int // how often there was little to take over since there was much

	mu      sync.Mutex
	items   []Entry[T]
	head    int // items[:head] were dropped
	loose   int
	bytes   int
	keeping int
	dropped uint64
	before  uint64 // value of dropped when the consumer came the last time
	episode bool   // items were dropped, and still are
	closed  bool
	room    chan struct{} // closed when there may be room; nil if nobody waits
}

// Limits says how much a queue holds, and what happens to more.
type Limits struct {
	Policy broker.Overflow // for loose items that do not fit
	Loose  int             // how many loose items
	Bytes  int             // of all loose items together; one is let in in any case
	Kept   int             // how many kept items, before Keep waits
}

// Entry is an item and its size in bytes.
type Entry[T any] struct {
	Item T
	Size int
	kept bool
}

// Lost says what the policy dropped for a Push.
type Lost struct {
	Items int
	First bool // nothing was dropped between the last two visits of the consumer
}

// The memory of more than keepEntries entries is let go after the consumer did
// not find as many for calmDown times.
const (
	keepEntries = 256
	calmDown    = 1000
)

// New returns an empty queue.
func New[T any](limits Limits) *Queue[T] {
	return &Queue[T]{limits: limits, ready: make(chan struct{}, 1)}
}

// Budget returns what to set Limits.Bytes to where the largest item has so many
// bytes: enough for a few of those, and for all usual ones.
func Budget(largest int) int {
	const least, few, absurd = 64 << 20, 4, 256 << 20
	return max(least, few*min(largest, absurd))
}

// Push adds loose items one after the other. Where one does not fit it does
// what the policy says: wait for room or ctx, drop something, or give up with
// broker.ErrOverflow. In a closed queue it returns broker.ErrClosed.
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
	return nil
}

// Keep adds an item that is never dropped. It waits for room or ctx. In a
// closed queue it returns broker.ErrClosed.
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

// Force is Keep without the limit, for what is bounded otherwise. In a closed
// queue it does nothing.
func (q *Queue[T]) Force(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.keep(item)
	}
}

// Next waits for an item or ctx and takes the item. After Close it takes what
// is left, and then returns broker.ErrClosed.
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

// TryNext takes an item if there is one.
func (q *Queue[T]) TryNext() (item T, ok bool) {
	if q.next == len(q.taken) {
		q.takeOver()
		if len(q.taken) == 0 {
			return item, false
		}
	}
	item = q.taken[q.next].Item
	q.taken[q.next] = Entry[T]{}
	q.next++
	return item, true
}

// Ready is for a consumer that has more to wait for than Next does. It has a
// value some time after an item or Wake came, and is closed after Close. If
// TryNext finds nothing both before and after Ready was closed, there will be
// nothing.
func (q *Queue[T]) Ready() <-chan struct{} { return q.ready }

// Wake makes Ready have a value though there may be nothing to take.
func (q *Queue[T]) Wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.signalReady()
}

// Close lets no more items in. What is in can still be taken.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.ready)
		q.signalRoom()
	}
}

// Stats returns how many items wait, without those that the consumer took over,
// and how many were dropped ever.
func (q *Queue[T]) Stats() (waiting int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.head, q.dropped
}

// takeOver gives the consumer all there is, and the queue the memory of what
// the consumer had, unless that is a remainder of busier times.
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
		// Half of it is free: cheaper than to grow, and seldom enough.
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, e)
	q.signalReady()
}

// dropOldest removes the first loose item, which must exist. Kept items before
// it, of which there are few, move up.
func (q *Queue[T]) dropOldest() {
	i := q.head
	for q.items[i].kept {
		i++
	}
	q.loose--
	q.bytes -= q.items[i].Size
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
