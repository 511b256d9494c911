package etcdstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

const (
	sweepInterval = 10 * time.Minute // between two removals of unneeded sites
	sweepRetry    = time.Minute      // after a failed one
)

// siteTerm has the sites in etcd during a term in which this controller leads. No other
// controller changes them.
type siteTerm struct {
	*Sites
	store     *Store
	retention time.Duration // the time that former values stay in etcd
	cancel    context.CancelFunc
	ctx       context.Context //nolint:containedctx // it is the lifetime of the term
	done      chan struct{}
	news      chan struct{} // has a value if Keep was called

	unclean atomic.Bool // there may be parts without a record, or other sites than the known ones

	writing sync.Mutex // held while etcd is changed
	removed []removal  // with writing

	mu    sync.Mutex
	known map[string]*sharedSite // by ID
}

// sharedSite is a site in etcd, and its use as far as the leader knows.
type sharedSite struct {
	storedSite
	owner string    // the client that uploaded it in this term; "" if it was uploaded before, or by several
	used  time.Time // when it was uploaded or asked for, or else when the term began
}

// removal is a site that was removed. It takes space until etcd is compacted.
type removal struct {
	size int64
	at   time.Time
}

func newSiteTerm(s *Sites, store *Store, retention time.Duration) *siteTerm {
	ctx, cancel := context.WithCancel(context.Background())
	t := &siteTerm{
		Sites: s, store: store, retention: retention, ctx: ctx, cancel: cancel,
		done: make(chan struct{}), news: make(chan struct{}, 1), known: make(map[string]*sharedSite),
	}
	t.unclean.Store(true)
	return t
}

