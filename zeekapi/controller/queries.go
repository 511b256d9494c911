package controller

import (
	"slices"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// maxUnknown is the number of unknown nodes that a request may name.
const maxUnknown = 1000

// queries passes requests of clients about instances and nodes to the agents.
type queries struct {
	configs  *configurations
	agents   *agents
	members  *members
	names    *nameSets
	stopped  *stoppedNodes
	requests *requests
	checks   *restartChecks
	log      zerolog.Logger
}

func (q *queries) getInstances(by broker.Peer, req zeekapi.GetInstancesRequest) {
	q.requests.answer(by, req, successWith(req.ID, q.agents.instances()))
}

func (q *queries) getNodes(by broker.Peer, req zeekapi.GetNodesRequest) {
	r := q.requests.begin(by, req)
	if r == nil {
		return
	}
	if len(q.agents.current) == 0 {
		q.requests.fail(r, "no instances connected")
		return
	}
	t := nodesReport{inquiry[zeekapi.AgentGetNodesResponse]{results: q.takeNodes}, &roundCall{members: q.members, requests: q.requests}}
	r.task = t
	t.ask(r, joint(r, askNodes), q.requests.timeout)
}

// takeNodes adds the stopped nodes to those that an agent reports.
func (q *queries) takeNodes(c *call, answer zeekapi.AgentGetNodesResponse) []zeekapi.Result {
	result := answer.Result
	nodes, ok := dataOf[[]zeekapi.NodeStatus](result.Data)
	if !ok {
		return c.request.unanswered(c.instance, noStatus)
	}
	if stopped := q.stopped.statuses(q.configs.target().Nodes, c.instance); result.Success && len(stopped) > 0 {
		reported := byName(nodes, func(n zeekapi.NodeStatus) string { return n.Node })
		stopped = slices.DeleteFunc(stopped, func(n zeekapi.NodeStatus) bool { return reported[n.Node].Node != "" })
		result.Data = mustMarshal(append(nodes, stopped...))
	}
	return []zeekapi.Result{result}
}

// beginDeployed begins a request about the nodes of the cluster. It returns nil if the
// request is refused, or fails because no cluster is deployed.
func (q *queries) beginDeployed(by broker.Peer, req zeekapi.Message) *request {
	r := q.requests.begin(by, req)
	if r != nil && len(q.members.byName) == 0 {
		q.requests.fail(r, "no cluster deployed")
		return nil
	}
	return r
}

func (q *queries) getIDValue(by broker.Peer, req zeekapi.GetIDValueRequest) {
	r := q.beginDeployed(by, req)
	if r == nil {
		return
	}
	r.task = inquiry[zeekapi.AgentDispatchResponse]{
		results: func(_ *call, answer zeekapi.AgentDispatchResponse) []zeekapi.Result {
			return slices.Clone(answer.Results)
		},
	}
	q.forNodes(r, req.Nodes, func(nodes []string) question {
		return joint(r, question{message: func(id zeekapi.ReqID) zeekapi.Message {
			return zeekapi.AgentDispatchRequest{ReqID: id, Action: []string{"get_id_value", req.Identifier}, Nodes: nodes}
		}})
	})
}

func (q *queries) restart(by broker.Peer, req zeekapi.RestartRequest) {
	r := q.requests.begin(by, req)
	if r == nil {
		return
	}
	if len(q.agents.current) == 0 {
		q.requests.fail(r, "no instances connected")
		return
	}
	if len(q.members.byName) == 0 {
		q.requests.fail(r, "no active cluster deployment")
		return
	}
	which := "all"
	if len(req.Nodes) > 0 {
		which = clip(listed(req.Nodes))
	}
	q.log.Info().Str("by", nameOf(by)).Str("request", req.ID).Str("nodes", which).Msg("restarting nodes")
	q.checks.ask(r, func() map[string][]string { return q.restartable(req.Nodes) }, func(found []zeekapi.Result) bool {
		if len(found) > 0 {
			r.results = q.notRestarted(r, req.Nodes, found)
			return true
		}
		r.task = takeRestart
		q.forNodes(r, req.Nodes, askRestart)
		return false
	})
}

// restartable returns the given nodes of the target, or all of them, that can be
// restarted now, by instance.
func (q *queries) restartable(nodes []string) map[string][]string {
	among := q.nodesAmong(setOf(nodes))
	on := make(map[string][]string)
	for _, name := range q.members.sorted() {
		if q.members.of(name).ready {
			on[name] = among(name)
		}
	}
	return on
}

// notRestarted returns a result for each node of a restart that did not begin,
// because problems were found.
func (q *queries) notRestarted(r *request, nodes []string, found []zeekapi.Result) []zeekapi.Result {
	results := found
	wrong := make(map[string]bool)
	for i, res := range found {
		wrong[res.Node] = true
		results[i].Error = "not restarted: " + res.Error
	}
	on := q.restartable(nodes)
	for _, instance := range sortedKeys(on) {
		for _, node := range on[instance] {
			if !wrong[node] {
				results = append(results, zeekapi.Result{ReqID: r.id, Instance: instance, Node: node, Error: "not restarted: another node of the request could not run again"})
			}
		}
	}
	return results
}

// forNodes asks all ready agents about the given nodes, or about all nodes if
// none are given. Agents leave out nodes of other instances. The nodes are those
// of the target, the configuration that was sent last.
func (q *queries) forNodes(r *request, nodes []string, ask func(nodes []string) question) {
	q.forAble(r, nodes, func(*agent) bool { return true }, ask)
}

// forAble is like forNodes, but asks only the agents that know the request.
func (q *queries) forAble(r *request, nodes []string, able func(*agent) bool, ask func(nodes []string) question) {
	r.nodes = q.nodesAmong(setOf(nodes))
	known, unknown := q.known(nodes)
	for _, node := range known {
		if q.stopped.has(node) {
			r.results = append(r.results, zeekapi.Result{ReqID: r.id, Node: node, Error: q.stopped.text(node)})
		}
	}
	known = slices.DeleteFunc(known, q.stopped.has)
	for _, node := range unknown[:min(len(unknown), maxUnknown)] {
		r.results = append(r.results, zeekapi.Result{ReqID: r.id, Node: node, Error: "unknown cluster node"})
	}
	if len(unknown) > maxUnknown {
		q.requests.fail(r, "more than %d unknown cluster nodes", maxUnknown)
		return
	}
	if len(nodes) > 0 && len(known) == 0 {
		q.requests.finish(r)
		return
	}
	about := ask(known)
	for _, name := range q.members.sorted() {
		switch {
		case q.members.of(name).ready && !able(q.agents.of(name)):
			r.results = append(r.results, r.unanswered(name, unsupported)...)
		case q.members.of(name).ready:
			q.requests.call(r, name, about)
		case q.names.drained(name):
			r.results = append(r.results, r.unanswered(name, drained)...)
		default:
			r.results = append(r.results, r.unanswered(name, notConnected)...)
		}
	}
	q.requests.settle(r)
}

// nodesAmong returns a function that returns the nodes of an instance that are
// in a set, or all of them if the set is empty, without stopped ones.
func (q *queries) nodesAmong(set map[string]bool) func(instance string) []string {
	return func(instance string) []string {
		var on []string
		for _, n := range q.configs.nodesOn(instance) {
			if (len(set) == 0 || set[n]) && !q.stopped.has(n) {
				on = append(on, n)
			}
		}
		return on
	}
}

// known separates the nodes of the target from others.
func (q *queries) known(nodes []string) (known, unknown []string) {
	exists := make(map[string]bool)
	for _, n := range q.configs.target().Nodes {
		exists[n.Name] = true
	}
	for _, node := range nodes {
		if exists[node] {
			known = append(known, node)
		} else {
			unknown = append(unknown, node)
		}
	}
	return known, unknown
}

// testTimeout lets a request time out, or does not answer it at all.
func (q *queries) testTimeout(by broker.Peer, req zeekapi.TestTimeoutRequest) {
	if req.WithState {
		q.requests.begin(by, req)
	}
}

// logs passes a client's request for the output of a node to its agent.
func (q *queries) logs(by broker.Peer, req zeekapi.LogsRequest) {
	ask := func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentLogsRequest{ReqID: id, Node: req.Node, Bytes: req.Bytes}
	}
	q.aboutNode(by, req, req.Node, inquiry[zeekapi.AgentLogsResponse]{results: q.takeLogs}, ask)
}

