package zeekapi

import (
	"net/netip"
	"time"
)

// The records in this file are zeekwire's own. Zeek's APIs have no counterpart.

// Process describes a running controller or agent.
type Process struct {
	Name    string    `zeek:"name"`
	Version string    `zeek:"version"` // for example "zeekwire v1.2.0"
	Started time.Time `zeek:"started"`
}

// NodeDetail describes a node in more detail than NodeStatus.
type NodeDetail struct {
	Status    NodeStatus `zeek:"status"`
	Since     time.Time  `zeek:"since,optional"`      // time of the last change of state; zero: unknown
	Restarts  uint64     `zeek:"restarts"`            // restarts by the agent since the deployment
	CPU       float64    `zeek:"cpu"`                 // CPUs in use, such as 1.5; 0: unknown
	Memory    uint64     `zeek:"memory"`              // resident set size in bytes; 0: unknown
	LastError string     `zeek:"last_error,optional"` // most recent failure

	// Edited are the files that the node has loaded and that have changed on disk
	// since it started, without those of the Zeek installation.
	Edited []string `zeek:"edited,extension"`

	// The numbers of the node's processes; 0 means unknown.
	Threads uint64    `zeek:"threads,extension"`
	Files   uint64    `zeek:"files,extension"`   // open file descriptors
	Started time.Time `zeek:"started,extension"` // start of the process

	// Interface is the packet source from which the node should read, "" for none.
	Interface string `zeek:"interface,extension"`

	// Traffic and Connections are the latest measurements of the node, nil if there are
	// none. Silent is the reason why the node reports none; "" means that it does, or was
	// not asked yet.
	Traffic     *Traffic     `zeek:"traffic,extension"`
	Connections *Connections `zeek:"connections,extension"`
	Silent      string       `zeek:"silent,extension"`

	// StoppedBy is the client that stopped the node, at the time Since. It is "" unless
	// a client has stopped the node.
	StoppedBy string `zeek:"stopped_by,extension"`
}

// StoppedNode is a node that a client has stopped. It stays stopped until a client
// starts it.
type StoppedNode struct {
	Node  string    `zeek:"node"`
	By    string    `zeek:"by"` // the client
	Since time.Time `zeek:"since"`
}

// InstanceStatus is the controller's view of an instance.
type InstanceStatus struct {
	Instance  Instance     `zeek:"instance"`
	Connected bool         `zeek:"connected"`
	Since     time.Time    `zeek:"since,optional"` // time at which the agent connected or was lost; zero: it never connected
	Wanted    bool         `zeek:"wanted"`         // whether the target configuration contains it
	Ready     bool         `zeek:"ready"`          // whether its agent responded to the welcome
	Drained   bool         `zeek:"drained"`        // whether it was drained
	Dialects  []string     `zeek:"dialects"`       // names of the dialects that its agent speaks
	Agent     Process      `zeek:"agent,optional"` // zero unless the agent is ours
	Zeek      string       `zeek:"zeek,optional"`  // version of Zeek that its nodes run; "" unless the agent is ours
	LastError string       `zeek:"last_error,optional"`
	Nodes     []NodeDetail `zeek:"nodes"` // as reported by the agent; if it did not respond, the nodes of the target in state UNKNOWN

	// Refused are the addresses of connected peers that are refused because the
	// agent has their name, at most ten of them.
	Refused []string `zeek:"refused,extension"`

	// Zone is the zone of Instance.Host on the controller's machine, such as
	// "eth0", "" if it has none. Addresses of Zeek have no zones.
	Zone string `zeek:"zone,extension"`

	// Problems are those that its agent reports, sorted by Key.
	Problems []Problem `zeek:"problems,extension"`

	// Directories is the disk space of the agent, if a client has asked for it (Figures).
	// Controllers do not send it with the status.
	Directories []DirectorySpace `zeek:"-"`
}

// Host returns the address of the instance with its zone.
func (i InstanceStatus) Host() netip.Addr {
	if i.Zone == "" || !i.Instance.Host.Is6() {
		return i.Instance.Host
	}
	return i.Instance.Host.WithZone(i.Zone)
}

// NodeLogs has the ends of a node's outputs.
type NodeLogs struct {
	NodeOutputs

	// Remark explains outputs of a node that does not run, for example because its
	// instance is drained; "" if there is nothing to explain.
	Remark string `zeek:"remark,optional,trailing"`
}

// Diagnosis is the information of an agent about a node, for a report about a problem. Secrets are
// masked as far as they can be recognized, see package redact.
type Diagnosis struct {
	Instance string        `zeek:"instance"`
	Node     *Node         `zeek:"node,optional"`   // as configured; nil: it is not assigned to the instance
	Detail   *NodeDetail   `zeek:"detail,optional"` // nil: it neither runs nor should
	Crashes  []CrashReport `zeek:"crashes"`         // the newest first
	Outputs  NodeOutputs   `zeek:"outputs"`
	Facts    []Fact        `zeek:"facts"`   // about the machine, the agent and the process
	Scripts  []string      `zeek:"scripts"` // loaded files, in order
	Limits   string        `zeek:"limits"`  // resource limits of the process, or of the agent, as in /proc/PID/limits
	Files    []NodeFile    `zeek:"files"`   // further files of the node
	Remark   string        `zeek:"remark,optional"`
}

