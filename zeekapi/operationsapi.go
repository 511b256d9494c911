package zeekapi

import "time"

// This file declares the requests of clients, and the reports of events, that only
// our own controller knows.

// StatusRequest gets the state of the whole cluster.
type StatusRequest struct{ ReqID }

// StatusResponse has a Status as its data.
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
	Data:    dataOf[Status](),
	Forms:   []Form{operations("status")},
})

// DryRunRequest gets the changes that deploying a configuration would make, without
// making them.
type DryRunRequest struct {
	ReqID
	Config Configuration `zeek:"config"`
}

// DryRunResponse has one result per error or, on success, a single result with a
// Diff as its data.
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
	Data:    dataOf[Diff](),
	Forms:   []Form{operations("dry_run")},
})

// DeployStagedRequest deploys the staged configuration, like DeployRequest, with
// options.
type DeployStagedRequest struct {
	ReqID
	DeployOptions

	// Config, if not empty, is the ID of the configuration to deploy. The request is
	// refused if another is staged.
	Config string `zeek:"config,extension"`

	// Expects is the Fingerprint of the staged configuration that is to be deployed;
	// "" for whichever is staged.
	Expects string `zeek:"expects,extension"`
}

// DeployStagedResponse is like DeployResponse.
type DeployStagedResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// DeployStagedCall declares DeployStagedRequest and its response.
var DeployStagedCall = many[DeployStagedRequest, DeployStagedResponse](Request{
	Name:    "deploy_staged",
	Summary: "Deploy the staged configuration with options",
	API:     ControllerAPI,
	Effect:  Changes,
	Long:    true,
	Data:    deploymentData,
	Forms:   []Form{operations("deploy_staged")},
})

// CheckRequest asks all agents concerned whether a configuration could run,
// without changing anything.
type CheckRequest struct {
	ReqID
	Config *Configuration `zeek:"config,optional"` // nil: the staged configuration
}

// CheckResponse has a failed result for each problem: with NodeOutputs as its data
// if it names a node. Its last result is successful if there are no problems. Other
// successful results are remarks: a string as their data, and the instance.
type CheckResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// CheckCall declares CheckRequest and its response.
var CheckCall = many[CheckRequest, CheckResponse](Request{
	Name:    "check",
	Summary: "Check whether a configuration could run",
	API:     ControllerAPI,
	Effect:  Reads,
	Long:    true,
	Data:    deploymentData,
	Forms:   []Form{operations("check")},
})

// UploadSiteRequest sends the controller a part of a packed site. A request without
// data asks how much of the site the controller has.
type UploadSiteRequest struct {
	ReqID
	SitePart
}

// UploadSiteResponse has a SiteProgress as its data.
type UploadSiteResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// UploadSiteCall declares UploadSiteRequest and its response.
var UploadSiteCall = single[UploadSiteRequest, UploadSiteResponse](Request{
	Name:    "upload_site",
	Summary: "Send the controller a part of a site",
	API:     ControllerAPI,
	Effect:  Changes,
	Data:    dataOf[SiteProgress](),
	Forms:   []Form{operations("upload_site")},
})

// DownloadSiteRequest gets a part of a packed site that the controller has.
type DownloadSiteRequest struct {
	ReqID
	Site   string `zeek:"site"`
	Offset uint64 `zeek:"offset"` // in bytes
}

// DownloadSiteResponse has a SitePart as its data. It is shorter than
// MaxSitePart only at the end of the site.
type DownloadSiteResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// DownloadSiteCall declares DownloadSiteRequest and its response.
var DownloadSiteCall = single[DownloadSiteRequest, DownloadSiteResponse](Request{
	Name:    "download_site",
	Summary: "Get a part of a site from the controller",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[SitePart](),
	Forms:   []Form{operations("download_site")},
})

// HistoryRequest lists the most recent deployments of clients.
type HistoryRequest struct {
	ReqID
	Limit uint64 `zeek:"limit"` // largest number of entries; 0: no limit
}

// HistoryResponse has []Deployment as its data, the newest first.
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
	Data:    dataOf[[]Deployment](),
	Forms:   []Form{operations("history")},
})

