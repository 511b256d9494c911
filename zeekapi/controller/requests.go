package controller

import (
	"cmp"
	"container/heap"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// What a client is told for an instance that gives no answer. Zeek's controller
// lets the request time out.
const (
	errNotConnected = "agent not connected"
	errUnsupported  = "not supported by the agent"
	errDrained      = "instance is drained"
	errNoStatus     = "agent sent something else than the status of nodes"
	errTooMany      = "too many requests under way"
	errEnding       = "the controller is shutting down"
)

// How many requests of clients there may be at a time, and how many of one
// client. More are refused, but not all of those of a client that does not
// listen: the answers would cost the others.
const (
	maxRequests          = 4096
	maxRequestsPerClient = 256
	refusalBurst         = 200
	refusalsPerSecond    = 5
)

// How often a client may ask. What comes in between is ignored.
const (
	requestBurst      = 5000
	requestsPerSecond = 1000
)

// client is what we remember of a client for as long as it is there, or waits.
type client struct {
	open     int // requests
	gone     bool
	requests allowance
	refusals allowance
}

// client returns what we know of a client.
func (m *Machine) client(by broker.Peer) *client {
	c := m.clients[by.ID]
	if c == nil {
		c = &client{requests: newAllowance(requestBurst, requestsPerSecond), refusals: newAllowance(refusalBurst, refusalsPerSecond)}
		m.clients[by.ID] = c
	}
	return c
}

func (m *Machine) clientLost(peer uuid.UUID) {
	if c := m.clients[peer]; c != nil {
		c.gone = true
		m.releaseClient(peer, c)
	}
}

func (m *Machine) releaseClient(peer uuid.UUID, c *client) {
	if c.gone && c.open == 0 {
		delete(m.clients, peer)
	}
}

// request is a client's request, or one of our own, under way.
type request struct {
	id       string
	client   uuid.UUID
	counted  bool // among the open ones of its client
	sequence uint64
	deadline time.Time
	index    int // in the heap of deadlines
	results  []zeekapi.Result
	open     map[string]*call // calls to agents not answered yet, by instance

	// done takes the results when all are there or time is up; nil if nobody
	// wants them, or any more.
	done func(results []zeekapi.Result)

	// accept turns an agent's answer into the results that the client gets.
	// It refuses answers to other kinds of requests.
	accept func(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool)

	// nodes returns the nodes of an instance that the request is about, if it
	// is about nodes rather than instances.
	nodes func(instance string) []string

	// more, if set, is asked when no call is open, and reports whether there is
	// something else to wait for.
	more func() bool

	*deployment // nil if it is none
}

// call is our request to one agent on behalf of a request.
type call struct {
	id       string
	sequence uint64
	request  *request
	instance string
	agent    *agent // that must answer, nil if it is gone
}

func sortedCalls(set map[*call]bool) []*call {
	calls := make([]*call, 0, len(set))
	for c := range set {
		calls = append(calls, c)
	}
	slices.SortFunc(calls, func(a, b *call) int { return cmp.Compare(a.sequence, b.sequence) })
	return calls
}

// deadlines is a heap of requests, the most urgent first.
type deadlines []*request

func (d deadlines) Len() int { return len(d) }
func (d deadlines) Less(i, j int) bool {
	if !d[i].deadline.Equal(d[j].deadline) {
		return d[i].deadline.Before(d[j].deadline)
	}
	return d[i].sequence < d[j].sequence
}
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}
func (d *deadlines) Push(x any) {
	r := x.(*request)
	r.index = len(*d)
	*d = append(*d, r)
}
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	r := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return r
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

// newRequest returns a request that nobody waits for yet.
func (m *Machine) newRequest(id string, patience time.Duration) *request {
	m.sequence++
	r := &request{id: id, sequence: m.sequence, deadline: m.now.Add(patience), open: make(map[string]*call)}
	m.requests[id] = r
	heap.Push(&m.deadlines, r)
	return r
}

// begin registers a client's request. If there are too many already, it
// answers that and returns nil.
func (m *Machine) begin(by broker.Peer, id string, respond func(zeekapi.ReqID, []zeekapi.Result) zeekapi.Message) *request {
	done := func(results []zeekapi.Result) {
		m.emit(ToClients{Peer: by.ID, Message: respond(zeekapi.ReqID{ID: id}, results)})
	}
	c := m.client(by)
	if len(m.requests) >= maxRequests || c.open >= maxRequestsPerClient {
		if c.refusals.take(m.now) {
			m.complain(by).Str("request", id).Str("by", who(by)).Msg("refusing a request, too many are under way")
			done([]zeekapi.Result{zeekapi.Failure(id, errTooMany)})
		}
		return nil
	}
	r := m.newRequest(id, m.settings.RequestTimeout)
	r.client, r.counted, r.done = by.ID, true, done
	c.open++
	return r
}

