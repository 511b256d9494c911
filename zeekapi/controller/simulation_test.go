package controller_test

import (
	"container/heap"
	"fmt"
	"maps"
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
// loses, delays, reorders and repeats messages, while agents and the controller
// are restarted. Whatever happens, the controller must keep its promises.
func TestSimulation(t *testing.T) {
	seeds := 250
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		s := newSimulation(uint64(seed))
		s.run()
		if s.err != nil {
			t.Fatalf("seed %d: %v", seed, s.err)
		}
	}
}

type simulation struct {
	random *rand.Rand
	now    time.Time
	queue  events
	count  int
	calm   bool // no more faults
	err    error

	machine *controller.Machine
	life    int // of the controller
	state   controller.State
	staged  map[string]zeekapi.Configuration // every configuration that there ever was
	ids     int

	agents  []*simAgent
	peers   map[uuid.UUID]bool            // as the controller sees them
	welcome map[string]uuid.UUID          // whom a welcome was for, by ID
	greeted map[string]map[uuid.UUID]bool // who answered a welcome, by instance
	ran     map[string]map[string]bool    // configurations that agents took, by instance
	pending map[string]time.Time          // deadlines of requests
}

type simAgent struct {
	name    string
	peer    broker.Peer
	up      bool   // connected
	running string // ID of the configuration
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

func newSimulation(seed uint64) *simulation {
	s := &simulation{
		random:  rand.New(rand.NewPCG(seed, 1)),
		now:     testStart,
		state:   controller.State{Configs: make(map[controller.Slot]zeekapi.Configuration)},
		staged:  make(map[string]zeekapi.Configuration),
		ran:     make(map[string]map[string]bool),
		pending: make(map[string]time.Time),
	}
	for i := range 2 + s.random.IntN(3) {
		a := &simAgent{name: string(rune('a' + i))}
		s.agents = append(s.agents, a)
		s.ran[a.name] = make(map[string]bool)
		s.after(s.delay(), func() { s.boot(a) })
		s.after(s.delay(), func() { s.repeatHello(a) })
	}
	s.startController()
	return s
}

func (s *simulation) run() {
	const faults, calm = 2 * time.Minute, 2 * time.Minute
	for at := time.Duration(0); at < faults; at += time.Duration(s.random.Int64N(int64(4 * time.Second))) {
		s.after(at, s.mischief)
	}
	s.after(faults, func() {
		s.calm = true
		for _, a := range s.agents {
			// Once the last message is there, whatever it is.
			s.after(time.Minute+s.delay(), func() { s.restart(a) })
		}
	})
	end := s.now.Add(faults + calm)
	for s.err == nil && s.now.Before(end) {
		deadline := s.machine.Deadline()
		if len(s.queue) > 0 && (deadline.IsZero() || !deadline.Before(s.queue[0].at)) {
			ev := heap.Pop(&s.queue).(event)
			s.now = ev.at
			ev.do()
		} else {
			s.now = deadline
			s.step(controller.Tick{})
		}
	}
	s.checkEnd()
}

// after lets something happen later.
func (s *simulation) after(d time.Duration, do func()) {
	s.count++
	heap.Push(&s.queue, event{s.now.Add(d), s.count, do})
}

// delay is what a message takes.
func (s *simulation) delay() time.Duration {
	if s.chance(0.05) && !s.calm {
		return time.Duration(s.random.Int64N(int64(15 * time.Second)))
	}
	return time.Duration(s.random.Int64N(int64(200 * time.Millisecond)))
}

func (s *simulation) chance(p float64) bool { return s.random.Float64() < p }

// deliver lets a message arrive, or not, or twice.
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

func (s *simulation) failf(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("at %v: %s", s.now.Sub(testStart), fmt.Sprintf(format, args...))
	}
}

