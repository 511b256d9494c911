package gateway

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
)

// texts takes all messages of a place.
func texts(p *place) (all []string, lost uint64, changed <-chan struct{}) {
	for {
		taken, missing, changed := p.take(0, nil)
		lost += missing
		for _, e := range taken {
			all = append(all, string(e.text))
		}
		if len(taken) == 0 {
			return all, lost, changed
		}
	}
}

// Each group gets its messages, and no others wake it, also with more groups than a word has
// bits, and when a group takes the slot of another one.
func TestGroups(t *testing.T) {
	r := newRing(1000, 1<<20)
	places := make([]*place, 150)
	event := func(n int) selection {
		return selection{topics: broker.NewFilter("/"), events: []string{fmt.Sprint("e", n)}}
	}
	for n := range places {
		places[n] = new(place)
		places[n].begin(r, event(n))
	}
	check := func(n int, want ...string) {
		t.Helper()
		got, lost, _ := texts(places[n])
		if fmt.Sprint(got) != fmt.Sprint(want) || lost != 0 {
			t.Errorf("group %d got %q, %d lost, want %q", n, got, lost, want)
		}
	}
	_, _, quiet := texts(places[149])
	r.add(&entry{topic: "/t", event: "e7", text: []byte("seven")})
	r.add(&entry{topic: "/t", event: "e70", text: []byte("seventy")})
	check(7, "seven")
	check(70, "seventy")
	check(8)
	select {
	case <-quiet:
		t.Error("a message woke a group that does not get it")
	default:
	}
	r.leave(places[7].group)
	places[7] = new(place)
	places[7].begin(r, event(1000))
	check(7) // the slot had messages
	r.add(&entry{topic: "/t", event: "e1000", text: []byte("another")})
	check(7, "another")
}

// A reader that nothing was for does not miss what the ring has removed meanwhile, also if it has
// not looked yet. One for which there was something does.
func TestQuietReaders(t *testing.T) {
	r := newRing(10, 1<<20)
	var quiet, woken, silent place
	s := selection{topics: broker.NewFilter("/"), events: []string{"rare"}}
	quiet.begin(r, s)
	woken.begin(r, selection{topics: broker.NewFilter("/")})
	silent.begin(r, s)
	texts(&quiet) // waits now; silent has not looked
	texts(&woken)
	for range 25 {
		r.add(&entry{topic: "/t", event: "often", text: []byte("often")})
	}
	if n := quiet.behind(r.end()); n != 0 {
		t.Errorf("the quiet reader is %d messages behind", n)
	}
	if n := woken.behind(r.end()); n != 25 {
		t.Errorf("the woken reader is %d messages behind, want 25", n)
	}
	r.add(&entry{topic: "/t", event: "rare", text: []byte("rare")})
	if got, lost, _ := texts(&quiet); len(got) != 1 || lost != 0 {
		t.Errorf("the quiet reader got %q, and lost %d", got, lost)
	}
	if got, lost, _ := texts(&woken); len(got) != 10 || lost != 16 {
		t.Errorf("the woken reader got %q, and lost %d, want 10 and 16", got, lost)
	}
	if got, lost, _ := texts(&silent); len(got) != 1 || lost != 0 {
		t.Errorf("the reader that had not looked got %q, and lost %d", got, lost)
	}
	silent.begin(r, s)
	silent.resume(10)
	if got, lost, _ := texts(&silent); len(got) != 1 || lost != 7 {
		t.Errorf("the reader that resumed got %q, and lost %d, want 1 and 7", got, lost)
	}
}

