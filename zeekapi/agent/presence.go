package agent

import (
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// presence makes the agent known to its peers.
type presence struct {
	*outbox
	self     Settings
	problems *problems
	started  time.Time
	peers    int
	next     timer // for the next hello, set while there are peers
}

func (p *presence) peerAdded(now time.Time) {
	p.peers++
	p.hello(now)
}

// peerLost processes the end of a peering. It does not affect nodes, which do
// not depend on a controller.
func (p *presence) peerLost() {
	if p.peers--; p.peers == 0 {
		p.next.stop()
	}
}

func (p *presence) expire(now time.Time) {
	if p.next.due(now) {
		p.hello(now)
	}
}

// hello publishes a hello in every dialect, because the dialects of the peers
// are unknown.
func (p *presence) hello(now time.Time) {
	p.publish(nil, zeekapi.AgentHello{
		Instance: p.self.Name, EndpointID: p.self.EndpointID,
		Connecting: p.self.Connecting, Host: p.self.Listen.Addr(), APIVersion: zeekapi.APIVersion,
	})
	p.describe()
	p.problems.report()
	p.next.start(now.Add(HelloInterval))
}

func (p *presence) describe() {
	p.publish(nil, zeekapi.AgentDescription{
		Instance:   p.self.Name,
		Agent:      zeekapi.Process{Name: p.self.Name, Version: p.self.Version, Started: p.started},
		Zeek:       p.self.Zeek,
		LayoutForm: zeekapi.LayoutForm,
		Revision:   zeekapi.AgentRevision,
	})
}

// upgraded stores and publishes a new version of Zeek.
func (p *presence) upgraded(version string) {
	p.self.Zeek = version
	p.describe()
}

// status returns the status of the agent for its list of nodes.
func (p *presence) status() zeekapi.NodeStatus {
	s := zeekapi.NodeStatus{
		Node: p.self.Name, State: zeekapi.StateRunning, PID: p.self.PID,
		ManagementRole: zeekapi.ManagementAgent, ClusterRole: zeekapi.RoleNone,
	}
	if !p.self.Connecting {
		s.Port = broker.TCP(p.self.Listen.Port())
	}
	return s
}
