package agent

import (
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/diskwatch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// Machine is the agent without I/O. It takes events as inputs and returns
// outputs, the actions to perform. It has no goroutine, clock or socket, and
// must not be used concurrently.
type Machine struct {
	settings Settings
	out      *outbox
	ending   bool // Shutdown was received
	slow     int  // outputs of Diagnose and Cleanup without Finished

	// Each part owns its state. Parts may use the parts above them.
	presence   presence
	leadership leadership
	authority  authority
	target     target
	layouts    layouts
	problems   *problems
	nodes      *nodes
	disks      disks
	archiving  archiving
	hangs      hangs
	waits      waits
	trials     trials
	restarts   restarts
	dispatches dispatches
	figures    figures
	listings   listings
	history    history
	sites      usedSites
}

// Phase is the phase of a machine: Running, Ending or Ended.
type Phase = eventloop.Phase

// The phases.
const (
	Running = eventloop.Running // accepts all requests
	Ending  = eventloop.Ending  // refuses new requests that would wait for nodes
	Ended   = eventloop.Ended   // no request waits for nodes
)

// NewMachine returns an agent that continues from a state. It fails if a
// setting or the state is invalid. Start must be called before Step.
func NewMachine(s Settings, state State) (*Machine, error) {
	s, err := s.validate()
	if err != nil {
		return nil, err
	}
	if a := state.Assignment; a != nil {
		if err := a.check(s.Name); err != nil {
			return nil, fmt.Errorf("agent: configuration %s: %w", a.ID, err)
		}
	}
	out := &outbox{instance: s.Name}
	m := &Machine{
		settings:   s,
		out:        out,
		presence:   presence{outbox: out, self: s},
		leadership: newLeadership(out, state.Term),
		authority:  authority{outbox: out},
		target:     target{outbox: out},
		nodes:      newNodes(out, state.Running),
		history:    history{outbox: out},
	}
	m.problems = &problems{outbox: out}
	m.presence.problems, m.presence.leadership = m.problems, &m.leadership
	m.disks = disks{outbox: out, watch: diskwatch.New(s.Disks), nodes: m.nodes, target: &m.target, problems: m.problems}
	m.archiving = archiving{problems: m.problems, after: s.ArchiveFailingAfter}
	m.waits = waits{outbox: out, nodes: m.nodes, target: &m.target}
	m.trials = trials{outbox: out, nodes: m.nodes}
	m.restarts = restarts{outbox: out, nodes: m.nodes, waits: &m.waits}
	m.dispatches = dispatches{outbox: out, nodes: m.nodes, endpoint: s.EndpointID, pending: make(map[string]*dispatch)}
	m.figures = figures{outbox: out, nodes: m.nodes, endpoint: s.EndpointID, interval: s.MeasureInterval, interfaces: make(map[string]*series)}
	m.hangs = hangs{
		nodes: m.nodes, figures: &m.figures, problems: m.problems, after: s.HungAfter, restart: s.RestartHung,
		silent: make(map[string]time.Time), idle: make(map[string]time.Time),
	}
	m.listings = listings{outbox: out, nodes: m.nodes, pending: make(map[string]*listing)}
	m.sites = usedSites{outbox: out, nodes: m.nodes}
	if state.Known {
		a := state.Assignment.verified()
		m.target.set(a)
		m.presence.layout = a.layoutID()
		m.layouts.assigned(a)
		m.nodes.assign(time.Time{}, a, renewal{})
		m.nodes.recall(state.Kept)
		m.target.kept = m.nodes.kept()
		m.nodes.restore(state.Nodes)
		m.history.stored = state.Nodes
	}
	return m, nil
}

// Start returns the first outputs.
func (m *Machine) Start(now time.Time) []Output {
	m.presence.started = now
	m.nodes.rebase(now)
	m.figures.start(now)
	return m.settle(now)
}

// Step processes an input and returns the outputs in the order in which to
// perform them.
func (m *Machine) Step(now time.Time, in Input) []Output {
	if resp, ok := nodeResponse(in); ok {
		return m.nodeAnswered(now, resp)
	}
	switch in := in.(type) {
	case PeerAdded:
		m.leadership.peerAdded(in.Peer)
		m.presence.peerAdded(now, in.Peer)
	case PeerLost:
		m.leadership.peerLost(in.Peer)
		m.presence.peerLost()
		m.authority.lost(in.Peer)
		m.forsake(in.Peer.ID)
	case Received:
		m.receive(now, in)
	case Launched:
		m.launched(now, in.Event)
	case SiteStored:
		m.sites.stored(in)
	case Finished:
		m.slow = max(0, m.slow-1)
		m.out.publish(in.Dialect, in.Response)
	case DisksRead:
		m.disks.read(now, in.Spaces)
	case ArchiveRead:
		m.archiving.read(now, in.Failures)
	case InterfacesRead:
		m.figures.read(now, in.Traffic)
	case SpaceMeasured:
		m.figures.directories = in.Directories
	case ScriptsListed:
		m.listings.listed(in)
	case Persisted:
		m.target.persisted(now, in.Err)
	case TermStored:
		m.leadership.stored(now, in.Err)
	case StorageChanged:
		m.target.storageChanged(in.Why)
	case CheckStorage:
		m.out.emit(Verify{})
	case Shutdown:
		m.ending = true
	case Tick:
	}
	return m.settle(now)
}

// settle handles elapsed deadlines, reconciles the nodes, and responds to the
// requests that need not wait any longer.
func (m *Machine) settle(now time.Time) []Output {
	m.presence.expire(now)
	m.leadership.expire(now)
	m.target.expire(now)
	m.dispatches.expire(now)
	m.figures.expire(now)
	m.trials.expire(now)
	m.disks.settle(now)
	m.hangs.settle(now)
	m.waits.relax()
	m.restarts.advance(now)
	m.nodes.expire(now)
	m.nodes.reconcile(now)
	m.target.keep(m.nodes.kept())
	m.waits.answer(now)
	m.target.answer()
	m.history.save(now, m.nodes)
	m.sites.settle()
	m.problems.settle()
	if a := m.target.assignment; a.layoutID() != m.presence.layout {
		m.layouts.assigned(a)
		m.presence.assigned(a.layoutID())
	}
	return m.out.take()
}

func (m *Machine) receive(now time.Time, in Received) {
	d := in.Dialect
	switch msg := in.Message.(type) {
	case zeekapi.NodeHello:
		m.nodes.hello(now, msg.Node, false)
		return
	case zeekapi.AgentRefusal:
		m.authority.refused(in.Peer, msg)
		return
	case zeekapi.AgentLayout:
		m.keepLayout(in.Peer, msg)
		return
	}
	call := zeekapi.RequestOf(in.Message)
	handle := handlers[call]
	if handle == nil {
		return
	}
	m.authority.accepted(in.Peer)
	req := request{call, d, in.Message.RequestID(), in.Peer.ID, in.Peer.Addr}
	if isOrder(call) && !m.leadership.obeys(req) {
		return
	}
	if d == nil || d.Has(zeekapi.AgentChange{}) {
		m.out.dialect = d
	}
	switch in.Message.(type) {
	case zeekapi.AgentStandbyRequest, zeekapi.AgentDeployRequest, zeekapi.AgentDeployNodesRequest:
		m.authority.commanded(in.Peer, m.leadership.elected(in.Peer.ID))
	}
	handle(m, now, req, in.Message)
}

// keepLayout keeps a layout. It ignores controllers that the agent does not obey.
func (m *Machine) keepLayout(by broker.Peer, msg zeekapi.AgentLayout) {
	if m.leadership.disobeys(by.ID) != "" {
		return
	}
	m.layouts.receive(msg, m.target.assignment)
}

func (m *Machine) launched(now time.Time, ev launch.Event) {
	switch ev := ev.(type) {
	case launch.Upgraded:
		m.presence.upgraded(ev.Version)
	case launch.Checked:
		m.checked(now, ev)
	case launch.Edited:
		m.nodes.launched(now, ev)
		m.trials.scanned()
	default:
		m.nodes.launched(now, ev)
	}
}

// nodeResponse returns the response of a node that an input contains.
func nodeResponse(in Input) (resp zeekapi.NodeDispatchResponse, ok bool) {
	switch in := in.(type) {
	case Received:
		resp, ok = in.Message.(zeekapi.NodeDispatchResponse)
	case Launched:
		var answered launch.Answered
		answered, ok = in.Event.(launch.Answered)
		resp = answered.Response
	}
	return resp, ok
}

// nodeAnswered passes the response of a node to the part that asked. A thousand nodes may
// report measurements at the same time, which changes nothing before the last of them.
func (m *Machine) nodeAnswered(now time.Time, resp zeekapi.NodeDispatchResponse) []Output {
	switch {
	case !m.figures.answered(now, resp):
		m.dispatches.answered(resp)
	case !m.figures.complete():
		return m.out.take()
	}
	return m.settle(now)
}

// checked passes the result of a check to the first part that waits for it. There is one
// result for each requested check.
func (m *Machine) checked(now time.Time, ev launch.Checked) {
	switch {
	case ev.Trial:
		m.trials.checked(ev)
	case !m.nodes.checked(now, ev):
		m.restarts.checked(ev)
	}
}

// Deadline returns the time of the next Tick that the machine needs. The result
// is false if it needs none.
func (m *Machine) Deadline() (time.Time, bool) {
	next := m.presence.next
	next.earliest(m.leadership.retry)
	next.earliest(m.target.retry)
	next.earliest(m.waits.deadline())
	next.earliest(m.trials.deadline())
	next.earliest(m.restarts.deadline())
	next.earliest(m.dispatches.deadline())
	next.earliest(m.figures.deadline())
	next.earliest(m.hangs.deadline())
	next.earliest(m.nodes.deadline())
	if m.history.outdated(m.nodes) {
		next.earlier(m.history.quiet)
	}
	return next.at, next.set
}

// Phase returns the phase of the machine.
func (m *Machine) Phase() Phase {
	switch {
	case !m.ending:
		return Running
	case m.Pending() > 0:
		return Ending
	}
	return Ended
}

// Pending returns the number of requests that wait for nodes, or for a site to be stored.
func (m *Machine) Pending() int {
	return m.slow + m.sites.storing + m.waits.pending() + len(m.trials.pending) + len(m.restarts.pending) + len(m.dispatches.pending) +
		len(m.figures.waiting) + len(m.listings.pending)
}

// Nodes returns details of all nodes, sorted by name. They include nodes that
// are being stopped.
func (m *Machine) Nodes() []zeekapi.NodeDetail { return m.nodes.details() }

// Figures returns the last measurements of interfaces, sorted by name, and of directories.
func (m *Machine) Figures() ([]zeekapi.InterfaceTraffic, []zeekapi.DirectorySpace) {
	return m.figures.traffic(), m.figures.directories
}

// Storage returns why the agent cannot store its state, "" if it can.
func (m *Machine) Storage() string { return m.target.problem() }

// finish returns the last outputs. No Step may follow.
func (m *Machine) finish() []Output {
	if m.history.outdated(m.nodes) {
		m.history.store(m.nodes)
	}
	return m.out.take()
}