// At the end, readers get what is there, and are woken.
func TestRingEnds(t *testing.T) {
	r := newRing(10, 1<<20)
	var waiting, behind, late place
	all := selection{topics: broker.NewFilter("")}
	waiting.begin(r, all)
	behind.begin(r, selection{topics: broker.NewFilter("/")})
	_, _, changed := texts(&waiting)
	r.add(&entry{topic: "/t", text: []byte("last")})
	<-changed
	_, _, idle := texts(&waiting)
	r.close()
	<-idle
	if got, _, changed := texts(&waiting); len(got) != 0 || changed != nil {
		t.Errorf("a reader without messages got %q, %v", got, changed)
	}
	if got, _, changed := texts(&behind); len(got) != 1 || changed != nil {
		t.Errorf("a reader that was behind got %q, %v", got, changed)
	}
	late.begin(r, selection{topics: broker.NewFilter("/late")})
	if got, _, changed := texts(&late); len(got) != 0 || changed != nil {
		t.Errorf("a late reader got %q, %v", got, changed)
	}
}

// A transient ring keeps nothing without readers.
func TestTransientRing(t *testing.T) {
	r := newRing(10, 1<<20)
	r.transient = true
	var one, two place
	one.begin(r, selection{topics: broker.NewFilter("/")})
	two.begin(r, selection{topics: broker.NewFilter("/")})
	r.add(&entry{topic: "/t", text: []byte("x")})
	r.leave(one.group)
	if n, _ := r.size(); n != 1 || !r.read() {
		t.Errorf("the ring has %d messages, want 1", n)
	}
	r.leave(two.group)
	if n, bytes := r.size(); n != 0 || bytes != 0 || r.read() {
		t.Errorf("the ring has %d messages of %d bytes without readers", n, bytes)
	}
}

// Messages of the same topic and event are compared with all groups once. Groups that come and go
// get their messages.
func TestGroupsAreComparedOnce(t *testing.T) {
	r := newRing(100_000, 64<<20)
	random := rand.New(rand.NewPCG(1, 2))
	places, want := make([]*place, 100), make([]int, 100)
	pattern := func(n int) string { return fmt.Sprintf("e%d*", n%10) }
	for round := range 10_000 {
		n := random.IntN(len(places))
		switch p := places[n]; {
		case p == nil:
			places[n], want[n] = new(place), 0
			places[n].begin(r, selection{topics: broker.NewFilter(fmt.Sprint("/", n/10)), events: []string{pattern(n)}})
		case random.IntN(10) == 0:
			if got, lost, _ := texts(p); len(got) != want[n] || lost != 0 {
				t.Fatalf("round %d: got %d messages, lost %d, want %d", round, len(got), lost, want[n])
			}
			r.leave(p.group)
			places[n] = nil
		default:
			topic, event := fmt.Sprint("/", random.IntN(11)), fmt.Sprint("e", random.IntN(11), random.IntN(50))
			first, second := &entry{topic: topic, event: event}, &entry{topic: topic, event: event}
			r.add(first)
			r.add(second)
			if &first.groups[0] != &second.groups[0] {
				t.Fatalf("round %d: the groups were compared again", round)
			}
			for i, p := range places {
				if p != nil && p.group.selection.matches(topic, event) {
					want[i] += 2
				}
			}
		}
	}
}

// What the ring keeps about groups counts as memory, too, and is as small as before when many
// groups have left.
func TestGroupsCountBytes(t *testing.T) {
	const limit = 1 << 20
	r := newRing(100_000, limit)
	places := make([]place, 10_000)
	for n := range places {
		places[n].begin(r, selection{topics: broker.NewFilter(fmt.Sprint("/", n))})
	}
	for range 10_000 {
		r.add(&entry{topic: "/t"})
	}
	used := 0
	for _, e := range r.entries {
		if e != nil {
			used += len(e.groups) * 8
		}
	}
	if n, bytes := r.size(); n == 0 || used > limit || bytes < used {
		t.Errorf("%d messages have groups of %d bytes, and count for %d, limit %d", n, used, bytes, limit)
	}
	for n := range places {
		r.leave(places[n].group)
	}
	e := &entry{topic: "/t"}
	if r.add(e); len(e.groups) != 0 {
		t.Errorf("without groups, a message has a set of %d words", len(e.groups))
	}
}
