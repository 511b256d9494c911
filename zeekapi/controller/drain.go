package controller

import (
	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

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
		m.fail(r, "instance '%s' is drained already", req.Instance)
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
	m.notice(zeekapi.NoticeDrained, w.Name, "", "by "+who(by))
	m.keep(Owed, w.Name, true)
	if w.undrain != nil {
		m.fail(w.undrain, errDrained)
	}
	if m.agents[w.Name] == nil {
		r.results = []zeekapi.Result{{ReqID: r.id, Instance: w.Name, Error: errNotConnected + ", the instance is drained when it returns"}}
		m.finish(r)
	} else {
		r.accept = func(_ *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
			resp, ok := msg.(zeekapi.AgentStandbyResponse)
			return []zeekapi.Result{resp.Result}, ok
		}
		m.call(r, w.Name, func(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentStandbyRequest{ReqID: id} })
	}
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

func (m *Machine) undrainMember(by broker.Peer, r *request, instance string, w *member) {
	m.log.Info().Str("by", who(by)).Str("instance", instance).Msg("undraining the instance")
	if w == nil {
		m.keep(Drained, instance, false)
	} else {
		m.update(w, func() { m.keep(Drained, instance, false) })
		m.keep(Owed, instance, false)
	}
	m.notice(zeekapi.NoticeUndrained, instance, "", "by "+who(by))
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
