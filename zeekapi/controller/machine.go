// Package controller is a controller for Zeek's agents: it keeps the cluster's
// configuration, tells the agents of the instances what to run, and answers
// clients.
//
// Machine is the controller without I/O, a state machine that takes what
// happens and returns what to do. Run feeds it from buses, a clock and a store.
package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Settings are the choices that Zeek's controller offers as redefinable
// constants (Zeek: Management::Controller).
type Settings struct {
	// BrokerPort is where the controller listens for agents. Nodes may not
	// use it.
	BrokerPort broker.Port

	AssignBrokerPorts  bool
	BrokerStartPort    uint16
	AssignMetricsPorts bool
	MetricsStartPort   uint16

	// RequestTimeout is how long a client's request may take. A stock
	// zeek-client waits 20 s.
	RequestTimeout time.Duration
}

// DefaultSettings are those of Zeek 8.0.
func DefaultSettings() Settings {
	return Settings{
		BrokerPort:         broker.TCP(2150),
		AssignBrokerPorts:  true,
		BrokerStartPort:    2200,
		AssignMetricsPorts: true,
		MetricsStartPort:   9000,
		RequestTimeout:     10 * time.Second,
	}
}

// Input is what happens to the controller.
type Input interface{ input() }

// The inputs.
type (
	// PeerAdded says that a peering came up, of whatever kind of peer.
	PeerAdded struct{ Peer broker.Peer }

	// PeerLost says that a peering ended.
	PeerLost struct{ Peer broker.Peer }

	// FromAgent is a message that a peer published on the topic of an agent.
	FromAgent struct {
		Peer    broker.Peer
		Message zeekapi.Message
	}

	// FromClient is a message that a peer published on the controller's topic.
	FromClient struct {
		Peer    broker.Peer
		Message zeekapi.Message
	}

	// Tick says that the time of Machine.Deadline has come.
	Tick struct{}
)

func (PeerAdded) input()  {}
func (PeerLost) input()   {}
func (FromAgent) input()  {}
func (FromClient) input() {}
func (Tick) input()       {}

// Output is what the controller wants done.
type Output interface{ output() }

// The outputs.
type (
	// ToAgent is a message for the agent of an instance.
	ToAgent struct {
		Instance string
		Message  zeekapi.Message
	}

	// ToClients is a message for all clients; who asked knows it by its ID.
	ToClients struct{ Message zeekapi.Message }

	// Dial asks for a lasting peering with the agent that listens at Address.
	Dial struct{ Address string }

	// Hangup ends what Dial began.
	Hangup struct{ Address string }

	// Save asks to store a configuration before any output that follows.
	Save struct {
		Slot   Slot
		Config zeekapi.Configuration
	}
)

func (ToAgent) output()   {}
func (ToClients) output() {}
func (Dial) output()      {}
func (Hangup) output()    {}
func (Save) output()      {}

// Slot names one of the configurations that a controller keeps.
type Slot string

// The slots. Zeek has the first three.
const (
	Staged   Slot = "staged"   // as a client uploaded it
	Ready    Slot = "ready"    // the same with addresses and ports filled in
	Deployed Slot = "deployed" // what all agents last answered for

	// Target is what should run: the configuration of the last deployment,
	// whether or not all agents answered in time. It is what an agent gets
	// when it comes back. Zeek takes the deployed one and so undoes a
	// deployment that timed out.
	Target Slot = "target"
)

// Slots are all of them.
var Slots = []Slot{Staged, Ready, Deployed, Target}

// Machine is the controller's state. It is for one goroutine.
type Machine struct {
	settings Settings
	newID    func() string
	log      zerolog.Logger

	now time.Time
	out []Output

	configs map[Slot]zeekapi.Configuration
	agents  map[string]*agent // that said hello, by instance
	wanted  map[string]*member

	requests   map[string]*request // of clients, by their ID
	calls      map[string]*call    // to agents, by our ID
	deployment *request            // the one under way, nil if none
}

// agent is an instance whose agent said hello.
type agent struct {
	zeekapi.Instance
	peer uuid.UUID
}

// member is an instance that the cluster needs.
type member struct {
	zeekapi.Instance
	ready bool // its agent answered our welcome
}

// NewMachine returns a controller that knows the configurations of an earlier
// life. newID makes the IDs of the controller's own requests. Call Start first.
func NewMachine(s Settings, configs map[Slot]zeekapi.Configuration, newID func() string, log zerolog.Logger) *Machine {
	m := &Machine{
		settings: s, newID: newID, log: log,
		configs:  make(map[Slot]zeekapi.Configuration),
		agents:   make(map[string]*agent),
		wanted:   make(map[string]*member),
		requests: make(map[string]*request),
		calls:    make(map[string]*call),
	}
	for slot, c := range configs {
		m.configs[slot] = c
	}
	return m
}

