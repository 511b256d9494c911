package controller

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// deploymentParts are the parts that deployments use.
type deploymentParts struct {
	configs  *configurations
	history  *history
	agents   *agents
	names    *nameSets
	stopped  *stoppedNodes
	members  *members
	arrivals *arrivals
	requests *requests
	states   *nodeStates
	events   *eventLog
	sites    *sites
}

// deployments brings the cluster to the target configuration. One deployment is
// under way at a time.
type deployments struct {
	deploymentParts
	plans      *plans
	deliveries *deliveries
	waits      *waits
	rollbacks  *rollbacks
	timeout    time.Duration // of requests
	startLimit time.Duration // of nodes
	log        zerolog.Logger

	current *deployment // nil: none
}

func newDeployments(parts deploymentParts, sent Sent, settings Settings, log zerolog.Logger) *deployments {
	return &deployments{
		deploymentParts: parts,
		plans:           &plans{configs: parts.configs, stopped: parts.stopped},
		deliveries:      newDeliveries(parts.configs.outbox, parts.agents, parts.history, sent),
		waits:           &waits{requests: parts.requests, byInstance: make(map[string]*request)},
		rollbacks:       &rollbacks{configs: parts.configs, history: parts.history, states: parts.states, stopped: parts.stopped},
		timeout:         settings.RequestTimeout, startLimit: settings.StartLimit, log: log,
	}
}

// deployment is the task of a request that deploys a configuration. The request
// ends when all agents have answered, also with errors: their results tell which
// nodes run.
type deployment struct {
	*deployments
	request *request
	began   time.Time
	number  uint64 // in the history, 0 for a deployment of the controller itself
	target  revision
	plan    *plan // as sent to the agents; nil: not sent yet
	options zeekapi.DeployOptions
	skipped map[string]bool      // instances that it does not wait for
	reached map[string]uuid.UUID // the peers that answered, by instance
	before  *former              // nil: there is nothing to roll back to
	failed  *failure             // nil unless it is being rolled back
	resumed bool                 // began in an earlier life
}

// pending returns the request of a client for the current deployment, nil if
// there is none. Deployments of the controller itself, and those of an earlier life,
// give way to those of clients.
func (d *deployments) pending() *request {
	if d.current == nil || d.current.number == 0 || d.current.resumed {
		return nil
	}
	return d.current.request
}

// underWay returns the request for the current deployment of a client, also of one in
// an earlier life, nil if there is none.
func (d *deployments) underWay() *request {
	if d.current == nil || d.current.number == 0 {
		return nil
	}
	return d.current.request
}

// timeoutFor returns the longest time that a deployment may take: long enough
// for the client to hear that it continues, and longer for many nodes.
func (d *deployments) timeoutFor(c zeekapi.Configuration) time.Duration {
	const perNode = 10 * time.Millisecond
	return 2*d.timeout + time.Duration(len(c.Nodes))*perNode
}

// redeploy makes the target true again. Agents that run it already are not
// asked.
func (d *deployments) redeploy() {
	target := d.configs.target()
	task := &deployment{deployments: d, began: d.requests.now, target: target, reached: make(map[string]uuid.UUID)}
	task.request = d.requests.start(d.timeoutFor(target.Configuration), task)
	d.current = task
	d.distribute()
}

// plannedDeployment is a deployment of a client that is about to begin.
type plannedDeployment struct {
	number  uint64 // in the history
	target  revision
	options zeekapi.DeployOptions
	skipped map[string]bool // instances that it does not wait for
	excused map[string]bool // nodes that are known not to come up
}

// begin deploys a configuration for a client. A deployment of the controller
// itself, or of an earlier life, ends. Agents get the configuration when all instances are ready.
func (d *deployments) begin(r *request, p plannedDeployment) {
	if t := d.current; t != nil {
		t.record(zeekapi.OutcomeSuperseded, t.request.results)
		d.requests.finish(t.request)
	}
	task := &deployment{
		deployments: d, request: r, began: d.requests.now, number: p.number, target: p.target, options: p.options,
		skipped: p.skipped, reached: make(map[string]uuid.UUID), before: d.rollbacks.former(p.number, p.target, p.excused),
	}
	r.task, d.current = task, task
	d.configs.save(Target, p.target)
	d.history.commit(p.number, task.commitment())
	d.adopt(p.target.Configuration)
	d.distribute()
}

