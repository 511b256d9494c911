package agent

import (
	"maps"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// reconcile checks what is to be started, stops what should not run and starts
// what should, in this order.
//
// Nothing is stopped or started before it is known whether what is to be
// started could run: what is to be replaced runs on while its successor is
// being checked. Nothing starts while something stops: the new may need the
// ports of the old.
func (m *Machine) reconcile(now time.Time) {
	if !m.told {
		return // an agent that knows nothing must not end what runs well
	}
	if m.keep {
		m.keep = false
		m.emit(Keep{Nodes: slices.Sorted(maps.Keys(m.nodes))})
	}
	m.check(now)
	if m.checking() {
		return
	}
	m.stop()
	if !m.stopping() {
		m.start(now)
	}
}

// check asks for the check of what is to be started.
func (m *Machine) check(now time.Time) {
	var nodes []launch.Node
	for _, n := range m.nodes {
		switch {
		case n.want == nil,
			n.fits() && !n.stopping,
			n.checking != nil && n.checking.Equal(*n.want),
			n.checked != nil && n.checked.Equal(*n.want),
			n.state == zeekapi.StateFailed && n.refused == 0,
			now.Before(n.retry):
		default:
			n.checking, n.checked = n.want, nil
			nodes = append(nodes, *n.want)
		}
	}
	if len(nodes) > 0 {
		slices.SortFunc(nodes, launch.Compare)
		m.emit(Check{Nodes: nodes})
	}
}

// stop stops what should not run at all, or not like that.
func (m *Machine) stop() {
	var stop []launch.Node
	for _, n := range m.nodes {
		if n.have == nil || n.stopping || n.fits() && n.state != zeekapi.StateFailed {
			continue
		}
		n.stopping, n.again = true, false
		stop = append(stop, *n.have)
	}
	slices.SortFunc(stop, func(a, b launch.Node) int { return launch.Compare(b, a) })
	for _, s := range stop {
		m.emit(Stop{Node: s.Name})
	}
}

// start starts what should run and does not, stage by stage.
func (m *Machine) start(now time.Time) {
	stage := m.stage()
	var start []launch.Node
	for _, n := range m.nodes {
		if n.waits() && n.checked != nil && !now.Before(n.retry) && (n.deaths > 0 || n.want.Stage() <= stage) {
			start = append(start, *n.want)
		}
	}
	slices.SortFunc(start, launch.Compare)
	for _, s := range start {
		n := m.nodes[s.Name]
		n.have, n.started = &s, now
		n.adopted, n.begun, n.greeted, n.reborn, n.overdue = false, false, false, false, false
		if n.deaths > 0 {
			n.restarts++
		}
		m.setState(now, n, zeekapi.StatePending)
		m.emit(Start{Node: s})
	}
}

// waits reports whether a node is to be started sooner or later.
func (n *node) waits() bool {
	return n.have == nil && n.want != nil && n.state != zeekapi.StateFailed
}

// stage returns the stage that may start, with all before it: the first with
// nodes that have yet to introduce themselves.
func (m *Machine) stage() int {
	const last = 1 << 10 // no limit
	stage := last
	if m.rush {
		return last
	}
	for _, n := range m.nodes {
		if n.holdsUp() {
			stage = min(stage, n.want.Stage())
		}
	}
	return stage
}

// holdsUp reports whether later stages must wait for a node. One that died has
// had its turn, and so has one that takes too long.
func (n *node) holdsUp() bool {
	return n.want != nil && n.state == zeekapi.StatePending && n.deaths == 0 && !n.overdue
}

// expireStages notes which nodes take too long.
func (m *Machine) expireStages(now time.Time) {
	for _, n := range m.nodes {
		if n.have != nil && !now.Before(n.started.Add(StagePatience)) {
			n.overdue = true
		}
	}
}

// stopping reports whether some node was told to stop and has not.
func (m *Machine) stopping() bool {
	for _, n := range m.nodes {
		if n.stopping {
			return true
		}
	}
	return false
}

// nodeDeadlines tells when nodes next need something.
func (m *Machine) nodeDeadlines(earlier func(time.Time)) {
	if !m.told || m.stopping() || m.checking() {
		return // until an event of the launcher
	}
	for _, n := range m.nodes {
		switch {
		case n.want == nil:
		case n.have != nil && n.holdsUp():
			earlier(n.started.Add(StagePatience))
		case n.have == nil && (n.state == zeekapi.StateCrashed || n.refused > 0):
			earlier(n.retry)
		}
	}
}

// checking reports whether the answer to some check is outstanding.
func (m *Machine) checking() bool {
	for _, n := range m.nodes {
		if n.want != nil && n.checking != nil && n.checking.Equal(*n.want) {
			return true
		}
	}
	return false
}
