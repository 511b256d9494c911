package controller

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

const (
	// maxPushes is the number of agents that get parts of a site at the same time.
	// Each of them has one part in its queue.
	maxPushes = 16

	// partTimeout is the longest time that an agent may take to store a part.
	partTimeout = 30 * time.Second

	// pushRetry is the time after which an agent that could not get a site is tried
	// again.
	pushRetry = time.Minute

	// siteGrace is how long a site stays that no configuration refers to: clients
	// upload a site before they stage its configuration.
	siteGrace = time.Hour
)

// sites passes on the sites of configurations: from clients to the store, and from
// there to agents that lack them.
type sites struct {
	*outbox
	configs  *configurations
	history  *history
	agents   *agents
	requests *requests
	log      zerolog.Logger

	pushes  map[string]*push // by instance
	queue   []*push          // that have not begun, in order
	running int
	storing int             // parts of clients that are being stored
	failed  map[string]bool // instances that lack their site
	again   alarm           // for these
	kept    map[string]bool // as the store was told last

	// pushed is called when an agent has a site, or cannot get it.
	pushed func(instance string)
}

func newSites(out *outbox, configs *configurations, h *history, a *agents, r *requests, log zerolog.Logger) *sites {
	return &sites{
		outbox: out, configs: configs, history: h, agents: a, requests: r, log: log,
		pushes: make(map[string]*push), failed: make(map[string]bool),
	}
}

func (s *sites) upload(by broker.Peer, req zeekapi.UploadSiteRequest) {
	s.storing++
	s.emit(StoreSite{Peer: by.ID, Owner: ownerOf(by), Request: req})
}

// ownerOf returns the owner of what a client uploads: its name if it was authenticated, or
// else its address. The addresses of an IPv6 network are one, because a machine may take
// any of them.
func ownerOf(by broker.Peer) string {
	if name := by.Identity.Name(); name != "" {
		return "name " + name
	}
	from := by.Addr.Addr().Unmap()
	if !from.IsValid() {
		return ""
	}
	if from.Is6() && !from.IsLinkLocalUnicast() {
		if network, err := from.Prefix(64); err == nil {
			return "network " + network.String()
		}
	}
	return "address " + from.String()
}

// stored responds to a client that uploads a site.
func (s *sites) stored(in SiteStored) {
	s.storing = max(0, s.storing-1)
	s.emit(ToClients{Peer: in.Peer, Message: in.Response})
}

func (s *sites) download(by broker.Peer, req zeekapi.DownloadSiteRequest) {
	s.emit(ReadSite{Peer: by.ID, Request: req})
}

// keep tells the store which sites to keep, if that has changed. It must be called
// at the start and at the end of each step, and does nothing after one that stored no
// configuration.
func (s *sites) keep() {
	if s.kept != nil && !slices.ContainsFunc(s.out, storesConfiguration) {
		return
	}
	needed := make(map[string]bool)
	for _, slot := range Slots {
		if r, ok := s.configs.get(slot); ok && r.Site != "" {
			needed[r.Site] = true
		}
	}
	for _, p := range s.history.past {
		if p.revision.Site != "" {
			needed[p.revision.Site] = true
		}
	}
	if s.kept == nil || !maps.Equal(needed, s.kept) {
		s.kept = needed
		s.emit(KeepSites{Sites: sortedKeys(needed), Grace: siteGrace})
	}
}

func storesConfiguration(o Output) bool {
	switch o.(type) {
	case Save, SaveDeployment:
		return true
	}
	return false
}

// push is the task of sending a site to an agent, part after part.
type push struct {
	basicTask
	*sites
	instance string
	agent    *agent
	site     string
	have     uint64   // as the agent said last
	request  *request // nil: it has not begun
	next     bool     // a part is to be sent
}

