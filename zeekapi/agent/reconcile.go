package agent

import (
	"maps"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// reconcile checks the nodes to be started, stops the nodes that should not run, and
// starts those that should, in this order.
//
// No node is stopped or started before all checks have ended: a node to be replaced
// keeps running while its replacement is being checked, and until one passes. No node
// starts while another stops, because it may need the same ports.
func (ns *nodes) reconcile(now time.Time) {
	if !ns.told {
		return // without an assignment, running nodes must not be stopped
	}
	if ns.keep {
		ns.keep = false
		ns.emit(Keep{Nodes: slices.Sorted(maps.Keys(ns.all))})
	}
	ns.checkAll(now)
	if ns.any((*node).awaitsCheck) {
		return
	}
	ns.stop(now)
	if !ns.any(isStopping) {
		ns.start(now)
	}
}

func (ns *nodes) any(is func(*node) bool) bool {
	for _, n := range ns.all {
		if is(n) {
			return true
		}
	}
	return false
}

func isStopping(n *node) bool { return n.stopping }

// checkAll requests the check of the nodes to be started.
func (ns *nodes) checkAll(now time.Time) {
	var unchecked []launch.Node
	for _, n := range ns.all {
		if n.unchecked(now) {
			n.checking, n.checked = n.want, nil
			unchecked = append(unchecked, *n.want)
		}
	}
	if len(unchecked) > 0 {
		slices.SortFunc(unchecked, launch.Compare)
		ns.emit(Check{Nodes: unchecked})
	}
}

// stop stops the nodes that should not run, or run with another configuration.
func (ns *nodes) stop(now time.Time) {
	var stop []launch.Node
	for _, n := range ns.all {
		if n.mustStop() {
			stop = append(stop, *n.have)
		}
	}
	slices.SortFunc(stop, func(a, b launch.Node) int { return launch.Compare(b, a) })
	for _, s := range stop {
		n := ns.all[s.Name]
		n.stopping, n.again = true, false
		if n.want != nil && n.state != zeekapi.StateFailed {
			ns.setState(now, n, zeekapi.StatePending)
		}
		ns.emit(Stop{Node: s.Name})
	}
}

// start starts the nodes that should run and do not, in stages. Nodes that have
// died do not wait for their stage.
func (ns *nodes) start(now time.Time) {
	stage, limited := ns.stage()
	var start []launch.Node
	for _, n := range ns.all {
		if n.mayStart(now) && (n.deaths > 0 || !limited || n.want.Stage() <= stage) {
			start = append(start, n.next())
		}
	}
	slices.SortFunc(start, launch.Compare)
	for _, s := range start {
		n := ns.all[s.Name]
		n.have, n.started = &s, now
		n.adopted, n.begun, n.greeted, n.reborn, n.overdue, n.forced, n.returns = false, false, false, false, false, false, false
		n.edited = nil
		if n.deaths > 0 {
			n.restarts++
		}
		ns.setState(now, n, zeekapi.StatePending)
		ns.emit(Start{Node: s})
	}
}

// stage returns the last stage that may start: the first one with nodes that
// have not sent their hello. It returns false if all stages may start.
func (ns *nodes) stage() (stage int, limited bool) {
	if ns.stages.skip {
		return 0, false
	}
	for _, n := range ns.all {
		if n.delays() && (!limited || n.want.Stage() < stage) {
			stage, limited = n.want.Stage(), true
		}
	}
	return stage, limited
}

// expire marks the nodes that have sent no hello for too long as overdue.
func (ns *nodes) expire(now time.Time) {
	for _, n := range ns.all {
		if n.have != nil && !now.Before(n.started.Add(StagePatience)) {
			n.overdue = true
		}
	}
	ns.stages.expire(now)
}

// deadline returns the next time at which nodes need an action, unless an event
// of the launcher precedes it.
func (ns *nodes) deadline() timer {
	next := ns.stages.limit
	if !ns.told || ns.any(isStopping) || ns.any((*node).awaitsCheck) {
		return next
	}
	for _, n := range ns.all {
		if n.held != "" {
			continue
		}
		if n.have != nil && n.delays() {
			next.earlier(n.started.Add(StagePatience))
		}
		if n.stays() || n.have == nil && (n.state == zeekapi.StateCrashed || n.refused > 0) {
			next.earlier(n.retry)
		}
	}
	return next
}