// load reads which sites are in etcd.
func (t *siteTerm) load(ctx context.Context) error {
	found, err := t.store.siteRecords(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	former := t.known
	t.known = make(map[string]*sharedSite)
	for id, site := range found {
		t.known[id] = &sharedSite{storedSite: site, used: time.Now()}
		if known := former[id]; known != nil {
			t.known[id].owner, t.known[id].used = known.owner, known.used
		}
	}
	return nil
}

// start removes unneeded sites, and stores needed ones, in the background.
func (t *siteTerm) start() {
	t.wake()
	go func() {
		defer close(t.done)
		wait := sweepInterval
		for {
			select {
			case <-t.news:
			case <-time.After(wait):
			case <-t.store.lost:
				return
			case <-t.ctx.Done():
				return
			}
			err := t.sweep()
			wait = sweepInterval
			if err != nil && t.ctx.Err() == nil && !errors.Is(err, controller.ErrDeposed) {
				wait = sweepRetry
				t.log.Warn().Err(err).Msg("cannot store or remove sites in etcd, trying again")
			}
		}
	}()
}

// stop ends the term.
func (t *siteTerm) stop() {
	t.cancel()
	<-t.done
	t.writing.Lock() // a write that is under way ends, because its context has ended
	defer t.writing.Unlock()
}

// wake makes the next sweep begin.
func (t *siteTerm) wake() {
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// asked returns the size of a site in etcd. It stays for the grace period from now on.
func (t *siteTerm) asked(owner, id string) (size int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	site := t.known[id]
	if site == nil {
		return 0, false
	}
	site.used = time.Now()
	if site.owner != owner {
		site.owner = ""
	}
	return site.Size, true
}

// publish stores a site of this machine in etcd.
func (t *siteTerm) publish(owner, id string) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.has(id) {
		return nil
	}
	record, err := t.digest(id)
	if err == nil {
		err = t.makeRoom(owner, record.Size)
	}
	if err != nil {
		return err
	}
	stored, err := t.write(id, record)
	if err != nil {
		t.unclean.Store(true)
		t.wake()
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[id] = &sharedSite{storedSite: stored, owner: owner, used: time.Now()}
	return nil
}

func (t *siteTerm) has(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[id] != nil
}

// digest returns the record of a site of this machine.
func (t *siteTerm) digest(id string) (siteRecord, error) {
	sum := sha256.New()
	size, err := t.eachPart(id, func(_ int, data string) error {
		_, err := io.WriteString(sum, data)
		return err
	})
	return siteRecord{Size: size, Sum: hex.EncodeToString(sum.Sum(nil))}, err
}

// eachPart calls do with each part of a site of this machine.
func (t *siteTerm) eachPart(id string, do func(i int, data string) error) (size int64, err error) {
	for i := 0; ; i++ {
		part, err := t.local.Read(id, uint64(size), min(partSize, zeekapi.MaxSitePart))
		if err != nil || part.Data == "" {
			return size, err
		}
		if err := do(i, part.Data); err != nil {
			return size, err
		}
		size += int64(len(part.Data))
	}
}

// write stores the parts of a site, and then its record. The record is stored only if the
// first part is still the one that was stored here.
func (t *siteTerm) write(id string, record siteRecord) (storedSite, error) {
	var first int64
	_, err := t.eachPart(id, func(i int, data string) error {
		revision, err := t.store.fenced(t.ctx, nil, clientv3.OpPut(t.store.prefix+sitePartKey(record.Sum, i), data))
		if i == 0 {
			first = revision
		}
		return err
	})
	if err != nil {
		return storedSite{}, err
	}
	value, err := json.Marshal(record)
	if err != nil {
		return storedSite{}, err
	}
	revision, err := t.store.fenced(t.ctx, map[string]int64{sitePartKey(record.Sum, 0): first}, clientv3.OpPut(t.store.prefix+siteKey(id), string(value)))
	return storedSite{record, revision}, err
}

// makeRoom makes room for a site. If there is too little, it removes sites that no
// configuration needs: the oldest one of the same owner, or else of the owner with the largest use.
func (t *siteTerm) makeRoom(owner string, size int64) error {
	if past := t.uncompacted(); past+size > t.limit {
		return fmt.Errorf("sites of %d MiB were removed from etcd, which keeps them until it is compacted; try again after %s", past>>20, t.retention)
	}
	for {
		used, oldest := t.use(owner, size)
		if used+size <= t.limit {
			return nil
		}
		if oldest == "" {
			return fmt.Errorf("%d bytes more would exceed the limit of %d bytes for all sites in etcd", size, t.limit)
		}
		if err := t.remove(oldest); err != nil {
			return err
		}
	}
}

// uncompacted returns the size of removed sites that take space in etcd.
func (t *siteTerm) uncompacted() (sum int64) {
	t.removed = slices.DeleteFunc(t.removed, func(r removal) bool { return time.Since(r.at) > t.retention })
	for _, r := range t.removed {
		sum += r.size
	}
	return sum
}

// use returns the size of all sites, and a site that may be removed for another one, "" if there is none.
func (t *siteTerm) use(owner string, size int64) (used int64, oldest string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := make(map[string]int64)
	for id, site := range t.known {
		used += site.Size
		if !t.isNeeded(id) {
			of[site.owner] += site.Size
		}
	}
	most := ""
	for name, n := range of {
		if n > of[most] || of[most] == 0 {
			most = name
		}
	}
	switch {
	case of[owner] > 0:
		most = owner
	case of[most] <= size:
		return used, ""
	}
	for id, site := range t.known {
		if site.owner == most && !t.isNeeded(id) && (oldest == "" || site.used.Before(t.known[oldest].used)) {
			oldest = id
		}
	}
	return used, oldest
}

// isNeeded reports whether a configuration needs a site. Before Keep was called, that is unknown.
func (t *siteTerm) isNeeded(id string) bool {
	needed := t.needed.Load()
	return needed == nil || slices.Contains(needed.ids, id)
}

// remove removes a site from etcd.
func (t *siteTerm) remove(id string) error {
	t.mu.Lock()
	site := t.known[id]
	delete(t.known, id) // from now on, a client that asks for it uploads it again
	t.mu.Unlock()
	if site == nil {
		return nil
	}
	_, err := t.store.fenced(t.ctx, map[string]int64{siteKey(id): site.revision},
		clientv3.OpDelete(t.store.prefix+siteKey(id)),
		clientv3.OpDelete(t.store.prefix+"sitedata/"+site.Sum+"/", clientv3.WithPrefix()))
	t.removed = append(t.removed, removal{site.Size, time.Now()})
	return err
}

// sweep removes the sites that are not needed, and stores the needed ones that are only on this
// machine: an earlier version of the controller left them there, or etcd failed.
func (t *siteTerm) sweep() error {
	if t.unclean.Load() {
		if err := t.clean(); err != nil {
			return err
		}
	}
	needed := t.needed.Load()
	if needed == nil {
		return nil
	}
	var errs []error
	for _, id := range t.unused(needed.grace) {
		errs = append(errs, t.discard(id))
	}
	for _, id := range needed.ids {
		if !t.has(id) && t.Local(id) {
			errs = append(errs, t.publish("", id))
		}
	}
	return errors.Join(errs...)
}

// clean reads the sites in etcd, and removes the parts of sites that were not stored completely.
func (t *siteTerm) clean() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	err := errors.Join(t.load(t.ctx), t.removeParts())
	if err == nil {
		t.unclean.Store(false)
	}
	return err
}

// discard removes a site that is still unused.
func (t *siteTerm) discard(id string) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	needed := t.needed.Load()
	if !slices.Contains(t.unused(needed.grace), id) {
		return nil
	}
	err := t.remove(id)
	if err != nil {
		t.unclean.Store(true)
	}
	return err
}

// unused returns the sites that no configuration needs and no client has used for a while.
func (t *siteTerm) unused(grace time.Duration) (ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, site := range t.known {
		if !t.isNeeded(id) && time.Since(site.used) >= grace {
			ids = append(ids, id)
		}
	}
	return ids
}

// removeParts removes the parts of sites that were not stored completely.
func (t *siteTerm) removeParts() error {
	sums, err := t.store.siteSums(t.ctx)
	if err != nil {
		return err
	}
	complete := make(map[string]bool)
	t.mu.Lock()
	for _, site := range t.known {
		complete[site.Sum] = true
	}
	t.mu.Unlock()
	for sum, first := range sums {
		if complete[sum] {
			continue
		}
		_, err := t.store.fenced(t.ctx, map[string]int64{first.key: first.revision},
			clientv3.OpDelete(t.store.prefix+"sitedata/"+sum+"/", clientv3.WithPrefix()))
		if err != nil {
			return err
		}
	}
	return nil
}
