package zeekapi

// This file declares the requests that only our own clients make, of our own
// controller, and the events that it reports.

// StatusRequest asks for everything at once.
type StatusRequest struct{ ReqID }

// StatusResponse has a Status for data.
type StatusResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// StatusCall declares StatusRequest and its response.
var StatusCall = single[StatusRequest, StatusResponse](Request{
	Name:    "status",
	Summary: "Describe the whole cluster",
	API:     ControllerAPI,
	Effect:  Reads,
	Forms:   []Form{operations("status")},
})

// DryRunRequest asks what deploying a configuration would change. It
// changes nothing.
type DryRunRequest struct {
	ReqID
	Config Configuration `zeek:"config"`
}

// DryRunResponse has one result per error, or a single one with a Diff
// for data.
type DryRunResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// DryRunCall declares DryRunRequest and its response.
var DryRunCall = many[DryRunRequest, DryRunResponse](Request{
	Name:    "dry_run",
	Summary: "Show what deploying a configuration would change",
	API:     ControllerAPI,
	Effect:  Reads,
	Forms:   []Form{operations("dry_run")},
})

// ForceDeployRequest deploys what is staged and starts all nodes anew,
// also those that run what they should.
type ForceDeployRequest struct{ ReqID }

// ForceDeployResponse is like DeployResponse.
type ForceDeployResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// ForceDeployCall declares ForceDeployRequest and its response.
var ForceDeployCall = many[ForceDeployRequest, ForceDeployResponse](Request{
	Name:    "force_deploy",
	Summary: "Deploy the staged configuration and restart all nodes",
	API:     ControllerAPI,
	Effect:  Changes,
	Long:    true,
	Forms:   []Form{operations("force_deploy")},
})

// HistoryRequest asks for the last deployments of clients.
type HistoryRequest struct {
	ReqID
	Limit uint64 `zeek:"limit"` // 0: as many as are kept
}

// HistoryResponse has []Deployment for data, the newest first.
type HistoryResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// HistoryCall declares HistoryRequest and its response.
var HistoryCall = single[HistoryRequest, HistoryResponse](Request{
	Name:    "history",
	Summary: "List recent deployments",
	API:     ControllerAPI,
	Effect:  Reads,
	Forms:   []Form{operations("history")},
})

// GetPastRequest asks for the configuration of a deployment.
type GetPastRequest struct {
	ReqID
	Number uint64 `zeek:"number"`
}

// GetPastResponse has a Configuration for data.
type GetPastResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// GetPastCall declares GetPastRequest and its response.
var GetPastCall = single[GetPastRequest, GetPastResponse](Request{
	Name:    "get_past",
	Summary: "Get the configuration of an earlier deployment",
	API:     ControllerAPI,
	Effect:  Reads,
	Forms:   []Form{operations("get_past")},
})

// RollbackRequest deploys the configuration of an earlier deployment.
type RollbackRequest struct {
	ReqID
	Number uint64 `zeek:"number"` // 0: the last deployed one that differs from what should run now
}

// RollbackResponse is like DeployResponse.
type RollbackResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// RollbackCall declares RollbackRequest and its response.
var RollbackCall = many[RollbackRequest, RollbackResponse](Request{
	Name:    "rollback",
	Summary: "Deploy the configuration of an earlier deployment",
	API:     ControllerAPI,
	Effect:  Changes,
	Long:    true,
	Forms:   []Form{operations("rollback")},
})

// DrainRequest has an instance run nothing, and with Drain false what it
// should again. The configuration stays as it is. The answer comes when its
// nodes are gone, or with those that are not when time is up.
type DrainRequest struct {
	ReqID
	Instance string `zeek:"instance"`
	Drain    bool   `zeek:"drain"`
}

// DrainResponse has the results of the instance's agent.
type DrainResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// DrainCall declares DrainRequest and its response.
var DrainCall = many[DrainRequest, DrainResponse](Request{
	Name:    "drain",
	Summary: "Stop the nodes of an instance, or let them run again",
	API:     ControllerAPI,
	Effect:  Changes,
	Long:    true,
	Forms:   []Form{operations("drain")},
})

// RollingRestartRequest restarts nodes by and by: loggers, managers,
// proxies, workers, a few at once, and the next ones when those before
// them run.
type RollingRestartRequest struct {
	ReqID
	Nodes  []string      `zeek:"nodes,set"` // all if none are named
	Roles  []ClusterRole `zeek:"roles,set"` // any if none are named
	AtOnce uint64        `zeek:"at_once"`   // 0: one
}

// RollingRestartResponse comes at once, and has a Job for data. Events
// and Status tell of its progress.
type RollingRestartResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// RollingRestartCall declares RollingRestartRequest and its response.
var RollingRestartCall = single[RollingRestartRequest, RollingRestartResponse](Request{
	Name:    "rolling_restart",
	Summary: "Restart nodes one at a time",
	API:     ControllerAPI,
	Effect:  Changes,
	Forms:   []Form{operations("rolling_restart")},
})

// CancelJobRequest ends the job under way after the nodes that it is at.
type CancelJobRequest struct{ ReqID }

// CancelJobResponse has the Job for data.
type CancelJobResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// CancelJobCall declares CancelJobRequest and its response.
var CancelJobCall = single[CancelJobRequest, CancelJobResponse](Request{
	Name:    "cancel_job",
	Summary: "End the job under way after its current nodes",
	API:     ControllerAPI,
	Effect:  Changes,
	Forms:   []Form{operations("cancel_job")},
})

// EventsRequest asks for events that the controller kept.
type EventsRequest struct {
	ReqID
	After uint64 `zeek:"after"` // those with a greater number
	Limit uint64 `zeek:"limit"` // the last so many; 0: as many as are kept
}

// EventsResponse has []Event for data, the oldest first.
type EventsResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// EventsCall declares EventsRequest and its response.
var EventsCall = single[EventsRequest, EventsResponse](Request{
	Name:    "events",
	Summary: "List recent events of the cluster",
	API:     ControllerAPI,
	Effect:  Reads,
	Forms:   []Form{operations("events")},
})

// LogsRequest asks for the ends of what a node wrote to its standard
// output and error.
type LogsRequest struct {
	ReqID
	Node  string `zeek:"node"`
	Bytes uint64 `zeek:"bytes"` // at most so many of each; 0: as the agent likes
}

// LogsResponse has NodeOutputs for data. The error of a success is a remark,
// such as that the node does not run because its instance is drained.
type LogsResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// LogsCall declares LogsRequest and its response.
var LogsCall = single[LogsRequest, LogsResponse](Request{
	Name:    "logs",
	Summary: "Get the output of a node",
	API:     ControllerAPI,
	Effect:  Reads,
	Forms:   []Form{operations("logs")},
})

// EventReport is how the controller tells of a event as it happens.
type EventReport struct {
	OneWay `zeek:"-"`
	Event  ClusterEvent `zeek:"event"`
}

var _ = oneWay[EventReport](EventAPI, operations("cluster_event"))
