package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// states are the states of a node. Each has a metric, even if no node is in it.
var states = []zeekapi.State{
	zeekapi.StatePending, zeekapi.StateRunning, zeekapi.StateStopped,
	zeekapi.StateFailed, zeekapi.StateCrashed, zeekapi.StateUnknown,
}

// Agent holds the metrics of an agent. Its methods must be called from the
// agent's loop.
type Agent struct {
	nodes    *prometheus.GaugeVec
	starts   prometheus.Counter
	exits    *prometheus.CounterVec
	requests *prometheus.CounterVec
	pending  prometheus.Gauge
	errors   prometheus.Counter
	storage  prometheus.Gauge
	problems *prometheus.GaugeVec

	measured    *measurements[zeekapi.NodeDetail]
	interfaces  *measurements[zeekapi.InterfaceTraffic]
	directories *measurements[zeekapi.DirectorySpace]

	counts map[zeekapi.State]int
}

// NewAgent returns the metrics of an agent, registered with r.
func NewAgent(r prometheus.Registerer) *Agent {
	a := &Agent{
		nodes:    gauge("zeekwire_agent_nodes", "Nodes by state.", "state"),
		starts:   prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_agent_node_starts_total", Help: "Started processes of nodes."}),
		exits:    counter("zeekwire_agent_node_exits_total", "Ended processes of nodes, by result: ok or error.", "result"),
		requests: counter("zeekwire_agent_requests_total", "Received requests of controllers.", "request"),
		pending:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "zeekwire_agent_requests_pending", Help: "Requests of controllers that are waiting for nodes."}),
		errors:   prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_agent_errors_total", Help: "Errors that the agent reported to its controllers without a request."}),
		storage:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "zeekwire_agent_storage_failed", Help: "1 while the agent cannot store its configuration, otherwise 0."}),
		problems: gauge("zeekwire_agent_problems", "Present problems of the machine and its nodes, by kind: archive, disk, hung or traffic.", "kind"),

		measured:    &measurements[zeekapi.NodeDetail]{all: nodeMeasurements(), name: func(n zeekapi.NodeDetail) string { return n.Status.Node }},
		interfaces:  &measurements[zeekapi.InterfaceTraffic]{all: interfaceMeasurements(), name: func(i zeekapi.InterfaceTraffic) string { return i.Name }},
		directories: newDirectories("agent"),
	}
	for _, kind := range zeekapi.ProblemKinds {
		a.problems.WithLabelValues(kind)
	}
	for _, s := range states {
		a.nodes.WithLabelValues(label(s))
	}
	for _, result := range []string{"ok", "error"} {
		a.exits.WithLabelValues(result)
	}
	r.MustRegister(a.nodes, a.starts, a.exits, a.requests, a.pending, a.errors, a.storage, a.problems,
		a.measured, a.interfaces, a.directories)
	return a
}

func label(s zeekapi.State) string { return strings.ToLower(string(s)) }

// Observe updates the metrics after a step of the agent with its input and
// outputs.
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
		case zeekapi.AgentProblems:
			a.setProblems(m.Problems())
		}
	}
	a.pending.Set(float64(m.Pending()))
	a.storage.Set(0)
	if m.Storage() != "" {
		a.storage.Set(1)
	}
	if _, tick := in.(agent.Tick); tick || changed {
		a.setNodes(m.Nodes())
		interfaces, directories := m.Figures()
		a.interfaces.set(interfaces)
		a.directories.set(directories)
	}
}

// setProblems updates the metrics of problems.
func (a *Agent) setProblems(problems []zeekapi.Problem) {
	counts := make(map[string]int)
	for _, p := range problems {
		counts[p.Kind]++
	}
	for _, kind := range zeekapi.ProblemKinds {
		a.problems.WithLabelValues(kind).Set(float64(counts[kind]))
	}
}

// setNodes updates the metrics of nodes.
func (a *Agent) setNodes(nodes []zeekapi.NodeDetail) {
	a.measured.set(nodes)
	a.counts = make(map[zeekapi.State]int)
	for _, n := range nodes {
		a.counts[n.Status.State]++
	}
	for _, s := range states {
		a.nodes.WithLabelValues(label(s)).Set(float64(a.counts[s]))
	}
}

// Nodes returns the number of nodes in a state.
func (a *Agent) Nodes(s zeekapi.State) int { return a.counts[s] }
