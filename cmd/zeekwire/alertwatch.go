package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/cmd/internal/alerts"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// newAlerts returns the service that notifies operators. It continues from the stored events
// of an earlier controller.
func (s *controllerService) newAlerts(store *controller.Store) (*alerts.Service, error) {
	channels, err := s.settings.alerts.channels()
	if err != nil {
		return nil, err
	}
	stored, err := store.Load()
	if err != nil {
		return nil, err
	}
	service := alerts.NewService(alerts.Config{
		Settings: s.settings.alerts.machine(), Channels: channels, Cluster: s.settings.name,
		Stored: stored.Events, Drained: stored.Drained,
		Certificates: func() []alerts.Cert { return certificates(s.settings.certificateFiles()...) },
		Log:          s.log,
	})
	if s.operation != nil {
		s.operation.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zeekwire_controller_alerts", Help: "Present alerts.",
		}, func() float64 { return float64(len(service.Present().Present)) }))
	}
	return service, nil
}

// alertFeed passes what a controller learns to the service that notifies operators.
type alertFeed struct {
	take     func(alerts.Input)
	revision uint64
	measured map[[2]string]time.Time // of the traffic that was passed on last, by instance and node
	storage  string
}

// observe is an observer of a controller, which it calls from its loop.
func (f *alertFeed) observe(s controller.Snapshot, in controller.Input, out []controller.Output) {
	if s.Revision != f.revision {
		f.revision = s.Revision
		f.take(membersOf(s.Target))
	}
	if s.Storage != f.storage {
		f.storage = s.Storage
		f.take(alerts.Storable{Why: s.Storage})
	}
	for _, o := range out {
		if a, ok := o.(controller.Announce); ok {
			f.take(alerts.Event{ClusterEvent: a.Event})
		}
	}
	from, ok := in.(controller.FromAgent)
	if !ok || s.Speaker == "" {
		return
	}
	if msg, ok := from.Message.(zeekapi.AgentStatusResponse); ok && msg.Result.Success {
		f.nodes(s.Speaker, msg)
	}
}

// nodes passes on what an agent says about its nodes.
func (f *alertFeed) nodes(instance string, msg zeekapi.AgentStatusResponse) {
	var details []zeekapi.NodeDetail
	if record.Unmarshal(msg.Result.Data, &details) != nil {
		return
	}
	states := make(map[string]zeekapi.State)
	for _, n := range details {
		states[n.Status.Node] = n.Status.State
		f.traffic(instance, n)
	}
	f.take(alerts.States{Instance: instance, Nodes: states})
}

// traffic passes on what a node has received since the last time.
func (f *alertFeed) traffic(instance string, n zeekapi.NodeDetail) {
	t, key := n.Traffic, [2]string{instance, n.Status.Node}
	if n.Interface == "" || n.Status.State != zeekapi.StateRunning || t == nil || t.Rates == nil || t.Measured.Equal(f.measured[key]) {
		return
	}
	if f.measured == nil || len(f.measured) > alerts.MaxAlerts {
		f.measured = make(map[[2]string]time.Time)
	}
	f.measured[key] = t.Measured
	f.take(alerts.Traffic{Instance: instance, Node: n.Status.Node, Received: t.Rates.Received, Dropped: t.Rates.Dropped})
}

func membersOf(c zeekapi.Configuration) alerts.Members {
	m := alerts.Members{Nodes: make(map[string][]string)}
	for _, i := range c.Instances {
		m.Nodes[i.Name] = []string{}
	}
	for _, n := range c.Nodes {
		m.Nodes[n.Instance] = append(m.Nodes[n.Instance], n.Name)
	}
	return m
}