// commitment returns what the next life of the controller needs to end the deployment.
func (t *deployment) commitment() Commitment {
	c := Commitment{Options: t.options, Skipped: sortedKeys(t.skipped)}
	c.Former, c.Ran = t.before.commitment(t.history)
	if t.failed != nil {
		c.Rollback, c.Errors = t.failed.text, errorsOf(t.failed.results)
	}
	return c
}

// resume continues the deployment that the end of the controller interrupted, with the
// present target, and reports whether there is one. A forced deployment restarts all
// nodes, also those that have restarted before: which these are is not known.
func (d *deployments) resume() bool {
	p, ok := d.history.interrupted()
	if !ok {
		return false
	}
	c := p.commitment
	t := &deployment{
		deployments: d, began: d.requests.now, number: p.Number, target: d.configs.target(), options: c.Options,
		skipped: setOf(c.Skipped), reached: make(map[string]uuid.UUID), before: d.rollbacks.recall(c), resumed: true,
	}
	if c.Rollback != "" {
		t.failed = &failure{results: failures("", c.Errors), text: c.Rollback}
	}
	t.request = d.requests.start(d.timeoutFor(t.target.Configuration), t)
	for _, name := range c.Skipped {
		t.request.results = append(t.request.results, notConnectedResult(t.request, name))
	}
	d.current = t
	text := fmt.Sprintf("deployment %d: resumed after a restart of the controller", p.Number)
	d.log.Info().Uint64("deployment", p.Number).Str("config", clip(t.target.ID)).Msg("resuming the deployment")
	d.events.add(zeekapi.EventDeploying, "", "", text)
	d.distribute()
	return true
}

// adopt makes the instances of c the members.
func (d *deployments) adopt(c zeekapi.Configuration) {
	d.states.retarget()
	after := make(map[string]zeekapi.Instance, len(c.Instances))
	for _, inst := range c.Instances {
		after[inst.Name] = inst
	}
	for _, name := range d.members.sorted() {
		w := d.members.of(name)
		inst, ok := after[name]
		if !ok || moved(w.Instance, inst) {
			d.waits.giveUp(name, "the instance is no longer part of the cluster")
			d.deliveries.forget(name)
			d.arrivals.drop(w)
		}
	}
	hosts := make(map[string]zeekapi.Instance)
	deployed, _ := d.configs.get(Deployed)
	for _, inst := range deployed.Instances {
		hosts[inst.Name] = inst
	}
	for _, inst := range c.Instances {
		if w := d.members.of(inst.Name); w != nil {
			w.Instance = inst
		} else {
			d.members.add(inst, hosts[inst.Name].Host)
		}
	}
}

// moved reports whether the way to reach an instance has changed. It makes no
// difference from where an agent connects, unlike in Zeek.
// (Zeek: is_instance_connectivity_change)
func moved(before, after zeekapi.Instance) bool {
	return after.Port.Number != before.Port.Number ||
		!after.Connects() && after.Host != before.Host && !unspecified(before.Host) && !unspecified(after.Host)
}

// ready continues when the agent of a member has become ready.
func (d *deployments) ready(w *member) {
	switch {
	case d.current != nil && d.current.mayBegin():
		d.distribute()
	case !d.members.allReady():
		d.restore(w)
	default:
		d.redeploy()
	}
}

// sited continues when the agent of an instance has its site, or cannot get it.
func (d *deployments) sited(instance string) {
	w, had := d.members.of(instance), d.plans.former()
	switch t := d.current; {
	case w == nil || !w.ready:
	case t != nil && t.mayBegin() && t.plan == nil:
		d.distribute()
	case t != nil && t.mayBegin():
		t.deployTo(w) // not distribute, which would look at all instances for each
		d.requests.settle(t.request)
	case had != nil && d.deliveries.runs(instance, had.content): // it got the site for a check
	case !d.members.allReady():
		d.restore(w)
	case t == nil:
		d.redeploy()
	}
}

