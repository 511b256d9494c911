package controller

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// content identifies the content of a configuration, also among configurations with
// the same ID. The zero content is that of no configuration.
type content struct {
	id     string
	digest [sha256.Size]byte
	mixed  bool // one of several with this ID, it is not known which
}

// plan is a configuration with addresses, as it is sent to agents.
type plan struct {
	number  uint64 // of the plan, see plans
	from    uint64 // number of the revision without addresses, 0 if not known
	config  zeekapi.Configuration
	content content
	nodes   map[string][]zeekapi.Node // by instance, each by name; nil for an instance without nodes
	stopped *stoppedNodes

	layout   zeekapi.PackedLayout // empty if the configuration has none
	layoutID string
}

// plans makes plans. It keeps the last one, and the one that is deployed.
type plans struct {
	configs  *configurations
	stopped  *stoppedNodes
	count    uint64
	latest   *plan
	deployed *plan // nil if not computed
}

// of returns the plan for a revision whose addresses are filled in. The plan for
// an unchanged cluster is made once.
func (p *plans) of(r revision, filled zeekapi.Configuration) *plan {
	p.keepHosts(r.Configuration, filled.Instances)
	if l := p.latest; l != nil && l.from == r.number && slices.Equal(l.config.Instances, filled.Instances) {
		return l
	}
	p.latest = p.make(r.number, filled)
	return p.latest
}

// keepHosts leaves an instance that came back from another address the one that
// it had when its configuration was deployed, if none of its nodes accepts
// connections. A new address would make all nodes of the cluster restart.
func (p *plans) keepHosts(c zeekapi.Configuration, filled []zeekapi.Instance) {
	former := p.former()
	if former == nil || former.config.ID != c.ID {
		return
	}
	hosts := make(map[string]netip.Addr, len(former.config.Instances))
	for _, i := range former.config.Instances {
		hosts[i.Name] = i.Host
	}
	for _, n := range c.Nodes {
		if n.Port.Number != 0 {
			delete(hosts, n.Instance)
		}
	}
	for i := range filled {
		if host := hosts[filled[i].Name]; unspecified(c.Instances[i].Host) && !unspecified(host) {
			filled[i].Host = host
		}
	}
}

// former returns the plan for which all agents last answered, nil if there is
// none.
func (p *plans) former() *plan {
	if r, ok := p.configs.get(Deployed); ok && p.deployed == nil {
		p.deployed = p.make(0, r.Configuration)
	}
	return p.deployed
}

// keepDeployed makes a plan the former one, and stores it.
func (p *plans) keepDeployed(made *plan) {
	p.configs.save(Deployed, p.configs.revise(made.config))
	p.deployed = made
}

func (p *plans) make(from uint64, c zeekapi.Configuration) *plan {
	p.count++
	made := &plan{
		number:  p.count,
		from:    from,
		config:  c,
		content: content{id: c.ID, digest: sha256.Sum256(bin.Append(nil, mustMarshal(c)))},
		nodes:   c.NodesByInstance(),
		stopped: p.stopped,
	}
	if members, err := c.Members(); err == nil {
		if l, err := zeekapi.NewLayout(members); err == nil {
			made.layout = l.Pack()
			made.layoutID = made.layout.ID()
		}
	}
	return made
}

// has reports whether an instance is part of the plan.
func (p *plan) has(instance string) bool {
	_, ok := p.nodes[instance]
	return ok
}

// selects reports whether an agent that reads this form of layouts can run some of its
// nodes. Others run all of them.
func (p *plan) selects(form uint64) bool { return form == zeekapi.LayoutForm && p.layout != "" }

// question asks the agent of an instance to run the plan. An agent of zeekwire
// that reads this form of layouts gets its own nodes and the layout, which in a
// large cluster is much less than the whole configuration. One that keeps layouts must
// have been supplied with it.
func (p *plan) question(to *agent, o sendOptions) question {
	if !p.selects(to.layoutForm) {
		config := p.config
		config.Site = "" // a record of Zeek's has none
		return question{content: p.number, message: func(id zeekapi.ReqID) zeekapi.Message {
			return zeekapi.AgentDeployRequest{ReqID: id, Config: config, Force: o.force}
		}}
	}
	nodes := p.stopped.without(p.nodes[to.Name])
	layout, layoutID := p.layoutFor(to)
	return question{message: func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentDeployNodesRequest{
			ReqID: id, Config: p.config.ID, Nodes: nodes, Layout: layout, LayoutID: layoutID, Force: o.force,
			Site: p.config.Site, Edited: o.edited, StartLimit: o.startLimit, Continue: o.same,
		}.For(to.revision)
	}}
}

// supply sends the layout of the plan to those agents of instances that keep layouts and do
// not have it.
func (p *plan) supply(a *agents, instances ...string) {
	var peers []uuid.UUID
	for _, name := range instances {
		if to := a.of(name); to != nil && to.keepsLayouts() && p.layout != "" && !to.hasLayout(p.layoutID) {
			to.sentLayout(p.layoutID)
			peers = append(peers, to.peer)
		}
	}
	if len(peers) > 0 {
		a.emit(ToAgents{Peers: peers, Message: zeekapi.AgentLayout{ID: p.layoutID, Layout: p.layout}})
	}
}

// layoutFor returns the layout for a request to an agent, or its ID if the agent has it.
func (p *plan) layoutFor(a *agent) (layout zeekapi.PackedLayout, id string) {
	if a.hasLayout(p.layoutID) {
		return "", p.layoutID
	}
	return p.layout, ""
}

// sendOptions tell how an agent is to run a plan.
type sendOptions struct {
	force      bool          // restart nodes that run already
	edited     bool          // restart nodes whose scripts have changed
	startLimit time.Duration // 0: the agent's own
	same       bool          // only the selection of nodes has changed
}

// check asks an agent whether it could run the plan.
func (p *plan) check(by *agent) question {
	nodes := p.stopped.without(p.nodes[by.Name])
	layout, layoutID := p.layoutFor(by)
	return question{message: func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentCheckRequest{
			ReqID: id, Config: p.config.ID, Nodes: nodes, Layout: layout, LayoutID: layoutID, Site: p.config.Site,
		}
	}}
}
