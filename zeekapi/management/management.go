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

// DefaultTopics are the topics that Zeek uses unless redefined.
var DefaultTopics = zeekapi.Topics{
	Controller:  "zeek/management/controller",
	AgentPrefix: "zeek/management/agent",
	Node:        "zeek/management/node",
	Supervisor:  "zeek/management/supervisor",
}

var modules = zeekapi.Modules{
	zeekapi.ControllerAPI: "Management::Controller::API::",
	zeekapi.AgentAPI:      "Management::Agent::API::",
	zeekapi.NodeAPI:       "Management::Node::API::",
	zeekapi.SupervisorAPI: "Management::Supervisor::API::",
}

// Dialect returns the dialect on the given topics.
func Dialect(topics zeekapi.Topics) *zeekapi.Dialect {
	d := zeekapi.NewRegistered(zeekapi.Management, topics, modules)
	d.Records = map[string]record.Type{
		"Management::Instance":      record.TypeOf[zeekapi.Instance](),
		"Management::Configuration": record.TypeOf[zeekapi.Configuration](),
		"Management::NodeStatus":    record.TypeOf[zeekapi.NodeStatus](),
		"Management::NodeOutputs":   record.TypeOf[zeekapi.NodeOutputs](),
	}
	return d
}
