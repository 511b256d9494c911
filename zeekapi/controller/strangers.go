package controller

import (
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Requests about all agents, of which Zeek's controller asks each one, must not fail or
// wait because of strangers.
const (
	// strangerPatience is the time that strangers have to answer.
	strangerPatience = 2 * time.Second

	// maxStrangers limits the strangers that one request is passed to, and
	// maxStrangerData the data of all of them in the response, in bytes.
	maxStrangers    = 100
	maxStrangerData = 4 << 20
)

// roundCall passes a request to all agents. Tasks embed it.
type roundCall struct {
	members  *members
	requests *requests
	rest     time.Duration // for members, after strangerPatience; 0: the deadline is for all
	data     int           // of strangers in the results, in bytes
}

// ask asks all agents on behalf of r, which has the given time.
func (t *roundCall) ask(r *request, q question, timeout time.Duration) {
	strangers := 0
	for _, name := range t.requests.agents.names() {
		if t.members.stranger(name) {
			if strangers++; strangers > maxStrangers {
				continue
			}
		}
		t.requests.call(r, name, q)
	}
	if strangers > 0 && timeout > strangerPatience {
		timeout, t.rest = strangerPatience, timeout-strangerPatience
	}
	t.requests.setTimeout(r, timeout)
}

// expired leaves out the strangers that have not answered. It returns false if it did so
// before.
func (t *roundCall) expired(r *request) bool {
	if t.rest == 0 {
		return false
	}
	for _, instance := range sortedKeys(r.open) {
		if t.members.stranger(instance) {
			t.requests.drop(r.open[instance])
		}
	}
	t.requests.setTimeout(r, t.rest)
	t.rest = 0
	t.requests.settle(r)
	return true
}

// excessive reports whether to leave out the results of an agent, because strangers send
// too much data.
func (t *roundCall) excessive(instance string, results []zeekapi.Result) bool {
	if !t.members.stranger(instance) {
		return false
	}
	memory := 0
	for _, r := range results {
		memory += r.Data.Memory() + len(r.Error)
	}
	if t.data+memory > maxStrangerData {
		return true
	}
	t.data += memory
	return false
}

// nodesReport is the task of a request for the nodes of all agents. Failures of strangers
// are left out.
type nodesReport struct {
	inquiry[zeekapi.AgentGetNodesResponse]
	*roundCall
}

func (t nodesReport) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	results, ok := t.inquiry.accept(c, msg)
	return t.relevant(c, results), ok
}

func (t nodesReport) missed(c *call, why reason) ([]zeekapi.Result, bool) {
	results, ok := t.inquiry.missed(c, why)
	return t.relevant(c, results), ok
}

// relevant returns the results to show.
func (t nodesReport) relevant(c *call, results []zeekapi.Result) []zeekapi.Result {
	failed := func(r zeekapi.Result) bool { return !r.Success }
	if t.members.stranger(c.instance) && slices.ContainsFunc(results, failed) || t.excessive(c.instance, results) {
		return nil
	}
	return results
}

// expired adds a failure for each agent that has not answered.
func (t nodesReport) expired(r *request) bool {
	if t.roundCall.expired(r) {
		return true
	}
	for _, instance := range sortedKeys(r.open) {
		r.results = append(r.results, zeekapi.Result{ReqID: r.id, Instance: instance, Error: zeekapi.ErrorTimeout})
	}
	t.requests.finish(r)
	return true
}
