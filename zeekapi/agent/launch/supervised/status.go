package supervised

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	control "github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

// status updates the nodes from a status response.
func (m *machine) status(nodes map[string]control.NodeStatus) {
	m.known = true
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		s := nodes[name]
		m.layout = s.Layout
		if role, ok := managed(s.Config); ok {
			if role == "AGENT" && !m.warned {
				m.warned = true
				m.emit(note{name, "Zeek's own agent also runs under this Supervisor"})
			}
			continue
		}
		n := m.nodes[name]
		if n == nil {
			n = &node{}
			m.nodes[name] = n
		}
		n.has = &s.Config
		if n.started && s.PID != 0 && s.PID != n.pid {
			n.pid = s.PID
			m.died(name, n, zeekapi.NodeOutputs{})
		}
		n.pid = s.PID
	}
	for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
		if _, ok := nodes[name]; ok {
			continue
		}
		n := m.nodes[name]
		lost := n.has != nil && n.taken != nil && !n.stopping
		n.has = nil
		if lost {
			m.gone(name, errors.New("the Supervisor no longer has the node"))
		}
	}
}

// managed returns the role of a process of Zeek's cluster management, which the launcher
// must not change. The second variable is that of Zeek's first management framework.
func managed(c control.NodeConfig) (role string, ok bool) {
	for _, key := range []string{"ZEEK_MANAGEMENT_NODE", "ZEEK_CLUSTER_MGMT_NODE"} {
		if role, ok = c.Env[key]; ok {
			return role, true
		}
	}
	return "", false
}

func (m *machine) nodeStarted(now time.Time, msg control.NodeStarted) {
	n := m.nodes[msg.Node]
	if n == nil {
		return
	}
	pid := int64(msg.PID)
	switch {
	case n.taken == nil:
		n.pid = pid
	case !n.started:
		n.pid, n.created = pid, true // its hello is still to come
		if !n.stopping {
			m.runs(msg.Node, n)
		}
	case pid != n.pid:
		if !n.revived.IsZero() {
			m.died(msg.Node, n, zeekapi.NodeOutputs{})
		}
		n.pid, n.revived = pid, now.Add(outputsGrace)
	}
}

// processes returns the running nodes of the agent by their process IDs.
func (m *machine) processes() map[int]string {
	nodes := make(map[int]string)
	for name, n := range m.nodes {
		if n.taken != nil && n.pid != 0 {
			nodes[int(n.pid)] = name
		}
	}
	return nodes
}

// directory returns the directory of a node, or "" if the Supervisor does not have it.
func (m *machine) directory(name string) string {
	if n := m.nodes[name]; n != nil && n.has != nil {
		return n.has.Directory
	}
	return ""
}

// died reports that a node died and that the Supervisor has restarted it.
func (m *machine) died(name string, n *node, outputs zeekapi.NodeOutputs) {
	n.revived = time.Time{}
	m.emit(report{launch.Revived{Node: name, PID: n.pid, Outputs: outputs}})
}
