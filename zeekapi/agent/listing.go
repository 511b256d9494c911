package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

type (
	// ListScripts lists the scripts of running nodes. ScriptsListed follows.
	ListScripts struct {
		Dialect *zeekapi.Dialect
		ReqID   string
		Nodes   []string
		All     bool // also the scripts of the Zeek installation
	}

	// ScriptsListed reports the results of a ListScripts.
	ScriptsListed struct {
		Dialect *zeekapi.Dialect
		ReqID   string
		Results []zeekapi.Result
	}
)

func (ListScripts) output()  {}
func (ScriptsListed) input() {}

func init() { serve(zeekapi.AgentScriptsCall, (*Machine).listScripts) }

func (m *Machine) listScripts(_ time.Time, req request, msg zeekapi.AgentScriptsRequest) {
	if why := m.refuses(req); why != "" {
		m.out.refuse(req, "%s", why)
		return
	}
	m.listings.begin(req, msg)
}

// listings are the requests for lists of scripts. Files are read outside the machine.
type listings struct {
	*outbox
	nodes   *nodes
	pending map[string]*listing // by request ID
}

// listing is a request for lists of scripts.
type listing struct {
	request
	results []zeekapi.Result // of nodes that do not run
}

func (l *listings) begin(req request, msg zeekapi.AgentScriptsRequest) {
	if _, again := l.pending[req.id]; again {
		return
	}
	pending := &listing{request: req}
	var running []string
	for _, name := range l.nodes.selected(msg.Nodes) {
		if l.nodes.alive(name) {
			running = append(running, name)
			continue
		}
		r := l.failure(req.id, "cluster node %s not in running state", name)
		r.Node = name
		pending.results = append(pending.results, r)
	}
	if len(running) == 0 {
		l.respond(req, pending.results...)
		return
	}
	l.pending[req.id] = pending
	l.emit(ListScripts{Dialect: req.dialect, ReqID: req.id, Nodes: running, All: msg.All})
}

func (l *listings) listed(in ScriptsListed) {
	pending, ok := l.pending[in.ReqID]
	if !ok {
		return
	}
	delete(l.pending, in.ReqID)
	l.respond(pending.request, append(pending.results, in.Results...)...)
}

// listScripts performs ListScripts. The loop does not wait for it.
func (p *performer) listScripts(ctx context.Context, out ListScripts) []Input {
	list := func() Input { return ScriptsListed{out.Dialect, out.ReqID, p.scripts(ctx, out)} }
	if p.workers.Do(list) {
		return nil
	}
	return []Input{ScriptsListed{out.Dialect, out.ReqID, []zeekapi.Result{{
		ReqID: out.ReqID, Instance: p.Settings.Name, Error: errorBusy,
	}}}}
}

// scripts returns a result for each node. All of them share MaxScriptBytes.
func (p *performer) scripts(ctx context.Context, out ListScripts) []zeekapi.Result {
	lister, ok := p.Launcher.(launch.Lister)
	left := zeekapi.MaxScriptBytes
	var results []zeekapi.Result
	for _, name := range out.Nodes {
		r := zeekapi.Result{ReqID: out.ReqID, Instance: p.Settings.Name, Node: name}
		if !ok {
			r.Error = "the launcher does not know the scripts of nodes"
			results = append(results, r)
			continue
		}
		scripts, err := lister.Scripts(ctx, name, out.All)
		size := 0
		for _, s := range scripts.Scripts {
			size += len(s.Path) + len(s.Hash) + 50
		}
		switch {
		case err != nil:
			r.Error = err.Error()
		case size > left:
			r.Error = fmt.Sprintf("the lists of the nodes of an instance exceed %d bytes; name fewer nodes", zeekapi.MaxScriptBytes)
		default:
			left -= size
			r.Success, r.Data = true, mustMarshal(scripts)
		}
		results = append(results, r)
	}
	return results
}
