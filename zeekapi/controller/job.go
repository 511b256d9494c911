package controller

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// job is a rolling restart.
type job struct {
	zeekapi.Job // Now and Next only after the end, see snapshot

	atOnce   int
	left     []zeekapi.Node         // in order
	now      map[string]*restarting // by node
	asked    map[string]bool        // instances that have not answered about their nodes
	stopped  error                  // why no more nodes are restarted, nil if they are
	patience time.Time              // until then, agents that are away are awaited; zero for a job that began in this life
	poll     alarm

	stored *StoredJob // of an earlier life; nil if the job began in this life, or was resumed
}

// restarting is a node that a job restarts.
type restarting struct {
	zeekapi.Node
	stage  restartStage
	unsure bool      // an earlier life, or another agent, was told to restart the node
	pid    int64     // of the process before the restart, 0 if that is not known
	agent  uuid.UUID // the peer that was told to restart the node
	until  time.Time
}

// restartStage is how far the restart of a node is.
type restartStage int

const (
	looking   restartStage = iota // the agent is to say which process the node is
	telling                       // the agent was told to restart the node, and has not answered
	returning                     // the agent has answered, and the node is to run again
)

func (j *job) running() bool { return j != nil && j.Ended.IsZero() }

// nodes returns the nodes that are being restarted.
func (j *job) nodes() []zeekapi.Node {
	var nodes []zeekapi.Node
	for _, name := range sortedKeys(j.now) {
		nodes = append(nodes, j.now[name].Node)
	}
	return nodes
}

// snapshot returns the progress of the job.
func (j *job) snapshot() zeekapi.Job {
	s := j.Job
	s.Done = slices.Clone(s.Done)
	switch {
	case j.stored != nil:
		s = j.stored.Job
	case j.running():
		s.Now = sortedKeys(j.now)
		s.Next = nil
		for _, n := range j.left {
			s.Next = append(s.Next, n.Name)
		}
	}
	return s
}

// form returns the stored form of the job.
func (j *job) form() StoredJob {
	s := StoredJob{Job: j.snapshot()}
	if !j.running() {
		return s
	}
	s.AtOnce = uint64(j.atOnce)
	for name, n := range j.now {
		if !n.unsure && n.stage == looking {
			continue
		}
		if s.Told == nil {
			s.Told = make(map[string]int64)
		}
		s.Told[name] = n.pid
	}
	if j.stopped != nil {
		s.Stopped = j.stopped.Error()
	}
	return s
}

// next returns the next stage of a node whose agent says which process it is, or
// looking if it has to be asked again. A node that an earlier life had restarted is
// restarted once more if it is still the same process, if it runs and the processes
// are unknown, or if it failed: then the agent says why.
func (n *restarting) next(status zeekapi.NodeStatus, told bool) restartStage {
	known := n.pid != 0 && status.PID != 0
	switch {
	case !n.unsure:
		return telling
	case !told:
		return looking // it may not have its configuration yet
	case status.State == zeekapi.StatePending && known && n.pid == status.PID:
		return looking // it is about to end
	case status.State == zeekapi.StatePending, status.State == zeekapi.StateRunning && known && n.pid != status.PID:
		return returning
	}
	return telling
}
