package agent

import "time"

// NodePast is what an agent remembers of a node across its own restarts, for
// who asks: it has no influence on what is done with the node.
type NodePast struct {
	Restarts  uint64 `json:"restarts,omitempty"`
	LastError string `json:"last_error,omitempty"`
}

// RememberInterval is how long the agent waits before it remembers the past of
// nodes anew: when hundreds die at once the disk has enough to do.
const RememberInterval = time.Second

// past returns what is worth remembering of a node, nothing of one that should
// not run.
func (n *node) past() NodePast {
	if n.want == nil {
		return NodePast{}
	}
	return NodePast{n.restarts, n.lastError}
}

// recall gives the nodes that should run the past that an earlier agent
// remembered.
func (m *Machine) recall(past map[string]NodePast) {
	for name, p := range past {
		if n := m.nodes[name]; n != nil && n.want != nil {
			n.restarts, n.lastError = p.Restarts, p.LastError
		}
	}
	m.remembered = past
}

// remember asks to remember what has changed.
func (m *Machine) remember(now time.Time) {
	if now.Before(m.rememberAt) {
		return
	}
	if m.forgets() {
		m.remembered, m.rememberAt = m.past(), now.Add(RememberInterval)
		m.emit(Remember{Nodes: m.remembered})
	}
}

func (m *Machine) past() map[string]NodePast {
	past := make(map[string]NodePast)
	for name, n := range m.nodes {
		if p := n.past(); p != (NodePast{}) {
			past[name] = p
		}
	}
	return past
}

// forgets reports whether something has changed that is not remembered yet.
func (m *Machine) forgets() bool {
	found := 0
	for name, n := range m.nodes {
		p := n.past()
		if p != m.remembered[name] {
			return true
		}
		if p != (NodePast{}) {
			found++
		}
	}
	return found != len(m.remembered)
}
