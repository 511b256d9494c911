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
