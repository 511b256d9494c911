package controller_test

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// TestSimulation runs a controller with agents and clients over a network that
// loses, delays, reorders and repeats messages. Agents and the controller are
// restarted, the controller also in the middle of a step. With some seeds the clock is
// set, forward and back by up to ten years. A machine counts time by the monotonic clock
// of its process, so a step moves all times that are stored or that agents send, relative
// to those that the machine gets. The invariants of
// simulation_checks_test.go must hold.
func TestSimulation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ agents, first, seeds, whenLong int }{
		{1, 0, 200, 10_000},
		{4, 0, 300, 20_000},
		{100, 0, 8, 1_000},
		{10_000, 0, 1, 20},
	} {
		t.Run(fmt.Sprint(tt.agents), func(t *testing.T) {
			stops := 0
			t.Parallel()
			if tt.agents == 10_000 && !*long && (testing.Short() || race) {
				t.Skip("takes half a minute with the race detector, and has a single goroutine")
			}
			steps, answers, refusals, replaced := 0, 0, 0, 0
			outcomes, jobs := make(map[zeekapi.Outcome]int), make(map[string]int)
			for seed := range max(1, scale(tt.seeds, tt.whenLong)) {
				s := newSimulation(uint64(tt.first+seed), tt.agents)
				s.run()
				if s.err != nil {
					t.Fatalf("seed %d: %v", tt.first+seed, s.err)
				}
				steps, answers = steps+s.steps, answers+s.answers
				stops += s.stops
				refusals, replaced = refusals+s.refusals, replaced+s.impostors.replaced
				for o, n := range s.outcomes {
					outcomes[o] += n
				}
				for o, n := range s.jobs {
					jobs[o] += n
				}
			}
			t.Logf("%d steps, %d responses, deployments %v, jobs %v, %d refused and %d replaced agents", steps, answers, outcomes, jobs, refusals, replaced)
			if tt.agents < 100 && stops == 0 {
				t.Error("no node was stopped or started")
			}
			if tt.agents < 100 && (refusals == 0 || replaced == 0) {
				t.Error("no impostor met an agent that answers, or one that does not")
			}
		})
	}
}

type simulation struct {
	random *rand.Rand
	now    time.Time
	queue  events
	count  int
	calm   bool // no more faults
	jumps  bool // the clocks of machines are set
	err    error

	steps, answers int
	stops          int // nodes that were stopped or started successfully
	refusals       int // of our agents, as rivals of another one
	outcomes       map[zeekapi.Outcome]int

	machine *controller.Machine
	life    int // starts of the controller
	crashed bool
	state   controller.State
	staged  map[string]zeekapi.Configuration // every configuration of the run
	ids     int

	agents  []*simAgent
	byName  map[string]*simAgent
	peers   map[uuid.UUID]bool                   // connected to the controller
	welcome map[string]uuid.UUID                 // peers that got a welcome request, by its ID
	layouts map[uuid.UUID][]zeekapi.PackedLayout // the last ones sent to each connected peer
	greeted map[uuid.UUID]bool                   // peers that responded to a welcome request
	ran     map[string]map[string]bool           // configurations that agents ran, by instance
	pending map[string]time.Time                 // deadlines of requests

	settings controller.Settings

	targetBefore string // the target when the last deployment began

	impostors impostors

	acknowledged string // the last configuration that was reported as staged

	resumed uint64 // number of the deployment of an earlier life that continues, 0 for none

	processes map[string]int64 // of nodes when the last job began
	jobs      map[string]int   // outcomes of jobs
}

