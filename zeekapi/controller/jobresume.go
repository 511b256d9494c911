package controller

import (
	"errors"
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// resumePatience is how long a resumed job waits for agents that are away. They
// have lost the controller, too, and come back one after the other.
const resumePatience = 2 * time.Minute

// lastJob returns the last job of an earlier life, nil if there was none.
func lastJob(state State) *job {
	if state.Job == nil {
		return nil
	}
	last := &job{Job: state.Job.Job}
	if last.running() {
		last.stored = state.Job
	}
	return last
}

// resume continues the job that the end of the controller interrupted. Restarts whose
// outcome is unknown are repeated only if the node is still the process that it was.
func (j *jobs) resume() {
	last := j.last
	if !last.running() {
		return
	}
	if err := j.recall(); err != nil {
		j.end(err)
		return
	}
	last.patience = j.now.Add(resumePatience)
	j.log.Info().Uint64("job", last.Number).Int("left", len(last.now)+len(last.left)).Msg("resuming the rolling restart")
	j.events.add(zeekapi.EventJob, "", "", fmt.Sprintf("job %d: resumed after a restart of the controller, %d nodes left", last.Number, len(last.now)+len(last.left)))
	j.advance()
}

// recall restores the job from its stored form, or returns why that is not possible.
func (j *jobs) recall() error {
	last, stored := j.last, j.last.stored
	if stored.AtOnce == 0 {
		return errors.New("the controller ended before the job did")
	}
	nodes := byName(j.configs.target().Nodes, func(n zeekapi.Node) string { return n.Name })
	now := make(map[string]*restarting)
	var left []zeekapi.Node
	for i, name := range append(stored.Now[:len(stored.Now):len(stored.Now)], stored.Next...) {
		node, ok := nodes[name]
		switch pid, told := stored.Told[name]; {
		case !ok:
			return fmt.Errorf("the controller ended before the job did, and node %s is no longer part of the cluster", name)
		case i < len(stored.Now):
			now[name] = &restarting{Node: node, unsure: told, pid: pid, until: j.now.Add(nodeTimeout)}
		default:
			left = append(left, node)
		}
	}
	last.atOnce, last.left, last.now, last.asked = int(min(stored.AtOnce, 1<<30)), left, now, make(map[string]bool)
	if stored.Stopped != "" {
		last.stopped = errors.New(stored.Stopped)
	}
	last.stored = nil
	return nil
}
