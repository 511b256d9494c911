package supervised

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	control "github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

const (
	// requestTimeout is the longest time to wait for a response of the Supervisor.
	// Then its nodes are requested again.
	requestTimeout = 10 * time.Second

	// probeInterval is the time to wait for a response to one layout before the
	// next is tried. The Supervisor logs an error for each unknown layout.
	probeInterval = time.Second

	// outputsGrace is the longest time to wait for the last output of a dead node.
	// The Supervisor sends it right after it has restarted the node, but only if
	// it loads policy/frameworks/management/supervisor.
	outputsGrace = 500 * time.Millisecond
)

// errLayouts is the error of nodes under a Supervisor that supports no known layout.
var errLayouts = errors.New("the Supervisor supports none of the known layouts of nodes")

// The errors of nodes that a Supervisor cannot run.
var (
	errCPUs       = errors.New("a Supervisor runs a node on one CPU, or on any")
	errSite       = errors.New("nodes of a Supervisor cannot load the scripts of a site")
	errAssignment = errors.New("a Supervisor treats this assignment as a script, so args and networks require another launcher")
)

// refuse returns an error if a Supervisor cannot run a node.
func refuse(n launch.Node) error {
	if cpus, _ := n.CPUs(); len(cpus) > 1 {
		return errCPUs
	}
	if n.Site != "" {
		return errSite
	}
	for _, word := range n.Scripts {
		if zeekapi.IsAssignment(word) {
			return fmt.Errorf("%s: %w", word, errAssignment)
		}
	}
	return nil
}

// output is a message for the Supervisor, an event for the agent, or a log entry.
type output interface{ output() }

type (
	send struct {
		layout  control.Layout // of a CreateRequest
		message zeekapi.Message
	}
	report struct{ event launch.Event }
	note   struct{ node, text string }
)

func (send) output()   {}
func (report) output() {}
func (note) output()   {}

// machine is the launcher without I/O. Its methods return outputs, in order.
//
// It learns the nodes of the Supervisor from status responses. It requests one when the
// peering begins and when a request got no response. In between it tracks the effects
// of its own requests.
type machine struct {
	configure func(launch.Node) control.NodeConfig // the Supervisor's configuration of a node
	same      func(has, want control.NodeConfig) bool

	known  bool // whether the nodes of the Supervisor are known
	layout control.Layout
	probes int       // layouts tried so far
	nextAt time.Time // time of the next attempt; zero: none
	nodes  map[string]*node
	keep   []string // names of found nodes to keep
	decide bool     // whether keep is known

	requests map[string]request // by ID
	sent     uint64
	prefix   string // of request IDs
	warned   bool   // about Zeek's own agent

	out []output
}

// request is a request without a response.
type request struct {
	node     string         // "" for a status request or a probe
	probe    control.Layout // LayoutUnknown for other requests
	deadline time.Time
}

// node is a node that the agent started, or that the Supervisor has, or both.
type node struct {
	taken    *launch.Node // started by the agent, until Exited
	want     control.NodeConfig
	has      *control.NodeConfig // nil: the Supervisor does not have it
	busy     bool                // a request about it is pending
	stopping bool

	pid     int64
	started bool // whether a Started event was reported
	created bool // whether its hello is still to come

	revived time.Time // latest time to report its death; zero: it did not die
}

func newMachine(prefix string, configure func(launch.Node) control.NodeConfig, same func(has, want control.NodeConfig) bool) *machine {
	return &machine{
		configure: configure, same: same, prefix: prefix,
		nodes: make(map[string]*node), requests: make(map[string]request),
	}
}

func (m *machine) flush() []output {
	out := m.out
	m.out = nil
	return out
}

func (m *machine) emit(o output) { m.out = append(m.out, o) }

// request returns the ID of a new request.
func (m *machine) request(now time.Time, r request) zeekapi.ReqID {
	m.sent++
	id := fmt.Sprintf("%s-%d", m.prefix, m.sent)
	r.deadline = now.Add(requestTimeout)
	m.requests[id] = r
	return zeekapi.ReqID{ID: id}
}

// connected requests the nodes of the Supervisor.
func (m *machine) connected(now time.Time) []output {
	m.disconnected()
	m.ask(now)
	return m.flush()
}

func (m *machine) ask(now time.Time) {
	m.emit(send{message: control.StatusRequest{ReqID: m.request(now, request{})}})
}

// disconnected discards the state of the Supervisor, because the next peering may be with
// another Supervisor. Nodes are not affected.
func (m *machine) disconnected() {
	m.known, m.layout = false, control.LayoutUnknown
	m.probes, m.nextAt = 0, time.Time{}
	clear(m.requests)
	for _, n := range m.nodes {
		n.busy = false
	}
}

func (m *machine) start(now time.Time, n launch.Node) []output {
	held := m.nodes[n.Name]
	if err := refuse(n); err != nil && (held == nil || held.taken == nil) {
		m.emit(report{launch.Exited{Node: n.Name, Err: err}})
		return m.flush()
	}
	if held == nil {
		held = &node{}
		m.nodes[n.Name] = held
	}
	if held.taken == nil {
		held.taken, held.want = &n, m.configure(n)
		m.reconcile(now)
	}
	return m.flush()
}

func (m *machine) stop(now time.Time, name string) []output {
	if n := m.nodes[name]; n != nil && n.taken != nil {
		n.stopping = true
		m.reconcile(now)
	}
	return m.flush()
}

