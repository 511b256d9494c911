package zeekapi

import (
	"net/netip"
	"time"
)

// This file declares the messages between controllers and agents.

// AgentHello introduces an agent to its controller. Agents repeat it.
type AgentHello struct {
	OneWay     `zeek:"-"`
	Instance   string     `zeek:"instance"`
	EndpointID string     `zeek:"id"`         // ID of the agent's Broker endpoint; "" in the ClusterAgent dialect
	Connecting bool       `zeek:"connecting"` // whether the agent connects to the controller
	APIVersion uint64     `zeek:"api_version"`
	Host       netip.Addr `zeek:"-"` // listening address; only in the ClusterAgent dialect
}

var _ = oneWay[AgentHello](AgentAPI, management("notify_agent_hello"), clusterAgent("notify_agent_hello"), operations("hello"))

// AgentWelcomeRequest tells an agent that its instance is part of the cluster.
type AgentWelcomeRequest struct{ ReqID }

// AgentWelcomeResponse has the name of the instance in its result.
type AgentWelcomeResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentWelcomeCall declares AgentWelcomeRequest and its response.
var AgentWelcomeCall = single[AgentWelcomeRequest, AgentWelcomeResponse](Request{
	Name:    "agent_welcome",
	Summary: "Tell an agent that its instance is part of the cluster",
	API:     AgentAPI,
	Effect:  Changes,
	Forms:   []Form{management("agent_welcome"), clusterAgent("agent_welcome")},
})

// AgentStandbyRequest tells an agent to stop its nodes. Zeek's controller sends it
// with an empty request ID.
type AgentStandbyRequest struct{ ReqID }

// AgentStandbyResponse has the name of the instance in its result.
type AgentStandbyResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentStandbyCall declares AgentStandbyRequest and its response.
var AgentStandbyCall = single[AgentStandbyRequest, AgentStandbyResponse](Request{
	Name:    "agent_standby",
	Summary: "Tell an agent to stop its nodes",
	API:     AgentAPI,
	Effect:  Changes,
	Forms:   []Form{management("agent_standby"), clusterAgent("agent_standby")},
})

// AgentDeployRequest deploys a configuration on the agent's instance. An agent that
// already runs the configuration changes nothing, unless Force is set.
type AgentDeployRequest struct {
	ReqID
	Config Configuration `zeek:"config"`
	Force  bool          `zeek:"force"`
}

// AgentDeployResponse has one result per node of the instance, or a single result
// without a node.
type AgentDeployResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// AgentDeployCall declares AgentDeployRequest and its response.
var AgentDeployCall = many[AgentDeployRequest, AgentDeployResponse](Request{
	Name:    "agent_deploy",
	Summary: "Deploy a configuration on an instance",
	API:     AgentAPI,
	Effect:  Changes,
	Long:    true,
	Forms:   []Form{management("deploy"), clusterAgent("set_configuration")},
})

// AgentGetNodesRequest lists the processes of the instance.
type AgentGetNodesRequest struct{ ReqID }

// AgentGetNodesResponse has []NodeStatus as its data, even on failure.
type AgentGetNodesResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentGetNodesCall declares AgentGetNodesRequest and its response.
var AgentGetNodesCall = single[AgentGetNodesRequest, AgentGetNodesResponse](Request{
	Name:    "agent_get_nodes",
	Summary: "List the processes of an instance",
	API:     AgentAPI,
	Effect:  Reads,
	Forms:   []Form{management("get_nodes"), clusterAgent("get_nodes")},
})

// AgentDispatchRequest runs an action on the named nodes, or on all nodes if Nodes
// is empty. The only action is "get_id_value" followed by an identifier.
type AgentDispatchRequest struct {
	ReqID
	Action []string `zeek:"action"`
	Nodes  []string `zeek:"nodes,set"`
}

// AgentDispatchResponse has one result per node of the instance that the request
// addresses. There may be none.
type AgentDispatchResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// AgentDispatchCall declares AgentDispatchRequest and its response.
var AgentDispatchCall = many[AgentDispatchRequest, AgentDispatchResponse](Request{
	Name:    "agent_dispatch",
	Summary: "Run an action on nodes of an instance",
	API:     AgentAPI,
	Effect:  Reads,
	Forms:   []Form{management("node_dispatch")},
})

// AgentRestartRequest restarts the named nodes, or all nodes of the instance if
// Nodes is empty.
type AgentRestartRequest struct {
	ReqID
	Nodes []string `zeek:"nodes,set"`
}

// AgentRestartResponse has one result per node of the instance that the request
// addresses. There may be none.
type AgentRestartResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// AgentRestartCall declares AgentRestartRequest and its response.
var AgentRestartCall = many[AgentRestartRequest, AgentRestartResponse](Request{
	Name:    "agent_restart",
	Summary: "Restart nodes of an instance",
	API:     AgentAPI,
	Effect:  Changes,
	Long:    true,
	Forms:   []Form{management("restart")},
})

