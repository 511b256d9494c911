package controller_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// siteID is the ID of a site.
var siteID = strings.Repeat("ab", 32)

// withSite returns c with a site.
func withSite(c zeekapi.Configuration) zeekapi.Configuration {
	c.Site = siteID
	return c
}

// progress is an agent's response to a part of a site.
func progress(id string, have uint64, complete bool) zeekapi.AgentSiteResponse {
	return zeekapi.AgentSiteResponse{ReqID: reqID(id), Result: zeekapi.Result{
		Success: true, Data: mustMarshal(zeekapi.SiteProgress{Have: have, Complete: complete}),
	}}
}

// An agent that lacks the site gets it in parts before it checks. It is not asked
// again while it is connected.
func TestSiteIsSentBeforeCheck(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.stageQuietly(withSite(config("c2", "a", "b")))
	b.client(deploy("r1"), "to a: AgentSiteRequest #2 from 0", "to b: AgentSiteRequest #4 from 0")
	b.agent(peers["b"], progress("#4", 9, true), "to b: AgentCheckRequest #5 c2")
	b.agent(peers["b"], checked("#5"))
	b.agent(peers["a"], progress("#2", 0, false), "to a: AgentSiteRequest #6 from 0 with the part")
	b.agent(peers["a"], progress("#6", 5, false), "to a: AgentSiteRequest #7 from 5 with the part")
	b.client(deploy("r2"), "answer DeployResponse r2 [F earlier deployment r1 still pending] [F waiting for a]")
	b.agent(peers["a"], progress("#7", 9, true), "to a: AgentCheckRequest #8 c2")
	b.agent(peers["a"], checked("#8"), "save target c2", "to a: AgentDeployNodesRequest #9 c2", "to b: AgentDeployNodesRequest #10 c2")
	b.agent(peers["a"], agentDeployed("#9", success("a", "wa")))
	b.agent(peers["b"], agentDeployed("#10", success("b", "wb")), "save deployed c2", "answer DeployResponse r1 [T a wa] [T b wb] [T = c2]")

	b.stageQuietly(withSite(config("c3", "a", "b")))
	b.client(deploy("r3"), "to a: AgentCheckRequest #11 c3", "to b: AgentCheckRequest #12 c3")
}

// A site that an agent cannot get refuses the deployment.
func TestSiteThatCannotBeSent(t *testing.T) {
	for name, tt := range map[string]struct {
		in   func(b *bench, to controller.ToAgent) controller.Input
		want string
	}{
		"full disk": {func(b *bench, to controller.ToAgent) controller.Input {
			return controller.FromAgent{Peer: peer(1), Message: zeekapi.AgentSiteResponse{
				ReqID: reqID("#3"), Result: zeekapi.Failure("#3", "disk full"),
			}}
		}, "disk full"},
		"no progress": {func(b *bench, to controller.ToAgent) controller.Input {
			return controller.FromAgent{Peer: peer(1), Message: progress("#3", 0, false)}
		}, "the agent stores no more than 0 bytes of the site"},
		"unknown site": {func(b *bench, to controller.ToAgent) controller.Input {
			return controller.PartUnreadable{ToAgent: controller.ToAgent{Message: zeekapi.AgentSiteRequest{ReqID: reqID("#3")}}, Why: "the site is unknown"}
		}, "the site is unknown"},
		"lost agent": {func(b *bench, to controller.ToAgent) controller.Input {
			return controller.PeerLost{Peer: peer(1)}
		}, "the agent of instance a is not connected; start it, or drain the instance to go on without it"},
	} {
		t.Run(name, func(t *testing.T) {
			b, peers := ourBench(t, config("c1", "a"))
			b.stageQuietly(withSite(config("c2", "a")))
			b.client(deploy("r1"), "to a: AgentSiteRequest #2 from 0")
			b.agent(peers["a"], progress("#2", 0, false), "to a: AgentSiteRequest #3 from 0 with the part")
			text := "cannot send the site: " + tt.want
			if name == "lost agent" {
				text = tt.want
			}
			b.do(tt.in(b, controller.ToAgent{}), "answer DeployResponse r1 [F a "+text+"] "+refused)
			if got := b.lastDeployment(); got.Outcome != zeekapi.OutcomeRefused {
				t.Errorf("the outcome is %s", got.Outcome)
			}
		})
	}
}

