package agent

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// siteGrace is the time for which a site remains after a controller last asked for it,
// even if no node uses it: it may be about to be deployed.
const siteGrace = time.Hour

// SitesDir returns the directory below Config.StateDir in which the named agent keeps
// sites. Each unpacked site is a directory with its ID as the name. Agents that share a
// state directory do not share sites.
func SitesDir(stateDir, name string) string { return filepath.Join(stateDir, "agent-sites", name) }

type (
	// StoreSite stores a part of a site, and unpacks a site that is complete. SiteStored
	// follows with its progress.
	StoreSite struct {
		Dialect *zeekapi.Dialect
		ReqID   string
		Part    zeekapi.SitePart
	}

	// KeepSites removes all sites, except the given ones and recent ones.
	KeepSites struct{ Sites []string }
)

// SiteStored reports the result of a StoreSite.
type SiteStored struct {
	Dialect *zeekapi.Dialect
	ReqID   string
	Result  zeekapi.Result
}

func (SiteStored) input() {}

func (StoreSite) output() {}
func (KeepSites) output() {}

func init() { serve(zeekapi.AgentSiteCall, (*Machine).storeSite) }

func (m *Machine) storeSite(_ time.Time, req request, msg zeekapi.AgentSiteRequest) {
	m.sites.storing++
	m.out.emit(StoreSite{Dialect: req.dialect, ReqID: req.id, Part: msg.SitePart})
}

// usedSites are the sites that nodes use.
type usedSites struct {
	*outbox
	nodes *nodes
	last  []string // of the last KeepSites, sorted

	storing int // requests that wait for SiteStored
}

// stored responds to a request.
func (u *usedSites) stored(in SiteStored) {
	u.storing = max(0, u.storing-1)
	u.emit(Publish{Dialect: in.Dialect, Message: zeekapi.AgentSiteCall.Respond(in.ReqID, in.Result)})
}

// settle reports a change of the sites in use.
func (u *usedSites) settle() {
	if used := u.current(); !slices.Equal(used, u.last) {
		u.last = used
		u.emit(KeepSites{used})
	}
}

// current returns the sites of all nodes that run or should run, sorted.
func (u *usedSites) current() []string {
	used := make(map[string]bool)
	for _, n := range u.nodes.all {
		for _, config := range []*launch.Node{n.want, n.have, n.kept} {
			if config != nil && config.Site != "" {
				used[config.Site] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// siteKeeper performs the outputs that concern sites.
type siteKeeper struct {
	store *site.Store // nil without a state directory
	used  []string
}

// openSites opens the store of an agent, and removes the sites that its nodes do not
// use.
func (c Config) openSites(used []string) (*siteKeeper, error) {
	if c.StateDir == "" {
		return &siteKeeper{}, nil
	}
	c.Sites.Dir = SitesDir(c.StateDir, c.Settings.Name)
	store, err := site.Open(c.Sites)
	if err != nil {
		return nil, err
	}
	k := &siteKeeper{store, used}
	if err := k.keep(used); err != nil {
		c.Log.Warn().Err(err).Msg("cannot remove unused sites")
	}
	return k, nil
}

func (k *siteKeeper) keep(used []string) error {
	k.used = used
	if k.store == nil {
		return nil
	}
	return k.store.Keep(used, siteGrace)
}

var errNoSites = errors.New("this agent keeps no sites, because it has no state directory")

// makeRoom removes sites that are not in use any more.
func (k *siteKeeper) makeRoom() error {
	if k.store == nil {
		return errNoSites
	}
	return k.store.Keep(k.used, siteGrace)
}

// completes reports whether a part may be the last one of a site, or is about a complete
// site. Such a site is verified and unpacked, which takes seconds.
func (k *siteKeeper) completes(part zeekapi.SitePart) bool {
	return part.Data != "" && part.Offset+uint64(len(part.Data)) == part.Size || k.store.Have(part.Site).Complete
}

// add adds a part. A complete site is also unpacked. It may be called concurrently.
func (k *siteKeeper) add(part zeekapi.SitePart) (zeekapi.SiteProgress, error) {
	at, err := k.store.Append(part)
	if err == nil && at.Complete {
		_, err = k.store.Unpacked(part.Site)
	}
	return at, err
}

// storeSite performs StoreSite. The loop does not wait until a site is complete.
func (p *performer) storeSite(out StoreSite) []Input {
	if err := p.sites.makeRoom(); err != nil {
		return []Input{p.siteStored(out, zeekapi.SiteProgress{}, err)}
	}
	store := func() Input {
		at, err := p.sites.add(out.Part)
		return p.siteStored(out, at, err)
	}
	if p.sites.completes(out.Part) && p.workers.Do(store) {
		return nil
	}
	return []Input{store()}
}

// siteStored returns the result of a StoreSite.
func (p *performer) siteStored(out StoreSite, at zeekapi.SiteProgress, err error) Input {
	r := zeekapi.Result{ReqID: out.ReqID, Instance: p.Settings.Name}
	if err != nil {
		r.Error = err.Error()
	} else {
		r.Success, r.Data = true, mustMarshal(at)
	}
	return SiteStored{out.Dialect, out.ReqID, r}
}

// keepSites performs KeepSites.
func (p *performer) keepSites(out KeepSites) {
	if err := p.sites.keep(out.Sites); err != nil {
		p.Log.Warn().Err(err).Msg("cannot remove unused sites")
	}
}
