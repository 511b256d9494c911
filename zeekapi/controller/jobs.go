package controller

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

const (
	// nodeTimeout is the longest time that a node may take to run again.
	nodeTimeout = time.Minute

	// pollInterval is the time between two requests for the state of a node.
	pollInterval = time.Second
)

// jobs runs rolling restarts, one at a time. A job is not a request: its client
// gets the response when the job begins.
type jobs struct {
	*outbox
	configs  *configurations
	agents   *agents
	members  *members
	names    *nameSets
	stopped  *stoppedNodes
	requests *requests
	storage  *storage
	checks   *restartChecks
	events   *eventLog
	timeout  time.Duration // of requests
	log      zerolog.Logger

	last *job // nil if there was none
}

// restartRank is the order in which nodes restart, which is also that in which
// they start: a node comes before those that connect to it.
var restartRank = map[zeekapi.ClusterRole]int{
	zeekapi.RoleLogger: 0, zeekapi.RoleManager: 1, zeekapi.RoleProxy: 2, zeekapi.RoleWorker: 3, zeekapi.RoleNone: 4,
}

// rollingRestart begins a job when all its nodes have passed a check. It refuses an
// invalid one, and one during another job or during what busy says.
func (j *jobs) rollingRestart(by broker.Peer, req zeekapi.RollingRestartRequest, busy func() error) {
	nodes, err := j.nodesToRestart(req)
	if err == nil { // it would be as wrong later
		err = j.obstacle(busy)
	}
	if err != nil {
		j.requests.answer(by, req, zeekapi.Failure(req.ID, "%s", err))
		return
	}
	r := j.requests.begin(by, req)
	if r == nil {
		return
	}
	on := make(map[string][]string)
	for _, n := range nodes {
		on[n.Instance] = append(on[n.Instance], n.Name)
	}
	j.checks.ask(r, func() map[string][]string { return on }, func(found []zeekapi.Result) bool {
		switch err := j.obstacle(busy); {
		case len(found) > 0:
			j.requests.fail(r, "%s", problemsOf(found))
		case err != nil:
			j.requests.fail(r, "%s", err)
		default:
			j.begin(nameOf(by), r, nodes, req.AtOnce)
		}
		return false
	})
}

// obstacle returns why no job can begin now, nil if one can.
func (j *jobs) obstacle(busy func() error) error {
	if j.last.running() {
		return fmt.Errorf("job %d is still under way", j.last.Number)
	}
	return busy()
}

// begin begins a job and responds to its request.
func (j *jobs) begin(by string, r *request, nodes []zeekapi.Node, atOnce uint64) {
	number := uint64(1)
	if j.last != nil {
		number = j.last.Number + 1
	}
	j.last = &job{
		Job:    zeekapi.Job{Number: number, By: by, Started: j.now},
		atOnce: int(min(max(1, atOnce), uint64(len(nodes)))),
		left:   nodes,
		now:    make(map[string]*restarting),
		asked:  make(map[string]bool),
	}
	begun := j.last.snapshot()
	j.log.Info().Str("by", by).Uint64("job", number).Str("nodes", clip(listed(begun.Next))).Msg("rolling restart")
	j.save()
	j.events.add(zeekapi.EventJob, "", "", fmt.Sprintf("job %d: restart of %d nodes by %s", number, len(nodes), by))
	r.results = []zeekapi.Result{successWith(r.id, begun)}
	j.requests.finish(r)
	j.advance()
}

// nodesToRestart returns the nodes that a request names, in order.
func (j *jobs) nodesToRestart(req zeekapi.RollingRestartRequest) ([]zeekapi.Node, error) {
	if len(j.members.byName) == 0 {
		return nil, errors.New("no active cluster deployment")
	}
	missing := setOf(req.Nodes)
	named := len(missing) > 0
	var nodes []zeekapi.Node
	for _, n := range j.configs.target().Nodes {
		if named && !missing[n.Name] {
			continue
		}
		delete(missing, n.Name)
		if named && j.stopped.has(n.Name) {
			return nil, fmt.Errorf("node %s is %s", clip(n.Name), j.stopped.text(n.Name))
		}
		if len(req.Roles) > 0 && !slices.Contains(req.Roles, n.Role) || j.leavesOut(n) != "" {
			continue
		}
		nodes = append(nodes, n)
	}
	if unknown := sortedKeys(missing); len(unknown) > 0 {
		return nil, errors.New("unknown cluster node " + clip(unknown[0]))
	}
	if len(nodes) == 0 {
		return nil, errors.New("there are no such nodes to restart")
	}
	slices.SortFunc(nodes, func(a, b zeekapi.Node) int {
		return cmp.Or(cmp.Compare(restartRank[a.Role], restartRank[b.Role]), cmp.Compare(a.Name, b.Name))
	})
	return nodes, nil
}

