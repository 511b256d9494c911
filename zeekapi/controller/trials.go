package controller

import (
	"iter"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// checkLimit is the longest time that the check of a configuration may take, unless
// Settings.StartLimit is longer.
const checkLimit = 2 * time.Minute

// dialLimit limits the time for which a check without a deployment waits for agents that
// listen and are not part of the cluster yet.
const dialLimit = 10 * time.Second

// The errors of Zeek's controller during another deployment.
const (
	errPending    = "earlier deployment %s still pending"
	errPendingSet = "request %s still pending" // to set-configuration requests
)

// order is a client's wish for a deployment.
type order struct {
	by      string
	action  action
	target  revision
	options zeekapi.DeployOptions

	// uploaded is the target as the client uploaded it. Ports that it lacks were
	// assigned. Nil: that is not known, and all ports are to stay.
	uploaded *zeekapi.Configuration

	begun func() // called when the check has passed, before anything changes
}

// trial is the task of checking a configuration. First it waits until the agents
// of all instances are connected. Then our agents check their parts. Only if no
// problem is found does the deployment begin. Until then nothing changes. The check
// of an agent counts only as long as that is the agent of its instance: one that
// takes over, or returns, checks again.
type trial struct {
	*trials
	request *request
	began   time.Time
	order   order
	number  uint64             // in the history, 0 for a check without a deployment
	plan    *plan              // nil while agents are missing
	lacking string             // one of the instances for whose agents advance found the trial to wait
	dialed  []zeekapi.Instance // only for the trial
	waited  bool               // for dialLimit
	sending map[string]bool    // instances whose agents lack the site
	skipped map[string]bool    // instances that a partial deployment leaves out
	asked   map[string]asking  // instances whose agents check

	returned map[string]bool // instances whose agents are asked with the next plan
	renewed  time.Time       // when a plan was last made for such instances

	assigned revision  // the target with the ports as first assigned
	used     usedPorts // as agents reported in the current check
	rounds   int       // further checks with other ports
}

// asking says which agent of an instance was asked to check.
type asking struct {
	term        uint64 // of the agent
	unsupported bool   // the agent does not understand the question
}

// trials checks configurations before they are deployed. Deployments begin here,
// one at a time.
type trials struct {
	*deployments
	settings Settings
	current  *trial   // of the next deployment; nil: none
	all      []*trial // also those without a deployment, in the order in which they began
}

// pending returns the request of a client for a deployment that is under way,
// nil if there is none.
func (d *trials) pending() *request {
	if d.current != nil {
		return d.current.request
	}
	return d.deployments.pending()
}

// underWay is pending, but includes a deployment of an earlier life.
func (d *trials) underWay() *request {
	if d.current != nil {
		return d.current.request
	}
	return d.deployments.underWay()
}

// refuse ends a request for a deployment while there is another one, and says
// which instances that waits for. The format is Zeek's.
func (d *trials) refuse(r *request, format string) {
	p := d.pending()
	r.results = append(r.results,
		zeekapi.Failure(r.id, format, p.id),
		zeekapi.Failure(r.id, "waiting for %s", listed(p.task.awaited(p))))
	d.requests.finish(r)
}

// try checks a configuration, and deploys it if no problem is found.
func (d *trials) try(r *request, o order) {
	number := d.history.begin(o.by, r.id, o.action, o.target)
	if o.options.Force {
		o.begun()
		d.begin(r, plannedDeployment{number, o.target, o.options, nil, nil})
		return
	}
	d.current = d.newTrial(r, number, o)
	d.current.advance()
}

// checkOnly checks a configuration for a client, which waits as long as that takes.
// Nothing changes.
func (d *trials) checkOnly(r *request, target revision, uploaded *zeekapi.Configuration) {
	t := d.newTrial(r, 0, order{target: target, uploaded: uploaded, options: zeekapi.DeployOptions{Partial: true}})
	d.requests.setTimeout(r, t.rest())
	t.advance()
}

// rest returns the time that the trial may still take.
func (t *trial) rest() time.Duration {
	return t.began.Add(max(checkLimit, t.startLimit)).Sub(t.requests.now)
}

func (d *trials) newTrial(r *request, number uint64, o order) *trial {
	t := &trial{trials: d, request: r, began: d.requests.now, order: o, number: number, assigned: o.target,
		sending: make(map[string]bool), asked: make(map[string]asking), returned: make(map[string]bool),
		skipped: make(map[string]bool), used: make(usedPorts)}
	r.task = t
	d.all = append(d.all, t)
	return t
}

// follow continues the trials if instances have other agents than before, or if agents
// have described themselves. It must be called at the end of each step.
func (d *trials) follow() {
	changed := d.agents.changed
	d.agents.changed = nil
	if len(changed) == 0 {
		return
	}
	for t := range d.open() {
		t.agentsChanged(changed)
	}
}

// open returns the trials in the order in which they began. Those that end in the
// meantime are left out.
func (d *trials) open() iter.Seq[*trial] {
	return func(yield func(*trial) bool) {
		for _, t := range slices.Clone(d.all) {
			if slices.Contains(d.all, t) && !yield(t) {
				return
			}
		}
	}
}

// drained continues the trials without an instance that was drained.
func (d *trials) drained(instance string) {
	for t := range d.open() {
		t.retract(instance)
		delete(t.sending, instance)
		delete(t.returned, instance)
		if c := t.request.open[instance]; c != nil {
			d.requests.miss(c, drained)
		} else {
			t.advance()
		}
	}
}

// agentsChanged continues the trial after the agents of instances, or their descriptions,
// have changed. Ten thousand agents may connect while the trial waits. So it visits the other
// instances of the cluster only when the trial no longer waits for the lacking one.
func (t *trial) agentsChanged(instances []string) {
	switch {
	case t.plan != nil:
		t.ask(instances)
		t.requests.settle(t.request)
	case !t.lacks(t.lacking):
		t.advance()
	}
}

// lacks reports whether the trial waits for the agent of an instance.
func (t *trial) lacks(instance string) bool {
	if instance == "" || t.names.drained(instance) {
		return false
	}
	a := t.agents.of(instance)
	return a == nil && t.waitsForAll() || a != nil && a.isOurs() && !a.described
}

// advance asks the agents when all of them are connected.
func (t *trial) advance() {
	if t.plan != nil {
		t.askAll()
		t.requests.settle(t.request)
		return
	}
	absent, undescribed := t.missing()
	if waited := slices.Concat(absent, undescribed); len(undescribed) > 0 || len(absent) > 0 && t.waitsForAll() {
		t.lacking = waited[len(waited)-1]
		t.dial()
		return
	}
	if t.number == 0 && !t.waited && t.mayReach() {
		if t.dial(); len(t.dialed) > 0 {
			t.requests.setTimeout(t.request, t.began.Add(dialLimit).Sub(t.requests.now))
		}
		return
	}
	if t.number == 0 {
		t.requests.setTimeout(t.request, t.rest())
	}
	for _, name := range absent {
		t.skip(name)
	}
	t.replan(t.members.fillHosts(t.order.target.Configuration))
	t.askAll()
	t.requests.settle(t.request)
}

// askAll makes all agents check that have not been asked.
func (t *trial) askAll() {
	instances := make([]string, len(t.order.target.Instances))
	for i, inst := range t.order.target.Instances {
		instances[i] = inst.Name
	}
	t.ask(instances)
}

// ask makes the agents of instances check that have not been asked. It is called again
// when an agent connects, takes over an instance, or turns out to be ours. An agent that
// returned is asked with the next plan, by askAll.
func (t *trial) ask(instances []string) {
	var next []string
	for _, name := range instances {
		a := t.agents.of(name)
		if a == nil || !t.plan.has(name) || t.asked[name].term == a.term {
			continue
		}
		if t.retract(name) { // the plan may have the address of the former agent
			delete(t.used, name)
			t.returned[name] = true
		}
		next = append(next, name)
	}
	if t.renewal().due(t.requests.now) {
		t.renewed = t.requests.now
		t.replan(t.members.fillHosts(t.order.target.Configuration))
		t.askAll()
		return
	}
	next = slices.DeleteFunc(next, func(name string) bool {
		return !t.agents.of(name).checks() || t.plan.layout == "" || t.returned[name] || t.skipped[name] || t.names.drained(name)
	})
	t.plan.supply(t.agents, next...)
	for _, name := range next {
		// A check may continue other trials, and this one.
		if a := t.agents.of(name); a != nil && t.asked[name].term != a.term {
			t.asked[name] = asking{term: a.term}
			t.check(name)
		}
	}
}

// renewalInterval is the shortest time between two plans of a trial whose agents return. A
// plan takes time that grows with the cluster, and after a failure of the network all agents
// may return from other addresses, one by one.
const renewalInterval = 200 * time.Millisecond

// renewal returns when the trial needs another plan, not set if it needs none.
func (t *trial) renewal() alarm {
	if len(t.returned) == 0 {
		return alarm{}
	}
	return alarmAt(t.renewed.Add(renewalInterval))
}

// replan makes the plan for the target with the addresses that are filled in.
func (t *trial) replan(filled zeekapi.Configuration) {
	t.plan = t.plans.of(t.order.target, filled)
	clear(t.returned)
}

// renew continues the trials that need another plan.
func (d *trials) renew() {
	for t := range d.open() {
		if t.renewal().due(d.requests.now) {
			t.advance()
		}
	}
}

// deadline returns when the next trial needs another plan.
func (d *trials) deadline() (next alarm) {
	for _, t := range d.all {
		next = next.sooner(t.renewal())
	}
	return next
}

// retract forgets what the agent of an instance was asked, and what it found. It
// returns false if no agent of the instance was asked.
func (t *trial) retract(instance string) bool {
	if t.asked[instance] == (asking{}) {
		return false
	}
	delete(t.asked, instance)
	t.request.withdraw(instance)
	return true
}

// remarks returns a result for each instance that was not checked.
func (t *trial) remarks() []zeekapi.Result {
	text := "its nodes are not checked: the agent is Zeek's own, or an old one of zeekwire"
	if t.order.target.Site != "" {
		text = "its nodes are not checked and do not get the site: the agent is Zeek's own, or an old one of zeekwire"
	}
	var remarks []zeekapi.Result
	for _, inst := range t.order.target.Instances {
		a, asked := t.agents.of(inst.Name), t.asked[inst.Name]
		if a != nil && (asked.term != a.term || asked.unsupported) && !t.names.drained(inst.Name) {
			remarks = append(remarks, remarkOn(t.request.id, inst.Name, text))
		}
	}
	return remarks
}

// check asks the agent of an instance, as soon as it has the site.
func (t *trial) check(instance string) {
	t.sending[instance] = true // before ensure, which may continue the trial for another instance
	has, err := t.sites.ensure(instance, t.plan.config.Site)
	switch {
	case err != nil:
		t.request.results = append(t.request.results, zeekapi.Result{ReqID: t.request.id, Instance: instance, Error: err.Error()})
	case has:
		t.plan.supply(t.agents, instance)
		t.requests.call(t.request, instance, t.plan.check(t.agents.of(instance)))
	default:
		return
	}
	delete(t.sending, instance)
}

// sent continues the trials that wait until the agent of an instance has a site.
func (d *trials) sent(instance string) {
	for t := range d.open() {
		switch {
		case !t.sending[instance]:
			continue
		case d.agents.of(instance) == nil:
			delete(t.sending, instance) // the next agent is asked
		default:
			t.check(instance)
		}
		d.requests.settle(t.request)
	}
}

// waitsForAll reports whether the trial waits until all agents are connected. The
// first deployment does not: there is nothing yet that runs, and agents that connect
// later get what they are to run.
func (t *trial) waitsForAll() bool {
	deployed, _ := t.configs.get(Deployed)
	return !t.order.options.Partial && len(deployed.Nodes) > 0
}

// skip leaves out an instance whose agent is not connected.
func (t *trial) skip(instance string) {
	if t.order.options.Partial {
		t.skipped[instance] = true
		t.request.results = append(t.request.results, notConnectedResult(t.request, instance))
	}
}

// missing returns the instances whose agents are not connected, and those whose
// agents have yet to describe themselves.
func (t *trial) missing() (absent, undescribed []string) {
	for _, inst := range t.order.target.Instances {
		switch a := t.agents.of(inst.Name); {
		case t.names.drained(inst.Name):
		case a == nil:
			absent = append(absent, inst.Name)
		case a.isOurs() && !a.described:
			undescribed = append(undescribed, inst.Name)
		}
	}
	slices.Sort(absent)
	slices.Sort(undescribed)
	return absent, undescribed
}

// mayDial reports whether the agent of an instance listens and is not part of the cluster
// yet.
func (t *trial) mayDial(inst zeekapi.Instance) bool {
	w := t.members.of(inst.Name)
	return !inst.Connects() && (w == nil || moved(w.Instance, inst))
}

// mayReach reports whether an absent agent may be dialed.
func (t *trial) mayReach() bool {
	return slices.ContainsFunc(t.order.target.Instances, func(inst zeekapi.Instance) bool {
		return t.agents.of(inst.Name) == nil && !t.names.drained(inst.Name) && t.mayDial(inst)
	})
}

// dial connects to agents that listen and are not part of the cluster yet.
func (t *trial) dial() {
	for _, inst := range t.order.target.Instances {
		if t.mayDial(inst) && !t.members.dialed[addressOf(inst)] {
			t.members.dial(inst)
			t.members.expected[inst.Name] = addressOf(inst)
			t.dialed = append(t.dialed, inst)
		}
	}
}

// hangUp ends the peerings that began for the trial.
func (t *trial) hangUp() {
	for _, inst := range t.dialed {
		delete(t.members.expected, inst.Name)
		t.arrivals.hangUp(inst)
		t.members.release(inst.Name)
	}
	t.dialed = nil
}

// accept takes the problems that an agent found.
func (t *trial) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	answer, ok := msg.(zeekapi.AgentCheckResponse)
	if !ok {
		return nil, false
	}
	c.agent.answered(answer.Results)
	t.used.add(c.instance, answer.Results)
	return problems(c, answer.Results), true
}