// without continues without an instance that was drained. If no deployment is
// under way because the last one gave up on the instance, it is repeated.
func (d *deployments) without(instance string) {
	d.deliveries.stopped(instance)
	d.retract(instance)
	former, target := d.plans.former(), d.configs.target()
	switch {
	case d.current == nil && d.members.allReady() && (former == nil || former.config.ID != target.ID):
		d.redeploy()
	case d.current != nil && d.current.request.open[instance] != nil:
		d.requests.miss(d.current.request.open[instance], drained)
	case d.current != nil:
		d.distribute()
	}
}

// retract forgets the answer of the agent of an instance for the current deployment,
// because the instance is drained, or no longer.
func (d *deployments) retract(instance string) {
	t := d.current
	if t == nil || t.skipped[instance] {
		return
	}
	delete(t.reached, instance)
	t.request.withdraw(instance)
}

// distribute sends the configuration of the current deployment to all agents
// when all of them are ready. It may be called again when an agent came back,
// and sends to that one only, or again to all of them if it came back with
// another address.
func (d *deployments) distribute() {
	t := d.current
	if t == nil || !t.mayBegin() {
		return
	}
	p := d.plans.of(t.target, d.members.fillHosts(t.target.Configuration))
	if t.plan != nil && t.plan.content != p.content {
		for _, c := range t.request.open {
			d.requests.drop(c)
		}
		t.request.results = slices.DeleteFunc(t.request.results, func(res zeekapi.Result) bool { return !t.skipped[res.Instance] })
		clear(t.reached)
	}
	t.plan = p
	d.deliveries.sending(p)
	var ready []string
	for _, inst := range p.config.Instances {
		if !d.names.drained(inst.Name) && d.members.of(inst.Name).ready {
			ready = append(ready, inst.Name)
		}
	}
	p.supply(d.agents, ready...)
	for _, name := range ready {
		if w := d.members.of(name); w != nil && w.ready { // deployTo may continue a trial that hangs up
			t.deployTo(w)
		}
	}
	d.requests.settle(t.request)
}

// mayBegin reports whether all instances are ready that the deployment waits for.
func (t *deployment) mayBegin() bool {
	if len(t.skipped) == 0 {
		return t.members.allReady()
	}
	for name := range t.members.byName {
		if t.members.blocks(name) && !t.skipped[name] {
			return false
		}
	}
	return true
}

// deployTo sends the plan to the agent of a member, unless it has it already.
func (t *deployment) deployTo(w *member) {
	r, a := t.request, t.agents.of(w.Name)
	former, answered := t.reached[w.Name]
	if answered && former == a.peer || t.number == 0 && t.deliveries.runs(w.Name, t.plan.content) {
		return
	}
	if c := r.open[w.Name]; c != nil {
		if c.agent == a {
			return
		}
		t.requests.drop(c)
	}
	if !t.hasSite(w.Name) {
		return
	}
	if answered {
		// The answer of another agent does not count any more.
		r.withdraw(w.Name)
		delete(t.reached, w.Name)
	}
	o := sendOptions{force: t.options.Force && t.failed == nil, same: t.number == 0}
	if t.number != 0 {
		o.edited, o.startLimit = t.failed == nil, t.startLimit
	}
	if t.deliveries.tell(w.Name, t.plan) && !a.described {
		// Zeek's agents compare only the ID with that of what they run already.
		// Agents of zeekwire see what changed.
		t.log.Info().Str("instance", w.Name).Str("config", clip(t.target.ID)).Msg("the configuration changed but for its ID, forcing the agent")
		o.force = true
	}
	t.send(r, w.Name, t.plan, o)
}

// hasSite reports whether the agent of an instance has what the configuration
// needs. Otherwise it gets the site, and distribute is called again. An agent that
// cannot get it has answered for the deployment.
func (t *deployment) hasSite(instance string) bool {
	a := t.agents.of(instance)
	if !a.checks() {
		return true // it knows no sites
	}
	has, err := t.sites.ensure(instance, t.plan.config.Site)
	if err != nil {
		t.reached[instance] = a.peer
		t.request.results = append(t.request.results, zeekapi.Result{ReqID: t.request.id, Instance: instance, Error: err.Error()})
	}
	return has
}

