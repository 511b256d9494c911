package agent

import (
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// node is a node that the agent runs, should run, or is getting rid of.
type node struct {
	want *launch.Node // the configuration to run; nil: it should not run
	have *launch.Node // the configuration it was started with, until it exits; nil: it does not run

	stopping bool // have was told to stop
	again    bool // have must be told to stop, even though it is equal to want
	adopted  bool // have ran before the agent
	begun    bool // the launcher has started have
	greeted  bool // have introduced itself
	reborn   bool // have introduced itself once more: it died, and the launcher has yet to report that
	overdue  bool // have takes too long to introduce itself, others need not wait

	checking *launch.Node // is being checked
	checked  *launch.Node // has passed the check
	refused  int          // failed checks in a row

	state     zeekapi.State
	since     time.Time // of state; zero: unknown
	pid       int64
	started   time.Time
	restarts  uint64
	deaths    int       // in a row, each soon after its start
	retry     time.Time // not to be started, or checked again, before
	lastError string
	outputs   *zeekapi.NodeOutputs // of the last death
	usage     launch.Usage
}

// fits reports whether a node runs, or ran until it was told to stop, as what
// it should.
func (n *node) fits() bool {
	return n.have != nil && n.want != nil && !n.again && n.have.Equal(*n.want)
}

// runs reports whether a node runs as it should and has said so.
func (n *node) runs() bool {
	return n.fits() && !n.stopping && n.state == zeekapi.StateRunning
}

// settled reports whether there is nothing to wait for: a node runs, will not
// run, or has shown that it does not run well.
func (n *node) settled() bool {
	return n.want == nil || n.state == zeekapi.StateFailed || n.deaths >= DeathsToReport || n.runs()
}

// waits reports whether a node is to be started sooner or later.
func (n *node) waits() bool {
	return n.have == nil && n.want != nil && n.state != zeekapi.StateFailed
}

// delays reports whether later stages must wait for a node. A node that died
// has had its turn, and so has one that takes too long.
func (n *node) delays() bool {
	return n.want != nil && n.state == zeekapi.StatePending && n.deaths == 0 && !n.overdue
}

// unchecked reports whether it is time to check whether a node could start.
func (n *node) unchecked(now time.Time) bool {
	switch {
	case n.want == nil,
		n.fits() && !n.stopping,
		n.awaitsCheck(),
		n.checked != nil && n.checked.Equal(*n.want),
		n.state == zeekapi.StateFailed && n.refused == 0,
		now.Before(n.retry):
		return false
	}
	return true
}

// awaitsCheck reports whether the check of the configuration to run has no result
// yet.
func (n *node) awaitsCheck() bool {
	return n.want != nil && n.checking != nil && n.checking.Equal(*n.want)
}

// problem returns why a node does not run.
func (n *node) problem() string {
	switch {
	case n.want == nil:
		return "no longer wanted"
	case n.lastError != "":
		return n.lastError
	case n.checking != nil:
		return "still being checked"
	case n.stopping || n.have != nil && !n.fits():
		return "still stopping what it replaces"
	case n.have != nil:
		return "still starting"
	}
	return "still waiting to start"
}

// lastOutputs returns the outputs of a node at its last death, at most limit bytes of
// each. Of a node that has not died, it is the problem: of the
// results of nodes Zeek's client shows nothing but outputs.
func (n *node) lastOutputs(problem string, limit int) zeekapi.NodeOutputs {
	if n == nil || n.outputs == nil {
		return zeekapi.NodeOutputs{Stderr: problem}
	}
	end := func(s string) string { return s[max(0, len(s)-limit):] }
	return zeekapi.NodeOutputs{Stdout: end(n.outputs.Stdout), Stderr: end(n.outputs.Stderr)}
}

// wrong records a problem of a node. If the node wrote nothing to standard error, the
// reason takes the place of its output, because that is what Zeek's
// client shows.
func (n *node) wrong(text string, outputs zeekapi.NodeOutputs) {
	if outputs.Stderr == "" {
		outputs.Stderr = text
	}
	n.lastError, n.outputs = text, &outputs
}

// history returns the part of a node that is stored; it is zero for a node that
// should not run.
func (n *node) history() NodeHistory {
	if n.want == nil {
		return NodeHistory{}
	}
	return NodeHistory{n.restarts, n.lastError}
}

// status returns the status of a node, which is UNKNOWN if it should not run.
func (n *node) status() zeekapi.NodeStatus {
	is, state := n.want, n.state
	if is == nil {
		is, state = n.have, zeekapi.StateUnknown
	}
	return zeekapi.NodeStatus{
		Node: is.Name, State: state, PID: n.pid,
		ManagementRole: zeekapi.ManagementNone, ClusterRole: is.Role,
		Port: is.Port, MetricsPort: is.MetricsPort,
	}
}
