package controller

import (
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// Input is an event that concerns the controller. The types below are the only
// inputs.
type Input interface{ input() }

// The inputs.
type (
	// PeerAdded reports a new peering, with an agent or a client.
	PeerAdded struct{ Peer broker.Peer }

	// PeerLost reports the end of a peering.
	PeerLost struct{ Peer broker.Peer }

	// FromAgent is a message that a peer published on the topic of an agent.
	FromAgent struct {
		Peer    broker.Peer
		Dialect string // its name
		Message zeekapi.Message
		Memory  int // of the message, in bytes
	}

	// FromClient is a message that a peer published on the controller's topic.
	FromClient struct {
		Peer    broker.Peer
		Message zeekapi.Message
		Memory  int // of the message, in bytes
	}

	// AgentRefused reports a peer that is not permitted to be the agent of an
	// instance. Its messages are discarded.
	AgentRefused struct {
		Peer          broker.Peer
		Instance, Why string
	}

	// Unsupported reports a ToAgent that was not sent, because the dialects of
	// the agent do not have its message.
	Unsupported struct{ ToAgent }

	// PartUnreadable reports a ToAgent that was not sent, because its part of a
	// site cannot be read.
	PartUnreadable struct {
		ToAgent
		Why string
	}

	// Forwarded reports the end of a Forward. Response is for its client.
	Forwarded struct {
		Peer     uuid.UUID
		Response zeekapi.Message
	}

	// SiteStored reports the end of a StoreSite. Response is for its client.
	SiteStored struct {
		Peer     uuid.UUID
		Response zeekapi.Message
	}

	// StorageChanged reports that changes cannot be stored because of Why, or if
	// that is empty, that they can be stored again.
	StorageChanged struct{ Why string }

	// Shutdown tells the controller to end: it refuses new requests, and ends
	// when the pending ones are answered.
	Shutdown struct{}

	// Tick reports that time has passed, for example that the deadline of the
	// machine has come.
	Tick struct{}
)

func (PeerAdded) input()      {}
func (PeerLost) input()       {}
func (FromAgent) input()      {}
func (FromClient) input()     {}
func (AgentRefused) input()   {}
func (Unsupported) input()    {}
func (PartUnreadable) input() {}
func (SiteStored) input()     {}
func (Forwarded) input()      {}
func (StorageChanged) input() {}
func (Shutdown) input()       {}
func (Tick) input()           {}

// Output is an action for the controller's runner. The types below are the only
// outputs.
type Output interface{ output() }

// Change is an output that must be stored. All changes of a step must be on disk
// together before any other of its outputs is performed.
type Change interface {
	Output
	change()
}

// The outputs.
type (
	// ToAgent sends a message to the agent of an instance. Peer is the agent, and
	// Dialects are those in which it said hello. Peer is uuid.Nil if no agent
	// said hello.
	//
	// Content, if not zero, identifies the content of Message: messages with the same
	// Content differ only in their request ID and in Force.
	//
	// Part says that Message is an AgentSiteRequest that needs the part of the site
	// which begins at its Offset. If it cannot be read, PartUnreadable follows.
	ToAgent struct {
		Instance string
		Peer     uuid.UUID
		Dialects []string
		Message  zeekapi.Message
		Content  uint64
		Part     bool
	}

	// ToAgents sends a message without a response to agents of zeekwire.
	ToAgents struct {
		Peers   []uuid.UUID
		Message zeekapi.Message
	}

	// Forward passes a request of a client to the leader, because this controller stands by.
	// Forwarded follows with the response.
	Forward struct {
		By      broker.Peer
		Message zeekapi.Message
	}

	// StoreSite stores a part of a site. SiteStored follows with the response. Owner
	// identifies the client, even after it has reconnected.
	StoreSite struct {
		Peer    uuid.UUID
		Owner   string
		Request zeekapi.UploadSiteRequest
	}

	// ReadSite responds to a client with a part of a site.
	ReadSite struct {
		Peer    uuid.UUID
		Request zeekapi.DownloadSiteRequest
	}

	// KeepSites removes all sites but the named ones, and those that are younger
	// than Grace.
	KeepSites struct {
		Sites []string
		Grace time.Duration
	}

	// ToClients sends a response to Peer. Other clients may receive it, too, as
	// with Zeek's controller. Clients recognize their responses by the ID.
	ToClients struct {
		Peer    uuid.UUID
		Message zeekapi.Message
	}

	// Dial opens a lasting peering with the agent that listens at Address.
	Dial struct{ Address string }

	// Hangup ends the peering with the agent at Address.
	Hangup struct{ Address string }

	// Save changes a configuration.
	Save struct {
		Slot   Slot
		Config zeekapi.Configuration
	}

	// SaveDeployment adds an entry to the history, or replaces the one with that
	// number. It removes entries with lower numbers than Oldest.
	SaveDeployment struct {
		Past   Past
		Oldest uint64
	}

	// SaveNames changes a set of names of instances.
	SaveNames struct {
		Set  NameSet
		Name string
		In   bool
	}

	// SaveStopped changes the nodes that clients have stopped, sorted by name.
	SaveStopped struct{ Nodes []zeekapi.StoppedNode }

	// SaveJob changes the last job.
	SaveJob struct{ Job StoredJob }

	// SaveSent stores the identity of the configuration sent last.
	SaveSent struct{ Sent Sent }

	// StepDown makes the controller hand over to another one.
	StepDown struct{}

	// Announce stores a cluster event, then publishes it. It removes events with
	// lower numbers than Oldest.
	Announce struct {
		Event  zeekapi.ClusterEvent
		Oldest uint64
	}
)

func (ToAgent) output()        {}
func (ToAgents) output()       {}
func (ToClients) output()      {}
func (StoreSite) output()      {}
func (Forward) output()        {}
func (ReadSite) output()       {}
func (KeepSites) output()      {}
func (Dial) output()           {}
func (Hangup) output()         {}
func (StepDown) output()       {}
func (Save) output()           {}
func (SaveDeployment) output() {}
func (SaveNames) output()      {}
func (SaveStopped) output()    {}
func (SaveJob) output()        {}
func (SaveSent) output()       {}
func (Announce) output()       {}

func (Save) change()           {}
func (SaveDeployment) change() {}
func (SaveNames) change()      {}
func (SaveStopped) change()    {}
func (SaveJob) change()        {}
func (SaveSent) change()       {}
func (Announce) change()       {}

// Phase is how far a machine is from its end. It never goes back.
type Phase = eventloop.Phase

// The phases.
const (
	Running = eventloop.Running // accepts all requests
	Ending  = eventloop.Ending  // refuses new requests, still answers the pending ones
	Ended   = eventloop.Ended   // has nothing left to do
)

// Slot names one of the configurations that a controller keeps.
type Slot string

// The slots. Zeek has the first three.
const (
	Staged   Slot = "staged"   // as a client uploaded it
	Ready    Slot = "ready"    // the same with ports filled in
	Deployed Slot = "deployed" // what all agents last answered for, with addresses

	// Target is the configuration that should run: that of the last deployment,
	// whether or not all agents answered in time. An agent that comes back gets
	// it. Zeek uses the deployed one and so undoes a deployment that timed out.
	// The addresses of agents that connect are not filled in, because they can
	// change.
	Target Slot = "target"
)

// Slots are all slots.
var Slots = []Slot{Staged, Ready, Deployed, Target}

// NameSet names a set of instances that a controller keeps.
type NameSet string

// The sets.
const (
	Drained NameSet = "drained" // run no nodes for now
	Owed    NameSet = "owed"    // must be told to run no nodes, and have not answered yet
)

// State is the state that a controller keeps over restarts. The zero value is the state of
// a new controller.
type State struct {
	Configs map[Slot]zeekapi.Configuration
	History []Past                 // the oldest first
	Events  []zeekapi.ClusterEvent // the oldest first
	Drained []string
	Owed    []string
	Job     *StoredJob            // the last one, nil if there was none
	Sent    Sent                  // zero if nothing was
	Stopped []zeekapi.StoppedNode // sorted by name

	// Term is the term of the last leader among several controllers, see Post. It is zero
	// if there was always only one.
	Term uint64
}

// Sites returns the IDs of the sites that the configurations of s need, sorted.
func (s State) Sites() []string {
	needed := make(map[string]bool)
	for _, c := range s.Configs {
		needed[c.Site] = true
	}
	for _, p := range s.History {
		needed[p.Configuration.Site] = true
	}
	delete(needed, "")
	return slices.Sorted(maps.Keys(needed))
}

// StoredJob is a job with what the next life of a controller needs to resume it.
type StoredJob struct {
	zeekapi.Job

	AtOnce  uint64           `zeek:"at_once,extension"` // 0: an earlier version stored the job, it cannot be resumed
	Told    map[string]int64 `zeek:"told,extension"`    // nodes of Now that their agents were told to restart, with the process before that, 0 if unknown
	Stopped string           `zeek:"stopped,extension"` // why no more nodes are restarted
}

// Sent identifies the configuration that the agents were told last, also among
// configurations with the same ID.
type Sent struct {
	ID     string `zeek:"id"`
	Digest string `zeek:"digest"`
	Mixed  bool   `zeek:"mixed"` // there were others, and not all agents have answered for the last
}

// Past is a deployment with its configuration.
type Past struct {
	zeekapi.Deployment
	Configuration zeekapi.Configuration

	Commitment *Commitment // nil unless the deployment is under way and has made its target the cluster's
}

// Commitment is what the next life of a controller needs to end a deployment that is
// under way.
type Commitment struct {
	Options zeekapi.DeployOptions `zeek:"options"`
	Skipped []string              `zeek:"skipped"` // instances that it does not wait for
	Former  uint64                `zeek:"former"`  // number of the deployment to roll back to, 0 for none
	Ran     []string              `zeek:"ran"`     // nodes whose failure is a reason to roll back

	// If the deployment is being rolled back, Rollback is the reason, and Errors are
	// the failures.
	Rollback string   `zeek:"rollback"`
	Errors   []string `zeek:"errors"`
}
