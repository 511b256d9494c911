package agent

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
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
	RequestTimeout = 8 * time.Second

	// MaxRequests is how many requests may wait at the same time.
	MaxRequests = 64

	// A node that lived for StableAfter has started well, as under Zeek's
	// Supervisor. One that dies MaxDeaths times in a row before that has
	// failed for good; in between the agent waits MinBackOff, doubled with
	// every death, at most MaxBackOff.
	StableAfter = 30 * time.Second
	MaxDeaths   = 5
	MinBackOff  = 500 * time.Millisecond
	MaxBackOff  = time.Minute
)

// apiVersion is that of both dialects.
const apiVersion = 1

// Input is something that happened: PeerAdded, PeerLost, Received, Launched or
// Tick.
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

	// Tick says that time has passed.
	Tick struct{}
)

func (PeerAdded) input() {}
func (PeerLost) input()  {}
func (Received) input()  {}
func (Launched) input()  {}
func (Tick) input()      {}

// Output is something to do: Publish, Keep, Start, Stop, Dispatch or Persist.
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

	// Start has the launcher start a node.
	Start struct{ Node launch.Node }

	// Stop has the launcher stop a node.
	Stop struct{ Node string }

	// Dispatch is a request for the nodes that it names.
	Dispatch struct{ Request zeekapi.NodeDispatchRequest }

	// Persist asks to remember the configuration across restarts of the
	// agent; nil to forget it.
	Persist struct{ Config *zeekapi.Configuration }
)

func (Publish) output()  {}
func (Keep) output()     {}
func (Start) output()    {}
func (Stop) output()     {}
func (Dispatch) output() {}
func (Persist) output()  {}

// Identity is what an agent says about itself.
type Identity struct {
	Name       string         // of the instance
	EndpointID string         // of the agent's endpoint; controllers look it up among their peers
	Connecting bool           // the agent connects to its controller
	Listen     netip.AddrPort // where it listens
	PID        int64
}

// Machine is the agent without its surroundings: Step tells it what happened
// and returns what to do. It has no goroutine, no clock and no socket, and is
// not safe for concurrent use.
type Machine struct {
	self Identity

	config *zeekapi.Configuration // nil: none
	nodes  map[string]*node
	keep   bool // the launcher does not know yet what should run

	peers     int
	nextHello time.Time

	// asked is the dialect of the last request, in which the agent also
	// reports what nobody asked for; nil, for all, until there was one.
	asked *zeekapi.Dialect

	deploy     *waiting
	restarts   []*waiting
	dispatches map[string]*dispatch // by the ID that nodes see
	dispatched uint64

	out []Output
}

// node is a node that the agent runs, should run, or is getting rid of.
type node struct {
	want *launch.Node // as what it should run; nil: not at all
	have *launch.Node // as what it was started, until it has exited; nil: it is not running

	stopping bool // have was told to stop
	again    bool // have must be told to stop, even though it is what we want

	state   zeekapi.State
	pid     int64
	started time.Time
	deaths  int       // in a row, none of which came late
	retry   time.Time // not to be started before
	outputs *zeekapi.NodeOutputs
}

// waiting is a deployment or a restart that has not been answered.
type waiting struct {
	dialect  *zeekapi.Dialect
	reqID    string
	restart  bool
	nodes    []string
	deadline time.Time
}

// dispatch is a request that went to nodes.
type dispatch struct {
	dialect  *zeekapi.Dialect
	reqID    string
	action   []string
	waiting  map[string]bool // nodes that have not answered
	results  []zeekapi.Result
	deadline time.Time
}

// NewMachine returns an agent that should run config, which may be nil. It
// starts nodes with the first Step.
func NewMachine(self Identity, config *zeekapi.Configuration) (*Machine, error) {
	m := &Machine{self: self, nodes: make(map[string]*node), dispatches: make(map[string]*dispatch)}
	if config != nil {
		nodes, err := plan(*config, self.Name)
		if err != nil {
			return nil, fmt.Errorf("agent: configuration %s: %w", config.ID, err)
		}
		m.adopt(config, nodes, false)
	}
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
	case Tick:
	}
	m.expire(now)
	m.reconcile(now)
	m.answer(now)
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
	if m.deploy != nil {
		earlier(m.deploy.deadline)
	}
	for _, w := range m.restarts {
		earlier(w.deadline)
	}
	for _, d := range m.dispatches {
		earlier(d.deadline)
	}
	if !m.stopping() {
		for _, n := range m.nodes {
			if n.want != nil && n.have == nil && n.state == zeekapi.StateCrashed {
				earlier(n.retry)
			}
		}
	}
	return t, ok
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
		Connecting: m.self.Connecting, Host: m.self.Listen.Addr(), APIVersion: apiVersion,
	})
	m.nextHello = now.Add(HelloInterval)
}