// An agent that comes back without the site of the target gets it before its nodes.
// If it cannot, it is tried again.
func TestSiteOfReturningAgent(t *testing.T) {
	c := withSite(config("c1", "a"))
	b := newBench(t, map[controller.Slot]zeekapi.Configuration{
		controller.Staged: c, controller.Ready: c, controller.Deployed: c, controller.Target: c,
	})
	b.start()
	b.agent(peer(1), hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peer(1), zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm, Revision: 1})
	b.agent(peer(1), welcomed("#2", "a"), "to a: AgentSiteRequest #4 from 0")
	b.agent(peer(1), zeekapi.AgentSiteResponse{ReqID: reqID("#4"), Result: zeekapi.Failure("#4", "disk full")}, "save deployed c1")
	b.now = b.now.Add(time.Minute)
	b.do(controller.Tick{}, "to a: AgentSiteRequest #7 from 0")
	b.agent(peer(1), progress("#7", 9, true), "to a: AgentDeployNodesRequest #8 c1")
}

// The store keeps the sites of all configurations and of the history.
func TestKeepSites(t *testing.T) {
	b, _ := ourBench(t, config("c1", "a"))
	var kept [][]string
	step := func(in controller.Input) {
		for _, o := range b.machine.Step(b.now, in) {
			if o, ok := o.(controller.KeepSites); ok {
				kept = append(kept, o.Sites)
			}
		}
	}
	step(controller.FromClient{Message: stage("r1", withSite(config("c2", "a")))})
	step(controller.FromClient{Message: stage("r2", config("c3", "a"))})
	step(controller.FromClient{Message: stage("r3", config("c4", "a"))})
	if want := [][]string{{siteID}, {}}; !slices.EqualFunc(kept, want, slices.Equal) {
		t.Errorf("kept sites %q, want %q", kept, want)
	}
}

// fakeSites is a SiteStore.
type fakeSites map[string]string

func (f fakeSites) HaveOf(_, id string) zeekapi.SiteProgress {
	return zeekapi.SiteProgress{Have: uint64(len(f[id])), Complete: len(f[id]) == 9}
}

func (f fakeSites) AppendOf(_ string, p zeekapi.SitePart) (zeekapi.SiteProgress, error) {
	if p.Size != 9 {
		return zeekapi.SiteProgress{}, errors.New("too large")
	}
	f[p.Site] += p.Data
	return f.HaveOf("", p.Site), nil
}

func (f fakeSites) Read(id string, offset uint64, n int) (zeekapi.SitePart, error) {
	if f[id] == "" {
		return zeekapi.SitePart{}, errors.New("unknown")
	}
	return zeekapi.SitePart{Site: id, Size: 9, Offset: offset, Data: f[id][offset:]}, nil
}

func (f fakeSites) Keep([]string, time.Duration) error { return nil }

// slowSites is a SiteStore that verifies a complete site until it is released.
type slowSites struct {
	fakeSites
	verifying, release chan struct{}
}

func (s slowSites) AppendOf(_ string, p zeekapi.SitePart) (zeekapi.SiteProgress, error) {
	s.verifying <- struct{}{}
	<-s.release
	return zeekapi.SiteProgress{Have: p.Size, Complete: true}, nil
}

// While a site is verified, the controller serves other requests.
func TestRunVerifiesSitesOutsideTheLoop(t *testing.T) {
	store := slowSites{make(fakeSites), make(chan struct{}), make(chan struct{})}
	dialect := operations.Dialect(operations.DefaultTopics)
	n := run(t, controller.Config{Sites: store, Dialects: []*zeekapi.Dialect{dialect}})
	client, other := n.client(dialect), n.client(dialect)
	client.send(dialect.Topics.Controller, zeekapi.UploadSiteRequest{ReqID: reqID("r1"), SitePart: zeekapi.SitePart{Site: siteID, Size: 1, Data: "x"}})
	<-store.verifying
	other.ask(zeekapi.HistoryRequest{ReqID: reqID("r2")}, "answer HistoryResponse r2 [T = []]")
	close(store.release)
	answer, ok := client.receive()
	for ok && answer.RequestID() != "r1" {
		answer, ok = client.receive()
	}
	if !ok {
		t.Fatal("no response")
	}
	want(t, "response", "answer UploadSiteResponse r1 [T = [1, T]]", describe(controller.ToClients{Message: answer}))
}