// startController gives the controller a new life.
func (s *simulation) startController() {
	s.life++
	s.peers = make(map[uuid.UUID]bool)
	s.welcome = make(map[string]uuid.UUID)
	s.greeted = make(map[string]map[uuid.UUID]bool)
	clear(s.pending)
	s.machine = controller.NewMachine(controller.DefaultSettings(), s.state.Clone(), func() string {
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

func (s *simulation) step(in controller.Input) {
	s.perform(s.machine.Step(s.now, in))
	s.check()
}

// fromAgent takes a message to the controller, if the peering still is.
func (s *simulation) fromAgent(p broker.Peer, msg zeekapi.Message) {
	life := s.life
	s.deliver(func() {
		if s.life != life || !s.peers[p.ID] {
			return
		}
		if msg, ok := msg.(zeekapi.AgentWelcomeResponse); ok && s.welcome[msg.ID] == p.ID {
			name := msg.Result.Instance
			if s.greeted[name] == nil {
				s.greeted[name] = make(map[uuid.UUID]bool)
			}
			s.greeted[name][p.ID] = true
		}
		s.step(controller.FromAgent{Peer: p, Message: msg})
	})
}

func (s *simulation) perform(outputs []controller.Output) {
	for _, o := range outputs {
		if c, ok := o.(controller.Change); ok {
			s.state.Apply(c)
		}
	}
	for _, o := range outputs {
		switch o := o.(type) {
		case controller.ToClients:
			s.answered(o.Message)
		case controller.Dial:
			s.deliver(func() { s.dialed(o.Address) })
		case controller.Hangup:
			s.hangUp(o.Address)
		case controller.ToAgent:
			if msg, ok := o.Message.(zeekapi.AgentWelcomeRequest); ok {
				s.welcome[msg.ID] = o.Peer
			}
			s.deliver(func() { s.toAgent(o) })
		}
	}
}

// The agents.

func (s *simulation) boot(a *simAgent) {
	a.peer = broker.Peer{ID: uuid.Must(uuid.NewRandomFromReader(source{s.random})), Addr: netip.MustParseAddrPort("10.0.0.1:40000")}
	a.up = true
	s.connect(a, a.peer)
}

type source struct{ *rand.Rand }

func (r source) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

func (s *simulation) connect(a *simAgent, p broker.Peer) {
	life := s.life
	s.after(s.delay(), func() {
		if s.life == life && a.up && a.peer == p {
			s.peers[p.ID] = true
			s.step(controller.PeerAdded{Peer: p})
			s.sayHello(a)
		}
	})
}

func (s *simulation) sayHello(a *simAgent) {
	s.fromAgent(a.peer, zeekapi.AgentHello{Instance: a.name, APIVersion: 1})
}

func (s *simulation) repeatHello(a *simAgent) {
	if a.up {
		s.sayHello(a)
	}
	s.after(20*time.Second, func() { s.repeatHello(a) })
}

// restart ends an agent's process and starts another. The controller may notice
// the end of the first late.
func (s *simulation) restart(a *simAgent) {
	s.lose(a.peer)
	a.up, a.running = false, ""
	s.after(s.delay(), func() { s.boot(a) })
}

func (s *simulation) lose(p broker.Peer) {
	life := s.life
	s.after(s.delay(), func() {
		if s.life == life && s.peers[p.ID] {
			delete(s.peers, p.ID)
			for _, peers := range s.greeted {
				delete(peers, p.ID)
			}
			s.step(controller.PeerLost{Peer: p})
		}
	})
}

func (s *simulation) address(a *simAgent) string { return "10.1.0." + fmt.Sprint(a.name[0]) + ":2151" }

// dialed lets the controller reach an agent, by a peering beside its own.
func (s *simulation) dialed(address string) {
	for _, a := range s.agents {
		if s.address(a) == address && a.up {
			s.sayHello(a)
		}
	}
}

func (s *simulation) hangUp(address string) {
	for _, a := range s.agents {
		if s.address(a) == address && a.up {
			p := a.peer
			s.lose(p)
			s.after(time.Second, func() { s.connect(a, p) })
		}
	}
}

func (s *simulation) toAgent(o controller.ToAgent) {
	for _, a := range s.agents {
		if a.name != o.Instance || !a.up || !s.calm && s.chance(0.05) {
			continue
		}
		answer := answerTo(o)
		switch msg := o.Message.(type) {
		case zeekapi.AgentWelcomeRequest:
			if !s.calm && s.chance(0.02) {
				answer = zeekapi.AgentWelcomeResponse{ReqID: msg.ReqID, Result: zeekapi.Result{Instance: a.name}}
			}
		case zeekapi.AgentStandbyRequest:
			a.running = ""
		case zeekapi.AgentDeployRequest:
			a.running = msg.Config.ID
			s.ran[a.name][a.running] = true
		}
		if !s.calm && s.chance(0.02) {
			answer = agentDeployed(o.Message.RequestID()) // whatever the question was
		}
		s.fromAgent(a.peer, answer)
		if !s.calm && s.chance(0.1) {
			s.fromAgent(s.anyAgent().peer, answer) // who was not asked
		}
	}
}

func (s *simulation) anyAgent() *simAgent { return s.agents[s.random.IntN(len(s.agents))] }

// The clients, and the trouble.

func (s *simulation) mischief() {
	switch n := s.random.IntN(20); {
	case n < 4:
		s.restart(s.anyAgent())
	case n == 4:
		s.startController()
	case n == 5: // a connection breaks, the agent goes on
		a := s.anyAgent()
		s.lose(a.peer)
		s.connect(a, a.peer)
	default:
		s.request()
	}
}

func (s *simulation) request() {
	s.ids++
	id := fmt.Sprintf("r%d", s.ids)
	var msg zeekapi.Message
	switch s.random.IntN(9) {
	case 0, 1:
		msg = stage(id, s.anyConfig())
	case 2, 3:
		msg = deploy(id)
	case 4:
		msg = set(id, s.anyConfig())
	case 5:
		msg = getNodes(id)
	case 6:
		msg = getID(id, "x", "wa", "wz")
	case 7:
		msg = restart(id)
	case 8:
		msg = zeekapi.TestTimeoutRequest{ReqID: zeekapi.ReqID{ID: id}, WithState: s.chance(0.5)}
	}
	s.deliver(func() {
		if t, ok := msg.(zeekapi.TestTimeoutRequest); !ok || t.WithState {
			if _, again := s.pending[id]; !again {
				s.pending[id] = s.now.Add(controller.DefaultSettings().RequestTimeout)
			}
		}
		s.step(controller.FromClient{Message: msg})
	})
}

func (s *simulation) anyConfig() zeekapi.Configuration {
	s.ids++
	var names []string
	for _, a := range s.agents {
		if s.chance(0.8) {
			names = append(names, a.name)
		}
	}
	if s.chance(0.05) {
		names = append(names, "nobody")
	}
	c := config(fmt.Sprintf("c%d", s.ids), names...)
	for _, a := range s.agents {
		if s.chance(0.2) {
			c = listening(c, a.name, s.address(a))
		}
	}
	s.staged[c.ID] = c
	return c
}

// The promises.

func (s *simulation) answered(msg zeekapi.Message) {
	id := msg.RequestID()
	deadline, ok := s.pending[id]
	if !ok {
		s.failf("%s: answer to no request or a second one", describe(controller.ToClients{Message: msg}))
	}
	if s.now.After(deadline) {
		s.failf("%s: answered too late", id)
	}
	delete(s.pending, id)
	switch msg := msg.(type) {
	case zeekapi.StageConfigurationResponse:
		if config, ok := acknowledged(msg.Results); ok && (s.state.Configs[controller.Staged].ID != config || s.state.Configs[controller.Ready].ID != config) {
			s.failf("%s: acknowledges %s before it is saved", id, config)
		}
	case zeekapi.DeployResponse:
		config, ok := acknowledged(msg.Results)
		if !ok {
			return
		}
		if s.state.Configs[controller.Deployed].ID != config || s.state.Configs[controller.Target].ID != config {
			s.failf("%s: acknowledges %s before it is saved", id, config)
		}
		for _, inst := range s.staged[config].Instances {
			if !s.ran[inst.Name][config] {
				s.failf("%s: %s is said to be deployed, but never was on %s", id, config, inst.Name)
			}
		}
	}
}

func acknowledged(results []zeekapi.Result) (config string, ok bool) {
	last := results[len(results)-1]
	config, _ = last.Data.Text()
	return config, last.Success && last.Instance == ""
}

func (s *simulation) check() {
	if err := s.machine.Check(); err != nil {
		s.failf("%v", err)
	}
	for id, deadline := range s.pending {
		if deadline.Before(s.now) {
			s.failf("%s: not answered in time", id)
		}
	}
	peers, requests := s.machine.Held()
	if peers > len(s.peers) {
		s.failf("%d peers held, there are %d", peers, len(s.peers))
	}
	if most := len(s.pending) + len(s.agents) + 3; requests > most {
		s.failf("%d requests held, there are %d and perhaps some of the controller's own", requests, len(s.pending))
	}
	for _, name := range s.machine.Ready() {
		if p := s.machine.AgentOf(name); !s.greeted[name][p] {
			s.failf("%s is ready, but its agent %s never answered a welcome", name, p)
		}
	}
}

// checkEnd wants that all agents run the target once all is calm.
func (s *simulation) checkEnd() {
	target, ok := s.state.Configs[controller.Target]
	if !ok || slices.ContainsFunc(target.Instances, func(i zeekapi.Instance) bool { return i.Name == "nobody" }) {
		return
	}
	for _, a := range s.agents {
		if _, wanted := target.Instance(a.name); wanted && a.running != target.ID {
			s.failf("in the end %s runs %q instead of %s; ready are %s, pending %v",
				a.name, a.running, target.ID, s.machine.Ready(), slices.Collect(maps.Keys(s.pending)))
		}
	}
	if s.state.Configs[controller.Deployed].ID != target.ID {
		s.failf("in the end %s is deployed instead of %s", s.state.Configs[controller.Deployed].ID, target.ID)
	}
}
