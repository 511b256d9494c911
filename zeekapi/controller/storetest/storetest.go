// Package storetest tests stores of controllers: all have the same tests.
package storetest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Fixture is a stored state, with faults.
type Fixture struct {
	// Open opens the state, as the next process does. End ends that process.
	Open func() (s controller.Store, end func(), err error)

	// Break makes the store fail, and returns a part of the reason. Repair ends that.
	Break  func(t *testing.T) (reason string)
	Repair func(t *testing.T)

	// Fill takes all the space, and returns a part of the reason. Free ends that. They are
	// nil if that cannot be tested.
	Fill func(t *testing.T) (reason string)
	Free func(t *testing.T)

	// Damage changes a bit of a stored value, and returns false if there are not so many
	// values. No process has the state open.
	Damage func(t *testing.T, n int) bool
}

// Run runs the tests. Fresh returns a fixture without a state.
func Run(t *testing.T, fresh func(t *testing.T) Fixture) {
	for name, test := range map[string]func(t *testing.T, f Fixture){
		"saved state is loaded":         savedStateIsLoaded,
		"all or nothing is saved":       allOrNothing,
		"old entries are removed":       oldEntriesAreRemoved,
		"many changes are saved":        manyChanges,
		"rewriting replaces everything": rewriting,
		"large values are stored":       largeValues,
		"a store that fails": func(t *testing.T, f Fixture) {
			fails(t, f, f.Break, f.Repair)
		},
		"a store without space": func(t *testing.T, f Fixture) {
			if f.Fill == nil {
				t.Skip("has tests of its own")
			}
			fails(t, f, f.Fill, f.Free)
		},
		"damage is noticed": damageIsNoticed,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func (f Fixture) open(t *testing.T) (controller.Store, func()) {
	t.Helper()
	s, end, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	return s, end
}

// Equal are the options to compare states.
var Equal = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreFields(controller.State{}, "Term"), // of a shared store
	// Names of instances are a set. They are stored in the order of their hashes.
	cmp.FilterPath(func(p cmp.Path) bool {
		return p.Last().String() == ".Drained" || p.Last().String() == ".Owed"
	}, cmpopts.SortSlices(strings.Compare)),
}

func expect(t *testing.T, what string, s controller.Store, want controller.State) {
	t.Helper()
	got, err := s.Load()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, got, Equal); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

func save(t *testing.T, s controller.Store, changes ...controller.Change) {
	t.Helper()
	if err := s.Save(changes...); err != nil {
		t.Fatal(err)
	}
}

func savedStateIsLoaded(t *testing.T, f Fixture) {
	changes := Changes()
	s, done := f.open(t)
	expect(t, "a new store", s, controller.State{})
	for some := range slices.Chunk(changes[:len(changes)/2], 20) {
		save(t, s, some...)
	}
	done()
	s, done = f.open(t)
	save(t, s, changes[len(changes)/2:]...)
	want := controller.State{}.After(changes...)
	expect(t, "the same store", s, want)
	done()
	s, done = f.open(t)
	defer done()
	expect(t, "the next store", s, want)
}

func allOrNothing(t *testing.T, f Fixture) {
	s, done := f.open(t)
	defer done()
	bad := Configuration()
	bad.Nodes[0].Role = "no role"
	err := s.Save(controller.Save{Slot: controller.Staged, Config: Configuration()}, controller.Save{Slot: controller.Ready, Config: bad})
	if err == nil || !strings.Contains(err.Error(), `configs "ready": `) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Check(); err != nil {
		t.Error(err)
	}
	expect(t, "after a failure", s, controller.State{})
}

func oldEntriesAreRemoved(t *testing.T, f Fixture) {
	s, done := f.open(t)
	defer done()
	var want controller.State
	for number := range uint64(5) {
		oldest := max(number, 1) // the last two remain
		changes := []controller.Change{
			controller.SaveDeployment{Past: controller.Past{Deployment: zeekapi.Deployment{Number: number + 1, Started: began, Outcome: zeekapi.OutcomeLost}}, Oldest: oldest},
			controller.Announce{Event: zeekapi.ClusterEvent{Number: number + 1, Time: began, Kind: zeekapi.EventJob}, Oldest: oldest},
		}
		save(t, s, changes...)
		want = want.After(changes...)
	}
	if len(want.History) != 2 || len(want.Events) != 2 {
		t.Fatalf("%d deployments and %d events, want two", len(want.History), len(want.Events))
	}
	expect(t, "after five deployments", s, want)
}

// Events returns the announcements of events from a number on, of which kept remain.
func Events(first, count, kept uint64) (changes []controller.Change) {
	for number := first; number < first+count; number++ {
		oldest := max(number, kept) - kept + 1
		changes = append(changes, controller.Announce{Event: zeekapi.ClusterEvent{Number: number, Time: began, Kind: zeekapi.EventJob}, Oldest: oldest})
	}
	return changes
}

// manyChanges stores thousands of changes together, as many agents cause them.
func manyChanges(t *testing.T, f Fixture) {
	s, done := f.open(t)
	defer done()
	var want controller.State
	next := uint64(1)
	for _, count := range []uint64{700, 700, 3000, 1} {
		changes := Events(next, count, 1000)
		next += count
		for n := range count {
			changes = append(changes, controller.SaveNames{Set: controller.Drained, Name: fmt.Sprint("agent-", n), In: count != 700})
		}
		save(t, s, changes...)
		want = want.After(changes...)
	}
	if len(want.Events) != 1000 || len(want.Drained) != 3000 {
		t.Fatalf("%d events and %d names", len(want.Events), len(want.Drained))
	}
	expect(t, "after thousands of changes", s, want)
}

func rewriting(t *testing.T, f Fixture) {
	s, done := f.open(t)
	defer done()
	save(t, s, Changes()...)
	changes := Changes()
	other := controller.State{}.After(changes[:len(changes)/2]...)
	for _, want := range []controller.State{other, {}, other.After(changes...), other} {
		if err := s.Rewrite(want); err != nil {
			t.Fatal(err)
		}
		expect(t, "rewritten", s, want)
	}
}

// largeValues stores configurations of several MiB that cannot be compressed well, together.
func largeValues(t *testing.T, f Fixture) {
	s, done := f.open(t)
	var want controller.State
	for round, size := range []int{6 << 20, 100, 3 << 20} {
		var changes []controller.Change
		for i, slot := range controller.Slots {
			c := Configuration()
			c.Nodes[0].Env = map[string]string{"X": noise(size, uint64(round*10+i))}
			changes = append(changes, controller.Save{Slot: slot, Config: c})
		}
		save(t, s, changes...)
		want = want.After(changes...)
		expect(t, "large values", s, want)
	}
	done()
	s, done = f.open(t)
	defer done()
	expect(t, "large values in the next store", s, want)
}

// noise returns a text that cannot be compressed well.
func noise(n int, seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 1))
	text := make([]byte, n)
	for i := range text {
		text[i] = byte(' ' + random.IntN(90))
	}
	return string(text)
}