// Clients store and read sites.
func TestRunServesSites(t *testing.T) {
	store := make(fakeSites)
	n := run(t, controller.Config{Sites: store, Dialects: []*zeekapi.Dialect{operations.Dialect(operations.DefaultTopics)}})
	client := n.client(operations.Dialect(operations.DefaultTopics))
	part := func(offset int, data string) zeekapi.SitePart {
		return zeekapi.SitePart{Site: siteID, Size: 9, Offset: uint64(offset), Data: data}
	}
	client.ask(zeekapi.DownloadSiteRequest{ReqID: reqID("r1"), Site: siteID}, "answer DownloadSiteResponse r1 [F unknown]")
	client.ask(zeekapi.UploadSiteRequest{ReqID: reqID("r2"), SitePart: zeekapi.SitePart{Site: siteID}}, "answer UploadSiteResponse r2 [T = [0, F]]")
	client.ask(zeekapi.UploadSiteRequest{ReqID: reqID("r3"), SitePart: part(0, "\xff1234")}, "answer UploadSiteResponse r3 [T = [5, F]]")
	client.ask(zeekapi.UploadSiteRequest{ReqID: reqID("r4"), SitePart: part(5, "5678")}, "answer UploadSiteResponse r4 [T = [9, T]]")
	client.ask(zeekapi.UploadSiteRequest{ReqID: reqID("r5"), SitePart: zeekapi.SitePart{Site: siteID, Size: 1 << 40, Data: "x"}}, "answer UploadSiteResponse r5 [F too large]")
	client.ask(zeekapi.DownloadSiteRequest{ReqID: reqID("r6"), Site: siteID, Offset: 5},
		`answer DownloadSiteResponse r6 [T = ["`+siteID+`", 9, 5, "NTY3OA=="]]`)

	n = run(t, controller.Config{Dialects: []*zeekapi.Dialect{operations.Dialect(operations.DefaultTopics)}})
	client = n.client(operations.Dialect(operations.DefaultTopics))
	client.ask(zeekapi.UploadSiteRequest{ReqID: reqID("r1"), SitePart: part(0, "x")}, "answer UploadSiteResponse r1 [F this controller does not store sites]")
}

// Requests are answered while as many sites are verified as may be at the same time. The
// next one is refused.
func TestSlowSitesDoNotBlockOthers(t *testing.T) {
	d := operations.Dialect(operations.DefaultTopics)
	store := slowSites{make(fakeSites), make(chan struct{}), make(chan struct{})}
	n := run(t, controller.Config{Sites: store, Dialects: []*zeekapi.Dialect{d}})
	uploader, other := n.client(d), n.client(d)
	upload := func(id string) zeekapi.UploadSiteRequest {
		return zeekapi.UploadSiteRequest{ReqID: reqID(id), SitePart: zeekapi.SitePart{Site: siteID, Size: 1, Data: "x"}}
	}
	for i := range 4 {
		uploader.send(d.Topics.Controller, upload(fmt.Sprint("u", i)))
		<-store.verifying
	}
	uploader.ask(upload("u4"), "answer UploadSiteResponse u4 [F too many requests under way]")
	other.ask(zeekapi.HistoryRequest{ReqID: reqID("r1")}, "answer HistoryResponse r1 [T = []]")
	close(store.release)
}

// Uploads belong to the name of a client, or to its address. So a client that connects
// again continues, and others cannot disturb it.
func TestOwnersOfUploads(t *testing.T) {
	b := newBench(t, nil)
	owner := func(p broker.Peer) string {
		t.Helper()
		p.ID = uuid.New()
		for _, o := range b.machine.Step(b.now, controller.FromClient{Peer: p, Message: zeekapi.UploadSiteRequest{ReqID: reqID(p.ID.String())}}) {
			if o, ok := o.(controller.StoreSite); ok {
				return o.Owner
			}
		}
		t.Fatal("nothing is stored")
		return ""
	}
	from := func(addr string) broker.Peer {
		return broker.Peer{Addr: netip.MustParseAddrPort(addr), Name: "claimed"}
	}
	named := from("10.0.0.1:1")
	named.Identity = &broker.Identity{Names: []string{"alice"}}
	for _, tt := range []struct {
		peer broker.Peer
		want string
	}{
		{from("10.0.0.1:1"), "address 10.0.0.1"}, {from("10.0.0.1:2"), "address 10.0.0.1"}, {from("[::ffff:10.0.0.1]:2"), "address 10.0.0.1"},
		{from("[2001:db8::1]:1"), "network 2001:db8::/64"}, {from("[fe80::1%eth0]:1"), "address fe80::1%eth0"},
		{named, "name alice"}, {broker.Peer{}, ""},
	} {
		if got := owner(tt.peer); got != tt.want {
			t.Errorf("%v has the owner %q, want %q", tt.peer.Addr, got, tt.want)
		}
	}
}