func (t *trial) missed(c *call, why reason) ([]zeekapi.Result, bool) {
	if why == unsupported {
		t.asked[c.instance] = asking{c.agent.term, true}
	}
	return nil, true // an agent that is lost is missing at the end
}

// checked reports whether all agents have checked that can. It asks those that have not,
// because they took over an instance in the meantime. Instances without an agent are
// reported, unless the deployment does not wait for them.
func (t *trial) checked() bool {
	if t.plan == nil {
		return false
	}
	t.askAll()
	absent, undescribed := t.missing()
	if len(t.request.open) > 0 || len(t.sending) > 0 || len(t.returned) > 0 || len(undescribed) > 0 {
		return false
	}
	for _, name := range absent {
		if t.waitsForAll() {
			t.request.results = append(t.request.results, notConnectedResult(t.request, name))
		} else if !t.skipped[name] {
			t.skip(name)
		}
	}
	return true
}

// complete decides whether the deployment begins.
func (t *trial) complete(r *request) bool {
	switch {
	case !t.checked():
		return false
	case t.movePorts():
		return len(r.open) == 0 && t.complete(r)
	case t.number == 0:
		t.report(r)
		return true
	case slices.ContainsFunc(r.results, isFailure) && !t.order.options.Partial:
		t.reject(r)
		return true
	}
	t.trialEnded()
	t.keepPorts()
	for _, res := range t.remarks() {
		t.log.Warn().Str("instance", res.Instance).Stringer("remark", res.Data).Msg("the instance was not checked")
	}
	t.order.begun()
	t.begin(r, plannedDeployment{t.number, t.order.target, t.order.options, t.skipped, t.excused(r)})
	return false
}

