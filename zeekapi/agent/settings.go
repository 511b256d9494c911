package agent

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/diskwatch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// Times and limits of the agent.
const (
	// HelloInterval is the time between two hellos while the agent has peers.
	HelloInterval = 30 * time.Second

	// RequestTimeout is the default of Settings.RequestTimeout. Zeek's agent
	// waits 5 to 7 s, which is short for nodes on a busy machine; Zeek's
	// controller waits 10 to 12 s for the agent.
	RequestTimeout = 9 * time.Second

	// MaxStartLimit limits the StartLimit of a deployment.
	MaxStartLimit = 30 * time.Minute

	// TrialTimeout is the longest time that a request for a check waits for the
	// results. Launchers have shorter limits of their own.
	TrialTimeout = 10 * time.Minute

	// MaxRequests limits the requests of one controller that wait for nodes, not
	// counting the deployment, of which there is at most one. Controllers that have
	// such requests at the same time share it, see shares.go.
	MaxRequests = 64

	// MaxNodes limits the nodes of one instance.
	MaxNodes = zeekapi.MaxInstanceNodes

	// StagePatience limits the time for which a node that sends no hello delays
	// the nodes of later stages. When half the time of a request is over, all
	// nodes start: a response in time is more important than the order.
	StagePatience = 30 * time.Second

	// A node that has run for StableAfter counts as stable, as with Zeek's
	// Supervisor. A node that dies MaxDeaths times in a row before that has
	// failed, and is not restarted. The agent restarts it after MinBackOff,
	// doubled with every death, at most MaxBackOff. The response to a
	// deployment or restart waits for DeathsToReport deaths.
	StableAfter    = 30 * time.Second
	MaxDeaths      = 5
	DeathsToReport = 2
	MinBackOff     = 500 * time.Millisecond
	MaxBackOff     = time.Minute

	// A node that fails the check before its start is checked again, because a
	// missing interface may appear and a port may become free. The agent waits
	// MinRecheck, doubled with every failure, at most MaxRecheck.
	MinRecheck = 2 * time.Second
	MaxRecheck = time.Minute

	// SaveInterval is the time between two attempts to store the assignment.
	SaveInterval = 10 * time.Second

	// CheckInterval is the time between two checks of the state directory.
	CheckInterval = time.Second

	// RememberInterval is the minimum time between two outputs of Remember. It
	// limits the load on the disk when hundreds of nodes die at once.
	RememberInterval = time.Second

	// MaxOutputs limits the bytes of nodes' outputs in one response. There may
	// be a thousand failed nodes, and peers reject messages that are too large.
	MaxOutputs = 16 << 20

	// MaxLogBytes limits the bytes of a node's output in one response. LogBytes
	// is the default.
	MaxLogBytes = 1 << 20
	LogBytes    = 64 << 10
)

// Settings are the settings of a Machine. Name is required.
type Settings struct {
	// Name is the name of the instance.
	Name string

	// EndpointID is the ID of the agent's endpoint. Controllers find the agent
	// among their peers by it.
	EndpointID string

	// Connecting reports whether the agent connects to its controllers. If it
	// is false, controllers connect to the agent. The agent reports the address
	// Listen to them.
	Connecting bool
	Listen     netip.AddrPort

	// PID is the process ID of the agent; zero means unknown.
	PID int64

	// Version describes the agent's program, such as "zeekwire v1.2.0", and Zeek
	// is the version of Zeek that its nodes run. Empty means unknown.
	Version, Zeek string

	// RequestTimeout is the longest time that a request waits for nodes, except
	// for deployments with a StartLimit. Then the response contains their current
	// states. Zero means the constant RequestTimeout; a negative duration is an
	// error.
	RequestTimeout time.Duration

	// HungAfter is the time after which a node that does not answer, or processes no
	// packets although its interface receives some, is reported. It should be a multiple
	// of MeasureInterval. Zero means never; a negative duration is an error. RestartHung
	// restarts such a node.
	HungAfter   time.Duration
	RestartHung bool

	// ArchiveFailingAfter is the time after which the archiver's failure is reported.
	// Zero means never; a negative duration is an error.
	ArchiveFailingAfter time.Duration

	// Disks are the thresholds of free space below which the agent acts.
	Disks diskwatch.Settings

	// MeasureInterval is the time between two measurements of nodes and interfaces
	// without a request. Zero means that they are measured only on request; a negative
	// duration is an error.
	MeasureInterval time.Duration
}

// validate returns s with the default values filled in.
func (s Settings) validate() (Settings, error) {
	if err := zeekapi.CheckName(s.Name); err != nil {
		return s, fmt.Errorf("agent: instance %w", err)
	}
	if s.RequestTimeout < 0 {
		return s, fmt.Errorf("agent: RequestTimeout is %s, must not be negative", s.RequestTimeout)
	}
	if s.MeasureInterval < 0 {
		return s, fmt.Errorf("agent: MeasureInterval is %s, must not be negative", s.MeasureInterval)
	}
	if s.HungAfter < 0 {
		return s, fmt.Errorf("agent: HungAfter is %s, must not be negative", s.HungAfter)
	}
	if s.ArchiveFailingAfter < 0 {
		return s, fmt.Errorf("agent: ArchiveFailingAfter is %s, must not be negative", s.ArchiveFailingAfter)
	}
	s.RequestTimeout = cmp.Or(s.RequestTimeout, RequestTimeout)
	return s, nil
}

// State is the stored state of an agent, and the nodes that are already
// running. The zero State is the state of a new instance.
type State struct {
	// Known reports whether an earlier agent with the same name stored
	// Assignment, which is nil for no nodes.
	Known      bool
	Assignment *Assignment

	// Kept are the configurations, sorted by name, of nodes whose assigned ones
	// have failed their check. The nodes ran with them before, and run with them
	// again after their death.
	Kept []launch.Node

	// Term is the greatest term of a leader of which an earlier agent heard.
	Term Term

	// Nodes is the history of nodes, by name.
	Nodes map[string]NodeHistory

	// Running are the nodes that run already.
	Running []launch.Running
}

// NodeHistory is the stored history of a node. The agent only reports it. It
// does not affect how the agent runs the node.
type NodeHistory struct {
	Restarts  uint64 `json:"restarts,omitempty"`
	LastError string `json:"last_error,omitempty"`
}
