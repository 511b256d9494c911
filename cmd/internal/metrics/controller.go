package metrics

import (
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Controller holds the metrics of a controller. Observe must be called from the
// controller's loop.
type Controller struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	pending  prometheus.Gauge
	agents   prometheus.Gauge
	rivals   prometheus.Gauge
	hellos   prometheus.Counter
	errors   prometheus.Counter
	refused  prometheus.Counter
	deployed *prometheus.CounterVec
	storage  prometheus.Gauge

	directories *measurements[zeekapi.DirectorySpace]
	packets     *prometheus.GaugeVec
	drops       *prometheus.GaugeVec

	now   func() time.Time
	begun map[string]time.Time // times of requests without a response, by ID
	said  map[uuid.UUID]bool   // peers that have said hello
	agent map[uuid.UUID]string // instances whose packets are known
}

// forgetAfter is the age at which a request counts as never answered;
// test_timeout may request no response. At most maxBegun requests are timed at
// once. Requests with an ID longer than maxID bytes are not timed.
const (
	forgetAfter = 10 * time.Minute
	maxBegun    = 8192
	maxID       = 256
)

// NewController returns the metrics of a controller, registered with r.
func NewController(r prometheus.Registerer) *Controller {
	c := &Controller{
		requests: counter("zeekwire_controller_requests_total", "Answered requests of clients, by request and result: ok, or error if a part of it failed.", "request", "result"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "zeekwire_controller_request_seconds",
			Help:    "Time from a client's request to the response.",
			Buckets: []float64{.001, .01, .1, .5, 1, 2.5, 5, 10, 15, 30, 60},
		}, []string{"request"}),
		pending:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "zeekwire_controller_requests_pending", Help: "Requests of clients without a response yet."}),
		agents:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "zeekwire_controller_agents", Help: "Agents that are connected and have said hello."}),
		rivals:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "zeekwire_controller_agent_rivals", Help: "Connected agents that are refused, because another one has their name and answers."}),
		hellos:   prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_controller_agent_hellos_total", Help: "Hellos of agents that are new or have reconnected."}),
		errors:   prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_controller_agent_errors_total", Help: "Errors that agents reported without a request."}),
		refused:  prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_controller_agents_refused_total", Help: "Hellos of peers that are not permitted to be the agent of the instance."}),
		deployed: counter("zeekwire_controller_deployments_total", "Ended deployments of clients, by outcome.", "outcome"),
		storage:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "zeekwire_controller_storage_failed", Help: "1 while changes cannot be stored and are refused, otherwise 0."}),

		directories: newDirectories("controller"),
		packets:     gauge("zeekwire_cluster_packets_per_second", "Packets that the nodes of an instance receive, as its agent reported in the last 30 seconds.", "instance"),
		drops:       gauge("zeekwire_cluster_dropped_packets_per_second", "Packets that the nodes of an instance drop, as its agent reported in the last 30 seconds.", "instance"),

		now:   time.Now,
		begun: make(map[string]time.Time),
		said:  make(map[uuid.UUID]bool),
		agent: make(map[uuid.UUID]string),
	}
	for _, o := range []zeekapi.Outcome{
		zeekapi.OutcomeDeployed, zeekapi.OutcomeFailed, zeekapi.OutcomeTimeout, zeekapi.OutcomeSuperseded, zeekapi.OutcomeLost,
	} {
		c.deployed.WithLabelValues(string(o))
	}
	r.MustRegister(c.requests, c.seconds, c.pending, c.agents, c.rivals, c.hellos, c.errors, c.refused, c.deployed, c.storage, c.directories, c.packets, c.drops)
	return c
}

// Observe updates the metrics after a step of the controller: s is the snapshot
// after the step, in its input, and out its outputs.
func (c *Controller) Observe(s controller.Snapshot, in controller.Input, out []controller.Output) {
	switch in := in.(type) {
	case controller.FromClient:
		if id := in.Message.RequestID(); id != "" && len(id) <= maxID && len(c.begun) < maxBegun {
			c.begun[id] = c.now()
		}
	case controller.FromAgent:
		switch msg := in.Message.(type) {
		case zeekapi.AgentHello:
			if !c.said[in.Peer.ID] {
				c.said[in.Peer.ID] = true
				c.hellos.Inc()
			}
		case zeekapi.AgentError:
			c.errors.Inc()
		case zeekapi.AgentStatusResponse:
			c.traffic(in.Peer.ID, s.Speaker, msg.Result)
		}
	case controller.AgentRefused:
		c.refused.Inc()
	case controller.PeerLost:
		delete(c.said, in.Peer.ID)
		c.forgetTraffic(in.Peer.ID)
	case controller.Tick:
		c.forget()
		c.directories.set(s.Directories)
	}
	for _, o := range out {
		switch o := o.(type) {
		case controller.ToClients:
			c.answered(o.Message)
		case controller.SaveDeployment:
			if o.Past.Outcome != zeekapi.OutcomePending {
				c.deployed.WithLabelValues(string(o.Past.Outcome)).Inc()
			}
		}
	}
	c.pending.Set(float64(s.Pending))
	c.agents.Set(float64(s.Agents))
	c.storage.Set(0)
	if s.Storage != "" {
		c.storage.Set(1)
	}
	c.rivals.Set(float64(s.Refused))
}

// traffic takes the rates of the nodes of an instance from the status that its agent reports.
// Without any rate, the instance has no metrics.
func (c *Controller) traffic(peer uuid.UUID, instance string, r zeekapi.Result) {
	var nodes []zeekapi.NodeDetail
	if instance == "" || !r.Success || record.Unmarshal(r.Data, &nodes) != nil {
		return
	}
	var received, dropped float64
	known := false
	for _, n := range nodes {
		if n.Interface != "" && n.Traffic != nil && n.Traffic.Rates != nil {
			received += n.Traffic.Rates.Received
			dropped += n.Traffic.Rates.Dropped
			known = true
		}
	}
	c.forgetTraffic(peer)
	if known {
		c.agent[peer] = instance
		c.packets.WithLabelValues(instance).Set(received)
		c.drops.WithLabelValues(instance).Set(dropped)
	}
}

// forgetTraffic removes the metrics of the instance whose agent was this peer.
func (c *Controller) forgetTraffic(peer uuid.UUID) {
	if instance, ok := c.agent[peer]; ok {
		delete(c.agent, peer)
		c.packets.DeleteLabelValues(instance)
		c.drops.DeleteLabelValues(instance)
	}
}

// answered counts and times the request that msg responds to.
func (c *Controller) answered(msg zeekapi.Message) {
	began, ok := c.begun[msg.RequestID()]
	if !ok {
		return
	}
	request, results := zeekapi.ResponseOf(msg)
	if request == nil {
		return
	}
	delete(c.begun, msg.RequestID())
	c.seconds.WithLabelValues(request.Name).Observe(c.now().Sub(began).Seconds())
	result := "ok"
	for _, r := range results {
		if !r.Success {
			result = "error"
		}
	}
	c.requests.WithLabelValues(request.Name, result).Inc()
}

// forget drops requests that have had no response for too long.
func (c *Controller) forget() {
	for id, began := range c.begun {
		if c.now().Sub(began) > forgetAfter {
			delete(c.begun, id)
		}
	}
}