// GetPastRequest gets the configuration of an earlier deployment.
type GetPastRequest struct {
	ReqID
	Number uint64 `zeek:"number"` // number of the deployment
}

// GetPastResponse has a Configuration as its data.
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
	Data:    dataOf[Configuration](),
	Forms:   []Form{operations("get_past")},
})

// RollbackRequest deploys the configuration of an earlier deployment.
type RollbackRequest struct {
	ReqID
	Number uint64 `zeek:"number"` // number of the deployment; 0: the newest one that succeeded with another configuration than the target
	DeployOptions
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
	Data:    deploymentData,
	Forms:   []Form{operations("rollback")},
})

// DrainRequest stops all nodes of an instance or, with Drain false, starts them
// again. The configuration does not change. The response comes when the nodes have
// ended. After the request's timeout it names those that still run.
type DrainRequest struct {
	ReqID
	Instance string `zeek:"instance"`
	Drain    bool   `zeek:"drain"`
}

// DrainResponse has the results of the agent. If the agent is not connected, a
// drain succeeds at once: the data of its result is a remark, a string.
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
	Data:    deploymentData,
	Forms:   []Form{operations("drain")},
})

// StopRequest stops nodes until they are started or, with Stop false, starts nodes that
// were stopped. The configuration does not change. A stopped node stays stopped over
// deployments, and over restarts of the controller and of agents. The response comes
// when the nodes have ended, or run. After the request's timeout it names those that
// do not.
type StopRequest struct {
	ReqID
	Nodes []string `zeek:"nodes,set"`
	All   bool     `zeek:"all"` // all nodes, without names
	Stop  bool     `zeek:"stop"`
}

// StopResponse has a result for each node. With All, starts leave out the nodes that
// are not stopped.
type StopResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// StopCall declares StopRequest and its response.
var StopCall = many[StopRequest, StopResponse](Request{
	Name:    "stop",
	Summary: "Stop nodes, or start nodes that were stopped",
	API:     ControllerAPI,
	Effect:  Changes,
	Long:    true,
	Forms:   []Form{operations("stop")},
})

// RollingRestartRequest restarts nodes a few at a time, in the order loggers,
// managers, proxies, workers. The next nodes are restarted when those before them
// run.
type RollingRestartRequest struct {
	ReqID
	Nodes  []string      `zeek:"nodes,set"` // empty: all nodes
	Roles  []ClusterRole `zeek:"roles,set"` // empty: all roles
	AtOnce uint64        `zeek:"at_once"`   // nodes restarted at the same time; 0: one
}

// RollingRestartResponse has a Job as its data. It comes before the first restart:
// events and the status report the progress.
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
	Data:    dataOf[Job](),
	Forms:   []Form{operations("rolling_restart")},
})

// CancelJobRequest ends the current job after the nodes that it is restarting.
type CancelJobRequest struct{ ReqID }

// CancelJobResponse has the Job as its data.
type CancelJobResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// CancelJobCall declares CancelJobRequest and its response.
var CancelJobCall = single[CancelJobRequest, CancelJobResponse](Request{
	Name:    "cancel_job",
	Summary: "End the current job after its current nodes",
	API:     ControllerAPI,
	Effect:  Changes,
	Data:    dataOf[Job](),
	Forms:   []Form{operations("cancel_job")},
})

// EventsRequest lists the events that the controller has kept.
type EventsRequest struct {
	ReqID
	After uint64 `zeek:"after"` // only events with a greater number
	Limit uint64 `zeek:"limit"` // only the newest of them; 0: no limit
}

// EventsResponse has []ClusterEvent as its data, the oldest first.
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
	Data:    dataOf[[]ClusterEvent](),
	Forms:   []Form{operations("events")},
})

// AlertsRequest gets the present alerts.
type AlertsRequest struct{ ReqID }

// AlertsResponse has Alerts as its data.
type AlertsResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AlertsCall declares AlertsRequest and its response.
var AlertsCall = single[AlertsRequest, AlertsResponse](Request{
	Name:    "alerts",
	Summary: "List the present alerts",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[Alerts](),
	Forms:   []Form{operations("alerts")},
})

