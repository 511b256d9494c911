package agent

import (
	"maps"
	"slices"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

func (m *Machine) getNodesRequest(d *zeekapi.Dialect, req zeekapi.AgentGetNodesRequest) {
	statuses := []zeekapi.NodeStatus{m.selfStatus()}
	for _, name := range m.targets(nil) {
		statuses = append(statuses, m.nodes[name].status())
	}
	r := m.success(req.ID)
	r.Data = mustMarshal(statuses)
	m.publish(d, zeekapi.AgentGetNodesResponse{ReqID: req.ReqID, Result: r})
}

func (m *Machine) selfStatus() zeekapi.NodeStatus {
	self := zeekapi.NodeStatus{
		Node: m.self.Name, State: zeekapi.StateRunning, PID: m.self.PID,
		ManagementRole: zeekapi.ManagementAgent, ClusterRole: zeekapi.RoleNone,
	}
	if !m.self.Connecting {
		self.Port = broker.TCP(m.self.Listen.Port())
	}
	return self
}

// status is that of a node that should run.
func (n *node) status() zeekapi.NodeStatus {
	return zeekapi.NodeStatus{
		Node: n.want.Name, State: n.state, PID: n.pid,
		ManagementRole: zeekapi.ManagementNone, ClusterRole: n.want.Role,
		Port: n.want.Port, MetricsPort: n.want.MetricsPort,
	}
}

func (m *Machine) statusRequest(d *zeekapi.Dialect, req zeekapi.AgentStatusRequest) {
	r := m.success(req.ID)
	r.Data = mustMarshal(m.Nodes())
	m.publish(d, zeekapi.AgentStatusResponse{ReqID: req.ReqID, Result: r})
}

// Nodes returns the nodes in detail, also those that are on their way out, by
// name.
func (m *Machine) Nodes() []zeekapi.NodeDetail {
	details := []zeekapi.NodeDetail{}
	for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
		n := m.nodes[name]
		detail := zeekapi.NodeDetail{
			Since: n.since, Restarts: n.restarts, LastError: n.lastError,
			CPU: n.usage.CPU, Memory: n.usage.Memory,
		}
		if n.want != nil {
			detail.Status = n.status()
		} else {
			detail.Status = zeekapi.NodeStatus{
				Node: name, State: zeekapi.StateUnknown, PID: n.pid,
				ManagementRole: zeekapi.ManagementNone, ClusterRole: n.have.Role,
				Port: n.have.Port, MetricsPort: n.have.MetricsPort,
			}
			detail.LastError = "it should not run and is being stopped"
			if !m.told {
				detail.LastError = "nobody has told the agent yet whether it should run"
			}
		}
		details = append(details, detail)
	}
	return details
}

func (m *Machine) logsRequest(d *zeekapi.Dialect, req zeekapi.AgentLogsRequest) {
	if err := zeekapi.CheckName(req.Node); err != nil { // it becomes part of a path
		m.publish(d, zeekapi.AgentLogsResponse{ReqID: req.ReqID, Result: m.failure(req.ID, "no node %q on instance %s", req.Node, m.self.Name)})
		return
	}
	limit := req.Bytes
	if limit == 0 {
		limit = LogBytes
	}
	m.emit(Read{Dialect: d, ReqID: req.ID, Node: req.Node, Bytes: int(min(limit, MaxLogBytes)), Gone: m.nodes[req.Node] == nil})
}
