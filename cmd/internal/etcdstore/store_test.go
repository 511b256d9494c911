package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/controller/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests are the tests of this package, for which testbinary can build the program.
type tests struct{ *testing.M }

func (t tests) Run() int { return testbinary.Main(t.M.Run) }

const prefix = "/test/"

// opened returns the store of a new leader.
func (f *fakeEtcd) opened(name string) (*Store, controller.State, error) {
	key := "controllers/" + name
	s := newStore(database{kv: f, prefix: prefix, timeout: f.timeout}, key, f.elect(prefix+key))
	state, err := s.open(context.Background(), 100)
	return s, state, err
}

func (f *fakeEtcd) open(name string) *Store {
	f.t.Helper()
	s, _, err := f.opened(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// faulty makes all transactions and reads fail.
func (f *fakeEtcd) faulty(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads, f.before = err, nil
	if err != nil {
		f.before = func(int) error { return err }
	}
}

var unavailable = status.Error(codes.Unavailable, "no connection")

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		f, n := newFake(t), 0
		f.timeout = 5 * time.Second // so that faults end a test soon, but large values are written on a busy machine
		return storetest.Fixture{
			Open: func() (controller.Store, func(), error) {
				n++
				s, _, err := f.opened(fmt.Sprint(n))
				return s, func() { f.remove(prefix + s.key) }, err
			},
			Break:  func(*testing.T) string { f.faulty(unavailable); return "does not answer" },
			Repair: func(*testing.T) { f.faulty(nil) },
			Fill: func(*testing.T) string {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.before = func(int) error { return rpctypes.ErrNoSpace }
				return "its database is full"
			},
			Free: func(*testing.T) { f.faulty(nil) },
			Damage: func(t *testing.T, n int) bool {
				keys := f.below(prefix + "entries/")
				if n >= len(keys) {
					return false
				}
				f.mu.Lock()
				defer f.mu.Unlock()
				value := f.keys[keys[n]].Value
				value[len(value)/2] ^= 1
				return true
			},
		}
	})
}

func staged(id string) controller.Change {
	return controller.Save{Slot: controller.Staged, Config: zeekapi.Configuration{ID: id}}
}

// A write of a controller whose key is gone changes nothing, and neither do later ones.
func TestFencing(t *testing.T) {
	f := newFake(t)
	one := f.open("one")
	if err := one.Save(staged("c1")); err != nil {
		t.Fatal(err)
	}
	f.remove(prefix + one.key)
	two := f.open("two")
	if err := one.Save(staged("lost")); !errors.Is(err, controller.ErrDeposed) {
		t.Errorf("Save: %v", err)
	}
	if err := one.Confirm(); !errors.Is(err, controller.ErrDeposed) {
		t.Errorf("Confirm: %v", err)
	}
	if broken, err := one.Check(); !broken || !errors.Is(err, controller.ErrDeposed) {
		t.Errorf("Check: %v", err)
	}
	if err := one.Rewrite(controller.State{}); !errors.Is(err, controller.ErrDeposed) {
		t.Errorf("Rewrite: %v", err)
	}
	if err := two.Confirm(); err != nil {
		t.Error(err)
	}
	if state, err := two.Load(); err != nil || state.Configs[controller.Staged].ID != "c1" {
		t.Errorf("%v, %v", state.Configs, err)
	}
	// The key of another session of the same name has another revision.
	f.remove(prefix + two.key)
	f.elect(prefix + two.key)
	if err := two.Confirm(); !errors.Is(err, controller.ErrDeposed) {
		t.Errorf("Confirm with another revision: %v", err)
	}
}

// Terms increase, whatever the clock says.
func TestTerms(t *testing.T) {
	f := newFake(t)
	for i, want := range []uint64{100, 101, 102} {
		s, state, err := f.opened(fmt.Sprint(i))
		if err != nil || state.Term != want {
			t.Errorf("term %d: %v, want %d", state.Term, err, want)
		}
		if loaded, err := s.Load(); err != nil || loaded.Term != want {
			t.Errorf("loaded term %d: %v, want %d", loaded.Term, err, want)
		}
		f.remove(prefix + s.key)
	}
}

// A write whose result is lost is not made twice, and is known to be successful.
func TestLostResult(t *testing.T) {
	f := newFake(t)
	s := f.open("one")
	n := f.transactions
	f.after = func(i int) error {
		if i == n+1 {
			return unavailable
		}
		return nil
	}
	if err := s.Save(staged("c1")); err != nil {
		t.Fatal(err)
	}
	if f.transactions != n+2 || s.head.Write != 2 {
		t.Errorf("%d transactions, write %d", f.transactions-n, s.head.Write)
	}
	if err := s.Save(staged("c2")); err != nil {
		t.Error(err)
	}
}

// A write whose result is lost at the end of the term may have been stored, which the error
// says. One that is refused at once was not.
func TestLostResultOfDeposed(t *testing.T) {
	f := newFake(t)
	s := f.open("one")
	f.after = func(int) error {
		if f.keys[prefix+s.key] == nil {
			return nil
		}
		delete(f.keys, prefix+s.key)
		return unavailable
	}
	if err := s.Save(staged("c1")); !errors.Is(err, controller.ErrDeposed) || !errors.Is(err, controller.ErrUnsure) {
		t.Errorf("Save: %v", err)
	}
	f.after = nil
	s = f.open("two")
	f.remove(prefix + s.key)
	if err := s.Save(staged("c2")); !errors.Is(err, controller.ErrDeposed) || errors.Is(err, controller.ErrUnsure) {
		t.Errorf("Save without an earlier attempt: %v", err)
	}
}

