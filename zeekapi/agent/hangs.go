package agent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// hangs notices nodes that hang: they do not answer when they are asked for their figures, or
// process no packets although their interface receives some.
type hangs struct {
	nodes    *nodes
	figures  *figures
	problems *problems
	after    time.Duration // 0: never
	restart  bool          // restart nodes that hang

	silent map[string]time.Time // since when a node does not answer
	idle   map[string]time.Time // since when it processes no packets
}

// settle looks for nodes that hang.
func (h *hangs) settle(now time.Time) {
	if h.after == 0 {
		return
	}
	var hung, idle []zeekapi.Problem
	for _, name := range slices.Sorted(maps.Keys(h.nodes.all)) {
		n := h.nodes.all[name]
		alive := n.alive()
		note(h.silent, name, now, alive && n.measured.unanswered && h.blames(n))
		note(h.idle, name, now, alive && !n.measured.unanswered && h.processesNothing(n))
		text := ""
		switch {
		case h.late(h.silent, name, now):
			text = fmt.Sprintf("it has not answered its agent for %s", h.after)
			hung = append(hung, zeekapi.Problem{Node: name, Text: fmt.Sprintf("node %s hangs: %s", name, text)})
		case h.late(h.idle, name, now):
			text = fmt.Sprintf("it has processed no packets for %s, although %s receives some", h.after, n.have.Interface)
			idle = append(idle, zeekapi.Problem{Node: name, Text: fmt.Sprintf("node %s hangs: %s", name, text)})
		}
		if text != "" && h.restart {
			h.nodes.end(n, fmt.Errorf("it was hanging: %s", text))
		}
	}
	h.forget(h.silent)
	h.forget(h.idle)
	h.problems.set(now, zeekapi.ProblemHung, hung)
	h.problems.set(now, zeekapi.ProblemTraffic, idle)
}

// blames reports whether a silent node is itself the cause. Requests to an indirect node pass
// through the manager, which may be the cause instead, unless another indirect node responds.
func (h *hangs) blames(n *node) bool {
	if !n.measured.indirect || n.have.Role == zeekapi.RoleManager {
		return true
	}
	for _, other := range h.nodes.all {
		if m := other.measured; other != n && other.alive() && m.indirect && !m.unanswered && !m.mute {
			return true
		}
	}
	return false
}

// note notes since when something is true of a node.
func note(since map[string]time.Time, name string, now time.Time, is bool) {
	if _, known := since[name]; !is {
		delete(since, name)
	} else if !known {
		since[name] = now
	}
}

// late reports whether something has been true of a node for too long.
func (h *hangs) late(since map[string]time.Time, name string, now time.Time) bool {
	at, ok := since[name]
	return ok && now.Sub(at) >= h.after
}

// forget forgets the nodes that do not exist any more.
func (h *hangs) forget(since map[string]time.Time) {
	maps.DeleteFunc(since, func(name string, _ time.Time) bool { return h.nodes.all[name] == nil })
}

// processesNothing reports whether a node processed no packets in the most recent period, in
// which its interface has received some. Packets that are not for the node because of a filter,
// or because other workers share the interface, do not count as received by all of them; so a
// node that has never received a packet does not hang.
func (h *hangs) processesNothing(n *node) bool {
	t := n.measured.traffic.latest()
	device, err := zeekapi.NetworkInterface(n.have.Interface)
	if t == nil || t.Rates == nil || t.Received == 0 || err != nil || h.figures.interfaces[device] == nil {
		return false
	}
	link := h.figures.interfaces[device].latest()
	return t.Rates.Received == 0 && link != nil && link.Rates != nil && link.Rates.Received > 0
}

// deadline returns the time at which a node will have hung for too long.
func (h *hangs) deadline() (next timer) {
	for kind, since := range map[string]map[string]time.Time{zeekapi.ProblemHung: h.silent, zeekapi.ProblemTraffic: h.idle} {
		for name, at := range since {
			if _, told := h.problems.find(zeekapi.Problem{Kind: kind, Node: name}.Key()); !told {
				next.earlier(at.Add(h.after))
			}
		}
	}
	return next
}