func (m *Machine) receive(now time.Time, d *zeekapi.Dialect, msg zeekapi.Message) {
	switch msg.(type) {
	case zeekapi.NodeHello, zeekapi.NodeDispatchResponse:
	default:
		m.asked = d
	}
	switch msg := msg.(type) {
	case zeekapi.AgentWelcomeRequest:
		m.publish(d, zeekapi.AgentWelcomeResponse{ReqID: msg.ReqID, Result: m.success(msg.ID)})
	case zeekapi.AgentStandbyRequest:
		m.supersede("the agent was told to stand by")
		m.adopt(nil, nil, false)
		m.emit(Persist{})
		m.publish(d, zeekapi.AgentStandbyResponse{ReqID: msg.ReqID, Result: m.success(msg.ID)})
	case zeekapi.AgentDeployRequest:
		m.deployRequest(now, d, msg)
	case zeekapi.AgentGetNodesRequest:
		m.getNodesRequest(d, msg)
	case zeekapi.AgentDispatchRequest:
		m.dispatchRequest(now, d, msg)
	case zeekapi.AgentRestartRequest:
		m.restartRequest(now, d, msg)
	case zeekapi.NodeHello:
		m.up(msg.Node)
	case zeekapi.NodeDispatchResponse:
		m.answered(msg)
	}
}

func (m *Machine) success(reqID string) zeekapi.Result {
	return zeekapi.Result{ReqID: reqID, Success: true, Instance: m.self.Name}
}

func (m *Machine) failure(reqID, format string, args ...any) zeekapi.Result {
	r := zeekapi.Failure(reqID, format, args...)
	r.Instance = m.self.Name
	return r
}

func (m *Machine) deployRequest(now time.Time, d *zeekapi.Dialect, req zeekapi.AgentDeployRequest) {
	respond := func(r zeekapi.Result) {
		m.publish(d, zeekapi.AgentDeployResponse{ReqID: req.ReqID, Results: []zeekapi.Result{r}})
	}
	if m.config != nil && m.config.ID == req.Config.ID && !req.Force {
		respond(m.success(req.ID))
		return
	}
	nodes, err := plan(req.Config, m.self.Name)
	if err != nil {
		respond(m.failure(req.ID, "%v", err))
		return
	}

	m.supersede("superseded by a newer deployment")
	m.adopt(&req.Config, nodes, req.Force)
	m.emit(Persist{Config: m.config})
	if len(nodes) == 0 {
		respond(m.success(req.ID))
		return
	}
	w := &waiting{dialect: d, reqID: req.ID, deadline: now.Add(RequestTimeout)}
	for _, n := range nodes {
		w.nodes = append(w.nodes, n.Name)
	}
	slices.Sort(w.nodes)
	m.deploy = w
}

// supersede answers a deployment that will not be finished.
func (m *Machine) supersede(why string) {
	if w := m.deploy; w != nil {
		m.deploy = nil
		m.publish(w.dialect, zeekapi.AgentDeployResponse{
			ReqID: zeekapi.ReqID{ID: w.reqID}, Results: []zeekapi.Result{m.failure(w.reqID, "%s", why)},
		})
	}
}

// adopt makes nodes what should run. Nodes that run as they should are left
// alone, unless all are to start anew.
func (m *Machine) adopt(config *zeekapi.Configuration, nodes []launch.Node, anew bool) {
	m.config = config
	for _, n := range m.nodes {
		n.want = nil
	}
	for _, want := range nodes {
		n := m.nodes[want.Name]
		if n == nil {
			n = &node{state: zeekapi.StatePending}
			m.nodes[want.Name] = n
		}
		n.want = &want
		n.again = anew && n.have != nil
		if n.have == nil || n.again || n.stopping || !n.have.Equal(want) {
			m.renew(n)
		}
	}
	for name, n := range m.nodes {
		if n.want == nil && n.have == nil {
			delete(m.nodes, name)
		}
	}
	m.keep = true
}

