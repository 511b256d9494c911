package controller

import (
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// former is the configuration before a deployment, to which it can be rolled
// back.
type former struct {
	revision
	number uint64          // of its deployment in the history, 0 if that is no longer there
	ran    map[string]bool // the nodes that ran
}

// rollbacks knows to what a deployment can be rolled back.
type rollbacks struct {
	configs *configurations
	history *history
	states  *nodeStates
	stopped *stoppedNodes
}

// former returns what a deployment replaces, nil if that is nothing, or the same.
// The excused nodes may fail.
func (d *rollbacks) former(number uint64, target revision, excused map[string]bool) *former {
	now := d.configs.target()
	if len(now.Nodes) == 0 || broker.Equal(mustMarshal(now.Configuration), mustMarshal(target.Configuration)) {
		return nil
	}
	before := &former{revision: now, number: d.history.numberOf(now, number), ran: make(map[string]bool)}
	for _, n := range d.stopped.without(now.Nodes) {
		if state := d.states.of(n.Instance, n.Name); !excused[n.Name] && (state == zeekapi.StateRunning || state == zeekapi.StateUnknown) {
			before.ran[n.Name] = true
		}
	}
	return before
}

// recall returns what an interrupted deployment replaces, nil if it cannot be rolled
// back.
func (d *rollbacks) recall(c *Commitment) *former {
	to, ok := d.history.find(c.Former)
	if !ok {
		return nil
	}
	return &former{revision: to, number: c.Former, ran: setOf(c.Ran)}
}

// commitment returns how the next life of the controller finds the configuration. It
// cannot if that is not in the history.
func (f *former) commitment(h *history) (number uint64, ran []string) {
	if f == nil {
		return 0, nil
	}
	kept, ok := h.find(f.number)
	if !ok || !broker.Equal(mustMarshal(kept.Configuration), mustMarshal(f.Configuration)) {
		return 0, nil
	}
	return f.number, sortedKeys(f.ran)
}

// failure is why a deployment is being rolled back.
type failure struct {
	results []zeekapi.Result // of the deployment
	text    string
}

// String names the former configuration in messages.
func (f *former) String() string {
	if f.number == 0 {
		return "configuration " + clip(f.ID)
	}
	return fmt.Sprintf("deployment %d", f.number)
}

// reasonsOf returns the first failures in one line.
func reasonsOf(results []zeekapi.Result) string {
	const most = 3
	var texts []string
	for i, res := range results {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(results)-most))
			break
		}
		name := res.Instance
		if res.Node != "" {
			name = fmt.Sprintf("%s on %s", res.Node, res.Instance)
		}
		texts = append(texts, name+": "+res.Error)
	}
	return listed(texts)
}

func isFailure(res zeekapi.Result) bool { return !res.Success }
