package controller

import (
	"errors"

	"github.com/zeekwire/zeekwire/zeekapi"
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
func storeSite(store SiteStore, req zeekapi.UploadSiteRequest) zeekapi.Message {
	var progress zeekapi.SiteProgress
	err := errNoSites
	switch {
	case store == nil:
	case req.Data == "":
		progress, err = store.Have(req.Site), nil
	default:
		progress, err = store.Append(req.SitePart)
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
