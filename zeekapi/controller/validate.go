package controller

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Check returns the errors with which a controller with these settings refuses c, in
// the words and the order of Zeek's controller. It assumes that no agent is Zeek's
// own: a controller also refuses instance names that such an agent confuses.
func (s Settings) Check(c zeekapi.Configuration) []string {
	s, err := s.complete()
	if err != nil {
		return []string{err.Error()}
	}
	if errs := s.validate(c, func(string) bool { return false }); len(errs) > 0 {
		return errs
	}
	c.Nodes = slices.Clone(c.Nodes)
	if err := s.assignPorts(&c, nil); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// validate returns the errors in c, in the words and the order of Zeek's controller.
// isZeeks reports whether an instance has an agent of Zeek's.
// (Zeek: config_validate)
func (s Settings) validate(c zeekapi.Configuration, isZeeks func(instance string) bool) []string {
	var errs []string
	fail := func(format string, args ...any) { errs = append(errs, fmt.Sprintf(format, args...)) }

	instances, repeated := namesOf(c.Instances, func(i zeekapi.Instance) string { return i.Name })
	for _, name := range repeated {
		fail("multiple instances named '%s'", name)
	}
	nodes, repeated := namesOf(c.Nodes, func(n zeekapi.Node) string { return n.Name })
	for _, name := range repeated {
		fail("multiple nodes named '%s'", name)
	}
	var both []string
	for name := range nodes {
		if instances[name] {
			both = append(both, name)
		}
	}
	if len(both) > 0 {
		slices.Sort(both)
		fail("node and instance names collide: %s", strings.Join(both, ", "))
	}
	for _, n := range c.Nodes {
		if !instances[n.Instance] {
			fail("node '%s' has undeclared instance name '%s'", n.Name, n.Instance)
		}
	}
	for _, pair := range prefixes(sortedKeys(instances), isZeeks) {
		fail("instance name '%s' begins with '%s', whose agent is Zeek's own and would obey requests for both; "+
			"rename one of them, or run zeekwire's agent on '%s'", pair.name, pair.prefix, pair.prefix)
	}
	nodesOn := sync.OnceValue(c.NodesByInstance)
	for _, name := range sortedKeys(instances) {
		if isZeeks(name) {
			errs = append(errs, assignments(nodesOn()[name], name)...)
			errs = append(errs, severalCPUs(nodesOn()[name], name)...)
		}
	}
	errs = append(errs, s.validatePorts(c)...)

	slices.Sort(errs)
	return errs
}

// assignments returns an error about the first of the nodes of an instance that has an assignment
// to an option of Zeek: Zeek's agents treat it as a script, and the node does not start.
func assignments(nodes []zeekapi.Node, instance string) []string {
	for _, n := range nodes {
		for _, word := range n.Scripts {
			if zeekapi.IsAssignment(word) {
				return []string{fmt.Sprintf("node '%s' has the assignment %s among its scripts, and the agent of '%s' is Zeek's own, which treats it as a script; "+
					"write it into a script, or run zeekwire's agent on '%s'", n.Name, word, instance, instance)}
			}
		}
	}
	return nil
}

// severalCPUs returns an error about the first of the nodes of an instance that has several CPUs:
// Zeek's agents would run it on any.
func severalCPUs(nodes []zeekapi.Node, instance string) []string {
	for _, n := range nodes {
		if cpus, _ := n.CPUs(); len(cpus) > 1 {
			return []string{fmt.Sprintf("node '%s' has the CPUs %s, and the agent of '%s' is Zeek's own, which knows a single CPU only; "+
				"give it one, or run zeekwire's agent on '%s'", n.Name, n.Affinity(), instance, instance)}
		}
	}
	return nil
}

// namePair is a name, and another one that is its beginning.
type namePair struct{ name, prefix string }

// prefixes returns the names that begin with another one for which confused returns
// true, each with the longest of these. The same is true of the topics of such
// instances, and Zeek's agents carry out the requests on every topic that begins with
// their own. Our agents do not. Zeek's controller accepts such names.
func prefixes(sorted []string, confused func(name string) bool) []namePair {
	var pairs []namePair
	var open []string // confused names that are the beginning of the previous name
	for _, name := range sorted {
		for len(open) > 0 && !strings.HasPrefix(name, open[len(open)-1]) {
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			pairs = append(pairs, namePair{name, open[len(open)-1]})
		}
		if confused(name) {
			open = append(open, name)
		}
	}
	return pairs
}

// use is a listening port on an instance.
type use struct {
	instance string
	port     broker.Port
}

// metricsPorts returns the metrics ports of nodes. Zeek's controller does not check
// them.
func metricsPorts(c zeekapi.Configuration) map[use][]string {
	wanted := make(map[use][]string)
	for _, n := range c.Nodes {
		if n.MetricsPort != (broker.Port{}) {
			u := use{n.Instance, n.MetricsPort}
			wanted[u] = append(wanted[u], n.Name)
		}
	}
	return wanted
}

func (s Settings) validatePorts(c zeekapi.Configuration) []string {
	var errs []string
	fail := func(format string, args ...any) { errs = append(errs, fmt.Sprintf(format, args...)) }

	agents := make(map[use]bool)
	for _, i := range c.Instances {
		if !i.Connects() {
			agents[use{i.Name, i.Port}] = true
		}
	}
	count := make(map[use]int)
	for _, n := range c.Nodes {
		if n.Port == (broker.Port{}) {
			continue
		}
		u := use{n.Instance, n.Port}
		if agents[u] {
			fail("node '%s' port %s conflicts with agent port on instance '%s'", n.Name, n.Port, n.Instance)
		}
		if n.Port == s.BrokerPort {
			fail("node '%s' port %s conflicts with controller port", n.Name, n.Port)
		}
		if count[u]++; count[u] == 2 {
			fail("multiple nodes on instance '%s' using port %s", n.Instance, n.Port)
		}
	}
	for u, nodes := range metricsPorts(c) {
		if agents[u] {
			fail("node '%s' metrics port %s conflicts with agent port on instance '%s'", nodes[0], u.port, u.instance)
		}
		if count[u] > 0 {
			fail("node '%s' metrics port %s conflicts with a Broker port on instance '%s'", nodes[0], u.port, u.instance)
		}
		if len(nodes) > 1 {
			fail("multiple nodes on instance '%s' using metrics port %s", u.instance, u.port)
		}
	}
	if !s.AssignBrokerPorts {
		var lacking []string
		for _, n := range c.Nodes {
			if _, listens := brokerPortRank[n.Role]; listens && n.Port == (broker.Port{}) {
				lacking = append(lacking, n.Name)
			}
		}
		if len(lacking) > 0 {
			slices.Sort(lacking)
			fail("Broker port auto-assignment disabled but nodes %s lack ports", strings.Join(lacking, ", "))
		}
	}
	return errs
}

// namesOf returns the names of items, and the names that occur more than once.
func namesOf[T any](items []T, name func(T) string) (names map[string]bool, repeated []string) {
	count := make(map[string]int, len(items))
	names = make(map[string]bool, len(items))
	for _, item := range items {
		n := name(item)
		names[n] = true
		if count[n]++; count[n] == 2 {
			repeated = append(repeated, n)
		}
	}
	return names, repeated
}

// The roles that get ports, in the order of assignment.
var (
	brokerPortRank = map[zeekapi.ClusterRole]int{
		zeekapi.RoleManager: 0, zeekapi.RoleLogger: 1, zeekapi.RoleProxy: 2,
	}
	metricsPortRank = map[zeekapi.ClusterRole]int{
		zeekapi.RoleManager: 0, zeekapi.RoleLogger: 1, zeekapi.RoleProxy: 2, zeekapi.RoleWorker: 3,
	}
)

// AssignPorts fills in missing ports according to the settings, as in a deployment in
// which all ports are free. It returns an error if there are more nodes than ports.
func (s Settings) AssignPorts(c *zeekapi.Configuration) error { return s.assignPorts(c, nil) }

// assignPorts fills in missing ports according to the settings. A node gets no port
// that other programs use on its instance. It returns an error if there are more nodes
// than ports.
func (s Settings) assignPorts(c *zeekapi.Configuration, used usedPorts) error {
	if s.AssignBrokerPorts {
		if err := s.assignBrokerPorts(c, used); err != nil {
			return err
		}
	}
	if s.AssignMetricsPorts {
		return s.assignMetricsPorts(c, used)
	}
	return nil
}

// assignBrokerPorts assigns ascending ports across all instances, so that no port is
// used on two of them. Unlike Zeek's controller, it skips used metrics ports.
// (Zeek: config_assign_broker_ports)
func (s Settings) assignBrokerPorts(c *zeekapi.Configuration, used usedPorts) error {
	pool := s.newPool(s.BrokerStartPort)
	for _, i := range c.Instances {
		pool.reserve(i.Port)
	}
	for _, n := range c.Nodes {
		pool.reserve(n.Port)
		pool.reserve(n.MetricsPort)
	}
	for _, n := range inPortOrder(c, brokerPortRank) {
		if n.Port != (broker.Port{}) {
			continue
		}
		var ok bool
		if n.Port, ok = pool.take(used[n.Instance]); !ok {
			return fmt.Errorf("no Broker port left for node '%s'", n.Name)
		}
	}
	return nil
}

// assignMetricsPorts assigns ascending ports on each host. Unlike Zeek's controller, it
// skips the agent ports of all instances that share the host.
// (Zeek: config_assign_metrics_ports)
func (s Settings) assignMetricsPorts(c *zeekapi.Configuration, used usedPorts) error {
	pools := make(map[netip.Addr]*portPool)
	hosts := make(map[string]netip.Addr) // by instance
	for _, i := range c.Instances {
		hosts[i.Name] = i.Host
		if pools[i.Host] == nil {
			pools[i.Host] = s.newPool(s.MetricsStartPort)
		}
		pools[i.Host].reserve(i.Port)
	}
	for _, n := range c.Nodes {
		pool := pools[hosts[n.Instance]]
		pool.reserve(n.Port)
		pool.reserve(n.MetricsPort)
	}
	for _, n := range inPortOrder(c, metricsPortRank) {
		if n.MetricsPort != (broker.Port{}) {
			continue
		}
		var ok bool
		if n.MetricsPort, ok = pools[hosts[n.Instance]].take(used[n.Instance]); !ok {
			return fmt.Errorf("no metrics port left for node '%s'", n.Name)
		}
	}
	return nil
}

// inPortOrder returns the nodes with a role in rank, sorted by instance, role and name.
func inPortOrder(c *zeekapi.Configuration, rank map[zeekapi.ClusterRole]int) []*zeekapi.Node {
	var nodes []*zeekapi.Node
	for i := range c.Nodes {
		if _, ok := rank[c.Nodes[i].Role]; ok {
			nodes = append(nodes, &c.Nodes[i])
		}
	}
	slices.SortFunc(nodes, func(a, b *zeekapi.Node) int {
		return cmp.Or(
			cmp.Compare(a.Instance, b.Instance),
			cmp.Compare(rank[a.Role], rank[b.Role]),
			cmp.Compare(a.Name, b.Name))
	})
	return nodes
}

// portPool returns ascending ports, except those that are in use.
type portPool struct {
	next  int
	taken map[uint16]bool
}

func (s Settings) newPool(start uint16) *portPool {
	return &portPool{next: max(1, int(start)), taken: map[uint16]bool{s.BrokerPort.Number: true}}
}

func (p *portPool) reserve(port broker.Port) { p.taken[port.Number] = true }

// take returns the next port that is not in used either.
func (p *portPool) take(used map[uint16]bool) (port broker.Port, ok bool) {
	for p.next <= math.MaxUint16 {
		n := uint16(p.next)
		p.next++
		if !p.taken[n] && !used[n] {
			return broker.TCP(n), true
		}
	}
	return broker.Port{}, false
}
