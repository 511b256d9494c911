package admission

import (
	"cmp"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
)

// Limits limits the connections of a Gate. Zero means zero, except where a field
// says otherwise.
type Limits struct {
	// Arriving limits the connections whose handshake is not complete, and
	// PerAddress those of one remote address: an IPv4 address, or an IPv6 prefix
	// of 64 bits. PerAddress does not apply to loopback addresses. Zero for
	// PerAddress means no limit.
	Arriving, PerAddress int

	// Established limits the established connections of anonymous peers.
	Established int

	// Known is the number of further established connections that only known
	// peers can have.
	Known int

	// Loopback is the number of further connections, in either stage, that only
	// loopback addresses can have.
	Loopback int

	// Grace is the time for which an arriving connection is not closed in favor
	// of another one, unless that is of an address with fewer connections. It
	// keeps many peers that connect at once from replacing each other before
	// their handshakes can end. It ends when few handshakes do, as in an attack.
	// An established connection is not closed before it has been idle for
	// IdleGrace, with the same exception.
	Grace, IdleGrace time.Duration
}

// An arriving connection that has sent nothing for muteAfter is the first to be
// closed. After silentAfter, it is closed before those of the same address that
// have sent something. A peer usually sends at once.
const (
	muteAfter   = instant(time.Second)
	silentAfter = instant(100 * time.Millisecond)
)

// An established connection that has sent nothing since is, for the time freshFor,
// closed after the others of its holder: it may still wait for its first response, while
// those that send many requests always seem younger.
const freshFor = instant(time.Second)

// creditPerHandshake is the number of connections that may be refused because of
// Grace for each handshake that ends well. Their peers try again later.
const creditPerHandshake = 16

// stage is how far a connection is.
type stage uint8

const (
	arriving stage = iota
	anonymous
	known
	own // opened by this end; counted, but never closed or refused
	stages
)

// holder is the party that is charged for a connection: an address, or the name
// of a known peer.
type holder struct {
	prefix netip.Prefix // invalid if the address is not known
	name   string
}

// String returns the name, or the prefix without the length of a whole address.
func (h holder) String() string {
	switch {
	case h.name != "":
		return h.name
	case !h.prefix.IsValid():
		return "local"
	case h.prefix.IsSingleIP():
		return h.prefix.Addr().String()
	}
	return h.prefix.String()
}

// entry is a connection in the table.
type entry struct {
	stage    stage
	owner    holder
	loopback bool
	since    instant      // begin of the stage
	number   uint64       // order of arrival
	index    int          // in the entries of its stage
	held     *[stages]int // connections of owner

	// touched is the time of the last activity in this stage, in nanoseconds,
	// plus 1; 0 for none.
	touched atomic.Int64

	closed bool   // left, or was chosen to be closed
	evict  func() // closes the connection; not used by the table
}

// instant is a time, in nanoseconds after an epoch of the caller.
type instant int64

// table holds the connections of a Gate. It has no clock and no sockets.
type table struct {
	limits  Limits
	number  uint64
	entries [stages][]*entry        // in no order; slices are faster to search than maps
	held    map[holder]*[stages]int // connections of each holder
	remote  [stages]int             // connections of addresses that are not loopback
	credit  int                     // connections that may be refused because of Grace
}

func newTable(limits Limits) *table {
	t := &table{limits: limits, held: make(map[holder]*[stages]int)}
	t.credit = t.maxCredit()
	return t
}

func (t *table) maxCredit() int { return creditPerHandshake * t.limits.Arriving }

// holderOf returns the holder of an anonymous connection. An address that is not
// known, such as that of a Unix socket, counts as loopback.
func holderOf(from netip.Addr) (h holder, loopback bool) {
	from = from.Unmap()
	if !from.IsValid() {
		return holder{}, true
	}
	bits := 32
	switch {
	case from.IsLinkLocalUnicast():
		bits = from.BitLen() // neighbors share the prefix
	case from.Is6():
		bits = 64 // one host can have all addresses
	}
	prefix, err := from.WithZone("").Prefix(bits)
	if err != nil {
		return holder{}, true
	}
	return holder{prefix: prefix}, from.IsLoopback()
}

// touch records activity of a connection. Unlike the other methods, it may be called
// at any time.
func (e *entry) touch(now instant) { e.touched.Store(int64(now) + 1) }

// idleSince returns the time of the last activity in the stage.
func (e *entry) idleSince() instant {
	if n := e.touched.Load(); n != 0 {
		return instant(n - 1)
	}
	return e.since
}

// arrive adds an arriving connection. It returns nil if the connection is
// refused. The victims must be closed.
func (t *table) arrive(now instant, from netip.Addr) (e *entry, victims []*entry) {
	h, loopback := holderOf(from)
	e = &entry{stage: arriving, owner: h, loopback: loopback, since: now}
	return t.enter(now, e, []limit{
		{t.limits.PerAddress, !loopback && t.limits.PerAddress > 0, t.heldIn(h, arriving), func(o *entry) bool { return o.owner == h }, arriving, arriving},
		{t.limits.Arriving, !loopback, t.remote[arriving], isRemote, arriving, arriving},
		{t.limits.Arriving + t.limits.Loopback, true, len(t.entries[arriving]), anyEntry, arriving, arriving},
	})
}