// renew forgets the past of a node that is to be started.
func (m *Machine) renew(n *node) {
	n.deaths, n.retry, n.outputs = 0, time.Time{}, nil
	m.setState(n, zeekapi.StatePending)
}

// setState changes the state of a node that should run, and tells about it.
func (m *Machine) setState(n *node, s zeekapi.State) {
	if n.state == s {
		return
	}
	m.changed(n.want.Node, n.state, s)
	n.state = s
}

func (m *Machine) changed(n zeekapi.Node, from, to zeekapi.State) {
	n.State = to
	m.publish(m.asked, zeekapi.AgentChange{Instance: m.self.Name, Node: n, Old: from, New: to})
}

// reconcile stops what should not run and starts what should.
//
// Nothing starts while something stops: the new may need the ports of the old.
func (m *Machine) reconcile(now time.Time) {
	if m.keep {
		m.keep = false
		m.emit(Keep{Nodes: slices.Sorted(maps.Keys(m.nodes))})
	}
	var start, stop []launch.Node
	for _, n := range m.nodes {
		switch {
		case n.stopping:
		case n.have != nil && (n.want == nil || n.again || n.state == zeekapi.StateFailed || !n.have.Equal(*n.want)):
			n.stopping, n.again = true, false
			stop = append(stop, *n.have)
		case n.have == nil && n.want != nil && n.state != zeekapi.StateFailed && !now.Before(n.retry):
			start = append(start, *n.want)
		}
	}
	slices.SortFunc(stop, func(a, b launch.Node) int { return launch.Compare(b, a) })
	for _, s := range stop {
		m.emit(Stop{Node: s.Name})
	}
	if m.stopping() {
		return
	}
	slices.SortFunc(start, launch.Compare)
	for _, s := range start {
		n := m.nodes[s.Name]
		n.have, n.started = &s, now
		m.setState(n, zeekapi.StatePending)
		m.emit(Start{Node: s})
	}
}

// stopping reports whether some node was told to stop and has not.
func (m *Machine) stopping() bool {
	for _, n := range m.nodes {
		if n.stopping {
			return true
		}
	}
	return false
}

func (m *Machine) launched(now time.Time, ev launch.Event) {
	switch ev := ev.(type) {
	case launch.Started:
		if n := m.nodes[ev.Node]; n != nil {
			n.pid = ev.PID
		}
	case launch.Up:
		m.up(ev.Node)
	case launch.Revived:
		m.revived(now, ev)
	case launch.Exited:
		m.exited(now, ev)
	case launch.Answered:
		m.answered(ev.Response)
	}
}

func (m *Machine) up(name string) {
	n := m.nodes[name]
	if n == nil || n.want == nil || n.have == nil || n.stopping {
		return
	}
	m.setState(n, zeekapi.StateRunning)
}

func (m *Machine) exited(now time.Time, ev launch.Exited) {
	n := m.nodes[ev.Node]
	if n == nil || n.have == nil {
		return
	}
	was, neverRan, expected := n.have, n.pid == 0, n.stopping
	n.have, n.stopping, n.again, n.pid = nil, false, false, 0
	if n.want == nil {
		m.changed(was.Node, n.state, zeekapi.StateStopped)
		delete(m.nodes, ev.Node)
		return
	}
	if expected {
		if n.state != zeekapi.StateFailed {
			m.renew(n)
		}
		return
	}

	if neverRan {
		m.complain(ev.Node, "failed to create node %s: %v", ev.Node, ev.Err)
	} else if ev.Err != nil {
		m.complain(ev.Node, "node %s died: %v", ev.Node, ev.Err)
	} else {
		m.complain(ev.Node, "node %s ended by itself", ev.Node)
	}
	m.died(now, n, ev.Outputs)
	if n.state == zeekapi.StateCrashed {
		n.retry = now.Add(min(MinBackOff<<(n.deaths-1), MaxBackOff))
	}
}

// revived is about a node that runs again without our doing. One that we are
// about to stop has not died but ends that way.
func (m *Machine) revived(now time.Time, ev launch.Revived) {
	n := m.nodes[ev.Node]
	if n == nil || n.have == nil || n.want == nil || n.stopping {
		return
	}
	m.complain(ev.Node, "node %s died", ev.Node)
	m.died(now, n, ev.Outputs)
	n.started, n.pid = now, ev.PID
}

