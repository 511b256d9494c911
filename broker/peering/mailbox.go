package peering

import (
	"context"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// mailbox is a bounded queue from any number of producers to one consumer. It
// holds loose items, of which some may get lost by its policy, and kept ones,
// which never do. All stay in the order in which they came.
type mailbox[T any] struct {
	policy broker.Overflow
	limit  int // of loose items
	budget int // of their bytes; one item is let in in any case
	kept   int // how many kept items there may be before keep waits

	// ready has a value when there is something to take, and is closed with
	// the mailbox.
	ready chan struct{}

	mu      sync.Mutex
	items   []entry[T]
	head    int // items[:head] were dropped
	loose   int
	bytes   int
	keeping int
	dropped uint64
	before  uint64 // value of dropped at the last take
	episode bool   // items were dropped, and still are
	closed  bool
	room    chan struct{} // closed when there may be room; nil if nobody waits
}

type entry[T any] struct {
	item T
	size int // in bytes
	kept bool
}

// overflowed says what became of other items when some were pushed.
type overflowed struct {
	dropped int
	first   bool // an episode of dropping begins
}

// newMailbox returns a mailbox for limit loose items of budget bytes together.
func newMailbox[T any](policy broker.Overflow, limit, budget, kept int) *mailbox[T] {
	return &mailbox[T]{policy: policy, limit: limit, budget: budget, kept: kept, ready: make(chan struct{}, 1)}
}

// push adds loose items one after the other. Where one does not fit it does
// what the policy says: wait for room or ctx, drop something, or give up with
// broker.ErrOverflow. In a closed mailbox it returns broker.ErrClosed.
func (m *mailbox[T]) push(ctx context.Context, entries ...entry[T]) (over overflowed, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.dropped
	defer func() {
		over.dropped = int(m.dropped - before)
		over.first = over.dropped > 0 && !m.episode
		m.episode = m.episode || over.dropped > 0
	}()
	for _, e := range entries {
		for !m.closed && (m.loose >= m.limit || m.loose > 0 && m.bytes+e.size > m.budget) {
			switch m.policy {
			case broker.OverflowDropOldest:
				m.dropOldest()
				continue
			case broker.OverflowDropNewest:
				m.dropped++
				return over, nil
			case broker.OverflowDisconnect:
				return over, broker.ErrOverflow
			}
			if err := m.wait(ctx); err != nil {
				return over, err
			}
		}
		if m.closed {
			return over, broker.ErrClosed
		}
		m.loose++
		m.bytes += e.size
		m.add(e)
	}
	return over, nil
}

// keep adds an item that is never dropped. It waits for room or ctx.
func (m *mailbox[T]) keep(ctx context.Context, item T) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.closed && m.keeping >= m.kept {
		if err := m.wait(ctx); err != nil {
			return err
		}
	}
	if m.closed {
		return broker.ErrClosed
	}
	m.keeping++
	m.add(entry[T]{item: item, kept: true})
	return nil
}

// force is keep without the limit, for what is bounded otherwise.
func (m *mailbox[T]) force(item T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.keeping++
		m.add(entry[T]{item: item, kept: true})
	}
}

// take returns all items, and whether there will be no more. It does not wait;
// ready is for that. The memory of last, what it returned the last time, is
// used again; the caller has cleared it.
func (m *mailbox[T]) take(last []entry[T]) (items []entry[T], closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	items = m.items[m.head:]
	m.items, m.head = last[:0], 0
	m.loose, m.bytes, m.keeping = 0, 0, 0
	m.episode = m.dropped > m.before
	m.before = m.dropped
	m.signalRoom()
	return items, m.closed
}

// wake lets the consumer look around though there may be nothing to take.
func (m *mailbox[T]) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signalReady()
}

// close lets no more items in. What is in can still be taken.
func (m *mailbox[T]) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.ready)
		m.signalRoom()
	}
}

// stats returns how many items wait, and how many were dropped ever.
func (m *mailbox[T]) stats() (waiting int, dropped uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.items) - m.head, m.dropped
}

func (m *mailbox[T]) add(e entry[T]) {
	if m.head > len(m.items)/2 && len(m.items) == cap(m.items) {
		// Half of it is free: cheaper than to grow, and seldom enough.
		n := copy(m.items, m.items[m.head:])
		clear(m.items[n:])
		m.items, m.head = m.items[:n], 0
	}
	m.items = append(m.items, e)
	m.signalReady()
}

// dropOldest removes the first loose item, which must exist. Kept items before
// it, of which there are few, move up.
func (m *mailbox[T]) dropOldest() {
	i := m.head
	for m.items[i].kept {
		i++
	}
	m.loose--
	m.bytes -= m.items[i].size
	m.dropped++
	copy(m.items[m.head+1:i+1], m.items[m.head:i])
	m.items[m.head] = entry[T]{}
	m.head++
}

// wait releases the lock until there may be room.
func (m *mailbox[T]) wait(ctx context.Context) error {
	if m.room == nil {
		m.room = make(chan struct{})
	}
	room := m.room
	m.mu.Unlock()
	defer m.mu.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *mailbox[T]) signalReady() {
	if m.closed {
		return
	}
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *mailbox[T]) signalRoom() {
	if m.room != nil {
		close(m.room)
		m.room = nil
	}
}