// establish moves a connection to the stage anonymous or known, or own. A known
// peer has a name. If it returns false, the connection is refused and stays where
// it was. The victims must be closed.
func (t *table) establish(now instant, e *entry, to stage, name string) (ok bool, victims []*entry) {
	if e.closed {
		return false, nil
	}
	next := &entry{stage: to, owner: e.owner, loopback: e.loopback, since: now}
	if to == known {
		next.owner = holder{name: name}
	}
	victims, ok = t.makeRoom(now, next, t.establishing(next))
	if !ok {
		return false, nil
	}
	t.credit = min(t.credit+creditPerHandshake, t.maxCredit())
	t.drop(e)
	e.stage, e.owner, e.since = next.stage, next.owner, now
	e.touched.Store(0)
	t.put(e)
	return true, victims
}

// establishing returns the limits for an established connection.
func (t *table) establishing(e *entry) []limit {
	if e.stage == own {
		return nil
	}
	l := t.limits
	count := func(of *[stages]int) int { return of[anonymous] + of[known] + of[own] }
	all := [stages]int{anonymous: len(t.entries[anonymous]), known: len(t.entries[known]), own: len(t.entries[own])}
	return []limit{
		{l.Established, e.stage == anonymous && !e.loopback, t.remote[anonymous] + t.remote[own], isRemote, anonymous, anonymous},
		{l.Established + l.Loopback, e.stage == anonymous, all[anonymous] + all[own], anyEntry, anonymous, anonymous},
		{l.Established + l.Known, !e.loopback, count(&t.remote), isRemote, anonymous, e.stage},
		{l.Established + l.Known + l.Loopback, true, count(&all), anyEntry, anonymous, e.stage},
	}
}

// leave removes a connection.
func (t *table) leave(e *entry) {
	if !e.closed {
		t.drop(e)
	}
}

// limit is the largest number of connections of a kind.
type limit struct {
	most    int
	applies bool
	count   int               // of the kind
	kind    func(*entry) bool // for victims
	from    stage             // of victims that come first
	to      stage             // of victims that come last
}

func isRemote(e *entry) bool { return !e.loopback }
func anyEntry(*entry) bool   { return true }

// enter adds e if there is room.
func (t *table) enter(now instant, e *entry, limits []limit) (*entry, []*entry) {
	victims, ok := t.makeRoom(now, e, limits)
	if !ok {
		return nil, nil
	}
	t.number++
	e.number = t.number
	t.put(e)
	return e, victims
}

// makeRoom removes the connections that have to be closed so that e fits. If it
// returns false, it removes none.
func (t *table) makeRoom(now instant, e *entry, limits []limit) (victims []*entry, ok bool) {
	for _, l := range limits {
		if !l.applies {
			continue
		}
		room := l.most - l.count
		for _, v := range victims {
			if l.kind(v) {
				room++ // closed because of an earlier limit
			}
		}
		if room > 0 {
			continue
		}
		v := t.victim(now, e, l)
		if v == nil {
			for _, v := range victims {
				t.put(v)
			}
			return nil, false
		}
		t.drop(v)
		victims = append(victims, v)
	}
	return victims, true
}

// victim returns the connection to close in favor of e, or nil.
func (t *table) victim(now instant, e *entry, l limit) *entry {
	weight := t.heldIn(e.owner, e.stage) + 1
	for s := l.from; s <= l.to; s++ {
		v := t.worst(now, s, func(o *entry) bool { return l.kind(o) && t.expendable(now, o, e, weight) })
		if v != nil {
			return v
		}
	}
	if l.from != arriving {
		return nil
	}
	if t.credit > 0 {
		t.credit--
		return nil
	}
	return t.worst(now, arriving, l.kind)
}

// worst returns the connection of a stage that is to be closed first, of those for
// which may returns true, or nil. Of the connections of its holder, those that may wait for
// their first response are closed last.
func (t *table) worst(now instant, s stage, may func(*entry) bool) *entry {
	first := t.first(now, s, may)
	if first == nil || !first.fresh(now) {
		return first
	}
	other := t.first(now, s, func(o *entry) bool { return o.owner == first.owner && !o.fresh(now) && may(o) })
	return cmp.Or(other, first)
}

// first returns the most urgent connection of a stage. It considers those for which may
// returns true, and returns nil if there are none.
func (t *table) first(now instant, s stage, may func(*entry) bool) (first *entry) {
	var most urgency
	for _, o := range t.entries[s] {
		if !may(o) {
			continue
		}
		if u := o.urgency(now); first == nil || u.before(most) {
			first, most = o, u
		}
	}
	return first
}

// fresh reports whether the connection is established and may wait for its first response.
func (e *entry) fresh(now instant) bool {
	return e.stage != arriving && now-e.since < freshFor && e.touched.Load() == 0
}