// diagnose passes a client's request about a node to its agent.
func (q *queries) diagnose(by broker.Peer, req zeekapi.DiagnoseRequest) {
	ask := func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentDiagnoseRequest{ReqID: id, Node: req.Node, Bytes: req.Bytes}
	}
	q.aboutNode(by, req, req.Node, inquiry[zeekapi.AgentDiagnoseResponse]{results: q.takeDiagnosis}, ask)
}

// aboutNode passes a client's request about a single node to its agent.
func (q *queries) aboutNode(by broker.Peer, req zeekapi.Message, node string, t task, ask func(zeekapi.ReqID) zeekapi.Message) {
	r := q.requests.begin(by, req)
	if r == nil {
		return
	}
	nodes := q.configs.target().Nodes
	at := slices.IndexFunc(nodes, func(n zeekapi.Node) bool { return n.Name == node })
	if at < 0 {
		r.results = []zeekapi.Result{{ReqID: r.id, Node: node, Error: "unknown cluster node"}}
		q.requests.finish(r)
		return
	}
	r.nodes = func(string) []string { return []string{node} }
	r.task = t
	instance := nodes[at].Instance
	if q.agents.of(instance) == nil {
		r.results = r.unanswered(instance, notConnected)
		q.requests.finish(r)
		return
	}
	q.requests.call(r, instance, joint(r, question{message: ask}))
}

