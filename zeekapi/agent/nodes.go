package agent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// nodes starts, stops and monitors the nodes of the instance, and reports their
// states.
type nodes struct {
	*outbox
	all    map[string]*node
	told   bool // the agent has an assignment, which may be empty
	keep   bool // the launcher must be told the assigned nodes
	stages stages
}

func newNodes(o *outbox, running []launch.Running) *nodes {
	ns := &nodes{outbox: o, all: make(map[string]*node)}
	for _, r := range running {
		ns.all[r.Node.Name] = &node{
			have: &r.Node, pid: r.PID, started: r.Started, adopted: true, begun: true, state: zeekapi.StatePending,
		}
	}
	return ns
}

// rebase makes the times at which an earlier agent started nodes comparable with those to
// come, which have a monotonic reading. So later changes of the clock have no effect. A
// time in the future means that the clock was set back: it becomes the present.
func (ns *nodes) rebase(now time.Time) {
	for _, n := range ns.all {
		if !n.started.IsZero() {
			n.started = now.Add(-max(0, now.Sub(n.started)))
		}
	}
}

// recall takes the earlier configurations of nodes that an earlier agent stored. Those of
// nodes that run are known.
func (ns *nodes) recall(kept []launch.Node) {
	for _, k := range kept {
		if n := ns.all[k.Name]; n != nil && n.want != nil && n.have == nil && !k.Equal(*n.want) {
			n.kept = &k
		}
	}
}

// kept returns the earlier configurations of nodes, sorted by name.
func (ns *nodes) kept() []launch.Node {
	var kept []launch.Node
	for _, name := range slices.Sorted(maps.Keys(ns.all)) {
		if k := ns.all[name].kept; k != nil {
			kept = append(kept, *k)
		}
	}
	return kept
}

// renewal selects the nodes that a deployment restarts although their configuration has
// not changed.
type renewal struct {
	all    bool // all nodes, even those that fail their check
	edited bool // nodes with changed scripts
	same   bool // none; nodes with the same configuration keep their failures
}

func (r renewal) covers(n *node) bool { return r.all || r.edited && len(n.edited) > 0 }

// assign changes the assignment; nil means no nodes. Nodes that run with the
// assigned configuration are not restarted, except for the renewal.
func (ns *nodes) assign(now time.Time, a *Assignment, r renewal) {
	former := make(map[*node]*launch.Node)
	for _, n := range ns.all {
		former[n], n.want = n.want, nil
	}
	for _, want := range a.nodes() {
		if n := ns.all[want.Name]; r.same && n != nil && former[n] != nil && former[n].Equal(want) {
			want.Layout = former[n].Layout // see want
			n.want = &want
			continue
		}
		ns.want(now, want, r)
	}
	for _, n := range ns.all {
		n.again = n.again && n.want != nil
		if n.kept != nil && (n.want == nil || n.forced || n.kept.Equal(*n.want)) {
			n.kept = nil
		}
		n.returns = n.returns && r.same && n.mayReturn()
	}
	maps.DeleteFunc(ns.all, func(_ string, n *node) bool { return n.want == nil && n.have == nil })
	ns.told, ns.keep = true, true
	ns.limitMemory()
}

// want changes the configuration that a node should run.
func (ns *nodes) want(now time.Time, want launch.Node, r renewal) {
	n := ns.all[want.Name]
	if n == nil {
		n = &node{state: zeekapi.StatePending}
		ns.all[want.Name] = n
	}
	if n.have != nil && n.have.Equal(want) {
		want.Layout = n.have.Layout // sharing the memory makes later comparisons fast
	}
	n.want = &want
	n.restarts = 0
	n.again = n.have != nil && r.covers(n)
	n.forced = r.all
	ns.reconsider(now, n)
}

// reconsider clears the failures of a node that will be started or replaced. A node that
// runs with the assigned configuration is no longer to be replaced.
func (ns *nodes) reconsider(now time.Time, n *node) {
	if n.stopping || !n.fits() {
		ns.renew(now, n)
		return
	}
	if n.refused > 0 {
		n.forget()
	}
	ns.running(now, n)
}

