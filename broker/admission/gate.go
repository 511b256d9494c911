package admission

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Errors of connections that are not admitted.
var (
	// ErrEvicted is the reason for the end of a connection that was closed in
	// favor of another one.
	ErrEvicted = errors.New("closed in favor of another connection, because there are too many")

	// ErrFull is returned for a connection for which there is no room.
	ErrFull = errors.New("too many connections")
)

// Gate limits the connections of one server. Its methods and those of its tickets
// may be called concurrently.
type Gate struct {
	notices *Notices
	epoch   time.Time

	mu    sync.Mutex
	table *table
	stats Stats // counters only
}

// Stats describes the connections of a Gate.
type Stats struct {
	Arriving  int // connections whose handshake is not complete
	Anonymous int // established connections of anonymous peers
	Known     int // established connections of known peers, and those that this end opened

	Evicted uint64 // connections closed in favor of others, since the start
	Refused uint64 // connections refused, since the start
}

// New returns a Gate without connections. It logs evicted and refused connections
// with notices, which must not be nil.
func New(limits Limits, notices *Notices) *Gate {
	return &Gate{notices: notices, epoch: time.Now(), table: newTable(limits)}
}

// now returns the time for the table.
func (g *Gate) now() instant { return instant(time.Since(g.epoch)) }

// Stats returns the current counts.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	n := func(s stage) int { return len(g.table.entries[s]) }
	s.Arriving, s.Anonymous, s.Known = n(arriving), n(anonymous), n(known)+n(own)
	return s
}

// Ticket is the place of a connection in a Gate.
type Ticket struct {
	gate  *Gate
	entry *entry
	from  netip.Addr
}

// Arrive gives a place to an arriving connection. If the Gate closes it in favor
// of another one, it calls evict, which must not block for long. Arrive returns
// ErrFull if there is no room. The caller must call Leave at the end of the
// connection.
func (g *Gate) Arrive(from net.Addr, evict func()) (*Ticket, error) {
	t := &Ticket{gate: g, from: hostOf(from)}
	g.mu.Lock()
	e, victims := g.table.arrive(g.now(), t.from)
	if e != nil {
		e.evict, t.entry = evict, e
	}
	g.count(victims, e != nil)
	evictions := evictionsOf(victims)
	g.mu.Unlock()
	g.close(evictions, t.from)
	if e == nil {
		g.refused(t.from)
		return nil, ErrFull
	}
	return t, nil
}

// Own returns the ticket of a connection that this end opened. It counts as
// established, but is never refused or closed.
func (g *Gate) Own(to net.Addr) *Ticket {
	h, loopback := holderOf(hostOf(to))
	t := &Ticket{gate: g, entry: &entry{stage: own, owner: h, loopback: loopback}}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.table.put(t.entry)
	return t
}

// OnEvict replaces the function that the Gate calls to close the connection. It
// returns false if the Gate has closed the connection already.
func (t *Ticket) OnEvict(evict func()) bool {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.entry.evict = evict
	return !t.entry.closed
}

// Establish reports that the handshake is complete. A name that is not empty means
// that the peer has proved to have it. Establish returns ErrFull if there is no
// room, and ErrEvicted if the Gate has closed the connection. After it has
// succeeded, it does nothing.
func (t *Ticket) Establish(name string) error {
	to := anonymous
	if name != "" {
		to = known
	}
	g := t.gate
	g.mu.Lock()
	if t.entry.closed {
		g.mu.Unlock()
		return ErrEvicted
	}
	if t.entry.stage != arriving && t.entry.stage != own {
		g.mu.Unlock()
		return nil
	}
	ok, victims := g.table.establish(g.now(), t.entry, to, name)
	g.count(victims, ok)
	evictions := evictionsOf(victims)
	g.mu.Unlock()
	g.close(evictions, t.from)
	if !ok {
		g.refused(t.from)
		return ErrFull
	}
	return nil
}

// Touch reports that the peer has sent something. It does not block.
func (t *Ticket) Touch() { t.entry.touch(t.gate.now()) }

// Leave gives the place back. Further calls do nothing.
func (t *Ticket) Leave() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.gate.table.leave(t.entry)
}

// shed closes a connection because the process is out of descriptors. It reports
// whether there was one to close.
func (g *Gate) shed() bool {
	g.mu.Lock()
	e := g.table.shed(g.now())
	var evict func()
	if e != nil {
		g.stats.Evicted++
		evict = e.evict
	}
	g.mu.Unlock()
	if evict != nil {
		evict()
	}
	return evict != nil
}

func (g *Gate) count(victims []*entry, admitted bool) {
	g.stats.Evicted += uint64(len(victims))
	if !admitted {
		g.stats.Refused++
	}
}

// eviction closes a connection.
type eviction struct {
	evict       func()
	owner       holder
	established bool
}

// evictionsOf returns the evictions of the victims. The caller holds the mutex.
func evictionsOf(victims []*entry) (list []eviction) {
	for _, v := range victims {
		list = append(list, eviction{v.evict, v.owner, v.stage != arriving})
	}
	return list
}

// close closes connections in favor of one that comes from an address.
func (g *Gate) close(evictions []eviction, from netip.Addr) {
	for _, e := range evictions {
		e.evict()
		g.notices.Warn("evicted").Stringer("addr", e.owner).Bool("established", e.established).Stringer("for", from).
			Msg("too many connections, closed one in favor of a new one")
	}
}

func (g *Gate) refused(from netip.Addr) {
	g.notices.Warn("refused").Stringer("addr", from).Msg("too many connections, refused a new one")
}

// hostOf returns the IP address of a, invalid if it has none.
func hostOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
