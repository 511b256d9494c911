package controller

import (
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// statusPatience is how long a client that wants to see the status waits for
// agents that do not answer.
const statusPatience = 3 * time.Second

// statusRequest asks all agents for their nodes. Ours know more than Zeek's,
// which get another question when the first turns out not to be for them.
func (m *Machine) statusRequest(by broker.Peer, req zeekapi.StatusRequest) {
	r := m.begin(by, req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		if len(results) > 0 && results[0].Error == errTooMany {
			return zeekapi.StatusResponse{ReqID: id, Result: results[0]}
		}
		return zeekapi.StatusResponse{ReqID: id, Result: successWith(id.ID, m.status(results))}
	})
	if r == nil {
		return
	}
	m.hurry(r, statusPatience)
	r.accept = acceptStatus
	for _, name := range sortedKeys(m.agents) {
		m.call(r, name, askStatus)
	}
	m.settle(r)
}

func askStatus(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentStatusRequest{ReqID: id} }

// acceptStatus takes what an agent says of its nodes, as []NodeDetail.
func acceptStatus(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	var result zeekapi.Result
	switch msg := msg.(type) {
	case zeekapi.AgentStatusResponse:
		result = msg.Result
		if !isA[[]zeekapi.NodeDetail](result.Data) {
			return c.request.unanswered(c.instance, errNoStatus), true
		}
	case zeekapi.AgentGetNodesResponse:
		result = msg.Result
		var nodes []zeekapi.NodeStatus
		if !result.Data.IsNone() && record.Unmarshal(result.Data, &nodes) != nil {
			return c.request.unanswered(c.instance, errNoStatus), true
		}
		details := make([]zeekapi.NodeDetail, 0, len(nodes))
		for _, n := range nodes {
			if n.ManagementRole == zeekapi.ManagementAgent {
				continue // the agent itself, which is no node of the cluster
			}
			details = append(details, zeekapi.NodeDetail{Status: n})
		}
		result.Data = mustMarshal(details)
	default:
		return nil, false
	}
	return []zeekapi.Result{result}, true
}

// status returns the cluster as it is, with the nodes in what agents answered.
func (m *Machine) status(answers []zeekapi.Result) zeekapi.Status {
	byInstance := make(map[string]zeekapi.Result, len(answers))
	for _, res := range answers {
		byInstance[res.Instance] = res
	}
	s := zeekapi.Status{
		Controller: zeekapi.Process{Name: m.settings.Name, Version: m.settings.Version, Started: m.started},
		Staged:     m.configs[Staged].ID,
		Deployed:   m.configs[Deployed].ID,
		Target:     m.configs[Target].ID,
	}
	if n := len(m.history); n > 0 {
		last := m.history[n-1].Deployment
		s.Last = &last
	}
	if m.job != nil {
		last := m.job.snapshot()
		s.Job = &last
	}
	silent := m.silentNodes(byInstance)
	for _, name := range sortedKeys(m.contacts) {
		i := m.instanceStatus(name, byInstance)
		i.Nodes = append(i.Nodes, silent[name]...)
		s.Instances = append(s.Instances, i)
	}
	return s
}

// silentNodes returns the nodes that should run on instances whose agents did
// not answer, by instance: what is not known must not look as if it were not
// wanted.
func (m *Machine) silentNodes(answers map[string]zeekapi.Result) map[string][]zeekapi.NodeDetail {
	silent := make(map[string][]zeekapi.NodeDetail)
	for _, n := range m.configs[Target].Nodes {
		answer, ok := answers[n.Instance]
		if m.drained[n.Instance] || ok && answer.Error == "" {
			continue
		}
		silent[n.Instance] = append(silent[n.Instance], zeekapi.NodeDetail{Status: zeekapi.NodeStatus{
			Node: n.Name, State: zeekapi.StateUnknown, ManagementRole: zeekapi.ManagementNone, ClusterRole: n.Role,
			Port: n.Port, MetricsPort: n.MetricsPort,
		}})
	}
	return silent
}

func (m *Machine) instanceStatus(name string, answers map[string]zeekapi.Result) zeekapi.InstanceStatus {
	c := m.contacts[name]
	i := zeekapi.InstanceStatus{Since: c.since, Drained: m.drained[name], LastError: c.lastError}
	w, a := m.wanted[name], m.agents[name]
	if w != nil {
		i.Wanted, i.Ready, i.Instance = true, w.ready, w.Instance
		if unspecified(i.Instance.Host) && w.host.IsValid() {
			i.Instance.Host = w.host
		}
	}
	if a == nil {
		return i
	}
	if w == nil {
		i.Instance = a.Instance
	}
	i.Connected, i.Dialects, i.Agent, i.Zeek = true, slices.Clone(a.dialects), a.process, a.zeek
	answer, ok := answers[name]
	switch {
	case !ok:
		i.LastError = "no answer when asked for the status"
	case answer.Error != "":
		i.LastError = clip(answer.Error)
	case !answer.Data.IsNone():
		// What accept has seen before.
		_ = record.Unmarshal(answer.Data, &i.Nodes)
	}
	return i
}

// logsRequest passes on a client's question about a node to its agent.
func (m *Machine) logsRequest(by broker.Peer, req zeekapi.LogsRequest) {
	r := m.begin(by, req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		resp := zeekapi.LogsResponse{ReqID: id}
		if len(results) > 0 {
			resp.Result = results[0]
		}
		return resp
	})
	if r == nil {
		return
	}
	nodes := m.configs[Target].Nodes
	at := slices.IndexFunc(nodes, func(n zeekapi.Node) bool { return n.Name == req.Node })
	if at < 0 {
		r.results = []zeekapi.Result{{ReqID: r.id, Node: req.Node, Error: "unknown cluster node"}}
		m.finish(r)
		return
	}
	r.nodes = func(string) []string { return []string{req.Node} }
	r.accept = func(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
		resp, ok := msg.(zeekapi.AgentLogsResponse)
		if !isA[zeekapi.NodeOutputs](resp.Result.Data) {
			return r.unanswered(c.instance, "agent sent something else than the output of a node"), ok
		}
		if resp.Result.Success && m.drained[c.instance] {
			resp.Result.Error = errDrained // so the node does not run, but that is no failure
		}
		return []zeekapi.Result{resp.Result}, ok
	}
	instance := nodes[at].Instance
	if m.agents[instance] == nil {
		r.results = r.unanswered(instance, errNotConnected)
		m.finish(r)
		return
	}
	m.call(r, instance, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentLogsRequest{ReqID: id, Node: req.Node, Bytes: req.Bytes}
	})
}
