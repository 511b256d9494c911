package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/controller/storetest"
)

// runner takes the turns of a candidate, as a controller does.
type runner struct {
	*Candidate
	name   string
	cancel context.CancelFunc
	ended  chan struct{}

	mu   sync.Mutex
	last controller.Turn // with the last store and state
}

func start(t *testing.T, c *etcdtest.Cluster, prefix, name string) *runner {
	t.Helper()
	return startWith(t, c, prefix, name, steadyLease)
}

// steadyLease does not run out in a test, however slow the machine is.
const steadyLease = 10 * time.Second

func startWith(t *testing.T, c *etcdtest.Cluster, prefix, name string, lease time.Duration) *runner {
	t.Helper()
	return startConfig(t, Config{
		Endpoints: c.Endpoints(), Prefix: prefix, Lease: lease, Compact: time.Second,
		Member: zeekapi.ControllerMember{Name: name, Clients: name + ":2149"},
	})
}

func startConfig(t *testing.T, cfg Config) *runner {
	t.Helper()
	candidate, err := NewCandidate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{Candidate: candidate, name: cfg.Member.Name, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for {
			turn, err := candidate.Next(ctx)
			if err != nil {
				return
			}
			r.mu.Lock()
			if turn.Post.Leads && turn.Store == nil {
				turn.Store = r.last.Store
			}
			if turn.State == nil {
				turn.State = r.last.State
			}
			r.last = turn
			r.mu.Unlock()
		}
	}()
	t.Cleanup(r.stop)
	return r
}

// stop ends the candidate, which gives up its leadership.
func (r *runner) stop() {
	r.cancel()
	<-r.ended
	r.Close()
}

func (r *runner) turn() controller.Turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// until waits until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// leader waits until one of the candidates leads in a later term, and returns it.
func leader(t *testing.T, after uint64, all ...*runner) (l *runner) {
	t.Helper()
	until(t, "a controller leads", func() bool {
		l = nil
		for _, r := range all {
			if turn := r.turn(); turn.Post.Leads && turn.Post.Term > after {
				l = r
			}
		}
		return l != nil
	})
	return l
}

func TestStoreInEtcd(t *testing.T) {
	c := etcdtest.Start(t, 3)
	n := 0
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		n++
		prefix := fmt.Sprint("/store/", n)
		direct, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { direct.Close() })
		runs := 0
		return storetest.Fixture{
			Open: func() (controller.Store, func(), error) {
				runs++
				// The lease survives a fault, however slow the machine is.
				r := startWith(t, c, prefix, fmt.Sprint("c", runs), 5*time.Minute)
				var turn controller.Turn
				until(t, "the state is loaded or damaged", func() bool {
					turn = r.turn()
					return turn.Store != nil || strings.Contains(turn.Post.Trouble, "damaged")
				})
				if turn.Store == nil {
					r.stop()
					return nil, nil, errors.New(turn.Post.Trouble)
				}
				return turn.Store, r.stop, nil
			},
			Break:  func(*testing.T) string { c.SignalAll(syscall.SIGSTOP); return "does not answer" },
			Repair: func(*testing.T) { c.SignalAll(syscall.SIGCONT) },
			Damage: func(t *testing.T, n int) bool {
				resp, err := direct.Get(context.Background(), prefix+"/entries/", clientv3.WithPrefix())
				if err != nil {
					t.Fatal(err)
				}
				if n >= min(len(resp.Kvs), 8) { // each takes seconds
					return false
				}
				value := resp.Kvs[n].Value
				value[len(value)/2] ^= 1
				if _, err := direct.Put(context.Background(), string(resp.Kvs[n].Key), string(value)); err != nil {
					t.Fatal(err)
				}
				return true
			},
		}
	})
}

// leaderOf returns the name of the leader that a controller knows.
func leaderOf(r *runner) string {
	leader, _ := zeekapi.Controllers{Members: r.turn().Post.Members}.Leader()
	return leader.Name
}

