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
	// requestTimeout is how long the Supervisor may take to answer. Then
	// everything is found out anew.
	requestTimeout = 10 * time.Second

	// probeInterval is how long a layout may go unanswered before the next is
	// tried. Of each that it does not understand the Supervisor complains in its
	// log.
	probeInterval = time.Second

	// outputsGrace is the longest time to wait for the last output of a dead node.
	// The Supervisor sends it right after it has started the node again, but
	// only if it loads policy/frameworks/management/supervisor.
	outputsGrace = 500 * time.Millisecond
)

// errLayouts says that the Supervisor is too old or too new.
var errLayouts = errors.New("the Supervisor understands none of the known layouts of nodes")

// output is a message for the Supervisor, an event for the agent or a note for
// the log.
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

// machine is the launcher without its surroundings. Its methods return what to
// do, in that order.
//
// What it knows of the Supervisor comes from status responses, of which it
// asks for one whenever the peering comes up and whenever something went
// unanswered. In between it follows what it asked for itself.
type machine struct {
	configure func(launch.Node) control.NodeConfig // as the Supervisor is to have it
	same      func(has, want control.NodeConfig) bool

	known  bool // whether the nodes of the Supervisor are known
	layout control.Layout
	probes int       // layouts that were tried
	nextAt time.Time // when to try the next; zero: not at all
	nodes  map[string]*node
	keep   []string // of the found ones
	decide bool     // keep is known

	requests map[string]request // by ID
	sent     uint64
	prefix   string // of request IDs
	warned   bool   // of Zeek's own agent

	out []output
}

// request is one that was not answered yet.
type request struct {
	node     string         // "" for a status request or a probe
	probe    control.Layout // LayoutUnknown for the others
	deadline time.Time
}

// node is a node that the agent started, that the Supervisor has, or both.
type node struct {
	taken    *launch.Node // by the agent, until Exited
	want     control.NodeConfig
	has      *control.NodeConfig // nil: the Supervisor does not have it
	busy     bool                // a request about it is pending
	stopping bool

	pid     int64
	started bool // the agent knows that it runs
	created bool // by us, or otherwise so lately that it has not said hello

	revived time.Time // when to report that it died, at the latest; zero: it did not
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

// request returns the ID for a new request.
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

// disconnected forgets what may no longer be so: another Supervisor may be
// there next time. Nodes stay as they are.
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

// reconcile does what is left to do: destroys before it creates, and creates
// in the order in which nodes are best started.
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

// surplus reports whether a node that the Supervisor has must go: because it
// shall, because it shall be another, or because nobody wants it.
func (m *machine) surplus(name string, n *node) bool {
	if n.taken != nil {
		return n.stopping || !m.same(*n.has, n.want)
	}
	return m.decide && !slices.Contains(m.keep, name)
}

// runs reports that a node runs. One that was found has said its hello long
// ago.
func (m *machine) runs(name string, n *node) {
	n.started = true
	m.emit(report{launch.Started{Node: name, PID: n.pid}})
	if !n.created {
		m.emit(report{launch.Up{Node: name}})
	}
}

// gone reports the end of a node.
func (m *machine) gone(name string, err error) {
	delete(m.nodes, name)
	m.emit(report{launch.Exited{Node: name, Err: err}})
}

// probe tries one layout more. A Supervisor cannot be asked for its own, and one
// without nodes shows none.
func (m *machine) probe(now time.Time) {
	l := control.Layouts[m.probes]
	id := m.request(now, request{probe: l})
	m.emit(send{l, control.Probe(id.ID)})
	m.probes, m.nextAt = m.probes+1, now.Add(probeInterval)
	if m.probes == len(control.Layouts) {
		m.nextAt = time.Time{}
	}
}

// received takes a message of the Supervisor.
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

// deadline returns when the machine needs a tick; ok is false if it does not.
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
		m.emit(note{"", "the Supervisor does not answer, asking again"})
	}
	m.ask(now)
	return m.flush()
}
