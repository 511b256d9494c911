// Package intake limits what incomplete incoming messages cost: the memory of all
// of them together, and the time of each.
package intake

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Defaults of Limits.
const (
	DefaultBytes   = 256 << 20
	DefaultTimeout = 30 * time.Second
)

// Step is the number of bytes of a message that must arrive in time.
const Step = 64 << 10

// Limits are the limits of a Pool. Zero means the default.
type Limits struct {
	// Bytes limits the memory of all messages that are incomplete, or complete and
	// not yet delivered.
	Bytes int

	// Timeout limits the time in which the next Step bytes of a message that has
	// begun, or its rest, must arrive.
	Timeout time.Duration
}

// ErrMemory is the reason for the end of a connection whose incomplete message was
// given up for the sake of others.
var ErrMemory = errors.New("too much memory for incomplete messages of all peers")

// ErrStalled is the reason for the end of a connection with a message that arrives
// too slowly.
var ErrStalled = errors.New("incomplete message arrives too slowly")

// Pool is the memory for the messages that many connections are receiving. It may
// be used concurrently.
//
// When a message needs more memory than is left, a connection ends, of those whose
// incomplete message takes more than an equal share: the one that has waited longest
// for its next Step bytes if that is more than a second, or else the one with the
// largest message. If complete messages that wait for delivery take the memory, the
// message that needs more waits for them.
type Pool struct {
	limits Limits
	turns  chan struct{}

	mu       sync.Mutex
	used     int
	ending   int                   // part of used whose connections end
	accounts map[*Account]struct{} // those with memory
	changed  chan struct{}         // closed when memory is returned; nil without waiters

	high       bool // much memory has been taken, and is to be returned to the system
	garbage    int  // bytes that were returned since the last collection
	collecting bool
}

// NewPool returns an empty pool.
func NewPool(limits Limits) *Pool {
	if limits.Bytes == 0 {
		limits.Bytes = DefaultBytes
	}
	if limits.Timeout == 0 {
		limits.Timeout = DefaultTimeout
	}
	return &Pool{limits: limits, turns: make(chan struct{}, maxTurns), accounts: make(map[*Account]struct{})}
}

// Used returns the bytes that messages take at present.
func (p *Pool) Used() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// maxTurns limits the large messages that are decoded at the same time, because a
// decoded message can take 32 times as much memory as its frame.
const maxTurns = 2

