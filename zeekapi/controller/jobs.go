package controller

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

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
	requests *requests
	checks   *restartChecks
	events   *eventLog
	timeout  time.Duration // of requests
	log      zerolog.Logger

	last *job // nil if there was none
}

// job is a rolling restart.
type job struct {
	zeekapi.Job // Now and Next only after the end, see snapshot

	atOnce  int
	left    []zeekapi.Node         // in order
	now     map[string]*restarting // by node
	asked   map[string]bool        // instances that have not answered about their nodes
	stopped error                  // why no more nodes are restarted, nil if they are
	poll    alarm
}

// restarting is a node that a job restarts.
type restarting struct {
	zeekapi.Node
	told  bool // the agent answered
	until time.Time
}

// lastJob returns the last job of an earlier life, nil if there was none.
func lastJob(state State) *job {
	if state.Job == nil {
		return nil
	}
	return &job{Job: *state.Job}
}

func (j *job) running() bool { return j != nil && j.Ended.IsZero() }

// snapshot returns the progress of the job.
func (j *job) snapshot() zeekapi.Job {
	s := j.Job
	s.Done = slices.Clone(s.Done)
	if j.running() {
		s.Now = sortedKeys(j.now)
		s.Next = nil
		for _, n := range j.left {
			s.Next = append(s.Next, n.Name)
		}
	}
	return s
}

// restartRank is the order in which nodes restart, which is also that in which
// they start: a node comes before those that connect to it.
var restartRank = map[zeekapi.ClusterRole]int{
	zeekapi.RoleLogger: 0, zeekapi.RoleManager: 1, zeekapi.RoleProxy: 2, zeekapi.RoleWorker: 3, zeekapi.RoleNone: 4,
}

// endLost ends the job that the end of the controller interrupted.
func (j *jobs) endLost() {
	if last := j.last; last.running() {
		last.Ended, last.Error = j.now, "the controller ended before the job did"
		last.Next = append(last.Now, last.Next...)
		last.Now = nil
		j.emit(SaveJob{Job: last.Job})
	}
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
	j.checks.ask(r, on, func(found []zeekapi.Result) bool {
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
	j.emit(SaveJob{Job: begun})
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
		if len(req.Roles) > 0 && !slices.Contains(req.Roles, n.Role) || j.names.drained(n.Instance) {
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
	j.requests.answer(by, req, successWith(req.ID, j.last.snapshot()))
	j.advance()
}

// advance restarts the next nodes, as many as may restart at once. Nodes of the
// next role wait for all of the one before.
func (j *jobs) advance() {
	last := j.last
	for last.running() && last.stopped == nil && len(last.left) > 0 && len(last.now) < last.atOnce {
		next := last.left[0]
		for _, n := range last.now {
			if n.Role != next.Role {
				return
			}
		}
		if !j.restartNext() {
			return
		}
	}
	if last.running() && len(last.now) == 0 {
		j.end(last.stopped)
	}
}

// restartNext restarts one node and reports whether it could.
func (j *jobs) restartNext() bool {
	last := j.last
	n := &restarting{Node: last.left[0], until: j.now.Add(nodeTimeout)}
	last.left = last.left[1:]
	last.now[n.Name] = n
	if w := j.members.of(n.Instance); w == nil || !w.ready {
		j.end(fmt.Errorf("node %s: %s", n.Name, notConnected))
		return false
	}
	j.events.add(zeekapi.EventJob, n.Instance, n.Name, fmt.Sprintf("job %d: restarting the node", last.Number))
	r := j.requests.start(j.timeout, &nodeRestart{takeRestart, j, last, n})
	j.requests.call(r, n.Instance, askRestart([]string{n.Name}))
	return true
}

// nodeRestart is the task of telling an agent to restart a node.
type nodeRestart struct {
	inquiry[zeekapi.AgentRestartResponse]
	jobs *jobs
	job  *job
	node *restarting
}

func (t *nodeRestart) ended(r *request) {
	if !t.jobs.isUnderWay(t.job) {
		return
	}
	for _, res := range r.results {
		// A node that takes long may still come, also after a timeout.
		if !res.Success && res.Error != zeekapi.ErrorTimeout {
			t.jobs.end(fmt.Errorf("node %s: %s", t.node.Name, clip(res.Error)))
			return
		}
	}
	t.node.told = true
	t.jobs.watch()
}

func (j *jobs) isUnderWay(one *job) bool { return j.last == one && one.running() }

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

// watch asks the agents of nodes that are not back yet.
func (j *jobs) watch() {
	last := j.last
	if !last.running() {
		return
	}
	var instances []string
	for _, name := range sortedKeys(last.now) {
		n := last.now[name]
		switch {
		case !n.until.After(j.now):
			j.end(fmt.Errorf("node %s is not back after %v", name, nodeTimeout))
			return
		case n.told && !last.asked[n.Instance] && j.agents.of(n.Instance) != nil:
			last.asked[n.Instance] = true
			instances = append(instances, n.Instance)
		}
	}
	last.poll = alarmAt(j.now.Add(pollInterval))
	for _, instance := range instances {
		r := j.requests.start(statusTimeout, &nodeWatch{takeAnyNodes, j, last, instance})
		j.requests.call(r, instance, askNodes)
	}
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
	if t.jobs.isUnderWay(t.job) {
		t.jobs.back(t.instance, r.results)
	}
}

// back takes the states of the nodes of an instance.
func (j *jobs) back(instance string, results []zeekapi.Result) {
	last := j.last
	for _, res := range results {
		nodes, ok := dataOf[[]zeekapi.NodeStatus](res.Data)
		if !ok {
			continue
		}
		for _, status := range nodes {
			n := last.now[status.Node]
			if n == nil || n.Instance != instance || !n.told || status.State != zeekapi.StateRunning {
				continue
			}
			delete(last.now, n.Name)
			last.Done = append(last.Done, n.Name)
			j.events.add(zeekapi.EventJob, instance, n.Name, fmt.Sprintf("job %d: the node runs again", last.Number))
		}
	}
	j.advance()
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
	last.Job = last.snapshot()
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
	j.emit(SaveJob{Job: last.Job})
	log.Msg("rolling restart ended")
	j.events.add(zeekapi.EventJob, "", "", text)
}
