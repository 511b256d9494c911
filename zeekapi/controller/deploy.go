package controller

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// deployment is what a request has that makes a configuration true.
type deployment struct {
	began   time.Time
	number  uint64 // in the history, 0 for our own
	target  zeekapi.Configuration
	plan    *plan                // what the agents got, nil if nothing yet
	force   bool                 // also what runs already
	reached map[string]uuid.UUID // the peers that answered for it, by instance
}

// deploymentTimeout is how long a deployment may take: long enough for the
// client to hear that it takes longer and try again, and longer for many nodes.
func (m *Machine) deploymentTimeout(c zeekapi.Configuration) time.Duration {
	const perNode = 10 * time.Millisecond
	return 2*m.settings.RequestTimeout + time.Duration(len(c.Nodes))*perNode
}

// pending returns the deployment under way that a client asked for. Ours have
// to stand back.
func (m *Machine) pending() *request {
	if m.deployment == nil || m.deployment.number == 0 {
		return nil
	}
	return m.deployment
}

// refuse ends a request for a deployment while there is another, and says what
// that waits for. The format is Zeek's.
func (m *Machine) refuse(r *request, format string) {
	p := m.pending()
	r.results = append(r.results,
		zeekapi.Failure(r.id, format, p.id),
		zeekapi.Failure(r.id, "waiting for %s", listed(m.awaited(p))))
	m.finish(r)
}

// redeploy makes the target true again, for nobody in particular. Agents that
// run it are left alone.
func (m *Machine) redeploy() {
	target := m.configs[Target]
	r := m.newRequest(m.newID(), m.deploymentTimeout(target))
	r.deployment = &deployment{began: m.now, target: target, reached: make(map[string]uuid.UUID)}
	r.accept = m.acceptDeployed
	m.deployment = r
	m.distribute()
}

// deploy begins a deployment of c that a client asks for, and ends one of our
// own that is under way. It goes on when all instances are ready, which is now
// or when the last of them has answered our welcome.
func (m *Machine) deploy(by broker.Peer, r *request, action string, c zeekapi.Configuration) {
	if m.deployment != nil {
		m.finish(m.deployment)
	}
	m.endJob("a deployment began")
	m.deployment = r
	r.deployment = &deployment{began: m.now, target: c, force: action == actionForce, reached: make(map[string]uuid.UUID)}
	r.accept = m.acceptDeployed
	m.record(by, r, action)
	m.save(Target, c)
	m.adopt(c)
	m.distribute()
}

// adopt makes the instances of c those that the cluster wants.
func (m *Machine) adopt(c zeekapi.Configuration) {
	after := make(map[string]zeekapi.Instance, len(c.Instances))
	for _, inst := range c.Instances {
		after[inst.Name] = inst
	}
	for _, name := range sortedKeys(m.wanted) {
		w := m.wanted[name]
		inst, ok := after[name]
		if !ok || moved(w.Instance, inst) {
			m.drop(w)
		}
	}
	hosts := make(map[string]zeekapi.Instance)
	for _, inst := range m.configs[Deployed].Instances {
		hosts[inst.Name] = inst
	}
	for _, inst := range c.Instances {
		if w := m.wanted[inst.Name]; w != nil {
			w.Instance = inst
			continue
		}
		m.add(&member{Instance: inst, host: hosts[inst.Name].Host})
	}
}

// moved reports whether an instance is to be reached in another way than
// before. Where an agent that connects to us does that from makes no
// difference, unlike in Zeek. (Zeek: is_instance_connectivity_change)
func moved(before, after zeekapi.Instance) bool {
	return after.Port.Number != before.Port.Number ||
		!after.Connects() && after.Host != before.Host && !unspecified(before.Host) && !unspecified(after.Host)
}

func (m *Machine) add(w *member) {
	m.wanted[w.Name] = w
	if m.blocks(w) {
		m.unready++
	}
	m.contact(w.Name)
	if !m.drained[w.Name] {
		m.keep(Owed, w.Name, false)
	}
	if !w.Connects() {
		m.emit(Dial{Address: address(w.Instance)})
	}
	if a := m.agents[w.Name]; a != nil {
		w.host = a.Host
		m.greet(a)
	}
}

