package controller_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// unreliableStore is a store in memory that can fail.
type unreliableStore struct {
	mu    sync.Mutex       // only needed by tests that use it while the controller runs
	state controller.State // what is stored
	saves int              // calls of Save

	failAt   int   // the number of the call of Save at which it begins to fail; 0: never
	failures int   // calls of Check after which it works again
	after    bool  // the failing Save stores its changes nevertheless
	scarce   error // of Check, while Save works
	failing  bool
	untrue   bool // what a failing Save stored is still there
}

func newUnreliableStore() *unreliableStore {
	return &unreliableStore{state: controller.State{}.Clone()}
}

// ours is our own dialect.
var ours = operations.Dialect(operations.DefaultTopics)

// stored returns the stored state.
func (s *unreliableStore) stored() controller.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Clone()
}

// change changes how the store behaves.
func (s *unreliableStore) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

var errDisk = fmt.Errorf("/state.db: %w", syscall.ENOSPC)

func (s *unreliableStore) Save(changes ...controller.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	s.failing = s.failing || s.saves == s.failAt
	if !s.failing || s.after && s.saves == s.failAt {
		for _, c := range changes {
			s.state.Apply(c)
		}
	}
	if s.failing {
		s.untrue = s.untrue || s.after && s.saves == s.failAt
		return errDisk
	}
	return nil
}

func (s *unreliableStore) Rewrite(state controller.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing {
		return errDisk
	}
	s.state, s.untrue = state.Clone(), false
	return nil
}

func (s *unreliableStore) Check() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing && s.failures > 0 {
		s.failures--
		return true, errDisk
	}
	s.failing = false
	return false, s.scarce
}

// runOn runs a controller with a store.
func runOn(t *testing.T, store *unreliableStore) *network {
	return runBy(t, controller.Config{Dialects: append(slices.Clone(dialects), ours)}, func(ctx context.Context, cfg controller.Config) error {
		return controller.RunWith(ctx, cfg, store, store.state.Clone())
	})
}

// statusOf requests the status.
func (p *party) statusOf(id string) zeekapi.Status {
	p.t.Helper()
	p.send(p.dialect.Topics.Controller, zeekapi.StatusRequest{ReqID: zeekapi.ReqID{ID: id}})
	for {
		answer, ok := p.receive()
		if !ok {
			p.t.Fatal("no status")
		}
		response, ok := answer.(zeekapi.StatusResponse)
		if !ok || response.ID != id {
			continue
		}
		var s zeekapi.Status
		if err := record.Unmarshal(response.Result.Data, &s); err != nil {
			p.t.Fatal(err)
		}
		return s
	}
}

// A controller whose store fails refuses the change, and has not made it. It still
// answers, takes new agents, and refuses further changes. When the store works again,
// it stores what happened meanwhile, and accepts changes.
func TestRunWhileStoreFails(t *testing.T) {
	const refused = "the controller cannot store changes now: /state.db: no space left on device"
	synctest.Test(t, func(t *testing.T) {
		store := newUnreliableStore()
		n := runOn(t, store)
		n.agent(modern, "a")
		client, watcher := n.client(modern), n.client(ours)
		client.ask(stage("r1", config("c1", "a")), "answer StageConfigurationResponse r1 [T = c1]")
		client.ask(deploy("r2"), "answer DeployResponse r2 [T a] [T = c1]")
		before := watcher.statusOf("s1")
		n.log.take()

		store.change(func() { store.failAt, store.failures = store.saves+1, 30 })
		client.ask(stage("r3", config("c2", "a")), "answer StageConfigurationResponse r3 [F "+refused+"]")
		client.ask(deploy("r4"), "answer DeployResponse r4 [F "+refused+"]")
		client.ask(getInstances("r5"), `answer GetInstancesResponse r5 [T = [["a", 127.0.0.1, nil]]]`)
		client.ask(getNodes("r6"), "answer GetNodesResponse r6 [T a = []]")
		during := watcher.statusOf("s2")
		if during.Staged != "c1" || during.Target != "c1" || during.Storage != errDisk.Error() {
			t.Errorf("status: %+v", during)
		}
		if before, during := before.Instances[0], during.Instances[0]; !before.Ready || !during.Ready {
			t.Errorf("instance before: %+v, during: %+v", before, during)
		}
		n.agent(modern, "b")
		for len(watcher.statusOf("s3").Instances) < 2 {
			synctest.Wait()
		}
		if events := store.stored().Events; slices.ContainsFunc(events, func(e zeekapi.ClusterEvent) bool { return e.Instance == "b" || e.Kind == zeekapi.EventStorage }) {
			t.Errorf("stored while the store failed: %+v", events)
		}

		time.Sleep(40 * time.Second)
		wantLog := []string{
			`{"level":"error","reason":"/state.db: no space left on device","message":"cannot store changes: they are refused until that is possible again"}`,
		}
		if diff := cmp.Diff(wantLog, n.log.take()); diff != "" {
			t.Errorf("log (-want +got)\n%s", diff)
		}
		client.ask(stage("r7", config("c2", "a", "b")), "answer StageConfigurationResponse r7 [T = c2]")
		client.ask(deploy("r8"), "answer DeployResponse r8 [T a] [T b] [T = c2]")
		if after := watcher.statusOf("s4"); after.Storage != "" || after.Target != "c2" {
			t.Errorf("status: %+v", after)
		}
		var kinds []string
		for i, e := range store.stored().Events {
			if e.Number != uint64(i+1) {
				t.Errorf("event %d has the number %d", i+1, e.Number)
			}
			kinds = append(kinds, strings.TrimSpace(e.Kind+" "+e.Instance))
		}
		want := []string{
			"connected a", "staged", "deploying", "deployed",
			"storage", "connected b", "storage", "staged", "deploying", "deployed",
		}
		if diff := cmp.Diff(want, kinds); diff != "" {
			t.Errorf("stored events (-want +got)\n%s", diff)
		}
	})
}

