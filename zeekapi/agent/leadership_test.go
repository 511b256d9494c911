package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// claim makes a controller say whether it leads, and returns the response.
func (f *fleet) claim(by broker.Peer, term uint64, leads bool) zeekapi.Result {
	f.t.Helper()
	f.step(Received{Peer: by, Message: zeekapi.AgentLeaderRequest{ReqID: id("claim"), Term: term, Leads: leads}})
	return one[zeekapi.AgentLeaderResponse](f).Result
}

// orders makes a controller order a deployment, and returns why it is refused, "" if it
// is not.
func (f *fleet) orders(by broker.Peer, config zeekapi.Configuration) string {
	f.t.Helper()
	f.step(Received{Peer: by, Message: deploy("order", config)})
	f.pass(time.Second)
	for _, r := range one[zeekapi.AgentDeployResponse](f).Results {
		if !r.Success {
			return r.Error
		}
	}
	return ""
}

// process returns the endpoint of one of many controllers.
func process(n int) broker.Peer { return controllerAt(fmt.Sprintf("10.0.1.1:%d", n%60_000+1)) }

func logged(f *fleet) []string {
	var texts []string
	for _, c := range take[Complain](f) {
		texts = append(texts, c.Text)
	}
	return texts
}

// An agent obeys the leader of the greatest term, and refuses the leaders before it and
// the controllers that stand by, with a reason that it logs once for each claim.
func TestOnlyTheLeaderIsObeyed(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	one, two, three := controllerAt("10.0.0.1:2150"), controllerAt("10.0.0.2:2150"), controllerAt("10.0.0.3:2150")
	for _, p := range []broker.Peer{one, two, three} {
		f.step(PeerAdded{p})
	}
	f.out = nil
	config := configuration("c1", "w")
	refused := func(by broker.Peer, reason string, entries int) {
		t.Helper()
		why := f.orders(by, configuration("c9"))
		if !strings.Contains(why, reason) || !strings.Contains(why, "10.0.0.2:2150") {
			t.Errorf("refused because %q, want %q and the leader", why, reason)
		}
		texts := logged(f)
		if len(texts) != entries || entries == 1 && !strings.Contains(texts[0], by.Addr.String()+": "+why) {
			t.Errorf("logged %q, want %d entries with the address and the reason", texts, entries)
		}
		if _, runs := f.running["w"]; !runs {
			t.Error("the node was stopped")
		}
	}
	if r := f.claim(one, 5, true); !r.Success {
		t.Errorf("the first leader is refused: %s", r.Error)
	}
	if why := f.orders(one, config); why != "" {
		t.Errorf("the first leader is refused: %s", why)
	}
	if r := f.claim(two, 7, true); !r.Success {
		t.Errorf("the second leader is refused: %s", r.Error)
	}
	refused(one, "led in term 5, which is over", 1)
	refused(one, "led in term 5, which is over", 0)
	f.claim(one, 7, false)
	refused(one, "stands by", 1)
	refused(three, "names no term", 1)
	refused(three, "names no term", 0)
	f.out = nil
	if r := f.claim(three, 7, true); r.Success || len(logged(f)) != 1 {
		t.Error("two controllers lead in one term")
	}
	refused(three, "another controller leads in term 7", 0)
	if why := f.orders(two, config); why != "" {
		t.Errorf("the leader is refused: %s", why)
	}
	f.ask(zeekapi.AgentGetNodesRequest{ReqID: id("reads")})
	f.step(Received{Peer: one, Message: zeekapi.AgentGetNodesRequest{ReqID: id("reads")}})
	for _, r := range published[zeekapi.AgentGetNodesResponse](f) {
		if !r.Result.Success {
			t.Errorf("a controller that stands by may not read: %s", r.Result.Error)
		}
	}
	f.step(PeerLost{two})
	f.step(PeerAdded{two})
	if why := f.orders(two, config); why != "" {
		t.Errorf("the leader is refused after it connected again: %s", why)
	}
}

