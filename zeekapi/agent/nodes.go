package agent

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// node is a node that the agent runs, should run, or is getting rid of.
type node struct {
	want *launch.Node // as what it should run; nil: not at all
	have *launch.Node // as what it was started, until it has exited; nil: it is not running

	stopping bool // have was told to stop
	again    bool // have must be told to stop, even though it is what we want
	adopted  bool // have ran before the agent
	begun    bool // the launcher has started have
	greeted  bool // have introduced itself
	reborn   bool // have introduced itself once more, so it died and we have yet to hear of that
	overdue  bool // have takes too long to introduce itself, others need not wait

	checking *launch.Node // is being checked
	checked  *launch.Node // has passed the check
	refused  int          // how often it has failed the check in a row

	state     zeekapi.State
	since     time.Time // of state; zero: not known
	pid       int64
	started   time.Time
	restarts  uint64
	deaths    int       // in a row, none of which came late
	retry     time.Time // not to be started, or checked again, before
	lastError string
	outputs   *zeekapi.NodeOutputs
	usage     launch.Usage
}

// adopt makes an assignment what should run, nil for nothing. Nodes that run as
// they should are left alone, unless all are to start anew.
func (m *Machine) adopt(now time.Time, a *Assignment, anew bool) {
	m.assigned = a
	var nodes []launch.Node
	if a != nil {
		nodes = a.nodes()
	}
	for _, n := range m.nodes {
		n.want = nil
	}
	for _, want := range nodes {
		n := m.nodes[want.Name]
		if n == nil {
			n = &node{state: zeekapi.StatePending}
			m.nodes[want.Name] = n
		}
		if n.have != nil && n.have.Equal(want) {
			want.Layout = n.have.Layout // the same memory makes it quick to find that out again
		}
		n.want = &want
		n.restarts = 0
		n.again = anew && n.have != nil
		switch {
		case n.stopping || !n.fits():
			m.renew(now, n)
		default: // what was to replace it may no longer be wanted
			m.running(now, n)
		}
	}
	for name, n := range m.nodes {
		if n.want == nil && n.have == nil {
			delete(m.nodes, name)
		}
	}
	m.told, m.keep = true, true
}

// renew forgets the past of a node that is to be started.
func (m *Machine) renew(now time.Time, n *node) {
	n.deaths, n.retry, n.outputs, n.lastError = 0, time.Time{}, nil, ""
	n.checked, n.refused = nil, 0
	m.setState(now, n, zeekapi.StatePending)
}

// setState changes the state of a node that should run, and tells about it.
func (m *Machine) setState(now time.Time, n *node, s zeekapi.State) {
	if n.state == s {
		return
	}
	m.changed(n.want.Node, n.state, s)
	n.state, n.since = s, now
}

func (m *Machine) changed(n zeekapi.Node, from, to zeekapi.State) {
	n.State = to
	m.publish(m.asked, zeekapi.AgentChange{Instance: m.self.Name, Node: n, Old: from, New: to})
}

func (m *Machine) complain(node, format string, args ...any) {
	m.publish(m.asked, zeekapi.AgentError{Instance: m.self.Name, Node: node, Text: fmt.Sprintf(format, args...)})
}

// fits reports whether a node runs, or ran until it was told to stop, as what
// it should.
func (n *node) fits() bool {
	return n.have != nil && n.want != nil && !n.again && n.have.Equal(*n.want)
}

// runs reports whether a node runs as it should and has said so.
func (m *Machine) runs(name string) bool {
	n := m.nodes[name]
	return n != nil && n.fits() && !n.stopping && n.state == zeekapi.StateRunning
}

func (m *Machine) launched(now time.Time, ev launch.Event) {
	switch ev := ev.(type) {
	case launch.Started:
		if n := m.nodes[ev.Node]; n != nil && n.have != nil {
			n.pid, n.begun = ev.PID, true
			m.running(now, n)
		}
	case launch.Up:
		m.up(now, ev.Node)
	case launch.Revived:
		m.revived(now, ev)
	case launch.Exited:
		m.exited(now, ev)
	case launch.Answered:
		m.answered(ev.Response)
	case launch.Checked:
		m.checked(now, ev)
	case launch.Upgraded:
		m.self.Zeek = ev.Version
		m.describe()
	case launch.Measured:
		for name, n := range m.nodes {
			n.usage = ev.Nodes[name]
		}
	}
}

func (m *Machine) up(now time.Time, name string) {
	n := m.nodes[name]
	if n == nil || n.have == nil {
		return
	}
	n.reborn = n.greeted
	n.greeted = true
	m.running(now, n)
}