// Start returns what to do first: make the target configuration true again.
func (m *Machine) Start(now time.Time) []Output {
	m.now = now
	if _, ok := m.configs[Target]; ok {
		m.redeploy()
	}
	return m.take()
}

// Step takes an input at the given time and returns what to do, in order.
func (m *Machine) Step(now time.Time, in Input) []Output {
	m.now = now
	switch in := in.(type) {
	case PeerAdded:
		// Who it is we learn from its hello.
	case PeerLost:
		m.peerLost(in.Peer)
	case FromAgent:
		m.fromAgent(in.Peer, in.Message)
	case FromClient:
		m.fromClient(in.Message)
	case Tick:
		m.expire()
	}
	return m.take()
}

// Deadline returns when the machine wants a Tick, and the zero time if never.
func (m *Machine) Deadline() time.Time {
	var next time.Time
	for _, r := range m.requests {
		if next.IsZero() || r.deadline.Before(next) {
			next = r.deadline
		}
	}
	return next
}

func (m *Machine) take() []Output {
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) emit(o Output) { m.out = append(m.out, o) }

func (m *Machine) toAgent(instance string, msg zeekapi.Message) {
	m.emit(ToAgent{Instance: instance, Message: msg})
}

func (m *Machine) save(slot Slot, c zeekapi.Configuration) {
	m.configs[slot] = c
	m.emit(Save{Slot: slot, Config: c})
}

func (m *Machine) fromAgent(peer broker.Peer, msg zeekapi.Message) {
	switch msg := msg.(type) {
	case zeekapi.AgentHello:
		m.hello(peer, msg)
	case zeekapi.AgentWelcomeResponse:
		m.answered(msg.ID, msg.Result)
	case zeekapi.AgentDeployResponse:
		m.answered(msg.ID, msg.Results...)
	case zeekapi.AgentGetNodesResponse:
		m.answered(msg.ID, msg.Result)
	case zeekapi.AgentDispatchResponse:
		m.answered(msg.ID, msg.Results...)
	case zeekapi.AgentRestartResponse:
		m.answered(msg.ID, msg.Results...)
	case zeekapi.AgentError:
		m.log.Error().Str("instance", msg.Instance).Str("node", msg.Node).Msg(msg.Text)
	case zeekapi.AgentLog:
		m.log.Info().Str("instance", msg.Instance).Str("node", msg.Node).Msg(msg.Text)
	case zeekapi.AgentChange:
		m.log.Info().Str("instance", msg.Instance).Str("node", msg.Node.Name).
			Str("from", string(msg.Old)).Str("to", string(msg.New)).Msg("node changed state")
	}
	// The rest are our own requests, which we hear when another controller
	// speaks, and standby responses, which nobody waits for.
}

// apiVersion is the only version of the agent API there ever was, in either
// dialect.
const apiVersion = 1

func (m *Machine) hello(peer broker.Peer, msg zeekapi.AgentHello) {
	log := m.log.With().Str("instance", msg.Instance).Str("peer", peer.ID.String()).Stringer("address", peer.Addr).Logger()
	if msg.APIVersion != apiVersion {
		log.Warn().Uint64("version", msg.APIVersion).Msg("agent has an API version that we do not speak")
		if w := m.wanted[msg.Instance]; w != nil {
			m.drop(w)
		}
		delete(m.agents, msg.Instance)
		return
	}
	if msg.EndpointID != "" && msg.EndpointID != peer.ID.String() {
		log.Debug().Str("claimed", msg.EndpointID).Msg("agent claims another endpoint ID than its peering has")
	}
	before := m.agents[msg.Instance]
	a := &agent{Instance: zeekapi.Instance{Name: msg.Instance, Host: peer.Addr.Addr()}, peer: peer.ID}
	if peer.Dialed {
		a.Port = broker.TCP(peer.Addr.Port())
	}
	m.agents[msg.Instance] = a

	w := m.wanted[msg.Instance]
	if before == nil || before.peer != peer.ID {
		log.Info().Bool("connecting", msg.Connecting).Bool("wanted", w != nil).Msg("agent said hello")
		if w != nil {
			// Another process than before, which knows nothing of us yet.
			w.ready = false
		}
	}
	if w != nil && !w.ready {
		m.welcome(msg.Instance)
	}
}