// remark says why a node of an instance does not run, "" if it should.
func (q *queries) remark(instance, node string) string {
	switch {
	case q.names.drained(instance):
		return string(drained)
	case q.stopped.has(node):
		return q.stopped.text(node)
	}
	return ""
}

func (q *queries) takeLogs(c *call, answer zeekapi.AgentLogsResponse) []zeekapi.Result {
	return remarked(q, c, answer.Result, noOutput, func(l *zeekapi.NodeLogs, remark string) { l.Remark = remark })
}

func (q *queries) takeDiagnosis(c *call, answer zeekapi.AgentDiagnoseResponse) []zeekapi.Result {
	return remarked(q, c, answer.Result, noDiagnosis, func(d *zeekapi.Diagnosis, remark string) { d.Remark = remark })
}

// remarked returns the result of a request about a single node, whose data must be a T. If
// the node should not run, set adds why to the data: agents do not know which nodes are
// stopped. For other data, the result is a failure with the reason wrong.
func remarked[T any](q *queries, c *call, result zeekapi.Result, wrong reason, set func(data *T, remark string)) []zeekapi.Result {
	data, ok := dataOf[T](result.Data)
	if !ok {
		return c.request.unanswered(c.instance, wrong)
	}
	if remark := q.remark(c.instance, c.request.nodes(c.instance)[0]); result.Success && !result.Data.IsNone() && remark != "" {
		set(&data, remark)
		result.Data = mustMarshal(data)
	}
	return []zeekapi.Result{result}
}

// cleanup passes a client's request to the agents of instances, or of all members that are
// connected.
func (q *queries) cleanup(by broker.Peer, req zeekapi.CleanupRequest) {
	r := q.requests.begin(by, req)
	if r == nil {
		return
	}
	q.requests.setTimeout(r, checkLimit)
	r.task = inquiry[zeekapi.AgentCleanupResponse]{results: takeLeftovers}
	instances := req.Instances
	if len(instances) == 0 {
		instances = slices.DeleteFunc(q.members.sorted(), func(name string) bool { return q.agents.of(name) == nil })
	}
	if len(instances) == 0 {
		q.requests.fail(r, "no instances connected")
		return
	}
	if !req.DryRun {
		q.log.Info().Str("by", nameOf(by)).Str("request", req.ID).Str("instances", clip(listed(instances))).Msg("removing what agents no longer need")
	}
	for _, name := range sortedKeys(setOf(instances)) {
		if q.agents.of(name) == nil {
			r.results = append(r.results, r.unanswered(clip(name), notConnected)...)
			continue
		}
		keep := q.configs.nodesOn(name)
		ask := question{message: func(id zeekapi.ReqID) zeekapi.Message {
			return zeekapi.AgentCleanupRequest{ReqID: id, Keep: keep, DryRun: req.DryRun}
		}}
		if req.DryRun {
			ask = joint(r, ask)
		}
		q.requests.call(r, name, ask)
	}
	q.requests.settle(r)
}

func takeLeftovers(c *call, answer zeekapi.AgentCleanupResponse) []zeekapi.Result {
	if !isA[[]zeekapi.Leftover](answer.Result.Data) {
		return c.request.unanswered(c.instance, noLeftovers)
	}
	return []zeekapi.Result{answer.Result}
}