// When there is little room, changes are refused, and what is under way ends and is
// stored.
func TestRunWithLittleRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newUnreliableStore()
		n := runOn(t, store)
		a := n.party(modern, modern.Topics.Agent("a"))
		t.Cleanup(func() { a.Close() })
		a.send(modern.Topics.Agent("a"), hello("a"))
		client := n.client(modern)
		client.ask(stage("r1", config("c1", "a")), "answer StageConfigurationResponse r1 [T = c1]")
		client.send(modern.Topics.Controller, deploy("r2"))
		for {
			msg, _ := a.receive()
			if _, deploys := msg.(zeekapi.AgentDeployRequest); deploys {
				store.change(func() { store.scarce = errDisk })
				time.Sleep(2 * time.Second)
				client.ask(stage("r3", config("c2", "a")), "answer StageConfigurationResponse r3 [F the controller cannot store changes now: /state.db: no space left on device]")
				a.send(modern.Topics.Agent("a"), answerTo(controller.ToAgent{Instance: "a", Message: msg}))
				break
			}
			a.send(modern.Topics.Agent("a"), answerTo(controller.ToAgent{Instance: "a", Message: msg}))
		}
		for {
			if msg, _ := client.receive(); msg.RequestID() == "r2" {
				break
			}
		}
		if last := store.stored().History[0]; last.Outcome != zeekapi.OutcomeDeployed {
			t.Errorf("stored: %+v", last)
		}
	})
}

// A request that waits for agents fails when the store fails.
func TestRunInterruptsRequestsWhenStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newUnreliableStore()
		n := runOn(t, store)
		a := n.party(modern, modern.Topics.Agent("a"))
		t.Cleanup(func() { a.Close() })
		a.send(modern.Topics.Agent("a"), hello("a"))
		client, other := n.client(modern), n.client(modern)
		client.send(modern.Topics.Controller, getNodes("r1"))
		synctest.Wait()
		store.change(func() { store.failAt, store.failures = store.saves+1, 1 })
		other.send(modern.Topics.Controller, stage("r2", config("c1", "a")))
		got := make(map[string]string)
		for len(got) < 2 {
			msg, _ := client.receive()
			if request, results := zeekapi.ResponseOf(msg); request != nil {
				got[msg.RequestID()] = results[0].Error
			}
		}
		want := map[string]string{
			"r1": "interrupted, because the controller cannot store changes: " + errDisk.Error(),
			"r2": "the controller cannot store changes now: " + errDisk.Error(),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("errors (-want +got)\n%s", diff)
		}
	})
}

// TestStoreFailsAtEachSave deploys configurations while the store fails at one of its
// saves, with and without storing the changes. Each acknowledged change must be stored
// at once and remain stored, and in the end the agents run the last configuration.
func TestStoreFailsAtEachSave(t *testing.T) {
	points := 0
	for _, after := range []bool{false, true} {
		for failAt := 1; ; failAt++ {
			var saves int
			synctest.Test(t, func(t *testing.T) { saves = deployWithFailure(t, failAt, after) })
			if saves < failAt {
				break
			}
			points++
		}
	}
	if t.Logf("%d points", points); points < 12 {
		t.Error("want 12 points or more")
	}
}

