package agent

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// The agent's own times and limits.
const (
	// HelloInterval is the time between two hellos while the agent has peers.
	HelloInterval = 30 * time.Second

	// RequestTimeout is the default of Settings.RequestTimeout. Zeek's agent
	// waits 5 to 7 s, which is short for nodes on a busy machine; Zeek's
	// controller waits 10 to 12 s for the agent.
	RequestTimeout = 9 * time.Second

	// MaxRequests limits the requests that wait for nodes, deployments apart:
	// of these there is at most one.
	MaxRequests = 64

	// MaxNodes limits the nodes of one instance.
	MaxNodes = 1000

	// StagePatience limits the time for which a node that does not introduce
	// itself delays the nodes of later stages. When half the time of a request
	// is over, all nodes start: that they find each other at once is worth less
	// than a response.
	StagePatience = 30 * time.Second

	// A node that lived for StableAfter has started well, as under Zeek's
	// Supervisor. One that dies MaxDeaths times in a row before that has
	// failed for good; in between the agent waits MinBackOff, doubled with
	// every death, at most MaxBackOff. A deployment or restart does not wait
	// for the last death but is answered after DeathsToReport.
	StableAfter    = 30 * time.Second
	MaxDeaths      = 5
	DeathsToReport = 2
	MinBackOff     = 500 * time.Millisecond
	MaxBackOff     = time.Minute

	// A node that fails its check is checked again, as its interface may have
	// come and its port may be free: after MinRecheck, doubled with every
	// failure, at most MaxRecheck.
	MinRecheck = 2 * time.Second
	MaxRecheck = time.Minute

	// SaveInterval is the time between two attempts to store the assignment.
	SaveInterval = 10 * time.Second

	// RememberInterval is the least time between two outputs of Remember: when
	// hundreds of nodes die at once, the disk has enough to do.
	RememberInterval = time.Second

	// MaxOutputs limits the bytes of nodes' outputs in one response: there may
	// be a thousand failed nodes, and a peer disconnects from one that sends
	// too much at once.
	MaxOutputs = 16 << 20

	// MaxLogBytes limits the bytes of a node's output that one request can ask
	// for, LogBytes is the default.
	MaxLogBytes = 1 << 20
	LogBytes    = 64 << 10
)

// Settings are how an agent describes itself, and its choices. Name is
// required.
type Settings struct {
	// Name is the name of the instance.
	Name string

	// EndpointID is the ID of the agent's endpoint. Controllers look it up
	// among their peers.
	EndpointID string

	// Connecting says that the agent connects to its controllers. If it is
	// false, controllers connect to the agent, and are told that it listens at
	// Listen.
	Connecting bool
	Listen     netip.AddrPort

	// PID is the process ID of the agent; zero means unknown.
	PID int64

	// Version describes the agent's program, such as "zeekwire v1.2.0", and Zeek
	// is the version of Zeek that its nodes run. Empty means unknown.
	Version, Zeek string

	// RequestTimeout is the longest time that a request waits for nodes. Then
	// it is answered with the state that the nodes have. Zero means the
	// constant RequestTimeout; a negative duration is an error.
	RequestTimeout time.Duration
}

// validate returns s with the default values filled in.
func (s Settings) validate() (Settings, error) {
	if err := zeekapi.CheckName(s.Name); err != nil {
		return s, fmt.Errorf("agent: instance %w", err)
	}
	if s.RequestTimeout < 0 {
		return s, fmt.Errorf("agent: RequestTimeout is %s, must not be negative", s.RequestTimeout)
	}
	s.RequestTimeout = cmp.Or(s.RequestTimeout, RequestTimeout)
	return s, nil
}

// State is what an agent remembers over its restarts, and the nodes that it
// finds. The zero State is that of an instance without an earlier agent.
type State struct {
	// Known says that an earlier agent of the same name stored what should run:
	// Assignment, or nothing if that is nil.
	Known      bool
	Assignment *Assignment

	// Nodes is the history of nodes, by name.
	Nodes map[string]NodeHistory

	// Running are the nodes that run already.
	Running []launch.Running
}

// NodeHistory is what an agent remembers of a node over its restarts. It is
// only reported and has no influence on what the agent does with the node.
type NodeHistory struct {
	Restarts  uint64 `json:"restarts,omitempty"`
	LastError string `json:"last_error,omitempty"`
}
