package failover

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/zeekwire/zeekwire/zeekapi"
)

var (
	rounds    = flag.Int("failover.rounds", 1, "number of rounds")
	firstSeed = flag.Uint64("failover.seed", 1, "seed of the first round; those of further rounds follow")
	agents    = flag.Int("failover.agents", 5, "number of agents, one of which has a clock that steps")
	only      = flag.String("failover.faults", "", "regular expression of the names of faults; empty: all")
)

// clientCount is the number of clients that deploy at the same time.
const clientCount = 3

// patience limits the time in which everything must work again after a round. It is no
// measurement: a busy machine may take long.
const patience = 3 * time.Minute

// TestFailover runs rounds of faults. It needs etcd.
func TestFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	selected := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !f.available() || !regexp.MustCompile(*only).MatchString(f.name) })
	if len(selected) == 0 {
		t.Fatalf("no fault matches %q", *only)
	}
	if !slowDisks() {
		t.Log("without slow disks: the kernel does not report system calls to the test")
	}
	w := newWorld(t, *agents)
	w.settle(*agents, "initial")
	report := report{worst: make(map[string]time.Duration)}
	for i := range *rounds {
		seed := *firstSeed + uint64(i)
		began := time.Now()
		names := w.round(seed, selected, &report)
		t.Logf("seed %d: %s; %d terms, %s", seed, strings.Join(names, ", "), w.watch.changes(), time.Since(began).Round(time.Second))
		if t.Failed() {
			break
		}
	}
	report.print(t)
}

// report has the results of all rounds.
type report struct {
	takeovers  []time.Duration          // to the first agent that hears of the next leader, see judge
	worst      map[string]time.Duration // take-over, by fault
	late       []string                 // take-overs that took too long
	outages    []time.Duration          // from the fault to the next acknowledged write
	operations int
	unchecked  int
	deployed   int
}

func (r *report) print(t *testing.T) {
	for name, all := range map[string][]time.Duration{"take-over": r.takeovers, "outage": r.outages} {
		if slices.Sort(all); len(all) > 0 {
			t.Logf("%s after loss of the leader, lease %s: median %s, worst %s of %d", name, lease,
				all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond), len(all))
		}
	}
	for _, late := range r.late {
		t.Error(late)
	}
	for _, name := range slices.Sorted(maps.Keys(r.worst)) {
		t.Logf("worst take-over after %q: %s", name, r.worst[name].Round(time.Millisecond))
	}
	t.Logf("%d operations checked, %d acknowledged deployments; %d histories took too long to check", r.operations, r.deployed, r.unchecked)
}

// round runs one round, and returns the names of the faults.
func (w *world) round(seed uint64, faults []fault, rep *report) []string {
	w.t.Helper()
	r := rand.New(rand.NewPCG(seed, 18))
	l := &workload{world: w, round: fmt.Sprint("s", seed), agents: *agents}
	l.history = history{begin: time.Now(), initial: w.registers()}
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for i := range clientCount {
		own := rand.New(rand.NewPCG(seed, uint64(100+i)))
		clients.Go(func() { l.run(ctx, i, own) })
	}
	var names []string
	for range 1 + r.IntN(2) {
		time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
		f := faults[r.IntN(len(faults))]
		names = append(names, f.name)
		w.suffer(f, r, l, rep)
	}
	w.heal()
	stop()
	clients.Wait()
	for _, p := range w.clients {
		p.drop() // requests that are under way would be part of the next round
	}
	last := w.settle(*agents, fmt.Sprintf("s%d-end", seed))
	w.check(l, last, rep)
	return names
}

// suffer injects a fault, and ends it after its time.
func (w *world) suffer(f fault, r *rand.Rand, l *workload, rep *report) {
	leader, known := w.leader()
	if !known {
		leader = r.IntN(members)
	}
	term := w.watch.greatest()
	at := time.Now()
	f.inject(w, r, leader)
	lasts := time.Duration((f.lasts + r.Float64()) * float64(lease))
	for {
		time.Sleep(10 * time.Millisecond)
		struck := f.strikes && known && w.watch.after(term).IsZero()
		if past := time.Since(at); past > lasts && (!struck || past > maxStrike) {
			break
		}
	}
	if f.strikes && known {
		w.judge(f, at, w.watch.after(term), l, rep)
	}
	w.heal()
}

// maxStrike limits the time of a fault that makes another controller lead.
const maxStrike = 3 * lease