// The agent tells a leader whose term is over which term it has heard of.
func TestResponseHasTheTerm(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	one, two := controllerAt("10.0.0.1:2150"), controllerAt("10.0.0.2:2150")
	f.claim(two, 7, true)
	var got zeekapi.AgentTerm
	r := f.claim(one, 5, true)
	if err := record.Unmarshal(r.Data, &got); err != nil {
		t.Fatal(err)
	}
	compare(t, "term", zeekapi.AgentTerm{Term: 7, Leader: two.ID.String()}, got)
	if r.Success {
		t.Error("a leader whose term is over is told that the agent obeys it")
	}
}

// Every order is refused, also those that only concern single nodes or files.
func TestEveryOrderNeedsTheLeader(t *testing.T) {
	f := running(t, "w")
	one, two := controllerAt("10.0.0.1:2150"), controllerAt("10.0.0.2:2150")
	f.claim(one, 1, true)
	f.claim(two, 2, true)
	f.out = nil
	orders := []zeekapi.Message{
		zeekapi.AgentWelcomeRequest{}, zeekapi.AgentStandbyRequest{}, zeekapi.AgentDeployRequest{}, zeekapi.AgentDeployNodesRequest{},
		zeekapi.AgentRestartRequest{}, zeekapi.AgentSiteRequest{}, zeekapi.AgentCleanupRequest{},
	}
	for call := range zeekapi.Requests() {
		listed := slices.ContainsFunc(orders, func(m zeekapi.Message) bool { return zeekapi.RequestOf(m) == call })
		if call.API == zeekapi.AgentAPI && call != zeekapi.AgentLeaderCall.Request && listed != (call.Effect == zeekapi.Changes) {
			t.Errorf("%s is an order in this test: %t", call.Name, listed)
		}
	}
	for _, m := range orders {
		f.step(Received{Peer: one, Message: m})
		if len(f.out) == 0 {
			t.Fatalf("%T has no response", m)
		}
		p, _ := f.out[0].(Publish)
		if _, results := zeekapi.ResponseOf(p.Message); len(results) != 1 || results[0].Success || !strings.Contains(results[0].Error, "term 1, which is over") {
			t.Errorf("%T: response %+v", m, p.Message)
		}
		f.out = nil
	}
	if _, runs := f.running["w"]; !runs {
		t.Error("the node was stopped")
	}
}

// Controllers without terms are obeyed as before if the leader is not connected, so that
// a cluster can go back to one controller.
func TestControllersWithoutTerm(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	leader, single := controllerAt("10.0.0.1:2150"), controllerAt("10.0.0.2:2150")
	f.step(PeerAdded{leader})
	f.step(PeerAdded{single})
	f.claim(leader, 5, true)
	f.out = nil
	if why := f.orders(single, configuration("c1", "w")); !strings.Contains(why, "names no term") {
		t.Errorf("refused because %q", why)
	}
	f.step(PeerLost{leader})
	f.out = nil
	if why := f.orders(single, configuration("c1", "w")); why != "" {
		t.Errorf("refused because %q", why)
	}
	compare(t, "stored", Term{5, leader.ID}, f.term)
}

// The next agent knows the term, so that a leader of an earlier term cannot use a
// restart of the agent.
func TestTermIsStored(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	one, two := controllerAt("10.0.0.1:2150"), controllerAt("10.0.0.2:2150")
	f.claim(two, 7, true)
	f.kill()
	if r := f.claim(one, 5, true); r.Success || !strings.Contains(r.Error, "leader of term 7 or a later one") {
		t.Errorf("response %+v", r)
	}
	if r := f.claim(one, 7, true); r.Success {
		t.Error("another controller leads in the same term after a restart")
	}
	if r := f.claim(two, 7, true); !r.Success {
		t.Errorf("the leader is refused after a restart: %s", r.Error)
	}
}

// A term that cannot be stored is stored later. It counts at once.
func TestTermCannotBeStored(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.saving = errors.New("no space left on device")
	first, second := controllerAt("10.0.0.1:2150"), controllerAt("10.0.0.2:2150")
	f.claim(second, 7, true)
	if e := one[zeekapi.AgentError](f); !strings.Contains(e.Text, "term of the leader: no space") {
		t.Errorf("reported %q", e.Text)
	}
	if r := f.claim(first, 5, true); r.Success {
		t.Error("a term that is not stored does not count")
	}
	f.saving = nil
	f.pass(SaveInterval)
	compare(t, "stored", Term{7, second.ID}, f.term)
}

