package agent

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// The agent's own times and limits.
const (
	// HelloInterval is how often the agent says hello while it has peers.
	HelloInterval = 30 * time.Second

	// RequestTimeout is how long a request may wait for nodes before it is
	// answered as it stands. Zeek's agent waits 5 to 7 s, which is short for
	// nodes on a busy machine; Zeek's controller waits 10 to 12 s for us.
	RequestTimeout = 9 * time.Second

	// MaxRequests is how many requests may wait at the same time.
	MaxRequests = 64

	// StagePatience is how long a node that does not introduce itself holds up
	// the nodes that are to start after it. When half the time of a request is
	// over, all start: that they find each other at once is worth less than an
	// answer.
	StagePatience = 30 * time.Second

	// A node that lived for StableAfter has started well, as under Zeek's
	// Supervisor. One that dies MaxDeaths times in a row before that has
	// failed for good; in between the agent waits MinBackOff, doubled with
	// every death, at most MaxBackOff. A deployment or restart does not wait
	// for the last death but answers after DeathsToReport.
	StableAfter    = 30 * time.Second
	MaxDeaths      = 5
	DeathsToReport = 2
	MinBackOff     = 500 * time.Millisecond
	MaxBackOff     = time.Minute

	// A node that could not be started is looked at again, as its interface may
	// have come and its port may be free: after MinRecheck, doubled with every
	// time, at most MaxRecheck.
	MinRecheck = 2 * time.Second
	MaxRecheck = time.Minute

	// SaveInterval is how long the agent waits before it tries again to save
	// its configuration.
	SaveInterval = 10 * time.Second

	// MaxOutputs is how many bytes of what failed nodes wrote are in an answer,
	// all together: there may be a thousand of them, and a peer that gets too
	// much at once hangs up.
	MaxOutputs = 16 << 20

	// MaxLogBytes is how much of a node's output a request may ask for, and
	// LogBytes how much there is unless it asks for less or more.
	MaxLogBytes = 1 << 20
	LogBytes    = 64 << 10
)

// Input is something that happened: PeerAdded, PeerLost, Received, Launched,
// Persisted or Tick.
type Input interface{ input() }

type (
	// PeerAdded says that there is one peer more.
	PeerAdded struct{}

	// PeerLost says that there is one peer less.
	PeerLost struct{}

	// Received is a message on one of the agent's topics.
	Received struct {
		Dialect *zeekapi.Dialect // for the answer
		Message zeekapi.Message
	}

	// Launched is an event of the launcher.
	Launched struct{ Event launch.Event }

	// Persisted says what became of the last Persist.
	Persisted struct{ Err error }

	// Shutdown says that the agent is about to end: it answers what it was
	// asked, and refuses what is more than a question.
	Shutdown struct{}

	// Tick says that time has passed.
	Tick struct{}
)

func (PeerAdded) input() {}
func (PeerLost) input()  {}
func (Received) input()  {}
func (Launched) input()  {}
func (Persisted) input() {}
func (Shutdown) input()  {}
func (Tick) input()      {}

// Output is something to do: Publish, Keep, Check, Start, Stop, Dispatch, Read,
// Persist or Remember.
type Output interface{ output() }

type (
	// Publish is a message for the agent's topic.
	Publish struct {
		Dialect *zeekapi.Dialect // nil: every dialect that has the message
		Message zeekapi.Message
	}

	// Keep has the launcher end the nodes that it found running, but for
	// these.
	Keep struct{ Nodes []string }

	// Check has the launcher look whether nodes could be started. Each must be
	// answered for with a launch.Checked.
	Check struct{ Nodes []launch.Node }

	// Start has the launcher start a node.
	Start struct{ Node launch.Node }

	// Stop has the launcher stop a node.
	Stop struct{ Node string }

	// Dispatch is a request for the nodes that it names.
	Dispatch struct{ Request zeekapi.NodeDispatchRequest }

	// Read asks for what a node wrote, at most so many bytes of each output,
	// as the answer to a request.
	Read struct {
		Dialect *zeekapi.Dialect
		ReqID   string
		Node    string
		Bytes   int
		Gone    bool // the node is not to run here, but may have
	}

	// Persist asks to remember the assignment across restarts of the agent, or
	// that there is none. It is answered with Persisted.
	Persist struct{ Assignment *Assignment }

	// Remember asks to remember what became of nodes, those that have a past
	// worth that. Nothing depends on it.
	Remember struct{ Nodes map[string]NodePast }
)

