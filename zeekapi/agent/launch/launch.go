// Package launch is the interface between an agent and its launcher: package
// zeek starts real processes, package simulated only pretends.
package launch

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

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
	// Close it returns the remaining events and then broker.ErrClosed.
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

// Dispatcher is a Launcher with nodes that are not on the agent's bus: it hands
// them requests itself, and reports their answers as Answered events. It returns
// the names of those that are on the bus.
type Dispatcher interface {
	Dispatch(zeekapi.NodeDispatchRequest) (others []string)
}

// Finder is a Launcher that knows which of its nodes an earlier launcher left
// running, and as what.
type Finder interface {
	// Running returns the nodes that ran already when the launcher began. To
	// the launcher they are like nodes that it has started: they need no Start,
	// and their end is reported. It returns the same as long as it is called
	// before any Start or Stop.
	Running() []Running
}

// Running is a node that runs already.
type Running struct {
	Node    Node // the configuration it was started with
	PID     int64
	Started time.Time
}

// Checker is a Launcher that can tell whether nodes could run.
type Checker interface {
	// Check looks for problems that would keep these nodes from running together, such
	// as a layout that cannot be read, without starting or stopping any. Those
	// among them that run are about to be replaced. Each is answered for with a
	// Checked event, in limited time. It does not block.
	Check([]Node)
}

// Outputter is a Launcher that keeps what its nodes write.
type Outputter interface {
	// Outputs returns the ends of a node's standard output
	// and error since it was last started, at most so many bytes of each. It
	// need not run any more. The error is ErrNoOutputs if nothing was kept of
	// a node of that name.
	Outputs(name string, limit int) (zeekapi.NodeOutputs, error)
}

// ErrNoOutputs is the error of an Outputter for a node that it has never seen.
var ErrNoOutputs = errors.New("no such node was ever started")

// Versioned is a Launcher that knows the version of Zeek that its nodes run.
type Versioned interface {
	ZeekVersion() string // such as "8.0.10"
}

// Leaver is a Launcher whose nodes can outlive it.
type Leaver interface {
	// Leave is Close that leaves the nodes as they are, for the next launcher
	// to find.
	Leave()
}

// LockFile is the name of the file in its state directory by which a launcher
// keeps others out, that would take the nodes there for theirs.
const LockFile = "launcher.lock"

// Event is one of Started, Up, Revived, Exited, Answered, Checked, Measured and
// Upgraded.
type Event interface{ event() }

// Started says that a node runs, as the process PID.
type Started struct {
	Node string
	PID  int64
}

// Up says that a node has introduced itself. Nodes that do so on the agent's
// bus, with a zeekapi.NodeHello, need no Up.
type Up struct{ Node string }

// Revived reports that a node died, and that the program that runs it for the launcher has
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

// Checked says whether a node could run. There may be no answer to that in
// time, in which case Err is nil as well.
type Checked struct {
	Node    Node // as it was checked
	Err     error
	Outputs zeekapi.NodeOutputs // what was written about it
}

// Measured reports the resources that nodes use, by name. It comes every few seconds.
type Measured struct{ Nodes map[string]Usage }

// Upgraded says that nodes that start from now on run that version of Zeek.
type Upgraded struct{ Version string }

// Usage is the resource usage of a node, with all its processes.
type Usage struct {
	CPU    float64 // processors in use since it was last measured
	Memory uint64  // resident bytes
}

func (Started) event()  {}
func (Up) event()       {}
func (Revived) event()  {}
func (Exited) event()   {}
func (Answered) event() {}
func (Checked) event()  {}
func (Measured) event() {}
func (Upgraded) event() {}

// Node is all there is to know for starting a node.
type Node struct {
	zeekapi.Node

	// Layout is that of the whole cluster, with the node itself. Before a check
	// nobody has read it.
	Layout zeekapi.Layout
}

// Members returns the whole cluster with the node itself, by name. It returns
// nil if the layout cannot be read, which a check has said then.
func (n Node) Members() []zeekapi.Member {
	members, _ := n.Layout.Members()
	return members
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
		n.Layout == o.Layout
}

// Manager returns the name of the manager of a cluster, the first if there are
// several, and "" if there is none.
func Manager(cluster []zeekapi.Member) string {
	for _, m := range cluster {
		if m.Role == zeekapi.RoleManager {
			return m.Name
		}
	}
	return ""
}

// Compare orders nodes by stage and name.
func Compare(a, b Node) int {
	return cmp.Or(cmp.Compare(a.Stage(), b.Stage()), cmp.Compare(a.Name, b.Name))
}

// Stage is a number by which nodes are best started: loggers, managers,
// proxies, workers, so that each finds whom it connects to.
func (n Node) Stage() int {
	return slices.Index([]zeekapi.ClusterRole{
		zeekapi.RoleLogger, zeekapi.RoleManager, zeekapi.RoleProxy, zeekapi.RoleWorker, zeekapi.RoleNone,
	}, n.Role)
}