// A change of the leader is no reason to report two controllers.
func TestChangeOfLeaderIsNoComplaint(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	a, b := controllerAt("10.0.0.1:2150"), controllerAt("10.0.0.2:2150")
	f.claim(a, 1, true)
	f.orders(a, configuration("c1", "w"))
	f.claim(b, 2, true)
	f.orders(b, configuration("c1", "w"))
	if texts := logged(f); len(texts) > 0 {
		t.Errorf("logged %q", texts)
	}
}

// The claims of many controllers are limited. Those of connected ones remain.
func TestClaimsAreLimited(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	leader := controllerAt("10.0.0.1:2150")
	f.step(PeerAdded{leader})
	f.claim(leader, 9, true)
	for i := range 2 * maxClaims {
		p := process(i)
		f.step(PeerAdded{p})
		f.claim(p, 3, false)
		f.step(PeerLost{p})
	}
	if why := f.orders(leader, configuration("c1", "w")); why != "" {
		t.Errorf("the leader is refused: %s", why)
	}
	if f.machine.leadership.claims[leader.ID] == nil {
		t.Error("the claim of a connected controller is forgotten")
	}
}

// election simulates controllers that are elected one after the other. A controller does
// not know at once that its term is over, and its messages take time.
type election struct {
	*fleet
	r           *rand.Rand
	controllers []*candidate
	term        uint64
	config      zeekapi.Configuration
	obeyed      map[uint64]uuid.UUID // the leader of each term that the agent obeyed
	last        uint64               // the last of these terms
}

// candidate is a controller in an election.
type candidate struct {
	broker.Peer
	term      uint64 // in which it believes to lead, 0 if it stands by
	connected bool
	queue     []zeekapi.Message // that are under way
	known     bool              // it introduced itself to this agent
	number    int
}

// say sends a message through the connection.
func (c *candidate) say(m zeekapi.Message) {
	if c.connected {
		c.queue = append(c.queue, m)
	}
}

// introduce sends what a controller says first.
func (c *candidate) introduce() {
	c.say(zeekapi.AgentLeaderRequest{ReqID: id("claim"), Term: c.term, Leads: c.term > 0})
}

func (c *candidate) order(config zeekapi.Configuration) {
	if c.term > 0 {
		c.number++
		c.say(zeekapi.AgentDeployRequest{ReqID: id(fmt.Sprintf("%d %d", c.term, c.number)), Config: config})
	}
}

// act does one random thing.
func (e *election) act() {
	c := e.controllers[e.r.IntN(len(e.controllers))]
	switch e.r.IntN(12) {
	case 0: // the others do not know yet
		if e.term == 0 || e.r.IntN(10) > 0 { // or else two of them lead in one term
			e.term += 1 + uint64(e.r.IntN(3))
		}
		c.term = e.term
		c.introduce()
		c.order(e.config)
	case 1:
		if c.term < e.term {
			c.term = 0
			c.introduce()
		}
	case 2, 3:
		if c.connected = !c.connected; c.connected {
			e.step(PeerAdded{c.Peer})
			if !c.known || e.r.IntN(2) == 0 { // or else an order for the former connection is sent through this one
				c.introduce()
			}
			c.order(e.config)
			c.introduce()
		} else {
			c.queue = nil
			e.step(PeerLost{c.Peer})
		}
	case 4: // another process in its place
		if c.connected {
			e.step(PeerLost{c.Peer})
		}
		*c = candidate{Peer: process(e.r.IntN(1 << 30))}
	case 5:
		e.kill()
		for _, c := range e.controllers {
			c.connected, c.known, c.queue = false, false, nil
		}
	case 6, 7:
		e.pass(time.Duration(e.r.IntN(3000)) * time.Millisecond)
	default:
		e.deliver(c)
	}
	e.watch()
}

// deliver lets the agent receive the first message of a controller.
func (e *election) deliver(c *candidate) {
	if len(c.queue) == 0 {
		c.order(e.config)
		return
	}
	m := c.queue[0]
	c.queue = c.queue[1:]
	e.step(Received{Peer: c.Peer, Message: m})
	order, ok := m.(zeekapi.AgentDeployRequest)
	if !ok {
		c.known = true
		return
	}
	term, n := uint64(0), 0
	if _, err := fmt.Sscan(order.ID, &term, &n); err != nil {
		e.t.Fatal(err)
	}
	if slices.Contains(e.refused(), order.ID) {
		return
	}
	if leader, known := e.obeyed[term]; known && leader != c.ID || term < e.last {
		e.t.Errorf("the agent obeyed %s in term %d, and before %s, and term %d", c.ID, term, leader, e.last)
	}
	e.obeyed[term], e.last = c.ID, term
}

