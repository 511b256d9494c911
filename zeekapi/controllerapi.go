package zeekapi

// This file declares the requests of clients that Zeek's controllers know, too.

// GetInstancesRequest lists the instances whose agents are connected.
type GetInstancesRequest struct{ ReqID }

// GetInstancesResponse has []Instance as its data, sorted by name.
type GetInstancesResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// GetInstancesCall declares GetInstancesRequest and its response.
var GetInstancesCall = single[GetInstancesRequest, GetInstancesResponse](Request{
	Name:    "get_instances",
	Summary: "List the instances whose agents are connected",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[[]Instance](),
	Forms:   []Form{management("get_instances"), clusterAgent("get_instances")},
})

// StageConfigurationRequest uploads a configuration without deploying it.
type StageConfigurationRequest struct {
	ReqID
	Config Configuration `zeek:"config"`

	// Replaces is the Fingerprint of the staged configuration that this one may
	// replace, or NoConfiguration; "" for any. Zeek's controller does not know this field.
	Replaces string `zeek:"replaces,extension"`
}

// NoConfiguration takes the place of a Fingerprint if there must be no configuration.
const NoConfiguration = "none"

// StageConfigurationResponse has one result per error or, on success, a single
// result with the configuration's ID, a string, as its data.
type StageConfigurationResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// StageConfigurationCall declares StageConfigurationRequest and its response.
var StageConfigurationCall = many[StageConfigurationRequest, StageConfigurationResponse](Request{
	Name:    "stage_configuration",
	Summary: "Upload a configuration without deploying it",
	API:     ControllerAPI,
	Effect:  Changes,
	Data:    dataOf[string](),
	Forms:   []Form{management("stage_configuration")},
})

// GetConfigurationRequest gets the staged configuration, or the deployed one with
// the addresses and ports that the controller filled in.
type GetConfigurationRequest struct {
	ReqID
	Deployed bool `zeek:"deployed"`
}

// GetConfigurationResponse has a Configuration as its data.
type GetConfigurationResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// GetConfigurationCall declares GetConfigurationRequest and its response.
var GetConfigurationCall = single[GetConfigurationRequest, GetConfigurationResponse](Request{
	Name:    "get_configuration",
	Summary: "Get the staged or the deployed configuration",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[Configuration](),
	Forms:   []Form{management("get_configuration")},
})

// DeployRequest deploys the staged configuration.
type DeployRequest struct{ ReqID }

// DeployResponse has the results of all agents. If all agents responded, one more
// result has the configuration's ID, a string, as its data.
type DeployResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// DeployCall declares DeployRequest and its response.
var DeployCall = many[DeployRequest, DeployResponse](Request{
	Name:    "deploy",
	Summary: "Deploy the staged configuration",
	API:     ControllerAPI,
	Effect:  Changes,
	Long:    true,
	Data:    deploymentData,
	Forms:   []Form{management("deploy")},
})

// SetConfigurationRequest stages a configuration and deploys it. Only the
// ClusterAgent dialect has this request.
type SetConfigurationRequest struct {
	ReqID
	Config Configuration `zeek:"config"`
}

// SetConfigurationResponse has one result per agent.
type SetConfigurationResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// SetConfigurationCall declares SetConfigurationRequest and its response.
var SetConfigurationCall = many[SetConfigurationRequest, SetConfigurationResponse](Request{
	Name:    "set_configuration",
	Summary: "Stage a configuration and deploy it",
	API:     ControllerAPI,
	Effect:  Changes,
	Long:    true,
	Data:    deploymentData,
	Forms:   []Form{clusterAgent("set_configuration")},
})

// GetNodesRequest lists the processes of all instances.
type GetNodesRequest struct{ ReqID }

// GetNodesResponse has one result per instance, with []NodeStatus as its data.
type GetNodesResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// GetNodesCall declares GetNodesRequest and its response.
var GetNodesCall = many[GetNodesRequest, GetNodesResponse](Request{
	Name:    "get_nodes",
	Summary: "List the processes of all instances",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[[]NodeStatus](),
	Forms:   []Form{management("get_nodes"), clusterAgent("get_nodes")},
})

// GetIDValueRequest gets the value of a global identifier from the named nodes, or
// from all nodes if Nodes is empty.
type GetIDValueRequest struct {
	ReqID
	Identifier string   `zeek:"id"`
	Nodes      []string `zeek:"nodes,set"`
}

// GetIDValueResponse has one result per node, with JSON text, a string, as its
// data.
type GetIDValueResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// GetIDValueCall declares GetIDValueRequest and its response.
var GetIDValueCall = many[GetIDValueRequest, GetIDValueResponse](Request{
	Name:    "get_id_value",
	Summary: "Get the value of a global identifier from nodes",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[string](),
	Forms:   []Form{management("get_id_value")},
})

// RestartRequest restarts the named nodes, or all nodes if Nodes is empty.
type RestartRequest struct {
	ReqID
	Nodes []string `zeek:"nodes,set"`
}

// RestartResponse has one result per node.
type RestartResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// RestartCall declares RestartRequest and its response.
var RestartCall = many[RestartRequest, RestartResponse](Request{
	Name:    "restart",
	Summary: "Restart nodes",
	API:     ControllerAPI,
	Effect:  Changes,
	Long:    true,
	Forms:   []Form{management("restart")},
})

// TestTimeoutRequest gets no response or, with WithState, a response that says
// that the request timed out.
type TestTimeoutRequest struct {
	ReqID
	WithState bool `zeek:"with_state"`
}

// TestTimeoutResponse reports the timeout of a TestTimeoutRequest.
type TestTimeoutResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// TestTimeoutCall declares TestTimeoutRequest and its response.
var TestTimeoutCall = single[TestTimeoutRequest, TestTimeoutResponse](Request{
	Name:    "test_timeout",
	Summary: "Send a request that times out (for testing)",
	API:     ControllerAPI,
	Effect:  Reads,
	Forms:   []Form{management("test_timeout"), clusterAgent("test_timeout")},
})
