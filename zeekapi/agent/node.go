package agent

import (
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// node is a node that runs or should run.
type node struct {
	want *launch.Node // the assigned configuration; nil: the node should not run
	have *launch.Node // the configuration of the running process; nil: the node does not run

	stopping bool // have is being stopped
	again    bool // have must be restarted, even if it is equal to want
	adopted  bool // have was running before the agent started
	begun    bool // the launcher has started have
	greeted  bool // have has sent its hello
	reborn   bool // have has sent another hello: it was restarted, and the launcher has not reported that yet
	overdue  bool // have has sent no hello for too long; later stages need not wait for it

	checking *launch.Node // the configuration that is being checked
	checked  *launch.Node // the configuration that has passed the check
	refused  int          // failed checks in a row

	state     zeekapi.State
	since     time.Time // of state; zero: unknown
	pid       int64
	started   time.Time
	restarts  uint64
	deaths    int       // consecutive deaths, each soon after the start
	retry     time.Time // earliest time of the next start or check
	lastError string
	outputs   *zeekapi.NodeOutputs // outputs at the last death
	usage     launch.Usage
}

// fits reports whether the running process of a node, which may be stopping,
// has the assigned configuration.
func (n *node) fits() bool {
	return n.have != nil && n.want != nil && !n.again && n.have.Equal(*n.want)
}

// runs reports whether a node runs with the assigned configuration and has sent
// its hello.
func (n *node) runs() bool {
	return n.fits() && !n.stopping && n.state == zeekapi.StateRunning
}

// settled reports whether requests need not wait for a node: it runs, will not
// run, or keeps dying.
func (n *node) settled() bool {
	return n.want == nil || n.state == zeekapi.StateFailed || n.deaths >= DeathsToReport || n.runs()
}

// waits reports whether a node will be started, now or later.
func (n *node) waits() bool {
	return n.have == nil && n.want != nil && n.state != zeekapi.StateFailed
}

// delays reports whether later stages must wait for a node. They do not wait
// for a node that has died or is overdue.
func (n *node) delays() bool {
	return n.want != nil && n.state == zeekapi.StatePending && n.deaths == 0 && !n.overdue
}

// unchecked reports whether a node must be checked now.
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

// problem returns the reason why a node does not run.
func (n *node) problem() string {
	switch {
	case n.want == nil:
		return "no longer assigned to this instance"
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

// lastOutputs returns the outputs of a node at its last death, at most limit
// bytes of each. For a node that has not died, it returns the problem, because
// Zeek's client shows only the outputs in results.
func (n *node) lastOutputs(problem string, limit int) zeekapi.NodeOutputs {
	if n == nil || n.outputs == nil {
		return zeekapi.NodeOutputs{Stderr: problem}
	}
	end := func(s string) string { return s[max(0, len(s)-limit):] }
	return zeekapi.NodeOutputs{Stdout: end(n.outputs.Stdout), Stderr: end(n.outputs.Stderr)}
}

// wrong records a problem of a node. If the node wrote nothing to standard
// error, the reason replaces its output, because Zeek's client shows only the
// outputs.
func (n *node) wrong(text string, outputs zeekapi.NodeOutputs) {
	if outputs.Stderr == "" {
		outputs.Stderr = text
	}
	n.lastError, n.outputs = text, &outputs
}

// history returns the stored part of a node. It is zero for a node that should
// not run.
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
