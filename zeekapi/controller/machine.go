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

	// RequestTimeout is how long a client's request may take. Zeek's controller
	// waits 10 to 12 s, a stock zeek-client waits 20 s for the answer.
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
		RequestTimeout:     15 * time.Second,
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

	// AgentRefused says that a peer may not be the agent of an instance. Nothing
	// else of it is heard.
	AgentRefused struct {
		Peer          broker.Peer
		Instance, Why string
	}

	// Unsupported says that a ToAgent could not be sent, because its message
	// does not exist in the dialect that the agent speaks.
	Unsupported struct{ ToAgent }

	// Tick says that the time of Machine.Deadline has come.
	Tick struct{}
)

func (PeerAdded) input()    {}
func (PeerLost) input()     {}
func (FromAgent) input()    {}
func (FromClient) input()   {}
func (AgentRefused) input() {}
func (Unsupported) input()  {}
func (Tick) input()         {}

// Output is what the controller wants done.
type Output interface{ output() }

// The outputs.
type (
	// ToAgent is a message for the agent of an instance. Peer is the agent if
	// it said hello, and uuid.Nil if not.
	ToAgent struct {
		Instance string
		Peer     uuid.UUID
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
	peers   map[uuid.UUID]*agent // that said hello
	agents  map[string]*agent    // one of them for each instance
	wanted  map[string]*member

	requests   map[string]*request // of clients, by their ID
	calls      map[string]*call    // to agents, by our ID
	deployment *request            // the one under way, nil if none

	// rewelcome is when to repeat the welcomes that are not answered by then,
	// and zero if there are none.
	rewelcome time.Time
}

// agent is a peer that said hello.
type agent struct {
	zeekapi.Instance
	peer uuid.UUID
}

// member is an instance that the cluster needs.
type member struct {
	zeekapi.Instance
	welcome string // ID of our welcome that its agent has not answered, or ""
	ready   bool   // its agent answered our welcome
}

// NewMachine returns a controller that knows the configurations of an earlier
// life. newID makes the IDs of the controller's own requests. Call Start first.
func NewMachine(s Settings, configs map[Slot]zeekapi.Configuration, newID func() string, log zerolog.Logger) *Machine {
	m := &Machine{
		settings: s, newID: newID, log: log,
		configs:  make(map[Slot]zeekapi.Configuration),
		peers:    make(map[uuid.UUID]*agent),
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
	case AgentRefused:
		// Whoever watches the cluster wants to know; our state is the same.
	case Unsupported:
		if c := m.calls[in.Message.RequestID()]; c != nil {
			m.close(c, c.request.unanswered(c.instance, errUnsupported))
		}
	case Tick:
		m.expire()
	}
	return m.take()
}

// Deadline returns when the machine wants a Tick, and the zero time if never.
func (m *Machine) Deadline() time.Time {
	next := m.rewelcome
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
	to := ToAgent{Instance: instance, Message: msg}
	if a := m.agents[instance]; a != nil {
		to.Peer = a.peer
	}
	m.emit(to)
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
		m.welcomed(peer, msg)
	case zeekapi.AgentDeployResponse, zeekapi.AgentGetNodesResponse,
		zeekapi.AgentDispatchResponse, zeekapi.AgentRestartResponse:
		m.answered(peer, msg)
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

// hello takes note of an agent. An instance has one agent: of several peers
// with the same name, the one that came last, for it may be the first one's
// successor before we notice that the first is gone. Later hellos change
// nothing in that, or two agents with the same name would take turns.
func (m *Machine) hello(peer broker.Peer, msg zeekapi.AgentHello) {
	log := m.log.With().Str("instance", msg.Instance).Str("peer", peer.ID.String()).Stringer("address", peer.Addr).Logger()
	a := m.peers[peer.ID]
	if msg.APIVersion != apiVersion {
		log.Warn().Uint64("version", msg.APIVersion).Msg("agent has an API version that we do not speak")
		if a != nil {
			m.forget(a)
		}
		return
	}
	if msg.EndpointID != "" && msg.EndpointID != peer.ID.String() {
		log.Debug().Str("claimed", msg.EndpointID).Msg("agent claims another endpoint ID than its peering has")
	}
	before := m.agents[msg.Instance]
	switch {
	case a == nil:
		a = &agent{Instance: zeekapi.Instance{Name: msg.Instance, Host: peer.Addr.Addr().Unmap().WithZone("")}, peer: peer.ID}
		if peer.Dialed {
			a.Port = broker.TCP(peer.Addr.Port())
		}
		m.peers[peer.ID] = a
		if before != nil {
			log.Warn().Str("before", before.peer.String()).Msg("another agent takes over the instance")
			m.vacate(msg.Instance)
		}
		log.Info().Bool("connecting", msg.Connecting).Bool("wanted", m.wanted[msg.Instance] != nil).Msg("agent said hello")
		m.agents[msg.Instance] = a
	case a.Name != msg.Instance:
		// This also keeps a peer from filling our memory with names.
		log.Warn().Str("before", a.Name).Msg("ignoring the hello of an agent that had another name before")
		return
	case before != a:
		log.Warn().Str("current", before.peer.String()).Msg("ignoring the hello of an agent whose instance another took over")
		return
	}
	m.greet(a)
}

// greet welcomes an agent that the cluster wants.
func (m *Machine) greet(a *agent) {
	if w := m.wanted[a.Name]; w != nil && !w.ready {
		m.welcome(w)
	}
}

func (m *Machine) peerLost(peer broker.Peer) {
	if a := m.peers[peer.ID]; a != nil {
		m.log.Warn().Str("instance", a.Name).Str("peer", peer.ID.String()).Msg("lost the agent")
		m.forget(a)
	}
}

// forget removes an agent. If there is another of that name, it gets the
// instance.
func (m *Machine) forget(a *agent) {
	delete(m.peers, a.peer)
	if m.agents[a.Name] != a {
		return
	}
	m.vacate(a.Name)
	var successor *agent
	for _, other := range m.peers {
		if other.Name == a.Name && (successor == nil || other.peer.String() < successor.peer.String()) {
			successor = other
		}
	}
	if successor != nil {
		m.agents[a.Name] = successor
		m.greet(successor)
	}
}

// vacate takes the agent from an instance, and answers for it what it cannot
// answer any more. A deployment waits: the next agent gets it.
func (m *Machine) vacate(instance string) {
	delete(m.agents, instance)
	if w := m.wanted[instance]; w != nil {
		w.ready, w.welcome = false, ""
	}
	for _, id := range sortedKeys(m.requests) {
		r := m.requests[id]
		c := r.open[instance]
		switch {
		case c == nil:
		case r.config != nil:
			c.peer = uuid.Nil
		default:
			m.close(c, r.unanswered(instance, errNotConnected))
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

// What a client is told for an instance that gives no answer. Zeek's controller
// lets the request time out.
const (
	errNotConnected = "agent not connected"
	errUnsupported  = "not supported by the agent"
)

// maxRequests is how many requests of clients there may be at a time.
const maxRequests = 1024

// request is a client's request, or a deployment of our own, under way.
type request struct {
	id       string
	internal bool // nobody waits for the answer
	deadline time.Time
	results  []zeekapi.Result
	open     map[string]*call // calls to agents not answered yet, by instance

	// respond makes the client's answer of the results.
	respond func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message

	// accept turns an agent's answer into the results that the client gets.
	// It refuses answers to other kinds of requests.
	accept func(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool)

	// nodes returns the nodes of an instance that the request is about, if it
	// is about nodes rather than instances.
	nodes func(instance string) []string

	// Of a deployment: what to deploy, and the peers that answered for it.
	config  *zeekapi.Configuration
	reached map[string]uuid.UUID
}

// call is our request to one agent on behalf of a request.
type call struct {
	id       string
	request  *request
	instance string
	peer     uuid.UUID // that must answer
}

// unanswered returns the results of an instance that cannot answer. Those of
// nodes name no instance: only then does zeek-client show the text.
func (r *request) unanswered(instance, text string) []zeekapi.Result {
	if r.nodes == nil {
		return []zeekapi.Result{{ReqID: r.id, Instance: instance, Error: text}}
	}
	var results []zeekapi.Result
	for _, node := range r.nodes(instance) {
		results = append(results, zeekapi.Result{ReqID: r.id, Node: node, Error: text})
	}
	return results
}

func (m *Machine) newRequest(id string) *request {
	r := &request{id: id, deadline: m.now.Add(m.settings.RequestTimeout), open: make(map[string]*call)}
	m.requests[id] = r
	return r
}

// begin registers a client's request. If there are too many already, it
// answers that and returns nil.
func (m *Machine) begin(id string, respond func(zeekapi.ReqID, []zeekapi.Result) zeekapi.Message) *request {
	if len(m.requests) >= maxRequests {
		m.log.Warn().Str("request", id).Msg("refusing a request, too many are under way")
		m.emit(ToClients{Message: respond(zeekapi.ReqID{ID: id}, []zeekapi.Result{
			zeekapi.Failure(id, "too many requests under way"),
		})})
		return nil
	}
	r := m.newRequest(id)
	r.respond = respond
	return r
}

// call asks the agent of an instance on behalf of r; make builds the message
// with the call's ID.
func (m *Machine) call(r *request, instance string, make func(zeekapi.ReqID) zeekapi.Message) {
	c := &call{id: m.newID(), request: r, instance: instance, peer: m.agents[instance].peer}
	m.calls[c.id] = c
	r.open[instance] = c
	m.toAgent(instance, make(zeekapi.ReqID{ID: c.id}))
}

// answered takes an agent's answer to a call. Answers to calls that we do not
// know come late or are meant for somebody else; Zeek's agents also repeat
// themselves. All are ignored.
func (m *Machine) answered(peer broker.Peer, msg zeekapi.Message) {
	c := m.calls[msg.RequestID()]
	if c == nil {
		m.log.Debug().Str("request", msg.RequestID()).Msg("ignoring an agent's answer to no open request")
		return
	}
	log := m.log.With().Str("instance", c.instance).Str("peer", peer.ID.String()).Logger()
	if c.peer != peer.ID {
		// Zeek's agents hear what is meant for those whose name begins with
		// theirs, and obey.
		log.Warn().Msg("ignoring an answer by another peer than the agent that was asked")
		return
	}
	results, ok := c.request.accept(c, msg)
	if !ok {
		log.Warn().Msgf("ignoring an answer of another kind than the request, %T", msg)
		return
	}
	for i := range results {
		results[i].Instance = c.instance
	}
	m.close(c, results)
}

// close ends a call, and its request if that was the last.
func (m *Machine) close(c *call, results []zeekapi.Result) {
	r := c.request
	delete(m.calls, c.id)
	delete(r.open, c.instance)
	r.results = append(r.results, results...)
	m.settle(r)
}

// settle ends a request that waits for no agent.
func (m *Machine) settle(r *request) {
	if len(r.open) > 0 {
		return
	}
	if r.config != nil {
		m.deployed(r)
	}
	m.finish(r)
}

// fail ends a request with a result for the client.
func (m *Machine) fail(r *request, format string, args ...any) {
	r.results = append(r.results, zeekapi.Failure(r.id, format, args...))
	m.finish(r)
}

// finish answers the client and forgets the request.
func (m *Machine) finish(r *request) {
	for _, c := range r.open {
		delete(m.calls, c.id)
	}
	delete(m.requests, r.id)
	if m.deployment == r {
		m.deployment = nil
	}
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
		m.log.Warn().Str("request", id).Strs("instances", m.awaited(r)).Msg(zeekapi.ErrorTimeout)
		m.fail(r, zeekapi.ErrorTimeout)
	}
	if !m.rewelcome.IsZero() && !m.rewelcome.After(m.now) {
		m.rewelcome = time.Time{}
		for _, name := range sortedKeys(m.wanted) {
			if w := m.wanted[name]; w.welcome != "" {
				m.welcome(w)
			}
		}
	}
}

// awaited returns the instances that a request waits for.
func (m *Machine) awaited(r *request) []string {
	if r != m.deployment {
		return sortedKeys(r.open)
	}
	var names []string
	for _, name := range sortedKeys(m.wanted) {
		if r.open[name] != nil || !m.wanted[name].ready {
			names = append(names, name)
		}
	}
	return names
}

func mustMarshal(v any) broker.Value {
	out, err := zeekapi.Marshal(v)
	if err != nil {
		// Everything that we marshal came out of Unmarshal or is our own.
		panic(fmt.Sprintf("controller: %v", err))
	}
	return out
}