// send asks the agent of an instance to run p.
func (d *deployments) send(r *request, instance string, p *plan, o sendOptions) {
	a := d.agents.of(instance)
	if !p.selects(a.layoutForm) {
		d.release(instance, p.nodes[instance])
	}
	p.supply(d.agents, instance)
	d.deliveries.of(instance).asked = d.requests.call(r, instance, p.question(a, o))
}

// release starts the stopped nodes of an instance whose agent cannot leave them out. It
// has replaced one that could.
func (d *deployments) release(instance string, nodes []zeekapi.Node) {
	names := d.stopped.among(nodes)
	if len(names) == 0 {
		return
	}
	d.stopped.start(names)
	d.states.count(instance)
	d.log.Warn().Str("instance", instance).Strs("nodes", names).Msg("the stopped nodes start: " + cannotStop)
	d.events.add(zeekapi.EventStarted, instance, "", clip(listed(names)+": "+cannotStop))
}

// cannotStop is the reason why single nodes of an instance cannot be stopped.
const cannotStop = "the agent is Zeek's own, or an old one of zeekwire, and runs all nodes of its instance or none"

// rerun makes the agent of a ready member run the nodes that are not stopped, of the
// configuration that it runs. It returns false if that is not the target, which the agent
// then gets when all instances are ready.
func (d *deployments) rerun(w *member) bool {
	if t := d.current; t != nil && t.plan != nil && t.mayBegin() {
		if c := t.request.open[w.Name]; c != nil {
			d.requests.drop(c)
		}
		t.request.withdraw(w.Name)
		delete(t.reached, w.Name)
		d.deliveries.stopped(w.Name)
		t.deployTo(w)
		d.requests.settle(t.request)
		return true
	}
	for _, p := range []*plan{d.plans.latest, d.plans.former()} {
		if p != nil && p.config.ID == d.configs.target().ID && d.deliveries.runs(w.Name, p.content) {
			d.rerunPlan(w, p)
			return true
		}
	}
	return false
}

func (d *deployments) rerunPlan(w *member, p *plan) {
	if has, _ := d.sites.ensure(w.Name, p.config.Site); !has {
		d.deliveries.stopped(w.Name) // so that it gets the configuration with the site
		return
	}
	d.deliveries.tell(w.Name, p)
	d.send(d.requests.start(d.timeoutFor(p.config), &restoration{deployments: d, plan: p, certain: true}), w.Name, p, sendOptions{same: true})
}

func (t *deployment) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	results, ok := t.take(c, msg, t.plan, true)
	if ok {
		t.reached[c.instance] = c.agent.peer
	}
	return results, ok
}

// take accepts the answer of an agent that was asked to run p. It is certain
// that an agent that agrees runs p unless it may have run something else with
// the same ID before.
func (d *deployments) take(c *call, msg zeekapi.Message, p *plan, certain bool) ([]zeekapi.Result, bool) {
	resp, ok := msg.(zeekapi.AgentDeployResponse)
	if !ok {
		return nil, false
	}
	c.agent.answered(resp.Results)
	results, took := mend(resp.Results, len(p.nodes[c.instance]) == 0)
	if d.members.of(c.instance) != nil && d.deliveries.of(c.instance).asked == c {
		if took && certain {
			d.deliveries.took(c.instance, p, c.agent.term)
		}
		d.waits.end(c.instance, results)
	}
	return results, true
}

// mend returns the results of an agent as the client gets them, and whether the
// agent took the configuration. Zeek's agents always time out if they have no
// nodes.
func mend(answer []zeekapi.Result, noNodes bool) (results []zeekapi.Result, took bool) {
	results, took = slices.Clone(answer), len(answer) == 0
	for i, res := range results {
		timeout := !res.Success && res.Node == "" && res.Error == zeekapi.ErrorTimeout
		took = took || res.Success || res.Node != "" || timeout
		if timeout && noNodes {
			results[i] = zeekapi.Result{ReqID: res.ReqID, Success: true}
		}
		if !isA[zeekapi.NodeOutputs](res.Data) {
			results[i].Data = broker.None()
		}
	}
	return results, took
}

// missed waits for the next agent of the instance when its agent is lost.
func (t *deployment) missed(c *call, why reason) ([]zeekapi.Result, bool) {
	if why == notConnected {
		return nil, false
	}
	return t.request.unanswered(c.instance, why), true
}