func (Publish) output()  {}
func (Keep) output()     {}
func (Check) output()    {}
func (Start) output()    {}
func (Stop) output()     {}
func (Dispatch) output() {}
func (Read) output()     {}
func (Persist) output()  {}
func (Remember) output() {}

// Identity is what an agent says about itself.
type Identity struct {
	Name       string         // of the instance
	EndpointID string         // of the agent's endpoint; controllers look it up among their peers
	Connecting bool           // the agent connects to its controller
	Listen     netip.AddrPort // where it listens
	PID        int64

	Process zeekapi.Process // what the agent is
	Zeek    string          // version that its nodes run, "" if not known
}

// Past is what there was before the agent.
type Past struct {
	// Known says that an earlier agent of the name left word about what should
	// run: Assignment, or nothing if that is nil.
	Known      bool
	Assignment *Assignment

	// Nodes is what it remembered last.
	Nodes map[string]NodePast

	// Running are nodes that run already.
	Running []launch.Running
}

// Machine is the agent without its surroundings: Step tells it what happened
// and returns what to do. It has no goroutine, no clock and no socket, and is
// not safe for concurrent use.
type Machine struct {
	// RequestTimeout is how long a request may wait for nodes before it is
	// answered as it stands; RequestTimeout unless changed before the first
	// Step.
	RequestTimeout time.Duration

	self Identity

	assigned *Assignment // nil: nothing
	nodes    map[string]*node
	told     bool // the agent knows what should run
	keep     bool // the launcher does not know yet what should run

	rushAt time.Time // when to rush; zero: not
	rush   bool      // there is no time for one stage after the other

	saving   bool  // the last Persist has not been answered
	unsaved  error // why the last that was answered failed
	saveNext time.Time

	remembered map[string]NodePast
	rememberAt time.Time // not to remember anything before

	peers     int
	nextHello time.Time

	// asked is the dialect of the last request, in which the agent also
	// reports what nobody asked for; nil, for all, until there was one.
	asked *zeekapi.Dialect

	deploy     *waiting
	restarts   []*waiting
	dispatches map[string]*dispatch // by the ID that nodes see
	dispatched uint64
	ending     bool // takes no more requests that wait for nodes

	out []Output
}

// NewMachine returns an agent that goes on where an earlier one stopped. It
// starts nodes with the first Step.
func NewMachine(self Identity, past Past) (*Machine, error) {
	m := &Machine{RequestTimeout: RequestTimeout, self: self, nodes: make(map[string]*node), dispatches: make(map[string]*dispatch)}
	for _, r := range past.Running {
		m.nodes[r.Node.Name] = &node{
			have: &r.Node, pid: r.PID, started: r.Started, adopted: true, begun: true, state: zeekapi.StatePending,
		}
	}
	if !past.Known {
		return m, nil
	}
	if a := past.Assignment; a != nil {
		if err := a.check(self.Name); err != nil {
			return nil, fmt.Errorf("agent: configuration %s: %w", a.ID, err)
		}
	}
	m.adopt(time.Time{}, past.Assignment, false)
	m.recall(past.Nodes)
	return m, nil
}

// Step takes one input and returns what to do, in this order.
func (m *Machine) Step(now time.Time, in Input) []Output {
	switch in := in.(type) {
	case PeerAdded:
		m.peers++
		m.hello(now)
	case PeerLost:
		// Nodes do not depend on a controller being there.
		m.peers--
	case Received:
		m.receive(now, in.Dialect, in.Message)
	case Launched:
		m.launched(now, in.Event)
	case Persisted:
		m.persisted(now, in.Err)
	case Shutdown:
		m.ending = true
	case Tick:
	}
	m.expire(now)
	m.reconcile(now)
	m.answer(now)
	m.remember(now)
	out := m.out
	m.out = nil
	return out
}

