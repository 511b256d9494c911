package zeekapi

// This file declares the requests that clients make of controllers, Zeek's
// controllers included.

// GetInstancesRequest asks for the agents that said hello.
type GetInstancesRequest struct{ ReqID }

// GetInstancesResponse has []Instance for data, sorted by name.
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
	Forms:   []Form{management("get_instances"), clusterAgent("get_instances")},
})

// StageConfigurationRequest uploads a configuration without deploying it.
type StageConfigurationRequest struct {
	ReqID
	Config Configuration `zeek:"config"`
}

// StageConfigurationResponse has one result per error, or a single one
// with the configuration's ID, a string, for data.
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
	Forms:   []Form{management("stage_configuration")},
})

// GetConfigurationRequest asks for the configuration as staged, or as
// deployed with addresses and ports filled in.
type GetConfigurationRequest struct {
	ReqID
	Deployed bool `zeek:"deployed"`
}

// GetConfigurationResponse has a Configuration for data.
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
	Forms:   []Form{management("get_configuration")},
})

// DeployRequest deploys what is staged.
type DeployRequest struct{ ReqID }

// DeployResponse has the results of all agents and, when all answered, one
// with the configuration's ID, a string, for data.
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
	Forms:   []Form{management("deploy")},
})

// SetConfigurationRequest stages and deploys at once. Only the
// ClusterController dialect has it.
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
	Forms:   []Form{clusterAgent("set_configuration")},
})

// GetNodesRequest asks for the processes of all instances.
type GetNodesRequest struct{ ReqID }

// GetNodesResponse has one result per instance, with []NodeStatus for data.
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
	Forms:   []Form{management("get_nodes"), clusterAgent("get_nodes")},
})

// GetIDValueRequest asks nodes, all if none are named, for the value of a
// global identifier.
type GetIDValueRequest struct {
	ReqID
	Identifier string   `zeek:"id"`
	Nodes      []string `zeek:"nodes,set"`
}

// GetIDValueResponse has one result per node, with JSON text, a string,
// for data.
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
	Forms:   []Form{management("get_id_value")},
})

// RestartRequest restarts nodes, all if none are named.
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

// TestTimeoutRequest is not answered, or with state only by a time-out.
type TestTimeoutRequest struct {
	ReqID
	WithState bool `zeek:"with_state"`
}

// TestTimeoutResponse says that TestTimeoutRequest timed out.
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
