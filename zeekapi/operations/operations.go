// Package operations is the dialect in which zeekwire's own programs speak of
// what Zeek's management APIs have no event for: status, history, rollback,
// rolling restarts, events.
//
// It has topics of its own, so neither stock clients nor Zeek's agents ever
// see these events. An agent that says hello in this dialect is one of ours.
package operations

import "github.com/zeekwire/zeekwire/zeekapi"

// DefaultTopics are the default topics. Any client may subscribe to the events.
var DefaultTopics = zeekapi.Topics{
	Controller:  "zeekwire/controller",
	AgentPrefix: "zeekwire/agent",
	Agents:      "zeekwire/agents",
	Events:      "zeekwire/events",
}

var modules = zeekapi.Modules{
	zeekapi.ControllerAPI: "Zeekwire::Controller::",
	zeekapi.AgentAPI:      "Zeekwire::Agent::",
	zeekapi.EventAPI:      "Zeekwire::Controller::",
}

// Dialect returns the dialect on the given topics. It is extensible, so that a later
// version can add arguments to events.
func Dialect(topics zeekapi.Topics) *zeekapi.Dialect {
	d := zeekapi.NewRegistered(zeekapi.Operations, topics, modules)
	d.Extensible = true
	return d
}
