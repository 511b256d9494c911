package admission

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var seeds = flag.Uint64("seeds", 50, "number of seeds of the simulation")

const epoch = instant(1e9)

const (
	attacker  = "192.0.2.1"
	operator  = "198.51.100.7"
	neighbor  = "2001:db8::1"
	neighbor2 = "2001:db8::ffff:2" // in the same prefix
	local     = "127.0.0.1"
)

// peer is a table with a clock, for tests that tell a story.
type story struct {
	t     *testing.T
	table *table
	now   instant
	gone  map[*entry]bool
}

func newStory(t *testing.T, l Limits) *story {
	return &story{t: t, table: newTable(l), now: epoch, gone: make(map[*entry]bool)}
}

func (s *story) check(victims []*entry) {
	s.t.Helper()
	for _, v := range victims {
		s.gone[v] = true
	}
	if err := s.table.check(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) wait(d time.Duration) { s.now += instant(d) }

func (s *story) arrive(from string) *entry {
	s.t.Helper()
	e, victims := s.table.arrive(s.now, netip.MustParseAddr(from))
	s.check(victims)
	return e
}

func (s *story) establish(from, name string) *entry {
	s.t.Helper()
	e := s.arrive(from)
	if e == nil {
		return nil
	}
	to := anonymous
	if name != "" {
		to = known
	}
	ok, victims := s.table.establish(s.now, e, to, name)
	s.check(victims)
	if !ok {
		s.table.leave(e)
		s.check(nil)
		return nil
	}
	return e
}

func (s *story) want(what string, e *entry, stays bool) {
	s.t.Helper()
	if e == nil {
		s.t.Fatalf("%s was refused", what)
	}
	if s.gone[e] == stays || e.closed == stays {
		s.t.Errorf("%s: closed is %t", what, s.gone[e])
	}
}

func TestTable(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits Limits
		tell   func(*story)
	}{
		{"silent connections make room for one of the same address", Limits{Arriving: 10, PerAddress: 4}, func(s *story) {
			first := s.arrive(attacker)
			for range 3 {
				s.arrive(attacker)
			}
			s.want("first", first, true)
			s.wait(time.Millisecond)
			s.want("new one", s.arrive(attacker), true)
			s.want("first", first, false)
		}},
		{"the limit of an address does not concern others", Limits{Arriving: 10, PerAddress: 4}, func(s *story) {
			first := s.arrive(attacker)
			for range 3 {
				s.arrive(attacker)
			}
			s.arrive(operator)
			s.want("first", first, true)
		}},
		{"one that has sent nothing for a second goes before one that has sent something", Limits{Arriving: 2}, func(s *story) {
			speaks, silent := s.arrive(attacker), s.arrive(attacker)
			speaks.touch(s.now)
			s.wait(time.Second)
			s.arrive(operator)
			s.want("speaking one", speaks, true)
			s.want("silent one", silent, false)
		}},
		{"one that is silent goes before an older one of the same address", Limits{Arriving: 3}, func(s *story) {
			speaks, other := s.arrive(attacker), s.arrive(operator)
			speaks.touch(s.now)
			silent := s.arrive(attacker)
			s.wait(100 * time.Millisecond)
			s.arrive(attacker)
			s.want("speaking one", speaks, true)
			s.want("one of another address", other, true)
			s.want("silent one", silent, false)
		}},
		{"one that has sent nothing for a second goes before those of a heavier address", Limits{Arriving: 3}, func(s *story) {
			silent, heavy := s.arrive(operator), s.arrive(attacker)
			s.arrive(attacker).touch(s.now)
			heavy.touch(s.now)
			s.wait(time.Second)
			s.arrive(neighbor)
			s.want("heavy one", heavy, true)
			s.want("silent one", silent, false)
		}},
		{"the limit of an address does not concern loopback", Limits{Arriving: 4, PerAddress: 1, Grace: time.Minute}, func(s *story) {
			first := s.arrive(local)
			s.want("second one", s.arrive(local), true)
			s.want("first one", first, true)
		}},
		{"connections that this end opened count, but stay", Limits{Arriving: 4, Established: 1, Known: 1}, func(s *story) {
			other := s.establish(attacker, "")
			for range 2 {
				h, _ := holderOf(netip.MustParseAddr(operator))
				s.table.put(&entry{stage: own, owner: h})
			}
			if s.establish(neighbor, "") != nil {
				s.t.Error("admitted")
			}
			s.want("one that has not been replaced", other, true)
		}},
		{"dribbling does not make a handshake young", Limits{Arriving: 2}, func(s *story) {
			dribbles, honest := s.arrive(attacker), s.arrive(attacker)
			s.wait(time.Second)
			honest.touch(s.now)
			s.wait(time.Second)
			dribbles.touch(s.now)
			s.arrive(operator)
			s.want("dribbling one", dribbles, false)
			s.want("honest one", honest, true)
		}},
		{"the address with most connections pays", Limits{Arriving: 4}, func(s *story) {
			oldest := s.arrive(operator)
			first := s.arrive(attacker)
			s.arrive(attacker)
			s.arrive(attacker)
			s.arrive(operator)
			s.want("oldest", oldest, true)
			s.want("first of the heaviest", first, false)
		}},
		{"addresses of an IPv6 prefix are one", Limits{Arriving: 10, PerAddress: 1}, func(s *story) {
			first := s.arrive(neighbor)
			s.want("second", s.arrive(neighbor2), true)
			s.want("first", first, false)
		}},
		{"loopback has room of its own", Limits{Arriving: 2, Loopback: 1, Grace: time.Minute}, func(s *story) {
			s.arrive(attacker)
			s.arrive(attacker)
			if s.arrive(attacker) != nil {
				s.t.Error("a remote connection has the room")
			}
			s.want("loopback", s.arrive(local), true)
		}},
		{"the grace protects from the same address", Limits{Arriving: 2, Grace: time.Second}, func(s *story) {
			s.arrive(attacker)
			s.arrive(attacker)
			if s.arrive(attacker) != nil {
				s.t.Error("a young connection was closed")
			}
			s.wait(time.Second)
			s.want("later one", s.arrive(attacker), true)
		}},
		{"the grace ends when no handshakes end", Limits{Arriving: 2, Grace: time.Minute}, func(s *story) {
			first := s.arrive(attacker)
			s.arrive(attacker)
			refuse := func(times int) {
				s.t.Helper()
				for range times {
					if s.arrive(attacker) != nil {
						s.t.Fatal("a young connection was closed")
					}
				}
			}
			refuse(2 * creditPerHandshake)
			s.want("next one", s.arrive(attacker), true)
			s.want("first", first, false)
			s.table.limits.Established = 1
			second := s.table.worst(s.now, arriving, anyEntry)
			if ok, _ := s.table.establish(s.now, second, anonymous, ""); !ok {
				s.t.Fatal("a handshake was refused")
			}
			s.arrive(attacker)
			refuse(creditPerHandshake)
			s.want("one after a good handshake", s.arrive(attacker), true)
		}},
		{"the grace does not protect from an address with fewer", Limits{Arriving: 3, Grace: time.Minute}, func(s *story) {
			first := s.arrive(attacker)
			s.arrive(attacker)
			s.arrive(attacker)
			s.want("operator", s.arrive(operator), true)
			s.want("first", first, false)
		}},
		{"idle clients make room", Limits{Arriving: 10, Established: 3}, func(s *story) {
			busy := s.establish(attacker, "")
			idle := s.establish(attacker, "")
			s.establish(attacker, "")
			s.wait(time.Second)
			busy.touch(s.now)
			s.want("operator", s.establish(operator, ""), true)
			s.want("busy one", busy, true)
			s.want("idle one", idle, false)
		}},
		{"one that waits for its first response stays before those that send many requests", Limits{Arriving: 10, Established: 3}, func(s *story) {
			send := func(e *entry) {
				s.wait(time.Millisecond)
				e.touch(s.now)
			}
			one, many, more := s.establish(local, ""), s.establish(local, ""), s.establish(local, "")
			send(many)
			send(more)
			s.want("another one", s.establish(local, ""), true)
			s.want("waiting one", one, true)
			s.want("one with many requests", many, false)
			s.wait(time.Second)
			s.establish(local, "")
			s.want("waiting one", one, false)
		}},
		{"one in use stays before new ones of other holders", Limits{Arriving: 10, Established: 3}, func(s *story) {
			used := s.establish(operator, "")
			others := []*entry{s.establish("198.51.100.1", ""), s.establish("198.51.100.2", "")}
			s.wait(900 * time.Millisecond)
			used.touch(s.now)
			s.wait(time.Millisecond)
			s.establish("198.51.100.3", "")
			s.want("one in use", used, true)
			s.want("the oldest other one", others[0], false)
		}},
		{"an operator who watches keeps the connection", Limits{Arriving: 10, Established: 3}, func(s *story) {
			watches := s.establish(operator, "")
			s.wait(time.Hour)
			for range 20 {
				s.want("another one", s.establish(attacker, ""), true)
			}
			s.want("watching one", watches, true)
		}},
		{"active peers are not replaced", Limits{Arriving: 10, Established: 2, IdleGrace: time.Minute}, func(s *story) {
			first := s.establish(attacker, "")
			s.establish(operator, "")
			s.wait(59 * time.Second)
			if s.establish(neighbor, "") != nil {
				s.t.Error("admitted")
			}
			s.wait(time.Second)
			s.want("later one", s.establish(neighbor, ""), true)
			s.want("first", first, false)
		}},
		{"known peers have room of their own", Limits{Arriving: 10, Established: 2, Known: 1}, func(s *story) {
			s.establish(attacker, "")
			s.establish(attacker, "")
			boss := s.establish(operator, "boss")
			s.want("known one", boss, true)
			s.establish(neighbor, "")
			s.want("known one", boss, true)
		}},
		{"a known peer replaces anonymous ones", Limits{Arriving: 10, Established: 1, Known: 1, IdleGrace: time.Hour}, func(s *story) {
			other := s.establish(attacker, "")
			s.establish(operator, "boss")
			s.want("second known one", s.establish(operator, "other"), true)
			s.want("anonymous one", other, false)
			if s.establish(attacker, "") != nil {
				s.t.Error("an anonymous one replaced a known one")
			}
		}},
		{"a known peer with many connections pays for another one", Limits{Arriving: 10, Established: 3}, func(s *story) {
			first := s.establish(operator, "leaks")
			s.establish(operator, "leaks")
			s.establish(operator, "leaks")
			s.want("other one", s.establish(operator, "boss"), true)
			s.want("first", first, false)
		}},
		{"known peers with one connection each are not replaced", Limits{Arriving: 10, Established: 2}, func(s *story) {
			s.establish(operator, "a")
			s.establish(operator, "b")
			if s.establish(operator, "c") != nil {
				s.t.Error("admitted")
			}
			s.want("own one", s.establish(operator, "a"), true)
		}},
		{"nobody is closed for one that is refused", Limits{Arriving: 10, Established: 1, Known: 0, Loopback: 1}, func(s *story) {
			remote := s.establish(operator, "boss")
			here := s.establish(local, "a")
			if s.establish(attacker, "c") != nil {
				s.t.Error("admitted")
			}
			s.want("remote one", remote, true)
			s.want("one here", here, true)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.tell(newStory(t, tt.limits)) })
	}
}