// deployWithFailure deploys two configurations and returns the number of saves.
func deployWithFailure(t *testing.T, failAt int, after bool) int {
	store := newUnreliableStore()
	store.failAt, store.failures, store.after = failAt, 1+failAt%3, after
	n := runOn(t, store)
	runs := make(map[string]*string)
	for _, name := range []string{"a", "b"} {
		runs[name] = n.countingAgent(name)
	}
	client := n.client(modern)
	ids := 0
	do := func(request func(id string) zeekapi.Message) {
		for range 20 {
			ids++
			msg := request(fmt.Sprint("r", ids))
			client.send(modern.Topics.Controller, msg)
			for {
				answer, ok := client.receive()
				if !ok {
					t.Fatal("no response")
				}
				if request, results := zeekapi.ResponseOf(answer); request != nil && answer.RequestID() == msg.RequestID() {
					if results[len(results)-1].Success {
						return
					}
					break
				}
			}
			time.Sleep(time.Second)
		}
		t.Fatalf("failure at %d: a request is refused forever", failAt)
	}
	for i := range 2 {
		id := fmt.Sprint("c", i+1)
		do(func(r string) zeekapi.Message { return stage(r, config(id, "a", "b")) })
		if got := store.stored().Configs[controller.Staged].ID; got != id {
			t.Errorf("failure at %d: %s was acknowledged, staged is %q", failAt, id, got)
		}
		do(deploy)
		last := store.stored().History[len(store.stored().History)-1]
		if store.stored().Configs[controller.Target].ID != id || store.stored().Configs[controller.Deployed].ID != id || last.Config != id || last.Outcome != zeekapi.OutcomeDeployed {
			t.Errorf("failure at %d: the deployment of %s was acknowledged, stored is %+v", failAt, id, last)
		}
	}
	time.Sleep(time.Minute)
	for name, id := range runs {
		if *id != "c2" {
			t.Errorf("failure at %d: %s runs %q", failAt, name, *id)
		}
	}
	for i, p := range store.stored().History {
		if p.Number != uint64(i+1) || p.Outcome == zeekapi.OutcomePending {
			t.Errorf("failure at %d: history has %+v", failAt, p.Deployment)
		}
	}
	return store.saves
}

// countingAgent connects an agent that remembers the configuration that it was told
// last, and returns where.
func (n *network) countingAgent(name string) *string {
	runs := new(string)
	a := n.party(modern, modern.Topics.Agent(name))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			msg, ok := a.receive()
			if !ok {
				return
			}
			if msg, ok := msg.(zeekapi.AgentDeployRequest); ok {
				*runs = msg.Config.ID
			}
			if answer := answerTo(controller.ToAgent{Instance: name, Message: msg}); answer != nil {
				a.send(modern.Topics.Agent(name), answer)
			}
		}
	}()
	n.t.Cleanup(func() { a.Close(); <-done })
	a.send(modern.Topics.Agent(name), hello(name))
	return runs
}

