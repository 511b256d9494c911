package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// replacePorts gives the nodes of c other ports in place of those that are in use,
// unless the configuration has them as uploaded. The addresses of c are filled in. It
// returns false if there are no such ports. The nodes of c are replaced, not changed.
func (s Settings) replacePorts(c *zeekapi.Configuration, uploaded zeekapi.Configuration, used usedPorts) (found bool, err error) {
	c.Nodes = slices.Clone(c.Nodes)
	nodes := nodesByName(uploaded)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		before, ok := nodes[n.Name]
		if ok && before.Port == (broker.Port{}) && used.has(n.Instance, n.Port) {
			n.Port, found = broker.Port{}, true
		}
		if ok && before.MetricsPort == (broker.Port{}) && used.has(n.Instance, n.MetricsPort) {
			n.MetricsPort, found = broker.Port{}, true
		}
	}
	if !found {
		return false, nil
	}
	return true, s.assignPorts(c, used)
}

// movedPorts describes the nodes with other ports.
func movedPorts(from, to zeekapi.Configuration) string {
	before := nodesByName(from)
	var texts []string
	for _, n := range to.Nodes {
		b := before[n.Name]
		if b.Port != n.Port {
			texts = append(texts, fmt.Sprintf("%s has port %d instead of %d", n.Name, n.Port.Number, b.Port.Number))
		}
		if b.MetricsPort != n.MetricsPort {
			texts = append(texts, fmt.Sprintf("%s has metrics port %d instead of %d", n.Name, n.MetricsPort.Number, b.MetricsPort.Number))
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// samePorts reports whether two configurations, as uploaded, need ports for the same
// nodes and have the same explicit ports.
func samePorts(a, b zeekapi.Configuration) bool {
	if len(a.Nodes) != len(b.Nodes) || len(a.Instances) != len(b.Instances) {
		return false
	}
	nodes := nodesByName(a)
	for _, n := range b.Nodes {
		m, ok := nodes[n.Name]
		if !ok || m.Instance != n.Instance || m.Role != n.Role || m.Port != n.Port || m.MetricsPort != n.MetricsPort {
			return false
		}
	}
	instances := byName(a.Instances, func(i zeekapi.Instance) string { return i.Name })
	for _, i := range b.Instances {
		if j, ok := instances[i.Name]; !ok || j != i {
			return false
		}
	}
	return true
}

func nodesByName(c zeekapi.Configuration) map[string]zeekapi.Node {
	return byName(c.Nodes, func(n zeekapi.Node) string { return n.Name })
}
