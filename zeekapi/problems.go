package zeekapi

import (
	"fmt"
	"time"
)

// Problem is a lasting fault of an instance or one of its nodes that operators should know of.
type Problem struct {
	Kind string `zeek:"kind"` // one of the Problem constants

	// Node is the node, "" for a problem of the machine. Subject distinguishes problems
	// of the same kind, such as the directory of a disk; "" if there is only one.
	Node    string `zeek:"node"`
	Subject string `zeek:"subject"`

	Text  string    `zeek:"text"`  // readable text, which may change while the problem lasts
	Since time.Time `zeek:"since"` // when the agent noticed it
}

// The kinds of problems.
const (
	ProblemDisk    = "disk"    // little free space, or a disk that cannot be measured
	ProblemHung    = "hung"    // a node does not answer its agent
	ProblemTraffic = "traffic" // a node processes no packets, although its interface receives some
	ProblemArchive = "archive" // finished logs cannot be archived, or archive-command fails
)

// ProblemKinds are all kinds of problems.
var ProblemKinds = []string{ProblemArchive, ProblemDisk, ProblemHung, ProblemTraffic}

// Key identifies the problem among those of an instance.
func (p Problem) Key() string { return fmt.Sprintf("%s %s %s", p.Kind, p.Node, p.Subject) }

// AgentProblems reports all present problems of an instance. Agents send it when they
// change, and after each hello.
type AgentProblems struct {
	OneWay   `zeek:"-"`
	Instance string    `zeek:"instance"`
	Problems []Problem `zeek:"problems"` // sorted by Key, at most MaxProblems
}

// MaxProblems limits the problems of one instance.
const MaxProblems = 256

var _ = oneWay[AgentProblems](AgentAPI, operations("problems"))
