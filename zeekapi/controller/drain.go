package controller

import (
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// drainInterval is how often to ask the agent of a drained instance whether its
// nodes are gone.
const drainInterval = 250 * time.Millisecond

// draining is a client's request that waits until the nodes of a drained
// instance are gone.
type draining struct {
	*request
	instance string
	poll     time.Time // when to ask for the nodes again, zero while they are being asked for
}

// drain has an instance run nothing, or what it should again. A drained
// instance stays in the configuration, but no deployment waits for it or
// reaches it.
func (m *Machine) drain(by broker.Peer, req zeekapi.DrainRequest) {
	r := m.begin(by, req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.DrainResponse{ReqID: id, Results: results}
	})
	if r == nil {
		return
	}
	w := m.wanted[req.Instance]
	switch {
	case w == nil && (req.Drain || !m.drained[req.Instance]):
		m.fail(r, "the cluster has no instance '%s'", clip(req.Instance))
	case m.drained[req.Instance] == req.Drain && req.Drain:
		m.awaitDrained(r, req.Instance) // somebody did not get to see the end
	case m.drained[req.Instance] == req.Drain:
		m.fail(r, "instance '%s' is not drained", req.Instance)
	case req.Drain:
		m.drainMember(by, r, w)
	default:
		m.undrainMember(by, r, req.Instance, w)
	}
}

func (m *Machine) drainMember(by broker.Peer, r *request, w *member) {
	m.log.Info().Str("by", who(by)).Str("instance", w.Name).Msg("draining the instance")
	m.update(w, func() {
		m.keep(Drained, w.Name, true)
		w.ready, w.welcome, w.runs = false, "", content{}
	})
	m.event(zeekapi.EventDrained, w.Name, "", "by "+who(by))
	m.keep(Owed, w.Name, true)
	if w.undrain != nil {
		m.fail(w.undrain, errDrained)
	}
	m.awaitDrained(r, w.Name)
	// A deployment goes on without the instance, also one that gave up on it.
	d := m.deployment
	switch {
	case d == nil && m.allReady() && (m.former() == nil || m.former().config.ID != m.configs[Target].ID):
		m.redeploy()
	case d != nil && d.open[w.Name] != nil:
		m.close(d.open[w.Name], d.unanswered(w.Name, errDrained))
	case d != nil:
		m.distribute()
	}
}

// awaitDrained has an instance stand by, and ends r when its nodes are gone.
func (m *Machine) awaitDrained(r *request, instance string) {
	if m.agents[instance] == nil {
		r.results = r.unanswered(instance, errNotConnected+", the instance is drained when it returns")
		m.finish(r)
		return
	}
	d := &draining{request: r, instance: instance}
	m.draining = append(m.draining, d)
	done := r.done
	r.done = func(results []zeekapi.Result) {
		m.draining = slices.DeleteFunc(m.draining, func(o *draining) bool { return o == d })
		done(results)
	}
	r.accept = func(_ *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
		resp, ok := msg.(zeekapi.AgentStandbyResponse)
		return []zeekapi.Result{resp.Result}, ok
	}
	r.more = func() bool {
		if !r.results[0].Success {
			return false
		}
		// An agent answers when its nodes begin to stop.
		r.accept = acceptStatus
		r.more = func() bool { return m.stillDraining(d) }
		m.askDrained(d)
		return true
	}
	m.call(r, instance, func(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentStandbyRequest{ReqID: id} })
}

// askDrained asks the agent which nodes there are still.
func (m *Machine) askDrained(d *draining) {
	d.poll = time.Time{}
	if m.agents[d.instance] == nil {
		d.results = d.unanswered(d.instance, errNotConnected)
		m.finish(d.request)
		return
	}
	m.call(d.request, d.instance, askStatus)
}

// stillDraining takes the answer, which is the last result, and reports whether
// there are nodes. What it leaves is what the client gets when time is up.
func (m *Machine) stillDraining(d *draining) bool {
	last := d.results[len(d.results)-1]
	var nodes []zeekapi.NodeDetail
	if !last.Data.IsNone() {
		_ = record.Unmarshal(last.Data, &nodes) // what accept has seen before
	}
	switch {
	case last.Error == errUnsupported, last.Success && len(nodes) == 0:
		d.results = []zeekapi.Result{{ReqID: d.id, Success: true, Instance: d.instance}}
		return false
	case last.Success:
		names := make([]string, len(nodes))
		for i, n := range nodes {
			names[i] = n.Status.Node
		}
		d.results = d.unanswered(d.instance, clip("still stopping: "+listed(names)))
	default:
		d.results = d.unanswered(d.instance, clip(last.Error))
	}
	if m.agents[d.instance] == nil {
		return false
	}
	d.poll = m.now.Add(drainInterval)
	return true
}

func (m *Machine) undrainMember(by broker.Peer, r *request, instance string, w *member) {
	m.log.Info().Str("by", who(by)).Str("instance", instance).Msg("undraining the instance")
	if w == nil {
		m.keep(Drained, instance, false)
	} else {
		m.update(w, func() { m.keep(Drained, instance, false) })
		m.keep(Owed, instance, false)
	}
	m.event(zeekapi.EventUndrained, instance, "", "by "+who(by))
	for _, d := range slices.Clone(m.draining) {
		if d.instance == instance {
			d.results = nil
			m.fail(d.request, "the instance is no longer drained")
		}
	}
	a := m.agents[instance]
	switch {
	case w == nil:
		r.results = []zeekapi.Result{{ReqID: r.id, Success: true, Instance: instance}}
		m.finish(r)
	case a == nil:
		r.results = []zeekapi.Result{{ReqID: r.id, Instance: instance, Error: errNotConnected + ", the instance gets its nodes when it returns"}}
		m.finish(r)
	default:
		w.undrain = r
		done := r.done
		r.done = func(results []zeekapi.Result) {
			w.undrain = nil
			done(results)
		}
		m.greet(a)
	}
}

// undrained tells the client that undrained an instance what its agent said
// to the deployment that followed.
func (m *Machine) undrained(w *member, results []zeekapi.Result) {
	r := w.undrain
	if r == nil {
		return
	}
	for _, res := range results {
		res.ReqID, res.Instance = r.id, w.Name
		r.results = append(r.results, res)
	}
	m.finish(r)
}
