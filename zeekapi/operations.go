package zeekapi

import "time"

// The messages in this file are zeekwire's own. They carry what Zeek's APIs
// have no event for, and travel in the dialect of package operations, on
// topics that no Zeek listens to.

// Process is a program of cluster management.
type Process struct {
	Name    string    `zeek:"name"`
	Version string    `zeek:"version"` // such as "zeekwire v1.2.0"
	Started time.Time `zeek:"started"`
}

// NodeDetail is a node as its agent knows it, beyond what Zeek's API can say.
type NodeDetail struct {
	Status    NodeStatus `zeek:"status"`
	Since     time.Time  `zeek:"since,optional"`      // when it got into its state; zero: not known
	Restarts  uint64     `zeek:"restarts"`            // by its agent, since the agent or the deployment began
	CPU       float64    `zeek:"cpu"`                 // processors in use, 1.5 is one and a half; 0: not known
	Memory    uint64     `zeek:"memory"`              // resident bytes; 0: not known
	LastError string     `zeek:"last_error,optional"` // what was last wrong with it
}

// InstanceStatus is an instance as the controller sees it.
type InstanceStatus struct {
	Instance  Instance     `zeek:"instance"`
	Connected bool         `zeek:"connected"`
	Since     time.Time    `zeek:"since,optional"` // when the agent came, or went missing; zero: it never came
	Wanted    bool         `zeek:"wanted"`         // the cluster has it
	Ready     bool         `zeek:"ready"`          // its agent answered our welcome
	Drained   bool         `zeek:"drained"`        // told to run nothing
	Dialects  []string     `zeek:"dialects"`       // that its agent speaks
	Agent     Process      `zeek:"agent,optional"` // only our agents say
	Zeek      string       `zeek:"zeek,optional"`  // version that its nodes run; only our agents say
	LastError string       `zeek:"last_error,optional"`
	Nodes     []NodeDetail `zeek:"nodes"` // as the agent says; if it did not answer, those that it should run, UNKNOWN
}

// Outcome says how a deployment went.
type Outcome string

// The outcomes.
const (
	OutcomePending    Outcome = "pending"    // still under way
	OutcomeDeployed   Outcome = "deployed"   // all nodes run
	OutcomeFailed     Outcome = "failed"     // all agents answered, some nodes do not run
	OutcomeTimeout    Outcome = "timeout"    // not all agents answered in time
	OutcomeSuperseded Outcome = "superseded" // a newer deployment took its place
	OutcomeLost       Outcome = "lost"       // the controller ended before it did
)

// Deployment is an entry in the history of a cluster.
type Deployment struct {
	Number  uint64    `zeek:"number"` // 1 for the first
	Config  string    `zeek:"config"` // ID of the configuration
	Action  string    `zeek:"action"` // "deploy", "force", "rollback", "set-configuration"
	By      string    `zeek:"by"`     // who asked
	Started time.Time `zeek:"started"`
	Ended   time.Time `zeek:"ended,optional"` // zero: under way
	Outcome Outcome   `zeek:"outcome"`
	Errors  []string  `zeek:"errors"`
}

// Job is something that the controller does by and by: a rolling restart.
type Job struct {
	Number  uint64    `zeek:"number"`
	By      string    `zeek:"by"`
	Started time.Time `zeek:"started"`
	Ended   time.Time `zeek:"ended,optional"` // zero: under way
	Done    []string  `zeek:"done"`           // nodes, in order
	Now     []string  `zeek:"now"`
	Next    []string  `zeek:"next"`
	Error   string    `zeek:"error,optional"` // why it ended early
}

// Status is a cluster in one view.
type Status struct {
	Controller Process          `zeek:"controller"`
	Staged     string           `zeek:"staged,optional"`   // ID of the staged configuration
	Deployed   string           `zeek:"deployed,optional"` // ID of the one that all agents last answered for
	Target     string           `zeek:"target,optional"`   // ID of the one that should run
	Last       *Deployment      `zeek:"last,optional"`     // the last deployment of a client
	Job        *Job             `zeek:"job,optional"`      // the last one
	Instances  []InstanceStatus `zeek:"instances"`         // wanted or connected, by name
}

// Change says what becomes of an instance or node with a configuration.
type Change struct {
	Name   string        `zeek:"name"`
	Kind   string        `zeek:"kind"` // "added", "removed", "changed" or "kept"
	Fields []FieldChange `zeek:"fields"`
}

// FieldChange is a field that differs.
type FieldChange struct {
	Field string `zeek:"field"`
	Old   string `zeek:"old"`
	New   string `zeek:"new"`
}

// Diff is what a configuration would change if it were deployed.
type Diff struct {
	From      string   `zeek:"from,optional"` // ID of what should run now
	To        string   `zeek:"to"`
	Instances []Change `zeek:"instances"`
	Nodes     []Change `zeek:"nodes"`
	Missing   []string `zeek:"missing"` // instances whose agents are not connected
}

// ClusterEvent is an event in the life of a cluster.
type ClusterEvent struct {
	Number   uint64    `zeek:"number"` // one more than the event before
	Time     time.Time `zeek:"time"`
	Kind     string    `zeek:"kind"` // one of the Event constants
	Instance string    `zeek:"instance,optional"`
	Node     string    `zeek:"node,optional"`
	Text     string    `zeek:"text"` // for people; of EventState the new state
}

