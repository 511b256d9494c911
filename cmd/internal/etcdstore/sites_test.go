package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/controller/storetest"
	sitestore "github.com/zeekwire/zeekwire/zeekapi/site"
)

// directory opens a store of sites.
func directory(t *testing.T, dir string) *sitestore.Store {
	t.Helper()
	s, err := sitestore.Open(sitestore.StoreConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// leadingSites returns the sites of a new leader, with copies in a directory. End ends its term.
func (f *fakeEtcd) leadingSites(t *testing.T, name, dir string) (s *Sites, end func()) {
	t.Helper()
	store := f.open(name)
	s = &Sites{local: directory(t, dir), limit: MaxSites}
	s.connect(store.database)
	if err := s.begin(context.Background(), store, time.Hour); err != nil {
		t.Fatal(err)
	}
	end = func() {
		s.end()
		f.remove(prefix + store.key)
	}
	t.Cleanup(s.end)
	return s, end
}

func TestSites(t *testing.T) {
	storetest.RunSites(t, func(t *testing.T) storetest.SitesFixture {
		f, n := newFake(t), 0
		f.timeout = 3 * time.Second
		dir := t.TempDir()
		return storetest.SitesFixture{
			Open: func(t *testing.T) (controller.SiteStore, func()) {
				n++
				return f.leadingSites(t, fmt.Sprint(n), dir)
			},
			Lose:   func(t *testing.T) { dir = t.TempDir() },
			Break:  func(*testing.T) string { f.faulty(unavailable); return "does not answer" },
			Repair: func(*testing.T) { f.faulty(nil) },
		}
	})
}

func TestSitesInEtcd(t *testing.T) {
	c := etcdtest.Start(t, 3)
	n := 0
	storetest.RunSites(t, func(t *testing.T) storetest.SitesFixture {
		n++
		dir, prefix := t.TempDir(), fmt.Sprint("/sites/", n)
		return storetest.SitesFixture{
			Open: func(t *testing.T) (controller.SiteStore, func()) {
				candidate, err := NewCandidate(Config{Endpoints: c.Endpoints(), Prefix: prefix})
				if err != nil {
					t.Fatal(err)
				}
				s := candidate.ShareSites(directory(t, dir))
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for ctx.Err() == nil {
						_, _ = candidate.Next(ctx) // fails when ctx ends
					}
				}()
				until(t, "the controller leads", func() bool { return s.term.Load() != nil })
				return s, func() {
					cancel()
					<-ended
					candidate.Close()
				}
			},
			Lose:   func(t *testing.T) { dir = t.TempDir() },
			Break:  func(*testing.T) string { c.SignalAll(syscall.SIGSTOP); return "does not answer" },
			Repair: func(*testing.T) { c.SignalAll(syscall.SIGCONT) },
		}
	})
}

// A controller that does not lead any more stores and removes nothing.
func TestSitesAreFenced(t *testing.T) {
	f := newFake(t)
	p, other := storetest.PackedSite(t, 600<<10, 1), storetest.PackedSite(t, 600<<10, 2)
	one, _ := f.leadingSites(t, "one", t.TempDir())
	if at, err := storetest.Upload(one, p, 100); err != nil || !at.Complete {
		t.Fatalf("%+v, %v", at, err)
	}
	f.remove(prefix + "controllers/one")
	two, _ := f.leadingSites(t, "two", t.TempDir())
	before := f.below(prefix + "site")
	if at, err := storetest.Upload(one, other, 100); !errors.Is(err, controller.ErrDeposed) || at.Complete {
		t.Errorf("an upload to the former leader: %+v, %v", at, err)
	}
	if err := one.Keep(nil, 0); err != nil {
		t.Fatal(err)
	}
	one.end()
	if diff := cmp.Diff(before, f.below(prefix+"site")); diff != "" {
		t.Errorf("the former leader changed sites:\n%s", diff)
	}
	if !two.HaveOf("", p.ID).Complete || two.HaveOf("", other.ID).Complete {
		t.Error("the new leader does not have the one site")
	}
	if at := one.HaveOf("", p.ID); at.Complete {
		t.Error("a controller that stands by says that a site is stored")
	}
}

// The leader is killed before each transaction of an upload and of a removal. The next one has
// the site or does not, and no waste is left.
func TestSitesKilledAtEachStep(t *testing.T) {
	p := storetest.PackedSite(t, 2<<20, 3)
	kills, stored := 0, 0
	var killed atomic.Bool // set by the upload, and by the sweep that it makes necessary
	killed.Store(true)
	for ; killed.Load(); kills++ {
		f := newFake(t)
		dir := t.TempDir()
		one, end := f.leadingSites(t, "one", dir)
		until(t, "the first sweep has ended", func() bool { return !one.term.Load().unclean.Load() })
		n := f.transactions
		killed.Store(false)
		f.before = func(i int) error {
			if i > n+kills {
				killed.Store(true)
				return rpctypes.ErrInvalidAuthToken // is not repeated
			}
			return nil
		}
		at, err := storetest.Upload(one, p, 100)
		if at.Complete != (err == nil) || killed.Load() != (err != nil) {
			t.Fatalf("killed %t: %+v, %v", killed.Load(), at, err)
		}
		end()
		f.before = nil
		two, _ := f.leadingSites(t, "two", t.TempDir())
		until(t, "the next leader has cleaned up", func() bool { return !two.term.Load().unclean.Load() })
		if two.HaveOf("", p.ID).Complete {
			stored++
			if err := two.Fetch(context.Background(), p.ID); err != nil {
				t.Error(err)
			}
		} else if left := f.below(prefix + "site"); len(left) > 0 {
			t.Errorf("killed at step %d: %q is left", kills, left)
		}
		two.end()
	}
	if t.Logf("killed %d times, stored %d times", kills-1, stored); kills < 5 || stored != 1 {
		t.Error("want four steps or more, the last of which stores the site")
	}
}

// A site whose parts are damaged in etcd is not fetched.
func TestDamagedSites(t *testing.T) {
	f := newFake(t)
	p := storetest.PackedSite(t, 2<<20, 4)
	s, _ := f.leadingSites(t, "one", t.TempDir())
	if _, err := storetest.Upload(s, p, 100); err != nil {
		t.Fatal(err)
	}
	for _, key := range f.below(prefix + "site") {
		flip := func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			value := f.keys[key].Value
			value[len(value)/2] ^= 1
		}
		flip()
		standby := &Sites{local: directory(t, t.TempDir())}
		standby.connect(database{kv: f, prefix: prefix, timeout: f.timeout})
		if err := standby.Fetch(context.Background(), p.ID); err == nil {
			t.Errorf("%s is damaged, and was fetched", key)
		}
		flip()
		if err := standby.Fetch(context.Background(), p.ID); err != nil {
			t.Errorf("%s is good again: %v", key, err)
		}
	}
}

