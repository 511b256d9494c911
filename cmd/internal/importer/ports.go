package importer

import (
	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// ports makes the controller assign the ports of the imported configuration. Nodes get
// a port of their own only where the controller would assign another one, and only if
// an imported file names ports.
func (p *Plan) ports() error {
	s := controller.DefaultSettings()
	s.AssignMetricsPorts = !p.metricsOff
	s.BrokerStartPort, s.MetricsStartPort = p.firstPorts(s.BrokerStartPort, s.MetricsStartPort)
	if s.BrokerStartPort != controller.DefaultSettings().BrokerStartPort {
		p.control("auto-assign-broker-start-port", portText(s.BrokerStartPort), "the first port of nodes")
	}
	if p.metricsOff {
		p.control("auto-assign-metrics-ports", "false", "nodes have no port for metrics")
	} else if s.MetricsStartPort != controller.DefaultSettings().MetricsStartPort {
		p.control("auto-assign-metrics-start-port", portText(s.MetricsStartPort), "the first port for metrics")
	}
	wanted := map[string]zeekapi.Node{}
	for _, n := range p.Configuration().Nodes {
		wanted[n.Name] = n
	}
	p.eachNode(func(n *Node) { n.Port, n.MetricsPort = 0, 0 })
	if !p.exactPorts {
		return nil
	}
	// A port that is written changes those that the controller assigns to others.
	for range 2 {
		assigned := p.Configuration()
		if err := s.AssignPorts(&assigned); err != nil {
			return err
		}
		got := map[string]zeekapi.Node{}
		for _, n := range assigned.Nodes {
			got[n.Name] = n
		}
		p.eachNode(func(n *Node) {
			want := wanted[n.Name]
			if want.Role != zeekapi.RoleWorker && got[n.Name].Port != want.Port {
				n.Port = want.Port.Number
			}
			if got[n.Name].MetricsPort != want.MetricsPort {
				n.MetricsPort = want.MetricsPort.Number
			}
		})
	}
	return nil
}

// firstPorts returns the lowest ports of nodes, or the given ones if there are none.
func (p *Plan) firstPorts(brokerPort, metricsPort uint16) (firstBroker, firstMetrics uint16) {
	p.eachNode(func(n *Node) {
		if n.Port != 0 && (firstBroker == 0 || n.Port < firstBroker) {
			firstBroker = n.Port
		}
		if n.MetricsPort != 0 && (firstMetrics == 0 || n.MetricsPort < firstMetrics) {
			firstMetrics = n.MetricsPort
		}
	})
	if firstBroker == 0 {
		firstBroker = brokerPort
	}
	if firstMetrics == 0 {
		firstMetrics = metricsPort
	}
	return firstBroker, firstMetrics
}

func (p *Plan) eachNode(f func(*Node)) {
	for _, g := range p.Groups {
		for i := range g.Nodes {
			f(&g.Nodes[i])
		}
	}
}

// control adds a setting of the controller.
func (p *Plan) control(name, value, comment string) {
	p.Controller = append(p.Controller, Setting{name, value, comment})
}

func portText(number uint16) string { return broker.TCP(number).String() }