// drop tells an instance that the cluster no longer needs it. Its agent stays
// known, unless we have to hang up on it.
func (m *Machine) drop(w *member) {
	m.log.Info().Str("instance", w.Name).Msg("dropping the instance")
	m.standBy(w.Name)
	if m.blocks(w) {
		m.unready--
	}
	delete(m.wanted, w.Name)
	if w.undrain != nil {
		m.fail(w.undrain, "the instance is no longer part of the cluster")
	}
	if !w.Connects() {
		m.emit(Hangup{Address: address(w.Instance)})
		if a := m.agents[w.Name]; a != nil && !a.Connects() {
			m.forget(a, "the cluster no longer needs the agent")
		}
	}
	m.release(w.Name)
}

// distribute sends the configuration of the deployment under way to all
// agents, once all of them are ready. It may be called again when one of them
// came back meanwhile, and then sends to that one only, or to all of them again
// if it came back with another address.
func (m *Machine) distribute() {
	r := m.deployment
	if r == nil || !m.allReady() {
		return
	}
	p := m.makePlan(r.target)
	if r.plan != nil && r.plan.content != p.content {
		for _, c := range r.open {
			m.dropCall(c)
		}
		r.results = nil
		clear(r.reached)
	}
	r.plan = p
	switch {
	case m.sent.id != p.config.ID && !m.deployedBefore(p.config.ID):
		m.saveSent(p.content)
	case m.sent != p.content && (m.sent.id != p.config.ID || !m.sent.mixed):
		m.saveSent(content{id: p.config.ID, mixed: true})
	}
	for _, inst := range p.config.Instances {
		if !m.drained[inst.Name] {
			m.deployTo(r, m.wanted[inst.Name])
		}
	}
	m.settle(r)
}

func (m *Machine) saveSent(c content) {
	m.sent = c
	m.emit(SaveSent{Sent{ID: c.id, Digest: string(c.digest[:]), Mixed: c.mixed}})
}

func (m *Machine) deployTo(r *request, w *member) {
	a := m.agents[w.Name]
	former, answered := r.reached[w.Name]
	if answered && former == a.peer || r.number == 0 && w.runs == r.plan.content {
		return
	}
	if c := r.open[w.Name]; c != nil {
		if c.agent == a {
			return
		}
		m.dropCall(c)
	}
	if answered {
		// What another agent answered before does not count any more.
		r.results = slices.DeleteFunc(r.results, func(res zeekapi.Result) bool { return res.Instance == w.Name })
		delete(r.reached, w.Name)
	}
	force := r.force
	if m.changed(w, r.plan) && !a.described {
		// Zeek's agents compare nothing but the ID with that of what they run
		// already. Ours see what changed.
		m.log.Info().Str("instance", w.Name).Str("config", clip(r.target.ID)).Msg("the configuration changed but for its ID, forcing the agent")
		force = true
	}
	m.send(r, w, r.plan, force)
}

// changed reports whether the agent of an instance may run something else with
// the ID of p. It then no longer is known what it runs, until it answers.
func (m *Machine) changed(w *member, p *plan) bool {
	before := w.told
	if before == (content{}) {
		before = m.sent // in an earlier life
	}
	w.told = p.content
	switch {
	case before == (content{}), before == p.content:
		return false
	case before.id != p.config.ID && !m.deployedBefore(p.config.ID):
		return false // nobody can have it yet
	}
	w.told = content{id: p.config.ID, mixed: true}
	return true
}

// deployedBefore reports whether a client had a configuration with that ID
// deployed before the last one. An agent that missed what came in between still
// runs it, perhaps with other addresses.
func (m *Machine) deployedBefore(id string) bool {
	earlier := m.history[:max(0, len(m.history)-1)]
	return slices.ContainsFunc(earlier, func(p Past) bool { return p.Config == id })
}

// send asks the agent of an instance to run p.
func (m *Machine) send(r *request, w *member, p *plan, force bool) {
	form := m.agents[w.Name].layoutForm
	w.asked = m.call(r, w.Name, func(id zeekapi.ReqID) zeekapi.Message { return p.request(id, w.Name, form, force) })
}

