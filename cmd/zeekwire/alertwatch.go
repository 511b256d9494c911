package main

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/cmd/internal/alerts"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// newAlerts returns the service that notifies operators. It continues from the stored events
// of an earlier controller. Store is nil if several controllers share the state.
func (s *controllerService) newAlerts(store controller.Store) (*alerts.Service, error) {
	channels, err := s.settings.alerts.channels()
	if err != nil {
		return nil, err
	}
	var stored controller.State
	if store != nil {
		if stored, err = store.Load(); err != nil {
			return nil, err
		}
	}
	service := alerts.NewService(alerts.Config{
		Settings: s.settings.alerts.machine(), Channels: channels, Cluster: s.settings.name,
		Stored: stored.Events, Drained: stored.Drained,
		Certificates: s.certificates,
		Log:          s.log,
	})
	if s.operation != nil {
		s.operation.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zeekwire_controller_alerts", Help: "Present alerts.",
		}, func() float64 { return float64(len(service.Present().Present)) }))
	}
	return service, nil
}

// certificates returns the certificates of the controller, and those of connected agents
// and clients, and of nodes, that its authority has issued.
func (s *controllerService) certificates() []alerts.Cert {
	all := certificates(s.settings.certificateFiles()...)
	peers, err := s.peerCertificates()
	if err != nil {
		s.log.Error().Err(err).Msg("cannot look at the certificates of agents and clients")
	}
	nodes, err := s.starts.certificates(time.Now(), s.joins.authority)
	if err != nil {
		s.log.Error().Err(err).Msg("cannot look at the certificates of nodes")
	}
	return slices.Concat(all, peers, nodes)
}

// alertedLeadership reports to the alert service when the controller begins to lead, and when
// it begins to stand by. A new leader continues from the stored events of the leader before it.
type alertedLeadership struct {
	controller.Relay
	take func(alerts.Input)
	led  bool
}

// Next implements controller.Leadership.
func (l *alertedLeadership) Next(ctx context.Context) (controller.Turn, error) {
	turn, err := l.Relay.Next(ctx)
	switch {
	case err != nil:
	case turn.Store != nil && turn.State != nil:
		l.led = true
		l.take(alerts.Turn{Stored: turn.State.Events, Drained: turn.State.Drained})
	case l.led && !turn.Post.Leads:
		l.led = false
		l.take(alerts.Turn{})
	}
	return turn, err
}

// alertFeed passes events, states and measurements from a controller to the service that
// notifies operators.
type alertFeed struct {
	take     func(alerts.Input)
	revision uint64
	measured map[[2]string]time.Time // of the traffic that was passed on last, by instance and node
	storage  string
	leads    bool
}

// observe observes a controller, whose loop calls it.
func (f *alertFeed) observe(s controller.Snapshot, in controller.Input, out []controller.Output) {
	led := f.leads
	f.leads = s.Post.Leads
	if !f.leads {
		return // the leader notifies
	}
	if s.Revision != f.revision || !led {
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

// nodes passes on the states and the traffic of the nodes of an instance.
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

// traffic passes on the packet rates of a node, unless they are those of the last call.
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
