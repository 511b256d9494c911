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

// dispatches are the requests that were forwarded to nodes.
type dispatches struct {
	*outbox
	nodes    *nodes
	endpoint string
	pending  map[string]*dispatch // by the ID of the request to nodes
	sent     uint64
}

// dispatch is a request that was forwarded to nodes.
type dispatch struct {
	request
	waiting  map[string]bool // nodes that have not responded
	results  []zeekapi.Result
	deadline time.Time
}

// send forwards a request to the given nodes that run. If none runs, it
// responds at once.
func (ds *dispatches) send(req request, msg zeekapi.AgentDispatchRequest, deadline time.Time) {
	d := &dispatch{request: req, deadline: deadline, waiting: make(map[string]bool)}
	var running []string
	for _, name := range ds.nodes.selected(msg.Nodes) {
		if ds.nodes.alive(name) {
			running = append(running, name)
			d.waiting[name] = true
		} else {
			ds.fail(d, name, "cluster node %s not in running state", name)
		}
	}
	if len(running) == 0 {
		ds.respond(d.request, d.results...)
		return
	}
	ds.sent++
	id := fmt.Sprintf("%s-%d", ds.endpoint, ds.sent)
	ds.pending[id] = d
	ds.emit(Dispatch{Request: zeekapi.NodeDispatchRequest{ReqID: zeekapi.ReqID{ID: id}, Action: msg.Action, Nodes: running}})
}

// fail adds a failure to the results.
func (ds *dispatches) fail(d *dispatch, node, format string, args ...any) {
	r := ds.failure(d.id, format, args...)
	r.Node = node
	d.results = append(d.results, r)
}

// answered processes the response of a node.
func (ds *dispatches) answered(resp zeekapi.NodeDispatchResponse) {
	d := ds.pending[resp.ID]
	if d == nil || !d.waiting[resp.Result.Node] {
		return
	}
	delete(d.waiting, resp.Result.Node)

	// Zeek's controller fails on a value that is not a string.
	if k := resp.Result.Data.Kind(); k != broker.KindString && k != broker.KindNone {
		ds.fail(d, resp.Result.Node, "node answered with a %s, want string", k)
	} else {
		r := resp.Result
		r.ReqID, r.Instance = d.id, ds.instance
		d.results = append(d.results, r)
	}
	ds.finish(resp.ID)
}

// finish responds to a request if all its nodes have.
func (ds *dispatches) finish(id string) {
	if d := ds.pending[id]; len(d.waiting) == 0 {
		delete(ds.pending, id)
		ds.respond(d.request, d.results...)
	}
}

// expire ends the wait for nodes that no longer run or take too long. If
// several requests end, it responds to older ones first.
func (ds *dispatches) expire(now time.Time) {
	ids := slices.SortedFunc(maps.Keys(ds.pending), func(a, b string) int {
		return cmp.Or(ds.pending[a].deadline.Compare(ds.pending[b].deadline), cmp.Compare(a, b))
	})
	for _, id := range ids {
		d := ds.pending[id]
		late := !now.Before(d.deadline)
		for _, name := range slices.Sorted(maps.Keys(d.waiting)) {
			switch {
			case !ds.nodes.alive(name):
				ds.fail(d, name, "cluster node %s not in running state", name)
			case late:
				ds.fail(d, name, zeekapi.ErrorTimeout)
			default:
				continue
			}
			delete(d.waiting, name)
		}
		ds.finish(id)
	}
}

func (ds *dispatches) deadline() (next timer) {
	for _, d := range ds.pending {
		next.earlier(d.deadline)
	}
	return next
}