type simAgent struct {
	name      string
	number    int
	peer      broker.Peer
	up        bool                 // connected
	ours      bool                 // supports status requests
	keeps     bool                 // its configuration when it restarts
	running   string               // ID of the configuration
	instances []zeekapi.Instance   // of the configuration, or
	layout    zeekapi.PackedLayout // of the configuration
	former    zeekapi.PackedLayout // of the configuration before
	sites     map[string]uint64    // bytes that it has of each site; siteSize for all
	passed    map[string]bool      // whether it passes the check of a configuration
	checked   map[string]uuid.UUID // the process that last checked a configuration
	used      []uint16             // ports that other programs use on its machine
	stopped   bool                 // it was told to run the configuration without its node
	pid       int64                // of its node; another one after each start
	told      int                  // number of the last accepted message that changed the configuration
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newSimulation(seed uint64, agents int) *simulation {
	s := &simulation{
		random:  rand.New(rand.NewPCG(seed, 1)),
		now:     testStart,
		state:   controller.State{}.Clone(),
		staged:  make(map[string]zeekapi.Configuration),
		byName:  make(map[string]*simAgent),
		ran:     make(map[string]map[string]bool),
		pending: make(map[string]time.Time),

		outcomes: make(map[zeekapi.Outcome]int),
		jobs:     make(map[string]int),
		settings: controller.DefaultSettings(),
		jumps:    seed%3 == 2,
	}
	s.settings.StartLimit = 20 * time.Second // a lost response is awaited as long as that
	if seed%2 == 1 {
		s.settings.StatusInterval = 20 * time.Second
	}
	for i := range agents {
		a := &simAgent{name: fmt.Sprintf("%05d", i), number: i, ours: s.chance(0.5), keeps: s.chance(0.3), sites: make(map[string]uint64), passed: make(map[string]bool), checked: make(map[string]uuid.UUID)}
		for port := range uint16(4) {
			if s.chance(0.2) {
				a.used = append(a.used, 2200+port, 9000+port)
			}
		}
		slices.Sort(a.used)
		s.agents = append(s.agents, a)
		s.byName[a.name] = a
		s.ran[a.name] = make(map[string]bool)
		s.after(s.delay(), func() { s.boot(a) })
		s.after(s.delay(), func() { s.repeatHello(a) })
	}
	if seed%5 == 4 {
		s.after(0, func() { s.measure(0) })
	}
	s.startController()
	return s
}

// measure makes a client ask for measurements and scripts from time to time.
func (s *simulation) measure(number int) {
	s.ask(zeekapi.FiguresRequest{ReqID: reqID(fmt.Sprintf("figures-%d", number)), MaxAge: time.Second})
	s.ask(zeekapi.ScriptsRequest{ReqID: reqID(fmt.Sprintf("scripts-%d", number)), All: s.chance(0.5)})
	if len(s.agents) <= 100 {
		for i := range 4 { // they share questions
			s.ask(zeekapi.StatusRequest{ReqID: reqID(fmt.Sprintf("status-%d-%d", number, i))})
			s.ask(getNodes(fmt.Sprintf("nodes-%d-%d", number, i)))
		}
	}
	if !s.calm {
		s.after(time.Duration(s.random.Int64N(int64(10*time.Second))), func() { s.measure(number + 1) })
	}
}

func (s *simulation) run() {
	faults, calm, pause := 2*time.Minute, 3*time.Minute, 4*time.Second
	if len(s.agents) > 1000 {
		faults, calm, pause = 20*time.Second, 90*time.Second, 500*time.Millisecond
	}
	for at := time.Duration(0); at < faults; at += time.Duration(s.random.Int64N(int64(pause))) {
		s.after(at, s.injectFault)
	}
	s.after(faults, func() {
		s.calm = true
		s.expose()
		for _, a := range s.agents {
			// After the last message has arrived.
			s.after(time.Minute+s.delay(), func() { s.restart(a) })
		}
	})
	s.after(faults+calm-12*time.Second, func() {
		s.checkEnd()
		var names []string
		for _, a := range s.agents {
			names = append(names, a.name)
		}
		last := config("last", names...)
		s.staged[last.ID] = last
		s.ask(stage("last-stage", last))
		s.after(time.Second, func() { s.ask(deploy("last-deploy")) })
	})
	end := s.now.Add(faults + calm)
	for s.err == nil && s.now.Before(end) {
		deadline, ok := s.machine.Deadline()
		if len(s.queue) > 0 && (!ok || !deadline.Before(s.queue[0].at)) {
			ev := heap.Pop(&s.queue).(event)
			s.now = ev.at
			ev.do()
		} else {
			s.now = deadline
			s.step(controller.Tick{}, "")
		}
	}
	s.checkAll()
	s.checkEnd()
	s.checkLast("last")
}

// after calls do after d.
func (s *simulation) after(d time.Duration, do func()) {
	s.count++
	heap.Push(&s.queue, event{s.now.Add(d), s.count, do})
}

// delay returns a random transit time of a message.
func (s *simulation) delay() time.Duration {
	if s.chance(0.05) && !s.calm {
		return time.Duration(s.random.Int64N(int64(15 * time.Second)))
	}
	return time.Duration(s.random.Int64N(int64(200 * time.Millisecond)))
}

func (s *simulation) chance(p float64) bool { return s.random.Float64() < p }

// deliver delivers a message once, twice or not at all.
func (s *simulation) deliver(do func()) {
	copies := 1
	switch {
	case s.calm:
	case s.chance(0.05):
		copies = 0
	case s.chance(0.05):
		copies = 2
	}
	for range copies {
		s.after(s.delay(), do)
	}
}

// startController starts the controller with the stored state.
func (s *simulation) startController() {
	s.life++
	s.crashed = false
	s.peers, s.layouts = make(map[uuid.UUID]bool), make(map[uuid.UUID][]zeekapi.PackedLayout)
	s.welcome = make(map[string]uuid.UUID)
	s.greeted = make(map[uuid.UUID]bool)
	s.impostors.reset()
	clear(s.pending)
	s.state.Shift(s.clockStep())
	if id := s.state.Configs[controller.Staged].ID; id != s.acknowledged && !s.crashedWhileStaging(id) {
		s.failf("%s was acknowledged as staged, but %q is staged", s.acknowledged, id)
	}
	s.resumed = 0
	for _, p := range s.state.History {
		if p.Outcome == zeekapi.OutcomePending && p.Commitment != nil {
			s.resumed = p.Number
		}
	}
	s.machine = newMachine(s.settings, s.state.Clone(), func() string {
		s.ids++
		return fmt.Sprintf("#%d", s.ids)
	}, zerolog.Nop())
	s.perform(s.machine.Start(s.now))
	for _, a := range s.agents {
		if a.up {
			s.connect(a, a.peer)
		}
	}
}

// clockStep returns the difference of two clocks, which is zero with most seeds.
func (s *simulation) clockStep() time.Duration {
	if !s.jumps {
		return 0
	}
	const years = 10 * 365 * 24 * time.Hour
	return time.Duration(s.random.Int64N(int64(2*years))) - years
}

// crashedWhileStaging reports whether id is a known configuration, and records it as
// the staged one. Its response may be lost when the controller was killed.
func (s *simulation) crashedWhileStaging(id string) bool {
	_, known := s.staged[id]
	s.acknowledged = id
	return known
}

// step passes an input to the machine. The name of the agent is empty if the input
// comes from another source.
func (s *simulation) step(in controller.Input, agent string) {
	if s.err != nil {
		return
	}
	s.steps++
	outputs := s.machine.Step(s.now, in)
	if !s.calm && s.chance(0.002*min(1, 20/float64(len(s.agents)))) {
		s.crash(outputs)
		return
	}
	s.perform(outputs)
	s.check(agent)
}

// crash kills the controller before it stores changes, or after it has performed
// only some of the other outputs.
func (s *simulation) crash(outputs []controller.Output) {
	if s.chance(0.7) {
		s.store(outputs)
		some := outputs[:s.random.IntN(len(outputs)+1)]
		s.send(some)
	}
	s.startController()
}

func (s *simulation) perform(outputs []controller.Output) {
	s.store(outputs)
	s.send(outputs)
}

func (s *simulation) store(outputs []controller.Output) {
	for _, o := range outputs {
		if c, ok := o.(controller.Change); ok {
			s.checkChange(c)
			s.state.Apply(c)
		}
	}
}

func (s *simulation) send(outputs []controller.Output) {
	for _, o := range outputs {
		switch o := o.(type) {
		case controller.ToClients:
			s.answered(o.Message)
		case controller.Dial:
			s.deliver(func() { s.dialed(o.Address) })
		case controller.Hangup:
			s.hangUp(o.Address)
		case controller.ToAgents:
			s.supply(o)
		case controller.ToAgent:
			s.checkToAgent(o)
			if msg, ok := o.Message.(zeekapi.AgentWelcomeRequest); ok {
				s.welcome[msg.ID] = o.Peer
				s.impostors.question(o.Peer, msg.ID, s.now)
			}
			if i := s.impostors.byPeer[o.Peer]; i != nil {
				s.deliver(func() { s.toImpostor(i, o) })
			} else if a := s.byName[o.Instance]; a != nil {
				s.count++
				number := s.count
				named, ok := s.named(a, o)
				if !ok {
					s.failf("%s is to use a layout that it does not have", o.Instance)
				}
				s.deliver(func() { s.toAgent(a, o, number, named) })
			}
		}
	}
}

// Agents of the simulation.

type source struct{ *rand.Rand }

func (r source) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

func (s *simulation) boot(a *simAgent) {
	addr := binary.BigEndian.AppendUint32(nil, 10<<24|uint32(a.number))
	if s.chance(0.05) {
		addr[1] = byte(s.random.IntN(256)) // from another network
	}
	ip, _ := netip.AddrFromSlice(addr)
	a.peer = broker.Peer{ID: uuid.Must(uuid.NewRandomFromReader(source{s.random})), Addr: netip.AddrPortFrom(ip, 40000)}
	a.up = true
	s.connect(a, a.peer)
}

func (s *simulation) connect(a *simAgent, p broker.Peer) {
	life := s.life
	s.after(s.delay(), func() {
		if s.life == life && a.up && a.peer == p {
			s.peers[p.ID] = true
			s.step(controller.PeerAdded{Peer: p}, "")
			s.sayHello(a)
		}
	})
}

func (s *simulation) sayHello(a *simAgent) {
	s.fromAgent(a, a.peer, zeekapi.AgentHello{Instance: a.name, APIVersion: 1})
	if a.ours {
		description := zeekapi.AgentDescription{
			Instance: a.name, LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision,
			Agent: zeekapi.Process{Name: a.name, Started: s.now.Add(s.clockStep())},
		}
		if a.layout != "" {
			description.Layout = a.layout.ID()
		}
		s.fromAgent(a, a.peer, description)
	}
}

func (s *simulation) repeatHello(a *simAgent) {
	if a.up {
		s.sayHello(a)
	}
	s.after(20*time.Second, func() { s.repeatHello(a) })
}

// fromAgent delivers a message of an agent if its peer is still connected.
func (s *simulation) fromAgent(a *simAgent, p broker.Peer, msg zeekapi.Message) {
	life := s.life
	s.deliver(func() {
		if s.life != life || !s.peers[p.ID] {
			return
		}
		if msg, ok := msg.(zeekapi.AgentWelcomeResponse); ok && s.welcome[msg.ID] == p.ID {
			s.greeted[p.ID] = true
			s.impostors.answer(p.ID, msg.ID)
		}
		s.step(controller.FromAgent{Peer: p, Message: msg}, a.name)
	})
}

// restart replaces the process of an agent. The controller may learn of its end
// after the new one has started.
func (s *simulation) restart(a *simAgent) {
	s.lose(a.peer)
	a.up, a.told = false, 0
	if !a.keeps {
		a.running, a.layout = "", ""
	}
	a.former = ""
	s.after(s.delay(), func() { s.boot(a) })
}

func (s *simulation) lose(p broker.Peer) {
	life := s.life
	s.after(s.delay(), func() {
		if s.life == life && s.peers[p.ID] {
			delete(s.peers, p.ID)
			delete(s.layouts, p.ID)
			delete(s.greeted, p.ID)
			delete(s.impostors.byPeer, p.ID)
			s.step(controller.PeerLost{Peer: p}, "")
		}
	})
}

func (s *simulation) address(a *simAgent) string {
	return fmt.Sprintf("11.0.%d.%d:2151", a.number>>8, a.number&0xff)
}

func (s *simulation) at(address string) *simAgent {
	ip := netip.MustParseAddrPort(address).Addr().As4()
	if a := s.agents[int(ip[2])<<8|int(ip[3])]; a.up {
		return a
	}
	return nil
}

// dialed connects the controller to an agent, in addition to the connection of the
// agent.
func (s *simulation) dialed(address string) {
	if a := s.at(address); a != nil {
		s.sayHello(a)
	}
}

func (s *simulation) hangUp(address string) {
	if a := s.at(address); a != nil {
		p := a.peer
		delete(s.impostors.holders, a.name) // the controller itself forgets the agent
		s.lose(p)
		s.after(time.Second, func() { s.connect(a, p) })
	}
}

// toAgent delivers a message to an agent. The agent ignores messages that change its
// configuration if they were sent to another process or before the last accepted one. The
// layout is the one that the message names.
func (s *simulation) toAgent(a *simAgent, o controller.ToAgent, number int, named zeekapi.PackedLayout) {
	if !a.up || !s.calm && s.chance(0.05) {
		return
	}
	answer := answerTo(o)
	switch msg := o.Message.(type) {
	case zeekapi.AgentRefusal:
		s.refusals++
		return
	case zeekapi.AgentWelcomeRequest:
		if !s.calm && s.chance(0.02) {
			answer = zeekapi.AgentWelcomeResponse{ReqID: msg.ReqID, Result: zeekapi.Result{Instance: a.name}}
		}
	case zeekapi.AgentStandbyRequest, zeekapi.AgentDeployRequest, zeekapi.AgentDeployNodesRequest:
		if o.Peer != a.peer.ID || number < a.told {
			return
		}
		a.told = number
		a.pid++
		a.run(o.Message, named)
		s.ran[a.name][a.running] = true
		if msg, ok := o.Message.(zeekapi.AgentDeployNodesRequest); ok {
			answer = s.deployedNodes(a, msg)
		}
	case zeekapi.AgentRestartRequest:
		a.pid++
	case zeekapi.AgentCheckRestartRequest:
		answer = zeekapi.AgentCheckRestartResponse{ReqID: msg.ReqID}
	case zeekapi.AgentCheckRequest:
		answer = s.checkedNodes(a, msg)
	case zeekapi.AgentSiteRequest:
		answer = s.storedPart(a, o, msg)
	case zeekapi.AgentGetNodesRequest:
		answer = zeekapi.AgentGetNodesResponse{ReqID: msg.ReqID, Result: zeekapi.Result{Success: true, Data: mustMarshal(a.nodes())}}
	case zeekapi.AgentStatusRequest:
		if !a.ours {
			life := s.life
			s.after(0, func() {
				if s.life == life {
					s.step(controller.Unsupported{ToAgent: o}, "")
				}
			})
			return
		}
		var nodes []zeekapi.NodeDetail
		for _, n := range a.nodes() {
			nodes = append(nodes, zeekapi.NodeDetail{Status: n, Since: s.now.Add(s.clockStep())})
		}
		answer = zeekapi.AgentStatusResponse{ReqID: msg.ReqID, Result: zeekapi.Result{Success: true, Data: mustMarshal(nodes)}}
	case zeekapi.AgentFiguresRequest:
		figures := zeekapi.InstanceFigures{Instance: a.name}
		for _, n := range a.nodes() {
			figures.Nodes = append(figures.Nodes, zeekapi.NodeDetail{Status: n})
		}
		answer = zeekapi.AgentFiguresResponse{ReqID: msg.ReqID, Result: zeekapi.Result{Success: true, Data: mustMarshal(figures)}}
	case zeekapi.AgentScriptsRequest:
		loaded := success(a.name, "w"+a.name)
		loaded.Data = mustMarshal(zeekapi.NodeScripts{})
		answer = zeekapi.AgentScriptsResponse{ReqID: msg.ReqID, Results: []zeekapi.Result{loaded}}
	}
	if !s.calm && s.chance(0.02) {
		answer = agentDeployed(o.Message.RequestID()) // a response of the wrong type
	}
	s.fromAgent(a, a.peer, answer)
	if !s.calm && s.chance(0.1) {
		other := s.anyAgent()
		s.fromAgent(other, other.peer, answer) // a response from the wrong agent
	}
}

// siteSize is the size of all sites, in bytes. Each part has one.
const siteSize = 3

// checkedNodes returns the response to a check, which may fail.
func (s *simulation) checkedNodes(a *simAgent, msg zeekapi.AgentCheckRequest) zeekapi.Message {
	if msg.Site != "" && a.sites[msg.Site] < siteSize {
		s.failf("%s is to check %s, but lacks its site", a.name, msg.Config)
	}
	a.checked[msg.Config] = a.peer.ID
	passed, known := a.passed[msg.Config]
	if !known {
		passed = s.calm || !s.chance(0.1)
		a.passed[msg.Config] = passed
	}
	var problems []zeekapi.Result
	if !passed && len(msg.Nodes) > 0 {
		problems = append(problems, problem("w"+a.name, "not here"))
	}
	if !s.portsAreFree(a, msg.Nodes) {
		problems = append(problems, problem("w"+a.name, "port in use"), portsInUse(a.used...))
	}
	if len(problems) > 0 {
		return checked(msg.ID, problems...)
	}
	return checked(msg.ID)
}

// portsAreFree reports whether no other program uses a port of the nodes of an agent.
func (s *simulation) portsAreFree(a *simAgent, nodes []zeekapi.Node) bool {
	return !slices.ContainsFunc(nodes, func(n zeekapi.Node) bool {
		return n.Instance == a.name && (slices.Contains(a.used, n.Port.Number) || slices.Contains(a.used, n.MetricsPort.Number))
	})
}

// deployedNodes returns the response to a deployment, in which a node may fail.
func (s *simulation) deployedNodes(a *simAgent, msg zeekapi.AgentDeployNodesRequest) zeekapi.Message {
	if msg.Site != "" && a.sites[msg.Site] < siteSize {
		s.failf("%s is to run %s, but lacks its site", a.name, msg.Config)
	}
	result := success(a.name, "w"+a.name)
	if len(msg.Nodes) == 0 {
		result = success(a.name, "")
	} else if !s.calm && s.chance(0.1) {
		result = problem("w"+a.name, "died")
	}
	return agentDeployed(msg.ID, result)
}

// storedPart returns the response to a part of a site, which may not be stored.
func (s *simulation) storedPart(a *simAgent, o controller.ToAgent, msg zeekapi.AgentSiteRequest) zeekapi.Message {
	if !s.calm && s.chance(0.05) {
		return zeekapi.AgentSiteResponse{ReqID: msg.ReqID, Result: zeekapi.Failure(msg.ID, "disk full")}
	}
	if o.Part && msg.Offset == a.sites[msg.Site] && msg.Offset < siteSize {
		a.sites[msg.Site]++
	}
	have := a.sites[msg.Site]
	return zeekapi.AgentSiteResponse{ReqID: msg.ReqID, Result: zeekapi.Result{
		Success: true, Data: mustMarshal(zeekapi.SiteProgress{Have: have, Complete: have == siteSize}),
	}}
}

// run performs a request as Zeek's agents do, or as agents of this module do if only
// they get the request.
func (a *simAgent) run(msg zeekapi.Message, named zeekapi.PackedLayout) {
	if a.layout != "" {
		a.former = a.layout
	}
	switch msg := msg.(type) {
	case zeekapi.AgentStandbyRequest:
		a.running, a.instances, a.layout, a.stopped = "", nil, "", false
	case zeekapi.AgentDeployRequest:
		if msg.Force || msg.Config.ID != a.running || a.stopped { // only agents of this module leave out nodes, and they see the difference
			a.running, a.instances, a.layout, a.stopped = msg.Config.ID, msg.Config.Instances, "", false
		}
	case zeekapi.AgentDeployNodesRequest:
		a.running, a.instances, a.layout, a.stopped = msg.Config, nil, msg.Layout, len(msg.Nodes) == 0
		if msg.LayoutID != "" {
			a.layout = named
		}
	}
}

// keptLayouts is the number of layouts that an agent keeps besides that of its assignment.
const keptLayouts = 3

// supply sends a layout to agents. It arrives before the messages that are sent later, and
// a peer that loses it is lost itself.
func (s *simulation) supply(o controller.ToAgents) {
	sent := o.Message.(zeekapi.AgentLayout).Layout
	for _, peer := range o.Peers {
		kept := slices.DeleteFunc(s.layouts[peer], func(l zeekapi.PackedLayout) bool { return l == sent })
		s.layouts[peer] = append(kept, sent)[max(0, len(kept)+1-keptLayouts):]
	}
}

// named returns the layout that a message names, "" if it names none. The result is false if
// the agent does not have it.
func (s *simulation) named(a *simAgent, o controller.ToAgent) (zeekapi.PackedLayout, bool) {
	id := layoutIn(o.Message)
	for _, l := range append(slices.Clone(s.layouts[o.Peer]), a.layout, a.former) {
		if l != "" && l.ID() == id {
			return l, true
		}
	}
	return "", id == ""
}

// layoutOf returns the layout of c.
func layoutOf(c zeekapi.Configuration) zeekapi.PackedLayout {
	members, err := c.Members()
	if err != nil {
		panic(err)
	}
	layout, err := zeekapi.NewLayout(members)
	if err != nil {
		panic(err)
	}
	return layout.Pack()
}

func (a *simAgent) nodes() (nodes []zeekapi.NodeStatus) {
	if i := a.number; a.running != "" && !a.stopped {
		nodes = append(nodes, zeekapi.NodeStatus{
			Node: fmt.Sprintf("w%05d", i), State: zeekapi.StateRunning, PID: 1 + a.pid,
			ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker,
		})
	}
	return nodes
}

func (s *simulation) anyAgent() *simAgent { return s.agents[s.random.IntN(len(s.agents))] }
