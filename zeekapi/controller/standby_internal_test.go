package controller

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// sharedFickle is a fickleStore that is shared with other controllers.
type sharedFickle struct {
	fickleStore
	confirms int
	confirm  error
}

func (s *sharedFickle) Load() (State, error) { return State{}, nil }

func (s *sharedFickle) Confirm() error {
	s.confirms++
	return s.confirm
}

// bench runs lives as the event loop does, without goroutines.
type bench struct {
	t    *testing.T
	l    *lives
	now  time.Time
	done []Output // performed
}

func newBench(t *testing.T) *bench {
	settings := DefaultSettings()
	next := func(state State) *Machine {
		m, err := NewMachine(settings, state, uuid.NewString, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	b := &bench{t: t, now: time.Unix(1000, 0)}
	b.l = newLives(next(State{}), next, &keeper{kept: newLiveState(State{})}, Post{})
	b.perform(b.l.Start(b.now))
	return b
}

// take gives inputs to the machine as one batch, and performs the outputs.
func (b *bench) take(inputs ...Input) []Output {
	b.t.Helper()
	b.done = nil
	var out []Output
	for _, in := range inputs {
		out = append(out, b.l.Step(b.now, in)...)
	}
	b.perform(out)
	return b.done
}

func (b *bench) perform(out []Output) {
	b.t.Helper()
	if !b.l.store(out) {
		b.perform(b.l.Step(b.now, storeFailed{}))
		return
	}
	var more []Input
	for _, o := range out {
		switch o := o.(type) {
		case later:
			more = append(more, o.in)
		default:
			if b.l.keeper.suspended() && withheld(o) {
				b.l.withheld = true
				continue
			}
			b.done = append(b.done, o)
		}
	}
	for _, in := range more {
		b.perform(b.l.Step(b.now, in))
	}
	if err := b.l.Machine.Check(); err != nil {
		b.t.Error(err)
	}
}

// responses describes the responses to clients.
func responses(out []Output) []string {
	var all []string
	for _, o := range out {
		if c, ok := o.(ToClients); ok {
			_, results := zeekapi.ResponseOf(c.Message)
			for _, r := range results {
				n, refused := zeekapi.NotLeaderOf([]zeekapi.Result{r})
				text := fmt.Sprintf("%s %t %s", c.Message.RequestID(), r.Success, r.Error)
				if refused {
					text += fmt.Sprintf(" -> %s term %d", n.Leader.Name, n.Term)
				}
				all = append(all, strings.TrimSpace(text))
			}
		}
	}
	return all
}

// orders describes the messages to agents.
func orders(out []Output) []string {
	var all []string
	for _, o := range out {
		if a, ok := o.(ToAgent); ok {
			all = append(all, fmt.Sprintf("%s %s", a.Instance, strings.TrimPrefix(fmt.Sprintf("%T", a.Message), "zeekapi.")))
		}
	}
	return all
}

func expectTexts(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func controllersLedBy(leader string) []zeekapi.ControllerMember {
	return []zeekapi.ControllerMember{{Name: leader, Leads: true, Clients: leader + ":2149"}, {Name: "other"}}
}

func leadTurn(store SharedStore, state State) turned {
	state.Term = 7
	all := controllersLedBy("us")
	return turned{Turn{Post: Post{Leads: true, Term: 7, Members: all}, State: &state, Store: store}}
}

func standbyTurn(state *State) turned {
	all := controllersLedBy("c2")
	return turned{Turn{Post: Post{Term: 5, Members: all, AsOf: time.Unix(900, 0)}, State: state}}
}

func storedTarget() State {
	c := zeekapi.Configuration{
		ID: "c1", Instances: []zeekapi.Instance{{Name: "a"}},
		Nodes: []zeekapi.Node{{Name: "w", Instance: "a", Role: zeekapi.RoleWorker, State: zeekapi.StateRunning}},
	}
	return State{
		Configs: map[Slot]zeekapi.Configuration{Ready: c, Staged: c, Target: c, Deployed: c},
		History: []Past{{Deployment: zeekapi.Deployment{Number: 3, Config: "c1", Outcome: zeekapi.OutcomeDeployed}, Configuration: c}},
		Events:  []zeekapi.ClusterEvent{{Number: 8, Kind: zeekapi.EventConnected, Instance: "a"}},
		Sent:    Sent{ID: "c1"},
	}
}

func asks(msg zeekapi.Message) FromClient {
	return FromClient{Peer: broker.Peer{ID: uuid.UUID{1}}, Message: msg}
}

func agentHello(name string, peer byte) FromAgent {
	return FromAgent{Peer: broker.Peer{ID: uuid.UUID{2, peer}}, Dialect: "Management", Message: zeekapi.AgentHello{Instance: name, APIVersion: zeekapi.APIVersion}}
}

func named(text string) zeekapi.ReqID { return zeekapi.ReqID{ID: text} }

// A controller that stands by answers from the stored state, refuses everything else with
// the address of the leader, and says nothing to agents.
func TestStandby(t *testing.T) {
	b := newBench(t)
	expectTexts(t, "before the first turn", responses(b.take(asks(zeekapi.HistoryRequest{ReqID: named("h")}))),
		"h false this controller stands by; no controller leads at present, try again in some seconds ->  term 0")
	state := storedTarget()
	b.take(standbyTurn(&state))
	out := b.take(agentHello("a", 1), asks(zeekapi.DeployRequest{ReqID: named("d")}), asks(zeekapi.GetNodesRequest{ReqID: named("n")}),
		asks(zeekapi.StepDownRequest{ReqID: named("s")}), asks(zeekapi.HistoryRequest{ReqID: named("h")}), Tick{})
	const refused = `false this controller stands by; controller "c2" at c2:2149 leads: send the request there -> c2 term 5`
	expectTexts(t, "answers", responses(out), "d "+refused, "n "+refused, "s "+refused, "h true")
	want := ToClients{uuid.UUID{1}, zeekapi.StoredAnswer{ReqID: named("h"), AsOf: time.Unix(900, 0), Controller: DefaultSettings().Name}}
	i := slices.IndexFunc(out, func(o Output) bool { return fmt.Sprint(o) == fmt.Sprint(want) })
	if i < 0 || i+1 >= len(out) || len(responses(out[i+1:])) != 1 || responses(out[i+1:])[0] != "h true" {
		t.Errorf("performed %v, want the announcement of a stored answer before it", out)
	}
	if out = slices.DeleteFunc(out, func(o Output) bool { _, ok := o.(KeepSites); return ok }); len(out) != 5 {
		t.Errorf("performed %v, want only answers", out)
	}
	out = b.take(asks(zeekapi.StatusRequest{ReqID: named("s")}))
	_, results := zeekapi.ResponseOf(out[0].(ToClients).Message)
	status, _ := dataOf[zeekapi.Status](results[0].Data)
	if status.Target != "c1" || status.Last.Number != 3 || !status.AsOf.Equal(time.Unix(900, 0)) || status.Term != 5 || len(status.Controllers) != 2 ||
		status.Storage != "" || len(status.Instances) != 1 || status.Instances[0].Nodes[0].Status.State != zeekapi.StateUnknown {
		t.Errorf("status %+v", status)
	}
	if len(b.l.agents.byPeer) != 1 {
		t.Errorf("%d agents are known, want 1", len(b.l.agents.byPeer))
	}
	b.take(PeerLost{Peer: agentHello("a", 1).Peer})
	if len(b.l.agents.byPeer) != 0 {
		t.Error("an agent that was lost is known")
	}
}

// A controller that stands by passes the requests of Zeek's clients to the leader. Our clients
// connect to the leader themselves.
func TestStandbyForwards(t *testing.T) {
	b, state := forwardingBench(t)
	var forwarded []string
	ask := func(application string, msg zeekapi.Message) []Output {
		in := asks(msg)
		in.Peer.Application = application
		out := b.take(in)
		for _, o := range out {
			if f, ok := o.(Forward); ok {
				forwarded = append(forwarded, f.Message.RequestID())
			}
		}
		return out
	}
	ask("", zeekapi.DeployRequest{ReqID: named("deploy")})
	ask("other", zeekapi.GetNodesRequest{ReqID: named("nodes")})
	ask("", zeekapi.SetConfigurationRequest{ReqID: named("early")})
	const refused = `false this controller stands by; controller "c2" at c2:2149 leads: send the request there -> c2 term 5`
	expectTexts(t, "ours", responses(ask("zeekwire", zeekapi.DeployRequest{ReqID: named("ours")})), "ours "+refused)
	expectTexts(t, "forwarded before", responses(ask("zeekwire-relay", zeekapi.DeployRequest{ReqID: named("again")})), "again "+refused)
	expectTexts(t, "not Zeek's", responses(ask("", zeekapi.StepDownRequest{ReqID: named("other")})), "other "+refused)
	expectTexts(t, "served", responses(ask("", zeekapi.GetConfigurationRequest{ReqID: named("read"), Deployed: true})), "read true")
	expectTexts(t, "forwarded", forwarded, "deploy", "nodes", "early")
	response := zeekapi.DeployCall.Respond("deploy", zeekapi.Result{ReqID: "deploy", Success: true})
	expectTexts(t, "response", responses(b.take(Forwarded{uuid.UUID{1}, response})), "deploy true")
	expectTexts(t, "second response", responses(b.take(Forwarded{uuid.UUID{1}, response})))
	// The leader changes, and is this controller.
	b.take(leadTurn(&sharedFickle{}, state))
	nodes := zeekapi.GetNodesCall.Respond("nodes", zeekapi.Result{ReqID: "nodes", Success: true})
	expectTexts(t, "response at the new leader", responses(b.take(Forwarded{uuid.UUID{1}, nodes})), "nodes true")
	expectTexts(t, "forwarded by a leader", forwarded, "deploy", "nodes", "early")
}

// A controller that ends waits for the responses of the leader, also if it has become the leader in
// the meantime. Then it says that the outcome is unknown. It passes no further requests.
func TestForwardsEnd(t *testing.T) {
	for _, leads := range []bool{false, true} {
		b, state := forwardingBench(t)
		gone := asks(zeekapi.DeployRequest{ReqID: named("gone")})
		gone.Peer.ID = uuid.UUID{2}
		b.take(asks(zeekapi.DeployRequest{ReqID: named("deploy")}), gone, asks(zeekapi.GetNodesRequest{ReqID: named("nodes")}), asks(zeekapi.GetNodesRequest{ReqID: named("late")}))
		b.take(PeerLost{Peer: gone.Peer})
		if leads {
			b.take(leadTurn(&sharedFickle{}, state))
		}
		expectTexts(t, "at the end", responses(b.take(Shutdown{})))
		if !leads {
			const refused = `false this controller stands by; controller "c2" at c2:2149 leads: send the request there -> c2 term 5`
			expectTexts(t, "another request", responses(b.take(asks(zeekapi.DeployRequest{ReqID: named("other")}))), "other "+refused)
		}
		response := zeekapi.GetNodesCall.Respond("nodes", zeekapi.Result{ReqID: "nodes", Success: true})
		expectTexts(t, "a response in time", responses(b.take(Forwarded{uuid.UUID{1}, response})), "nodes true")
		if b.l.Phase() != Ending || b.l.Pending() != 2 {
			t.Errorf("phase %v, %d pending", b.l.Phase(), b.l.Pending())
		}
		const unknown = " false interrupted, because this controller ends; it had passed the request to the leader: see the status for the outcome"
		expectTexts(t, "at last", responses(b.l.leave()), "deploy"+unknown, "late"+unknown)
	}
}

// forwardingBench returns a bench with a controller that stands by and passes requests to the
// leader, and the stored state.
func forwardingBench(t *testing.T) (*bench, State) {
	b, state := newBench(t), storedTarget()
	turn := standbyTurn(&state)
	turn.Post.Forwards = true
	b.take(turn)
	return b, state
}

// A client gets one response to each request that is passed to the leader. A request with the
// ID of one under way is ignored, as a leader does.
func TestForwardsOfOneID(t *testing.T) {
	b, _ := forwardingBench(t)
	other := asks(zeekapi.GetNodesRequest{ReqID: named("x")})
	other.Peer.ID = uuid.UUID{2}
	var forwarded []string
	for _, o := range b.take(asks(zeekapi.DeployRequest{ReqID: named("x")}), asks(zeekapi.GetNodesRequest{ReqID: named("x")}), other) {
		if f, ok := o.(Forward); ok {
			forwarded = append(forwarded, fmt.Sprintf("%d %T", f.By.ID[0], f.Message))
		}
	}
	expectTexts(t, "forwarded", forwarded, "1 zeekapi.DeployRequest", "2 zeekapi.GetNodesRequest")
	response := zeekapi.DeployCall.Respond("x", zeekapi.Result{ReqID: "x", Success: true})
	expectTexts(t, "response", responses(b.take(Forwarded{uuid.UUID{1}, response})), "x true")
	if n := len(b.take(asks(zeekapi.GetNodesRequest{ReqID: named("x")}))); n != 1 {
		t.Errorf("%d outputs after the response, want a Forward", n)
	}
}

// A client cannot use up the room for requests to the leader.
func TestForwardsOfOneClient(t *testing.T) {
	b, _ := forwardingBench(t)
	other := asks(zeekapi.GetNodesRequest{ReqID: named("x")})
	other.Peer.ID = uuid.UUID{2}
	var inputs []Input
	for i := range maxForwardsPerClient + 1 {
		inputs = append(inputs, asks(zeekapi.GetNodesRequest{ReqID: named(fmt.Sprint(i))}))
	}
	counts := make(map[byte]int)
	outputs := b.take(append(inputs, other)...)
	for _, o := range outputs {
		if f, ok := o.(Forward); ok {
			counts[f.By.ID[0]]++
		}
	}
	if counts[1] != maxForwardsPerClient || counts[2] != 1 {
		t.Errorf("%v requests are forwarded", counts)
	}
	expectTexts(t, "responses", responses(outputs), fmt.Sprintf("%d false %s", maxForwardsPerClient, errTooMany))
	if again := b.take(inputs[3]); len(again) > 0 {
		t.Errorf("a request that is repeated while the leader has it: %v", again)
	}
}

// Outputs that wait for a site of another machine are performed when the site is on this one. A
// controller that stands by sends nothing to agents.
func TestFetchedSites(t *testing.T) {
	b := newBench(t)
	state := storedTarget()
	part := ToAgent{Instance: "a", Message: zeekapi.AgentSiteRequest{ReqID: named("p")}, Part: true}
	read := ReadSite{Peer: uuid.UUID{1}, Request: zeekapi.DownloadSiteRequest{ReqID: named("r")}}
	waiting := []Output{part, read}
	b.take(standbyTurn(&state))
	if out := b.take(fetched{outputs: waiting}); len(out) != 1 || out[0].(ReadSite).Request.ID != "r" {
		t.Errorf("standing by: performed %v, want the read", out)
	}
	b.take(leadTurn(&sharedFickle{}, state))
	if out := b.take(fetched{outputs: waiting}); len(out) != 2 {
		t.Errorf("leading: performed %v, want both", out)
	}
	expectTexts(t, "answers without the site", responses(b.take(fetched{waiting, "no such site"})), "r false no such site")
}

// A controller that stands by keeps copies of the sites that the stored configurations need.
func TestStandbyKeepsSites(t *testing.T) {
	b := newBench(t)
	state := storedTarget()
	c := state.Configs[Target]
	c.Site = "needed"
	state.Configs[Target] = c
	b.take(standbyTurn(&state))
	for _, o := range b.take(Tick{}) {
		if k, ok := o.(KeepSites); ok && slices.Equal(k.Sites, []string{"needed"}) {
			return
		}
	}
	t.Errorf("performed %v, want KeepSites", b.done)
}

// A new leader continues with the stored state and with the agents that are connected.
func TestTakeOver(t *testing.T) {
	b := newBench(t)
	state, store := storedTarget(), &sharedFickle{}
	b.take(standbyTurn(&state))
	b.take(agentHello("a", 1), agentHello("stranger", 2))
	out := b.take(leadTurn(store, state))
	expectTexts(t, "agents", orders(out), "a AgentWelcomeRequest")
	var events []string
	for _, e := range store.saved {
		events = append(events, e.Kind+" "+e.Instance)
	}
	expectTexts(t, "events", events, "leader ", "connected stranger")
	if s := b.l.Snapshot(); !s.Post.Leads || s.Post.Term != 7 || s.Agents != 2 {
		t.Errorf("snapshot %+v", s)
	}
	expectTexts(t, "a change", responses(b.take(asks(zeekapi.StepDownRequest{ReqID: named("s")}))), "s true")
	if _, ok := b.done[len(b.done)-1].(StepDown); !ok {
		t.Errorf("performed %v, want StepDown last", b.done)
	}
}

// The leader learns with a change that it leads no more. Nothing of the change is
// performed. Clients learn that they may make the request again, or not.
func TestDeposedBySave(t *testing.T) {
	b := newBench(t)
	state, store := storedTarget(), &sharedFickle{}
	b.take(standbyTurn(&state))
	b.take(agentHello("a", 1))
	b.take(leadTurn(store, state))
	b.take(asks(zeekapi.GetNodesRequest{ReqID: named("n")})) // the agent does not answer
	store.save = ErrDeposed
	out := b.take(asks(zeekapi.StageConfigurationRequest{ReqID: named("c"), Config: zeekapi.Configuration{ID: "c2"}}))
	expectTexts(t, "answers", responses(out),
		"n false interrupted, because this controller does not lead any more; see the status for the outcome",
		"c false this controller stands by; no controller leads at present, try again in some seconds ->  term 7")
	expectTexts(t, "agents", orders(out))
	saves := store.saves
	b.take(agentHello("b", 3), Tick{}, storageDue{}, asks(zeekapi.HistoryRequest{ReqID: named("h")}))
	if store.saves != saves || store.confirms == 0 || b.l.Snapshot().Post.Leads {
		t.Errorf("%d saves after the end of the term", store.saves-saves)
	}
	if b.l.Machine.configs.target().ID != "c1" || len(b.l.agents.byPeer) != 2 {
		t.Error("the state or the agents are not known any more")
	}
	all := controllersLedBy("us")
	b.take(turned{Turn{Post: Post{Leads: true, Term: 7, Members: all}}}) // was made before
	if b.l.post.Leads {
		t.Error("leads after a late turn without a store")
	}
	again := &sharedFickle{}
	b.take(leadTurn(again, state))
	if !b.l.post.Leads || again.saves == 0 {
		t.Error("does not lead again")
	}
}

// A change that may have been stored at the end of a term is not refused as one that clients
// may repeat: it would be made twice.
func TestDeposedWithoutCertainty(t *testing.T) {
	b := newBench(t)
	state, store := storedTarget(), &sharedFickle{}
	b.take(standbyTurn(&state))
	b.take(leadTurn(store, state))
	store.save = fmt.Errorf("%w: %w", ErrDeposed, ErrUnsure)
	out := b.take(asks(zeekapi.StageConfigurationRequest{ReqID: named("c"), Config: zeekapi.Configuration{ID: "c2"}}))
	expectTexts(t, "answers", responses(out),
		"c false interrupted, because this controller does not lead any more; see the status for the outcome")
	if b.l.post.Leads || b.l.Machine.configs.slots[Staged].ID == "c2" {
		t.Error("leads, or has the change")
	}
}

// A batch without changes is not performed by a controller that leads no more.
func TestDeposedByConfirm(t *testing.T) {
	b := newBench(t)
	state, store := storedTarget(), &sharedFickle{}
	b.take(standbyTurn(&state))
	b.take(agentHello("a", 1))
	b.take(leadTurn(store, state))
	store.confirm = ErrDeposed
	out := b.take(asks(zeekapi.RestartRequest{ReqID: named("r")}))
	expectTexts(t, "agents", orders(out))
	expectTexts(t, "answers", responses(out), "r false this controller stands by; no controller leads at present, try again in some seconds ->  term 7")
}

// A leader that does not know whether it leads shows the state, refuses changes, and tells
// agents nothing that changes anything. It does so when it knows again.
func TestSuspended(t *testing.T) {
	b := newBench(t)
	state, store := storedTarget(), &sharedFickle{}
	b.take(standbyTurn(&state))
	b.take(leadTurn(store, state))
	store.confirm, store.broken, store.check = errors.New("no etcd"), true, errors.New("no etcd")
	out := b.take(asks(zeekapi.HistoryRequest{ReqID: named("h")}))
	expectTexts(t, "answers", responses(out), "h true")
	out = b.take(agentHello("a", 1), asks(zeekapi.RestartRequest{ReqID: named("r")}), asks(zeekapi.DeployRequest{ReqID: named("d")}), asks(zeekapi.GetNodesRequest{ReqID: named("n")}))
	const refused = "false the controller cannot store changes now: no etcd"
	expectTexts(t, "answers", responses(out), "r "+refused, "d "+refused)
	expectTexts(t, "agents", orders(out), "a AgentGetNodesRequest")
	store.confirm, store.broken, store.check = nil, false, nil
	if why := b.l.keeper.check(); why != "" {
		t.Fatal(why)
	}
	expectTexts(t, "agents", orders(b.take(StorageChanged{})), "a AgentWelcomeRequest")
}

// The agents of a leader that does not know whether it leads get the layout that a check needs.
func TestSuspendedChecks(t *testing.T) {
	b := newBench(t)
	state, store := storedTarget(), &sharedFickle{}
	b.take(standbyTurn(&state))
	b.take(leadTurn(store, state))
	hello := agentHello("a", 1)
	described := hello
	described.Message = zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision}
	b.take(hello, described)
	store.confirm, store.broken, store.check = errors.New("no etcd"), true, errors.New("no etcd")
	var got []string
	for _, o := range b.take(asks(zeekapi.CheckRequest{ReqID: named("c")})) {
		switch o := o.(type) {
		case ToAgents:
			got = append(got, "layout "+o.Message.(zeekapi.AgentLayout).ID)
		case ToAgent:
			got = append(got, "check with "+o.Message.(zeekapi.AgentCheckRequest).LayoutID)
		}
	}
	id := b.l.Machine.deployments.plans.latest.layoutID
	expectTexts(t, "sent", got, "layout "+id, "check with "+id)
}

// An agent may be lost while a trial asks the agents: a site that is queued for one agent can
// end another trial, which hangs up.
func TestTrialLosesAgentWhileItAsks(t *testing.T) {
	b := newBench(t)
	state := State{}
	b.take(standbyTurn(&state))
	b.take(leadTurn(&sharedFickle{}, state))
	for i, name := range []string{"a", "b"} {
		hello := agentHello(name, byte(i))
		described := hello
		described.Message = zeekapi.AgentDescription{Instance: name, LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision}
		b.take(hello, described)
	}
	m := b.l.Machine
	lost := &push{sites: m.sites, instance: "x", agent: new(agent)}
	m.sites.pushes["x"], m.sites.queue = lost, []*push{lost}
	m.sites.pushed = func(string) { m.arrivals.peerLost(agentHello("b", 1).Peer) }
	config := zeekapi.Configuration{ID: "c1", Site: "s", Instances: []zeekapi.Instance{{Name: "a"}, {Name: "b"}}}
	for _, i := range config.Instances {
		config.Nodes = append(config.Nodes, zeekapi.Node{Name: "w" + i.Name, Instance: i.Name, Role: zeekapi.RoleWorker, State: zeekapi.StateRunning})
	}
	out := b.take(asks(zeekapi.CheckRequest{ReqID: named("c"), Config: &config}))
	expectTexts(t, "agents", orders(out), "a AgentSiteRequest")
	expectTexts(t, "answers", responses(out))
}

// What a leader did before the end of its term is stored in its term, although the end is in
// the same batch of inputs.
func TestTurnsWaitForOutputs(t *testing.T) {
	b := newBench(t)
	state, store := storedTarget(), &sharedFickle{}
	b.take(standbyTurn(&state))
	b.take(leadTurn(store, state))
	saves, next := store.saves, &sharedFickle{}
	out := b.take(asks(zeekapi.StageConfigurationRequest{ReqID: named("c"), Config: state.Configs[Target]}), standbyTurn(nil), leadTurn(next, state))
	expectTexts(t, "answers", responses(out), "c true")
	if store.saves != saves+1 || next.saves != 1 || !b.l.post.Leads {
		t.Errorf("%d saves in the first term, %d in the second, leads: %t", store.saves-saves, next.saves, b.l.post.Leads)
	}
	if b.l.keeper.store != stateStore(next) {
		t.Error("the store is not that of the last term")
	}
}