// fails tests a store that fails for a while. What was stored before remains, and what is
// rewritten afterwards is stored.
func fails(t *testing.T, f Fixture, begin func(t *testing.T) string, end func(t *testing.T)) {
	s, done := f.open(t)
	defer done()
	if broken, err := s.Check(); broken || err != nil {
		t.Fatalf("a good store: %v", err)
	}
	before := []controller.Change{controller.Save{Slot: controller.Staged, Config: Configuration()}}
	save(t, s, before...)
	reason := begin(t)
	lost := Configuration()
	lost.ID = "lost"
	if err := s.Save(controller.Save{Slot: controller.Staged, Config: lost}); err == nil || !strings.Contains(err.Error(), reason) {
		t.Fatalf("Save: %v, want %q", err, reason)
	}
	end(t)
	kept := controller.State{}.After(before...).After(controller.SaveNames{Set: controller.Drained, Name: "a", In: true})
	deadline := time.Now().Add(time.Minute)
	for {
		broken, err := s.Check()
		if !broken && err == nil {
			err = s.Rewrite(kept) // it fails if the lost change arrives only now
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not repaired: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	expect(t, "after the fault", s, kept)
	next := controller.SaveNames{Set: controller.Owed, Name: "b", In: true}
	save(t, s, next)
	expect(t, "later", s, kept.After(next))
}

// damageIsNoticed changes one stored value after the other. The state that is loaded is the
// right one, or there is an error.
func damageIsNoticed(t *testing.T, f Fixture) {
	s, done := f.open(t)
	changes := Changes()[:20]
	save(t, s, changes...)
	want, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	done()
	noticed := 0
	for n := 0; f.Damage(t, n); n++ {
		err := func() error {
			s, done, err := f.Open()
			if err != nil {
				return err
			}
			defer done()
			got, err := s.Load()
			if err == nil && !cmp.Equal(want, got, Equal) {
				t.Errorf("damaged value %d: another state was loaded\n%s", n, cmp.Diff(want, got, Equal))
			}
			return err
		}()
		if err != nil {
			noticed++
		}
		f.Damage(t, n) // changes it back
	}
	if noticed < 5 {
		t.Errorf("noticed %d times, want five or more", noticed)
	}
}

func listening(name, address string) zeekapi.Instance {
	at := netip.MustParseAddrPort(address)
	return zeekapi.Instance{Name: name, Host: at.Addr(), Port: broker.TCP(at.Port())}
}

// began is the time of changes.
var began = time.Unix(1790000000, 0).UTC()

// Configuration returns a configuration with every kind of value.
func Configuration() zeekapi.Configuration {
	cpu := int64(3)
	return zeekapi.Configuration{
		ID:        "c1",
		Instances: []zeekapi.Instance{{Name: "a", Host: netip.IPv4Unspecified()}, listening("b", "10.0.0.1:2151"), listening("c", "[2001:db8::1]:2151")},
		Nodes: []zeekapi.Node{
			{
				Name: "m", Instance: "a", Role: zeekapi.RoleManager, State: zeekapi.StateRunning,
				Port: broker.TCP(2200), MetricsPort: broker.TCP(9000),
				Scripts: []string{"b", "a"}, Options: []zeekapi.Option{{Name: "o", Value: "v"}},
				Interface: "eth0", CPUAffinity: &cpu, Env: map[string]string{"A": "1", "B": ""},
			},
			{Name: "w", Instance: "b", Role: zeekapi.RoleWorker, State: zeekapi.StatePending, Env: map[string]string{}},
		},
	}
}

// Changes returns changes of every type.
func Changes() []controller.Change {
	past := controller.Past{
		Deployment:    zeekapi.Deployment{Number: 7, Config: "c1", Action: "deploy", By: "alice", Started: began, Outcome: zeekapi.OutcomePending},
		Configuration: Configuration(),
	}
	committed := past
	committed.Number = 8
	committed.Commitment = &controller.Commitment{
		Options: zeekapi.DeployOptions{Partial: true, NoRollback: true}, Skipped: []string{"b"}, Former: 7, Ran: []string{"w", "x"},
		Rollback: "rolled back to deployment 7: w on a: died", Errors: []string{"w: died"},
	}
	ended := past
	ended.Ended, ended.Outcome, ended.Errors = began.Add(time.Second), zeekapi.OutcomeFailed, []string{"w: failed"}
	changes := []controller.Change{
		controller.SaveDeployment{Past: past, Oldest: 7},
		controller.SaveDeployment{Past: ended, Oldest: 7},
		controller.SaveDeployment{Past: committed, Oldest: 7},
		controller.SaveNames{Set: controller.Drained, Name: "a", In: true},
		controller.SaveNames{Set: controller.Drained, Name: "", In: true},
		controller.SaveNames{Set: controller.Drained, Name: "a", In: false},
		controller.SaveNames{Set: controller.Drained, Name: "b", In: false},
		controller.SaveNames{Set: controller.Owed, Name: strings.Repeat("long", 20000), In: true},
		controller.SaveJob{Job: controller.StoredJob{Job: zeekapi.Job{Number: 1, By: "bob", Started: began, Ended: began, Done: []string{"w"}}}},
		controller.SaveJob{Job: controller.StoredJob{
			Job:    zeekapi.Job{Number: 2, By: "bob", Started: began, Done: []string{"l"}, Now: []string{"w"}, Next: []string{"x"}},
			AtOnce: 3, Told: map[string]int64{"w": 7}, Stopped: "cancelled by bob",
		}},
	}
	changes = append(changes, controller.SaveSent{Sent: controller.Sent{ID: "c1", Digest: "\xff\x00"}})
	changes = append(changes,
		controller.SaveStopped{Nodes: []zeekapi.StoppedNode{{Node: "w", By: "bob", Since: began}, {Node: "x", By: "bob", Since: began}}},
		controller.SaveSent{Sent: controller.Sent{ID: "c2", Digest: "\x01"}},
		controller.SaveStopped{Nodes: []zeekapi.StoppedNode{{Node: "w", By: "bob", Since: began}}})
	for _, slot := range controller.Slots {
		c := Configuration()
		c.ID = string(slot)
		changes = append(changes, controller.Save{Slot: slot, Config: zeekapi.Configuration{ID: "former"}}, controller.Save{Slot: slot, Config: c})
	}
	for i := range uint64(300) {
		changes = append(changes, controller.Announce{
			Event:  zeekapi.ClusterEvent{Number: i + 1, Time: began, Kind: zeekapi.EventState, Instance: "a", Node: "w", Text: "RUNNING"},
			Oldest: max(100, i) - 99,
		})
	}
	return changes
}
