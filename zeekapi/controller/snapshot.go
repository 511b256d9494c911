package controller

import "github.com/zeekwire/zeekwire/zeekapi"

// Snapshot is a summary of a controller in numbers. It is cheap to make. Its maps must
// not be changed, because other snapshots share them.
type Snapshot struct {
	Agents    int                   // peers that are connected and said hello
	Refused   int                   // those of them that are refused because another agent has their name
	Pending   int                   // requests whose response a client waits for
	Instances map[InstanceState]int // of the target, and those with an agent
	Nodes     map[zeekapi.State]int // of the target, and those that agents reported
	Post      Post                  // among several controllers
	Storage   string                // why changes cannot be stored, "" if they can be

	// Speaker is the instance whose agent the last input is from, "" if it is from no
	// agent that is accepted.
	Speaker string

	// Target is the configuration that should run, and Revision its number in this life
	// of the controller: targets with the same number are equal. The configuration must
	// not be changed.
	Target   zeekapi.Configuration
	Revision uint64

	Directories []zeekapi.DirectorySpace // space in Config.Directories
}
