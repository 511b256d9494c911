// Package management is the dialect of Zeek's Management framework, Zeek 5.0
// to 9.0: the modules Management::Controller::API, Management::Agent::API,
// Management::Node::API and Management::Supervisor::API.
//
// Their event signatures never changed. The records only grew: Zeek 7.0 gave
// nodes a metrics port, which older Zeeks ignore and need not send.
package management

import (
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// APIVersion is the version that agents announce in their hello.
const APIVersion = 1

// DefaultTopics are the topics that Zeek uses unless redefined.
var DefaultTopics = zeekapi.Topics{
	Controller:  "zeek/management/controller",
	AgentPrefix: "zeek/management/agent",
	Node:        "zeek/management/node",
	Supervisor:  "zeek/management/supervisor",
}

const (
	controllerModule = "Management::Controller::API::"
	agentModule      = "Management::Agent::API::"
	nodeModule       = "Management::Node::API::"
	supervisorModule = "Management::Supervisor::API::"

	since = "5.0.0"
)

// Dialect returns the dialect on the given topics.
func Dialect(topics zeekapi.Topics) *zeekapi.Dialect {
	d := zeekapi.NewDialect("Management", topics,
		controller[zeekapi.GetInstancesRequest]("get_instances_request"),
		controller[zeekapi.GetInstancesResponse]("get_instances_response"),
		controller[zeekapi.StageConfigurationRequest]("stage_configuration_request"),
		controller[zeekapi.StageConfigurationResponse]("stage_configuration_response"),
		controller[zeekapi.GetConfigurationRequest]("get_configuration_request"),
		controller[zeekapi.GetConfigurationResponse]("get_configuration_response"),
		controller[zeekapi.DeployRequest]("deploy_request"),
		controller[zeekapi.DeployResponse]("deploy_response"),
		controller[zeekapi.GetNodesRequest]("get_nodes_request"),
		controller[zeekapi.GetNodesResponse]("get_nodes_response"),
		controller[zeekapi.GetIDValueRequest]("get_id_value_request"),
		controller[zeekapi.GetIDValueResponse]("get_id_value_response"),
		controller[zeekapi.RestartRequest]("restart_request"),
		controller[zeekapi.RestartResponse]("restart_response"),
		controller[zeekapi.TestTimeoutRequest]("test_timeout_request"),
		controller[zeekapi.TestTimeoutResponse]("test_timeout_response"),

		agent[zeekapi.AgentDeployRequest]("deploy_request"),
		agent[zeekapi.AgentDeployResponse]("deploy_response"),
		agent[zeekapi.AgentGetNodesRequest]("get_nodes_request"),
		agent[zeekapi.AgentGetNodesResponse]("get_nodes_response"),
		agent[zeekapi.AgentDispatchRequest]("node_dispatch_request"),
		agent[zeekapi.AgentDispatchResponse]("node_dispatch_response"),
		agent[zeekapi.AgentWelcomeRequest]("agent_welcome_request"),
		agent[zeekapi.AgentWelcomeResponse]("agent_welcome_response"),
		agent[zeekapi.AgentStandbyRequest]("agent_standby_request"),
		agent[zeekapi.AgentStandbyResponse]("agent_standby_response"),
		agent[zeekapi.AgentRestartRequest]("restart_request"),
		agent[zeekapi.AgentRestartResponse]("restart_response"),
		agent[zeekapi.AgentHello]("notify_agent_hello"),
		agent[zeekapi.AgentChange]("notify_change"),
		agent[zeekapi.AgentError]("notify_error"),
		agent[zeekapi.AgentLog]("notify_log"),

		zeekapi.Declare[zeekapi.NodeHello](nodeModule+"notify_node_hello", zeekapi.NodeAPI, since),
		zeekapi.Declare[zeekapi.NodeDispatchRequest](nodeModule+"node_dispatch_request", zeekapi.NodeAPI, since),
		zeekapi.Declare[zeekapi.NodeDispatchResponse](nodeModule+"node_dispatch_response", zeekapi.NodeAPI, since),

		zeekapi.Declare[zeekapi.NodeExit](supervisorModule+"notify_node_exit", zeekapi.SupervisorAPI, since),
	)
	d.Records = map[string]record.Type{
		"Management::Instance":      record.TypeOf[zeekapi.Instance](),
		"Management::Configuration": record.TypeOf[zeekapi.Configuration](),
		"Management::NodeStatus":    record.TypeOf[zeekapi.NodeStatus](),
		"Management::NodeOutputs":   record.TypeOf[zeekapi.NodeOutputs](),
	}
	return d
}

func controller[M zeekapi.Message](event string) zeekapi.Declaration {
	return zeekapi.Declare[M](controllerModule+event, zeekapi.ControllerAPI, since)
}

func agent[M zeekapi.Message](event string) zeekapi.Declaration {
	return zeekapi.Declare[M](agentModule+event, zeekapi.AgentAPI, since)
}
