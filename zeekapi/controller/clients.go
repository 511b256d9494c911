package controller

import (
	"slices"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

func (m *Machine) fromClient(by broker.Peer, msg zeekapi.Message) {
	m.asking = by.ID
	c := m.client(by)
	if !c.requests.take(m.now) {
		if c.requests.refused == 1 {
			m.log.Warn().Str("by", who(by)).Msg("the client asks too much, ignoring some of it")
		}
		return
	}
	c.requests.refused = 0
	if n := len(msg.RequestID()); n > maxText {
		m.complain(by).Int("bytes", n).Str("by", who(by)).Msg("ignoring a request with such a long ID")
		return
	}
	if m.requests[msg.RequestID()] != nil {
		m.complain(by).Str("request", msg.RequestID()).Str("by", who(by)).Msg("ignoring a request with the ID of one under way")
		return
	}
	if request := zeekapi.ClientRequest(msg); m.ending && request != nil {
		m.answer(request.Refuse(msg.RequestID(), errEnding))
		return
	}
	switch msg := msg.(type) {
	case zeekapi.GetInstancesRequest:
		m.getInstances(msg)
	case zeekapi.StageConfigurationRequest:
		m.stageConfiguration(by, msg)
	case zeekapi.GetConfigurationRequest:
		m.getConfiguration(msg)
	case zeekapi.DeployRequest:
		m.deployRequest(by, msg.ID, actionDeploy, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
			return zeekapi.DeployResponse{ReqID: id, Results: results}
		})
	case zeekapi.SetConfigurationRequest:
		m.setConfiguration(by, msg)
	case zeekapi.GetNodesRequest:
		m.getNodes(by, msg)
	case zeekapi.GetIDValueRequest:
		m.getIDValue(by, msg)
	case zeekapi.RestartRequest:
		m.restart(by, msg)
	case zeekapi.TestTimeoutRequest:
		if msg.WithState {
			m.begin(by, msg.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
				return zeekapi.TestTimeoutResponse{ReqID: id, Result: results[0]}
			})
		}
	default:
		m.operation(by, msg)
	}
}

// operation does what only our own clients ask for.
func (m *Machine) operation(by broker.Peer, msg zeekapi.Message) {
	switch msg := msg.(type) {
	case zeekapi.StatusRequest:
		m.statusRequest(by, msg)
	case zeekapi.DryRunRequest:
		m.dryRun(msg)
	case zeekapi.ForceDeployRequest:
		m.deployRequest(by, msg.ID, actionForce, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
			return zeekapi.ForceDeployResponse{ReqID: id, Results: results}
		})
	case zeekapi.HistoryRequest:
		m.historyRequest(msg)
	case zeekapi.GetPastRequest:
		m.getPast(msg)
	case zeekapi.RollbackRequest:
		m.rollback(by, msg)
	case zeekapi.DrainRequest:
		m.drain(by, msg)
	case zeekapi.RollingRestartRequest:
		m.rollingRestart(by, msg)
	case zeekapi.CancelJobRequest:
		m.cancelJob(by, msg)
	case zeekapi.EventsRequest:
		m.eventsRequest(msg)
	case zeekapi.LogsRequest:
		m.logsRequest(by, msg)
	}
	// The rest are responses, which we hear when another controller speaks.
}

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

func (m *Machine) stageConfiguration(by broker.Peer, req zeekapi.StageConfigurationRequest) {
	m.answer(zeekapi.StageConfigurationResponse{ReqID: req.ReqID, Results: m.stage(by, req.ID, req.Config)})
}

// stage checks c and keeps it, together with what it becomes when ports are
// filled in. Which ports are free depends on the addresses, but those are
// filled in when agents get the configuration, for they can change.
func (m *Machine) stage(by broker.Peer, reqID string, c zeekapi.Configuration) []zeekapi.Result {
	ready, errs := m.prepare(c)
	if len(errs) > 0 {
		return failures(reqID, errs)
	}
	m.save(Staged, c)
	m.save(Ready, ready)
	m.log.Info().Str("by", who(by)).Str("request", reqID).Str("config", clip(c.ID)).Msg("staged")
	m.event(zeekapi.EventStaged, "", "", "configuration "+clip(c.ID)+" by "+who(by))
	return []zeekapi.Result{{ReqID: reqID, Success: true, Data: broker.String(c.ID)}}
}

// prepare returns c with ports, or what is wrong with it.
func (m *Machine) prepare(c zeekapi.Configuration) (ready zeekapi.Configuration, errs []string) {
	if errs := m.settings.validate(c); len(errs) > 0 {
		return ready, errs
	}
	filled := m.fillHosts(c)
	filled.Nodes = slices.Clone(c.Nodes)
	if err := m.settings.assignPorts(&filled); err != nil {
		return ready, []string{err.Error()}
	}
	return zeekapi.Configuration{ID: c.ID, Instances: c.Instances, Nodes: filled.Nodes}, nil
}

