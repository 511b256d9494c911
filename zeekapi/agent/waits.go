package agent

import (
	"fmt"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// waits are the requests that wait for nodes to start: restarts, and at most
// one deployment.
type waits struct {
	*outbox
	nodes    *nodes
	target   *target
	deploy   *wait // nil: none
	restarts []*wait
}

// wait is a request that waits for nodes.
type wait struct {
	request
	nodes    []string // sorted
	deadline time.Time
}

// deployment makes a deployment wait for nodes, at most until deadline. Nodes start in
// stages, at most until stages.
func (ws *waits) deployment(now time.Time, req request, nodes []string, stages, deadline time.Time) {
	ws.limitStages(now, stages)
	ws.deploy = &wait{req, nodes, deadline}
}

// restart makes a restart wait for nodes, at most until deadline. Nodes start in stages
// for half of that time.
func (ws *waits) restart(now time.Time, req request, nodes []string, deadline time.Time) {
	ws.limitStages(now, now.Add(deadline.Sub(now)/2))
	ws.restarts = append(ws.restarts, &wait{req, nodes, deadline})
}

// limitStages makes nodes start in stages until limit, unless an older request has
// already exceeded its limit.
func (ws *waits) limitStages(now, limit time.Time) {
	ws.relax()
	ws.nodes.stages.expire(now)
	ws.nodes.stages.limitTo(limit)
}

// relax removes the limit from the stages if no request waits for nodes.
func (ws *waits) relax() {
	if ws.pending() == 0 {
		ws.nodes.stages.unlimited()
	}
}

// pending returns the number of requests that wait.
func (ws *waits) pending() int {
	if ws.deploy != nil {
		return len(ws.restarts) + 1
	}
	return len(ws.restarts)
}

// supersede responds to a deployment that will not complete.
func (ws *waits) supersede(reason string) {
	if w := ws.deploy; w != nil {
		ws.deploy = nil
		ws.refuse(w.request, "%s", reason)
	}
}

// answer responds to the requests that need not wait any longer.
func (ws *waits) answer(now time.Time) {
	if w := ws.deploy; w != nil && ws.target.saving == 0 && ws.over(now, w) {
		ws.deploy = nil
		ws.respond(w.request, ws.deployResults(w)...)
	}
	ws.restarts = slices.DeleteFunc(ws.restarts, func(w *wait) bool {
		if !ws.over(now, w) {
			return false
		}
		ws.respond(w.request, ws.restartResults(w)...)
		return true
	})
}

// over reports whether a request need not wait any longer, or has timed out.
func (ws *waits) over(now time.Time, w *wait) bool { return ws.settled(w) || !now.Before(w.deadline) }

func (ws *waits) settled(w *wait) bool {
	return !slices.ContainsFunc(w.nodes, func(name string) bool { return !ws.nodes.settled(name) })
}

// deployResults returns a result for each node, after the results for the whole
// deployment.
func (ws *waits) deployResults(w *wait) []zeekapi.Result {
	results := ws.timeout(w)
	if err := ws.target.failed; err != nil {
		results = append(results, ws.failure(w.id, "cannot save the configuration: %v", err))
	}
	if len(w.nodes) == 0 && len(results) == 0 {
		results = append(results, ws.success(w.id))
	}
	return append(results, ws.nodeResults(w, func(_, problem string) string { return problem })...)
}

func (ws *waits) restartResults(w *wait) []zeekapi.Result {
	return append(ws.timeout(w), ws.nodeResults(w, couldNotRestart)...)
}

func couldNotRestart(node, problem string) string {
	return fmt.Sprintf("could not restart node %s: %s", node, problem)
}

// timeout returns the result of a request that has timed out.
func (ws *waits) timeout(w *wait) []zeekapi.Result {
	if ws.settled(w) {
		return nil
	}
	return []zeekapi.Result{ws.failure(w.id, zeekapi.ErrorTimeout)}
}

// nodeResults returns a result for each node. The nodes that do not run share
// MaxOutputs.
func (ws *waits) nodeResults(w *wait, describe func(node, problem string) string) []zeekapi.Result {
	failed := 0
	for _, name := range w.nodes {
		if !ws.nodes.runs(name) {
			failed++
		}
	}
	var results []zeekapi.Result
	for _, name := range w.nodes {
		r := ws.success(w.id)
		r.Node = name
		if !ws.nodes.runs(name) {
			problem, outputs := ws.nodes.problem(name, MaxOutputs/2/failed)
			r.Success, r.Error, r.Data = false, describe(name, problem), outputs
		}
		results = append(results, r)
	}
	return results
}

func (ws *waits) deadline() (next timer) {
	if ws.deploy != nil {
		next.earlier(ws.deploy.deadline)
	}
	for _, w := range ws.restarts {
		next.earlier(w.deadline)
	}
	return next
}
