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

// restartCheck is the task of a request that waits for the checks. When all agents have
// checked that the instances have then, the function then gets the problems. It returns
// whether the request ends.
type restartCheck struct {
	basicTask
	*restartChecks
	request *request
	nodes   func() map[string][]string // to restart, by instance
	asked   map[string]uint64          // terms of the agents that were asked, by instance
	then    func(problems []zeekapi.Result) (ends bool)
}

// ask begins the checks of nodes on behalf of a request.
func (c *restartChecks) ask(r *request, nodes func() map[string][]string, then func(problems []zeekapi.Result) (ends bool)) {
	t := &restartCheck{restartChecks: c, request: r, nodes: nodes, asked: make(map[string]uint64), then: then}
	r.task = t
	c.requests.settle(r)
}

// ask asks the agents that can check and were not asked yet. Problems that another agent
// of the same instance found do not count.
func (t *restartCheck) ask() {
	nodes := t.nodes()
	for _, instance := range sortedKeys(nodes) {
		a := t.agents.of(instance)
		if a == nil || t.asked[instance] == a.term {
			continue
		}
		t.request.withdraw(instance)
		if a.checks() && len(nodes[instance]) > 0 {
			t.asked[instance] = a.term
			t.requests.call(t.request, instance, question{message: func(id zeekapi.ReqID) zeekapi.Message {
				return zeekapi.AgentCheckRestartRequest{ReqID: id, Nodes: nodes[instance]}
			}})
		}
	}
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
	if t.ask(); len(r.open) > 0 {
		return false
	}
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