// Turn waits until a large message may be decoded. The caller must call the
// returned function once the message is delivered. Turn fails if ctx ends first.
func (p *Pool) Turn(ctx context.Context) (end func(), err error) {
	select {
	case p.turns <- struct{}{}:
		return func() { <-p.turns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Account is the part of a Pool that one connection uses. One goroutine, the
// connection's reader, calls its methods.
type Account struct {
	pool *Pool
	fail func(error)
	done <-chan struct{}

	// Guarded by the pool's mutex.
	bytes    int       // memory taken
	arriving bool      // a message is incomplete
	waiting  bool      // Take waits for memory
	size     int       // bytes of the message that have arrived
	step     int       // size at the last progress
	since    time.Time // of the last progress
	ended    error     // the connection ends for this reason
	timer    *time.Timer
}

// Account returns the account of a new connection. The function fail ends the
// connection; it is called at most once, without locks. The channel done is closed
// when the connection ends for any reason. Then the reader must call Done.
func (p *Pool) Account(done <-chan struct{}, fail func(error)) *Account {
	return &Account{pool: p, done: done, fail: fail}
}

// Begin begins a message, of which some bytes have arrived. From now on its
// progress is timed.
func (a *Account) Begin(arrived int) {
	p := a.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	a.arriving, a.size, a.step, a.since = true, arrived, arrived, time.Now()
	if a.timer == nil {
		a.timer = time.AfterFunc(p.limits.Timeout, a.expire)
		return
	}
	a.timer.Reset(p.limits.Timeout)
}

// Arrived counts bytes of the message.
func (a *Account) Arrived(n int) {
	p := a.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.size += n; a.arriving && a.size-a.step >= Step {
		a.step, a.since = a.size, time.Now()
		a.timer.Reset(p.limits.Timeout)
	}
}

// expire ends the connection if its message has made no progress.
func (a *Account) expire() {
	p := a.pool
	p.mu.Lock()
	stalled := a.arriving && a.ended == nil && time.Since(a.since) >= p.limits.Timeout
	var err error
	if stalled {
		err = fmt.Errorf("%w: %d bytes in %s, want %d", ErrStalled, a.size-a.step, p.limits.Timeout, Step)
		a.end(err)
	}
	p.mu.Unlock()
	if stalled {
		a.fail(err)
	}
}

// Take takes n bytes of memory for the message, before the caller allocates them.
// It may end other connections, and fails if this one ends.
func (a *Account) Take(n int) error {
	p := a.pool
	p.mu.Lock()
	for {
		if a.ended != nil {
			err := a.ended
			p.mu.Unlock()
			return err
		}
		if p.collecting && p.garbage >= 2*p.collectAfter() {
			if err := a.wait(false); err != nil {
				p.mu.Unlock()
				return err
			}
			continue
		}
		if p.used+n <= p.limits.Bytes {
			p.used += n
			a.bytes += n
			p.accounts[a] = struct{}{}
			p.mu.Unlock()
			return nil
		}
		if p.used-p.ending+n > p.limits.Bytes {
			if victim := p.victim(a, n); victim != nil {
				p.evict(victim, a)
				continue
			}
		}
		if !p.releases(a) {
			p.evict(a, a)
			continue
		}
		if err := a.wait(true); err != nil {
			p.mu.Unlock()
			return err
		}
	}
}

// releases reports whether an account other than a will return memory without
// having to wait for more.
func (p *Pool) releases(a *Account) bool {
	for o := range p.accounts {
		if o != a && (!o.waiting || o.ended != nil) {
			return true
		}
	}
	return false
}

// Give returns n bytes of the memory, of a smaller buffer.
func (a *Account) Give(n int) {
	a.pool.mu.Lock()
	defer a.pool.mu.Unlock()
	a.give(min(n, a.bytes))
}

// evict ends the connection of victim for the sake of a, which may be the same. The
// caller holds the mutex, which is unlocked meanwhile.
func (p *Pool) evict(victim, a *Account) {
	err := fmt.Errorf("%w: took %d bytes, no progress for %s", ErrMemory, victim.bytes, time.Since(victim.since).Round(time.Millisecond))
	victim.end(err)
	if victim != a {
		go victim.fail(err) // it may have to wait
		return
	}
	p.mu.Unlock()
	victim.fail(err)
	p.mu.Lock()
}

// end marks the connection as ending. The caller holds the mutex.
func (a *Account) end(err error) {
	a.ended = err
	a.pool.ending += a.bytes
}

// victim returns the account whose connection ends, so that a can take n bytes
// more. It returns nil if only complete messages take more than their share.
func (p *Pool) victim(a *Account, n int) *Account {
	holders := len(p.accounts)
	if a.bytes == 0 {
		holders++
	}
	share := p.limits.Bytes / holders
	var slowest, largest *Account
	most := share
	consider := func(o *Account, bytes int) {
		if !o.arriving || o.ended != nil || bytes <= share {
			return
		}
		if slowest == nil || o.since.Before(slowest.since) {
			slowest = o
		}
		if bytes > most {
			most, largest = bytes, o
		}
	}
	for o := range p.accounts {
		if o != a {
			consider(o, o.bytes)
		}
	}
	consider(a, a.bytes+n)
	if slowest != nil && time.Since(slowest.since) > slow {
		return slowest
	}
	return largest
}

// slow is the time for Step bytes after which a message counts as slow.
const slow = time.Second

// wait waits until the memory of others is returned, or garbage is collected. The
// time does not count as a lack of progress. The caller holds the mutex, which is
// unlocked meanwhile.
func (a *Account) wait(others bool) error {
	p := a.pool
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	changed, arriving := p.changed, a.arriving
	a.arriving, a.waiting = false, others
	p.mu.Unlock()
	var err error
	select {
	case <-changed:
	case <-a.done:
		err = context.Canceled
	}
	p.mu.Lock()
	a.waiting = false
	if a.arriving = arriving; arriving {
		a.since = time.Now()
		a.timer.Reset(p.limits.Timeout)
	}
	return err
}

// Complete ends the timing of the message. Its memory stays taken until Done.
func (a *Account) Complete() {
	p := a.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	a.complete()
}

func (a *Account) complete() {
	if a.arriving {
		a.arriving = false
		a.timer.Stop()
	}
}

// Done returns the memory of the message, which is delivered or given up.
func (a *Account) Done() {
	p := a.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	a.complete()
	a.release()
}

func (a *Account) release() { a.give(a.bytes) }

func (a *Account) give(n int) {
	p := a.pool
	if n == 0 {
		return
	}
	p.discard(n)
	p.used -= n
	if a.ended != nil {
		p.ending -= n
	}
	if a.bytes -= n; a.bytes == 0 {
		delete(p.accounts, a)
	}
	p.relax()
	p.signal()
}

// signal makes all calls of wait return. The caller holds the mutex.
func (p *Pool) signal() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// muchMemory is the part of the limit from which on the collector needs help. It
// lets the heap grow to twice what is in use, and returns freed memory to the system
// only after minutes.
func (p *Pool) muchMemory() int { return p.limits.Bytes / 4 }

// collectAfter is the garbage that starts a collection. With twice as much, messages
// wait for the end of the collection.
func (p *Pool) collectAfter() int { return p.limits.Bytes / 8 }

// discard counts memory that is no longer used. If messages take much memory, the
// garbage is collected sooner than usual. The caller holds the mutex.
func (p *Pool) discard(n int) {
	p.high = p.high || p.used > p.muchMemory()
	if !p.high {
		return
	}
	if p.garbage += n; p.garbage >= p.collectAfter() {
		p.startCollecting()
	}
}

// relax returns memory to the system when messages no longer take much of it. The
// caller holds the mutex.
func (p *Pool) relax() {
	if p.high && p.used <= p.muchMemory()/2 {
		p.startCollecting()
	}
}

func (p *Pool) startCollecting() {
	if !p.collecting {
		p.collecting = true
		go p.collect()
	}
}

func (p *Pool) collect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		garbage := p.garbage
		calm := p.used <= p.muchMemory()/2
		p.high = !calm
		p.mu.Unlock()
		if calm {
			debug.FreeOSMemory()
		} else {
			runtime.GC()
		}
		p.mu.Lock()
		p.garbage -= garbage
		p.signal()
		if !p.high || p.used > p.muchMemory()/2 && p.garbage < p.collectAfter() {
			p.collecting = false
			return
		}
	}
}
