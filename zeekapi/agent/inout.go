package agent

import (
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// Input is an event that the machine reacts to: PeerAdded, PeerLost, Received,
// Launched, SiteStored, Finished, DisksRead, ArchiveRead, InterfacesRead, SpaceMeasured, ScriptsListed, Persisted,
// TermStored, StorageChanged, CheckStorage, Shutdown or Tick.
type Input interface{ input() }

// The inputs.
type (
	// PeerAdded reports a new peering.
	PeerAdded struct{ Peer broker.Peer }

	// PeerLost reports the end of a peering.
	PeerLost struct{ Peer broker.Peer }

	// Received is a message on one of the agent's topics.
	Received struct {
		Peer    broker.Peer      // that sent the message
		Dialect *zeekapi.Dialect // dialect of the message and its response
		Message zeekapi.Message
		Memory  int // of the message, in bytes
	}

	// Launched is an event of the launcher.
	Launched struct{ Event launch.Event }

	// Finished reports the end of a Diagnose or Cleanup. Response is for its request.
	Finished struct {
		Dialect  *zeekapi.Dialect
		Response zeekapi.Message
	}

	// Persisted reports the result of the oldest Persist that has no result
	// yet.
	Persisted struct{ Err error }

	// TermStored reports the result of the oldest StoreTerm that has no result yet.
	TermStored struct{ Err error }

	// StorageChanged reports that the agent lost its state directory because of
	// Why, or if that is empty, that it has it again.
	StorageChanged struct{ Why string }

	// CheckStorage makes the machine check its state directory.
	CheckStorage struct{}

	// Shutdown makes the machine end: it refuses new requests that would have
	// to wait for nodes, and ends when it has responded to the pending ones.
	Shutdown struct{}

	// Tick reports that time has passed, for example until Machine.Deadline.
	Tick struct{}
)

func (PeerAdded) input()      {}
func (PeerLost) input()       {}
func (Received) input()       {}
func (Launched) input()       {}
func (Finished) input()       {}
func (Persisted) input()      {}
func (TermStored) input()     {}
func (Shutdown) input()       {}
func (StorageChanged) input() {}
func (CheckStorage) input()   {}
func (Tick) input()           {}

// Output is an action that the machine requests: Publish, Keep, Scan, Check, Start,
// Stop, LimitMemory, Dispatch, ReadInterfaces, ListScripts, Read, Diagnose, Cleanup, StoreSite,
// KeepSites, FreeSpace, Persist, StoreTerm, Remember, Verify or Complain.
type Output interface{ output() }

// The outputs.
type (
	// Publish publishes a message on the agent's topic.
	Publish struct {
		Dialect *zeekapi.Dialect // nil: every dialect that has the message
		Message zeekapi.Message
		To      uuid.UUID // peer that receives it; zero for all that subscribe
	}

	// Keep makes the launcher end the nodes that it found running, except the
	// named ones.
	Keep struct{ Nodes []string }

	// Scan makes the launcher look for changed scripts. The launcher must report a
	// launch.Edited.
	Scan struct{}

	// Check makes the launcher check whether nodes could be started. A
	// launch.Checked with the same Trial must follow for each node.
	Check struct {
		Nodes []launch.Node
		Trial bool // see launch.Checker
	}

	// Start makes the launcher start a node.
	Start struct{ Node launch.Node }

	// Stop makes the launcher stop a node.
	Stop struct{ Node string }

	// Dispatch sends a request to the nodes that it names.
	Dispatch struct{ Request zeekapi.NodeDispatchRequest }

	// Read answers an AgentLogsRequest with the ends of a node's outputs.
	Read struct {
		Dialect *zeekapi.Dialect
		ReqID   string
		Node    string
		Bytes   int  // limit for each output
		Gone    bool // the node is not assigned to this instance, but may have been
	}

	// Diagnose answers an AgentDiagnoseRequest: the Diagnosis contains the facts in the
	// machine. Finished follows.
	Diagnose struct {
		Dialect   *zeekapi.Dialect
		ReqID     string
		Name      string
		Diagnosis zeekapi.Diagnosis
		Bytes     int // limit for each output and file
	}

	// Cleanup answers an AgentCleanupRequest. Nodes and Sites are still needed, and are
	// sorted. Finished follows.
	Cleanup struct {
		Dialect *zeekapi.Dialect
		ReqID   string
		Nodes   []string
		Sites   []string
		DryRun  bool
	}

	// Persist stores the assignment for the next agent; nil stores that there
	// is none. Kept are earlier configurations of nodes, see State.Kept. Persisted
	// reports the result.
	Persist struct {
		Assignment *Assignment
		Kept       []launch.Node
	}

	// StoreTerm stores the term of a leader. Its address is only logged. TermStored
	// reports the result.
	StoreTerm struct {
		Term    Term
		Address string
	}

	// Remember stores the history of the nodes that have one. A failure has no
	// consequences.
	Remember struct{ Nodes map[string]NodeHistory }

	// Verify checks whether the agent still has its state directory. StorageChanged
	// reports a change.
	Verify struct{}

	// Complain logs an error that the operator of the machine must know.
	Complain struct{ Text string }
)

func (Publish) output()   {}
func (Keep) output()      {}
func (Scan) output()      {}
func (Check) output()     {}
func (Start) output()     {}
func (Stop) output()      {}
func (Dispatch) output()  {}
func (Read) output()      {}
func (Diagnose) output()  {}
func (Cleanup) output()   {}
func (Persist) output()   {}
func (StoreTerm) output() {}
func (Remember) output()  {}
func (Verify) output()    {}
func (Complain) output()  {}