// Fact is a property of a machine or a process.
type Fact struct {
	Name  string `zeek:"name"`
	Value string `zeek:"value"`
}

// FactNodeArgs is the name of the fact with the arguments of zeek that all nodes of an agent
// have, quoted as for a shell.
const FactNodeArgs = "node-args"

// NodeFile is the end of a file of a node.
type NodeFile struct {
	Name string `zeek:"name"`
	Size uint64 `zeek:"size"` // of the whole file, in bytes
	Data string `zeek:"data,base64"`
}

// Leftover is a file or directory of an agent that is no longer needed.
type Leftover struct {
	Path  string    `zeek:"path"`
	Kind  string    `zeek:"kind"` // one of the Leftover constants
	Bytes uint64    `zeek:"bytes"`
	Since time.Time `zeek:"since,optional"` // of the last change
	Error string    `zeek:"error,optional"` // why it was not removed
}

// The kinds of leftovers.
const (
	LeftoverNode  = "node"  // directory of a node that is not part of the cluster any more
	LeftoverSite  = "site"  // site that no node uses
	LeftoverCrash = "crash" // reports about crashes of such a node
	LeftoverCore  = "core"  // core file of a node
	LeftoverCheck = "check" // files of a check that did not end
	LeftoverTemp  = "temp"  // incomplete file
)

// DeployOptions tell how a deployment deals with problems. The zero DeployOptions
// refuse a configuration in which the agents find a problem, and roll back a
// deployment that does not come up.
type DeployOptions struct {
	Force      bool `zeek:"force,extension"`       // do not check, and restart all nodes, even those that did not change
	Partial    bool `zeek:"partial,extension"`     // deploy what passes the check
	NoRollback bool `zeek:"no_rollback,extension"` // leave a deployment that does not come up as it is
}

// SitePart is a part of a packed site, which is compressed. See package site.
type SitePart struct {
	Site   string `zeek:"site"`        // see Configuration.Site
	Size   uint64 `zeek:"size"`        // of the whole packed site, in bytes
	Offset uint64 `zeek:"offset"`      // of Data, in bytes
	Data   string `zeek:"data,base64"` // at most MaxSitePart bytes
}

// MaxSitePart is the size of the largest part of a site in one message, in bytes.
const MaxSitePart = 512 << 10

// SiteProgress tells how much of a packed site a controller or an agent has. Parts
// are sent in order: the next one begins at Have.
type SiteProgress struct {
	Have     uint64 `zeek:"have"`     // bytes
	Complete bool   `zeek:"complete"` // it has the whole site, and the hash is right
}

// Outcome is the outcome of a deployment.
type Outcome string

// The outcomes.
const (
	OutcomePending    Outcome = "pending"     // not finished
	OutcomeDeployed   Outcome = "deployed"    // all nodes run
	OutcomeFailed     Outcome = "failed"      // all agents responded, some nodes do not run
	OutcomeTimeout    Outcome = "timeout"     // not all agents responded in time
	OutcomeSuperseded Outcome = "superseded"  // replaced by a newer deployment, after a restart of the controller
	OutcomeLost       Outcome = "lost"        // the controller ended before the deployment changed anything
	OutcomeRefused    Outcome = "refused"     // the check found problems, nothing was changed
	OutcomeRolledBack Outcome = "rolled back" // some nodes did not come up, and the configuration before was deployed again
)

// Deployment is an attempt to bring the cluster to a configuration: an entry in its
// history.
type Deployment struct {
	Number  uint64    `zeek:"number"` // 1 for the first deployment
	Config  string    `zeek:"config"` // ID of the configuration
	Action  string    `zeek:"action"` // "deploy", "force", "partial", "rollback", "set-configuration"
	By      string    `zeek:"by"`     // the client
	Started time.Time `zeek:"started"`
	Ended   time.Time `zeek:"ended,optional"` // zero: not finished
	Outcome Outcome   `zeek:"outcome"`
	Errors  []string  `zeek:"errors"`
}

// Job is a long operation of the controller: a rolling restart.
type Job struct {
	Number  uint64    `zeek:"number"`
	By      string    `zeek:"by"`
	Started time.Time `zeek:"started"`
	Ended   time.Time `zeek:"ended,optional"` // zero: not finished
	Done    []string  `zeek:"done"`           // restarted nodes, in order
	Now     []string  `zeek:"now"`            // nodes that are being restarted
	Next    []string  `zeek:"next"`           // nodes yet to be restarted
	Error   string    `zeek:"error,optional"` // reason for an early end
}