// AgentChange reports a node's change of state.
type AgentChange struct {
	OneWay   `zeek:"-"`
	Instance string `zeek:"instance"`
	Node     Node   `zeek:"n"`
	Old      State  `zeek:"old,enum=Management"`
	New      State  `zeek:"new,enum=Management"`
}

var _ = oneWay[AgentChange](AgentAPI, management("notify_change"), clusterAgent("notify_change"))

// AgentError reports a failure on the instance.
type AgentError struct {
	OneWay   `zeek:"-"`
	Instance string `zeek:"instance"`
	Text     string `zeek:"msg"`
	Node     string `zeek:"node"` // "" if the text concerns no single node
}

var _ = oneWay[AgentError](AgentAPI, management("notify_error"), clusterAgent("notify_error"))

// AgentLog is a message for the controller's log.
type AgentLog struct {
	OneWay   `zeek:"-"`
	Instance string `zeek:"instance"`
	Text     string `zeek:"msg"`
	Node     string `zeek:"node"` // "" if the text concerns no single node
}

var _ = oneWay[AgentLog](AgentAPI, management("notify_log"), clusterAgent("notify_log"))

// The messages below are not part of Zeek's APIs. Only our agents know them.

// AgentDescription follows the hello of an agent.
type AgentDescription struct {
	OneWay     `zeek:"-"`
	Instance   string  `zeek:"instance"`
	Agent      Process `zeek:"agent"`
	Zeek       string  `zeek:"zeek"`        // version of Zeek that the nodes run; "" if unknown
	LayoutForm uint64  `zeek:"layout_form"` // the LayoutForm that the agent reads

	// Revision is the AgentRevision of the agent. Agents before the first
	// revision do not send it.
	Revision uint64 `zeek:"revision,extension"`

	// Layout is the ID of the layout that the agent's nodes run with, "" if it has none or
	// does not know the ID. The controller need not send that layout.
	Layout string `zeek:"layout,extension"`
}

// AgentRevision is the revision of the requests that our agents accept. Revision 1
// has checks, sites, and extensions of AgentDeployNodesRequest. Revision 2 has
// measurements, lists of scripts, and Continue of AgentDeployNodesRequest. Revision 3
// has AgentLeaderRequest. Revision 4 has AgentLayout. Agents may refuse requests with
// extensions of later revisions.
const AgentRevision = 4

var _ = oneWay[AgentDescription](AgentAPI, operations("description"))

// AgentRefusal tells a peer that it is not the agent of the instance whose name it
// claims. The controller repeats it when the peer repeats its hello.
type AgentRefusal struct {
	OneWay   `zeek:"-"`
	Instance string `zeek:"instance"`
	Reason   string `zeek:"reason"`
}

var _ = oneWay[AgentRefusal](AgentAPI, operations("refusal"))

// AgentLayout is the layout of a cluster, for the requests to the agent that follow. They
// name its ID instead of containing the layout. So the layout is sent only when it has
// changed, and encoded once for all agents. An agent keeps the last four layouts that it
// got or that its nodes ran with.
type AgentLayout struct {
	OneWay `zeek:"-"`
	ID     string       `zeek:"id"` // of the content, see PackedLayout.ID
	Layout PackedLayout `zeek:"layout"`
}

var _ = oneWay[AgentLayout](AgentAPI, operations("layout"))

// AgentDeployNodesRequest is AgentDeployRequest reduced to the agent's own nodes.
// About the other nodes of the cluster it has only the layout. It is for agents
// whose AgentDescription has our LayoutForm.
type AgentDeployNodesRequest struct {
	ReqID
	Config string       `zeek:"config"` // ID of the configuration
	Nodes  []Node       `zeek:"nodes"`  // nodes of the instance, sorted by name
	Layout PackedLayout `zeek:"layout"` // layout of the whole cluster, "" if LayoutID is set
	Force  bool         `zeek:"force"`

	// Site is the Site of the configuration. The agent must have it.
	Site string `zeek:"site,extension"`

	// Edited says that running nodes whose scripts have changed since their start
	// are to restart, even if their configuration has not changed.
	Edited bool `zeek:"edited,extension"`

	// StartLimit is how long the response may wait for nodes that are still
	// starting; zero means the agent's own limit.
	StartLimit time.Duration `zeek:"start_limit,extension"`

	// Continue says that only the selection of nodes has changed: nodes whose
	// configuration is the same keep their failures and their count of restarts.
	Continue bool `zeek:"continue,extension"`

	// LayoutID is the ID of the layout if the controller has sent it in an AgentLayout, or "".
	LayoutID string `zeek:"layout_id,extension"`
}

