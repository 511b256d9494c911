package controller

import (
	"slices"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

func (m *Machine) fromClient(msg zeekapi.Message) {
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
	respond := func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.DeployResponse{ReqID: id, Results: results}
	}
	c, ok := m.configs[Ready]
	switch {
	case !ok:
		m.answer(respond(req.ReqID, []zeekapi.Result{zeekapi.Failure(req.ID, "no configuration available to deploy")}))
	case m.deployment != nil:
		m.answer(respond(req.ReqID, []zeekapi.Result{m.stillPending(req.ID)}))
	default:
		if r, ok := m.begin(req.ID, respond); ok {
			m.deploy(r, c)
		}
	}
}

func (m *Machine) stillPending(reqID string) zeekapi.Result {
	return zeekapi.Failure(reqID, "earlier deployment %s still pending", m.deployment.id)
}

// setConfiguration is stage and deploy in one, the older dialect's way. Its
// clients expect no result with the configuration's ID.
func (m *Machine) setConfiguration(req zeekapi.SetConfigurationRequest) {
	respond := func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.SetConfigurationResponse{ReqID: id, Results: slices.DeleteFunc(results, func(r zeekapi.Result) bool {
			return r.Success && r.Instance == "" && len(results) > 1
		})}
	}
	if m.deployment != nil {
		m.answer(respond(req.ReqID, []zeekapi.Result{zeekapi.Failure(req.ID, "request %s still pending", m.deployment.id)}))
		return
	}
	if results := m.stageResults(req.ID, req.Config); !results[0].Success {
		m.answer(respond(req.ReqID, results))
		return
	}
	if r, ok := m.begin(req.ID, respond); ok {
		m.deploy(r, m.configs[Ready])
	}
}

func (m *Machine) getNodes(req zeekapi.GetNodesRequest) {
	r, ok := m.begin(req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.GetNodesResponse{ReqID: id, Results: results}
	})
	if !ok {
		return
	}
	if len(m.agents) == 0 {
		m.fail(r, "no instances connected")
		return
	}
	for _, name := range sortedKeys(m.agents) {
		m.call(r, name, func(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentGetNodesRequest{ReqID: id} })
	}
}

func (m *Machine) getIDValue(req zeekapi.GetIDValueRequest) {
	r, ok := m.begin(req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.GetIDValueResponse{ReqID: id, Results: results}
	})
	if !ok {
		return
	}
	if len(m.wanted) == 0 {
		m.fail(r, "no cluster deployed")
		return
	}
	m.forNodes(r, req.Nodes, func(id zeekapi.ReqID, nodes []string) zeekapi.Message {
		return zeekapi.AgentDispatchRequest{ReqID: id, Action: []string{"get_id_value", req.Identifier}, Nodes: nodes}
	})
}

func (m *Machine) restart(req zeekapi.RestartRequest) {
	r, ok := m.begin(req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.RestartResponse{ReqID: id, Results: results}
	})
	if !ok {
		return
	}
	if len(m.agents) == 0 {
		m.fail(r, "no instances connected")
		return
	}
	if _, ok := m.configs[Deployed]; !ok {
		m.fail(r, "no active cluster deployment")
		return
	}
	m.forNodes(r, req.Nodes, func(id zeekapi.ReqID, nodes []string) zeekapi.Message {
		return zeekapi.AgentRestartRequest{ReqID: id, Nodes: nodes}
	})
}

// forNodes asks all ready agents about the given nodes, or all nodes if none
// are given. Agents leave out nodes that are not theirs.
func (m *Machine) forNodes(r *request, nodes []string, make func(zeekapi.ReqID, []string) zeekapi.Message) {
	var known []string
	for _, node := range nodes {
		if !slices.ContainsFunc(m.configs[Deployed].Nodes, func(n zeekapi.Node) bool { return n.Name == node }) {
			failure := zeekapi.Failure(r.id, "unknown cluster node")
			failure.Node = node
			r.results = append(r.results, failure)
			continue
		}
		known = append(known, node)
	}
	if len(nodes) > 0 && len(known) == 0 {
		m.finish(r)
		return
	}
	for _, name := range sortedKeys(m.wanted) {
		if m.wanted[name].ready {
			m.call(r, name, func(id zeekapi.ReqID) zeekapi.Message { return make(id, known) })
		}
	}
}

func (m *Machine) fail(r *request, text string) {
	r.results = append(r.results, zeekapi.Failure(r.id, "%s", text))
	m.finish(r)
}