// A write that arrives after the next one changes nothing. One that arrives before it is
// noticed.
func TestLateWrite(t *testing.T) {
	f := newFake(t)
	s := f.open("one")
	late := newStore(s.database, s.key, s.revision) // the write of the same leader that is under way
	if _, err := late.Load(); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(staged("c1")); err != nil {
		t.Fatal(err)
	}
	if err := late.Save(staged("late")); !errors.Is(err, errMoved) {
		t.Errorf("the late write: %v", err)
	}
	if _, err := late.Check(); err != nil {
		t.Fatal(err)
	}
	if err := late.Save(staged("c2")); err != nil {
		t.Errorf("after Check: %v", err)
	}
	if err := s.Save(staged("c3")); !errors.Is(err, errMoved) {
		t.Errorf("a write after a late one: %v", err)
	}
}

// A large write is made in several transactions. The leader is killed before each of them.
// The next one finds all changes, or none, and leaves no waste.
func TestLargeWriteKilledAtEachStep(t *testing.T) {
	changes := storetest.Changes()
	for n := range maxOps {
		changes = append(changes, controller.SaveNames{Set: controller.Owed, Name: fmt.Sprint("agent-", n), In: true})
	}
	kills, committed := 0, 0
	for ; ; kills++ {
		f := newFake(t)
		s := f.open("one")
		before := controller.State{}.After(changes[0])
		if err := s.Save(changes[0]); err != nil {
			t.Fatal(err)
		}
		n := f.transactions
		killed := false
		f.before = func(i int) error {
			if i > n+kills {
				killed = true
				return rpctypes.ErrInvalidAuthToken // is not repeated
			}
			return nil
		}
		err := s.Save(changes...)
		if killed != (err != nil) {
			t.Fatalf("killed %t: %v", killed, err)
		}
		f.before = nil
		f.remove(prefix + s.key)
		view, err := s.read(context.Background()) // as another controller reads it now
		if err != nil {
			t.Fatal(err)
		}
		seen, err := controller.ReadEntries(view.mirror.begin())
		if err != nil {
			t.Fatal(err)
		}
		state, err := f.open("two").Load()
		if err != nil {
			t.Fatal(err)
		}
		all := before.After(changes...)
		switch {
		case cmp.Equal(state, all, storetest.Equal):
			committed++
		case killed && cmp.Equal(state, before, storetest.Equal):
		default:
			t.Errorf("killed at step %d: neither all nor nothing", kills)
		}
		if !cmp.Equal(state, seen, storetest.Equal) {
			t.Errorf("killed at step %d: another controller read another state", kills)
		}
		if left := f.below(prefix + "redo/"); len(left) > 0 {
			t.Errorf("killed at step %d: %q is left", kills, left)
		}
		if !killed {
			break
		}
	}
	if t.Logf("killed %d times, %d times after the commit", kills, committed); kills < 5 || committed < 3 {
		t.Error("want five steps or more")
	}
}

// The events of many agents take one transaction, in which as many old ones are removed.
func TestEventsTakeOneTransaction(t *testing.T) {
	f := newFake(t)
	s := f.open("one")
	for first := uint64(1); first < 5000; first += 1000 {
		n := f.transactions
		if err := s.Save(storetest.Events(first, 1000, 1000)...); err != nil {
			t.Fatal(err)
		}
		if got := f.transactions - n; got != 1 {
			t.Errorf("events from %d on took %d transactions", first, got)
		}
	}
	if state, err := s.Load(); err != nil || len(state.Events) != 1000 || state.Events[0].Number != 4001 {
		t.Errorf("%d events, %v", len(state.Events), err)
	}
}

// What is removed from the state is removed from etcd, so that it does not grow.
func TestRemovedValuesAreRemoved(t *testing.T) {
	f := newFake(t)
	s := f.open("one")
	if err := s.Rewrite(controller.State{}.After(storetest.Changes()...)); err != nil {
		t.Fatal(err)
	}
	if err := s.Rewrite(controller.State{Term: 100}); err != nil {
		t.Fatal(err)
	}
	for _, key := range f.below(prefix + "entries/") {
		if !strings.HasPrefix(key, prefix+"entries/meta/") {
			t.Errorf("%s is left", key)
		}
	}
}

// A leader that cannot reach etcd is not told that it lost.
func TestConfirmWithoutConnection(t *testing.T) {
	f := newFake(t)
	f.timeout = 100 * time.Millisecond
	s := f.open("one")
	f.faulty(unavailable)
	if err := s.Confirm(); err == nil || errors.Is(err, controller.ErrDeposed) || !errors.Is(err, errGone) {
		t.Errorf("Confirm: %v", err)
	}
	f.faulty(nil)
	if err := s.Confirm(); err != nil {
		t.Error(err)
	}
	s.setHealth(errFull)
	if broken, err := s.Check(); !broken || !errors.Is(err, errFull) {
		t.Errorf("Check: %t, %v", broken, err)
	}
	s.setHealth(nil)
	s.seal()
	if err := s.Save(staged("c1")); !errors.Is(err, controller.ErrDeposed) {
		t.Errorf("Save after the end of the term: %v", err)
	}
}

func TestEditsSurviveEncoding(t *testing.T) {
	edits := []edit{{"a", []byte("1")}, {"b", nil}, {"c", []byte{}}, {strings.Repeat("k", 300), make([]byte, 70000)}}
	data := encodeEdits(edits)
	got, err := decodeEdits(data)
	if diff := cmp.Diff(edits, got, cmp.AllowUnexported(edit{})); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for n := range len(data) {
		if got, err := decodeEdits(data[:n]); err == nil && len(got) == len(edits) {
			t.Errorf("%d of %d bytes are accepted", n, len(data))
		}
	}
}
