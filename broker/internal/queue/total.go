package queue

import (
	"sync"
	"time"
)

// DefaultTotal is the default limit of a Total, in bytes.
const DefaultTotal = 256 << 20

// Total limits the bytes of loose items in many queues together. It may be used
// concurrently.
//
// When the queues exceed the limit, one of them is ended, of those with more than an
// equal share: the one that has made no progress for the longest time, if that is more
// than a few seconds. So a burst to many fast consumers ends none. If the queues
// exceed four times the limit, the largest is ended.
type Total struct {
	limit int

	mu     sync.Mutex
	used   int
	ending int // part of used in queues that end
	shares map[*share]struct{}

	searched     time.Time // time of the last search for a queue to end
	searchedUsed int       // value of used then
}

const (
	patience = 5 * time.Second // without progress
	absurd   = 4               // times the limit

	// Searches take time, so there is one when this time has passed, or the bytes
	// have grown by this part of the limit.
	searchInterval = 100 * time.Millisecond
	searchPart     = 8
)

// NewTotal returns a Total with a limit in bytes.
func NewTotal(limit int) *Total {
	return &Total{limit: limit, shares: make(map[*share]struct{})}
}

// Used returns the bytes in all queues.
func (t *Total) Used() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// share is the part of a Total that one queue has. The methods of a nil share do
// nothing.
type share struct {
	total *Total
	end   func() // ends the queue

	// Guarded by the mutex of the total.
	bytes int
	since time.Time // of the last progress
	ended bool
}

// newShare returns the share of a queue, or nil if there is no total.
func newShare(t *Total, end func()) *share {
	if t == nil {
		return nil
	}
	return &share{total: t, end: end}
}

// add counts n more bytes. If they are too many, it ends a queue.
func (s *share) add(n int) {
	if s == nil || n == 0 {
		return
	}
	t := s.total
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.bytes == 0 {
		s.since = time.Now()
		t.shares[s] = struct{}{}
	}
	s.bytes += n
	t.used += n
	if s.ended {
		t.ending += n
	}
	if victim := t.victim(); victim != nil {
		victim.ended = true
		t.ending += victim.bytes
		go victim.end() // it may call the queue
	}
}

// remove counts n bytes less. Progress reports whether the consumer took them.
func (s *share) remove(n int, progress bool) {
	if s == nil || n == 0 {
		return
	}
	t := s.total
	t.mu.Lock()
	defer t.mu.Unlock()
	s.bytes -= n
	t.used -= n
	if s.ended {
		t.ending -= n
	}
	if progress {
		s.since = time.Now()
	}
	if s.bytes == 0 {
		delete(t.shares, s)
	}
}

// victim returns the queue to end, or nil if there is none.
func (t *Total) victim() *share {
	used := t.used - t.ending
	if used <= t.limit || time.Since(t.searched) < searchInterval && t.used < t.searchedUsed+t.limit/searchPart {
		return nil
	}
	t.searched, t.searchedUsed = time.Now(), t.used
	least := t.limit / len(t.shares)
	var slowest, largest *share
	for s := range t.shares {
		if s.ended || s.bytes <= least {
			continue
		}
		if slowest == nil || s.since.Before(slowest.since) {
			slowest = s
		}
		if largest == nil || s.bytes > largest.bytes {
			largest = s
		}
	}
	switch {
	case slowest != nil && time.Since(slowest.since) > patience:
		return slowest
	case used > absurd*t.limit:
		return largest
	}
	return nil
}
