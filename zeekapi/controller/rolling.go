package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

const (
	// nodePatience is how long a node may take to run again.
	nodePatience = time.Minute

	// pollInterval is how often to ask agents whether a node runs.
	pollInterval = time.Second
)

// job is a rolling restart. It is no request: its client has the answer when
// it begins.
type job struct {
	zeekapi.Job // Now and Next only when it has ended, see snapshot

	atOnce int
	left   []zeekapi.Node         // in order
	now    map[string]*restarting // by node
	asked  map[string]bool        // instances that have not answered about their nodes
	stop   string                 // why no more nodes are restarted, "" if they are
	poll   time.Time              // when to ask again, zero if never
}

// restarting is a node that a job restarts.
type restarting struct {
	zeekapi.Node
	told  bool // its agent answered
	until time.Time
}

func (j *job) running() bool { return j != nil && j.Ended.IsZero() }

// snapshot returns how far the job is.
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

// restartRank is the order in which nodes are restarted, that in which they
// also start: whom a node connects to comes first.
var restartRank = map[zeekapi.ClusterRole]int{
	zeekapi.RoleLogger: 0, zeekapi.RoleManager: 1, zeekapi.RoleProxy: 2, zeekapi.RoleWorker: 3, zeekapi.RoleNone: 4,
}

func (m *Machine) rollingRestart(by broker.Peer, req zeekapi.RollingRestartRequest) {
	nodes, err := m.nodesToRestart(req)
	switch {
	case err != "": // it would be as wrong later
	case m.job.running():
		err = fmt.Sprintf("job %d is still under way", m.job.Number)
	case m.pending() != nil:
		err = fmt.Sprintf(errPending, m.pending().id)
	}
	if err != "" {
		m.answer(zeekapi.RollingRestartResponse{ReqID: req.ReqID, Result: zeekapi.Failure(req.ID, "%s", err)})
		return
	}
	number := uint64(1)
	if m.job != nil {
		number = m.job.Number + 1
	}
	m.job = &job{
		Job:    zeekapi.Job{Number: number, By: who(by), Started: m.now},
		atOnce: int(min(max(1, req.AtOnce), uint64(len(nodes)))),
		left:   nodes,
		now:    make(map[string]*restarting),
		asked:  make(map[string]bool),
	}
	begun := m.job.snapshot()
	m.log.Info().Str("by", who(by)).Uint64("job", number).Str("nodes", clip(listed(begun.Next))).Msg("rolling restart")
	m.emit(SaveJob{Job: begun})
	m.event(zeekapi.EventJob, "", "", fmt.Sprintf("job %d: restart of %d nodes by %s", number, len(nodes), who(by)))
	m.answer(zeekapi.RollingRestartResponse{ReqID: req.ReqID, Result: successWith(req.ID, begun)})
	m.advance()
}

// nodesToRestart returns the nodes that a request is about, in order.
func (m *Machine) nodesToRestart(req zeekapi.RollingRestartRequest) (nodes []zeekapi.Node, err string) {
	if len(m.wanted) == 0 {
		return nil, "no active cluster deployment"
	}
	missing := setOf(req.Nodes)
	named := len(missing) > 0
	for _, n := range m.configs[Target].Nodes {
		if named && !missing[n.Name] {
			continue
		}
		delete(missing, n.Name)
		if len(req.Roles) > 0 && !slices.Contains(req.Roles, n.Role) || m.drained[n.Instance] {
			continue
		}
		nodes = append(nodes, n)
	}
	if unknown := sortedKeys(missing); len(unknown) > 0 {
		return nil, "unknown cluster node " + clip(unknown[0])
	}
	if len(nodes) == 0 {
		return nil, "there are no such nodes to restart"
	}
	slices.SortFunc(nodes, func(a, b zeekapi.Node) int {
		return cmp.Or(cmp.Compare(restartRank[a.Role], restartRank[b.Role]), cmp.Compare(a.Name, b.Name))
	})
	return nodes, ""
}

func (m *Machine) cancelJob(by broker.Peer, req zeekapi.CancelJobRequest) {
	result := zeekapi.Failure(req.ID, "no job is under way")
	if m.job.running() {
		m.log.Info().Str("by", who(by)).Uint64("job", m.job.Number).Msg("cancelling the job")
		m.job.stop = "cancelled by " + who(by)
		result = successWith(req.ID, m.job.snapshot())
	}
	m.answer(zeekapi.CancelJobResponse{ReqID: req.ReqID, Result: result})
	if m.job.running() {
		m.advance()
	}
}