// Status is the state of a whole cluster.
type Status struct {
	Controller Process          `zeek:"controller"`
	Staged     string           `zeek:"staged,optional"`   // ID of the staged configuration
	Deployed   string           `zeek:"deployed,optional"` // ID of the last configuration for which all agents responded
	Target     string           `zeek:"target,optional"`   // ID of the configuration that should run
	Last       *Deployment      `zeek:"last,optional"`     // last deployment of a client
	Job        *Job             `zeek:"job,optional"`      // last job
	Instances  []InstanceStatus `zeek:"instances"`         // instances of the target, connected and drained ones, sorted by name

	// Storage is why the controller cannot store changes, and therefore refuses them.
	// It is empty if the controller can.
	Storage string `zeek:"storage,extension"`

	// Exposure lists the peers that may command the controller. It is nil if the
	// controller does not report that.
	Exposure *Exposure `zeek:"exposure,extension"`

	// Controllers are all controllers that share their state, the leader first. It is
	// empty if there is only one.
	Controllers []ControllerMember `zeek:"controllers,extension"`

	// Term is the term of the leader, 0 if there is none.
	Term uint64 `zeek:"term,extension"`

	// AsOf is the time of the status. It is zero for the present status, from a controller
	// that leads and asks the agents. A controller that stands by knows only the stored
	// state, and no states of nodes.
	AsOf time.Time `zeek:"as_of,extension"`
}

// Exposure says who can reach a service, and what they may do there.
type Exposure struct {
	Ports    []ExposedPort `zeek:"ports"`
	Warnings []string      `zeek:"warnings"` // dangerous or contradictory settings, each with what to do
}

// ExposedPort is a port of a service, or a connection that the service opens.
type ExposedPort struct {
	Purpose string         `zeek:"purpose"` // "agents and native clients"
	Address string         `zeek:"address"`
	TLS     string         `zeek:"tls"`
	Peers   []ExposedPeers `zeek:"peers"`
}

// ExposedPeers are the peers at a port that have the same permissions.
type ExposedPeers struct {
	Who      string `zeek:"who"`      // Anybody, or whoever proves something
	May      string `zeek:"may"`      // "read and change everything"
	Commands bool   `zeek:"commands"` // they may change what runs in the cluster
}

// Anybody is ExposedPeers.Who for all that can reach a port.
const Anybody = "anybody"

// Open returns the addresses at which anybody may change what runs in the cluster.
func (e Exposure) Open() []string {
	var open []string
	for _, port := range e.Ports {
		for _, p := range port.Peers {
			if p.Commands && p.Who == Anybody {
				open = append(open, port.Address)
			}
		}
	}
	return open
}

// Change describes how a configuration changes an instance or a node.
type Change struct {
	Name   string        `zeek:"name"`
	Kind   string        `zeek:"kind"` // "added", "removed", "changed" or "kept"
	Fields []FieldChange `zeek:"fields"`
}

// FieldChange is a changed field.
type FieldChange struct {
	Field string `zeek:"field"`
	Old   string `zeek:"old"`
	New   string `zeek:"new"`
}

// Diff lists the changes that deploying a configuration would make.
type Diff struct {
	From      string   `zeek:"from,optional"` // ID of the configuration that should run now
	To        string   `zeek:"to"`
	Instances []Change `zeek:"instances"`
	Nodes     []Change `zeek:"nodes"`
	Missing   []string `zeek:"missing"` // instances without a connected agent
}

// ClusterEvent is an event that the controller reports about the cluster.
type ClusterEvent struct {
	Number   uint64    `zeek:"number"` // one greater than that of the previous event
	Time     time.Time `zeek:"time"`
	Kind     string    `zeek:"kind"` // one of the Event constants
	Instance string    `zeek:"instance,optional"`
	Node     string    `zeek:"node,optional"`
	Text     string    `zeek:"text"` // readable text; for EventState the new state

	// Subject is what the event is about, if there can be several: the kind and subject
	// of the Problem for EventProblem and EventSolved, the Outcome for EventDeployed, and
	// the rule for EventAlert and EventResolved. "" for other events.
	Subject string `zeek:"subject,extension"`
}

// The kinds of events.
const (
	EventConnected = "connected" // an agent connected
	EventLost      = "lost"      // an agent was lost
	EventState     = "state"     // a node changed its state
	EventError     = "error"     // an agent reported an error
	EventLog       = "log"       // an agent sent a log message
	EventStaged    = "staged"    // a configuration was staged
	EventDeploying = "deploying" // a deployment began
	EventDeployed  = "deployed"  // a deployment ended, with any outcome
	EventDrained   = "drained"   // an instance was drained
	EventUndrained = "undrained" // an instance was undrained
	EventStopped   = "stopped"   // a client stopped nodes
	EventStarted   = "started"   // a client started nodes that were stopped
	EventJob       = "job"       // progress of a job
	EventProblem   = "problem"   // an agent noticed a Problem
	EventSolved    = "solved"    // a Problem has ended
	EventAlert     = "alert"     // operators were notified of a problem of the cluster
	EventResolved  = "resolved"  // operators were notified of its end
	EventLeader    = "leader"    // another controller has become the leader
	EventStorage   = "storage"   // the controller can no longer store changes, or can again
)