// For returns the request without the extensions that agents of a revision do not
// know.
func (r AgentDeployNodesRequest) For(revision uint64) AgentDeployNodesRequest {
	if revision < 1 {
		r.Site, r.Edited, r.StartLimit = "", false, 0
	}
	if revision < 2 {
		r.Continue = false
	}
	if revision < 4 {
		r.LayoutID = ""
	}
	return r
}

// AgentDeployNodesCall declares AgentDeployNodesRequest and its response.
var AgentDeployNodesCall = many[AgentDeployNodesRequest, AgentDeployResponse](Request{
	Name:    "agent_deploy_nodes",
	Summary: "Deploy the nodes of an instance",
	API:     AgentAPI,
	Effect:  Changes,
	Long:    true,
	Forms:   []Form{operations("deploy")},
})

// AgentCheckRequest asks whether an instance could run these nodes, without
// stopping or starting any. Nodes that run already as they should need no check.
// The arguments are those of AgentDeployNodesRequest.
type AgentCheckRequest struct {
	ReqID
	Config string       `zeek:"config"`
	Nodes  []Node       `zeek:"nodes"`
	Layout PackedLayout `zeek:"layout"` // "" if LayoutID is set
	Force  bool         `zeek:"force"`  // check also nodes that run as they should
	Site   string       `zeek:"site"`

	// LayoutID is that of AgentDeployNodesRequest.
	LayoutID string `zeek:"layout_id,extension"`
}

// AgentCheckResponse has a failed result with NodeOutputs as its data for each node
// that could not run, failed results without a node for problems of the instance,
// and a single successful result if there are neither. If a node could not run because
// of a port in use, a successful result with MachinePorts as its data follows.
type AgentCheckResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// MachinePorts lists TCP ports of a machine.
type MachinePorts struct {
	// InUse are ports at which programs other than the agent's nodes listen,
	// ascending, at most MaxMachinePorts.
	InUse []uint16 `zeek:"in_use"`
}

// MaxMachinePorts limits the ports in MachinePorts.
const MaxMachinePorts = 4096

// AgentCheckCall declares AgentCheckRequest and its response.
var AgentCheckCall = many[AgentCheckRequest, AgentCheckResponse](Request{
	Name:    "agent_check",
	Summary: "Check whether nodes could run on an instance",
	API:     AgentAPI,
	Effect:  Reads,
	Long:    true,
	Forms:   []Form{operations("check")},
})

// AgentCheckRestartRequest asks whether the named nodes could run again after a
// restart, or all nodes of the instance if Nodes is empty, without stopping any.
type AgentCheckRestartRequest struct {
	ReqID
	Nodes []string `zeek:"nodes,set"`
}

// AgentCheckRestartResponse is like AgentCheckResponse.
type AgentCheckRestartResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// AgentCheckRestartCall declares AgentCheckRestartRequest and its response.
var AgentCheckRestartCall = many[AgentCheckRestartRequest, AgentCheckRestartResponse](Request{
	Name:    "agent_check_restart",
	Summary: "Check whether nodes could run again after a restart",
	API:     AgentAPI,
	Effect:  Reads,
	Long:    true,
	Forms:   []Form{operations("check_restart")},
})

// AgentSiteRequest sends the agent a part of a packed site. A request without data
// asks how much of the site the agent has.
type AgentSiteRequest struct {
	ReqID
	SitePart
}

// AgentSiteResponse has a SiteProgress as its data.
type AgentSiteResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentSiteCall declares AgentSiteRequest and its response.
var AgentSiteCall = single[AgentSiteRequest, AgentSiteResponse](Request{
	Name:    "agent_site",
	Summary: "Send the agent a part of a site",
	API:     AgentAPI,
	Effect:  Changes,
	Forms:   []Form{operations("site")},
})

// AgentStatusRequest gets the details of the nodes of the instance.
type AgentStatusRequest struct{ ReqID }

// AgentStatusResponse has []NodeDetail as its data.
type AgentStatusResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentStatusCall declares AgentStatusRequest and its response.
var AgentStatusCall = single[AgentStatusRequest, AgentStatusResponse](Request{
	Name:    "agent_status",
	Summary: "Describe the nodes of an instance",
	API:     AgentAPI,
	Effect:  Reads,
	Forms:   []Form{operations("status")},
})

// AgentLogsRequest is a LogsRequest that the controller forwards to the agent.
type AgentLogsRequest struct {
	ReqID
	Node  string `zeek:"node"`
	Bytes uint64 `zeek:"bytes"`
}

