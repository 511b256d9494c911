package agent

import (
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// trials are the pending requests for checks. They change no nodes, and do not delay the
// checks before starts.
type trials struct {
	*outbox
	nodes   *nodes
	pending []*trial // the oldest first
}

// trial is a request for a check.
type trial struct {
	request
	inspection
	scanning   bool        // waits for the changed scripts before it selects nodes
	assignment *Assignment // with renewal: the deployment to check
	renewal    renewal
	deadline   time.Time
}

// deployment begins the check of the nodes that a deployment of a would start.
func (ts *trials) deployment(now time.Time, req request, a *Assignment, r renewal) {
	ts.emit(Scan{})
	ts.pending = append(ts.pending, &trial{
		request: req, scanning: true, assignment: a, renewal: r, deadline: now.Add(TrialTimeout),
	})
}

// restart begins the check of the named nodes, or of all assigned nodes if there are no
// names.
func (ts *trials) restart(now time.Time, req request, wanted []string) {
	var nodes []launch.Node
	for _, name := range ts.nodes.selected(wanted) {
		nodes = append(nodes, *ts.nodes.wanted(name))
	}
	t := &trial{request: req, deadline: now.Add(TrialTimeout)}
	ts.pending = append(ts.pending, t)
	slices.SortFunc(nodes, launch.Compare)
	ts.begin(t, nodes)
	ts.answer()
}

// begin requests the check of nodes.
func (ts *trials) begin(t *trial, nodes []launch.Node) {
	if len(nodes) > 0 {
		t.inspection.begin(nodes)
		ts.emit(Check{Nodes: nodes, Trial: true})
	}
}

// scanned continues the requests that wait for the changed scripts.
func (ts *trials) scanned() {
	for _, t := range ts.pending {
		if t.scanning {
			t.scanning = false
			ts.begin(t, ts.nodes.replaced(t.assignment, t.renewal))
		}
	}
	ts.answer()
}

// checked passes a result to the oldest request that waits for it.
func (ts *trials) checked(ev launch.Checked) {
	for _, t := range ts.pending {
		if t.take(ev) {
			ts.answer()
			return
		}
	}
}

// answer responds to the requests that need not wait any more.
func (ts *trials) answer() {
	ts.pending = slices.DeleteFunc(ts.pending, func(t *trial) bool {
		if t.scanning || len(t.waiting) > 0 {
			return false
		}
		ts.respond(t.request, ts.results(t)...)
		return true
	})
}

// results returns a failure for each node that failed, or a success if there are none. If
// nodes failed because of their ports, the ports in use follow.
func (ts *trials) results(t *trial) []zeekapi.Result {
	if len(t.failed) == 0 {
		return []zeekapi.Result{ts.success(t.id)}
	}
	var results []zeekapi.Result
	for _, name := range t.failures() {
		reason, outputs := t.problem(name)
		results = append(results, ts.failedResult(t.id, name, reason, outputs))
	}
	if ports := t.portsInUse(); len(ports) > 0 {
		r := ts.success(t.id)
		r.Data = mustMarshal(zeekapi.MachinePorts{InUse: ports})
		results = append(results, r)
	}
	return results
}

// expire responds to the requests whose deadline has passed, with the results so far.
func (ts *trials) expire(now time.Time) {
	ts.pending = slices.DeleteFunc(ts.pending, func(t *trial) bool {
		if now.Before(t.deadline) {
			return false
		}
		results := []zeekapi.Result{ts.failure(t.id, zeekapi.ErrorTimeout)}
		if len(t.failed) > 0 {
			results = append(results, ts.results(t)...)
		}
		ts.respond(t.request, results...)
		return true
	})
}

func (ts *trials) deadline() (next timer) {
	for _, t := range ts.pending {
		next.earlier(t.deadline)
	}
	return next
}