// again processes another deployment of the assignment, without a renewal. It repeats
// failed checks at once, because the problem may have been solved. Nodes with changed
// scripts are no longer to be replaced.
func (ns *nodes) again(now time.Time) {
	for _, n := range ns.all {
		if n.want != nil && n.refused > 0 {
			n.again = n.again && !n.stays()
			ns.reconsider(now, n)
		}
	}
}

// replaced returns the nodes that a deployment of a would start or restart, in the order
// in which to start them.
func (ns *nodes) replaced(a *Assignment, r renewal) []launch.Node {
	return slices.DeleteFunc(a.nodes(), func(want launch.Node) bool { return ns.all[want.Name].fitting(want, r) })
}

// edits reports whether any node has changed scripts.
func (ns *nodes) edits() bool {
	return ns.any(func(n *node) bool { return len(n.edited) > 0 })
}

// restore sets the history of assigned nodes, which an earlier agent stored.
func (ns *nodes) restore(past map[string]NodeHistory) {
	for name, p := range past {
		if n := ns.all[name]; n != nil && n.want != nil {
			n.restarts, n.lastError = p.Restarts, p.LastError
		}
	}
}

// restart restarts nodes that have passed their check.
func (ns *nodes) restart(now time.Time, passed []launch.Node) {
	for _, p := range passed {
		n := ns.all[p.Name]
		n.again = n.have != nil
		n.restarts++
		ns.renew(now, n)
		n.checking, n.checked, n.kept, n.returns = nil, &p, nil, false
	}
}

// renew clears the failures of a node that will be started or replaced. A running node
// keeps its state until it is stopped.
func (ns *nodes) renew(now time.Time, n *node) {
	n.deaths = 0
	n.forget()
	if n.have == nil || n.stopping || n.state == zeekapi.StateFailed {
		ns.setState(now, n, zeekapi.StatePending)
	}
}

// setState changes the state of a node that should run, and reports that.
func (ns *nodes) setState(now time.Time, n *node, s zeekapi.State) {
	if n.state == s {
		return
	}
	ns.changed(n.want.Node, n.state, s)
	n.state, n.since = s, now
}

// runs reports whether a node runs with the assigned configuration and has sent
// its hello.
func (ns *nodes) runs(name string) bool {
	n := ns.all[name]
	return n != nil && n.runs()
}

// alive reports whether a node runs and has sent its hello, with the assigned
// configuration or an earlier one.
func (ns *nodes) alive(name string) bool {
	n := ns.all[name]
	return n != nil && n.alive()
}

// wanted returns the assigned configuration of a node, or nil.
func (ns *nodes) wanted(name string) *launch.Node {
	if n := ns.all[name]; n != nil {
		return n.want
	}
	return nil
}

// knows reports whether there is a node with this name, running or not.
func (ns *nodes) knows(name string) bool { return ns.all[name] != nil }

// settled reports whether requests need not wait for a node.
func (ns *nodes) settled(name string) bool {
	n := ns.all[name]
	return n == nil || n.settled()
}

// problem returns the reason why a node does not run, and its outputs, at most limit
// bytes of each.
func (ns *nodes) problem(name string, limit int) (string, broker.Value) {
	n := ns.all[name]
	problem := "no longer assigned to this instance"
	if n != nil {
		problem = n.problem()
	}
	return problem, mustMarshal(n.lastOutputs(problem, limit))
}

