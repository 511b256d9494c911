package controller

import (
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// Input is what happens to the controller.
type Input interface{ input() }

// The inputs.
type (
	// PeerAdded says that a peering came up, of whatever kind of peer.
	PeerAdded struct{ Peer broker.Peer }

	// PeerLost says that a peering ended.
	PeerLost struct{ Peer broker.Peer }

	// FromAgent is a message that a peer published on the topic of an agent.
	FromAgent struct {
		Peer    broker.Peer
		Dialect string // its name
		Message zeekapi.Message
	}

	// FromClient is a message that a peer published on the controller's topic.
	FromClient struct {
		Peer    broker.Peer
		Message zeekapi.Message
	}

	// AgentRefused says that a peer may not be the agent of an instance. Nothing
	// else of it is heard.
	AgentRefused struct {
		Peer          broker.Peer
		Instance, Why string
	}

	// Unsupported says that a ToAgent could not be sent, because its message
	// does not exist in the dialects that the agent speaks.
	Unsupported struct{ ToAgent }

	// Shutdown says that the controller is about to end: it answers what it was
	// asked, and refuses new requests.
	Shutdown struct{}

	// Tick says that time has passed, such as to Machine.Deadline.
	Tick struct{}
)

func (PeerAdded) input()    {}
func (PeerLost) input()     {}
func (FromAgent) input()    {}
func (FromClient) input()   {}
func (AgentRefused) input() {}
func (Unsupported) input()  {}
func (Shutdown) input()     {}
func (Tick) input()         {}

// Output is what the controller wants done.
type Output interface{ output() }

// Change is an output that is to be stored. All changes of a step must be on
// disk, all together, before any other of its outputs is carried out.
type Change interface {
	Output
	change()
}

// The outputs.
type (
	// ToAgent is a message for the agent of an instance. Peer is the agent if
	// it said hello, in the dialects of these names, and uuid.Nil if not.
	//
	// Content, if not zero, identifies what is in Message: messages with the same
	// Content differ only in their request ID and in Force.
	ToAgent struct {
		Instance string
		Peer     uuid.UUID
		Dialects []string
		Message  zeekapi.Message
		Content  uint64
	}

	// ToClients is the answer to Peer. As with Zeek all clients may hear it; who
	// asked knows it by its ID.
	ToClients struct {
		Peer    uuid.UUID
		Message zeekapi.Message
	}

	// Dial asks for a lasting peering with the agent that listens at Address.
	Dial struct{ Address string }

	// Hangup ends what Dial began.
	Hangup struct{ Address string }

	// Save changes a configuration.
	Save struct {
		Slot   Slot
		Config zeekapi.Configuration
	}

	// SaveDeployment adds to the history or, if there is an entry with that
	// number, takes its place. Entries with lower numbers than Oldest go.
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

	// SaveJob changes the last job.
	SaveJob struct{ Job zeekapi.Job }

	// SaveSent changes what agents have been sent.
	SaveSent struct{ Sent Sent }

	// Announce keeps a event, then publishes it. Events with lower numbers
	// than Oldest go.
	Announce struct {
		Event  zeekapi.ClusterEvent
		Oldest uint64
	}
)

func (ToAgent) output()        {}
func (ToClients) output()      {}
func (Dial) output()           {}
func (Hangup) output()         {}
func (Save) output()           {}
func (SaveDeployment) output() {}
func (SaveNames) output()      {}
func (SaveJob) output()        {}
func (SaveSent) output()       {}
func (Announce) output()       {}

func (Save) change()           {}
func (SaveDeployment) change() {}
func (SaveNames) change()      {}
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

	// Target is what should run: the configuration of the last deployment,
	// whether or not all agents answered in time. It is what an agent gets
	// when it comes back. Zeek takes the deployed one and so undoes a
	// deployment that timed out. Addresses of agents that connect are not
	// filled in, for they can change.
	Target Slot = "target"
)

// Slots are all of them.
var Slots = []Slot{Staged, Ready, Deployed, Target}

// NameSet names a set of instances that a controller keeps.
type NameSet string

// The sets.
const (
	Drained NameSet = "drained" // told to run nothing for now
	Owed    NameSet = "owed"    // have to be told to run nothing, and did not answer yet
)

// State is what a controller remembers over its restarts.
type State struct {
	Configs map[Slot]zeekapi.Configuration
	History []Past                 // the oldest first
	Events  []zeekapi.ClusterEvent // the oldest first
	Drained []string
	Owed    []string
	Job     *zeekapi.Job // the last one, nil if there was none
	Sent    Sent         // zero if nothing was
}

// Sent tells the configuration that agents were sent last from others with the
// same ID.
type Sent struct {
	ID     string `zeek:"id"`
	Digest string `zeek:"digest"`
	Mixed  bool   `zeek:"mixed"` // there were others, and not all agents have answered for the last
}

// Past is a deployment with what it deployed.
type Past struct {
	zeekapi.Deployment
	Configuration zeekapi.Configuration
}
