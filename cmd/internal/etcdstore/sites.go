package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	sitestore "github.com/zeekwire/zeekwire/zeekapi/site"
)

// MaxSites is the space in etcd for all packed sites together, in bytes. It is far below the
// default quota of etcd's database, 2 GiB, which counts former values until they are compacted.
const MaxSites = 512 << 20

// cacheOwner is the owner of the sites that a controller has got from etcd.
const cacheOwner = "controllers"

// Sites are the sites of several controllers. They are in etcd, and each controller has copies
// of those that it needs in a directory. It implements controller.RemoteSites. Only the
// leader changes the sites in etcd. All methods may be called concurrently.
type Sites struct {
	local *sitestore.Store
	limit int64
	log   zerolog.Logger

	fetching sync.Mutex // held while a site is read from etcd
	db       atomic.Pointer[database]
	term     atomic.Pointer[siteTerm] // nil: this controller does not lead
	needed   atomic.Pointer[keep]     // nil: Keep was not called yet
}

// keep has the arguments of Keep.
type keep struct {
	ids   []string
	grace time.Duration
}

var _ controller.RemoteSites = (*Sites)(nil)

// ShareSites returns the sites of the controllers that share their state. Local has the copies
// on this machine. It must be called before Next.
func (c *Candidate) ShareSites(local *sitestore.Store) *Sites {
	c.sites = &Sites{local: local, limit: MaxSites, log: c.cfg.Log}
	return c.sites
}

// connect gives s its database.
func (s *Sites) connect(db database) {
	if s != nil {
		s.db.Store(&db)
	}
}

// begin begins a term in which this controller leads.
func (s *Sites) begin(ctx context.Context, store *Store, retention time.Duration) error {
	if s == nil {
		return nil
	}
	s.end()
	t := newSiteTerm(s, store, retention)
	if err := t.load(ctx); err != nil {
		return err
	}
	s.term.Store(t)
	t.start()
	return nil
}

// end ends the term.
func (s *Sites) end() {
	if s == nil {
		return
	}
	if t := s.term.Swap(nil); t != nil {
		t.stop()
	}
}

// Local implements controller.RemoteSites.
func (s *Sites) Local(id string) bool {
	_, err := s.local.Read(id, 0, 0)
	return err == nil
}

// Read implements controller.SiteStore. It reads only copies on this machine.
func (s *Sites) Read(id string, offset uint64, n int) (zeekapi.SitePart, error) {
	return s.local.Read(id, offset, n)
}

// HaveOf implements controller.SiteStore. A site is complete if it is in etcd.
func (s *Sites) HaveOf(owner, id string) zeekapi.SiteProgress {
	t := s.term.Load()
	if t == nil {
		return zeekapi.SiteProgress{}
	}
	if size, ok := t.asked(owner, id); ok {
		return zeekapi.SiteProgress{Have: uint64(size), Complete: true}
	}
	have := s.local.HaveOf(owner, id)
	if have.Complete { // the last part makes AppendOf store it in etcd
		return zeekapi.SiteProgress{}
	}
	return have
}

// AppendOf implements controller.SiteStore. After the last part it returns when the site is in
// etcd.
func (s *Sites) AppendOf(owner string, p zeekapi.SitePart) (zeekapi.SiteProgress, error) {
	t := s.term.Load()
	if t == nil {
		return zeekapi.SiteProgress{}, controller.ErrDeposed
	}
	if size, ok := t.asked(owner, p.Site); ok {
		return zeekapi.SiteProgress{Have: uint64(size), Complete: true}, nil
	}
	have, err := s.local.AppendOf(owner, p)
	end := p.Offset + uint64(len(p.Data))
	switch {
	case err != nil || !have.Complete:
		return have, err
	case end < p.Size:
		return zeekapi.SiteProgress{Have: end}, nil
	}
	if err := t.publish(owner, p.Site); err != nil {
		return zeekapi.SiteProgress{}, fmt.Errorf("site %.12s: %w", p.Site, err)
	}
	return have, nil
}

// Keep implements controller.SiteStore. The leader removes sites from etcd in the background.
func (s *Sites) Keep(ids []string, grace time.Duration) error {
	s.needed.Store(&keep{slices.Clone(ids), grace})
	if t := s.term.Load(); t != nil {
		t.wake()
	}
	return s.local.Keep(ids, grace)
}

// Fetch implements controller.RemoteSites.
func (s *Sites) Fetch(ctx context.Context, id string) error {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	if s.Local(id) {
		return nil
	}
	db := s.db.Load()
	if db == nil {
		return errGone
	}
	return db.fetchSite(ctx, id, s.local)
}

// errStalled is the error of a site that its store does not accept.
var errStalled = errors.New("the directory of sites accepts no more of it")

// fetchSite copies a site from etcd to a store, which verifies it.
func (d *database) fetchSite(ctx context.Context, id string, to *sitestore.Store) error {
	record, _, err := d.siteRecord(ctx, id)
	if err != nil {
		return fmt.Errorf("site %.12s: %w", id, err)
	}
	at := to.HaveOf(cacheOwner, id)
	for again := false; !at.Complete; {
		if at.Have >= uint64(record.Size) { // it is another packed form of the site
			at.Have = 0
		}
		data, err := d.sitePart(ctx, record, int(at.Have/partSize))
		if err != nil {
			return fmt.Errorf("site %.12s: %w", id, err)
		}
		data = data[min(at.Have%partSize, uint64(len(data))):]
		next, err := to.AppendOf(cacheOwner, zeekapi.SitePart{Site: id, Size: uint64(record.Size), Offset: at.Have, Data: string(data)})
		switch {
		case err != nil:
			return err
		case next.Complete || next.Have > at.Have:
		case again || at.Have == 0:
			return fmt.Errorf("site %.12s: %w", id, errStalled)
		default:
			again, next.Have = true, 0
		}
		at = next
	}
	return nil
}
