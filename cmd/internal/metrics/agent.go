package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// states are those that a node may be in, each of which is always counted.
var states = []zeekapi.State{
	zeekapi.StatePending, zeekapi.StateRunning, zeekapi.StateStopped,
	zeekapi.StateFailed, zeekapi.StateCrashed, zeekapi.StateUnknown,
}

// Agent is the metrics of an agent. Observe is for the agent's loop.
type Agent struct {
	nodes       *prometheus.GaugeVec
	cpu, memory *prometheus.GaugeVec
	restarts    *prometheus.GaugeVec
	starts      prometheus.Counter
	exits       *prometheus.CounterVec
	requests    *prometheus.CounterVec
	pending     prometheus.Gauge
	errors      prometheus.Counter

	counts map[zeekapi.State]int
}

// NewAgent registers them.
func NewAgent(r prometheus.Registerer) *Agent {
	a := &Agent{
		nodes:    gauge("zeekwire_agent_nodes", "Nodes by state.", "state"),
		cpu:      gauge("zeekwire_agent_node_cpu", "Processors that a node uses, 1.5 is one and a half.", "node"),
		memory:   gauge("zeekwire_agent_node_memory_bytes", "Resident memory of a node.", "node"),
		restarts: gauge("zeekwire_agent_node_restarts", "How often the agent had to start a node again since the deployment.", "node"),
		starts:   prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_agent_node_starts_total", Help: "Processes of nodes that were started."}),
		exits:    counter("zeekwire_agent_node_exits_total", "Processes of nodes that ended, by whether they complained.", "result"),
		requests: counter("zeekwire_agent_requests_total", "Requests of controllers.", "request"),
		pending:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "zeekwire_agent_requests_pending", Help: "Requests of controllers that wait for nodes."}),
		errors:   prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_agent_errors_total", Help: "Errors that the agent reported to its controllers by itself."}),
	}
	for _, s := range states {
		a.nodes.WithLabelValues(label(s))
	}
	for _, result := range []string{"ok", "error"} {
		a.exits.WithLabelValues(result)
	}
	r.MustRegister(a.nodes, a.cpu, a.memory, a.restarts, a.starts, a.exits, a.requests, a.pending, a.errors)
	return a
}

func label(s zeekapi.State) string { return strings.ToLower(string(s)) }

// Observe takes note of what happened to an agent and what it did.
func (a *Agent) Observe(m *agent.Machine, in agent.Input, out []agent.Output) {
	switch in := in.(type) {
	case agent.Received:
		// The label is the name of the event in the first dialect that has it.
		if request := zeekapi.RequestOf(in.Message); request != nil {
			a.requests.WithLabelValues(request.Forms[0].Event).Inc()
		}
	case agent.Launched:
		switch ev := in.Event.(type) {
		case launch.Started:
			a.starts.Inc()
		case launch.Exited:
			result := "ok"
			if ev.Err != nil {
				result = "error"
			}
			a.exits.WithLabelValues(result).Inc()
		}
	}
	changed := false
	for _, o := range out {
		p, ok := o.(agent.Publish)
		if !ok {
			continue
		}
		switch p.Message.(type) {
		case zeekapi.AgentError:
			a.errors.Inc()
		case zeekapi.AgentChange:
			changed = true
		}
	}
	a.pending.Set(float64(m.Pending()))
	if _, tick := in.(agent.Tick); tick || changed {
		a.look(m.Nodes())
	}
}

// look takes stock of the nodes.
func (a *Agent) look(nodes []zeekapi.NodeDetail) {
	a.counts = make(map[zeekapi.State]int)
	a.cpu.Reset()
	a.memory.Reset()
	a.restarts.Reset()
	for _, n := range nodes {
		a.counts[n.Status.State]++
		name := strings.ToValidUTF8(n.Status.Node, "\ufffd") // Prometheus panics at others
		a.restarts.WithLabelValues(name).Set(float64(n.Restarts))
		if n.Memory > 0 {
			a.cpu.WithLabelValues(name).Set(n.CPU)
			a.memory.WithLabelValues(name).Set(float64(n.Memory))
		}
	}
	for _, s := range states {
		a.nodes.WithLabelValues(label(s)).Set(float64(a.counts[s]))
	}
}

// Nodes returns how many nodes are in a state, for the agent's loop.
func (a *Agent) Nodes(s zeekapi.State) int { return a.counts[s] }
