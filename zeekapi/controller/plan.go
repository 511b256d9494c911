package controller

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"slices"

	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// content tells configurations apart, also those with the same ID. The zero
// content is that of nothing.
type content struct {
	id     string
	digest [sha256.Size]byte
	mixed  bool // one of several with this ID, we do not know which
}

// plan is a configuration with addresses, as it is sent to agents.
type plan struct {
	config  zeekapi.Configuration
	content content
	nodes   map[string][]zeekapi.Node // by instance, each by name; nil for one without
	layout  zeekapi.PackedLayout      // "": there can be none
}

// makePlan fills in the addresses of c. That of an unchanged cluster costs
// little.
func (m *Machine) makePlan(c zeekapi.Configuration) *plan {
	filled := m.fillHosts(c)
	m.keepHosts(c, filled.Instances)
	if p := m.plan; p != nil && p.config.ID == c.ID && sameNodes(p.config.Nodes, c.Nodes) && slices.Equal(p.config.Instances, filled.Instances) {
		return p
	}
	m.plan = newPlan(filled)
	return m.plan
}

// keepHosts leaves an instance that came back from elsewhere the address that
// it had when its configuration was deployed, if no node connects there: a new
// one would have all nodes of the cluster start anew, for nothing.
func (m *Machine) keepHosts(c zeekapi.Configuration, filled []zeekapi.Instance) {
	former := m.former()
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

// sameNodes reports whether a and b are the same memory.
func sameNodes(a, b []zeekapi.Node) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func newPlan(c zeekapi.Configuration) *plan {
	p := &plan{
		config:  c,
		content: content{id: c.ID, digest: sha256.Sum256(bin.Append(nil, mustMarshal(c)))},
		nodes:   make(map[string][]zeekapi.Node, len(c.Instances)),
	}
	for _, i := range c.Instances {
		p.nodes[i.Name] = nil
	}
	for _, n := range c.Nodes {
		p.nodes[n.Instance] = append(p.nodes[n.Instance], n)
	}
	for _, nodes := range p.nodes {
		slices.SortFunc(nodes, func(a, b zeekapi.Node) int { return cmp.Compare(a.Name, b.Name) })
	}
	if members, err := c.Members(); err == nil {
		if l, err := zeekapi.NewLayout(members); err == nil {
			p.layout = l.Pack()
		}
	}
	return p
}

// request asks the agent of an instance to run p. Ours, which say what form of
// layouts they read, need not hear what other agents run, which in a large
// cluster is nearly all there is.
func (p *plan) request(id zeekapi.ReqID, instance string, form uint64, force bool) zeekapi.Message {
	if form != zeekapi.LayoutForm || p.layout == "" {
		return zeekapi.AgentDeployRequest{ReqID: id, Config: p.config, Force: force}
	}
	return zeekapi.AgentDeployNodesRequest{ReqID: id, Config: p.config.ID, Nodes: p.nodes[instance], Layout: p.layout, Force: force}
}

// former returns the plan that all agents last answered for, nil if there is
// none.
func (m *Machine) former() *plan {
	if c, ok := m.configs[Deployed]; ok && m.deployedPlan == nil {
		m.deployedPlan = newPlan(c)
	}
	return m.deployedPlan
}

// fillHosts gives instances that connect to us the address they come from.
func (m *Machine) fillHosts(c zeekapi.Configuration) zeekapi.Configuration {
	c.Instances = slices.Clone(c.Instances)
	for i := range c.Instances {
		inst := &c.Instances[i]
		if !unspecified(inst.Host) {
			continue
		}
		if a := m.agents[inst.Name]; a != nil && !unspecified(a.Host) {
			inst.Host = a.Host
		} else if w := m.wanted[inst.Name]; a == nil && w != nil && !unspecified(w.host) {
			inst.Host = w.host
		}
	}
	return c
}
