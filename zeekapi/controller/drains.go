package controller

import (
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// drainInterval is the time between two requests for the nodes of an instance
// that is being drained.
const drainInterval = 250 * time.Millisecond

// drains has instances run no nodes, or the nodes that they should again. A
// drained instance stays in the configuration, but deployments leave it out.
type drains struct {
	*outbox
	agents   *agents
	members  *members
	names    *nameSets
	states   *nodeStates
	requests *requests
	trials   *trials
	events   *eventLog
	log      zerolog.Logger

	waiting []*draining
}

// drain takes a client's request to drain an instance, or to undrain it.
func (d *drains) drain(by broker.Peer, req zeekapi.DrainRequest) {
	r := d.requests.begin(by, req)
	if r == nil {
		return
	}
	w, before := d.members.of(req.Instance), d.names.drained(req.Instance)
	switch {
	case before && req.Drain:
		d.await(r, req.Instance) // the client may have missed the end
	case req.Drain && w == nil && zeekapi.CheckName(req.Instance) != nil:
		d.requests.fail(r, "instance %v", zeekapi.CheckName(req.Instance))
	case req.Drain:
		d.begin(by, r, req.Instance, w)
	case before:
		d.undrain(by, r, req.Instance, w)
	case w == nil:
		d.requests.fail(r, "the cluster has no instance '%s'", clip(req.Instance))
	default:
		d.requests.fail(r, "instance '%s' is not drained", req.Instance)
	}
}

// begin drains an instance. It need not be a member yet, so that a cluster can be
// deployed before all of its machines are there.
func (d *drains) begin(by broker.Peer, r *request, instance string, w *member) {
	d.log.Info().Str("by", nameOf(by)).Str("instance", instance).Msg("draining the instance")
	d.members.change(instance, func() {
		d.names.keep(Drained, instance, true)
		if w != nil {
			w.ready, w.welcome = false, ""
		}
	})
	d.states.count(instance)
	d.events.add(zeekapi.EventDrained, instance, "", "by "+nameOf(by))
	d.names.keep(Owed, instance, true)
	d.trials.waits.giveUp(instance, string(drained))
	d.await(r, instance)
	d.trials.drained(instance) // which may begin a deployment, so that the former target is not sent once more
	if w != nil {
		d.trials.without(instance)
	}
}

// await has the agent of a drained instance stand by, and ends the request when
// the nodes are gone. Without an agent there is nothing to wait for.
func (d *drains) await(r *request, instance string) {
	if d.agents.of(instance) == nil {
		remark := "the agent is not connected; the instance gets no nodes when it returns"
		if d.members.of(instance) == nil {
			remark = "the cluster has no such instance yet; it gets no nodes when it joins"
		}
		r.results = []zeekapi.Result{remarkOn(r.id, instance, remark)}
		d.requests.finish(r)
		return
	}
	t := &draining{drains: d, request: r, instance: instance}
	r.task = t
	d.waiting = append(d.waiting, t)
	d.requests.call(r, instance, question{message: func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentStandbyRequest{ReqID: id}
	}})
}

// undrain lets an instance run its nodes again.
func (d *drains) undrain(by broker.Peer, r *request, instance string, w *member) {
	d.log.Info().Str("by", nameOf(by)).Str("instance", instance).Msg("undraining the instance")
	d.members.change(instance, func() { d.names.keep(Drained, instance, false) })
	d.states.count(instance)
	d.trials.deployments.retract(instance)
	if w != nil {
		d.names.keep(Owed, instance, false)
	}
	d.events.add(zeekapi.EventUndrained, instance, "", "by "+nameOf(by))
	d.trials.sites.doubt(instance)
	for _, t := range slices.Clone(d.waiting) {
		if t.instance == instance {
			t.request.results = nil
			d.requests.fail(t.request, "the instance is no longer drained")
		}
	}
	a := d.agents.of(instance)
	switch {
	case w == nil:
		r.results = []zeekapi.Result{{ReqID: r.id, Success: true, Instance: instance}}
		d.requests.finish(r)
	case a == nil:
		r.results = r.unanswered(instance, notConnected+", the instance gets its nodes when it returns")
		d.requests.finish(r)
	default:
		d.trials.waits.await(r, instance)
		d.members.greet(a)
	}
}

// poll asks for the nodes of the instances whose time has come.
func (d *drains) poll() {
	for _, t := range slices.Clone(d.waiting) {
		if t.next.due(d.now) {
			t.ask()
		}
	}
}

// deadline returns the time of the next poll.
func (d *drains) deadline() (next alarm) {
	for _, t := range d.waiting {
		next = next.sooner(t.next)
	}
	return next
}

// draining is the task of a request that waits until the nodes of a drained
// instance are gone. First the agent is told to stand by; it answers when its
// nodes begin to stop. Then it is asked which nodes are left until none is.
type draining struct {
	takeStatus
	*drains
	request  *request
	instance string
	stage    drainStage
	next     alarm // for the next question about nodes
}

// drainStage is the answer for which a draining request waits.
type drainStage int

const (
	standingBy   drainStage = iota // the answer to the standby
	nodesLeaving                   // the nodes that are left
	nodesGone                      // none, the agent cannot tell which nodes are left
)

func (t *draining) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	if t.stage != standingBy {
		return t.takeStatus.accept(c, msg)
	}
	answer, ok := msg.(zeekapi.AgentStandbyResponse)
	return []zeekapi.Result{answer.Result}, ok
}

func (t *draining) missed(c *call, why reason) ([]zeekapi.Result, bool) {
	if t.stage == nodesLeaving && why == unsupported {
		t.stage = nodesGone
	}
	return t.request.unanswered(c.instance, why), true
}

func (t *draining) complete(r *request) bool {
	last := r.results[len(r.results)-1]
	switch t.stage {
	case standingBy:
		if !last.Success {
			return true
		}
		t.stage = nodesLeaving
		t.ask()
		return false
	case nodesLeaving:
		return t.took(last)
	}
	t.gone()
	return true
}

// ask asks the agent which nodes are left.
func (t *draining) ask() {
	t.next = alarm{}
	if t.agents.of(t.instance) == nil {
		t.request.results = t.request.unanswered(t.instance, notConnected)
		t.requests.finish(t.request)
		return
	}
	t.requests.call(t.request, t.instance, askStatus)
}

// took takes the nodes that are left, and reports whether the request is to end.
// Its results are those that the client gets if it times out.
func (t *draining) took(last zeekapi.Result) bool {
	nodes, _ := dataOf[[]zeekapi.NodeDetail](last.Data) // accept has checked the data
	switch {
	case last.Success && len(nodes) == 0:
		t.gone()
		return true
	case last.Success:
		names := make([]string, len(nodes))
		for i, n := range nodes {
			names[i] = n.Status.Node
		}
		t.request.results = t.request.unanswered(t.instance, reason(clip("still stopping: "+listed(names))))
	default:
		t.request.results = t.request.unanswered(t.instance, reason(clip(last.Error)))
	}
	if t.agents.of(t.instance) == nil {
		return true
	}
	t.next = alarmAt(t.now.Add(drainInterval))
	return false
}

func (t *draining) gone() {
	t.request.results = []zeekapi.Result{{ReqID: t.request.id, Success: true, Instance: t.instance}}
}

func (t *draining) ended(*request) {
	t.waiting = slices.DeleteFunc(t.waiting, func(o *draining) bool { return o == t })
}