// acceptDeployed takes the answer of an agent, and mends that of a Zeek agent
// without nodes of its own, which always says that it timed out.
func (m *Machine) acceptDeployed(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	r := c.request
	results, ok := m.acceptPlan(c, msg, r.plan, true)
	if ok {
		r.reached[c.instance] = c.agent.peer
	}
	return results, ok
}

// acceptPlan is told whether an agent that agrees runs p for sure.
func (m *Machine) acceptPlan(c *call, msg zeekapi.Message, p *plan, sure bool) ([]zeekapi.Result, bool) {
	resp, ok := msg.(zeekapi.AgentDeployResponse)
	if !ok {
		return nil, false
	}
	results := slices.Clone(resp.Results)
	took := len(results) == 0
	for i, res := range results {
		timeout := !res.Success && res.Node == "" && res.Error == zeekapi.ErrorTimeout
		took = took || res.Success || res.Node != "" || timeout
		if timeout && len(p.nodes[c.instance]) == 0 {
			results[i] = zeekapi.Result{ReqID: res.ReqID, Success: true}
		}
		if !isA[zeekapi.NodeOutputs](res.Data) {
			results[i].Data = broker.None()
		}
	}
	if w := m.wanted[c.instance]; w != nil && w.asked == c {
		if took && sure {
			w.told, w.runs = p.content, p.content
		}
		m.undrained(w, results)
	}
	return results, true
}

// restore gives an agent that came back what it had before, while others are
// still missing. What not all of them had yet waits until all are there.
func (m *Machine) restore(w *member) {
	had := m.former()
	if had == nil || had.config.ID != m.configs[Target].ID {
		return
	}
	if _, ok := had.nodes[w.Name]; !ok {
		return
	}
	// If it runs something else with the same ID, that may be newer.
	sure := !m.changed(w, had)
	r := m.newRequest(m.newID(), m.deploymentTimeout(had.config))
	r.accept = func(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) { return m.acceptPlan(c, msg, had, sure) }
	m.send(r, w, had, false)
}

// complete reports whether all instances have answered for a deployment. One
// that is no longer drained may just have become one of them.
func (m *Machine) complete(r *request) bool {
	for name, w := range m.wanted {
		_, answered := r.reached[name]
		if !answered && !m.drained[name] && (r.number != 0 || w.runs != r.plan.content) {
			return false
		}
	}
	return true
}

// deployed ends a deployment that all agents have answered, for better or
// worse: their results tell which nodes run.
func (m *Machine) deployed(r *request) {
	if had := m.former(); r.number != 0 || had == nil || had.content != r.plan.content {
		m.save(Deployed, r.plan.config)
		m.deployedPlan = r.plan
	}
	if m.sent != r.plan.content {
		m.saveSent(r.plan.content)
	}
	m.log.Info().Str("config", clip(r.target.ID)).Bool("internal", r.number == 0).Msg("deployed")
	outcome := zeekapi.OutcomeDeployed
	if slices.ContainsFunc(r.results, func(res zeekapi.Result) bool { return !res.Success }) {
		outcome = zeekapi.OutcomeFailed
	}
	m.recordEnd(r, outcome, r.results)
	r.results = append(r.results, zeekapi.Result{ReqID: r.id, Success: true, Data: broker.String(r.target.ID)})
}

// deploymentOverdue answers a client before it stops listening. The deployment
// goes on for as long as there are agents to wait for, and what becomes of it
// is in the history.
func (m *Machine) deploymentOverdue(r *request) {
	waiting := m.awaited(r)
	waits := "waited for %s"
	end := r.began.Add(m.deploymentTimeout(r.target))
	goesOn := end.After(m.now) && !slices.ContainsFunc(waiting, func(name string) bool { return m.agents[name] == nil })
	if goesOn {
		waits = "the deployment goes on, waiting for %s"
	}
	results := append(slices.Clone(r.results),
		zeekapi.Failure(r.id, zeekapi.ErrorTimeout), zeekapi.Failure(r.id, waits, listed(waiting)))
	if goesOn {
		m.uncount(r)
		if r.done != nil {
			r.done(results)
			r.done = nil
		}
		m.hurry(r, end.Sub(m.now))
		return
	}
	r.results = results
	m.recordEnd(r, zeekapi.OutcomeTimeout, results)
	m.finish(r)
	if m.allReady() {
		m.redeploy() // an agent may have lost what we told it
	}
}
