package agent

import (
	"fmt"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// waiting is a deployment or a restart that has not been answered.
type waiting struct {
	dialect  *zeekapi.Dialect
	reqID    string
	restart  bool
	nodes    []string
	deadline time.Time
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
	a, err := assign(req.Config, m.self.Name)
	m.deployAssignment(now, d, req.ReqID, a, err, req.Force)
}

func (m *Machine) deployNodesRequest(now time.Time, d *zeekapi.Dialect, req zeekapi.AgentDeployNodesRequest) {
	a := &Assignment{ID: req.Config, Nodes: req.Nodes}
	var err error
	if a.Layout, err = req.Layout.Unpack(); err == nil {
		err = a.check(m.self.Name)
	}
	m.deployAssignment(now, d, req.ReqID, a, err, req.Force)
}

// deployAssignment makes a what should run, unless it cannot be.
func (m *Machine) deployAssignment(now time.Time, d *zeekapi.Dialect, req zeekapi.ReqID, a *Assignment, err error, force bool) {
	respond := func(r zeekapi.Result) {
		m.publish(d, zeekapi.AgentDeployResponse{ReqID: req, Results: []zeekapi.Result{r}})
	}
	same := err == nil && m.assigned != nil && !force && m.assigned.equal(a)
	switch {
	case same && (m.ending || m.unsaved == nil && m.allRun(a)):
		respond(m.success(req.ID))
		return
	case m.ending:
		respond(m.failure(req.ID, errorEnding))
		return
	case err != nil:
		respond(m.failure(req.ID, "%v", err))
		return
	}
	m.supersede("superseded by a newer deployment")
	if !same {
		m.adopt(now, a, force)
		m.save()
	}
	w := &waiting{dialect: d, reqID: req.ID, deadline: now.Add(m.RequestTimeout)}
	for _, n := range a.Nodes {
		w.nodes = append(w.nodes, n.Name)
	}
	slices.Sort(w.nodes)
	m.limitStages(now)
	m.deploy = w
}

// allRun reports whether there is nothing to wait for.
func (m *Machine) allRun(a *Assignment) bool {
	return !slices.ContainsFunc(a.Nodes, func(n zeekapi.Node) bool { return !m.runs(n.Name) })
}

// limitStages gives a new request half its time for one stage after the other,
// whatever was left to those before it that are answered.
func (m *Machine) limitStages(now time.Time) {
	m.expireRush(now)
	m.rushAt = now.Add(m.RequestTimeout / 2)
}

// expireRush has all nodes start for the sake of a request that has waited long
// enough for them to do so one after the other.
func (m *Machine) expireRush(now time.Time) {
	if m.deploy == nil && len(m.restarts) == 0 {
		m.rushAt, m.rush = time.Time{}, false
	}
	if !m.rushAt.IsZero() && !now.Before(m.rushAt) {
		m.rushAt, m.rush = time.Time{}, true
	}
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

func (m *Machine) restartRequest(now time.Time, d *zeekapi.Dialect, req zeekapi.AgentRestartRequest) {
	w := &waiting{
		dialect: d, reqID: req.ID, restart: true, deadline: now.Add(m.RequestTimeout),
		nodes: m.targets(req.Nodes),
	}
	if why := m.refuses(); why != "" {
		m.publish(d, zeekapi.AgentRestartResponse{ReqID: req.ReqID, Results: []zeekapi.Result{m.failure(req.ID, "%s", why)}})
		return
	}
	for _, name := range w.nodes {
		n := m.nodes[name]
		n.again = n.have != nil
		n.restarts++
		m.renew(now, n)
	}
	m.limitStages(now)
	m.restarts = append(m.restarts, w)
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

// refuses returns why the agent takes no more requests that wait for nodes, ""
// if it does.
func (m *Machine) refuses() string {
	switch {
	case m.ending:
		return errorEnding
	case len(m.restarts)+len(m.dispatches) >= MaxRequests:
		return errorBusy
	}
	return ""
}

const (
	errorBusy   = "too many requests at the same time"
	errorEnding = "the agent is shutting down"
)

// Pending returns how many requests wait for nodes.
func (m *Machine) Pending() int {
	n := len(m.restarts) + len(m.dispatches)
	if m.deploy != nil {
		n++
	}
	return n
}

// answer answers the requests for which there is nothing left to wait.
func (m *Machine) answer(now time.Time) {
	if w := m.deploy; w != nil && !m.saving && m.respond(now, w) {
		m.deploy = nil
	}
	m.restarts = slices.DeleteFunc(m.restarts, func(w *waiting) bool { return m.respond(now, w) })
}

// respond answers a request if its nodes run or have shown that they do not,
// and in any case when its time is up.
func (m *Machine) respond(now time.Time, w *waiting) bool {
	late := false
	for _, name := range w.nodes {
		n := m.nodes[name]
		if n == nil || n.want == nil || n.state == zeekapi.StateFailed || n.deaths >= DeathsToReport || m.runs(name) {
			continue
		}
		late = true
	}
	var results []zeekapi.Result
	if late {
		if now.Before(w.deadline) {
			return false
		}
		results = append(results, m.failure(w.reqID, zeekapi.ErrorTimeout))
	}
	if m.unsaved != nil && !w.restart {
		results = append(results, m.failure(w.reqID, "cannot save the configuration: %v", m.unsaved))
	}
	if len(w.nodes) == 0 && len(results) == 0 && !w.restart {
		results = append(results, m.success(w.reqID))
	}
	failed := 0
	for _, name := range w.nodes {
		if !m.runs(name) {
			failed++
		}
	}
	for _, name := range w.nodes {
		r := m.success(w.reqID)
		r.Node, r.Success = name, m.runs(name)
		if !r.Success {
			r.Error = m.trouble(name)
			r.Data = m.outputs(name, r.Error, MaxOutputs/2/failed)
			if w.restart {
				r.Error = fmt.Sprintf("could not restart node %s: %s", name, r.Error)
			}
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

// trouble says why a node does not run.
func (m *Machine) trouble(name string) string {
	n := m.nodes[name]
	switch {
	case n == nil || n.want == nil:
		return "no longer wanted"
	case n.lastError != "":
		return n.lastError
	case n.checking != nil:
		return "still being checked"
	case n.stopping || n.have != nil && !n.fits():
		return "still stopping what it replaces"
	case n.have != nil:
		return "still starting"
	}
	return "still waiting to start"
}

// outputs returns what a node had written when it last died, at most so many
// bytes of each output. Of a node that has not died, it is what is the trouble:
// of results of nodes Zeek's client shows no more than this.
func (m *Machine) outputs(name, trouble string, limit int) broker.Value {
	if n := m.nodes[name]; n != nil && n.outputs != nil {
		end := func(s string) string { return s[max(0, len(s)-limit):] }
		return mustMarshal(zeekapi.NodeOutputs{Stdout: end(n.outputs.Stdout), Stderr: end(n.outputs.Stderr)})
	}
	return mustMarshal(zeekapi.NodeOutputs{Stderr: trouble})
}

// mustMarshal is for records of the model, all of which can be marshalled.
func mustMarshal(v any) broker.Value {
	out, err := record.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("agent: %v", err))
	}
	return out
}
