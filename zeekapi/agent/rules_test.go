package agent

import (
	"fmt"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// rules check from outside when a machine stops running nodes: only if the replacement has
// passed the check before its start, if the node is no longer assigned, keeps crashing or
// uses too much memory, if it writes logs and the disk is full, or if the deployment is
// forced.
type rules struct {
	target *Assignment               // stored last
	last   map[string]launch.Checked // results of the last checks before starts
	passed map[string]int            // passed checks without a start since then
	deaths map[string]int            // number of Revived events since the start
	force  bool                      // the target was deployed by force
	asked  bool                      // the last request was forced
	hangs  bool                      // nodes that hang are restarted
	full   bool                      // no logs may be written
	greedy map[string]bool           // nodes that used more memory than their limit
}

func newRules(s State) rules {
	return rules{target: s.Assignment, last: make(map[string]launch.Checked), passed: make(map[string]int), deaths: make(map[string]int), greedy: make(map[string]bool)}
}

// take processes an input.
func (r *rules) take(in Input) {
	switch in := in.(type) {
	case Received:
		switch m := in.Message.(type) {
		case zeekapi.AgentDeployRequest:
			r.asked = m.Force
		case zeekapi.AgentDeployNodesRequest:
			r.asked = m.Force
		case zeekapi.AgentStandbyRequest:
			r.asked = false
		}
	case DisksRead:
		r.full = in.Spaces[0].Free < in.Spaces[0].Size/10
	case Launched:
		switch ev := in.Event.(type) {
		case launch.Checked:
			if ev.Trial {
				break
			}
			r.last[ev.Node.Name] = ev
			if r.passed[ev.Node.Name]++; ev.Err != nil {
				r.passed[ev.Node.Name] = 0
			}
		case launch.Measured:
			clear(r.greedy)
			for name, usage := range ev.Nodes {
				want, _ := r.want(name)
				limit, _, _ := want.MemoryLimit()
				r.greedy[name] = limit > 0 && usage.Memory > uint64(limit)
			}
		case launch.Revived:
			r.deaths[ev.Node]++
		}
	}
}

// check returns an error if an output breaks a rule.
func (r *rules) check(out Output, running map[string]launch.Node) error {
	switch out := out.(type) {
	case Persist:
		r.target, r.force = out.Assignment, r.asked
	case Start:
		r.deaths[out.Node.Name] = 0
		r.passed[out.Node.Name] = max(0, r.passed[out.Node.Name]-1)
	case Stop:
		want, wanted := r.want(out.Node)
		last := r.last[out.Node]
		switch {
		case !wanted, r.force, r.hangs, r.greedy[out.Node], r.full && r.writes(want), r.deaths[out.Node] >= MaxDeaths:
		case r.passed[out.Node] == 0 || !last.Node.Equal(want):
			return fmt.Errorf("%s is stopped, but its replacement has not passed (%d passed, the last result is %v)", out.Node, r.passed[out.Node], last.Err)
		}
	}
	return nil
}

// writes reports whether a node writes the logs of its cluster.
func (r *rules) writes(n launch.Node) bool {
	for _, w := range r.target.logWriters() {
		if w.Name == n.Name {
			return true
		}
	}
	return false
}

// want returns the assigned configuration of a node, and whether there is one.
func (r *rules) want(name string) (launch.Node, bool) {
	for _, n := range r.target.nodes() {
		if n.Name == name {
			return n, true
		}
	}
	return launch.Node{}, false
}