// A controller that stands by, and loses its lease, reports with the next one what it has read.
func TestReportWithAnotherLease(t *testing.T) {
	c := etcdtest.Start(t, 1)
	one, two := start(t, c, "/report", "one"), start(t, c, "/report", "two")
	leader(t, 0, one, two)
	const keys = "/report/controllers/"
	reported := func() (key string) { // of the controller that stands by
		lines := strings.Split(strings.TrimSpace(c.Control("get", "--prefix", "--sort-by=CREATE", keys)), "\n")
		if len(lines) != 4 || strings.Contains(lines[3], `"read":0`) {
			return ""
		}
		return lines[2]
	}
	first := ""
	until(t, "the controller has reported", func() bool { first = reported(); return first != "" })
	c.Control("lease", "revoke", strings.TrimPrefix(first, keys))
	until(t, "it has reported with another lease", func() bool { last := reported(); return last != "" && last != first })
}

// One of several controllers leads. The others read what it stores, and one of them leads
// when it steps down, ends, or loses its lease.
func TestElection(t *testing.T) {
	c := etcdtest.Start(t, 3)
	one, two := start(t, c, "/election", "one"), start(t, c, "/election", "two")
	first := leader(t, 0, one, two)
	other := two
	if first == two {
		other = one
	}
	until(t, "the other controller knows the leader", func() bool { return leaderOf(other) == first.name })
	until(t, "the leader knows the other controller", func() bool { return len(first.turn().Post.Members) == 2 })
	until(t, "the leader knows that the other controller has read all changes", func() bool {
		return !slices.ContainsFunc(first.turn().Post.Members, func(m zeekapi.ControllerMember) bool { return m.Behind > 0 })
	})
	store, term := first.turn().Store, first.turn().Post.Term
	if err := store.Save(staged("c1")); err != nil {
		t.Fatal(err)
	}
	until(t, "the other controller has read the state", func() bool {
		turn := other.turn()
		return !turn.Post.Leads && turn.Post.Term == term && turn.State.Configs[controller.Staged].ID == "c1"
	})
	first.StepDown()
	if leader(t, term, one, two) != other {
		t.Error("the controller that stepped down leads again")
	}
	if err := store.Save(staged("lost")); !errors.Is(err, controller.ErrDeposed) {
		t.Errorf("a store of the former term: %v", err)
	}
	until(t, "the former leader stands by", func() bool { return !first.turn().Post.Leads && leaderOf(first) == other.name })
	store, term = other.turn().Store, other.turn().Post.Term
	if id := other.turn().State.Configs[controller.Staged].ID; id != "c1" {
		t.Errorf("the new leader found %q", id)
	}
	// The lease of the leader is revoked.
	key := strings.TrimSpace(strings.Split(c.Control("get", "--prefix", "--keys-only", "--sort-by=CREATE", "--limit=1", "/election/controllers/"), "\n")[0])
	c.Control("lease", "revoke", key[strings.LastIndexByte(key, '/')+1:])
	if err := store.Confirm(); !errors.Is(err, controller.ErrDeposed) {
		t.Errorf("without a lease: %v", err)
	}
	third := leader(t, term, one, two)
	term = third.turn().Post.Term
	third.stop()
	last := one
	if third == one {
		last = two
	}
	if leader(t, term, last).turn().State.Term <= term {
		t.Error("the term has not increased")
	}
}

// A leader keeps its term while a member of etcd is lost, and while etcd has no quorum. It
// reports the latter.
func TestLossOfMembers(t *testing.T) {
	c := etcdtest.Start(t, 3)
	const lease = 5 * time.Second
	r := startWith(t, c, "/members", "one", lease)
	leader(t, 0, r)
	store, term := r.turn().Store, r.turn().Post.Term
	for i := range 3 {
		c.Members[i].Kill()
		for n := range 5 {
			id := fmt.Sprint(i, n)
			until(t, "changes are stored without a member", func() bool {
				if err := store.Save(staged(id)); err == nil {
					return true
				}
				broken, err := store.Check()
				return !broken && err == nil && store.Rewrite(controller.State{}.After(staged(id))) == nil
			})
		}
		c.Members[i].Start()
		until(t, "the member is back", func() bool { return c.Healthy() })
	}
	c.Members[0].Kill()
	c.Members[1].Kill()
	until(t, "the loss is noticed", func() bool { broken, _ := store.Check(); return broken })
	if err := store.Save(staged("lost")); err == nil || errors.Is(err, controller.ErrDeposed) {
		t.Errorf("Save without a quorum: %v", err)
	}
	time.Sleep(lease + time.Second)
	if !r.turn().Post.Leads {
		t.Error("the leader gave up, although there can be no other one")
	}
	c.Members[0].Start()
	c.Members[1].Start()
	until(t, "changes can be stored again", func() bool {
		turn := r.turn()
		if !turn.Post.Leads {
			return false
		}
		if turn.Post.Term != term {
			return turn.Store.Save(staged("c2")) == nil
		}
		broken, err := store.Check()
		return !broken && err == nil && store.Rewrite(controller.State{}.After(staged("c2"))) == nil
	})
}

