package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// TestUsedSites checks that the sites of running nodes are kept until they have
// stopped.
func TestUsedSites(t *testing.T) {
	now := time.Unix(1790000000, 0)
	node := func(name, site string) launch.Running {
		n := configuration("c", name).Nodes[0]
		return launch.Running{Node: launch.Node{Node: n, Site: site}, PID: 1}
	}
	m, err := NewMachine(Settings{Name: "i"}, State{Running: []launch.Running{node("a", "s2"), node("b", "s1"), node("c", "s1"), node("d", "")}})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "at the beginning", []string{"s1", "s2"}, m.sites.current())
	kept := func(out []Output) (all []KeepSites) {
		for _, o := range out {
			if k, ok := o.(KeepSites); ok {
				all = append(all, k)
			}
		}
		return all
	}
	compare(t, "first", []KeepSites{{[]string{"s1", "s2"}}}, kept(m.Start(now)))
	exit := func(name string) []KeepSites { return kept(m.Step(now, Launched{launch.Exited{Node: name}})) }
	compare(t, "after b", []KeepSites(nil), exit("b"))
	compare(t, "after c", []KeepSites{{[]string{"s2"}}}, exit("c"))
	compare(t, "after d", []KeepSites(nil), exit("d"))
	compare(t, "after a", []KeepSites{{nil}}, exit("a"))
}

// siteAgent runs an agent that speaks the dialect of package operations.
func siteAgent(t *testing.T, dir string) (ask func(zeekapi.SitePart) (zeekapi.SiteProgress, string), stop func()) {
	t.Helper()
	ours := operations.Dialect(operations.DefaultTopics)
	hub := membus.New()
	bus := hub.Endpoint(Topics("i", ours)...)
	c := controller{t, hub.Endpoint(ours.Topics.AgentPrefix)}
	launcher := simulated.New(simulated.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{
			Settings: Settings{Name: "i", EndpointID: bus.ID().String()}, Bus: bus, Dialects: []*zeekapi.Dialect{ours},
			Launcher: launcher, StateDir: dir, Sites: site.StoreConfig{Limits: site.Limits{Bytes: 4 << 20}},
		})
	}()
	await[zeekapi.AgentHello](c, ours)
	return func(part zeekapi.SitePart) (at zeekapi.SiteProgress, text string) {
			c.send(ours, ours.Topics.Agent("i"), zeekapi.AgentSiteRequest{ReqID: id("r"), SitePart: part})
			got := await[zeekapi.AgentSiteResponse](c, ours)
			if got.Result.Success {
				if err := record.Unmarshal(got.Result.Data, &at); err != nil {
					t.Fatal(err)
				}
			}
			return at, got.Result.Error
		}, func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			c.Close()
			bus.Close()
			launcher.Close(context.Background())
		}
}

func TestAgentStoresSites(t *testing.T) {
	from, dir := t.TempDir(), t.TempDir()
	data := strings.Repeat("0123456789abcdef", 1<<16)
	if err := os.WriteFile(filepath.Join(from, "local.zeek"), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := site.Pack(from, site.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	half := p.Part(0)
	half.Data = half.Data[:len(half.Data)/2]
	complete := zeekapi.SiteProgress{Have: uint64(len(p.Data)), Complete: true}
	file := filepath.Join(SitesDir(dir, "i"), p.ID, "local.zeek")

	ask, stop := siteAgent(t, dir)
	if at, text := ask(zeekapi.SitePart{Site: p.ID}); at != (zeekapi.SiteProgress{}) || text != "" {
		t.Errorf("before: %+v, %s", at, text)
	}
	if at, text := ask(half); at.Have != uint64(len(half.Data)) || at.Complete || text != "" {
		t.Errorf("half of it: %+v, %s", at, text)
	}
	if _, text := ask(zeekapi.SitePart{Site: "../x", Size: 1, Data: "x"}); !strings.Contains(text, "not the ID") {
		t.Errorf("a bad ID: %s", text)
	}
	if _, text := ask(zeekapi.SitePart{Site: p.ID, Size: 1 << 40, Data: "x"}); !strings.Contains(text, "limit") {
		t.Errorf("a large site: %s", text)
	}
	stop()
	ask, stop = siteAgent(t, dir) // continues
	if at, text := ask(p.Part(uint64(len(half.Data)))); at != complete || text != "" {
		t.Errorf("the rest: %+v, %s", at, text)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != data {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	stop()
	// What was changed is repaired when a controller asks for it.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	ask, stop = siteAgent(t, dir)
	if at, text := ask(zeekapi.SitePart{Site: p.ID}); at != complete || text != "" {
		t.Errorf("again: %+v, %s", at, text)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	stop()
	// Nobody has used it for a long time.
	old := time.Now().Add(-2 * siteGrace)
	if err := os.Chtimes(filepath.Join(SitesDir(dir, "i"), p.ID+".tar.zst"), old, old); err != nil {
		t.Fatal(err)
	}
	ask, stop = siteAgent(t, dir)
	if at, _ := ask(zeekapi.SitePart{Site: p.ID}); at != (zeekapi.SiteProgress{}) {
		t.Errorf("an old site: %+v", at)
	}
	stop()
	ask, stop = siteAgent(t, "")
	if _, text := ask(half); text != errNoSites.Error() {
		t.Errorf("without a state directory: %s", text)
	}
	stop()
}
