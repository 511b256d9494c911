package controller

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// reason says why an agent gives no answer. Its text is the error that the
// client gets. Zeek's controller lets the request time out instead.
type reason string

// The reasons.
const (
	notConnected reason = "agent not connected"
	unsupported  reason = "not supported by the agent"
	drained      reason = "instance is drained"
	noStatus     reason = "agent sent something else than the status of nodes"
	noOutput     reason = "agent sent something else than the output of a node"
	noDiagnosis  reason = "agent sent something else than a diagnosis"
	noLeftovers  reason = "agent sent something else than leftovers"
)

// request is a pending request of a client, or of the controller itself.
type request struct {
	id       string
	client   uuid.UUID
	counted  bool // among the open requests of the client
	memory   int  // of its message, in bytes; 0 unless it is large
	sequence uint64
	deadline time.Time
	index    int // in the heap of deadlines
	results  []zeekapi.Result
	open     map[string]*call // calls without an answer, by instance
	task     task

	// heard has the polls that answered calls with shared questions, in order, and nil for
	// each call without an answer. Requests with equal heard have equal results.
	heard []*poll

	// reply sends the response to the client. It is nil for a request of the
	// controller itself, and after the response.
	reply func(results []zeekapi.Result)

	// nodes returns the nodes of an instance that the request is about. It is
	// nil for a request about instances.
	nodes func(instance string) []string
}

// task decides what becomes of a request. Its methods are called by requests,
// and may call it.
type task interface {
	// accept turns an agent's answer into results for the client. The result is
	// false for an answer to another kind of request, which is ignored.
	accept(c *call, msg zeekapi.Message) (results []zeekapi.Result, ok bool)

	// missed returns the results of an instance that gives no answer. The result
	// is false if the call is to stay open for the next agent of the instance.
	missed(c *call, why reason) (results []zeekapi.Result, ok bool)

	// complete is called when no call is open, and reports whether the request
	// is to end.
	complete(r *request) bool

	// expired is called at the deadline. It returns false if the request is to
	// time out, and true if it has a new deadline or has ended.
	expired(r *request) bool

	// ended is called after the request was removed, before its response is
	// sent. It may change the results.
	ended(r *request)

	// awaited returns the instances that the request waits for, sorted.
	awaited(r *request) []string
}

// basicTask is a task that calls no agents. It times out, and ends when no call
// is open.
type basicTask struct{}

func (basicTask) accept(*call, zeekapi.Message) ([]zeekapi.Result, bool) { return nil, false }
func (basicTask) missed(c *call, why reason) ([]zeekapi.Result, bool) {
	return c.request.unanswered(c.instance, why), true
}
func (basicTask) complete(*request) bool      { return true }
func (basicTask) expired(*request) bool       { return false }
func (basicTask) ended(*request)              {}
func (basicTask) awaited(r *request) []string { return sortedKeys(r.open) }

// inquiry is a task that accepts one kind of answer and collects the results.
type inquiry[A zeekapi.Message] struct {
	basicTask
	results func(c *call, answer A) []zeekapi.Result
}

func (q inquiry[A]) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	answer, ok := msg.(A)
	if !ok {
		return nil, false
	}
	return q.results(c, answer), true
}

// unanswered returns the results of an instance that gives no answer. Results of
// nodes name no instance, because otherwise zeek-client does not show the text.
func (r *request) unanswered(instance string, why reason) []zeekapi.Result {
	if r.nodes == nil {
		return []zeekapi.Result{{ReqID: r.id, Instance: instance, Error: string(why)}}
	}
	var results []zeekapi.Result
	for _, node := range r.nodes(instance) {
		results = append(results, zeekapi.Result{ReqID: r.id, Node: node, Error: string(why)})
	}
	return results
}

// withdraw removes the results of an instance.
func (r *request) withdraw(instance string) {
	r.results = slices.DeleteFunc(r.results, func(res zeekapi.Result) bool { return res.Instance == instance })
}

// notConnectedResult says how to go on without an instance.
func notConnectedResult(r *request, instance string) zeekapi.Result {
	res := zeekapi.Failure(r.id, "the agent of instance %s is not connected; start it, or drain the instance to go on without it", instance)
	res.Instance = instance
	return res
}

// question builds a message for an agent.
type question struct {
	message func(zeekapi.ReqID) zeekapi.Message

	// fallback, if non-nil, builds the message for an agent that does not
	// support the first one.
	fallback func(zeekapi.ReqID) zeekapi.Message

	// content identifies the message, see ToAgent.
	content uint64

	// part says that the message gets a part of a site, see ToAgent.
	part bool

	// joint identifies a question that requests may share, see function joint. It is "" for
	// other questions.
	joint string
}

// call is a question to one agent on behalf of a request.
type call struct {
	sequence uint64
	request  *request
	instance string
	agent    *agent // that must answer, nil if it is lost
	question question
	poll     *poll // nil: the call waits in its line
	line     *line // nil unless the question may be shared
}

// hear records the poll that has answered a call, nil if the call gets no answer.
func (c *call) hear(p *poll) {
	if c.line != nil {
		c.request.heard = append(c.request.heard, p)
	}
}

// calls is a set of calls.
type calls map[*call]bool

// inOrder returns the calls in the order in which they were made.
func (s calls) inOrder() []*call {
	list := make([]*call, 0, len(s))
	for c := range s {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *call) int { return cmp.Compare(a.sequence, b.sequence) })
	return list
}

// poll is a question that was sent to an agent, on behalf of one or more calls.
type poll struct {
	id       string
	instance string
	agent    *agent
	question question
	calls    calls
	line     *line // nil: no other calls have the same question
}

// line has the calls to an agent with the same question. Calls that arrive before the agent
// has answered wait, and share the next question. It is sent when the agent has answered, or
// after joinPatience. So no answer is older than the request that gets it, and many requests
// at the same time cost an agent few questions.
type line struct {
	key     lineKey
	open    int   // polls without an answer
	last    *poll // nil: it has its answer, or no call needs that any longer
	waiting calls
	due     alarm // for the calls that wait
}

// lineKey identifies a line.
type lineKey struct {
	agent    *agent
	question string
}
