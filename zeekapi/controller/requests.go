package controller

import (
	"cmp"
	"container/heap"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Requests that time out are logged as warnings up to this rate.
const (
	timeoutBurst      = 100
	timeoutsPerSecond = 1
)

const errTooMany = "too many requests under way"

// requests keeps the pending requests, and the calls to agents on their behalf.
type requests struct {
	*outbox
	agents     *agents
	clients    *clients
	complaints *complaints
	newID      func() string
	timeout    time.Duration
	log        zerolog.Logger

	pending   map[string]*request // by ID
	deadlines deadlines           // of the same
	polls     *polls
	byAgent   map[*agent]calls
	round     uint64 // of calls that were answered together
	sequence  uint64 // of requests and calls
	awaited   int    // requests whose response a client waits for
	memory    int    // of the pending requests, in bytes
	arriving  int    // memory of the message that is being handled, in bytes

	news allowance // for warnings about requests that time out
}

func newRequests(out *outbox, a *agents, c *clients, complaints *complaints, newID func() string, timeout time.Duration, log zerolog.Logger) *requests {
	return &requests{
		outbox: out, agents: a, clients: c, complaints: complaints, newID: newID, timeout: timeout, log: log,
		pending: make(map[string]*request), polls: newPolls(out, a, newID), byAgent: make(map[*agent]calls),
		news: newAllowance(timeoutBurst, timeoutsPerSecond),
	}
}

// admit reports whether a client may send this message now. Others are ignored.
func (r *requests) admit(by broker.Peer, msg zeekapi.Message) bool {
	c := r.clients.of(by.ID)
	if !c.requests.take(r.now) {
		if c.requests.refused == 1 {
			r.log.Warn().Str("by", nameOf(by)).Msg("the client asks too much, ignoring some of it")
		}
		return false
	}
	c.requests.refused = 0
	if n := len(msg.RequestID()); n > maxText {
		r.complaints.about(by).Int("bytes", n).Str("by", nameOf(by)).Msg("ignoring a request with such a long ID")
		return false
	}
	if r.has(msg) {
		r.repeated(by, msg)
		return false
	}
	return true
}

// has reports whether a request with the same ID is pending.
func (r *requests) has(msg zeekapi.Message) bool { return r.pending[msg.RequestID()] != nil }

// repeated logs that a request is ignored because of its ID.
func (r *requests) repeated(by broker.Peer, msg zeekapi.Message) {
	r.complaints.about(by).Str("request", msg.RequestID()).Str("by", nameOf(by)).Msg("ignoring a request with the ID of one under way")
}

// answer responds to a request at once.
func (r *requests) answer(by broker.Peer, req zeekapi.Message, results ...zeekapi.Result) {
	r.emit(ToClients{Peer: by.ID, Message: zeekapi.RequestOf(req).Respond(req.RequestID(), results...)})
}

// excess refuses a request of a client that has too many under way. It does not answer all
// requests of a flood.
func (r *requests) excess(by broker.Peer, req zeekapi.Message) {
	if r.clients.of(by.ID).refusals.take(r.now) {
		r.complaints.about(by).Str("request", req.RequestID()).Str("by", nameOf(by)).Msg("refusing a request, too many are under way")
		r.answer(by, req, zeekapi.Failure(req.RequestID(), errTooMany))
	}
}

// begin registers a client's request. If too many are pending, it refuses the
// request and returns nil.
func (r *requests) begin(by broker.Peer, req zeekapi.Message) *request {
	c := r.clients.of(by.ID)
	memory := r.arriving
	if memory <= largeRequest {
		memory = 0
	}
	if c.open >= maxRequestsPerClient || len(r.pending) >= room(maxRequests, c.open >= r.clients.few()) ||
		memory > 0 && (c.memory > 0 && c.memory+memory > maxMemoryPerClient || r.memory >= room(maxMemory, c.memory > 0)) {
		r.excess(by, req)
		return nil
	}
	q := r.add(req.RequestID(), r.timeout, basicTask{})
	q.client, q.counted, q.memory = by.ID, true, memory
	r.memory += memory
	request, id := zeekapi.RequestOf(req), req.RequestID() // not the whole message, which may be large
	q.reply = func(results []zeekapi.Result) {
		r.emit(ToClients{Peer: by.ID, Message: request.Respond(id, results...)})
	}
	r.clients.opened(by.ID, memory)
	r.awaited++
	return q
}

// start registers a request of the controller itself.
func (r *requests) start(timeout time.Duration, t task) *request {
	return r.add(r.newID(), timeout, t)
}

func (r *requests) add(id string, timeout time.Duration, t task) *request {
	r.sequence++
	q := &request{id: id, sequence: r.sequence, deadline: r.now.Add(timeout), open: make(map[string]*call), task: t}
	r.pending[id] = q
	heap.Push(&r.deadlines, q)
	return q
}

// setTimeout gives a request a new deadline.
func (r *requests) setTimeout(q *request, timeout time.Duration) {
	q.deadline = r.now.Add(timeout)
	heap.Fix(&r.deadlines, q.index)
}

// call asks the agent of an instance, which must have one, on behalf of a
// request.
func (r *requests) call(q *request, instance string, ask question) *call {
	r.sequence++
	c := &call{sequence: r.sequence, request: q, instance: instance, agent: r.agents.of(instance), question: ask}
	q.open[instance] = c
	if r.byAgent[c.agent] == nil {
		r.byAgent[c.agent] = make(calls)
	}
	r.byAgent[c.agent][c] = true
	if ask.joint != "" {
		r.polls.join(c)
	} else {
		r.polls.ask(c)
	}
	return c
}

// drop forgets a call. A later answer to it is ignored.
func (r *requests) drop(c *call) {
	r.polls.leave(c)
	delete(c.request.open, c.instance)
	if c.agent == nil {
		return
	}
	delete(r.byAgent[c.agent], c)
	if len(r.byAgent[c.agent]) == 0 {
		delete(r.byAgent, c.agent)
	}
}

// expects reports whether a poll with that ID has no answer yet.
func (r *requests) expects(id string) bool { return r.polls.byID[id] != nil }

// answered takes an agent's answer to a poll. It ignores answers to unknown
// polls, which are late or meant for another controller; Zeek's agents also
// repeat themselves.
func (r *requests) answered(by broker.Peer, msg zeekapi.Message) {
	p := r.polls.byID[msg.RequestID()]
	if p == nil {
		r.log.Debug().Str("request", msg.RequestID()).Msg("ignoring an agent's answer to no open request")
		return
	}
	if p.agent == nil || p.agent.peer != by.ID {
		// Zeek's agents obey messages to agents whose names begin with theirs.
		r.complaints.about(by).Str("instance", p.instance).Msg("ignoring an answer by another peer than the agent that was asked")
		return
	}
	r.round++
	defer func() { r.round++ }() // what follows is not part of it
	for _, c := range p.calls.inOrder() {
		if !p.calls[c] { // dropped because of one of those before it
			continue
		}
		results, ok := c.request.task.accept(c, msg)
		if !ok {
			r.complaints.about(by).Str("instance", c.instance).Msgf("ignoring an answer of another kind than the request, %T", msg)
			return // the others have the same question
		}
		for i := range results {
			results[i].Instance = c.instance
		}
		c.hear(p)
		r.close(c, results)
	}
	r.polls.answered(p)
}

// unsupported deals with a message that an agent does not understand.
func (r *requests) unsupported(to ToAgent) {
	p := r.polls.byID[to.Message.RequestID()]
	if p == nil {
		return
	}
	if f := p.question.fallback; f != nil {
		if other := f(zeekapi.ReqID{ID: p.id}); reflect.TypeOf(other) != reflect.TypeOf(to.Message) {
			r.agents.tell(p.instance, other)
			return
		}
	}
	r.missAll(p, unsupported)
}

// missAll closes the calls of a poll that gets no answer.
func (r *requests) missAll(p *poll, why reason) {
	for _, c := range p.calls.inOrder() {
		if p.calls[c] { // not dropped because of one of those before it
			r.miss(c, why)
		}
	}
	r.polls.answered(p)
}

// miss closes a call that gets no answer.
func (r *requests) miss(c *call, why reason) {
	if results, ok := c.request.task.missed(c, why); ok {
		c.hear(nil)
		r.close(c, results)
	} else {
		c.agent, c.poll.agent = nil, nil // no other call has the poll, because questions of such tasks are not shared
	}
}

// lost deals with the calls to an agent that is no longer connected.
func (r *requests) lost(a *agent) {
	for _, c := range r.byAgent[a].inOrder() {
		if r.byAgent[a][c] { // not closed by one of those before it
			r.miss(c, notConnected)
		}
	}
	delete(r.byAgent, a)
}

// close ends a call, and its request if that was the last one.
func (r *requests) close(c *call, results []zeekapi.Result) {
	r.drop(c)
	c.request.results = append(c.request.results, results...)
	r.settle(c.request)
}

// settle ends a request that waits for nothing.
func (r *requests) settle(q *request) {
	if len(q.open) == 0 && q.task.complete(q) {
		r.finish(q)
	}
}

// fail ends a request with one more result for the client.
func (r *requests) fail(q *request, format string, args ...any) {
	q.results = append(q.results, zeekapi.Failure(q.id, format, args...))
	r.finish(q)
}

// finish removes a request and sends the response.
func (r *requests) finish(q *request) {
	for _, c := range q.open {
		r.drop(c)
	}
	delete(r.pending, q.id)
	heap.Remove(&r.deadlines, q.index)
	r.uncount(q)
	q.task.ended(q)
	r.reply(q, q.results)
}

// reply sends the response, unless it was sent before.
func (r *requests) reply(q *request, results []zeekapi.Result) {
	if q.reply != nil {
		r.awaited--
		q.reply(results)
		q.reply = nil
	}
}

// abandon responds to the requests of clients that are pending, except those with the
// given IDs, and returns the responses. The machine must not be used afterwards.
func (r *requests) abandon(except map[string]bool, why string) []Output {
	r.take()
	pending := slices.SortedFunc(maps.Values(r.pending), func(a, b *request) int { return cmp.Compare(a.sequence, b.sequence) })
	for _, q := range pending {
		if !except[q.id] {
			r.reply(q, []zeekapi.Result{zeekapi.Failure(q.id, "%s", why)})
		}
	}
	return r.take()
}

// uncount removes a request from the open ones of its client.
func (r *requests) uncount(q *request) {
	if q.counted {
		q.counted = false
		r.clients.closed(q.client, q.memory)
		r.memory -= q.memory
	}
}

// deadline returns the time at which the first request expires.
func (r *requests) deadline() alarm {
	if len(r.deadlines) == 0 {
		return alarm{}
	}
	return alarmAt(r.deadlines[0].deadline)
}

// expire ends the requests whose deadline has come.
func (r *requests) expire() {
	for r.deadline().due(r.now) {
		q := r.deadlines[0]
		level := zerolog.WarnLevel
		if !r.news.take(r.now) {
			level = zerolog.DebugLevel
		}
		r.log.WithLevel(level).Str("request", q.id).Strs("instances", q.task.awaited(q)).Msg(zeekapi.ErrorTimeout)
		if !q.task.expired(q) {
			r.fail(q, zeekapi.ErrorTimeout)
		}
	}
}
