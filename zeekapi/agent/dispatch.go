package agent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// dispatch is a request that went to nodes.
type dispatch struct {
	dialect  *zeekapi.Dialect
	reqID    string
	action   []string
	waiting  map[string]bool // nodes that have not answered
	results  []zeekapi.Result
	deadline time.Time
}

func (m *Machine) dispatchRequest(now time.Time, d *zeekapi.Dialect, req zeekapi.AgentDispatchRequest) {
	p := &dispatch{
		dialect: d, reqID: req.ID, action: req.Action, deadline: now.Add(m.RequestTimeout),
		waiting: make(map[string]bool),
	}
	if why := m.refuses(); why != "" {
		p.results = []zeekapi.Result{m.failure(req.ID, "%s", why)}
		m.finish(p)
		return
	}
	var nodes []string
	for _, name := range m.targets(req.Nodes) {
		if m.runs(name) {
			nodes = append(nodes, name)
			p.waiting[name] = true
		} else {
			p.fail(m, name, "cluster node %s not in running state", name)
		}
	}
	if len(nodes) == 0 {
		m.finish(p)
		return
	}
	m.dispatched++
	id := fmt.Sprintf("%s-%d", m.self.EndpointID, m.dispatched)
	m.dispatches[id] = p
	m.emit(Dispatch{Request: zeekapi.NodeDispatchRequest{ReqID: zeekapi.ReqID{ID: id}, Action: req.Action, Nodes: nodes}})
}

func (p *dispatch) fail(m *Machine, node, format string, args ...any) {
	r := m.failure(p.reqID, format, args...)
	r.Node = node
	p.results = append(p.results, r)
}

func (m *Machine) answered(resp zeekapi.NodeDispatchResponse) {
	p := m.dispatches[resp.ID]
	if p == nil || !p.waiting[resp.Result.Node] {
		return
	}
	delete(p.waiting, resp.Result.Node)

	// Zeek's controller trips over a value that is not a string.
	if k := resp.Result.Data.Kind(); k != broker.KindString && k != broker.KindNone {
		p.fail(m, resp.Result.Node, "node answered with a %s, want string", k)
	} else {
		r := resp.Result
		r.ReqID, r.Instance = p.reqID, m.self.Name
		p.results = append(p.results, r)
	}
	if len(p.waiting) == 0 {
		delete(m.dispatches, resp.ID)
		m.finish(p)
	}
}

func (m *Machine) finish(p *dispatch) {
	m.publish(p.dialect, zeekapi.AgentDispatchResponse{ReqID: zeekapi.ReqID{ID: p.reqID}, Results: p.results})
}

// expireDispatches ends the wait for nodes that are gone or take too long.
func (m *Machine) expireDispatches(now time.Time) {
	// Of requests that end at the same time the older is answered first.
	ids := slices.SortedFunc(maps.Keys(m.dispatches), func(a, b string) int {
		return cmp.Or(m.dispatches[a].deadline.Compare(m.dispatches[b].deadline), cmp.Compare(a, b))
	})
	for _, id := range ids {
		p := m.dispatches[id]
		late := !now.Before(p.deadline)
		for _, name := range slices.Sorted(maps.Keys(p.waiting)) {
			switch {
			case !m.runs(name):
				p.fail(m, name, "cluster node %s not in running state", name)
			case late:
				p.fail(m, name, zeekapi.ErrorTimeout)
			default:
				continue
			}
			delete(p.waiting, name)
		}
		if len(p.waiting) == 0 {
			delete(m.dispatches, id)
			m.finish(p)
		}
	}
}