// judge checks and records the time of a take-over. It must take place within two leases,
// from the fault or, if etcd elected a leader of its own after that, from that election. Such
// an election gives all leases their full time again, and in addition the election timeout
// of etcd. Writes of an etcd with a slow disk are added. The time in which the machine did not run the test is not counted.
func (w *world) judge(f fault, at, next time.Time, l *workload, rep *report) {
	w.t.Helper()
	until := next
	if next.IsZero() {
		until = time.Now()
	}
	begin, limit := at, 2*lease+f.allows
	if elected, ok := w.observer.election(at.Add(-lease), until); ok {
		limit += electionTimeout
		if elected.After(begin) {
			begin = elected
		}
	}
	stalled := w.observer.stalled(begin, until)
	took := until.Sub(begin) - stalled
	if took > limit {
		rep.late = append(rep.late, fmt.Sprintf("%s, %q: take-over after %s (seen: %t), limit %s; %s after the fault, %s of them without this process, elections of etcd %s",
			l.round, f.name, took, !next.IsZero(), limit, until.Sub(at), stalled, w.observer.since(at)))
	}
	if next.IsZero() {
		return
	}
	rep.takeovers = append(rep.takeovers, took)
	rep.worst[f.name] = max(rep.worst[f.name], took)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ack := range l.acks {
		if ack.After(next) {
			rep.outages = append(rep.outages, ack.Sub(at))
			return
		}
	}
}

// leader returns the number of the controller that leads.
func (w *world) leader() (int, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	v, err := w.visit(ctx, 0)
	if err != nil {
		return 0, false
	}
	defer v.Close()
	all, err := v.SeekLeader(ctx)
	var n int
	leader, ok := all.Leader()
	if err != nil || !all.Leads || !ok {
		return 0, false
	}
	if _, err := fmt.Sscanf(leader.Name, "c%d", &n); err != nil {
		return 0, false
	}
	return n, true
}

// registers returns the contents of the registers.
func (w *world) registers() map[register]string {
	w.t.Helper()
	got := make(map[register]string)
	w.eventually("reading the configurations", func(ctx context.Context, v *visitor) error {
		for _, r := range []register{staged, target} {
			id, ok := v.read(ctx, r)
			if !ok {
				return fmt.Errorf("the %s configuration cannot be read", r)
			}
			got[r] = id
		}
		return nil
	})
	return got
}

// eventually calls do with a client until it succeeds. It fails if that takes too long.
func (w *world) eventually(what string, do func(ctx context.Context, v *visitor) error) {
	w.t.Helper()
	over := time.Now().Add(patience)
	for i := 0; ; i++ {
		err := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			v, err := w.visit(ctx, i)
			if err != nil {
				return err
			}
			defer v.Close()
			return do(ctx, v)
		}()
		if err == nil {
			return
		}
		w.checkProcesses()
		if time.Now().After(over) {
			w.t.Fatalf("%s took too long: %v", what, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// settle waits until everything works again without intervention: all agents are connected, no
// deployment is under way, and a new one succeeds. It returns the history of deployments.
func (w *world) settle(agents int, id string) []zeekapi.Deployment {
	w.t.Helper()
	var all []zeekapi.Deployment
	w.eventually("recovering", func(ctx context.Context, v *visitor) error {
		if _, err := v.SeekLeader(ctx); err != nil {
			return err
		}
		s, err := v.Status(ctx)
		if err != nil {
			return err
		}
		connected := 0
		for _, i := range s.Instances {
			if i.Connected {
				connected++
			}
		}
		switch {
		case connected < agents:
			return fmt.Errorf("%d of %d agents are connected", connected, agents)
		case s.Last != nil && s.Last.Outcome == zeekapi.OutcomePending:
			return fmt.Errorf("deployment %d is pending", s.Last.Number)
		}
		if all, err = v.History(ctx, 0); err != nil {
			return err
		}
		if err := w.deployLast(ctx, v, id, agents); err != nil {
			return err
		}
		if s, err = v.Status(ctx); err != nil {
			return err
		}
		return w.checkStepped(s)
	})
	return all
}

// deployLast deploys a configuration.
func (w *world) deployLast(ctx context.Context, v *visitor, id string, agents int) error {
	if _, err := v.Stage(ctx, configuration(id, agents)); err != nil {
		return err
	}
	d, err := v.DeployConfiguration(ctx, id, zeekapi.DeployOptions{})
	if err == nil && d.Failed {
		err = fmt.Errorf("deployment: %q %+v", d.Errors, d.Nodes)
	}
	return err
}

// check checks what the clients of a round saw. The history of deployments is that at its
// end.
func (w *world) check(l *workload, deployments []zeekapi.Deployment, rep *report) {
	w.t.Helper()
	rep.operations += len(l.history.operations)
	rep.deployed += len(l.deployed)
	outcomes := make(map[string]zeekapi.Outcome)
	for _, d := range deployments {
		outcomes[d.Config] = d.Outcome
	}
	for _, id := range l.deployed[max(0, len(l.deployed)-50):] { // the history has the last 100
		if outcomes[id] != zeekapi.OutcomeDeployed {
			w.t.Errorf("the deployment of %s was acknowledged, and its outcome in the history is %q", id, outcomes[id])
		}
	}
	switch result, info := l.history.check(); result {
	case porcupine.Illegal:
		file := w.t.ArtifactDir() + "/history.html"
		if err := porcupine.VisualizePath(l.history.model(), info, file); err != nil {
			w.t.Error(err)
		}
		w.t.Errorf("seed %s: the history of %d operations is not linearizable, see %s\n%s", l.round, len(l.history.operations), file, l.history.explain(info))
	case porcupine.Unknown:
		rep.unchecked++
	}
}
