package controller

import (
	"slices"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

func (m *Machine) fromClient(msg zeekapi.Message) {
	if m.requests[msg.RequestID()] != nil {
		m.log.Warn().Str("request", msg.RequestID()).Msg("ignoring a request with the ID of one under way")
		return
	}
	switch msg := msg.(type) {
	case zeekapi.GetInstancesRequest:
		m.getInstances(msg)
	case zeekapi.StageConfigurationRequest:
		m.stageConfiguration(msg)
	case zeekapi.GetConfigurationRequest:
		m.getConfiguration(msg)
	case zeekapi.DeployRequest:
		m.deployRequest(msg)
	case zeekapi.SetConfigurationRequest:
		m.setConfiguration(msg)
	case zeekapi.GetNodesRequest:
		m.getNodes(msg)
	case zeekapi.GetIDValueRequest:
		m.getIDValue(msg)
	case zeekapi.RestartRequest:
		m.restart(msg)
	case zeekapi.TestTimeoutRequest:
		if msg.WithState {
			m.begin(msg.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
				return zeekapi.TestTimeoutResponse{ReqID: id, Result: results[0]}
			})
		}
	}
	// The rest are responses, which we hear when another controller speaks.
}

func (m *Machine) answer(msg zeekapi.Message) { m.emit(ToClients{Message: msg}) }

func (m *Machine) getInstances(req zeekapi.GetInstancesRequest) {
	instances := make([]zeekapi.Instance, 0, len(m.agents))
	for _, name := range sortedKeys(m.agents) {
		instances = append(instances, m.agents[name].Instance)
	}
	m.answer(zeekapi.GetInstancesResponse{
		ReqID:  req.ReqID,
		Result: zeekapi.Result{ReqID: req.ID, Success: true, Data: mustMarshal(instances)},
	})
}

func (m *Machine) stageConfiguration(req zeekapi.StageConfigurationRequest) {
	m.answer(zeekapi.StageConfigurationResponse{ReqID: req.ReqID, Results: m.stageResults(req.ID, req.Config)})
}

func (m *Machine) stageResults(reqID string, c zeekapi.Configuration) []zeekapi.Result {
	errs := m.stage(c)
	if len(errs) == 0 {
		return []zeekapi.Result{{ReqID: reqID, Success: true, Data: broker.String(c.ID)}}
	}
	results := make([]zeekapi.Result, len(errs))
	for i, e := range errs {
		results[i] = zeekapi.Failure(reqID, "%s", e)
	}
	return results
}

func (m *Machine) getConfiguration(req zeekapi.GetConfigurationRequest) {
	slot := Staged
	if req.Deployed {
		slot = Deployed
	}
	result := zeekapi.Failure(req.ID, "no %s configuration available", slot)
	if c, ok := m.configs[slot]; ok {
		result = zeekapi.Result{ReqID: req.ID, Success: true, Data: mustMarshal(c)}
	}
	m.answer(zeekapi.GetConfigurationResponse{ReqID: req.ReqID, Result: result})
}

func (m *Machine) deployRequest(req zeekapi.DeployRequest) {
	r := m.begin(req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.DeployResponse{ReqID: id, Results: results}
	})
	if r == nil {
		return
	}
	c, ok := m.configs[Ready]
	switch {
	case !ok:
		m.fail(r, "no configuration available to deploy")
	case m.pending() != nil:
		m.fail(r, "earlier deployment %s still pending", m.pending().id)
	default:
		m.deploy(r, c)
	}
}

// pending returns the deployment under way that a client waits for. Ours have
// to stand back.
func (m *Machine) pending() *request {
	if m.deployment == nil || m.deployment.internal {
		return nil
	}
	return m.deployment
}

// setConfiguration is stage and deploy in one, the older dialect's way. Its
// clients expect results of agents, and one with the configuration's ID only
// if there is no agent.
func (m *Machine) setConfiguration(req zeekapi.SetConfigurationRequest) {
	r := m.begin(req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		if n := len(results); n > 1 && results[n-1].Success && results[n-1].Instance == "" {
			results = results[:n-1]
		}
		return zeekapi.SetConfigurationResponse{ReqID: id, Results: results}
	})
	if r == nil {
		return
	}
	if p := m.pending(); p != nil {
		m.fail(r, "request %s still pending", p.id)
		return
	}
	if results := m.stageResults(req.ID, req.Config); !results[0].Success {
		r.results = results
		m.finish(r)
		return
	}
	m.deploy(r, m.configs[Ready])
}