// running notes that a node runs, once we know of its process as well as of
// itself.
func (m *Machine) running(now time.Time, n *node) {
	if !n.begun || !n.greeted || !n.fits() || n.stopping || n.state == zeekapi.StateFailed {
		return
	}
	m.setState(now, n, zeekapi.StateRunning)
	if n.adopted && !n.started.IsZero() {
		n.since = n.started
	}
}

// checked takes the result of a check, unless it is about what should no longer
// run.
func (m *Machine) checked(now time.Time, ev launch.Checked) {
	n := m.nodes[ev.Node.Name]
	if n == nil || n.checking == nil || !n.checking.Equal(ev.Node) {
		return
	}
	n.checking = nil
	if n.want == nil || !n.want.Equal(ev.Node) {
		return
	}
	if ev.Err == nil {
		n.checked = &ev.Node
		if n.refused > 0 {
			m.renew(now, n)
			n.checked = &ev.Node
		}
		return
	}
	if text := ev.Err.Error(); n.refused == 0 || n.lastError != text {
		m.complain(ev.Node.Name, "node %s cannot run: %s", ev.Node.Name, text)
	}
	n.retry = now.Add(min(MinRecheck<<min(n.refused, 10), MaxRecheck))
	n.refused++
	m.wrong(n, ev.Err.Error(), ev.Outputs)
	m.setState(now, n, zeekapi.StateFailed)
}

// wrong notes what is wrong with a node. A node that wrote nothing about it has
// the reason itself for its output, because that is what Zeek's client shows.
func (m *Machine) wrong(n *node, text string, outputs zeekapi.NodeOutputs) {
	if outputs.Stderr == "" {
		outputs.Stderr = text
	}
	n.lastError, n.outputs = text, &outputs
}

func (m *Machine) exited(now time.Time, ev launch.Exited) {
	n := m.nodes[ev.Node]
	if n == nil || n.have == nil {
		return
	}
	was, neverRan, expected := n.have, !n.begun, n.stopping
	n.have, n.stopping, n.again, n.overdue, n.pid, n.usage = nil, false, false, false, 0, launch.Usage{}
	if n.want == nil {
		m.changed(was.Node, n.state, zeekapi.StateStopped)
		delete(m.nodes, ev.Node)
		return
	}
	if expected {
		if n.state != zeekapi.StateFailed {
			m.setState(now, n, zeekapi.StatePending)
		}
		return
	}

	err := cmp.Or(ev.Err, errEndedByItself)
	if neverRan {
		m.complain(ev.Node, "failed to create node %s: %v%s", ev.Node, err, lastWords(ev.Outputs))
	} else {
		m.complain(ev.Node, "node %s died: %v%s", ev.Node, err, lastWords(ev.Outputs))
	}
	m.died(now, n, err, ev.Outputs)
	if n.state == zeekapi.StateCrashed {
		n.retry = now.Add(min(MinBackOff<<(n.deaths-1), MaxBackOff))
	}
}

// lastWords quotes the last line that a node wrote to standard error: often the
// reason of its death, and gone with its next start.
func lastWords(outputs zeekapi.NodeOutputs) string {
	const most = 200
	text := strings.TrimSpace(outputs.Stderr)
	line := text[strings.LastIndexByte(text, '\n')+1:]
	if line == "" {
		return ""
	}
	return fmt.Sprintf(", saying %q", line[:min(len(line), most)])
}

var errEndedByItself = errors.New("it ended by itself")

// revived is about a node that runs again without our doing. One that we are
// about to stop has not died but ends that way.
func (m *Machine) revived(now time.Time, ev launch.Revived) {
	n := m.nodes[ev.Node]
	if n == nil || n.have == nil || n.want == nil || n.stopping {
		return
	}
	m.complain(ev.Node, "node %s died%s", ev.Node, lastWords(ev.Outputs))
	m.died(now, n, errDied, ev.Outputs)
	n.started, n.pid, n.adopted = now, ev.PID, false
	n.greeted, n.reborn = n.reborn, false
	n.restarts++
	m.running(now, n)
}

var errDied = errors.New("it died")

// died counts the death of a node and says what becomes of it: CRASHED, or
// FAILED if it has died too often.
func (m *Machine) died(now time.Time, n *node, err error, outputs zeekapi.NodeOutputs) {
	if now.Sub(n.started) >= StableAfter {
		n.deaths = 0
	}
	n.deaths++
	m.wrong(n, err.Error(), outputs)
	if n.deaths < MaxDeaths {
		m.setState(now, n, zeekapi.StateCrashed)
		return
	}
	m.setState(now, n, zeekapi.StateFailed)
	m.complain(n.want.Name, "node %s died %d times in a row, giving up", n.want.Name, n.deaths)
}