// maxPortRounds limits the further checks of a configuration with other ports.
const maxPortRounds = 3

// movePorts begins another check with other ports if agents found assigned ports in
// use. All other ports stay as they are.
func (t *trial) movePorts() bool {
	if t.order.uploaded == nil || t.rounds == maxPortRounds || len(t.used) == 0 {
		return false
	}
	filled := t.members.fillHosts(t.order.target.Configuration)
	found, err := t.settings.replacePorts(&filled, *t.order.uploaded, t.used)
	if err != nil {
		t.log.Warn().Err(err).Msg("cannot replace ports that are in use")
	}
	if !found || err != nil {
		return false
	}
	t.rounds++
	moved := t.order.target.Configuration
	moved.Nodes = filled.Nodes
	t.order.target = t.configs.revise(moved)
	t.replan(filled)
	t.request.results = slices.DeleteFunc(t.request.results, func(res zeekapi.Result) bool { return !t.skipped[res.Instance] })
	clear(t.asked)
	clear(t.used)
	t.askAll()
	return true
}

// keepPorts makes the ports that have passed the check those of the staged
// configuration, unless another one was staged in the meantime.
func (t *trial) keepPorts() {
	if t.rounds == 0 {
		return
	}
	text := clip("ports in use were replaced: " + movedPorts(t.assigned.Configuration, t.order.target.Configuration))
	t.log.Info().Str("config", clip(t.order.target.ID)).Msg(text)
	t.events.add(zeekapi.EventDeploying, "", "", text)
	if ready, _ := t.configs.get(Ready); ready.number == t.assigned.number {
		t.configs.save(Ready, t.order.target)
	}
	t.history.revise(t.number, t.order.target)
}