func failures(reqID string, errs []string) []zeekapi.Result {
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

// errPending is what Zeek's controller says.
const errPending = "earlier deployment %s still pending"

func (m *Machine) deployRequest(by broker.Peer, id, action string, respond func(zeekapi.ReqID, []zeekapi.Result) zeekapi.Message) {
	r := m.begin(by, id, respond)
	if r == nil {
		return
	}
	c, ok := m.configs[Ready]
	switch {
	case !ok:
		m.fail(r, "no configuration available to deploy")
	case m.pending() != nil:
		m.refuse(r, errPending)
	default:
		m.deploy(by, r, action, c)
	}
}

// setConfiguration is stage and deploy in one, the older dialect's way. Its
// clients expect results of agents, and one with the configuration's ID only
// if there is no agent.
func (m *Machine) setConfiguration(by broker.Peer, req zeekapi.SetConfigurationRequest) {
	r := m.begin(by, req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		if n := len(results); n > 1 && results[n-1].Success && results[n-1].Instance == "" {
			results = results[:n-1]
		}
		return zeekapi.SetConfigurationResponse{ReqID: id, Results: results}
	})
	if r == nil {
		return
	}
	if m.pending() != nil {
		m.refuse(r, "request %s still pending")
		return
	}
	if results := m.stage(by, req.ID, req.Config); !results[0].Success {
		r.results = results
		m.finish(r)
		return
	}
	m.deploy(by, r, actionSet, m.configs[Ready])
}

func (m *Machine) getNodes(by broker.Peer, req zeekapi.GetNodesRequest) {
	r := m.begin(by, req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
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
			return r.unanswered(c.instance, errNoStatus), ok
		}
		return []zeekapi.Result{resp.Result}, ok
	}
	for _, name := range sortedKeys(m.agents) {
		m.call(r, name, func(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentGetNodesRequest{ReqID: id} })
	}
}

func (m *Machine) getIDValue(by broker.Peer, req zeekapi.GetIDValueRequest) {
	r := m.begin(by, req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
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

func (m *Machine) restart(by broker.Peer, req zeekapi.RestartRequest) {
	r := m.begin(by, req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
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
	which := "all"
	if len(req.Nodes) > 0 {
		which = clip(listed(req.Nodes))
	}
	m.log.Info().Str("by", who(by)).Str("request", req.ID).Str("nodes", which).Msg("restarting nodes")
	r.accept = func(_ *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
		resp, ok := msg.(zeekapi.AgentRestartResponse)
		return slices.Clone(resp.Results), ok
	}
	m.forNodes(r, req.Nodes, func(id zeekapi.ReqID, nodes []string) zeekapi.Message {
		return zeekapi.AgentRestartRequest{ReqID: id, Nodes: nodes}
	})
}

// nodesOn returns the names of the target's nodes on an instance, sorted.
func (m *Machine) nodesOn(instance string) []string {
	if m.nodes == nil {
		m.nodes = make(map[string][]string)
		for _, n := range m.configs[Target].Nodes {
			m.nodes[n.Instance] = append(m.nodes[n.Instance], n.Name)
		}
		for _, names := range m.nodes {
			slices.Sort(names)
		}
	}
	return m.nodes[instance]
}

// forNodes asks all ready agents about the given nodes, or all nodes if none
// are given. Agents leave out nodes that are not theirs. The nodes are those of
// the target, which is what the agents were told last.
func (m *Machine) forNodes(r *request, nodes []string, make func(zeekapi.ReqID, []string) zeekapi.Message) {
	asked := setOf(nodes)
	r.nodes = func(instance string) []string {
		var on []string
		for _, n := range m.nodesOn(instance) {
			if len(asked) == 0 || asked[n] {
				on = append(on, n)
			}
		}
		return on
	}
	exists := setOf(nil)
	for _, n := range m.configs[Target].Nodes {
		exists[n.Name] = true
	}
	var known []string
	for _, node := range nodes {
		switch {
		case exists[node]:
			known = append(known, node)
		case len(r.results) == maxUnknown:
			m.fail(r, "more than %d unknown cluster nodes", maxUnknown)
			return
		default:
			r.results = append(r.results, zeekapi.Result{ReqID: r.id, Node: node, Error: "unknown cluster node"})
		}
	}
	if len(nodes) > 0 && len(known) == 0 {
		m.finish(r)
		return
	}
	for _, name := range sortedKeys(m.wanted) {
		switch {
		case m.wanted[name].ready:
			m.call(r, name, func(id zeekapi.ReqID) zeekapi.Message { return make(id, known) })
		case m.drained[name]:
			r.results = append(r.results, r.unanswered(name, errDrained)...)
		default:
			r.results = append(r.results, r.unanswered(name, errNotConnected)...)
		}
	}
	m.settle(r)
}

// maxUnknown is how many nodes that do not exist a request may name.
const maxUnknown = 1000

// isA reports whether an agent sent data that clients can read as a T, or none.
func isA[T any](data broker.Value) bool {
	var t T
	return data.IsNone() || record.Unmarshal(data, &t) == nil
}