// AgentLogsResponse has NodeLogs as its data.
type AgentLogsResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentLogsCall declares AgentLogsRequest and its response.
var AgentLogsCall = single[AgentLogsRequest, AgentLogsResponse](Request{
	Name:    "agent_logs",
	Summary: "Get the output of a node from its agent",
	API:     AgentAPI,
	Effect:  Reads,
	Forms:   []Form{operations("logs")},
})

// AgentDiagnoseRequest is a DiagnoseRequest that the controller forwards to the agent.
type AgentDiagnoseRequest struct {
	ReqID
	Node  string `zeek:"node"`
	Bytes uint64 `zeek:"bytes"`
}

// AgentDiagnoseResponse has a Diagnosis as its data.
type AgentDiagnoseResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentDiagnoseCall declares AgentDiagnoseRequest and its response.
var AgentDiagnoseCall = single[AgentDiagnoseRequest, AgentDiagnoseResponse](Request{
	Name:    "agent_diagnose",
	Summary: "Get the diagnosis of a node from its agent",
	API:     AgentAPI,
	Effect:  Reads,
	Forms:   []Form{operations("diagnose")},
})

// AgentFiguresRequest gets the measurements of an instance and its nodes.
type AgentFiguresRequest struct {
	ReqID
	MaxAge time.Duration `zeek:"max_age"` // as in FiguresRequest
}

// AgentFiguresResponse has InstanceFigures as its data.
type AgentFiguresResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentFiguresCall declares AgentFiguresRequest and its response.
var AgentFiguresCall = single[AgentFiguresRequest, AgentFiguresResponse](Request{
	Name:    "agent_figures",
	Summary: "Get the measurements of an instance and its nodes",
	API:     AgentAPI,
	Effect:  Reads,
	Forms:   []Form{operations("figures")},
})

// AgentScriptsRequest lists the scripts that the named nodes have loaded, or all nodes of
// the instance if Nodes is empty.
type AgentScriptsRequest struct {
	ReqID
	Nodes []string `zeek:"nodes,set"`
	All   bool     `zeek:"all"` // also the scripts of the Zeek installation
}

// AgentScriptsResponse has a result with NodeScripts as its data for each node of the
// instance that the request addresses. There may be none.
type AgentScriptsResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// AgentScriptsCall declares AgentScriptsRequest and its response.
var AgentScriptsCall = many[AgentScriptsRequest, AgentScriptsResponse](Request{
	Name:    "agent_scripts",
	Summary: "List the scripts that nodes of an instance have loaded",
	API:     AgentAPI,
	Effect:  Reads,
	Forms:   []Form{operations("scripts")},
})

// AgentCleanupRequest removes the leftovers of the agent or, with DryRun, only lists them.
// Files of nodes that run or should run are not leftovers.
type AgentCleanupRequest struct {
	ReqID
	Keep   []string `zeek:"keep,set"` // further nodes whose files are needed, such as stopped ones
	DryRun bool     `zeek:"dry_run"`
}

// AgentCleanupResponse has []Leftover as its data.
type AgentCleanupResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentCleanupCall declares AgentCleanupRequest and its response.
var AgentCleanupCall = single[AgentCleanupRequest, AgentCleanupResponse](Request{
	Name:    "agent_cleanup",
	Summary: "Remove files that an agent no longer needs",
	API:     AgentAPI,
	Effect:  Changes,
	Long:    true,
	Forms:   []Form{operations("cleanup")},
})

// AgentLeaderRequest introduces a controller to an agent, as the leader of the controllers
// of the cluster or as one that stands by. A controller that is one of several sends it
// before all other requests, and whenever it begins to lead or a term begins. A controller
// that is the only one does not send it, and neither do Zeek's controllers.
type AgentLeaderRequest struct {
	ReqID

	// Term is the term of the controller if it leads, and else the last term that it
	// knows. Each leader has a greater term than the leaders before it.
	Term uint64 `zeek:"term"`

	// Leads reports whether the controller leads.
	Leads bool `zeek:"leads"`

	// Leader is the address of the leader, for messages to operators. It is "" if the
	// controller leads, or if the leader is unknown.
	Leader string `zeek:"leader"`
}

// AgentLeaderResponse has an AgentTerm as its data, even on failure. It is a failure if
// the agent does not obey the leader that sent the request.
type AgentLeaderResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AgentTerm is the greatest term of a leader that an agent has heard of.
type AgentTerm struct {
	Term   uint64 `zeek:"term"`
	Leader string `zeek:"leader"` // endpoint ID of the leader
}

// AgentLeaderCall declares AgentLeaderRequest and its response.
var AgentLeaderCall = single[AgentLeaderRequest, AgentLeaderResponse](Request{
	Name:    "agent_leader",
	Summary: "Introduce the controller to an agent, with its term",
	API:     AgentAPI,
	Effect:  Changes,
	Forms:   []Form{operations("leader")},
})