// died counts the death of a node and says what becomes of it: CRASHED, or
// FAILED if it has died too often.
func (m *Machine) died(now time.Time, n *node, outputs zeekapi.NodeOutputs) {
	if now.Sub(n.started) >= StableAfter {
		n.deaths = 0
	}
	n.deaths++
	n.outputs = &outputs
	if n.deaths < MaxDeaths {
		m.setState(n, zeekapi.StateCrashed)
		return
	}
	m.setState(n, zeekapi.StateFailed)
	m.complain(n.want.Name, "node %s died %d times in a row, giving up", n.want.Name, n.deaths)
}

func (m *Machine) complain(node, format string, args ...any) {
	m.publish(m.asked, zeekapi.AgentError{Instance: m.self.Name, Node: node, Text: fmt.Sprintf(format, args...)})
}

// runs reports whether a node runs as it should.
func (m *Machine) runs(name string) bool {
	n := m.nodes[name]
	return n != nil && n.want != nil && n.have != nil && !n.stopping && !n.again && n.state == zeekapi.StateRunning
}

// answer answers the requests for which there is nothing left to wait.
func (m *Machine) answer(now time.Time) {
	if w := m.deploy; w != nil && m.respond(now, w) {
		m.deploy = nil
	}
	m.restarts = slices.DeleteFunc(m.restarts, func(w *waiting) bool { return m.respond(now, w) })
}

func (m *Machine) respond(now time.Time, w *waiting) bool {
	decided := func(name string) bool {
		n := m.nodes[name]
		return n == nil || n.want == nil || n.state == zeekapi.StateFailed || m.runs(name)
	}
	var results []zeekapi.Result
	for _, name := range w.nodes {
		if decided(name) {
			continue
		}
		if now.Before(w.deadline) {
			return false
		}
		results = []zeekapi.Result{m.failure(w.reqID, zeekapi.ErrorTimeout)}
		break
	}
	for _, name := range w.nodes {
		r := m.success(w.reqID)
		r.Node, r.Success = name, m.runs(name)
		if !r.Success {
			if w.restart {
				r.Error = fmt.Sprintf("could not restart node %s", name)
			}
			r.Data = m.outputs(name)
		}
		results = append(results, r)
	}
	id := zeekapi.ReqID{ID: w.reqID}
	if w.restart {
		m.publish(w.dialect, zeekapi.AgentRestartResponse{ReqID: id, Results: results})
	} else {
		m.publish(w.dialect, zeekapi.AgentDeployResponse{ReqID: id, Results: results})
	}
	return true
}

// outputs returns what a node had written when it last died, or none.
func (m *Machine) outputs(name string) broker.Value {
	n := m.nodes[name]
	if n == nil || n.outputs == nil {
		return broker.None()
	}
	return mustMarshal(*n.outputs)
}

// mustMarshal is for records of the model, all of which can be marshalled.
func mustMarshal(v any) broker.Value {
	out, err := zeekapi.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

func (m *Machine) getNodesRequest(d *zeekapi.Dialect, req zeekapi.AgentGetNodesRequest) {
	self := zeekapi.NodeStatus{
		Node: m.self.Name, State: zeekapi.StateRunning, PID: m.self.PID,
		ManagementRole: zeekapi.ManagementAgent, ClusterRole: zeekapi.RoleNone,
	}
	if !m.self.Connecting {
		self.Port = broker.TCP(m.self.Listen.Port())
	}
	statuses := []zeekapi.NodeStatus{self}
	for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
		n := m.nodes[name]
		if n.want == nil {
			continue
		}
		statuses = append(statuses, zeekapi.NodeStatus{
			Node: name, State: n.state, PID: n.pid,
			ManagementRole: zeekapi.ManagementNone, ClusterRole: n.want.Role,
			Port: n.want.Port, MetricsPort: n.want.MetricsPort,
		})
	}
	r := m.success(req.ID)
	r.Data = mustMarshal(statuses)
	m.publish(d, zeekapi.AgentGetNodesResponse{ReqID: req.ReqID, Result: r})
}

