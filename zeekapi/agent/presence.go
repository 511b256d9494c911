package agent

import (
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// presence makes the agent known to its peers.
type presence struct {
	*outbox
	self       Settings
	problems   *problems
	leadership *leadership
	started    time.Time
	peers      int
	next       timer  // for the next hello, set while there are peers
	layout     string // ID of the layout of the assignment
}

// peerAdded makes the agent known to a new peer. The others know it already, and would
// get a hello for each connection of a peer that connects again and again.
func (p *presence) peerAdded(now time.Time, peer broker.Peer) {
	p.peers++
	p.greet(peer.ID)
	if !p.next.set {
		p.next.start(now.Add(HelloInterval))
	}
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
		p.greet(uuid.Nil)
		p.next.start(now.Add(HelloInterval))
	}
}

// greet publishes a hello for a peer, or for all, in every dialect, because the dialects
// of the peers are unknown.
func (p *presence) greet(to uuid.UUID) {
	p.publishTo(to, zeekapi.AgentHello{
		Instance: p.self.Name, EndpointID: p.self.EndpointID,
		Connecting: p.self.Connecting, Host: p.self.Listen.Addr(), APIVersion: zeekapi.APIVersion,
	})
	p.describe(to)
	p.problems.report(to)
}

func (p *presence) describe(to uuid.UUID) {
	p.publishTo(to, zeekapi.AgentDescription{
		Instance:   p.self.Name,
		Agent:      zeekapi.Process{Name: p.self.Name, Version: p.self.Version, Started: p.started},
		Zeek:       p.self.Zeek,
		LayoutForm: zeekapi.LayoutForm,
		Revision:   zeekapi.AgentRevision,
		Layout:     p.layout,
	})
}

// assigned tells the controllers that stand by which layout the agent has. The one that
// leads knows what it has sent.
func (p *presence) assigned(layoutID string) {
	p.layout = layoutID
	for _, peer := range p.leadership.disobeyed() {
		p.describe(peer)
	}
}

// upgraded stores and publishes a new version of Zeek.
func (p *presence) upgraded(version string) {
	p.self.Zeek = version
	p.describe(uuid.Nil)
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
