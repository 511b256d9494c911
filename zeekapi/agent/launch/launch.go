// Package launch is what an agent needs of whatever runs its nodes: package
// zeek starts real processes, package simulated only pretends.
package launch

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Launcher starts and stops nodes and reports what becomes of them. It starts
// nothing by itself: a node that died stays dead until the agent says
// otherwise.
//
// Start and Stop do not block. All methods may be called from any goroutine,
// Next from one at a time.
type Launcher interface {
	// Start starts a node. What comes of it, even that it could not be
	// started, is reported as events, the last of which is Exited; until then
	// the name is taken and Start on it does nothing.
	Start(Node)

	// Stop has a node end. Patience with one that does not is the launcher's
	// business; in the end there is an Exited event. Stop on a name that is
	// not taken does nothing.
	Stop(name string)

	// Next waits for the next event. Events of one node come in order. After
	// Close it returns what is left and then broker.ErrClosed.
	Next(context.Context) (Event, error)

	// Close stops all nodes and waits for them, kills those that still run
	// when ctx ends, and waits for the launcher's goroutines. Nodes that
	// somebody else keeps running, such as Zeek's Supervisor, are left to it.
	Close(ctx context.Context) error
}

// Adopter is a Launcher that may find nodes running that an earlier agent
// started. Such a node is as good as started by Start with what it runs as;
// Start with anything else replaces it.
type Adopter interface {
	// Keep has those of the found nodes end that are not named. The agent
	// calls it whenever it learns what should run, before any Start, and not
	// before: an agent that knows nothing must not end what runs well.
	Keep(names []string)
}

// Dispatcher is a Launcher whose nodes are not on the agent's bus: it hands
// them requests itself. Each node named must be answered for with an Answered
// event.
type Dispatcher interface {
	Dispatch(zeekapi.NodeDispatchRequest)
}

// Event is one of Started, Up, Revived, Exited and Answered.
type Event interface{ event() }

// Started says that a node runs, as the process PID.
type Started struct {
	Node string
	PID  int64
}

// Up says that a node has introduced itself. Nodes that do so on the agent's
// bus, with a zeekapi.NodeHello, need no Up.
type Up struct{ Node string }

// Revived says that a node died, and that whoever runs it for the launcher has
// started it again, as the process PID. It counts as a death and needs no
// Start.
type Revived struct {
	Node    string
	PID     int64
	Outputs zeekapi.NodeOutputs
}

// Exited says that a node is gone, with all its processes.
type Exited struct {
	Node    string
	Err     error // nil if it ended without complaint
	Outputs zeekapi.NodeOutputs
}

// Answered is a node's answer to what was dispatched to it.
type Answered struct{ Response zeekapi.NodeDispatchResponse }

func (Started) event()  {}
func (Up) event()       {}
func (Revived) event()  {}
func (Exited) event()   {}
func (Answered) event() {}

// Node is all there is to know for starting a node.
type Node struct {
	zeekapi.Node

	// Cluster is the whole cluster with the node itself, sorted by name.
	Cluster []Member
}

// Member is a node as the other nodes of its cluster know it.
type Member struct {
	Name        string
	Role        zeekapi.ClusterRole
	Host        netip.Addr
	Port        broker.Port // zero: does not listen
	MetricsPort broker.Port // zero: has no metrics
}

// Equal reports whether a node that runs as n may stay when it should run as
// o. What Zeek does not act on, options and state, does not count. The cluster
// counts in full: a node reads it once, when it starts.
func (n Node) Equal(o Node) bool {
	return n.Name == o.Name && n.Instance == o.Instance && n.Role == o.Role &&
		n.Port == o.Port && n.MetricsPort == o.MetricsPort && n.Interface == o.Interface &&
		slices.Equal(n.Scripts, o.Scripts) &&
		maps.Equal(n.Env, o.Env) &&
		(n.CPUAffinity == nil) == (o.CPUAffinity == nil) &&
		(n.CPUAffinity == nil || *n.CPUAffinity == *o.CPUAffinity) &&
		slices.Equal(n.Cluster, o.Cluster)
}

// Manager returns the name of the cluster's manager, the first if there are
// several, and "" if there is none.
func (n Node) Manager() string {
	for _, m := range n.Cluster {
		if m.Role == zeekapi.RoleManager {
			return m.Name
		}
	}
	return ""
}

// Compare orders nodes as they are best started: loggers, managers, proxies,
// workers, so that each finds whom it connects to.
func Compare(a, b Node) int {
	return cmp.Or(cmp.Compare(rank(a.Role), rank(b.Role)), cmp.Compare(a.Name, b.Name))
}

func rank(r zeekapi.ClusterRole) int {
	return slices.Index([]zeekapi.ClusterRole{
		zeekapi.RoleLogger, zeekapi.RoleManager, zeekapi.RoleProxy, zeekapi.RoleWorker, zeekapi.RoleNone,
	}, r)
}