func (m *Machine) peerLost(peer broker.Peer) {
	for name, a := range m.agents {
		if a.peer != peer.ID {
			continue
		}
		m.log.Warn().Str("instance", name).Str("peer", peer.ID.String()).Msg("lost the agent")
		delete(m.agents, name)
		if w := m.wanted[name]; w != nil {
			w.ready = false
		}
	}
}

// sortedKeys makes the order of outputs reproducible.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func unspecified(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }

func address(i zeekapi.Instance) string {
	return netip.AddrPortFrom(i.Host, i.Port.Number).String()
}

// request is a client's request, or a deployment of our own, under way.
type request struct {
	id       string
	internal bool // nobody waits for the answer
	deadline time.Time
	results  []zeekapi.Result
	open     map[string]*call // calls to agents not answered yet

	done   func() // once all calls are answered, before respond
	expire func() // on time-out, before respond
	// respond sends the results to the client.
	respond func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message

	// Of a deployment: what to deploy, and the peers that answered for it.
	config  *zeekapi.Configuration
	reached map[string]uuid.UUID
}

// call is our request to one agent on behalf of a request.
type call struct {
	id       string
	request  *request // nil for a welcome
	instance string
	peer     uuid.UUID // that the agent had when we called
	deadline time.Time // of a welcome
	// answer turns the agent's results into those that the client gets.
	answer func(results []zeekapi.Result) []zeekapi.Result
}

// begin registers a request. A second one with the ID of one under way is a
// client's mistake, and is dropped.
func (m *Machine) begin(id string, respond func(zeekapi.ReqID, []zeekapi.Result) zeekapi.Message) (*request, bool) {
	if m.requests[id] != nil {
		m.log.Warn().Str("request", id).Msg("request with an ID that is in use")
		return nil, false
	}
	r := &request{
		id: id, deadline: m.now.Add(m.settings.RequestTimeout),
		open: make(map[string]*call), respond: respond, reached: make(map[string]uuid.UUID),
	}
	m.requests[id] = r
	return r, true
}

// call asks an agent on behalf of r; make builds the message with the call's ID.
func (m *Machine) call(r *request, instance string, make func(zeekapi.ReqID) zeekapi.Message) *call {
	c := &call{id: m.newID(), request: r, instance: instance}
	if a := m.agents[instance]; a != nil {
		c.peer = a.peer
	}
	m.calls[c.id] = c
	r.open[c.id] = c
	m.toAgent(instance, make(zeekapi.ReqID{ID: c.id}))
	return c
}

// answered takes an agent's answer to a call. Answers to calls that we do not
// know come late or are meant for somebody else; Zeek's agents also repeat
// themselves. All are ignored.
func (m *Machine) answered(id string, results ...zeekapi.Result) {
	c := m.calls[id]
	if c == nil {
		m.log.Debug().Str("request", id).Msg("ignoring an agent's answer to no open request")
		return
	}
	delete(m.calls, id)
	if c.answer != nil {
		results = c.answer(results)
	}
	r := c.request
	if r == nil {
		return
	}
	delete(r.open, id)
	r.results = append(r.results, results...)
	if len(r.open) > 0 {
		return
	}
	if r.done != nil {
		r.done()
	}
	m.finish(r)
}

// finish answers the client and forgets the request.
func (m *Machine) finish(r *request) {
	for id := range r.open {
		delete(m.calls, id)
	}
	delete(m.requests, r.id)
	if !r.internal {
		m.emit(ToClients{Message: r.respond(zeekapi.ReqID{ID: r.id}, r.results)})
	}
}

// expire ends what takes too long.
func (m *Machine) expire() {
	for _, id := range sortedKeys(m.requests) {
		r := m.requests[id]
		if r.deadline.After(m.now) {
			continue
		}
		m.log.Warn().Str("request", id).Int("unanswered", len(r.open)).Msg(zeekapi.ErrorTimeout)
		if r.expire != nil {
			r.expire()
		}
		r.results = append(r.results, zeekapi.Failure(r.id, zeekapi.ErrorTimeout))
		m.finish(r)
	}
	for id, c := range m.calls {
		if c.request == nil && !c.deadline.After(m.now) {
			delete(m.calls, id)
		}
	}
}

func mustMarshal(v any) broker.Value {
	out, err := zeekapi.Marshal(v)
	if err != nil {
		// Everything that we marshal came out of Unmarshal or is our own.
		panic(fmt.Sprintf("controller: %v", err))
	}
	return out
}
