package gateway

import (
	"crypto/sha256"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
)

// entry is a message in the ring.
type entry struct {
	topic  string
	event  string    // name of the event, "" for other messages
	origin uuid.UUID // of the peer that published it, which does not get it; zero for none
	text   []byte    // the message as readers get it
	groups []uint64  // set of the slots of groups that get it, of those that were there
}

// bytes returns what a message counts for in the ring.
func (e *entry) bytes() int { return len(e.text) + len(e.groups)*8 + entryBytes }

// entryBytes is about the memory of a message besides its text and its groups.
const entryBytes = 128

// group is the readers that select the same messages. Messages of one topic and event are compared
// with each group once, and wake only the readers of those that get them.
type group struct {
	selection
	key     [sha256.Size]byte
	slot    int
	readers int
	first   uint64 // entries from this number on have the slot
	news    *news
}

// news tells the readers of a group when there is a message for them.
type news struct {
	number  atomic.Uint64 // of the message, 0 before
	changed chan struct{} // closed then, and at the end
}

func newNews() *news { return &news{changed: make(chan struct{})} }

// gets reports whether the group gets the entry with a number.
func (g *group) gets(number uint64, e *entry) bool {
	if number < g.first {
		return g.matches(e.topic, e.event)
	}
	word := g.slot / 64
	return word < len(e.groups) && e.groups[word]&(1<<(g.slot%64)) != 0
}

// ring keeps the last messages, numbered from 1. It may be used concurrently.
type ring struct {
	maxEntries, maxBytes int
	transient            bool // no messages are kept while there are no readers

	mu      sync.RWMutex
	entries []*entry // circular, the message n is at n%len
	first   uint64   // number of the oldest message
	next    uint64   // number of the next one
	bytes   int
	groups  map[[sha256.Size]byte]*group // by key
	slots   []*group                     // nil for free ones
	matches map[matched][]uint64         // sets of slots; empty after a change of groups
	closed  bool

	ended atomic.Bool // there are no further messages
}

func newRing(maxEntries, maxBytes int) *ring {
	return &ring{
		maxEntries: maxEntries, maxBytes: maxBytes, entries: make([]*entry, maxEntries),
		first: 1, next: 1, groups: make(map[[sha256.Size]byte]*group),
		matches: make(map[matched][]uint64),
	}
}

// add adds a message, in place of the oldest ones if the ring is full.
func (r *ring) add(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	e.groups = r.matching(e)
	for r.next-r.first == uint64(r.maxEntries) || r.next > r.first && r.bytes+e.bytes() > r.maxBytes {
		r.removeOldest()
	}
	for i, word := range e.groups {
		for ; word != 0; word &= word - 1 {
			g := r.slots[i*64+bits.TrailingZeros64(word)]
			g.news.number.Store(r.next)
			close(g.news.changed)
			g.news = newNews()
		}
	}
	r.entries[r.next%uint64(len(r.entries))] = e
	r.bytes += e.bytes()
	r.next++
}

// matched is what a group compares of a message.
type matched struct{ topic, event string }

// Most messages are of few topics and events, for which the ring keeps the sets of groups, because
// there may be thousands of groups with many patterns.
const (
	maxMatches = 1024 // that are kept
	maxMatched = 512  // bytes of a topic and an event
)

// matching returns the set of the groups that get a message. The set must not be changed. The caller
// holds the mutex.
func (r *ring) matching(e *entry) []uint64 {
	set, known := r.matches[matched{e.topic, e.event}]
	if known {
		return set
	}
	set = make([]uint64, (len(r.slots)+63)/64)
	for slot, g := range r.slots {
		if g != nil && g.matches(e.topic, e.event) {
			set[slot/64] |= 1 << (slot % 64)
		}
	}
	if len(e.topic)+len(e.event) <= maxMatched {
		if len(r.matches) == maxMatches {
			clear(r.matches)
		}
		r.matches[matched{strings.Clone(e.topic), strings.Clone(e.event)}] = set
	}
	return set
}

// removeOldest removes the oldest message. The caller holds the mutex.
func (r *ring) removeOldest() {
	oldest := &r.entries[r.first%uint64(len(r.entries))]
	r.bytes -= (*oldest).bytes()
	*oldest = nil
	r.first++
}

// join adds a reader to the group of a selection. Its messages begin with the number next. There
// is news when there is one.
func (r *ring) join(s selection) (g *group, next uint64, first *news) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := s.key()
	g = r.groups[key]
	if g == nil {
		g = &group{selection: s, key: key, first: r.next, news: newNews()}
		for g.slot < len(r.slots) && r.slots[g.slot] != nil {
			g.slot++
		}
		if g.slot == len(r.slots) {
			r.slots = append(r.slots, nil)
		}
		r.slots[g.slot], r.groups[key] = g, g
		clear(r.matches)
		if r.closed {
			close(g.news.changed)
		}
	}
	g.readers++
	return g, r.next, g.news
}

