package zeekapi

import "net/netip"

// Message is one event of the management APIs, in neutral form. Its fields,
// but for those tagged "-", are the event's arguments in order.
type Message interface {
	// RequestID returns the ID that ties a response to its request, and ""
	// for notifications.
	RequestID() string
}

// ReqID is the part that all requests and responses share.
type ReqID struct {
	ID string `zeek:"reqid"`
}

// RequestID returns the request's ID.
func (r ReqID) RequestID() string { return r.ID }

// OneWay is the part that messages without an answer share.
type OneWay struct{}

// RequestID returns "".
func (OneWay) RequestID() string { return "" }

// Between clients and the controller.
type (
	// GetInstancesRequest asks for the agents that said hello.
	GetInstancesRequest struct{ ReqID }

	// GetInstancesResponse has []Instance for data, sorted by name.
	GetInstancesResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// StageConfigurationRequest uploads a configuration without deploying it.
	StageConfigurationRequest struct {
		ReqID
		Config Configuration `zeek:"config"`
	}

	// StageConfigurationResponse has one result per error, or a single one
	// with the configuration's ID, a string, for data.
	StageConfigurationResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// GetConfigurationRequest asks for the configuration as staged, or as
	// deployed with addresses and ports filled in.
	GetConfigurationRequest struct {
		ReqID
		Deployed bool `zeek:"deployed"`
	}

	// GetConfigurationResponse has a Configuration for data.
	GetConfigurationResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// DeployRequest deploys what is staged.
	DeployRequest struct{ ReqID }

	// DeployResponse has the results of all agents and, when all answered, one
	// with the configuration's ID, a string, for data.
	DeployResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// SetConfigurationRequest stages and deploys at once. Only the
	// ClusterController dialect has it.
	SetConfigurationRequest struct {
		ReqID
		Config Configuration `zeek:"config"`
	}

	// SetConfigurationResponse has one result per agent.
	SetConfigurationResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// GetNodesRequest asks for the processes of all instances.
	GetNodesRequest struct{ ReqID }

	// GetNodesResponse has one result per instance, with []NodeStatus for data.
	GetNodesResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// GetIDValueRequest asks nodes, all if none are named, for the value of a
	// global identifier.
	GetIDValueRequest struct {
		ReqID
		Identifier string   `zeek:"id"`
		Nodes      []string `zeek:"nodes,set"`
	}

	// GetIDValueResponse has one result per node, with JSON text, a string,
	// for data.
	GetIDValueResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// RestartRequest restarts nodes, all if none are named.
	RestartRequest struct {
		ReqID
		Nodes []string `zeek:"nodes,set"`
	}

	// RestartResponse has one result per node.
	RestartResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// TestTimeoutRequest is not answered, or with state only by a time-out.
	TestTimeoutRequest struct {
		ReqID
		WithState bool `zeek:"with_state"`
	}

	// TestTimeoutResponse says that TestTimeoutRequest timed out.
	TestTimeoutResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}
)

// Between the controller and agents.
type (
	// AgentHello is how an agent introduces itself. It repeats it at will.
	AgentHello struct {
		OneWay     `zeek:"-"`
		Instance   string     `zeek:"instance"`
		EndpointID string     `zeek:"id"`         // of the agent's Broker; "" in the ClusterAgent dialect
		Connecting bool       `zeek:"connecting"` // the agent connects to the controller
		APIVersion uint64     `zeek:"api_version"`
		Host       netip.Addr `zeek:"-"` // where it listens; only in the ClusterAgent dialect
	}

	// AgentWelcomeRequest tells an agent that the cluster wants it.
	AgentWelcomeRequest struct{ ReqID }

	// AgentWelcomeResponse must name the instance in its result.
	AgentWelcomeResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// AgentStandbyRequest tells an agent to stop its nodes. The controller
	// sends it without a request ID.
	AgentStandbyRequest struct{ ReqID }

	// AgentStandbyResponse names the instance in its result.
	AgentStandbyResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// AgentDeployRequest makes a configuration true on the agent's instance.
	// Unless forced, an agent that runs it already leaves everything as it is.
	AgentDeployRequest struct {
		ReqID
		Config Configuration `zeek:"config"`
		Force  bool          `zeek:"force"`
	}

	// AgentDeployResponse has one result per node of the instance, or one
	// without a node.
	AgentDeployResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// AgentGetNodesRequest asks for the processes of the instance.
	AgentGetNodesRequest struct{ ReqID }

	// AgentGetNodesResponse has []NodeStatus for data, which must be there.
	AgentGetNodesResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// AgentDispatchRequest has nodes do something. The only action there is
	// is "get_id_value" with the name of an identifier.
	AgentDispatchRequest struct {
		ReqID
		Action []string `zeek:"action"`
		Nodes  []string `zeek:"nodes,set"`
	}

	// AgentDispatchResponse has one result per node of the instance that was
	// meant, possibly none.
	AgentDispatchResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// AgentRestartRequest restarts nodes, all of the instance if none are
	// named.
	AgentRestartRequest struct {
		ReqID
		Nodes []string `zeek:"nodes,set"`
	}

	// AgentRestartResponse has one result per node of the instance that was
	// meant, possibly none.
	AgentRestartResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// AgentChange says that a node changed its state.
	AgentChange struct {
		OneWay   `zeek:"-"`
		Instance string `zeek:"instance"`
		Node     Node   `zeek:"n"`
		Old      State  `zeek:"old,enum=Management"`
		New      State  `zeek:"new,enum=Management"`
	}

	// AgentError says that something failed on the instance.
	AgentError struct {
		OneWay   `zeek:"-"`
		Instance string `zeek:"instance"`
		Text     string `zeek:"msg"`
		Node     string `zeek:"node"` // "" if no node is meant
	}

	// AgentLog is a message for the controller's log.
	AgentLog struct {
		OneWay   `zeek:"-"`
		Instance string `zeek:"instance"`
		Text     string `zeek:"msg"`
		Node     string `zeek:"node"` // "" if no node is meant
	}
)

// Between an agent, its nodes and the Supervisor.
type (
	// NodeHello says that a node has come up.
	NodeHello struct {
		OneWay `zeek:"-"`
		Node   string `zeek:"node"`
	}

	// NodeDispatchRequest is AgentDispatchRequest on its way to the nodes.
	NodeDispatchRequest struct {
		ReqID
		Action []string `zeek:"action"`
		Nodes  []string `zeek:"nodes,set"`
	}

	// NodeDispatchResponse names the node in its result.
	NodeDispatchResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// NodeExit carries what a node wrote before it ended. The Supervisor
	// sends it when it starts the node again.
	NodeExit struct {
		OneWay  `zeek:"-"`
		Node    string      `zeek:"node"`
		Outputs NodeOutputs `zeek:"outputs"`
	}
)
