package importer

import (
	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// ports makes the controller assign the ports of the imported configuration. Nodes get
// a port of their own where the controller would assign another one, if an imported file
// names the first port, and a port for metrics if their machine has another first one than
// the others.
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
	for _, g := range p.Groups {
		other := len(g.Nodes) > 0 && p.otherMetrics(g.Machine, s.MetricsStartPort)
		for i := range g.Nodes {
			g.Nodes[i].Port = 0
			if !other {
				g.Nodes[i].MetricsPort = 0
			}
		}
	}
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
			if want := wanted[n.Name]; want.Role != zeekapi.RoleWorker && got[n.Name].Port != want.Port {
				n.Port = want.Port.Number
			}
		})
	}
	return nil
}

// otherMetrics reports whether the first port for metrics of a machine of several differs
// from that of the cluster.
func (p *Plan) otherMetrics(machine string, first uint16) bool {
	lowest := uint16(0)
	for _, g := range p.Groups {
		for _, n := range g.Nodes {
			if g.Machine == machine && n.MetricsPort != 0 && (lowest == 0 || n.MetricsPort < lowest) {
				lowest = n.MetricsPort
			}
		}
	}
	return p.machine(machine).ownMetrics && lowest != 0 && lowest != first
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
