package websocket

import (
	"context"
	"slices"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// inbox holds the notices that nobody has taken yet: at most limit messages,
// and all news of peers, which no policy may drop.
type inbox struct {
	limit  int
	policy broker.Overflow

	mu       sync.Mutex
	items    []broker.Notice
	messages int // among items
	dropped  uint64
	closed   bool
	ready    chan struct{} // if somebody waits: closed when a notice or close arrives
	room     chan struct{} // if somebody waits: closed when a message leaves
}

func newInbox(limit int, policy broker.Overflow) *inbox {
	return &inbox{limit: limit, policy: policy}
}

// push adds n. For a message that finds limit others it does what the policy
// says and reports whether this dropped the first one ever.
func (q *inbox) push(ctx context.Context, n broker.Notice) (first bool, err error) {
	_, message := n.(broker.Received)
	q.mu.Lock()
	defer q.mu.Unlock()
	for message && !q.closed && q.messages >= q.limit {
		switch q.policy {
		case broker.OverflowDropOldest:
			i := slices.IndexFunc(q.items, func(n broker.Notice) bool { _, ok := n.(broker.Received); return ok })
			q.items = slices.Delete(q.items, i, i+1)
			q.messages--
			q.dropped++
			first = q.dropped == 1
		case broker.OverflowDropNewest:
			q.dropped++
			return q.dropped == 1, nil
		case broker.OverflowDisconnect:
			return false, broker.ErrOverflow
		default:
			if err := q.wait(ctx, &q.room); err != nil {
				return false, err
			}
		}
	}
	if q.closed {
		return first, broker.ErrClosed
	}
	q.items = append(q.items, n)
	if message {
		q.messages++
	}
	wake(&q.ready)
	return first, nil
}

// next waits for a notice and takes it.
func (q *inbox) next(ctx context.Context) (broker.Notice, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 {
		if q.closed {
			return nil, broker.ErrClosed
		}
		if err := q.wait(ctx, &q.ready); err != nil {
			return nil, err
		}
	}
	n := q.items[0]
	q.items[0] = nil
	q.items = q.items[1:]
	if _, message := n.(broker.Received); message {
		q.messages--
		wake(&q.room)
	}
	return n, nil
}

// close lets nothing more in.
func (q *inbox) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	wake(&q.ready)
	wake(&q.room)
}

// wait releases the lock until *signal is woken or ctx ends.
func (q *inbox) wait(ctx context.Context, signal *chan struct{}) error {
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