// The kinds of events.
const (
	EventConnected = "connected" // an agent came
	EventLost      = "lost"      // an agent went
	EventState     = "state"     // a node changed its state
	EventError     = "error"     // an agent reports an error
	EventLog       = "log"       // an agent has a message
	EventStaged    = "staged"
	EventDeploying = "deploying"
	EventDeployed  = "deployed" // a deployment ended, for better or worse
	EventDrained   = "drained"
	EventUndrained = "undrained"
	EventJob       = "job" // progress of a job
)

// Between clients and the controller.
type (
	// StatusRequest asks for everything at once.
	StatusRequest struct{ ReqID }

	// StatusResponse has a Status for data.
	StatusResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// DryRunRequest asks what deploying a configuration would change. It
	// changes nothing.
	DryRunRequest struct {
		ReqID
		Config Configuration `zeek:"config"`
	}

	// DryRunResponse has one result per error, or a single one with a Diff
	// for data.
	DryRunResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// ForceDeployRequest deploys what is staged and starts all nodes anew,
	// also those that run what they should.
	ForceDeployRequest struct{ ReqID }

	// ForceDeployResponse is like DeployResponse.
	ForceDeployResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// HistoryRequest asks for the last deployments of clients.
	HistoryRequest struct {
		ReqID
		Limit uint64 `zeek:"limit"` // 0: as many as are kept
	}

	// HistoryResponse has []Deployment for data, the newest first.
	HistoryResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// GetPastRequest asks for the configuration of a deployment.
	GetPastRequest struct {
		ReqID
		Number uint64 `zeek:"number"`
	}

	// GetPastResponse has a Configuration for data.
	GetPastResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// RollbackRequest deploys the configuration of an earlier deployment.
	RollbackRequest struct {
		ReqID
		Number uint64 `zeek:"number"` // 0: the last deployed one that differs from what should run now
	}

	// RollbackResponse is like DeployResponse.
	RollbackResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// DrainRequest has an instance run nothing, and with Drain false what it
	// should again. The configuration stays as it is. The answer comes when its
	// nodes are gone, or with those that are not when time is up.
	DrainRequest struct {
		ReqID
		Instance string `zeek:"instance"`
		Drain    bool   `zeek:"drain"`
	}

	// DrainResponse has the results of the instance's agent.
	DrainResponse struct {
		ReqID
		Results []Result `zeek:"results"`
	}

	// RollingRestartRequest restarts nodes by and by: loggers, managers,
	// proxies, workers, a few at once, and the next ones when those before
	// them run.
	RollingRestartRequest struct {
		ReqID
		Nodes  []string      `zeek:"nodes,set"` // all if none are named
		Roles  []ClusterRole `zeek:"roles,set"` // any if none are named
		AtOnce uint64        `zeek:"at_once"`   // 0: one
	}

	// RollingRestartResponse comes at once, and has a Job for data. Events
	// and Status tell of its progress.
	RollingRestartResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// CancelJobRequest ends the job under way after the nodes that it is at.
	CancelJobRequest struct{ ReqID }

	// CancelJobResponse has the Job for data.
	CancelJobResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// EventsRequest asks for events that the controller kept.
	EventsRequest struct {
		ReqID
		After uint64 `zeek:"after"` // those with a greater number
		Limit uint64 `zeek:"limit"` // the last so many; 0: as many as are kept
	}

	// EventsResponse has []Event for data, the oldest first.
	EventsResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// LogsRequest asks for the ends of what a node wrote to its standard
	// output and error.
	LogsRequest struct {
		ReqID
		Node  string `zeek:"node"`
		Bytes uint64 `zeek:"bytes"` // at most so many of each; 0: as the agent likes
	}

	// LogsResponse has NodeOutputs for data. The error of a success is a remark,
	// such as that the node does not run because its instance is drained.
	LogsResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// EventReport is how the controller tells of a event as it happens.
	EventReport struct {
		OneWay `zeek:"-"`
		Event  ClusterEvent `zeek:"event"`
	}
)

// Between the controller and our agents.
type (
	// AgentDescription follows an agent's hello.
	AgentDescription struct {
		OneWay     `zeek:"-"`
		Instance   string  `zeek:"instance"`
		Agent      Process `zeek:"agent"`
		Zeek       string  `zeek:"zeek"` // version that the nodes run, "" if not known
		LayoutForm uint64  `zeek:"layout_form"`
	}

	// AgentDeployNodesRequest is AgentDeployRequest with what concerns the
	// agent: its own nodes in full, and of the others what the nodes must know.
	// It is for agents that describe themselves with our LayoutForm, and is
	// answered with AgentDeployResponse.
	AgentDeployNodesRequest struct {
		ReqID
		Config string       `zeek:"config"` // ID of the configuration
		Nodes  []Node       `zeek:"nodes"`  // of the instance, by name
		Layout PackedLayout `zeek:"layout"` // of the cluster, with those nodes
		Force  bool         `zeek:"force"`
	}

	// AgentStatusRequest asks for the nodes of the instance in detail.
	AgentStatusRequest struct{ ReqID }

	// AgentStatusResponse has []NodeDetail for data.
	AgentStatusResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}

	// AgentLogsRequest is LogsRequest on its way to the agent.
	AgentLogsRequest struct {
		ReqID
		Node  string `zeek:"node"`
		Bytes uint64 `zeek:"bytes"`
	}

	// AgentLogsResponse has NodeOutputs for data.
	AgentLogsResponse struct {
		ReqID
		Result Result `zeek:"result"`
	}
)