// TestAlertsRequest sends a test notification by each channel.
type TestAlertsRequest struct{ ReqID }

// TestAlertsResponse has a result for each channel, with its name as data.
type TestAlertsResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// TestAlertsCall declares TestAlertsRequest and its response.
var TestAlertsCall = many[TestAlertsRequest, TestAlertsResponse](Request{
	Name:    "test_alerts",
	Summary: "Send a test notification by each channel",
	API:     ControllerAPI,
	Effect:  Changes,
	Data:    dataOf[string](),
	Forms:   []Form{operations("test_alerts")},
})

// LogsRequest gets the ends of a node's standard output and standard error.
type LogsRequest struct {
	ReqID
	Node  string `zeek:"node"`
	Bytes uint64 `zeek:"bytes"` // limit for each of the two, in bytes; 0: the agent's default
}

// LogsResponse has NodeLogs as its data.
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
	Data:    dataOf[NodeLogs](),
	Forms:   []Form{operations("logs")},
})

// DiagnoseRequest gets the Diagnosis of a node from its agent.
type DiagnoseRequest struct {
	ReqID
	Node  string `zeek:"node"`
	Bytes uint64 `zeek:"bytes"` // limit for each output and file, in bytes; 0: the agent's default
}

// DiagnoseResponse has a Diagnosis as its data.
type DiagnoseResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// DiagnoseCall declares DiagnoseRequest and its response.
var DiagnoseCall = single[DiagnoseRequest, DiagnoseResponse](Request{
	Name:    "diagnose",
	Summary: "Get the diagnosis of a node that has a problem",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[Diagnosis](),
	Forms:   []Form{operations("diagnose")},
})

// FiguresRequest gets the measurements of nodes and machines.
type FiguresRequest struct {
	ReqID

	// MaxAge is the largest age of measurements of nodes. If there are none that are
	// recent enough, the nodes are asked. Agents do not ask more than once a second.
	MaxAge time.Duration `zeek:"max_age"`
}

// FiguresResponse has Figures as its data.
type FiguresResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// FiguresCall declares FiguresRequest and its response.
var FiguresCall = single[FiguresRequest, FiguresResponse](Request{
	Name:    "figures",
	Summary: "Get the measurements of nodes and machines",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[Figures](),
	Forms:   []Form{operations("figures")},
})

// ScriptsRequest lists the scripts that running nodes have loaded.
type ScriptsRequest struct {
	ReqID
	Nodes []string `zeek:"nodes,set"` // empty: all nodes
	All   bool     `zeek:"all"`       // also the scripts of the Zeek installation
}

// ScriptsResponse has a result with NodeScripts as its data for each node, and failures.
type ScriptsResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// ScriptsCall declares ScriptsRequest and its response.
var ScriptsCall = many[ScriptsRequest, ScriptsResponse](Request{
	Name:    "scripts",
	Summary: "List the scripts that nodes have loaded",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[NodeScripts](),
	Forms:   []Form{operations("scripts")},
})

// CleanupRequest removes the leftovers of agents or, with DryRun, only lists them.
type CleanupRequest struct {
	ReqID
	Instances []string `zeek:"instances,set"` // empty: all of the cluster that are connected
	DryRun    bool     `zeek:"dry_run"`
}

// CleanupResponse has a result for each instance, with []Leftover as its data.
type CleanupResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// CleanupCall declares CleanupRequest and its response.
var CleanupCall = many[CleanupRequest, CleanupResponse](Request{
	Name:    "cleanup",
	Summary: "Remove files that agents no longer need",
	API:     ControllerAPI,
	Effect:  Changes,
	Long:    true,
	Data:    dataOf[[]Leftover](),
	Forms:   []Form{operations("cleanup")},
})

// EventReport publishes an event of the cluster as it happens.
type EventReport struct {
	OneWay `zeek:"-"`
	Event  ClusterEvent `zeek:"event"`
}

var _ = oneWay[EventReport](EventAPI, operations("cluster_event"))