// excused returns the nodes that a partial deployment begins with although they have
// not passed the check. Their agents report them again.
func (t *trial) excused(r *request) map[string]bool {
	nodes := make(map[string]bool)
	r.results = slices.DeleteFunc(r.results, func(res zeekapi.Result) bool {
		if res.Node != "" {
			nodes[res.Node] = true
		}
		return res.Node != ""
	})
	return nodes
}

// report makes the results of a check those that the client gets.
func (t *trial) report(r *request) {
	ok := !slices.ContainsFunc(r.results, isFailure)
	r.results = append(t.remarks(), r.results...)
	r.results = append(r.results, t.deployments.remarks(r.id, t.order.target.Nodes)...)
	if ok {
		r.results = append(r.results, zeekapi.Result{ReqID: r.id, Success: true, Data: broker.String(t.order.target.ID)})
	}
}

// reject ends a deployment that has changed nothing.
func (t *trial) reject(r *request) {
	r.results = append(r.results, zeekapi.Failure(r.id, zeekapi.ErrorRefused))
	t.history.end(t.number, zeekapi.OutcomeRefused, r.results)
	t.hangUp()
}

// trialEnded forgets the trial.
func (t *trial) trialEnded() {
	if t.current == t {
		t.current = nil
	}
	t.all = slices.DeleteFunc(t.all, func(o *trial) bool { return o == t })
}

