// Package operations is the dialect in which zeekwire's own programs speak of
// what Zeek's management APIs have no event for: status, history, rollback,
// rolling restarts, events.
//
// It has topics of its own, so neither stock clients nor Zeek's agents ever
// see these events. An agent that says hello in this dialect is one of ours.
package operations

import "github.com/zeekwire/zeekwire/zeekapi"

// DefaultTopics are the topics unless set otherwise. Events are for whoever
// subscribes to them.
var DefaultTopics = zeekapi.Topics{
	Controller:  "zeekwire/controller",
	AgentPrefix: "zeekwire/agent",
	Events:      "zeekwire/events",
}

const (
	controllerModule = "Zeekwire::Controller::"
	agentModule      = "Zeekwire::Agent::"
)

// Dialect returns the dialect on the given topics.
func Dialect(topics zeekapi.Topics) *zeekapi.Dialect {
	return zeekapi.NewDialect("Operations", topics,
		controller[zeekapi.StatusRequest]("status_request"),
		controller[zeekapi.StatusResponse]("status_response"),
		controller[zeekapi.DryRunRequest]("dry_run_request"),
		controller[zeekapi.DryRunResponse]("dry_run_response"),
		controller[zeekapi.ForceDeployRequest]("force_deploy_request"),
		controller[zeekapi.ForceDeployResponse]("force_deploy_response"),
		controller[zeekapi.HistoryRequest]("history_request"),
		controller[zeekapi.HistoryResponse]("history_response"),
		controller[zeekapi.GetPastRequest]("get_past_request"),
		controller[zeekapi.GetPastResponse]("get_past_response"),
		controller[zeekapi.RollbackRequest]("rollback_request"),
		controller[zeekapi.RollbackResponse]("rollback_response"),
		controller[zeekapi.DrainRequest]("drain_request"),
		controller[zeekapi.DrainResponse]("drain_response"),
		controller[zeekapi.RollingRestartRequest]("rolling_restart_request"),
		controller[zeekapi.RollingRestartResponse]("rolling_restart_response"),
		controller[zeekapi.CancelJobRequest]("cancel_job_request"),
		controller[zeekapi.CancelJobResponse]("cancel_job_response"),
		controller[zeekapi.EventsRequest]("events_request"),
		controller[zeekapi.EventsResponse]("events_response"),
		controller[zeekapi.LogsRequest]("logs_request"),
		controller[zeekapi.LogsResponse]("logs_response"),

		agent[zeekapi.AgentHello]("hello"),
		agent[zeekapi.AgentDescription]("description"),
		agent[zeekapi.AgentDeployNodesRequest]("deploy_request"),
		agent[zeekapi.AgentDeployResponse]("deploy_response"),
		agent[zeekapi.AgentStatusRequest]("status_request"),
		agent[zeekapi.AgentStatusResponse]("status_response"),
		agent[zeekapi.AgentLogsRequest]("logs_request"),
		agent[zeekapi.AgentLogsResponse]("logs_response"),

		zeekapi.Declare[zeekapi.EventReport](controllerModule+"cluster_event", zeekapi.EventAPI, ""),
	)
}

// No Zeek has these events, hence no first version.

func controller[M zeekapi.Message](event string) zeekapi.Declaration {
	return zeekapi.Declare[M](controllerModule+event, zeekapi.ControllerAPI, "")
}

func agent[M zeekapi.Message](event string) zeekapi.Declaration {
	return zeekapi.Declare[M](agentModule+event, zeekapi.AgentAPI, "")
}