// refused returns the IDs of the refused orders.
func (e *election) refused() []string {
	var ids []string
	for _, r := range published[zeekapi.AgentDeployResponse](e.fleet) {
		if !r.Results[0].Success {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// watch fails if a node is stopped.
func (e *election) watch() {
	if s := stopped(e.fleet); len(s) > 0 {
		e.t.Errorf("nodes %q are stopped, though all leaders want the same configuration", s)
	}
}

// Whatever happens to controllers and connections, the agent obeys one controller in a
// term, and never one of an earlier term than before. It restarts no node as long as all
// of them have the same configuration. In the end it obeys the last leader.
func TestElections(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			e := &election{
				fleet: newFleet(t, connecting("i"), nil), r: rand.New(rand.NewPCG(seed, 18)),
				config: configuration("c", "l", "m", "w1", "w2"), obeyed: make(map[uint64]uuid.UUID),
			}
			e.startUp = time.Duration(e.r.IntN(2000)) * time.Millisecond
			for i := range 3 {
				e.controllers = append(e.controllers, &candidate{Peer: process(i)})
			}
			for range 200 {
				e.act()
			}
			last := e.controllers[e.r.IntN(3)]
			if !last.connected {
				last.connected = true
				e.step(PeerAdded{last.Peer})
			}
			e.term++
			last.term = e.term
			last.introduce()
			last.order(e.config)
			for len(last.queue) > 0 {
				e.deliver(last)
			}
			if e.last != e.term {
				t.Errorf("the agent obeys term %d, want %d", e.last, e.term)
			}
			e.pass(time.Minute)
			e.watch()
			if len(e.running) != 4 {
				t.Errorf("%d nodes run", len(e.running))
			}
		})
	}
}

// An agent that is peered with two controllers obeys the one that leads, also after its
// restart.
func TestRunObeysTheLeader(t *testing.T) {
	own := operations.Dialect(operations.DefaultTopics)
	hub, dir := membus.New(), t.TempDir()
	newEndpoint := func() controller {
		c := controller{t, hub.Endpoint(newDialect.Topics.AgentPrefix, own.Topics.AgentPrefix)}
		t.Cleanup(func() { c.Close() })
		return c
	}
	first, second := newEndpoint(), newEndpoint()
	claim := func(c controller, term uint64, want bool) {
		t.Helper()
		c.send(own, own.Topics.Agent("i"), zeekapi.AgentLeaderRequest{ReqID: id("claim"), Term: term, Leads: true})
		if r := await[zeekapi.AgentLeaderResponse](c, own).Result; r.Success != want {
			t.Errorf("the leader of term %d: %+v", term, r)
		}
		if r := await[zeekapi.AgentLeaderResponse](map[bool]controller{true: second, false: first}[c == first], own); r.ID != "claim" {
			t.Errorf("the other controller hears %+v", r)
		}
	}
	stop := start(t, hub, simulated.New(simulated.Config{}), dir, own)
	claim(first, 3, true)
	claim(second, 4, true)
	stop()
	if term, err := newStateFiles(dir, "i").loadTerm(); err != nil || term != (Term{4, second.ID()}) {
		t.Errorf("stored term %+v, %v", term, err)
	}
	if HasState(dir, "i") {
		t.Error("a term counts as an assignment")
	}
	stop = start(t, hub, simulated.New(simulated.Config{}), dir, own)
	claim(first, 3, false)
	claim(second, 4, true)
	stop()

	if err := os.WriteFile(newStateFiles(dir, "i").term, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Config{
		Settings: connecting("i"), Bus: hub.Endpoint(), Dialects: []*zeekapi.Dialect{own},
		Launcher: simulated.New(simulated.Config{}), StateDir: dir,
	})
	if err == nil || !strings.Contains(err.Error(), "agent-terms") {
		t.Errorf("Run with a damaged term: %v", err)
	}
}