func (m *Machine) getNodes(req zeekapi.GetNodesRequest) {
	r := m.begin(req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.GetNodesResponse{ReqID: id, Results: results}
	})
	if r == nil {
		return
	}
	if len(m.agents) == 0 {
		m.fail(r, "no instances connected")
		return
	}
	r.accept = func(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
		resp, ok := msg.(zeekapi.AgentGetNodesResponse)
		if !isA[[]zeekapi.NodeStatus](resp.Result.Data) {
			return r.unanswered(c.instance, "agent sent something else than the status of nodes"), ok
		}
		return []zeekapi.Result{resp.Result}, ok
	}
	for _, name := range sortedKeys(m.agents) {
		m.call(r, name, func(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentGetNodesRequest{ReqID: id} })
	}
}

func (m *Machine) getIDValue(req zeekapi.GetIDValueRequest) {
	r := m.begin(req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.GetIDValueResponse{ReqID: id, Results: results}
	})
	if r == nil {
		return
	}
	if len(m.wanted) == 0 {
		m.fail(r, "no cluster deployed")
		return
	}
	r.accept = func(_ *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
		resp, ok := msg.(zeekapi.AgentDispatchResponse)
		return slices.Clone(resp.Results), ok
	}
	m.forNodes(r, req.Nodes, func(id zeekapi.ReqID, nodes []string) zeekapi.Message {
		return zeekapi.AgentDispatchRequest{ReqID: id, Action: []string{"get_id_value", req.Identifier}, Nodes: nodes}
	})
}

func (m *Machine) restart(req zeekapi.RestartRequest) {
	r := m.begin(req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.RestartResponse{ReqID: id, Results: results}
	})
	if r == nil {
		return
	}
	if len(m.agents) == 0 {
		m.fail(r, "no instances connected")
		return
	}
	if len(m.wanted) == 0 {
		m.fail(r, "no active cluster deployment")
		return
	}
	r.accept = func(_ *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
		resp, ok := msg.(zeekapi.AgentRestartResponse)
		return slices.Clone(resp.Results), ok
	}
	m.forNodes(r, req.Nodes, func(id zeekapi.ReqID, nodes []string) zeekapi.Message {
		return zeekapi.AgentRestartRequest{ReqID: id, Nodes: nodes}
	})
}

// forNodes asks all ready agents about the given nodes, or all nodes if none
// are given. Agents leave out nodes that are not theirs. The nodes are those of
// the target, which is what the agents were told last.
func (m *Machine) forNodes(r *request, nodes []string, make func(zeekapi.ReqID, []string) zeekapi.Message) {
	asked := func(node string) bool { return len(nodes) == 0 || slices.Contains(nodes, node) }
	r.nodes = func(instance string) []string {
		var on []string
		for _, n := range m.configs[Target].NodesOn(instance) {
			if asked(n.Name) {
				on = append(on, n.Name)
			}
		}
		return on
	}
	var known []string
	for _, node := range nodes {
		if slices.ContainsFunc(m.configs[Target].Nodes, func(n zeekapi.Node) bool { return n.Name == node }) {
			known = append(known, node)
		} else {
			r.results = append(r.results, zeekapi.Result{ReqID: r.id, Node: node, Error: "unknown cluster node"})
		}
	}
	if len(nodes) > 0 && len(known) == 0 {
		m.finish(r)
		return
	}
	for _, name := range sortedKeys(m.wanted) {
		if m.wanted[name].ready {
			m.call(r, name, func(id zeekapi.ReqID) zeekapi.Message { return make(id, known) })
		} else {
			r.results = append(r.results, r.unanswered(name, errNotConnected)...)
		}
	}
	m.settle(r)
}

// isA reports whether an agent sent data that clients can read as a T, or none.
func isA[T any](data broker.Value) bool {
	var t T
	return data.IsNone() || zeekapi.Unmarshal(data, &t) == nil
}