// TestStoreFailsAtRandom changes a cluster at random while its store fails again and
// again. Each acknowledged change must be stored, then and in the end. Each refused one
// must not be, unless the store claims to fail and stores it nevertheless.
func TestStoreFailsAtRandom(t *testing.T) {
	refused, accepted := 0, 0
	for seed := range uint64(scale(60, 3000)) {
		synctest.Test(t, func(t *testing.T) {
			r := &randomChanges{t: t, random: rand.New(rand.NewPCG(seed, 1)), store: newUnreliableStore()}
			r.run()
			refused, accepted = refused+r.refused, accepted+r.accepted
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
	if t.Logf("%d changes accepted, %d refused", accepted, refused); accepted < 100 || refused < 100 {
		t.Error("want 100 of each or more")
	}
}

type randomChanges struct {
	t      *testing.T
	random *rand.Rand
	store  *unreliableStore
	client *party
	ids    int

	refused, accepted int
	staged            string
	deployments       []string
}

// request makes a request and reports whether it was successful.
func (r *randomChanges) request(request func(id string) zeekapi.Message) bool {
	r.t.Helper()
	r.ids++
	msg := request(fmt.Sprint("r", r.ids))
	r.client.send(r.client.dialect.Topics.Controller, msg)
	for {
		answer, ok := r.client.receive()
		if !ok {
			r.t.Fatal("no response")
		}
		if request, results := zeekapi.ResponseOf(answer); request != nil && answer.RequestID() == msg.RequestID() {
			if results[len(results)-1].Success {
				r.accepted++
				return true
			}
			r.refused++
			return false
		}
	}
}

func (r *randomChanges) run() {
	n := runOn(r.t, r.store)
	agents := map[string]*party{"a": n.agent(modern, "a"), "b": n.agent(modern, "b")}
	modernClient, ourClient := n.client(modern), n.client(ours)
	for range 40 {
		time.Sleep(100 * time.Millisecond)
		switch r.random.IntN(12) {
		case 0:
			r.store.change(func() {
				r.store.failAt, r.store.failures = r.store.saves+1+r.random.IntN(3), r.random.IntN(3)
				r.store.after = r.random.IntN(2) == 0
			})
		case 1, 2:
			r.store.change(func() {
				r.store.scarce = nil
				if r.random.IntN(5) == 0 {
					r.store.scarce = errDisk
				}
			})
		case 3:
			time.Sleep(time.Duration(r.random.IntN(5000)) * time.Millisecond)
		case 4:
			name := []string{"a", "b"}[r.random.IntN(2)]
			agents[name].Close()
			agents[name] = n.agent(modern, name)
		case 5, 6:
			name, in := []string{"a", "b"}[r.random.IntN(2)], r.random.IntN(2) == 0
			r.client = ourClient
			drained := r.request(func(id string) zeekapi.Message {
				return zeekapi.DrainRequest{ReqID: zeekapi.ReqID{ID: id}, Instance: name, Drain: in}
			})
			if stored := r.store.stored(); drained && slices.Contains(stored.Drained, name) != in {
				r.t.Errorf("draining %s %t was acknowledged, stored is %v", name, in, stored.Drained)
			}
		case 7, 8, 9:
			id := fmt.Sprint("c", r.ids)
			r.client = modernClient
			if r.request(func(r string) zeekapi.Message { return stage(r, config(id, "a", "b")) }) {
				r.staged = id
			}
		default:
			r.client = modernClient
			if r.request(deploy) {
				history := r.store.stored().History
				last := history[len(history)-1]
				if last.Config != r.staged || last.Outcome != zeekapi.OutcomeDeployed {
					r.t.Errorf("the deployment of %s was acknowledged, stored is %+v", r.staged, last.Deployment)
				}
				r.deployments = append(r.deployments, r.staged)
			}
		}
		r.check()
	}
	r.store.change(func() { r.store.scarce, r.store.failAt, r.store.failures = nil, 0, 0 })
	time.Sleep(time.Minute)
	r.check()
	for _, p := range r.store.stored().History {
		if p.Outcome == zeekapi.OutcomePending {
			r.t.Errorf("a deployment never ends: %+v", p.Deployment)
		}
	}
}

// check compares what is stored with what was acknowledged.
func (r *randomChanges) check() {
	r.t.Helper()
	stored := r.store.stored()
	var untrue bool
	r.store.change(func() { untrue = r.store.untrue })
	if got := stored.Configs[controller.Staged].ID; got != r.staged && !untrue {
		r.t.Errorf("staged is %q, acknowledged was %q", got, r.staged)
	}
	for _, id := range r.deployments {
		if !slices.ContainsFunc(stored.History, func(p controller.Past) bool {
			return p.Config == id && p.Outcome == zeekapi.OutcomeDeployed
		}) {
			r.t.Errorf("the deployment of %s was acknowledged and is lost", id)
		}
	}
	for i, e := range stored.Events {
		if i > 0 && e.Number != stored.Events[i-1].Number+1 {
			r.t.Errorf("event %d follows %d", e.Number, stored.Events[i-1].Number)
		}
	}
}

// A rolling restart pauses while its progress cannot be stored, both before it restarts
// a node and after that.
func TestRollingRestartPausesWithoutStorage(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	running := func(id, node string, pid int64) zeekapi.Message {
		return zeekapi.AgentGetNodesResponse{ReqID: reqID(id), Result: zeekapi.Result{Success: true, Data: mustMarshal([]zeekapi.NodeStatus{
			{Node: node, State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker, PID: pid},
		})}}
	}
	full := controller.StorageChanged{Why: "no space left on device"}
	var j zeekapi.Job
	_, described := b.ask(zeekapi.RollingRestartRequest{ReqID: reqID("job")}, &j)
	want(t, "outputs", []string{"to a: AgentGetNodesRequest #2"}, described)
	b.do(full)
	b.agent(peers["a"], running("#2", "wa", 1))
	b.client(zeekapi.CancelJobRequest{ReqID: reqID("r1")}, "answer CancelJobResponse r1 [F the controller cannot store changes now: no space left on device]")
	b.do(controller.StorageChanged{})
	b.tick("to a: AgentGetNodesRequest #4")
	b.agent(peers["a"], running("#4", "wa", 1), "to a: AgentRestartRequest #6 of wa")
	b.do(full)
	b.agent(peers["a"], zeekapi.AgentRestartResponse{ReqID: reqID("#6")}, "to a: AgentGetNodesRequest #8")
	b.agent(peers["a"], running("#8", "wa", 2))
	b.tick()
	b.do(controller.StorageChanged{}, "to b: AgentGetNodesRequest #10")
}
