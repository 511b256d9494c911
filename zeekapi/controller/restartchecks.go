package controller

import (
	"fmt"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// restartChecks has our agents check whether nodes could run again, before any node
// is restarted. Zeek's agents cannot check.
type restartChecks struct {
	agents   *agents
	requests *requests
}

// restartCheck is the task of a request that waits for the checks. When they have
// ended, then gets the problems. It returns whether the request ends.
type restartCheck struct {
	basicTask
	requests *requests
	then     func(problems []zeekapi.Result) (ends bool)
}

// ask begins the checks of nodes, by instance, on behalf of a request.
func (c *restartChecks) ask(r *request, nodes map[string][]string, then func(problems []zeekapi.Result) (ends bool)) {
	r.task = &restartCheck{requests: c.requests, then: then}
	for _, instance := range sortedKeys(nodes) {
		if a := c.agents.of(instance); a != nil && a.checks() && len(nodes[instance]) > 0 {
			c.requests.call(r, instance, question{message: func(id zeekapi.ReqID) zeekapi.Message {
				return zeekapi.AgentCheckRestartRequest{ReqID: id, Nodes: nodes[instance]}
			}})
		}
	}
	c.requests.settle(r)
}

func (t *restartCheck) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	answer, ok := msg.(zeekapi.AgentCheckRestartResponse)
	if !ok {
		return nil, false
	}
	return problems(c, answer.Results), true
}

// missed finds no problem in an agent that gives no answer: it does not restart its
// nodes either, or cannot check.
func (t *restartCheck) missed(*call, reason) ([]zeekapi.Result, bool) { return nil, true }

func (t *restartCheck) complete(r *request) bool {
	found := r.results
	r.results = nil
	return t.then(found)
}

func (t *restartCheck) expired(r *request) bool {
	waiting := t.awaited(r)
	r.results = []zeekapi.Result{
		zeekapi.Failure(r.id, zeekapi.ErrorTimeout),
		zeekapi.Failure(r.id, "no node was restarted: the check of %s has not ended", listed(waiting)),
	}
	t.requests.finish(r)
	return true
}

// problemsOf describes the problems that a check found, in one line.
func problemsOf(found []zeekapi.Result) string {
	return clip(fmt.Sprintf("no node was restarted: %s", reasonsOf(found)))
}