// selected returns the assigned nodes among the named ones, or all assigned
// nodes if no names are given. They are sorted.
func (ns *nodes) selected(wanted []string) []string {
	var names []string
	for name, n := range ns.all {
		if n.want != nil && (len(wanted) == 0 || slices.Contains(wanted, name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// hold keeps a node from running, or lets it run again if why is "".
func (ns *nodes) hold(now time.Time, n *node, why string) {
	if n.held != "" && why == "" && n.want != nil {
		ns.renew(now, n)
	}
	n.held = why
}

// launched processes an event of the launcher. The machine calls checked for Checked.
func (ns *nodes) launched(now time.Time, ev launch.Event) {
	switch ev := ev.(type) {
	case launch.Started:
		if n := ns.all[ev.Node]; n != nil && n.have != nil {
			n.pid, n.begun = ev.PID, true
			ns.running(now, n)
		}
	case launch.Up:
		ns.hello(now, ev.Node, ev.Indirect)
	case launch.Revived:
		ns.revived(now, ev)
	case launch.Exited:
		ns.exited(now, ev)
	case launch.Edited:
		for name, n := range ns.all {
			n.edited = nil
			if n.have != nil && n.begun { // otherwise the report may be about an earlier process
				n.edited = ev.Nodes[name]
			}
		}
	case launch.Measured:
		ns.measured(ev.Nodes)
	}
}

// hello processes the hello of a node, and whether requests to it pass through another node.
func (ns *nodes) hello(now time.Time, name string, indirect bool) {
	n := ns.all[name]
	if n == nil || n.have == nil {
		return
	}
	n.reborn = n.greeted
	n.greeted, n.measured.mute, n.measured.indirect = true, false, indirect
	ns.running(now, n)
}

// running sets the state of a node to RUNNING if the launcher has reported its
// process and the node has sent its hello.
func (ns *nodes) running(now time.Time, n *node) {
	if !n.begun || !n.greeted || n.have == nil || n.want == nil || n.stopping || n.state == zeekapi.StateFailed {
		return
	}
	ns.setState(now, n, zeekapi.StateRunning)
	if n.adopted && !n.started.IsZero() {
		n.since = n.started
	}
}

// checked processes the result of a check before a start, and reports whether a node
// waited for it. The result for a configuration that is no longer assigned has no effect.
func (ns *nodes) checked(now time.Time, ev launch.Checked) bool {
	n := ns.all[ev.Node.Name]
	if n == nil || n.checking == nil || !n.checking.Equal(ev.Node) {
		return false
	}
	n.checking = nil
	switch {
	case n.want == nil || !n.want.Equal(ev.Node):
	case ev.Err != nil:
		ns.refuse(now, n, ev)
	default:
		if n.refused > 0 {
			ns.renew(now, n)
		}
		n.checked, n.kept, n.returns = &ev.Node, nil, false
	}
	return true
}

// refuse processes a failed check. A running node keeps running, and one that has died
// since returns with its earlier configuration, unless its replacement is forced.
func (ns *nodes) refuse(now time.Time, n *node, ev launch.Checked) {
	text := n.refusal(ev.Err.Error())
	news := n.refused == 0 || n.lastError != text
	n.refuse(now, text, ev.Outputs)
	if n.stays() && !n.have.Equal(*n.want) {
		n.kept = n.have
	}
	if n.returns = n.mayReturn(); n.returns || n.stays() {
		if news {
			ns.complain(ev.Node.Name, "node %s %s", ev.Node.Name, text)
		}
		return
	}
	if news {
		ns.complain(ev.Node.Name, "node %s cannot run: %s", ev.Node.Name, text)
	}
	ns.setState(now, n, zeekapi.StateFailed)
}

func (ns *nodes) exited(now time.Time, ev launch.Exited) {
	n := ns.all[ev.Node]
	if n == nil || n.have == nil {
		return
	}
	was, begun, expected := n.have, n.begun, n.stopping && n.cause == nil
	if n.cause != nil {
		ev.Err, n.cause = n.cause, nil
	}
	n.have, n.stopping, n.again, n.overdue, n.pid, n.edited, n.usage = nil, false, false, false, 0, nil, launch.Usage{}
	n.measured = measured{}
	switch {
	case n.want == nil:
		ns.changed(was.Node, n.state, zeekapi.StateStopped)
		delete(ns.all, ev.Node)
	case !expected:
		ns.exitedByItself(now, n, begun, ev)
	case n.state != zeekapi.StateFailed:
		ns.setState(now, n, zeekapi.StatePending)
	}
}

func (ns *nodes) exitedByItself(now time.Time, n *node, begun bool, ev launch.Exited) {
	err := cmp.Or(ev.Err, errEndedByItself)
	if begun {
		ns.complain(ev.Node, "node %s died: %v%s", ev.Node, err, lastLine(ev.Outputs))
	} else {
		ns.complain(ev.Node, "failed to create node %s: %v%s", ev.Node, err, lastLine(ev.Outputs))
	}
	ns.died(now, n, err, ev.Outputs)
	if n.state == zeekapi.StateCrashed {
		n.retry = now.Add(min(MinBackOff<<(n.deaths-1), MaxBackOff))
	}
}

var errEndedByItself = errors.New("it ended by itself")

// lastLine quotes the last line that a node wrote to standard error. It is
// often the reason of the node's death, and the next start overwrites it.
func lastLine(outputs zeekapi.NodeOutputs) string {
	const most = 200
	text := strings.TrimSpace(outputs.Stderr)
	line := text[strings.LastIndexByte(text, '\n')+1:]
	if line == "" {
		return ""
	}
	return fmt.Sprintf(", saying %q", line[:min(len(line), most)])
}

// revived processes the restart of a node by the Supervisor. The death of a
// node that is being stopped is not a failure.
func (ns *nodes) revived(now time.Time, ev launch.Revived) {
	n := ns.all[ev.Node]
	if n == nil || n.have == nil || n.want == nil || n.stopping {
		return
	}
	ns.complain(ev.Node, "node %s died%s", ev.Node, lastLine(ev.Outputs))
	ns.died(now, n, errDied, ev.Outputs)
	n.started, n.pid, n.adopted, n.edited, n.measured = now, ev.PID, false, nil, measured{}
	n.greeted, n.reborn = n.reborn, false
	n.restarts++
	ns.running(now, n)
}

var errDied = errors.New("it died")

// died counts the death of a node and changes its state to CRASHED, or to
// FAILED if it has died too often.
func (ns *nodes) died(now time.Time, n *node, err error, outputs zeekapi.NodeOutputs) {
	if now.Sub(n.started) >= StableAfter {
		n.deaths = 0
	}
	n.deaths++
	n.wrong(err.Error(), outputs)
	if n.deaths < MaxDeaths {
		ns.setState(now, n, zeekapi.StateCrashed)
		return
	}
	ns.setState(now, n, zeekapi.StateFailed)
	n.kept = nil
	ns.complain(n.want.Name, "node %s died %d times in a row, giving up", n.want.Name, n.deaths)
}

// statuses returns the status of the nodes that should run, by name.
func (ns *nodes) statuses() []zeekapi.NodeStatus {
	var list []zeekapi.NodeStatus
	for _, name := range ns.selected(nil) {
		list = append(list, ns.all[name].status())
	}
	return list
}

// details returns details of all nodes, including those that should not run,
// sorted by name.
func (ns *nodes) details() []zeekapi.NodeDetail {
	details := []zeekapi.NodeDetail{}
	for _, name := range slices.Sorted(maps.Keys(ns.all)) {
		n := ns.all[name]
		detail := zeekapi.NodeDetail{
			Status: n.status(), Since: n.since, Restarts: n.restarts, LastError: n.lastError,
			CPU: n.usage.CPU, Memory: n.usage.Memory, Edited: n.edited,
			Threads: n.usage.Threads, Files: n.usage.Files, Started: n.usage.Started,
			Traffic: n.measured.traffic.latest(), Connections: n.measured.connections, Silent: n.measured.silent,
		}
		if n.want != nil {
			detail.Interface = n.want.Interface
		}
		switch {
		case n.want != nil && n.held != "":
			detail.LastError = n.held
		case n.want != nil:
		case ns.told:
			detail.LastError = "it should not run and is being stopped"
		default:
			detail.LastError = "the agent has no deployment yet that says whether it should run"
		}
		details = append(details, detail)
	}
	return details
}
