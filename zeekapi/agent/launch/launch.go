// Package launch is the interface between an agent and its launcher, which runs the
// nodes. Package zeek runs them as processes, package supervised with Zeek's Supervisor.
// Package simulated simulates them.
package launch

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Launcher starts and stops nodes and reports their events. It does not restart nodes
// by itself: a node that died is started again only by the agent.
//
// Start and Stop do not block. All methods may be called from any goroutine, Next
// from one at a time.
type Launcher interface {
	// Start starts a node. Its events follow, and the last one is Exited, even
	// if the node could not be started. Until then, Start with the same name
	// does nothing.
	Start(Node)

	// Stop stops a node. The launcher kills a node that does not end in time. An
	// Exited event follows. Stop with an unused name does nothing.
	Stop(name string)

	// Next waits for the next event. Events of one node come in order. After
	// Close it returns the remaining events and then broker.ErrClosed.
	Next(context.Context) (Event, error)

	// Close stops all nodes and waits for them, kills those that still run when
	// ctx ends, and waits for the launcher's goroutines. Nodes that another
	// program runs, such as Zeek's Supervisor, keep running.
	Close(ctx context.Context) error
}

// Adopter is a Launcher that may find running nodes that an earlier agent started.
// Such a node counts as started with its present configuration. Start with another
// configuration replaces the node.
type Adopter interface {
	// Keep stops the found nodes that are not named. The agent calls it before any
	// Start, and whenever the set of nodes that should run becomes known. While the set
	// is unknown, no found node may be stopped.
	Keep(names []string)
}

// Dispatcher is a Launcher with nodes that are not on the agent's bus. It sends
// requests to them and reports their responses as Answered events. Dispatch returns
// the names of the nodes that are on the bus.
type Dispatcher interface {
	Dispatch(zeekapi.NodeDispatchRequest) (others []string)
}

// Finder is a Launcher that knows the nodes, and their configurations, that an
// earlier launcher left running.
type Finder interface {
	// Running returns the nodes that ran when the launcher was created. They count
	// as started by the launcher: they need no Start, and their end is reported.
	// Before the first Start or Stop, all calls return the same.
	Running() []Running
}

// Running is a node that an earlier launcher started.
type Running struct {
	Node    Node // the configuration it was started with
	PID     int64
	Started time.Time
}

// Checker is a Launcher that can check nodes before they start.
type Checker interface {
	// Check looks for problems that would keep these nodes from running together, such
	// as an invalid layout, without starting or stopping any. It assumes that running
	// nodes among them will be replaced. A Checked event for each node follows in
	// limited time. Check does not block.
	//
	// A trial decides whether a deployment begins: it is thorough, takes as long as
	// it must within its own limit, and a node whose check did not end in time has
	// not passed. Other checks precede the start of nodes. They may rely on a recent
	// trial, and a node whose check did not end in time has passed.
	Check(nodes []Node, trial bool)
}

// Scanner is a Launcher that knows which scripts its nodes have loaded.
type Scanner interface {
	// Scan looks for the scripts that changed since the nodes that loaded them
	// started. An Edited event follows. Scan does not block.
	Scan()
}

// Limiter is a Launcher that limits the memory of running nodes. It takes the limit that a
// node starts with from its configuration.
type Limiter interface {
	// LimitMemory changes the limit of a running node, in bytes; 0 for none. It does not
	// block. Without such a node it does nothing.
	LimitMemory(name string, bytes int64)
}

// Lister is a Launcher that can list the scripts that its nodes have loaded.
type Lister interface {
	// Scripts lists the scripts that a running node has loaded since its start. The
	// scripts of the Zeek installation are omitted unless all is set. The error is
	// ErrNoScripts if the node has not listed them. Scripts reads files, which takes
	// time, and may be called concurrently.
	Scripts(ctx context.Context, name string, all bool) (zeekapi.NodeScripts, error)
}

// ErrNoScripts is the error of a Lister for a node that has not listed its scripts.
var ErrNoScripts = errors.New("the node has not listed the scripts that it has loaded")

// Outputter is a Launcher that keeps the outputs of its nodes.
type Outputter interface {
	// Outputs returns the ends of a node's standard output and error since its last
	// start, at most limit bytes of each. The node may have ended. The error is
	// ErrNoOutputs if there are no outputs of a node with that name.
	Outputs(name string, limit int) (zeekapi.NodeOutputs, error)
}

// Crasher is a Launcher that keeps reports about nodes that have crashed.
type Crasher interface {
	// Crashes returns the last reports about a node, the newest first. The node need not
	// run, or be assigned. Crashes reads files.
	Crashes(name string) []zeekapi.CrashReport
}

// ErrNoOutputs is the error of an Outputter for a node that was never started.
var ErrNoOutputs = errors.New("no node with this name was ever started")

// Diagnoser is a Launcher that has information about a node for a report of a problem.
type Diagnoser interface {
	// Diagnose returns the facts, scripts, limits and files of a node, which may have
	// ended, with at most limit bytes of each text. Secrets are not masked. Diagnose reads
	// files, which takes time.
	Diagnose(name string, limit int) zeekapi.Diagnosis
}

// Cleaner is a Launcher whose nodes leave files behind.
type Cleaner interface {
	// Leftovers returns the files and directories that are no longer needed. It omits those
	// of running nodes, of nodes for which needed is true, and those changed after before.
	Leftovers(needed func(node string) bool, before time.Time) []zeekapi.Leftover

	// Remove removes a leftover. It fails if the leftover is needed again.
	Remove(l zeekapi.Leftover, needed func(node string) bool, before time.Time) error
}

// Versioned is a Launcher that knows the version of Zeek that its nodes run.
type Versioned interface {
	ZeekVersion() string // such as "8.0.10"
}