func (m *machine) keepOnly(now time.Time, names []string) []output {
	m.keep, m.decide = names, true
	m.reconcile(now)
	return m.flush()
}

// reconcile destroys surplus nodes first, and then creates missing nodes in the order
// of their stages.
func (m *machine) reconcile(now time.Time) {
	if !m.known {
		return
	}
	var create []launch.Node
	for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
		n := m.nodes[name]
		switch {
		case n.busy:
		case n.has != nil && m.surplus(name, n):
			n.busy = true
			m.emit(send{message: control.DestroyRequest{ReqID: m.request(now, request{node: name}), Node: name}})
		case n.has == nil && n.taken == nil:
			delete(m.nodes, name)
		case n.has == nil && n.stopping:
			m.gone(name, nil)
		case n.has == nil:
			create = append(create, *n.taken)
		case n.taken != nil && !n.started && n.pid != 0:
			m.runs(name, n)
		}
	}
	if m.layout == control.LayoutUnknown {
		if len(create) > 0 && len(m.requests) == 0 {
			m.probe(now)
		}
		return
	}
	slices.SortFunc(create, launch.Compare)
	for _, c := range create {
		n := m.nodes[c.Name]
		n.busy, n.created = true, true
		m.emit(send{m.layout, control.CreateRequest{ReqID: m.request(now, request{node: c.Name}), Node: n.want}})
	}
}

// surplus reports whether a node of the Supervisor must be destroyed: because the agent
// stopped it, changed it, or never started it.
func (m *machine) surplus(name string, n *node) bool {
	if n.taken != nil {
		return n.stopping || !m.same(*n.has, n.want)
	}
	return m.decide && !slices.Contains(m.keep, name)
}

// runs reports that a node runs. A found node has already sent its hello.
func (m *machine) runs(name string, n *node) {
	n.started = true
	m.emit(report{launch.Started{Node: name, PID: n.pid}})
	if !n.created {
		m.emit(report{launch.Up{Node: name}})
	}
}

// gone reports that a node has ended.
func (m *machine) gone(name string, err error) {
	delete(m.nodes, name)
	m.emit(report{launch.Exited{Node: name, Err: err}})
}

// probe tries the next layout. No request returns the layout of a Supervisor, and the
// status of a Supervisor without nodes does not contain it.
func (m *machine) probe(now time.Time) {
	l := control.Layouts[m.probes]
	id := m.request(now, request{probe: l})
	m.emit(send{l, control.Probe(id.ID)})
	m.probes, m.nextAt = m.probes+1, now.Add(probeInterval)
	if m.probes == len(control.Layouts) {
		m.nextAt = time.Time{}
	}
}

// received handles a message of the Supervisor.
func (m *machine) received(now time.Time, msg zeekapi.Message) []output {
	switch msg := msg.(type) {
	case control.NodeStarted:
		m.nodeStarted(now, msg)
	case zeekapi.NodeExit:
		if n := m.nodes[msg.Node]; n != nil && !n.revived.IsZero() {
			m.died(msg.Node, n, msg.Outputs)
		}
	default:
		if r, ok := m.requests[msg.RequestID()]; ok {
			m.response(now, r, msg)
		}
	}
	return m.flush()
}

func (m *machine) response(now time.Time, r request, msg zeekapi.Message) {
	delete(m.requests, msg.RequestID())
	n := m.nodes[r.node]
	switch msg := msg.(type) {
	case control.StatusResponse:
		m.status(msg.Nodes)
	case control.CreateResponse:
		if r.probe != control.LayoutUnknown {
			m.layout, m.nextAt = r.probe, time.Time{}
			clear(m.requests) // the other probes
			break
		}
		if n == nil {
			break
		}
		n.busy = false
		if msg.Error == "" {
			has := n.want
			n.has = &has
		} else {
			m.gone(r.node, errors.New(msg.Error))
		}
	case control.DestroyResponse:
		if n == nil {
			break
		}
		*n = node{taken: n.taken, want: n.want, stopping: n.stopping}
	}
	m.reconcile(now)
}

// deadline returns the time of the next tick; ok is false if none is needed.
func (m *machine) deadline() (t time.Time, ok bool) {
	earlier := func(u time.Time) {
		if !u.IsZero() && (!ok || u.Before(t)) {
			t, ok = u, true
		}
	}
	earlier(m.nextAt)
	for _, r := range m.requests {
		earlier(r.deadline)
	}
	for _, n := range m.nodes {
		earlier(n.revived)
	}
	return t, ok
}

func (m *machine) tick(now time.Time) []output {
	for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
		if n := m.nodes[name]; !n.revived.IsZero() && !now.Before(n.revived) {
			m.died(name, n, zeekapi.NodeOutputs{})
		}
	}
	if !m.nextAt.IsZero() && !now.Before(m.nextAt) {
		m.probe(now)
	}
	var late, probes bool
	for _, r := range m.requests {
		if !now.Before(r.deadline) {
			late, probes = true, probes || r.probe != control.LayoutUnknown
		}
	}
	if !late {
		return m.flush()
	}
	m.disconnected()
	if probes {
		for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
			if n := m.nodes[name]; n.taken != nil && n.has == nil {
				m.gone(name, errLayouts)
			}
		}
	} else {
		m.emit(note{"", "no response from the Supervisor, requesting the status again"})
	}
	m.ask(now)
	return m.flush()
}
