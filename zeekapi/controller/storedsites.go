package controller

import (
	"context"
	"errors"
	"sync"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

var errNoSites = errors.New("this controller does not store sites")

// withPart returns a request with the part of the site that it is about.
func withPart(store SiteStore, req zeekapi.AgentSiteRequest) (zeekapi.AgentSiteRequest, error) {
	if store == nil {
		return req, errNoSites
	}
	part, err := store.Read(req.Site, req.Offset, zeekapi.MaxSitePart)
	req.SitePart = part
	return req, err
}

// storeSite stores a part of a site that a client sends. A part without data asks
// how much there is.
func storeSite(store SiteStore, owner string, req zeekapi.UploadSiteRequest) zeekapi.Message {
	var progress zeekapi.SiteProgress
	err := errNoSites
	switch {
	case store == nil:
	case req.Data == "":
		progress, err = store.HaveOf(owner, req.Site), nil
	default:
		progress, err = store.AppendOf(owner, req.SitePart)
	}
	return zeekapi.UploadSiteCall.Respond(req.ID, siteResult(req.ID, progress, err))
}

// readSite returns a part of a site for a client.
func readSite(store SiteStore, req zeekapi.DownloadSiteRequest) zeekapi.Message {
	var part zeekapi.SitePart
	err := errNoSites
	if store != nil {
		part, err = store.Read(req.Site, req.Offset, zeekapi.MaxSitePart)
	}
	return zeekapi.DownloadSiteCall.Respond(req.ID, siteResult(req.ID, part, err))
}

func siteResult(id string, data any, err error) zeekapi.Result {
	if err != nil {
		return zeekapi.Failure(id, "%v", err)
	}
	return successWith(id, data)
}

// fetches are the sites that are being fetched from other machines, with the outputs that
// wait for them.
type fetches struct {
	from    RemoteSites // nil: all sites are on this machine
	workers *eventloop.Workers[Input]

	mu      sync.Mutex
	waiting map[string][]Output // by site
}

// maxFetches is the largest number of sites that are fetched at the same time.
const maxFetches = 4

// maxDelayed is the largest number of outputs that wait for one site. There may be one for
// each agent, and some for clients.
const maxDelayed = 20_000

func newFetches(store SiteStore) *fetches {
	remote, _ := store.(RemoteSites)
	return &fetches{from: remote, workers: eventloop.NewWorkers[Input](maxFetches), waiting: make(map[string][]Output)}
}

// delay reports whether an output must wait for a site. If it must, a later fetched input has
// the output.
func (f *fetches) delay(ctx context.Context, site string, o Output) (wait bool, err error) {
	if f.from == nil || f.from.Local(site) {
		return false, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting[site]) == maxDelayed {
		return false, errFetching
	}
	if f.waiting[site] == nil && !f.workers.Do(func() Input { return f.fetch(ctx, site) }) {
		return false, errFetching
	}
	f.waiting[site] = append(f.waiting[site], o)
	return true, nil
}

var errFetching = errors.New("too many sites, or too many requests for one, wait for other controllers; try again later")

func (f *fetches) fetch(ctx context.Context, site string) Input {
	err := f.from.Fetch(ctx, site)
	f.mu.Lock()
	defer f.mu.Unlock()
	in := fetched{outputs: f.waiting[site]}
	delete(f.waiting, site)
	if err != nil {
		in.why = err.Error()
	}
	return in
}