// Deadline returns when the machine next needs a Tick; ok is false if it does
// not.
func (m *Machine) Deadline() (t time.Time, ok bool) {
	earlier := func(u time.Time) {
		if !ok || u.Before(t) {
			t, ok = u, true
		}
	}
	if m.peers > 0 {
		earlier(m.nextHello)
	}
	if m.unsaved != nil {
		earlier(m.saveNext)
	}
	if m.deploy != nil {
		earlier(m.deploy.deadline)
	}
	for _, w := range m.restarts {
		earlier(w.deadline)
	}
	for _, d := range m.dispatches {
		earlier(d.deadline)
	}
	if !m.rushAt.IsZero() {
		earlier(m.rushAt)
	}
	if m.forgets() {
		earlier(m.rememberAt)
	}
	m.nodeDeadlines(earlier)
	return t, ok
}

// expire does what is due.
func (m *Machine) expire(now time.Time) {
	if m.peers > 0 && !now.Before(m.nextHello) {
		m.hello(now)
	}
	if m.unsaved != nil && !now.Before(m.saveNext) {
		m.saveNext = now.Add(SaveInterval)
		m.save()
	}
	m.expireDispatches(now)
	m.expireStages(now)
	m.expireRush(now)
}

func (m *Machine) save() {
	m.saving = true
	m.emit(Persist{m.assigned})
}

// persisted deals with a configuration that could not be saved. It is deployed
// all the same: what must stop must stop also when the disk is full.
func (m *Machine) persisted(now time.Time, err error) {
	if err != nil && m.unsaved == nil {
		m.complain("", "cannot save the configuration: %v", err)
	}
	m.saving, m.unsaved, m.saveNext = false, err, now.Add(SaveInterval)
}

func (m *Machine) emit(o Output) { m.out = append(m.out, o) }

func (m *Machine) publish(d *zeekapi.Dialect, msg zeekapi.Message) {
	m.emit(Publish{Dialect: d, Message: msg})
}

// hello introduces the agent in every dialect, as it does not know which its
// peers speak.
func (m *Machine) hello(now time.Time) {
	m.publish(nil, zeekapi.AgentHello{
		Instance: m.self.Name, EndpointID: m.self.EndpointID,
		Connecting: m.self.Connecting, Host: m.self.Listen.Addr(), APIVersion: zeekapi.APIVersion,
	})
	m.describe()
	m.nextHello = now.Add(HelloInterval)
}

func (m *Machine) describe() {
	m.publish(nil, zeekapi.AgentDescription{Instance: m.self.Name, Agent: m.self.Process, Zeek: m.self.Zeek, LayoutForm: zeekapi.LayoutForm})
}

func (m *Machine) receive(now time.Time, d *zeekapi.Dialect, msg zeekapi.Message) {
	switch msg.(type) {
	case zeekapi.NodeHello, zeekapi.NodeDispatchResponse:
	default:
		if d == nil || d.Has(zeekapi.AgentChange{}) {
			m.asked = d
		}
	}
	switch msg := msg.(type) {
	case zeekapi.AgentWelcomeRequest:
		m.publish(d, zeekapi.AgentWelcomeResponse{ReqID: msg.ReqID, Result: m.success(msg.ID)})
	case zeekapi.AgentStandbyRequest:
		m.supersede("the agent was told to stand by")
		m.adopt(now, nil, false)
		m.save()
		m.publish(d, zeekapi.AgentStandbyResponse{ReqID: msg.ReqID, Result: m.success(msg.ID)})
	case zeekapi.AgentDeployRequest:
		m.deployRequest(now, d, msg)
	case zeekapi.AgentDeployNodesRequest:
		m.deployNodesRequest(now, d, msg)
	case zeekapi.AgentGetNodesRequest:
		m.getNodesRequest(d, msg)
	case zeekapi.AgentStatusRequest:
		m.statusRequest(d, msg)
	case zeekapi.AgentLogsRequest:
		m.logsRequest(d, msg)
	case zeekapi.AgentDispatchRequest:
		m.dispatchRequest(now, d, msg)
	case zeekapi.AgentRestartRequest:
		m.restartRequest(now, d, msg)
	case zeekapi.NodeHello:
		m.up(now, msg.Node)
	case zeekapi.NodeDispatchResponse:
		m.answered(msg)
	}
}