// targets returns those of the wanted nodes that are ours, or all of ours if
// none are named, sorted.
func (m *Machine) targets(wanted []string) []string {
	var names []string
	for name, n := range m.nodes {
		if n.want != nil && (len(wanted) == 0 || slices.Contains(wanted, name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// busy reports whether there are as many requests waiting as there may be.
func (m *Machine) busy() bool { return len(m.restarts)+len(m.dispatches) >= MaxRequests }

const errorBusy = "too many requests at the same time"

func (m *Machine) restartRequest(now time.Time, d *zeekapi.Dialect, req zeekapi.AgentRestartRequest) {
	w := &waiting{
		dialect: d, reqID: req.ID, restart: true, deadline: now.Add(RequestTimeout),
		nodes: m.targets(req.Nodes),
	}
	if m.busy() {
		m.publish(d, zeekapi.AgentRestartResponse{ReqID: req.ReqID, Results: []zeekapi.Result{m.failure(req.ID, errorBusy)}})
		return
	}
	for _, name := range w.nodes {
		n := m.nodes[name]
		n.again = n.have != nil
		m.renew(n)
	}
	m.restarts = append(m.restarts, w)
}

func (m *Machine) dispatchRequest(now time.Time, d *zeekapi.Dialect, req zeekapi.AgentDispatchRequest) {
	p := &dispatch{
		dialect: d, reqID: req.ID, action: req.Action, deadline: now.Add(RequestTimeout),
		waiting: make(map[string]bool),
	}
	if m.busy() {
		p.results = []zeekapi.Result{m.failure(req.ID, errorBusy)}
		m.finish(p)
		return
	}
	var nodes []string
	for _, name := range m.targets(req.Nodes) {
		if m.runs(name) {
			nodes = append(nodes, name)
			p.waiting[name] = true
		} else {
			p.fail(m, name, "cluster node %s not in running state", name)
		}
	}
	if len(nodes) == 0 {
		m.finish(p)
		return
	}
	m.dispatched++
	id := fmt.Sprintf("%s-%d", m.self.EndpointID, m.dispatched)
	m.dispatches[id] = p
	m.emit(Dispatch{Request: zeekapi.NodeDispatchRequest{ReqID: zeekapi.ReqID{ID: id}, Action: req.Action, Nodes: nodes}})
}

func (p *dispatch) fail(m *Machine, node, format string, args ...any) {
	r := m.failure(p.reqID, format, args...)
	r.Node = node
	p.results = append(p.results, r)
}

func (m *Machine) answered(resp zeekapi.NodeDispatchResponse) {
	p := m.dispatches[resp.ID]
	if p == nil || !p.waiting[resp.Result.Node] {
		return
	}
	delete(p.waiting, resp.Result.Node)

	// Zeek's controller trips over a value that is not a string.
	if k := resp.Result.Data.Kind(); k != broker.KindString && k != broker.KindNone {
		p.fail(m, resp.Result.Node, "node answered with a %s, want string", k)
	} else {
		r := resp.Result
		r.ReqID, r.Instance = p.reqID, m.self.Name
		p.results = append(p.results, r)
	}
	if len(p.waiting) == 0 {
		delete(m.dispatches, resp.ID)
		m.finish(p)
	}
}

func (m *Machine) finish(p *dispatch) {
	m.publish(p.dialect, zeekapi.AgentDispatchResponse{ReqID: zeekapi.ReqID{ID: p.reqID}, Results: p.results})
}

// expire does what is due.
func (m *Machine) expire(now time.Time) {
	if m.peers > 0 && !now.Before(m.nextHello) {
		m.hello(now)
	}
	// Of requests that end at the same time the older is answered first.
	ids := slices.SortedFunc(maps.Keys(m.dispatches), func(a, b string) int {
		return cmp.Or(m.dispatches[a].deadline.Compare(m.dispatches[b].deadline), cmp.Compare(a, b))
	})
	for _, id := range ids {
		p := m.dispatches[id]
		late := !now.Before(p.deadline)
		for _, name := range slices.Sorted(maps.Keys(p.waiting)) {
			switch {
			case !m.runs(name):
				p.fail(m, name, "cluster node %s not in running state", name)
			case late:
				p.fail(m, name, zeekapi.ErrorTimeout)
			default:
				continue
			}
			delete(p.waiting, name)
		}
		if len(p.waiting) == 0 {
			delete(m.dispatches, id)
			m.finish(p)
		}
	}
}
