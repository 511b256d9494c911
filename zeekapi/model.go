package zeekapi

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/zeekwire/zeekwire/broker"
)

// The struct tags below are the record layouts of the Management dialect as of
// Zeek 7.0. Earlier versions omit and ignore the trailing metrics ports. (Zeek: policy/frameworks/management/types.zeek)

// State is the state of a node, as its agent reports it.
type State string

// The states. Zeek's own agent only ever reports PENDING and RUNNING.
const (
	StatePending State = "PENDING" // started, but has not said hello
	StateRunning State = "RUNNING"
	StateStopped State = "STOPPED" // stopped by its agent
	StateFailed  State = "FAILED"  // not restarted any more after repeated failures
	StateCrashed State = "CRASHED" // ended by itself, will be restarted
	StateUnknown State = "UNKNOWN"
)

// Valid reports whether s is one of the six states.
func (s State) Valid() bool {
	switch s {
	case StatePending, StateRunning, StateStopped, StateFailed, StateCrashed, StateUnknown:
		return true
	}
	return false
}

// ClusterRole is the role of a node in its Zeek cluster.
type ClusterRole string

// The cluster roles, in the order in which ports are assigned to them.
const (
	RoleNone    ClusterRole = "NONE"
	RoleManager ClusterRole = "MANAGER"
	RoleLogger  ClusterRole = "LOGGER"
	RoleProxy   ClusterRole = "PROXY"
	RoleWorker  ClusterRole = "WORKER"
)

// Valid reports whether r is one of the five roles.
func (r ClusterRole) Valid() bool {
	switch r {
	case RoleNone, RoleManager, RoleLogger, RoleProxy, RoleWorker:
		return true
	}
	return false
}

// ManagementRole is the role of a process in cluster management.
type ManagementRole string

// The management roles.
const (
	ManagementNone       ManagementRole = "NONE"
	ManagementAgent      ManagementRole = "AGENT"
	ManagementController ManagementRole = "CONTROLLER"
	ManagementNode       ManagementRole = "NODE"
)

// Valid reports whether r is one of the four roles.
func (r ManagementRole) Valid() bool {
	switch r {
	case ManagementNone, ManagementAgent, ManagementController, ManagementNode:
		return true
	}
	return false
}

// Option is a setting of a node. Zeek ignores it.
type Option struct {
	Name  string `zeek:"name"`
	Value string `zeek:"value"`
}

// Instance is a machine that can run nodes. It has the name of its agent.
type Instance struct {
	Name string `zeek:"name"`

	// Host is the address of the instance. For an agent that connects to the
	// controller it is 0.0.0.0 until the controller fills it in.
	Host netip.Addr `zeek:"host"`

	// Port is the port at which the agent listens for the controller. With the
	// zero Port the agent connects to the controller.
	Port broker.Port `zeek:"listen_port,optional"`
}

// Connects reports whether the agent connects to the controller, rather than
// the controller to the agent.
func (i Instance) Connects() bool { return i.Port.Number == 0 }

// Node is the configuration of a Zeek process.
type Node struct {
	Name     string      `zeek:"name"`
	Instance string      `zeek:"instance"`
	Role     ClusterRole `zeek:"role,enum=Supervisor"`
	State    State       `zeek:"state,enum=Management,default=PENDING"` // required on the wire, but never read; "" is sent as PENDING

	Port        broker.Port       `zeek:"p,optional"` // Broker port; zero: does not listen, or not assigned yet
	Scripts     []string          `zeek:"scripts,optional"`
	Options     []Option          `zeek:"options,optional,set"`
	Interface   string            `zeek:"interface,optional"`
	CPUAffinity *int64            `zeek:"cpu_affinity,optional"`
	Env         map[string]string `zeek:"env"`
	MetricsPort broker.Port       `zeek:"metrics_port,optional,trailing"`
}

// Configuration describes a cluster: its instances and their nodes. Zeek's agents
// treat two configurations with the same ID as equal.
type Configuration struct {
	ID        string     `zeek:"id"`
	Instances []Instance `zeek:"instances,set"`
	Nodes     []Node     `zeek:"nodes,set"`

	// Site identifies the site whose scripts the nodes load: the SHA-256 of its
	// canonical archive, before compression, in lower-case hexadecimal digits; ""
	// for none. See package site. Only our controllers and agents know sites.
	Site string `zeek:"site,extension"`
}

// Instance returns the instance with that name.
func (c Configuration) Instance(name string) (Instance, bool) {
	for _, i := range c.Instances {
		if i.Name == name {
			return i, true
		}
	}
	return Instance{}, false
}

// NodesOn returns the nodes of an instance, sorted by name.
func (c Configuration) NodesOn(instance string) []Node {
	var nodes []Node
	for _, n := range c.Nodes {
		if n.Instance == instance {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, byNodeName)
	return nodes
}

// NodesByInstance returns the nodes of each instance, sorted by name, nil if there are none.
func (c Configuration) NodesByInstance() map[string][]Node {
	nodes := make(map[string][]Node, len(c.Instances))
	for _, i := range c.Instances {
		nodes[i.Name] = nil
	}
	for _, n := range c.Nodes {
		nodes[n.Instance] = append(nodes[n.Instance], n)
	}
	for _, of := range nodes {
		slices.SortFunc(of, byNodeName)
	}
	return nodes
}

func byNodeName(a, b Node) int { return cmp.Compare(a.Name, b.Name) }

// NodeStatus is the state of a process on an instance.
type NodeStatus struct {
	Node           string         `zeek:"node"`
	State          State          `zeek:"state,enum=Management"`
	ManagementRole ManagementRole `zeek:"mgmt_role,enum=Management"`
	ClusterRole    ClusterRole    `zeek:"cluster_role,enum=Supervisor"`
	PID            int64          `zeek:"pid,optional"` // 0: unknown
	Port           broker.Port    `zeek:"p,optional"`
	MetricsPort    broker.Port    `zeek:"metrics_port,optional,trailing"`
}

// NodeOutputs has the output of a node.
type NodeOutputs struct {
	Stdout string `zeek:"stdout"`
	Stderr string `zeek:"stderr"`
}

// Result is the outcome of a request, or of its part that concerns one instance or
// node.
type Result struct {
	ReqID    string `zeek:"reqid"`
	Success  bool   `zeek:"success"`
	Instance string `zeek:"instance,optional"`

	// Data depends on the request: see its response. For a node that failed in a
	// deployment it is NodeOutputs. It may be none.
	Data  broker.Value `zeek:"data,optional"`
	Error string       `zeek:"error,optional"`
	Node  string       `zeek:"node,optional"`
}

// Failure returns a failed result that concerns no single instance or node.
func Failure(reqID, format string, args ...any) Result {
	return Result{ReqID: reqID, Error: fmt.Sprintf(format, args...)}
}

// ErrorTimeout is the error text of a request that timed out.
const ErrorTimeout = "request timed out"

// Error texts of deployments by our controller.
const (
	// ErrorContinues is part of the text after ErrorTimeout if the controller
	// continues the deployment. The history then has its outcome.
	ErrorContinues = "goes on"

	// ErrorRefused is the text of a deployment whose check found problems.
	ErrorRefused = "the deployment is refused, nothing has changed"

	// ErrorReplaced is the text of a refused request that expects another staged
	// configuration.
	ErrorReplaced = "another configuration has been staged in the meantime"
)