// A controller starts without etcd, and takes part when etcd is there. Controllers with
// another prefix do not see each other.
func TestCandidateWaitsForEtcd(t *testing.T) {
	c := etcdtest.Start(t, 1)
	c.Members[0].Kill()
	one, two := start(t, c, "/wait/1", "one"), start(t, c, "/wait/2/", "two")
	until(t, "the trouble is reported", func() bool { return one.turn().Post.Trouble != "" })
	c.Members[0].Start()
	leader(t, 0, one)
	leader(t, 0, two)
	if names := one.turn().Post.Members; len(names) != 1 {
		t.Errorf("members %v", names)
	}
	keys := strings.Fields(c.Control("get", "--prefix", "--keys-only", "/"))
	if slices.ContainsFunc(keys, func(key string) bool {
		return !strings.HasPrefix(key, "/wait/1/") && !strings.HasPrefix(key, "/wait/2/")
	}) {
		t.Errorf("keys %q", keys)
	}
}

// While etcd is full, changes are refused and the state can be read, by the leader and by
// another controller. Both stay in the election, and the leader stores changes again when
// there is space.
func TestEtcdWithoutSpace(t *testing.T) {
	c := etcdtest.Start(t, 1, "--quota-backend-bytes", "4000000")
	one, two := start(t, c, "/full", "one"), start(t, c, "/full", "two")
	r := leader(t, 0, one, two)
	other := two
	if r == two {
		other = one
	}
	store, term := r.turn().Store, r.turn().Post.Term
	if err := store.Save(staged("c0")); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if out, err := c.PutLarge(fmt.Sprint("/waste/", i), 512<<10); err != nil {
			if !strings.Contains(out, "space") {
				t.Fatal(out)
			}
			break
		}
	}
	if err := store.Save(staged("c1")); !errors.Is(err, errFull) {
		t.Fatalf("Save: %v", err)
	}
	until(t, "the alarm is noticed", func() bool { broken, err := store.Check(); return broken && errors.Is(err, errFull) })
	if state, err := store.Load(); err != nil || state.Configs[controller.Staged].ID != "c0" {
		t.Errorf("Load: %v, %v", state.Configs, err)
	}
	began := time.Now()
	until(t, "the other controller reads the state", func() bool {
		turn := other.turn()
		return turn.Post.AsOf.After(began) && turn.State.Configs[controller.Staged].ID == "c0" && leaderOf(other) == r.name
	})
	c.Control("del", "--prefix", "/waste/")
	until(t, "changes can be stored again", func() bool {
		c.Control("defrag") // which helps once the leader has compacted
		c.Control("alarm", "disarm")
		broken, err := store.Check()
		return !broken && err == nil && store.Rewrite(controller.State{Term: term}.After(staged("c2"))) == nil
	})
	until(t, "the other controller reads the change", func() bool {
		state := other.turn().State
		return state.Configs[controller.Staged].ID == "c2"
	})
	if turn := r.turn(); !turn.Post.Leads || turn.Post.Term != term {
		t.Error("the controller does not lead any more")
	}
}

// Writes that are larger than etcd's quota in total do not fill etcd, because the leader
// removes former values.
func TestUseIsBounded(t *testing.T) {
	const quota = 16 << 20
	c := etcdtest.Start(t, 1, "--quota-backend-bytes", fmt.Sprint(quota))
	r := start(t, c, "/bounded", "one") // compacts each second
	leader(t, 0, r)
	store := r.turn().Store
	const size = 256 << 10
	for written := 0; written < 3*quota; written += size {
		config := zeekapi.Configuration{ID: "c", Nodes: []zeekapi.Node{{
			Name: "w", Instance: "i", Role: zeekapi.RoleWorker, State: zeekapi.StateRunning, Env: map[string]string{"E": noise(uint64(written), size)},
		}}}
		if err := store.Save(controller.Save{Slot: controller.Staged, Config: config}); err != nil {
			t.Fatalf("after %d bytes: %v", written, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if out := c.Control("alarm", "list"); strings.TrimSpace(out) != "" {
		t.Errorf("alarm %q", out)
	}
}
