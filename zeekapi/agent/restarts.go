package agent

import (
	"fmt"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// restarts are the pending restarts whose nodes are being checked. The nodes of a request
// restart when all have passed. If one fails, none restarts.
type restarts struct {
	*outbox
	nodes   *nodes
	waits   *waits
	pending []*restart // the oldest first
}

// restart is a request for a restart.
type restart struct {
	request
	inspection
	nodes    []string                // sorted
	latest   map[string]*launch.Node // configurations that were checked last, by name
	deadline time.Time
}

// begin adds a request to restart nodes. Its checks begin with advance.
func (rs *restarts) begin(req request, nodes []string, deadline time.Time) {
	rs.pending = append(rs.pending, &restart{request: req, nodes: nodes, latest: make(map[string]*launch.Node), deadline: deadline})
}

// checked passes a result to the oldest request that waits for it.
func (rs *restarts) checked(ev launch.Checked) {
	for _, r := range rs.pending {
		if r.take(ev) {
			return
		}
	}
}

// advance requests missing checks. Then it restarts the nodes of the requests whose
// checks have all passed, and responds to requests with failed checks or a passed
// deadline.
func (rs *restarts) advance(now time.Time) {
	rs.pending = slices.DeleteFunc(rs.pending, func(r *restart) bool {
		rs.inspect(r)
		switch {
		case len(r.waiting) > 0 && now.Before(r.deadline):
			return false
		case len(r.waiting)+len(r.failed) > 0:
			rs.abandon(r)
		default:
			rs.commit(now, r)
		}
		return true
	})
}

// inspect requests the checks of nodes whose assigned configuration has not been
// checked, because the request is new or there was another deployment.
func (rs *restarts) inspect(r *restart) {
	var unchecked []launch.Node
	for _, name := range r.nodes {
		want, latest := rs.nodes.wanted(name), r.latest[name]
		switch {
		case want == latest:
			continue
		case want == nil:
			delete(r.waiting, name)
			delete(r.failed, name)
		case latest == nil || !latest.Equal(*want):
			unchecked = append(unchecked, *want)
		}
		r.latest[name] = want
	}
	if len(unchecked) > 0 {
		slices.SortFunc(unchecked, launch.Compare)
		r.inspection.begin(unchecked)
		rs.emit(Check{Nodes: unchecked})
	}
}

// commit restarts the nodes of a request.
func (rs *restarts) commit(now time.Time, r *restart) {
	var passed []launch.Node
	for _, name := range r.nodes {
		if want := rs.nodes.wanted(name); want != nil {
			passed = append(passed, *want)
		}
	}
	rs.nodes.restart(now, passed)
	rs.waits.restart(now, r.request, r.nodes, r.deadline)
}

// abandon responds to a request, and restarts none of its nodes.
func (rs *restarts) abandon(r *restart) {
	var results []zeekapi.Result
	if len(r.waiting) > 0 {
		results = append(results, rs.failure(r.id, zeekapi.ErrorTimeout))
	}
	for _, name := range r.nodes {
		if _, failed := r.failed[name]; failed {
			problem, outputs := r.problem(name)
			rs.complain(name, "node %s cannot be restarted: %s", name, problem)
			results = append(results, rs.failedResult(r.id, name, couldNotRestart(name, problem), outputs))
			continue
		}
		why := rs.unchanged(r, name)
		results = append(results, rs.failedResult(r.id, name,
			fmt.Sprintf("node %s was not restarted: %s", name, why), mustMarshal(zeekapi.NodeOutputs{Stderr: why})))
	}
	rs.respond(r.request, results...)
}

// unchanged returns why a node whose check did not fail was not restarted.
func (rs *restarts) unchanged(r *restart, name string) string {
	_, waits := r.waiting[name]
	switch {
	case rs.nodes.wanted(name) == nil:
		return "no longer assigned to this instance"
	case waits:
		return "still being checked"
	case len(r.failed) > 0:
		return "another node of the request cannot run"
	}
	return "another node of the request is still being checked"
}

func (rs *restarts) deadline() (next timer) {
	for _, r := range rs.pending {
		next.earlier(r.deadline)
	}
	return next
}