// complete ends the deployment when all members have answered. One that is no
// longer drained may just have become one of them.
func (t *deployment) complete(r *request) bool {
	for name := range t.members.byName {
		_, answered := t.reached[name]
		if !answered && !t.names.drained(name) && !t.skipped[name] && (t.number != 0 || !t.deliveries.runs(name, t.plan.content)) {
			return false
		}
	}
	if had := t.plans.former(); t.number != 0 || had == nil || had.content != t.plan.content {
		t.plans.keepDeployed(t.plan)
	}
	if t.replaced() {
		t.deliveries.complete(t.plan)
	}
	t.log.Info().Str("config", clip(t.target.ID)).Bool("internal", t.number == 0).Msg("deployed")
	switch fallen := t.fallen(r.results); {
	case t.failed != nil:
		t.rolledBack(r)
		return true
	case len(fallen) > 0:
		t.rollBack(r, fallen)
		return false
	}
	t.stopped.retain(t.target.Nodes)
	outcome := zeekapi.OutcomeDeployed
	if slices.ContainsFunc(r.results, isFailure) {
		outcome = zeekapi.OutcomeFailed
	}
	t.record(outcome, r.results)
	r.results = append(r.results, t.remarks(r.id, t.target.Nodes)...)
	r.results = append(r.results, zeekapi.Result{ReqID: r.id, Success: true, Data: broker.String(t.target.ID)})
	return true
}

// replaced reports whether no agent can still run another configuration with the same
// ID: all have said that they run this one, or stopped their nodes.
func (t *deployment) replaced() bool {
	for name := range t.members.byName {
		stopped := t.names.drained(name) && !t.names.has(Owed, name)
		if !stopped && t.deliveries.of(name).runs != t.plan.content {
			return false
		}
	}
	return true
}

// remarks returns a result for each instance with nodes that stay stopped.
func (d *deployments) remarks(reqID string, nodes []zeekapi.Node) []zeekapi.Result {
	on := make(map[string][]string)
	for _, n := range nodes {
		if d.stopped.has(n.Name) {
			on[n.Instance] = append(on[n.Instance], n.Name)
		}
	}
	var remarks []zeekapi.Result
	for _, instance := range sortedKeys(on) {
		names := on[instance]
		slices.Sort(names)
		remarks = append(remarks, remarkOn(reqID, instance, clip("stays stopped: "+listed(names))))
	}
	return remarks
}

// fallen returns the failures of nodes that ran before the deployment, on
// instances with our agents, unless it is not to be rolled back.
func (t *deployment) fallen(results []zeekapi.Result) []zeekapi.Result {
	if t.before == nil || t.options.NoRollback || t.failed != nil {
		return nil
	}
	var fallen []zeekapi.Result
	for _, res := range results {
		if isFailure(res) && res.Node != "" && t.before.ran[res.Node] && t.startsSlowly(res.Instance) {
			fallen = append(fallen, res)
		}
	}
	return fallen
}

// rollBack deploys the configuration before, once. Agents restart only the nodes
// that differ.
func (t *deployment) rollBack(r *request, fallen []zeekapi.Result) {
	reason := fmt.Sprintf("%s: %s", t.before, reasonsOf(fallen))
	t.failed = &failure{results: r.results, text: "rolled back to " + reason}
	t.log.Warn().Str("config", clip(t.target.ID)).Str("to", clip(t.before.ID)).Str("reason", clip(reason)).Msg("nodes do not come up, rolling back")
	t.events.add(zeekapi.EventDeploying, "", "", clip("rolling back to "+reason))
	r.results, t.plan, t.target, t.began = nil, nil, t.before.revision, t.requests.now
	clear(t.reached)
	if r.reply == nil { // otherwise the client gets its response in time
		t.requests.setTimeout(r, t.timeoutFor(t.target.Configuration))
	}
	t.configs.save(Target, t.target)
	t.history.commit(t.number, t.commitment())
	t.adopt(t.target.Configuration)
	t.distribute()
}

