package metrics

import (
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Controller is the metrics of a controller. Observe is for the controller's
// loop.
type Controller struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	pending  prometheus.Gauge
	agents   prometheus.Gauge
	hellos   prometheus.Counter
	errors   prometheus.Counter
	refused  prometheus.Counter
	deployed *prometheus.CounterVec

	now   func() time.Time
	begun map[string]time.Time // requests without an answer, by their ID
	said  map[uuid.UUID]bool   // peers that said hello
}

// forgetAfter is when a request counts as never answered, which test_timeout
// may ask for, and maxBegun how many requests are timed at once. Those with an
// ID that is longer than maxID, in bytes, are not.
const (
	forgetAfter = 10 * time.Minute
	maxBegun    = 8192
	maxID       = 256
)

// NewController registers them.
func NewController(r prometheus.Registerer) *Controller {
	c := &Controller{
		requests: counter("zeekwire_controller_requests_total", "Requests of clients that were answered, by what they asked for and whether all of it succeeded.", "request", "result"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "zeekwire_controller_request_seconds",
			Help:    "Time from a client's request to the answer.",
			Buckets: []float64{.001, .01, .1, .5, 1, 2.5, 5, 10, 15, 30, 60},
		}, []string{"request"}),
		pending:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "zeekwire_controller_requests_pending", Help: "Requests of clients under way."}),
		agents:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "zeekwire_controller_agents", Help: "Agents that are connected and said hello."}),
		hellos:   prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_controller_agent_hellos_total", Help: "Hellos of agents that were new or came back."}),
		errors:   prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_controller_agent_errors_total", Help: "Errors that agents reported by themselves."}),
		refused:  prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_controller_agents_refused_total", Help: "Peers that may not be the agent that they said to be."}),
		deployed: counter("zeekwire_controller_deployments_total", "Deployments of clients that ended, by how.", "outcome"),
		now:      time.Now,
		begun:    make(map[string]time.Time),
		said:     make(map[uuid.UUID]bool),
	}
	for _, o := range []zeekapi.Outcome{
		zeekapi.OutcomeDeployed, zeekapi.OutcomeFailed, zeekapi.OutcomeTimeout, zeekapi.OutcomeSuperseded, zeekapi.OutcomeLost,
	} {
		c.deployed.WithLabelValues(string(o))
	}
	r.MustRegister(c.requests, c.seconds, c.pending, c.agents, c.hellos, c.errors, c.refused, c.deployed)
	return c
}

// Observe takes note of a step of a controller: the numbers after it, its input
// and its outputs.
func (c *Controller) Observe(s controller.Snapshot, in controller.Input, out []controller.Output) {
	switch in := in.(type) {
	case controller.FromClient:
		if id := in.Message.RequestID(); id != "" && len(id) <= maxID && len(c.begun) < maxBegun {
			c.begun[id] = c.now()
		}
	case controller.FromAgent:
		switch in.Message.(type) {
		case zeekapi.AgentHello:
			if !c.said[in.Peer.ID] {
				c.said[in.Peer.ID] = true
				c.hellos.Inc()
			}
		case zeekapi.AgentError:
			c.errors.Inc()
		}
	case controller.AgentRefused:
		c.refused.Inc()
	case controller.PeerLost:
		delete(c.said, in.Peer.ID)
	case controller.Tick:
		c.forget()
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
}

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

// forget drops requests that will not be answered.
func (c *Controller) forget() {
	for id, began := range c.begun {
		if c.now().Sub(began) > forgetAfter {
			delete(c.begun, id)
		}
	}
}