func TestShed(t *testing.T) {
	s := newStory(t, Limits{Arriving: 10, Established: 10, Known: 10, Grace: time.Hour, IdleGrace: time.Hour})
	s.establish(operator, "boss")
	other := s.establish(operator, "")
	first := s.arrive(attacker)
	for _, want := range []*entry{first, other, nil} {
		if got := s.table.shed(s.now); got != want {
			t.Fatalf("closed %+v, want %+v", got, want)
		}
		s.check(nil)
	}
}

func TestHolderOf(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1": "192.0.2.1 false", "::ffff:192.0.2.1": "192.0.2.1 false", "127.0.0.9": "127.0.0.9 true", "::1": "::/64 true",
		"2001:db8::9": "2001:db8::/64 false", "fe80::1%eth0": "fe80::1 false", "fe80::2": "fe80::2 false",
	} {
		if h, loopback := holderOf(netip.MustParseAddr(from)); fmt.Sprint(h, " ", loopback) != want {
			t.Errorf("%s is %s %t, want %s", from, h, loopback, want)
		}
	}
	if h, loopback := holderOf(netip.Addr{}); h.String() != "local" || !loopback {
		t.Errorf("no address is %s %t", h, loopback)
	}
}

// simulated is one run of a table with random peers.
type simulated struct {
	*rand.Rand
	table *table
	now   instant
	all   []*entry
}

