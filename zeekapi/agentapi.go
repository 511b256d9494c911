package zeekapi

import "net/netip"

// This file declares what controllers and agents exchange, those of Zeek
// included.

// AgentHello is how an agent introduces itself. It repeats it at will.
type AgentHello struct {
	OneWay     `zeek:"-"`
	Instance   string     `zeek:"instance"`
	EndpointID string     `zeek:"id"`         // of the agent's Broker; "" in the ClusterAgent dialect
	Connecting bool       `zeek:"connecting"` // the agent connects to the controller
	APIVersion uint64     `zeek:"api_version"`
	Host       netip.Addr `zeek:"-"` // where it listens; only in the ClusterAgent dialect
}

var _ = oneWay[AgentHello](AgentAPI, management("notify_agent_hello"), clusterAgent("notify_agent_hello"), operations("hello"))

// AgentWelcomeRequest tells an agent that the cluster wants it.
type AgentWelcomeRequest struct{ ReqID }

// AgentWelcomeResponse must name the instance in its result.
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

// AgentStandbyRequest tells an agent to stop its nodes. The controller
// sends it without a request ID.
type AgentStandbyRequest struct{ ReqID }

// AgentStandbyResponse names the instance in its result.
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

// AgentDeployRequest makes a configuration true on the agent's instance.
// Unless forced, an agent that runs it already leaves everything as it is.
type AgentDeployRequest struct {
	ReqID
	Config Configuration `zeek:"config"`
	Force  bool          `zeek:"force"`
}

// AgentDeployResponse has one result per node of the instance, or one
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

// AgentGetNodesRequest asks for the processes of the instance.
type AgentGetNodesRequest struct{ ReqID }

// AgentGetNodesResponse has []NodeStatus for data, which must be there.
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

// AgentDispatchRequest has nodes do something. The only action there is
// is "get_id_value" with the name of an identifier.
type AgentDispatchRequest struct {
	ReqID
	Action []string `zeek:"action"`
	Nodes  []string `zeek:"nodes,set"`
}

// AgentDispatchResponse has one result per node of the instance that was
// meant, possibly none.
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

// AgentRestartRequest restarts nodes, all of the instance if none are
// named.
type AgentRestartRequest struct {
	ReqID
	Nodes []string `zeek:"nodes,set"`
}

// AgentRestartResponse has one result per node of the instance that was
// meant, possibly none.
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

// AgentChange says that a node changed its state.
type AgentChange struct {
	OneWay   `zeek:"-"`
	Instance string `zeek:"instance"`
	Node     Node   `zeek:"n"`
	Old      State  `zeek:"old,enum=Management"`
	New      State  `zeek:"new,enum=Management"`
}

var _ = oneWay[AgentChange](AgentAPI, management("notify_change"), clusterAgent("notify_change"))

// AgentError says that something failed on the instance.
type AgentError struct {
	OneWay   `zeek:"-"`
	Instance string `zeek:"instance"`
	Text     string `zeek:"msg"`
	Node     string `zeek:"node"` // "" if no node is meant
}

var _ = oneWay[AgentError](AgentAPI, management("notify_error"), clusterAgent("notify_error"))

// AgentLog is a message for the controller's log.
type AgentLog struct {
	OneWay   `zeek:"-"`
	Instance string `zeek:"instance"`
	Text     string `zeek:"msg"`
	Node     string `zeek:"node"` // "" if no node is meant
}

var _ = oneWay[AgentLog](AgentAPI, management("notify_log"), clusterAgent("notify_log"))

// Zeek's agents do not know the messages below.

// AgentDescription follows an agent's hello.
type AgentDescription struct {
	OneWay     `zeek:"-"`
	Instance   string  `zeek:"instance"`
	Agent      Process `zeek:"agent"`
	Zeek       string  `zeek:"zeek"` // version that the nodes run, "" if not known
	LayoutForm uint64  `zeek:"layout_form"`
}

var _ = oneWay[AgentDescription](AgentAPI, operations("description"))

// AgentDeployNodesRequest is AgentDeployRequest with what concerns the
// agent: its own nodes in full, and of the others what the nodes must know.
// It is for agents that describe themselves with our LayoutForm, and is
// answered with AgentDeployResponse.
type AgentDeployNodesRequest struct {
	ReqID
	Config string       `zeek:"config"` // ID of the configuration
	Nodes  []Node       `zeek:"nodes"`  // of the instance, by name
	Layout PackedLayout `zeek:"layout"` // of the cluster, with those nodes
	Force  bool         `zeek:"force"`
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

// AgentStatusRequest asks for the nodes of the instance in detail.
type AgentStatusRequest struct{ ReqID }

// AgentStatusResponse has []NodeDetail for data.
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

// AgentLogsRequest is LogsRequest on its way to the agent.
type AgentLogsRequest struct {
	ReqID
	Node  string `zeek:"node"`
	Bytes uint64 `zeek:"bytes"`
}

// AgentLogsResponse has NodeOutputs for data.
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