// advance restarts the next nodes, as many as may be at once. Nodes of the next
// role wait for all of the one before.
func (m *Machine) advance() {
	j := m.job
	for j.running() && j.stop == "" && len(j.left) > 0 && len(j.now) < j.atOnce {
		next := j.left[0]
		for _, n := range j.now {
			if n.Role != next.Role {
				return
			}
		}
		if !m.restartNext() {
			return
		}
	}
	if j.running() && len(j.now) == 0 {
		m.jobOver(j.stop)
	}
}

// restartNext restarts one node and reports whether it could.
func (m *Machine) restartNext() bool {
	j := m.job
	n := &restarting{Node: j.left[0], until: m.now.Add(nodePatience)}
	j.left = j.left[1:]
	j.now[n.Name] = n
	w := m.wanted[n.Instance]
	if w == nil || !w.ready {
		m.jobOver("node " + n.Name + ": " + errNotConnected)
		return false
	}
	m.event(zeekapi.EventJob, n.Instance, n.Name, fmt.Sprintf("job %d: restarting the node", j.Number))
	r := m.newRequest(m.newID(), m.settings.RequestTimeout)
	r.accept = func(_ *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
		resp, ok := msg.(zeekapi.AgentRestartResponse)
		return slices.Clone(resp.Results), ok
	}
	r.done = func(results []zeekapi.Result) {
		if m.job != j || !j.running() {
			return
		}
		for _, res := range results {
			// What takes long may come yet: the agent's own time-out, or ours.
			if !res.Success && res.Error != zeekapi.ErrorTimeout {
				m.jobOver("node " + n.Name + ": " + clip(res.Error))
				return
			}
		}
		n.told = true
		m.watchJob()
	}
	m.call(r, n.Instance, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentRestartRequest{ReqID: id, Nodes: []string{n.Name}}
	})
	return true
}

// watchJob asks the agents of nodes that are not back yet.
func (m *Machine) watchJob() {
	j := m.job
	if !j.running() {
		return
	}
	var instances []string
	for _, name := range sortedKeys(j.now) {
		n := j.now[name]
		switch {
		case !n.until.After(m.now):
			m.jobOver(fmt.Sprintf("node %s is not back after %v", name, nodePatience))
			return
		case n.told && !j.asked[n.Instance] && m.agents[n.Instance] != nil:
			j.asked[n.Instance] = true
			instances = append(instances, n.Instance)
		}
	}
	j.poll = m.now.Add(pollInterval)
	for _, instance := range instances {
		r := m.newRequest(m.newID(), statusPatience)
		r.accept = func(_ *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
			resp, ok := msg.(zeekapi.AgentGetNodesResponse)
			return []zeekapi.Result{resp.Result}, ok
		}
		r.done = func(results []zeekapi.Result) {
			delete(j.asked, instance)
			if m.job == j && j.running() {
				m.backAgain(instance, results)
			}
		}
		m.call(r, instance, func(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentGetNodesRequest{ReqID: id} })
	}
}

// backAgain takes what an agent says of its nodes.
func (m *Machine) backAgain(instance string, results []zeekapi.Result) {
	j := m.job
	for _, res := range results {
		var nodes []zeekapi.NodeStatus
		if res.Data.IsNone() || record.Unmarshal(res.Data, &nodes) != nil {
			continue
		}
		for _, status := range nodes {
			n := j.now[status.Node]
			if n == nil || n.Instance != instance || !n.told || status.State != zeekapi.StateRunning {
				continue
			}
			delete(j.now, n.Name)
			j.Done = append(j.Done, n.Name)
			m.event(zeekapi.EventJob, instance, n.Name, fmt.Sprintf("job %d: the node runs again", j.Number))
		}
	}
	m.advance()
}

// endJob ends the job under way, if there is one, for a reason that lies
// elsewhere.
func (m *Machine) endJob(why string) {
	if m.job.running() {
		m.jobOver(why)
	}
}

// jobOver ends the job under way, with an error unless it is "".
func (m *Machine) jobOver(err string) {
	j := m.job
	j.Job = j.snapshot()
	j.Job.Next = append(j.Job.Now, j.Job.Next...)
	j.Job.Now = nil
	j.Ended, j.Error, j.poll = m.now, err, time.Time{}
	m.emit(SaveJob{Job: j.Job})
	text := fmt.Sprintf("job %d is done", j.Number)
	log := m.log.Info().Uint64("job", j.Number)
	if err != "" {
		text = fmt.Sprintf("job %d ended: %s", j.Number, err)
		log = log.Str("error", err)
	}
	log.Msg("rolling restart ended")
	m.event(zeekapi.EventJob, "", "", text)
}
