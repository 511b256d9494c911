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
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Settings are the choices that Zeek's controller offers as redefinable
// constants (Zeek: Management::Controller).
type Settings struct {
	// Name and Version are how the controller describes itself to clients that
	// ask for the status.
	Name, Version string

	// BrokerPort is where the controller listens for agents. Nodes may not
	// use it.
	BrokerPort broker.Port

	AssignBrokerPorts  bool
	BrokerStartPort    uint16
	AssignMetricsPorts bool
	MetricsStartPort   uint16

	// RequestTimeout is how long a client may have to wait for an answer. Zeek's
	// controller answers after 10 to 12 s, a stock zeek-client waits for 20 s.
	// A deployment that takes longer goes on, see deployTimeout.
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

// Machine is the controller's state. It is for one goroutine.
type Machine struct {
	settings Settings
	newID    func() string
	log      zerolog.Logger

	now     time.Time
	asking  uuid.UUID // the client of the last request
	started time.Time
	out     []Output

	configs map[Slot]zeekapi.Configuration
	history []Past
	events  []zeekapi.ClusterEvent
	drained map[string]bool // instances that are to run nothing
	owed    map[string]bool // instances that have not answered a standby yet

	peers    map[uuid.UUID]*agent // that said hello
	agents   map[string]*agent    // one of them for each instance
	rivals   map[string][]*agent  // all of them, by instance
	wanted   map[string]*member   // instances of the target
	contacts map[string]*contact  // of instances that are wanted or have an agent

	// unready counts the wanted instances that a deployment has to wait for.
	unready int

	requests   map[string]*request // by their ID
	deadlines  deadlines           // of the same
	clients    map[uuid.UUID]*client
	complaints complaints
	calls      map[string]*call // to agents, by our ID
	deployment *request         // the one under way, nil if none
	job        *job             // the last one, nil if there was none
	draining   []*draining
	sequence   uint64 // of requests and calls

	sent         content             // as State.Sent
	plan         *plan               // the last one made
	deployedPlan *plan               // see former
	nodes        map[string][]string // of the target, by instance; see nodesOn

	// rewelcome is when to repeat the welcomes that are not answered by then,
	// and zero if there are none.
	rewelcome time.Time

	ending bool // takes no more requests
}

// NewMachine returns a controller that knows the state of an earlier life.
// newID makes the IDs of the controller's own requests. Call Start first.
func NewMachine(s Settings, state State, newID func() string, log zerolog.Logger) *Machine {
	m := &Machine{
		settings: s, newID: newID, log: log,
		configs:  make(map[Slot]zeekapi.Configuration),
		history:  slices.Clone(state.History),
		events:   slices.Clone(state.Events),
		drained:  setOf(state.Drained),
		owed:     setOf(state.Owed),
		peers:    make(map[uuid.UUID]*agent),
		agents:   make(map[string]*agent),
		rivals:   make(map[string][]*agent),
		wanted:   make(map[string]*member),
		contacts: make(map[string]*contact),
		requests: make(map[string]*request),
		clients:  make(map[uuid.UUID]*client),
		calls:    make(map[string]*call),

		complaints: make(complaints),
	}
	for slot, c := range state.Configs {
		m.configs[slot] = c
	}
	if state.Sent != (Sent{}) {
		m.sent.id, m.sent.mixed = state.Sent.ID, state.Sent.Mixed
		copy(m.sent.digest[:], state.Sent.Digest)
	}
	if state.Job != nil {
		m.job = &job{Job: *state.Job}
	}
	return m
}

// Start returns what to do first: end what an earlier life left undone, and
// make the target configuration true again.
func (m *Machine) Start(now time.Time) []Output {
	m.now, m.started = now, now
	m.endPast()
	if c, ok := m.configs[Target]; ok {
		m.adopt(c)
		m.redeploy()
	}
	return m.take()
}

// endPast ends the deployment and the job that were under way when the
// controller ended.
func (m *Machine) endPast() {
	for i := range m.history {
		if past := &m.history[i]; past.Outcome == zeekapi.OutcomePending {
			past.Outcome, past.Ended = zeekapi.OutcomeLost, m.now
			m.emit(SaveDeployment{Past: *past, Oldest: m.history[0].Number})
		}
	}
	if m.job != nil && m.job.Ended.IsZero() {
		m.job.Ended, m.job.Error = m.now, "the controller ended before the job did"
		m.job.Next = append(m.job.Now, m.job.Next...)
		m.job.Now = nil
		m.emit(SaveJob{Job: m.job.Job})
	}
	m.recall()
}

// Step takes an input at the given time and returns what to do, in order.
func (m *Machine) Step(now time.Time, in Input) []Output {
	m.now = now
	switch in := in.(type) {
	case PeerAdded:
		// Who it is we learn from its hello.
	case PeerLost:
		m.peerLost(in.Peer)
		m.clientLost(in.Peer.ID)
		delete(m.complaints, in.Peer.ID)
	case FromAgent:
		m.fromAgent(in.Peer, in.Dialect, in.Message)
	case FromClient:
		m.fromClient(in.Peer, in.Message)
	case AgentRefused:
		m.event(zeekapi.EventError, clip(in.Instance), "", "refused an agent from "+who(in.Peer)+": "+clip(in.Why))
	case Unsupported:
		m.unsupported(in.ToAgent)
	case Shutdown:
		m.ending = true
	case Tick:
		m.expire()
	}
	return m.take()
}

// Deadline returns when the machine wants a Tick, and the zero time if never.
func (m *Machine) Deadline() time.Time {
	next := m.rewelcome
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if len(m.deadlines) > 0 {
		sooner(m.deadlines[0].deadline)
	}
	if m.job != nil {
		sooner(m.job.poll)
	}
	for _, d := range m.draining {
		sooner(d.poll)
	}
	return next
}

// Pending returns how many requests are under way whose answer somebody waits
// for.
func (m *Machine) Pending() (n int) {
	for _, r := range m.requests {
		if r.done != nil {
			n++
		}
	}
	return n
}

// expire does what is due.
func (m *Machine) expire() {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(m.now) }
	for len(m.deadlines) > 0 && due(m.deadlines[0].deadline) {
		m.overdue(m.deadlines[0])
	}
	if due(m.rewelcome) {
		m.rewelcome = time.Time{}
		for _, name := range sortedKeys(m.wanted) {
			if w := m.wanted[name]; w.welcome != "" {
				m.welcome(w)
			}
		}
	}
	if m.job != nil && due(m.job.poll) {
		m.job.poll = time.Time{}
		m.watchJob()
	}
	for _, d := range slices.Clone(m.draining) {
		if due(d.poll) {
			m.askDrained(d)
		}
	}
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
		to.Peer, to.Dialects = a.peer, a.dialects
	}
	m.emit(to)
}

// answer is for the client whose request is at hand.
func (m *Machine) answer(msg zeekapi.Message) { m.emit(ToClients{Peer: m.asking, Message: msg}) }

func (m *Machine) save(slot Slot, c zeekapi.Configuration) {
	m.configs[slot] = c
	if slot == Target {
		m.nodes = nil
	}
	m.emit(Save{Slot: slot, Config: c})
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

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

func unspecified(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }

func address(i zeekapi.Instance) string {
	return netip.AddrPortFrom(i.Host, i.Port.Number).String()
}

func mustMarshal(v any) broker.Value {
	out, err := record.Marshal(v)
	if err != nil {
		// Everything that we marshal came out of Unmarshal or is our own.
		panic(fmt.Sprintf("controller: %v", err))
	}
	return out
}