// hurry gives a request another deadline.
func (m *Machine) hurry(r *request, patience time.Duration) {
	r.deadline = m.now.Add(patience)
	heap.Fix(&m.deadlines, r.index)
}

// call asks the agent of an instance on behalf of r; make builds the message
// with the call's ID.
func (m *Machine) call(r *request, instance string, make func(zeekapi.ReqID) zeekapi.Message) *call {
	m.sequence++
	c := &call{id: m.newID(), sequence: m.sequence, request: r, instance: instance, agent: m.agents[instance]}
	m.calls[c.id] = c
	r.open[instance] = c
	c.agent.calls[c] = true
	m.toAgent(instance, make(zeekapi.ReqID{ID: c.id}))
	return c
}

// dropCall forgets a call, whose answer is of no interest any more.
func (m *Machine) dropCall(c *call) {
	delete(m.calls, c.id)
	delete(c.request.open, c.instance)
	if c.agent != nil {
		delete(c.agent.calls, c)
	}
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
	if c.agent == nil || c.agent.peer != peer.ID {
		// Zeek's agents hear what is meant for those whose name begins with
		// theirs, and obey.
		m.complain(peer).Str("instance", c.instance).Msg("ignoring an answer by another peer than the agent that was asked")
		return
	}
	results, ok := c.request.accept(c, msg)
	if !ok {
		m.complain(peer).Str("instance", c.instance).Msgf("ignoring an answer of another kind than the request, %T", msg)
		return
	}
	for i := range results {
		results[i].Instance = c.instance
	}
	m.close(c, results)
}

// unsupported deals with a message that an agent does not understand.
func (m *Machine) unsupported(to ToAgent) {
	c := m.calls[to.Message.RequestID()]
	if c == nil {
		return
	}
	if _, ok := to.Message.(zeekapi.AgentStatusRequest); ok {
		// One of Zeek's, which knows less.
		m.toAgent(c.instance, zeekapi.AgentGetNodesRequest{ReqID: zeekapi.ReqID{ID: c.id}})
		return
	}
	m.close(c, c.request.unanswered(c.instance, errUnsupported))
}

// close ends a call, and its request if that was the last.
func (m *Machine) close(c *call, results []zeekapi.Result) {
	m.dropCall(c)
	c.request.results = append(c.request.results, results...)
	m.settle(c.request)
}

// settle ends a request that waits for no agent.
func (m *Machine) settle(r *request) {
	if len(r.open) > 0 || r.more != nil && r.more() {
		return
	}
	if r.deployment != nil {
		if !m.complete(r) {
			return
		}
		m.deployed(r)
	}
	m.finish(r)
}

// fail ends a request with a result for the client.
func (m *Machine) fail(r *request, format string, args ...any) {
	r.results = append(r.results, zeekapi.Failure(r.id, format, args...))
	m.finish(r)
}

// finish gives the results to who waits for them, and forgets the request.
func (m *Machine) finish(r *request) {
	for _, c := range r.open {
		m.dropCall(c)
	}
	delete(m.requests, r.id)
	heap.Remove(&m.deadlines, r.index)
	m.uncount(r)
	if m.deployment == r {
		m.deployment = nil
	}
	if r.done != nil {
		r.done(r.results)
	}
}

// uncount has a request no longer count as one of its client.
func (m *Machine) uncount(r *request) {
	if !r.counted {
		return
	}
	r.counted = false
	c := m.clients[r.client]
	c.open--
	m.releaseClient(r.client, c)
}

// overdue deals with a request that takes too long.
func (m *Machine) overdue(r *request) {
	m.log.Warn().Str("request", r.id).Strs("instances", m.awaited(r)).Msg(zeekapi.ErrorTimeout)
	if r.deployment != nil {
		m.deploymentOverdue(r)
		return
	}
	m.fail(r, zeekapi.ErrorTimeout)
}

// awaited returns the instances that a request waits for.
func (m *Machine) awaited(r *request) []string {
	if r != m.deployment {
		return sortedKeys(r.open)
	}
	var names []string
	for _, name := range sortedKeys(m.wanted) {
		if r.open[name] != nil || m.blocks(m.wanted[name]) {
			names = append(names, name)
		}
	}
	return names
}

// listed is a list of names for people, who read only so many.
func listed(names []string) string {
	const most = 10
	if len(names) > most+1 {
		names = append(slices.Clone(names[:most]), strconv.Itoa(len(names)-most)+" more")
	}
	return strings.Join(names, ", ")
}