// expendable reports whether o may be closed in favor of e, whose holder then has
// weight connections.
func (t *table) expendable(now instant, o, e *entry, weight int) bool {
	heavier := o.held[o.stage] > weight
	switch o.stage {
	case arriving:
		return heavier || now-o.since >= instant(t.limits.Grace)
	case anonymous:
		return heavier || e.stage == known || now-o.idleSince() >= instant(t.limits.IdleGrace)
	case known:
		// Only in favor of a peer that has fewer, or of another one of its own.
		return heavier || o.owner == e.owner
	}
	return false
}

// urgency says how soon a connection is to be closed among those of its stage.
type urgency struct {
	mute   bool // arriving, and silent for muteAfter
	weight int  // connections of the holder
	silent bool // arriving, and silent for silentAfter
	since  instant
	number uint64
}

func (e *entry) urgency(now instant) urgency {
	u := urgency{weight: e.held[e.stage], since: e.since, number: e.number}
	switch {
	case e.stage != arriving:
		u.since = e.idleSince()
	case e.touched.Load() == 0:
		u.mute, u.silent = now-e.since >= muteAfter, now-e.since >= silentAfter
	}
	// A peer that sends its handshake in small pieces does not seem younger.
	return u
}

// before reports whether a connection is to be closed before another one.
func (u urgency) before(v urgency) bool {
	switch {
	case u.mute != v.mute:
		return u.mute
	case u.weight != v.weight:
		return u.weight > v.weight
	case u.silent != v.silent:
		return u.silent
	case u.since != v.since:
		return u.since < v.since
	}
	return u.number < v.number
}

// shed removes and returns a connection to close because the process is out of
// descriptors, or nil if there is none: an arriving one, or else an anonymous
// one.
func (t *table) shed(now instant) *entry {
	for s := arriving; s <= anonymous; s++ {
		if worst := t.worst(now, s, anyEntry); worst != nil {
			t.drop(worst)
			return worst
		}
	}
	return nil
}

func (t *table) heldIn(h holder, s stage) int {
	if n := t.held[h]; n != nil {
		return n[s]
	}
	return 0
}

// put adds e to the table.
func (t *table) put(e *entry) {
	e.closed = false
	e.index = len(t.entries[e.stage])
	t.entries[e.stage] = append(t.entries[e.stage], e)
	if e.held = t.held[e.owner]; e.held == nil {
		e.held = new([stages]int)
		t.held[e.owner] = e.held
	}
	e.held[e.stage]++
	if !e.loopback {
		t.remote[e.stage]++
	}
}

// drop removes e from the table.
func (t *table) drop(e *entry) {
	e.closed = true
	list := t.entries[e.stage]
	last := len(list) - 1
	list[e.index] = list[last]
	list[e.index].index = e.index
	list[last] = nil
	t.entries[e.stage] = list[:last]
	e.held[e.stage]--
	if *e.held == [stages]int{} {
		delete(t.held, e.owner)
	}
	if !e.loopback {
		t.remote[e.stage]--
	}
}

// check returns an error if the table is inconsistent or a limit is exceeded.
func (t *table) check() error {
	held := make(map[holder]*[stages]int)
	var remote [stages]int
	for s, entries := range t.entries {
		for i, e := range entries {
			if e.closed || e.stage != stage(s) || e.index != i {
				return fmt.Errorf("admission: entry %+v is among those of stage %d", e, s)
			}
			if e.held != t.held[e.owner] {
				return fmt.Errorf("admission: entry %+v has another count than its holder", e)
			}
			if held[e.owner] == nil {
				held[e.owner] = new([stages]int)
			}
			held[e.owner][s]++
			if !e.loopback {
				remote[s]++
			}
			if most := t.limits.PerAddress; stage(s) == arriving && !e.loopback && most > 0 && held[e.owner][s] > most {
				return fmt.Errorf("admission: %d arriving connections of %s, limit is %d", held[e.owner][s], e.owner.prefix, most)
			}
		}
	}
	if len(held) != len(t.held) || remote != t.remote {
		return fmt.Errorf("admission: %d holders and %v remote connections, counted %d and %v", len(t.held), t.remote, len(held), remote)
	}
	for h, n := range held {
		if t.held[h] == nil || *t.held[h] != *n {
			return fmt.Errorf("admission: %v holds %v, counted %v", h, t.held[h], n)
		}
	}
	return t.checkLimits()
}

func (t *table) checkLimits() error {
	l, n := t.limits, func(s stage) int { return len(t.entries[s]) }
	if t.credit < 0 || t.credit > t.maxCredit() {
		return fmt.Errorf("admission: credit is %d", t.credit)
	}
	for _, c := range []struct {
		what        string
		count, most int
	}{
		{"remote arriving", t.remote[arriving], l.Arriving},
		{"arriving", n(arriving), l.Arriving + l.Loopback},
		{"remote anonymous", t.remote[anonymous], l.Established},
		{"anonymous", n(anonymous), l.Established + l.Loopback},
		{"remote established", t.remote[anonymous] + t.remote[known], l.Established + l.Known},
		{"established", n(anonymous) + n(known), l.Established + l.Known + l.Loopback},
	} {
		if c.count > c.most {
			return fmt.Errorf("admission: %d %s connections, limit is %d", c.count, c.what, c.most)
		}
	}
	return nil
}
