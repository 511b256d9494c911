package agent

import (
	"maps"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// fleet runs a Machine with a simulated clock and simulated nodes. Each node is
// represented by its scheduled inputs.
type fleet struct {
	t       tb
	machine *Machine
	started bool
	now     time.Time

	// Properties of nodes: the time from start to hello, the exit of a node
	// that dies instead, whether a node sends no hello, and the time from stop
	// to exit.
	startUp    time.Duration
	dies       func(launch.Node) *launch.Exited
	silent     func(launch.Node) bool
	stopTime   time.Duration
	refuses    func(launch.Node) error // result of a check
	prints     zeekapi.NodeOutputs     // outputs of a failed check
	portsInUse []uint16                // of failed checks
	answers    func(zeekapi.NodeDispatchRequest) []zeekapi.NodeDispatchResponse
	traffic    map[string]zeekapi.Traffic // of interfaces
	listTime   time.Duration              // time to list scripts

	checkTime time.Duration
	trialTime time.Duration       // duration of trials
	scanTime  time.Duration       // negative: there is no report
	edited    map[string][]string // changed scripts of running nodes
	saving    error               // what becomes of it

	pids    int64
	pid     map[string]int64
	running map[string]launch.Node
	ending  map[string]bool // nodes that are being stopped
	since   map[string]time.Time
	known   bool                   // an assignment has been stored
	kept    []launch.Node          // stored with it
	history map[string]NodeHistory // stored last
	term    Term                   // stored last
	rules
	due []due

	peer      broker.Peer // that asks
	linked    uint64      // packets at the interface, see receive
	processed [2]uint64   // packets of workers

	performs func(Output) bool // reports whether to perform an output; nil: always

	out []Output // since the last call of take
}

// tb is a *testing.T or a *rapid.T.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

type due struct {
	at    time.Time
	input Input
}

var epoch = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func newFleet(t tb, self Settings, a *Assignment) *fleet {
	t.Helper()
	return startFleet(t, self, State{Known: a != nil, Assignment: a})
}

// startFleet returns a fleet whose agent continues from a state.
func startFleet(t tb, self Settings, state State) *fleet {
	t.Helper()
	m, err := NewMachine(self, state)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{
		t: t, machine: m, now: epoch, startUp: 200 * time.Millisecond, stopTime: 100 * time.Millisecond,
		running: make(map[string]launch.Node), ending: make(map[string]bool),
		pid: make(map[string]int64), since: make(map[string]time.Time),
		known: state.Known, history: state.Nodes, term: state.Term,
	}
	f.rules = newRules(state)
	f.hangs = self.RestartHung
	for _, r := range state.Running {
		f.running[r.Node.Name], f.pid[r.Node.Name], f.since[r.Node.Name] = r.Node, r.PID, r.Started
	}
	return f
}

// assigned returns the assignment of instance i in a configuration.
func assigned(config zeekapi.Configuration) *Assignment {
	a, err := assign(config, "i")
	if err != nil {
		panic(err)
	}
	return a
}

// step passes an input to the machine and performs the outputs.
func (f *fleet) step(in Input) {
	f.t.Helper()
	if !f.started { // after the test has set the properties of nodes
		f.started = true
		f.perform(f.machine.Start(f.now))
	}
	f.rules.take(in)
	f.perform(f.machine.Step(f.now, in))
}

// perform performs outputs of the machine.
func (f *fleet) perform(outputs []Output) {
	f.t.Helper()
	if err := f.machine.Check(); err != nil {
		f.t.Errorf("after %s: %v", f.now.Sub(epoch), err)
	}
	var then []Input
	for _, o := range outputs {
		f.out = append(f.out, o)
		if f.performs != nil && !f.performs(o) {
			continue
		}
		if err := f.rules.check(o, f.running); err != nil {
			f.t.Errorf("after %s: %v", f.now.Sub(epoch), err)
		}
		switch o := o.(type) {
		case Scan:
			if f.scanTime > 0 {
				f.after(f.scanTime, f.report())
			} else if f.scanTime == 0 {
				then = append(then, Launched{f.report()})
			}
		case Check:
			then = append(then, f.check(o)...)
		case Persist:
			f.known, f.kept = true, o.Kept
			then = append(then, Persisted{f.saving})
		case StoreTerm:
			if f.saving == nil {
				f.term = o.Term
			}
			then = append(then, TermStored{f.saving})
		case Remember:
			f.history = maps.Clone(o.Nodes)
		case Start:
			f.start(o.Node)
		case Stop:
			if _, ok := f.running[o.Node]; !ok {
				f.t.Errorf("%s is stopped but is not running", o.Node)
			}
			if f.ending[o.Node] {
				break // by an earlier agent
			}
			f.ending[o.Node] = true
			f.after(f.stopTime, launch.Exited{Node: o.Node})
		case ReadInterfaces:
			then = append(then, InterfacesRead{f.traffic})
		case ListScripts:
			listed := ScriptsListed{ReqID: o.ReqID}
			for _, name := range o.Nodes {
				listed.Results = append(listed.Results, zeekapi.Result{ReqID: o.ReqID, Success: true, Instance: "i", Node: name})
			}
			f.at(f.now.Add(f.listTime), listed)
		case Dispatch:
			if f.answers != nil {
				for _, a := range f.answers(o.Request) {
					f.at(f.now, Received{Message: a})
				}
			}
		}
	}
	for _, in := range then {
		f.step(in)
	}
}

// report returns the launcher's report about changed scripts.
func (f *fleet) report() launch.Edited { return launch.Edited{Nodes: maps.Clone(f.edited)} }

// check plans the results of a check. It returns those that are due at once.
func (f *fleet) check(o Check) (then []Input) {
	takes := f.checkTime
	if o.Trial {
		takes = f.trialTime
	}
	for _, n := range o.Nodes {
		checked := launch.Checked{Node: n, Trial: o.Trial}
		if f.refuses != nil {
			if checked.Err = f.refuses(n); checked.Err != nil {
				checked.Outputs, checked.PortsInUse = f.prints, f.portsInUse
			}
		}
		if takes > 0 {
			f.after(takes, checked)
		} else {
			then = append(then, Launched{checked})
		}
	}
	return then
}

func (f *fleet) start(n launch.Node) {
	f.t.Helper()
	if _, ok := f.running[n.Name]; ok {
		f.t.Errorf("%s is started but is already running", n.Name)
	}
	delete(f.edited, n.Name)
	f.pids++
	f.running[n.Name], f.pid[n.Name], f.since[n.Name] = n, f.pids, f.now
	f.after(0, launch.Started{Node: n.Name, PID: f.pids})
	if f.dies != nil {
		if e := f.dies(n); e != nil {
			f.after(f.startUp, *e)
			return
		}
	}
	if f.silent == nil || !f.silent(n) {
		f.at(f.now.Add(f.startUp), Received{Message: zeekapi.NodeHello{Node: n.Name}})
	}
}

func (f *fleet) after(d time.Duration, ev launch.Event) { f.at(f.now.Add(d), Launched{ev}) }

func (f *fleet) at(t time.Time, in Input) { f.due = append(f.due, due{t, in}) }

// kill replaces the agent by another one, which continues with the stored state and the
// running nodes.
func (f *fleet) kill() {
	f.t.Helper()
	state := State{Known: f.known, Assignment: f.target, Kept: f.kept, Nodes: f.history, Term: f.term}
	for _, name := range slices.Sorted(maps.Keys(f.running)) {
		state.Running = append(state.Running, launch.Running{Node: f.running[name], PID: f.pid[name], Started: f.since[name]})
	}
	m, err := NewMachine(f.machine.settings, state)
	if err != nil {
		f.t.Fatal(err)
	}
	f.machine, f.started = m, false
	f.rules = newRules(state)
	f.due = slices.DeleteFunc(f.due, func(d due) bool { // only nodes that are being stopped continue
		l, ok := d.input.(Launched)
		_, exit := l.Event.(launch.Exited)
		return !ok || !exit
	})
	for _, r := range state.Running {
		if f.silent == nil || !f.silent(r.Node) {
			f.at(f.now.Add(f.startUp), Received{Message: zeekapi.NodeHello{Node: r.Node.Name}})
		}
	}
	f.step(Tick{})
}

// until advances the clock to t and processes the inputs until then.
func (f *fleet) until(t time.Time) {
	f.t.Helper()
	for {
		next := due{t, nil}
		if at, ok := f.machine.Deadline(); ok && !at.After(next.at) {
			next = due{at, Tick{}}
		}
		slices.SortStableFunc(f.due, func(a, b due) int { return a.at.Compare(b.at) })
		if len(f.due) > 0 && !f.due[0].at.After(next.at) {
			next = f.due[0]
			f.due = f.due[1:]
		}
		if next.input == nil {
			f.now = t
			return
		}
		if next.at.After(f.now) {
			f.now = next.at
		}
		if l, ok := next.input.(Launched); ok {
			if e, ok := l.Event.(launch.Exited); ok {
				delete(f.running, e.Node)
				delete(f.edited, e.Node)
				delete(f.ending, e.Node)
				// A dead node sends no hello.
				f.due = slices.DeleteFunc(f.due, func(d due) bool {
					hello, ok := d.input.(Received)
					return ok && hello.Message == zeekapi.Message(zeekapi.NodeHello{Node: e.Node})
				})
			}
		}
		f.step(next.input)
	}
}

func (f *fleet) pass(d time.Duration) {
	f.t.Helper()
	f.until(f.now.Add(d))
}

// ask sends a message without a dialect.
func (f *fleet) ask(m zeekapi.Message) {
	f.t.Helper()
	f.step(Received{Peer: f.peer, Message: m})
}

// take removes and returns the outputs of one type.
func take[O Output](f *fleet) []O {
	var taken []O
	f.out = slices.DeleteFunc(f.out, func(o Output) bool {
		if o, ok := o.(O); ok {
			taken = append(taken, o)
			return true
		}
		return false
	})
	return taken
}

// published removes and returns the published messages of one type.
func published[M zeekapi.Message](f *fleet) []M {
	var taken []M
	f.out = slices.DeleteFunc(f.out, func(o Output) bool {
		if p, ok := o.(Publish); ok {
			if m, ok := p.Message.(M); ok {
				taken = append(taken, m)
				return true
			}
		}
		return false
	})
	return taken
}

// one removes and returns the only published message of a type.
func one[M zeekapi.Message](f *fleet) M {
	f.t.Helper()
	all := published[M](f)
	if len(all) != 1 {
		var none M
		f.t.Fatalf("%d messages %T, want 1: %+v", len(all), none, all)
	}
	return all[0]
}

func started(f *fleet) []string {
	var names []string
	for _, s := range take[Start](f) {
		names = append(names, s.Node.Name)
	}
	return names
}

func stopped(f *fleet) []string {
	var names []string
	for _, s := range take[Stop](f) {
		names = append(names, s.Node)
	}
	return names
}

// statuses requests the statuses of the nodes, without that of the agent.
func (f *fleet) statuses() map[string]zeekapi.NodeStatus {
	f.t.Helper()
	f.ask(zeekapi.AgentGetNodesRequest{ReqID: zeekapi.ReqID{ID: "statuses"}})
	var list []zeekapi.NodeStatus
	if err := record.Unmarshal(one[zeekapi.AgentGetNodesResponse](f).Result.Data, &list); err != nil {
		f.t.Fatal(err)
	}
	byName := make(map[string]zeekapi.NodeStatus)
	for _, s := range list {
		if s.ManagementRole == zeekapi.ManagementNone {
			byName[s.Node] = s
		}
	}
	return byName
}