func (j *jobs) cancel(by broker.Peer, req zeekapi.CancelJobRequest) {
	if !j.last.running() {
		j.requests.answer(by, req, zeekapi.Failure(req.ID, "no job is under way"))
		return
	}
	j.log.Info().Str("by", nameOf(by)).Uint64("job", j.last.Number).Msg("cancelling the job")
	j.last.stopped = errors.New("cancelled by " + nameOf(by))
	j.save()
	j.requests.answer(by, req, successWith(req.ID, j.last.snapshot()))
	j.advance()
}

// advance restarts the next nodes, as many as may restart at once. Nodes of the
// next role wait for all of the one before. Nodes of drained instances, and stopped nodes, are left out.
// It ends the job if no node is left, if one takes too long, or if its agent is away.
// While changes cannot be stored, the job pauses, because the next life of the
// controller would not know what has restarted.
func (j *jobs) advance() {
	last := j.last
	if !last.running() {
		return
	}
	for _, name := range sortedKeys(last.now) {
		if n := last.now[name]; j.leavesOut(n.Node) != "" {
			delete(last.now, name)
			j.skip(n.Node)
		}
	}
	fresh := j.fill()
	if len(last.now) == 0 {
		if last.stopped != nil || len(last.left) == 0 {
			j.end(last.stopped)
		}
		return // or the job pauses
	}
	for _, name := range sortedKeys(last.now) {
		if err := j.obstructed(last.now[name]); err != nil {
			j.end(err)
			return
		}
	}
	j.ask(fresh)
}

// fill begins with the next nodes, and returns their instances.
func (j *jobs) fill() map[string]bool {
	last, fresh := j.last, make(map[string]bool)
	for last.stopped == nil && len(last.left) > 0 && len(last.now) < last.atOnce && j.storage.available() {
		next := last.left[0]
		for _, n := range last.now {
			if n.Role != next.Role {
				return fresh
			}
		}
		last.left = last.left[1:]
		if j.leavesOut(next) != "" {
			j.skip(next)
			continue
		}
		last.now[next.Name] = &restarting{Node: next, until: j.now.Add(nodeTimeout)}
		fresh[next.Instance] = true
	}
	return fresh
}

// leavesOut returns why a job does not restart a node, "" if it does.
func (j *jobs) leavesOut(n zeekapi.Node) string {
	switch {
	case j.names.drained(n.Instance):
		return "its instance is drained"
	case j.stopped.has(n.Name):
		return "it is stopped"
	}
	return ""
}

// skip leaves out a node.
func (j *jobs) skip(n zeekapi.Node) {
	j.events.add(zeekapi.EventJob, n.Instance, n.Name, fmt.Sprintf("job %d: left out the node, %s", j.last.Number, j.leavesOut(n)))
}

// obstructed returns why a job cannot continue with a node, nil if it can.
func (j *jobs) obstructed(n *restarting) error {
	impatient := !j.now.Before(j.last.patience)
	switch late := !j.now.Before(n.until); {
	case n.stage == looking && impatient && !j.isReady(n.Instance):
		return fmt.Errorf("node %s: %s", n.Name, notConnected)
	case n.stage == looking && impatient && late && !n.unsure:
		return fmt.Errorf("node %s: its agent has not said which process it is for %v", n.Name, nodeTimeout)
	case late && (n.stage != looking || impatient):
		return fmt.Errorf("node %s is not back after %v", n.Name, nodeTimeout)
	}
	return nil
}

// restart tells the agent of a node to restart it.
func (j *jobs) restart(n *restarting) {
	n.stage, n.unsure, n.until = telling, false, j.now.Add(nodeTimeout)
	n.agent = j.agents.peerOf(n.Instance)
	j.save()
	j.events.add(zeekapi.EventJob, n.Instance, n.Name, fmt.Sprintf("job %d: restarting the node", j.last.Number))
	r := j.requests.start(j.timeout, &nodeRestart{takeRestart, j, j.last, n})
	j.requests.call(r, n.Instance, askRestart([]string{n.Name}))
}

// nodeRestart is the task of telling an agent to restart a node.
type nodeRestart struct {
	inquiry[zeekapi.AgentRestartResponse]
	jobs *jobs
	job  *job
	node *restarting
}

func (t *nodeRestart) ended(r *request) {
	// Otherwise the node was left out, or it is the last job: another one begins only after
	// its end.
	if !t.job.running() || t.job.now[t.node.Name] != t.node {
		return
	}
	for _, res := range r.results {
		// A node that takes long may still come, also after a timeout.
		if !res.Success && res.Error != zeekapi.ErrorTimeout {
			t.jobs.end(fmt.Errorf("node %s: %s", t.node.Name, clip(res.Error)))
			return
		}
	}
	t.node.stage = returning
	t.jobs.watch()
}

// poll asks for the nodes that are not back yet, if it is time to do so.
func (j *jobs) poll() {
	if j.last != nil && j.last.poll.due(j.now) {
		j.last.poll = alarm{}
		j.watch()
	}
}