// rolledBack ends a deployment that was rolled back.
func (t *deployment) rolledBack(r *request) {
	after := slices.DeleteFunc(slices.Clone(r.results), func(res zeekapi.Result) bool { return res.Success })
	results := append(t.failed.results, zeekapi.Failure(r.id, "%s", clip(t.failed.text)))
	outcome := zeekapi.OutcomeRolledBack
	if len(after) > 0 {
		outcome = zeekapi.OutcomeFailed
		results = append(results, zeekapi.Failure(r.id, "%s", clip("after the rollback some nodes do not run: "+reasonsOf(after))))
	}
	t.record(outcome, append([]zeekapi.Result{results[len(results)-1]}, results[:len(results)-1]...))
	r.results = results
}

func (t *deployment) record(outcome zeekapi.Outcome, results []zeekapi.Result) {
	if t.number != 0 {
		t.history.end(t.number, outcome, results)
	}
}

// expired responds to the client before it stops waiting. The deployment
// continues while all awaited agents are connected, and its outcome is in the
// history.
func (t *deployment) expired(r *request) bool {
	waiting := t.awaited(r)
	end := t.began.Add(t.timeoutFor(t.target.Configuration))
	if t.number != 0 && slices.ContainsFunc(waiting, t.startsSlowly) {
		end = end.Add(t.startLimit)
	}
	continues := end.After(t.requests.now) && len(t.absent(waiting)) == 0
	text := "waited for %s"
	switch {
	case continues && t.failed != nil:
		text = "the rollback " + zeekapi.ErrorContinues + ", waiting for %s"
	case continues:
		text = "the deployment " + zeekapi.ErrorContinues + ", waiting for %s"
	}
	results := append(slices.Clone(r.results),
		zeekapi.Failure(r.id, zeekapi.ErrorTimeout), zeekapi.Failure(r.id, text, listed(waiting)))
	if absent := t.absent(waiting); len(absent) > 0 {
		results = append(results, zeekapi.Failure(r.id, "no agent is connected for %s; drain such an instance to deploy without it", listed(absent)))
	}
	if continues {
		t.requests.uncount(r)
		t.requests.reply(r, results)
		t.requests.setTimeout(r, end.Sub(t.requests.now))
		return true
	}
	r.results = results
	if t.failed != nil {
		r.results = append(t.failed.results, results...)
	}
	t.record(zeekapi.OutcomeTimeout, r.results)
	t.requests.finish(r)
	if t.members.allReady() {
		t.redeploy() // an agent may have lost the message
	}
	return true
}

// absent returns those of the instances that have no agent.
func (t *deployment) absent(instances []string) []string {
	return slices.DeleteFunc(slices.Clone(instances), func(name string) bool { return t.agents.of(name) != nil })
}

// startsSlowly reports whether the agent of an instance answers only when its
// nodes have started, see AgentDeployNodesRequest.
func (t *deployment) startsSlowly(instance string) bool {
	a := t.agents.of(instance)
	return a != nil && a.checks()
}

func (t *deployment) ended(*request) {
	if t.current == t {
		t.current = nil
	}
}

func (t *deployment) awaited(r *request) []string {
	var names []string
	for _, name := range t.members.sorted() {
		if r.open[name] != nil || t.members.blocks(name) && !t.skipped[name] {
			names = append(names, name)
		}
	}
	return names
}

// restoration is the task of sending an agent its configuration again.
type restoration struct {
	basicTask
	*deployments
	plan    *plan
	certain bool
}

// restore gives an agent that came back what it ran before, while others are
// still missing. A configuration that not all agents had waits for them.
func (d *deployments) restore(w *member) {
	had := d.plans.former()
	if had == nil || had.config.ID != d.configs.target().ID || !had.has(w.Name) {
		return
	}
	if a := d.agents.of(w.Name); a.checks() {
		if has, err := d.sites.ensure(w.Name, had.config.Site); !has {
			if err != nil {
				d.log.Warn().Str("instance", w.Name).Err(err).Msg("the agent does not get its configuration back yet")
			}
			return
		}
	}
	// If the agent runs something else with the same ID, that may be newer.
	task := &restoration{deployments: d, plan: had, certain: !d.deliveries.tell(w.Name, had)}
	d.send(d.requests.start(d.timeoutFor(had.config), task), w.Name, had, sendOptions{})
}

func (t *restoration) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	return t.take(c, msg, t.plan, t.certain)
}