// expired refuses a configuration if agents are missing. If they only take long
// to check, the client gets its response and the check continues.
func (t *trial) expired(r *request) bool {
	if t.number == 0 && t.plan == nil && !t.waited {
		t.waited = true
		t.requests.setTimeout(r, t.rest())
		t.advance()
		return true
	}
	waiting := t.awaited(r)
	results := append(slices.Clone(r.results), zeekapi.Failure(r.id, zeekapi.ErrorTimeout))
	switch {
	case t.plan != nil && t.number != 0 && r.reply != nil && t.rest() > 0:
		t.requests.uncount(r)
		t.requests.reply(r, append(results, zeekapi.Failure(r.id, "the check "+zeekapi.ErrorContinues+", and the deployment if it passes, waiting for %s", listed(waiting))))
		t.requests.setTimeout(r, t.rest())
		return true
	default:
		for _, name := range waiting {
			if t.plan == nil || t.agents.of(name) == nil {
				results = append(results, notConnectedResult(r, name))
			} else {
				results = append(results, zeekapi.Failure(r.id, "the agent of instance %s has not answered the check; start-limit of the controller allows it more time", name))
			}
		}
	}
	r.results = results
	if t.number != 0 {
		t.reject(r)
	}
	t.requests.finish(r)
	return true
}

// ended forgets the trial.
func (t *trial) ended(*request) {
	t.trialEnded()
	t.hangUp()
}

func (t *trial) awaited(r *request) []string {
	absent, undescribed := t.missing()
	waiting := append(undescribed, sortedKeys(r.open)...)
	waiting = append(waiting, sortedKeys(t.sending)...)
	waiting = append(waiting, sortedKeys(t.returned)...)
	if t.plan == nil || t.waitsForAll() {
		waiting = append(waiting, absent...)
	}
	slices.Sort(waiting)
	return slices.Compact(waiting)
}