// deadline returns the time of the next poll.
func (j *jobs) deadline() alarm {
	if j.last == nil {
		return alarm{}
	}
	return j.last.poll
}

// watch asks the agents about nodes that are to restart, or that are not back yet.
func (j *jobs) watch() {
	j.advance()
	if !j.last.running() {
		return
	}
	instances := make(map[string]bool)
	for _, n := range j.last.now {
		instances[n.Instance] = instances[n.Instance] || n.stage != telling
	}
	j.ask(instances)
	j.last.poll = alarmAt(j.now.Add(pollInterval))
}

// ask asks agents for their nodes, unless they have been asked and not answered, or
// are away.
func (j *jobs) ask(instances map[string]bool) {
	last := j.last
	for _, instance := range sortedKeys(instances) {
		if instances[instance] && !last.asked[instance] && j.isReady(instance) {
			last.asked[instance] = true
			r := j.requests.start(statusTimeout, &nodeWatch{takeAnyNodes, j, last, instance})
			j.requests.call(r, instance, askNodes)
		}
	}
	if !last.poll.set {
		last.poll = alarmAt(j.now.Add(pollInterval))
	}
}

// save stores the job.
func (j *jobs) save() { j.emit(SaveJob{Job: j.last.form()}) }

// isReady reports whether the agent of an instance accepts requests to restart nodes.
func (j *jobs) isReady(instance string) bool {
	w := j.members.of(instance)
	return w != nil && w.ready
}

// takeAnyNodes is the inquiry for askNodes that does not look at the data.
var takeAnyNodes = inquiry[zeekapi.AgentGetNodesResponse]{
	results: func(_ *call, answer zeekapi.AgentGetNodesResponse) []zeekapi.Result {
		return []zeekapi.Result{answer.Result}
	},
}

// nodeWatch is the task of asking an agent which nodes run again.
type nodeWatch struct {
	inquiry[zeekapi.AgentGetNodesResponse]
	jobs     *jobs
	job      *job
	instance string
}

func (t *nodeWatch) ended(r *request) {
	delete(t.job.asked, t.instance)
	if t.job.running() {
		t.jobs.back(t.instance, r.results)
	}
}

// back takes the states of the nodes of an instance.
func (j *jobs) back(instance string, results []zeekapi.Result) {
	for _, res := range results {
		nodes, ok := dataOf[[]zeekapi.NodeStatus](res.Data)
		if !ok || !res.Success {
			continue
		}
		known := byName(nodes, func(s zeekapi.NodeStatus) string { return s.Node })
		for _, name := range sortedKeys(j.last.now) {
			if n := j.last.now[name]; n.Instance == instance {
				status, told := known[name]
				j.seen(n, status, told)
			}
		}
	}
	j.advance()
}

// seen takes the state of a node. It is not told if the agent does not know the node.
func (j *jobs) seen(n *restarting, status zeekapi.NodeStatus, told bool) {
	if n.stage == returning && n.pid == 0 && n.agent != uuid.Nil && n.agent != j.agents.peerOf(n.Instance) {
		// Another agent with the name was told to restart the node, which need not
		// know it.
		n.stage, n.unsure = looking, true
	}
	if n.stage == looking {
		switch n.next(status, told) {
		case telling:
			if !j.storage.available() {
				n.until = j.now.Add(nodeTimeout)
				return
			}
			n.pid = status.PID
			j.restart(n)
			return
		case returning:
			n.stage, n.until = returning, j.now.Add(nodeTimeout)
		}
	}
	if n.stage != returning || !told || status.State != zeekapi.StateRunning || n.pid != 0 && n.pid == status.PID {
		return
	}
	delete(j.last.now, n.Name)
	j.last.Done = append(j.last.Done, n.Name)
	j.save()
	j.events.add(zeekapi.EventJob, n.Instance, n.Name, fmt.Sprintf("job %d: the node runs again", j.last.Number))
}

// interrupt ends the current job, if there is one.
func (j *jobs) interrupt(why error) {
	if j.last.running() {
		j.end(why)
	}
}

// end ends the current job. The error is nil if the job is complete.
func (j *jobs) end(err error) {
	last := j.last
	last.Job, last.stored = last.snapshot(), nil
	last.Job.Next = append(last.Job.Now, last.Job.Next...)
	last.Job.Now = nil
	last.Ended, last.poll = j.now, alarm{}
	text := fmt.Sprintf("job %d is done", last.Number)
	log := j.log.Info().Uint64("job", last.Number)
	if err != nil {
		last.Error = err.Error()
		text = fmt.Sprintf("job %d ended: %s", last.Number, err)
		log = log.Str("error", err.Error())
	}
	j.save()
	log.Msg("rolling restart ended")
	j.events.add(zeekapi.EventJob, "", "", text)
}
