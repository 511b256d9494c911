package agent

import (
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// node is a node that runs or should run.
type node struct {
	want *launch.Node // the assigned configuration; nil: the node should not run
	have *launch.Node // the configuration of the running process; nil: the node does not run
	kept *launch.Node // the earlier configuration with which the node returns after its death, because want has failed its check; nil: none

	held     string // why the node must not run now, although it is assigned; "" if it may
	stopping bool   // have is being stopped
	cause    error  // why have is being stopped, if that counts as a death
	again    bool   // have must be replaced, even if it is equal to want
	forced   bool   // have must be replaced, even if want fails its check
	adopted  bool   // have was running before the agent started
	begun    bool   // the launcher has started have
	greeted  bool   // have has sent its hello
	reborn   bool   // have has sent another hello: it was restarted, and the launcher has not reported that yet
	returns  bool   // kept is to be started, because want has failed its check again
	overdue  bool   // have has sent no hello for too long; later stages need not wait for it

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
	outputs   *zeekapi.NodeOutputs // outputs at the last death, or of a failed check since then
	edited    []string             // scripts that have changed since have loaded them
	usage     launch.Usage
	measured  measured
}

// fits reports whether the running process of a node, which may be stopping,
// has the assigned configuration.
func (n *node) fits() bool {
	return n.have != nil && n.want != nil && !n.again && n.have.Equal(*n.want)
}

// fitting reports whether a deployment of want would not restart the node.
func (n *node) fitting(want launch.Node, r renewal) bool {
	return n != nil && n.have != nil && !n.stopping && !n.again && n.have.Equal(want) && !r.covers(n)
}

// alive reports whether a node runs and has sent its hello, with the assigned
// configuration or an earlier one.
func (n *node) alive() bool {
	return n.have != nil && n.want != nil && !n.stopping && n.state == zeekapi.StateRunning
}

// runs reports whether a node runs with the assigned configuration and has sent
// its hello.
func (n *node) runs() bool { return n.fits() && n.alive() }

// mayStay reports whether a node keeps running if its replacement fails the check. A
// node that keeps crashing does not.
func (n *node) mayStay() bool {
	return n.have != nil && !n.stopping && !n.forced && n.state != zeekapi.StateFailed
}

// stays reports whether a node keeps running with an earlier configuration, or earlier
// scripts, because its replacement has failed the check.
func (n *node) stays() bool { return n.refused > 0 && !n.fits() && n.mayStay() }

// mayReturn reports whether a node that has died runs again with its earlier configuration
// if the assigned one fails the check.
func (n *node) mayReturn() bool {
	return n.have == nil && n.kept != nil && !n.forced && n.state != zeekapi.StateFailed
}

// mayStart reports whether a node that does not run can be started now.
func (n *node) mayStart(now time.Time) bool {
	return n.waits() && n.held == "" && (n.returns || n.checked != nil && !now.Before(n.retry))
}

// next returns the configuration with which a node starts.
func (n *node) next() launch.Node {
	if n.returns {
		return *n.kept
	}
	return *n.want
}

// mustStop reports whether to stop a node now: it is not assigned, it keeps crashing, it
// must not run, or its replacement has passed the check.
func (n *node) mustStop() bool {
	return n.have != nil && !n.stopping && (n.want == nil || n.held != "" || n.state == zeekapi.StateFailed || !n.fits() && n.ready())
}

// ready reports whether the assigned configuration has passed the check.
func (n *node) ready() bool { return n.checked != nil && n.checked.Equal(*n.want) }

// settled reports whether requests need not wait for a node: it runs, will not
// run, or keeps dying.
func (n *node) settled() bool {
	return n.want == nil || n.held != "" || n.state == zeekapi.StateFailed || n.deaths >= DeathsToReport || n.runs() || n.stays()
}

// waits reports whether a node will be started, now or later.
func (n *node) waits() bool {
	return n.have == nil && n.want != nil && n.state != zeekapi.StateFailed
}

// delays reports whether later stages must wait for a node. They do not wait
// for a node that has died or is overdue.
func (n *node) delays() bool {
	return n.want != nil && n.held == "" && n.state == zeekapi.StatePending && n.deaths == 0 && !n.overdue
}

// unchecked reports whether a node must be checked now.
func (n *node) unchecked(now time.Time) bool {
	switch {
	case n.want == nil,
		n.held != "",
		n.fits() && !n.stopping,
		n.awaitsCheck(),
		n.ready(),
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
	case n.held != "":
		return n.held
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

// lastOutputs returns the outputs of a node at its last death, or of a failed check
// since then, at most limit bytes of each. Without outputs it returns the problem.
func (n *node) lastOutputs(problem string, limit int) zeekapi.NodeOutputs {
	if n == nil || n.outputs == nil {
		return zeekapi.NodeOutputs{Stderr: problem}
	}
	return shorten(*n.outputs, limit)
}

// wrong records a problem of a node.
func (n *node) wrong(text string, outputs zeekapi.NodeOutputs) {
	outputs = explain(text, outputs)
	n.lastError, n.outputs = text, &outputs
}

// forget clears the failed checks of a node, and its last error.
func (n *node) forget() {
	n.retry, n.outputs, n.lastError = time.Time{}, nil, ""
	n.checked, n.refused = nil, 0
}

// refuse records a failed check, and plans the next one.
func (n *node) refuse(now time.Time, text string, outputs zeekapi.NodeOutputs) {
	n.retry = now.Add(min(MinRecheck<<min(n.refused, 10), MaxRecheck))
	n.refused++
	n.wrong(text, outputs)
}

// refusal describes a failed check.
func (n *node) refusal(reason string) string {
	switch {
	case !n.mayStay() && !n.mayReturn():
		return reason
	case n.have != nil && n.again && n.have.Equal(*n.want):
		return fmt.Sprintf("cannot be replaced: %s; the earlier scripts run", reason)
	}
	return fmt.Sprintf("cannot be replaced: %s; the earlier configuration runs", reason)
}

// explain replaces an empty standard error by the reason of a problem, because Zeek's
// client shows only the outputs in results.
func explain(reason string, o zeekapi.NodeOutputs) zeekapi.NodeOutputs {
	if o.Stderr == "" {
		o.Stderr = reason
	}
	return o
}

// shorten returns the ends of outputs, at most limit bytes of each.
func shorten(o zeekapi.NodeOutputs, limit int) zeekapi.NodeOutputs {
	end := func(s string) string { return s[max(0, len(s)-limit):] }
	return zeekapi.NodeOutputs{Stdout: end(o.Stdout), Stderr: end(o.Stderr)}
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