// leave removes a reader from its group.
func (r *ring) leave(g *group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.readers--; g.readers == 0 {
		r.slots[g.slot] = nil
		delete(r.groups, g.key)
		clear(r.matches)
	}
	for n := len(r.slots); n > 0 && r.slots[n-1] == nil; n-- {
		r.slots = r.slots[:n-1]
	}
	for r.transient && len(r.groups) == 0 && r.first < r.next {
		r.removeOldest()
	}
}

// read reports whether there are readers.
func (r *ring) read() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.groups) > 0
}

const (
	batch   = 64   // messages that a reader takes at once
	maxScan = 1024 // messages that are looked at while the ring is locked
)

// take appends the messages of a group from a number on to list, at most batch of them. If
// messages are no longer in the ring, or there are more than a limit that is not 0, it begins
// with a later one, and lost is how many are missing. With no messages, there is news when
// there is another one, or none at the end.
func (r *ring) take(g *group, from, limit uint64, list []*entry) (taken []*entry, next, lost uint64, more *news) {
	for {
		var gone uint64
		var ended bool
		list, from, gone, more, ended = r.scan(g, from, limit, list)
		lost += gone
		limit = 0
		if len(list) > 0 || more != nil || ended {
			return list, from, lost, more
		}
	}
}

// scan is take for some messages. Ended reports that there are no more.
func (r *ring) scan(g *group, from, limit uint64, list []*entry) (taken []*entry, next, lost uint64, more *news, ended bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	begin := max(from, r.first)
	if limit > 0 && r.next-from > limit {
		begin = max(begin, r.next-limit)
	}
	lost, from = begin-from, begin
	for end := min(r.next, from+maxScan); from < end && len(list) < batch; from++ {
		if e := r.entries[from%uint64(len(r.entries))]; g.gets(from, e) {
			list = append(list, e)
		}
	}
	if len(list) == 0 && from == r.next {
		if r.closed {
			return list, from, lost, nil, true
		}
		more = g.news
	}
	return list, from, lost, more, false
}

// end returns the number of the next message.
func (r *ring) end() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.next
}

// size returns the number of messages, and their memory.
func (r *ring) size() (messages, bytes int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return int(r.next - r.first), r.bytes
}

// close ends all readers when they have the messages that are in the ring.
func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	r.ended.Store(true)
	for _, g := range r.groups {
		close(g.news.changed)
	}
}

// place is where a reader is in a ring. Its methods are called by one goroutine, except for
// behind.
type place struct {
	ring  *ring
	group *group
	next  atomic.Uint64        // number of the next message
	news  atomic.Pointer[news] // that the reader waits for; nil if there may be messages
}

// begin begins a place among the readers of a selection, at the end of the ring.
func (p *place) begin(r *ring, s selection) {
	group, next, first := r.join(s)
	p.ring, p.group = r, group
	p.next.Store(next)
	p.news.Store(first)
}

// resume makes a place that has just begun continue from an earlier message.
func (p *place) resume(from uint64) {
	if from < p.next.Load() {
		p.next.Store(from)
		p.news.Store(nil)
	}
}

// take takes the next messages, at most batch of them. A reader with a limit that is further
// behind misses the oldest ones. Lost is how many it misses. With no messages, changed is
// closed when there are some, or is nil at the end.
func (p *place) take(limit uint64, list []*entry) (taken []*entry, lost uint64, changed <-chan struct{}) {
	if n := p.news.Load(); n != nil {
		ended := p.ring.ended.Load() // before the number, which does not change afterwards
		number := n.number.Load()
		switch {
		case number == 0 && ended:
			return list, 0, nil
		case number == 0:
			return list, 0, n.changed
		}
		// The messages before the news are not for this reader, and it does not miss them.
		p.next.Store(max(number, p.next.Load()))
		p.news.Store(nil)
	}
	taken, next, lost, more := p.ring.take(p.group, p.next.Load(), limit, list)
	p.next.Store(next)
	if more == nil {
		return taken, lost, nil
	}
	p.news.Store(more)
	return taken, lost, more.changed
}

// behind returns how many messages the reader has not got yet, of all topics.
func (p *place) behind(end uint64) uint64 {
	from := p.next.Load()
	if n := p.news.Load(); n != nil {
		number := n.number.Load()
		if number == 0 {
			return 0
		}
		from = max(from, number)
	}
	return end - min(end, from)
}

// id returns the ID of a message of a gateway: the gateway's own, which is another one after
// a restart, and the number.
func id(gateway string, number uint64) string { return gateway + "-" + strconv.FormatUint(number, 10) }