// ensure reports whether the agent of an instance has a site. If it does not, it
// gets the site, and pushed is called. The error is the reason of the last failure
// since the agent connected; it is forgotten when it was returned.
func (s *sites) ensure(instance, site string) (bool, error) {
	a := s.agents.of(instance)
	switch site {
	case "":
		a.site = "" // the agent removes a site that it does not use
		return true, nil
	case a.site:
		return true, nil
	}
	if err := a.siteError; err != nil {
		a.siteError = nil
		if err.site == site {
			return false, err
		}
	}
	if p := s.pushes[instance]; p == nil || p.agent != a || p.site != site {
		s.stop(p)
		p = &push{sites: s, instance: instance, agent: a, site: site}
		s.pushes[instance] = p
		s.queue = append(s.queue, p)
	}
	s.start()
	return false, nil
}

// stop ends a push whose result is no longer needed.
func (s *sites) stop(p *push) {
	if p == nil {
		return
	}
	delete(s.pushes, p.instance)
	if p.request != nil {
		s.requests.finish(p.request)
	}
}

// start begins as many pushes as may run. One that was stopped, or whose agent was
// lost, while it waited does not begin.
func (s *sites) start() {
	for len(s.queue) > 0 && s.running < maxPushes {
		p := s.queue[0]
		s.queue = s.queue[1:]
		switch {
		case s.pushes[p.instance] != p:
		case s.agents.of(p.instance) != p.agent:
			delete(s.pushes, p.instance)
			s.pushed(p.instance)
		default:
			s.running++
			p.request = s.requests.start(partTimeout, p)
			s.requests.call(p.request, p.instance, p.question(false))
		}
	}
}

// question asks how much of the site the agent has, or sends it the next part.
func (p *push) question(part bool) question {
	return question{part: part, message: func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentSiteRequest{ReqID: id, SitePart: zeekapi.SitePart{Site: p.site, Offset: p.have}}
	}}
}

func (p *push) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	answer, ok := msg.(zeekapi.AgentSiteResponse)
	if !ok {
		return nil, false
	}
	progress, ok := dataOf[zeekapi.SiteProgress](answer.Result.Data)
	switch {
	case !answer.Result.Success:
		p.fail(cmp.Or(answer.Result.Error, "the agent refuses the site"))
	case !ok:
		p.fail("the agent sent something else than its progress")
	case progress.Complete:
		p.agent.site = p.site
	case c.question.part && progress.Have <= p.have:
		p.fail(fmt.Sprintf("the agent stores no more than %d bytes of the site", progress.Have))
	default:
		p.have, p.next = progress.Have, true
	}
	return nil, true
}

func (p *push) missed(_ *call, why reason) ([]zeekapi.Result, bool) {
	p.fail(string(why))
	return nil, true
}

func (p *push) fail(text string) {
	p.failed[p.instance] = true
	if !p.again.set {
		p.again = alarmAt(p.now.Add(pushRetry))
	}
	p.agent.siteError = &siteError{p.site, clip("cannot send the site: " + text)}
	p.log.Warn().Str("instance", p.instance).Str("site", p.site).Msg(p.agent.siteError.Error())
}

// complete sends the next part, or ends the push.
func (p *push) complete(r *request) bool {
	if !p.next {
		return true
	}
	p.next = false
	p.requests.setTimeout(r, partTimeout)
	p.requests.call(r, p.instance, p.question(true))
	return false
}

func (p *push) expired(r *request) bool {
	p.fail(zeekapi.ErrorTimeout)
	p.requests.finish(r)
	return true
}

func (p *push) ended(*request) {
	p.running--
	if p.pushes[p.instance] != p {
		return
	}
	delete(p.pushes, p.instance)
	p.start()
	p.pushed(p.instance)
}

// retry continues what waits for agents that could not get their site.
func (s *sites) retry() {
	if !s.again.due(s.now) {
		return
	}
	s.again = alarm{}
	failed := s.failed
	s.failed = make(map[string]bool)
	for _, instance := range sortedKeys(failed) {
		s.pushed(instance)
	}
}

// unreadable ends the push whose part the store cannot read.
func (s *sites) unreadable(in PartUnreadable) {
	if p := s.requests.polls.byID[in.Message.RequestID()]; p != nil {
		s.requests.missAll(p, reason(in.Why))
	}
}

// doubt forgets that the agent of an instance has its site. An agent removes a site that no
// node uses.
func (s *sites) doubt(instance string) {
	if a := s.agents.of(instance); a != nil {
		a.site = ""
	}
}