// Leaver is a Launcher whose nodes can keep running without it.
type Leaver interface {
	// Leave is like Close, but leaves the nodes running for the next launcher.
	Leave()
}

// Event is one of Started, Up, Revived, Exited, Answered, Checked, Edited, Measured
// and Upgraded.
type Event interface{ event() }

// Started reports that a node runs, as the process PID.
type Started struct {
	Node string
	PID  int64
}

// Up reports that a node has sent its hello. Nodes that send a zeekapi.NodeHello on the
// agent's bus need no Up.
type Up struct {
	Node     string
	Indirect bool // requests to the node pass through another node, which may be the cause if it does not respond
}

// Revived reports that a node died and was restarted as the process PID, by the program
// that runs nodes for the launcher. It counts as a death and needs no Start.
type Revived struct {
	Node    string
	PID     int64
	Outputs zeekapi.NodeOutputs
}

// Exited reports that a node has ended, with all its processes.
type Exited struct {
	Node    string
	Err     error // nil: it ended normally
	Outputs zeekapi.NodeOutputs
}

// Answered is the response of a node to a dispatched request.
type Answered struct{ Response zeekapi.NodeDispatchResponse }

// Checked reports the result of a check. Err is nil if the node could run.
type Checked struct {
	Node    Node // the checked configuration
	Trial   bool // as for Check
	Err     error
	Outputs zeekapi.NodeOutputs // output of the check

	// PortsInUse are the TCP ports at which other programs listen, ascending, if a
	// port of the node is one of them.
	PortsInUse []uint16
}

// Edited reports the files that running nodes have loaded and that have changed since
// they started, by node and sorted, without those of the Zeek installation. A node that
// runs another version of Zeek than later nodes will has an entry that says so. Nodes
// whose files have not changed are missing. It answers Scan, and also comes when
// something has changed. A launcher limits the entries of a node, and says in the last one
// how many it left out.
type Edited struct{ Nodes map[string][]string }

// Measured reports the resource usage of nodes, by name, every few seconds.
type Measured struct{ Nodes map[string]Usage }

// Upgraded reports the version of Zeek that nodes run from their next start on.
type Upgraded struct{ Version string }

// Usage is the resource usage of a node, with all its processes.
type Usage struct {
	CPU    float64 // CPUs in use since the previous measurement
	Memory uint64  // resident set size in bytes

	// The following are zero if they are unknown.
	Threads uint64
	Files   uint64    // open file descriptors
	Started time.Time // start of the oldest process
}

func (Started) event()  {}
func (Up) event()       {}
func (Revived) event()  {}
func (Exited) event()   {}
func (Answered) event() {}
func (Checked) event()  {}
func (Edited) event()   {}
func (Measured) event() {}
func (Upgraded) event() {}

// Node is the complete configuration of a node.
type Node struct {
	zeekapi.Node

	// Layout is the layout of the whole cluster, including the node. It is not
	// parsed before the check.
	Layout zeekapi.Layout

	// Site is the Configuration.Site whose scripts the node loads, "" for none.
	Site string `json:",omitempty"`
}

// Members returns the members of the cluster, including the node, sorted by name. It
// returns nil if the layout is invalid; the check reports that.
//
// If all of them are at one IPv6 link-local address, they are on one machine, whose
// agent connects to the controller from there. Zeek cannot connect to such an address,
// because it has no zones, so Members returns the loopback address instead.
func (n Node) Members() []zeekapi.Member {
	members, _ := n.Layout.Members()
	if len(members) == 0 {
		return members
	}
	host := members[0].Host.Unmap()
	if !host.Is6() || !host.IsLinkLocalUnicast() || slices.ContainsFunc(members, func(m zeekapi.Member) bool { return m.Host.Unmap() != host }) {
		return members
	}
	members = slices.Clone(members)
	for i := range members {
		members[i].Host = netip.IPv6Loopback()
	}
	return members
}

// ReceivesLogs reports whether other nodes of the cluster send their logs to the node: it is
// a logger, or the manager of a cluster without loggers.
func (n Node) ReceivesLogs() bool {
	return n.Role == zeekapi.RoleLogger || n.Role == zeekapi.RoleManager && !n.Layout.HasRole(zeekapi.RoleLogger)
}

// Equal reports whether a node with the configuration n need not restart to have the
// configuration o. Options, except CPUs, and state do not count, because Zeek ignores them. The
// layout counts as a whole: a node reads it once, when it starts.
func (n Node) Equal(o Node) bool {
	return n.Name == o.Name && n.Instance == o.Instance && n.Role == o.Role &&
		n.Port == o.Port && n.MetricsPort == o.MetricsPort && n.Interface == o.Interface &&
		slices.Equal(n.Scripts, o.Scripts) &&
		maps.Equal(n.Env, o.Env) &&
		n.Affinity() == o.Affinity() &&
		n.Layout == o.Layout && n.Site == o.Site
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

// ProcessName returns the name that Zeek gives to the process of a node, or of an agent or
// a controller (Zeek: Stem::Spawn). The kernel truncates it to 15 bytes.
func ProcessName(node string) string { return "zeek." + node }

// Compare orders nodes by stage and name.
func Compare(a, b Node) int {
	return cmp.Or(cmp.Compare(a.Stage(), b.Stage()), cmp.Compare(a.Name, b.Name))
}

// Stage is the number of the stage in which a node starts: loggers, managers,
// proxies, workers. So the peers of each node exist when it starts.
func (n Node) Stage() int {
	return slices.Index([]zeekapi.ClusterRole{
		zeekapi.RoleLogger, zeekapi.RoleManager, zeekapi.RoleProxy, zeekapi.RoleWorker, zeekapi.RoleNone,
	}, n.Role)
}