// TestSimulation has attackers and honest peers connect at random. The table must
// stay consistent, and an honest peer of an address or name that has no other
// connection must always get in, and lose its connection only to others like it.
func TestSimulation(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			limits := Limits{
				Arriving: 4 + r.IntN(20), PerAddress: r.IntN(6), Established: 4 + r.IntN(20), Known: r.IntN(5), Loopback: r.IntN(3),
				Grace: time.Duration(r.IntN(3)) * time.Second, IdleGrace: time.Duration(r.IntN(3)) * 30 * time.Second,
			}
			s := &simulated{Rand: r, table: newTable(limits), now: epoch}
			for range 1000 {
				s.step(t)
			}
		})
	}
}

func (s *simulated) step(t *testing.T) {
	t.Helper()
	switch s.IntN(8) {
	case 0, 1, 2: // an attacker, with few addresses
		from := netip.AddrFrom4([4]byte{192, 0, 2, byte(s.IntN(3))})
		if s.IntN(4) == 0 {
			from = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		if e, victims := s.table.arrive(s.now, from); e != nil {
			s.settle(t, e, victims)
		}
	case 3:
		s.honest(t)
	case 4, 5:
		if e := s.any(); e != nil && e.stage == arriving {
			name := ""
			if s.IntN(4) == 0 {
				name = fmt.Sprint("peer ", s.IntN(3))
			}
			to := anonymous
			if name != "" {
				to = known
			}
			_, victims := s.table.establish(s.now, e, to, name)
			s.settle(t, nil, victims)
		}
	case 6:
		if e := s.any(); e != nil {
			e.touch(s.now)
		}
	case 7:
		if s.IntN(20) == 0 {
			s.table.shed(s.now)
		}
		if e := s.any(); e != nil && s.IntN(3) == 0 {
			s.table.leave(e)
		}
		s.now += instant(s.IntN(3000)) * instant(time.Millisecond)
	}
	s.settle(t, nil, nil)
}

// any returns a random connection that is open.
func (s *simulated) any() *entry {
	for len(s.all) > 0 {
		i := s.IntN(len(s.all))
		if !s.all[i].closed {
			return s.all[i]
		}
		s.all[i] = s.all[len(s.all)-1]
		s.all = s.all[:len(s.all)-1]
	}
	return nil
}

// honest connects a peer whose address has no other connection.
func (s *simulated) honest(t *testing.T) {
	t.Helper()
	from := netip.AddrFrom4([4]byte{198, 51, 100, byte(s.IntN(250))})
	h, _ := holderOf(from)
	if s.table.held[h] != nil {
		return
	}
	attacked, everywhere := 0, 0
	for a, n := range s.table.held {
		if n[arriving] > 1 {
			everywhere++
			if !a.prefix.Addr().IsLoopback() {
				attacked++
			}
		}
	}
	l := s.table.limits
	room := (s.table.remote[arriving] < l.Arriving || attacked > 0) && (len(s.table.entries[arriving]) < l.Arriving+l.Loopback || everywhere > 0)
	e, victims := s.table.arrive(s.now, from)
	if e == nil && room {
		t.Fatalf("an honest peer was refused by %+v: %+v", s.table.limits, s.table.remote)
	}
	for _, v := range victims {
		if v.owner.prefix.Addr().Is4() && v.owner.prefix.Addr().As4()[0] == 198 && !v.urgency(s.now).mute && attacked > 0 {
			t.Fatalf("an honest peer was closed in favor of another one, although others have more connections")
		}
	}
	s.settle(t, e, victims)
}

// settle checks the table, and the victims of a step.
func (s *simulated) settle(t *testing.T, e *entry, victims []*entry) {
	t.Helper()
	if e != nil {
		s.all = append(s.all, e)
	}
	for _, v := range victims {
		if !v.closed {
			t.Fatal("a victim is still in the table")
		}
		if e != nil && e.stage != known && v.stage == known {
			t.Fatal("a known peer was closed in favor of an anonymous one")
		}
	}
	if err := s.table.check(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkArrive measures the arrival of a connection at a full table.
func BenchmarkArrive(b *testing.B) {
	for _, size := range []int{256, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			table := newTable(Limits{Arriving: size})
			from := netip.MustParseAddr(attacker)
			now := epoch
			for range size {
				table.arrive(now, from)
			}
			for b.Loop() {
				now += instant(time.Millisecond)
				if _, victims := table.arrive(now, from); len(victims) != 1 {
					b.Fatal("nobody is closed")
				}
			}
		})
	}
}

// BenchmarkEstablish measures the arrival of a peer when a large number of peers is
// idle.
func BenchmarkEstablish(b *testing.B) {
	const size = 20_000
	table := newTable(Limits{Arriving: 1024, Established: size, IdleGrace: time.Minute})
	from := netip.MustParseAddr(attacker)
	now := epoch
	for range size {
		e, _ := table.arrive(now, from)
		table.establish(now, e, anonymous, "")
	}
	now += instant(time.Hour)
	for b.Loop() {
		e, _ := table.arrive(now, from)
		if ok, _ := table.establish(now, e, anonymous, ""); !ok {
			b.Fatal("nobody is closed")
		}
	}
}