// A needed site that is only on the leader's machine is stored in etcd: an earlier version left
// it there.
func TestSitesOfEarlierVersions(t *testing.T) {
	f := newFake(t)
	needed, other := storetest.PackedSite(t, 100, 5), storetest.PackedSite(t, 100, 6)
	dir := t.TempDir()
	former := directory(t, dir)
	for _, p := range []*sitestore.Packed{needed, other} {
		if at, err := storetest.Upload(former, p, 100); err != nil || !at.Complete {
			t.Fatal(at, err)
		}
	}
	s, _ := f.leadingSites(t, "one", dir)
	if s.HaveOf("", needed.ID).Complete {
		t.Error("a site is complete that is not in etcd")
	}
	if err := s.Keep([]string{needed.ID}, time.Hour); err != nil {
		t.Fatal(err)
	}
	until(t, "the site is in etcd", func() bool { return s.HaveOf("", needed.ID).Complete })
	if s.HaveOf("", other.ID).Complete {
		t.Error("a site that no configuration needs was stored in etcd")
	}
	if at, err := storetest.Upload(s, other, 100); err != nil || !at.Complete {
		t.Errorf("it is uploaded: %+v, %v", at, err)
	}
}

// Sites take a bounded space. Those that are not needed yield to others.
func TestSpaceOfSites(t *testing.T) {
	f := newFake(t)
	s, _ := f.leadingSites(t, "one", t.TempDir())
	s.limit = 1 << 20
	var sites []*sitestore.Packed
	for i := range uint64(5) {
		sites = append(sites, storetest.PackedSite(t, 300<<10, 10+i))
	}
	upload := func(i int) error { _, err := storetest.Upload(s, sites[i], 100); return err }
	for i := range 3 {
		if err := upload(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := upload(3); err == nil || !strings.Contains(err.Error(), "limit of 1048576 bytes for all sites in etcd") {
		t.Errorf("before the leader knows what is needed: %v", err)
	}
	if err := s.Keep([]string{sites[0].ID, sites[1].ID}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := upload(3); err != nil {
		t.Error(err)
	}
	for i, want := range []bool{true, true, false, true} {
		if got := s.HaveOf("", sites[i].ID).Complete; got != want {
			t.Errorf("site %d: stored %t, want %t", i, got, want)
		}
	}
	term := s.term.Load()
	term.writing.Lock() // Keep has started a sweep
	term.removed = []removal{{900 << 10, time.Now()}}
	term.writing.Unlock()
	if err := upload(4); err == nil || !strings.Contains(err.Error(), "until it is compacted") {
		t.Errorf("with removed sites that were not compacted: %v", err)
	}
}

// A copy of a state has its sites, in both directions.
func TestCopiedSites(t *testing.T) {
	c := etcdtest.Start(t, 1)
	p := storetest.PackedSite(t, 2<<20, 7)
	dir := t.TempDir()
	from := directory(t, filepath.Join(dir, "from"))
	if _, err := storetest.Upload(from, p, 100); err != nil {
		t.Fatal(err)
	}
	config := storetest.Configuration()
	config.Site = p.ID
	lost := storetest.Configuration()
	lost.Site = strings.Repeat("0", 64)
	state := controller.State{}.After(controller.Save{Slot: controller.Target, Config: config}, controller.Save{Slot: controller.Staged, Config: lost})
	cfg := Config{Endpoints: c.Endpoints()}
	if err := Write(context.Background(), cfg, state, from); err != nil {
		t.Fatal(err)
	}
	read, ok, err := Read(context.Background(), cfg)
	if !ok || err != nil || !Same(read, state) {
		t.Fatal(ok, err)
	}
	to := directory(t, filepath.Join(dir, "to"))
	missing, err := ReadSites(context.Background(), cfg, read.Sites(), to)
	if diff := cmp.Diff([]string{lost.Site}, missing); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{p.ID}, to.Sites()); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "to", p.ID+".tar.zst")); err != nil {
		t.Error(err)
	}
}
