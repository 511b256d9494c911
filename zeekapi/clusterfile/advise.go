package clusterfile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Advice is a warning about a configuration that a controller accepts, but
// that is probably a mistake.
type Advice struct {
	Node     string // "" if the advice is not about a node
	Instance string // "" if the advice is not about an instance
	Key      string // key of the node, "" for the node as a whole
	Text     string

	// Zeek marks advice that matters only with a controller or an agent of Zeek's.
	Zeek bool
}

// Advise returns warnings about c: first about the whole configuration, then
// about instances and nodes in their order.
func Advise(c zeekapi.Configuration) []Advice {
	a := adviser{config: c}
	if len(c.Nodes) > 0 {
		a.roles()
	}
	a.instances()
	a.prefixes()
	a.nodes()
	a.sharedPorts()
	a.captures()
	return a.found
}

type adviser struct {
	config zeekapi.Configuration
	found  []Advice
}

func (a *adviser) roles() {
	count := map[zeekapi.ClusterRole]int{}
	for _, n := range a.config.Nodes {
		count[n.Role]++
	}
	for _, r := range []struct {
		role zeekapi.ClusterRole
		text string
	}{
		{zeekapi.RoleManager, "no node is the manager, which workers require"},
		{zeekapi.RoleLogger, "no node is a logger; the manager will write the logs"},
		{zeekapi.RoleProxy, "no node is a proxy; frameworks such as software, and scripts that use Cluster::proxy_pool, do nothing then"},
		{zeekapi.RoleWorker, "no node is a worker, so no traffic is analyzed"},
	} {
		if count[r.role] == 0 {
			a.found = append(a.found, Advice{Text: r.text})
		}
	}
	if count[zeekapi.RoleManager] > 1 {
		a.found = append(a.found, Advice{Text: "several nodes are managers, but a Zeek cluster has only one"})
	}
}

func (a *adviser) instances() {
	type place struct{ host, port string }
	seen := map[place]string{}
	nodes := a.config.NodesByInstance()
	for _, i := range a.config.Instances {
		warn := func(format string, args ...any) {
			a.found = append(a.found, Advice{Instance: i.Name, Text: fmt.Sprintf(format, args...)})
		}
		if len(nodes[i.Name]) == 0 && len(a.config.Nodes) > 0 {
			a.found = append(a.found, Advice{Instance: i.Name, Zeek: true,
				Text: fmt.Sprintf("instance %s has no nodes; if it runs Zeek's own agent, deployments time out", quote(i.Name))})
		}
		if i.Connects() {
			continue
		}
		at := place{i.Host.String(), i.Port.String()}
		if other, ok := seen[at]; ok {
			warn("instance %s has the same address and port as %s", quote(i.Name), quote(other))
		}
		seen[at] = i.Name
		if ephemeral(i.Port) {
			warn("instance %s has the port %s%s", quote(i.Name), i.Port, ephemeralText)
		}
		if i.Host.IsUnspecified() {
			warn("instance %s has the address %s, which no controller can reach", quote(i.Name), i.Host)
		}
	}
}

func (a *adviser) nodes() {
	owners := cpuOwners{}
	for _, n := range a.config.Nodes {
		warn := func(key, format string, args ...any) {
			a.found = append(a.found, Advice{Node: n.Name, Key: key, Text: "node " + quote(n.Name) + " " + fmt.Sprintf(format, args...)})
		}
		if n.Role == zeekapi.RoleWorker && n.Interface == "" {
			warn("interface", "is a worker without an interface")
		}
		if owner := reserved[n.Port.Number]; owner != "" {
			warn("port", "uses the default port of %s, %s", owner, n.Port)
		}
		if ephemeral(n.Port) {
			warn("port", "has the port %s%s", n.Port, ephemeralText)
		}
		if n.MetricsPort.Number != 0 {
			warn("metrics_port", "has a metrics port; controllers of Zeek 7.2, 8.0 before 8.0.9, 8.1 and 8.2.0 drop such nodes")
			a.found[len(a.found)-1].Zeek = true
			if ephemeral(n.MetricsPort) {
				warn("metrics_port", "has the metrics port %s%s", n.MetricsPort, ephemeralText)
			}
			if owner := reserved[n.MetricsPort.Number]; owner != "" {
				warn("metrics_port", "uses the default port of %s, %s", owner, n.MetricsPort)
			}
		}
		cpus, _ := n.CPUs() // Refusals returns the error
		if len(cpus) > 1 {
			warn(cpuKey, "has several CPUs; an agent of Zeek ignores them, and runs the node on any")
			a.found[len(a.found)-1].Zeek = true
		}
		if cpu, other := owners.add(n, cpus); other != "" {
			warn(cpuKey, "shares CPU %d with node %s", cpu, quote(other))
		}
	}
}

// cpuOwners are nodes by CPU.
type cpuOwners map[instanceCPU]cpuOwner

type instanceCPU struct {
	instance string
	cpu      int64
}

type cpuOwner struct{ node, affinity string }

// maxOwned limits the CPUs that are compared.
const maxOwned = 1 << 20

// add adds the CPUs of a node. It returns one that it shares with another node, and this
// node, unless the nodes have the same several CPUs, which is deliberate.
func (o cpuOwners) add(n zeekapi.Node, cpus []int64) (shared int64, other string) {
	affinity := zeekapi.FormatCPUs(cpus)
	for _, cpu := range cpus {
		at := instanceCPU{n.Instance, cpu}
		had, taken := o[at]
		if taken && other == "" && (len(cpus) == 1 || had.affinity != affinity) {
			shared, other = cpu, had.node
		}
		if taken || len(o) < maxOwned {
			o[at] = cpuOwner{n.Name, affinity}
		}
	}
	return shared, other
}

// sharedPorts warns about nodes with the same port on different instances at the same
// address. The controller looks for such nodes only within an instance.
func (a *adviser) sharedPorts() {
	type place struct {
		host netip.Addr
		port broker.Port
	}
	hosts := map[string]netip.Addr{}
	for _, i := range a.config.Instances {
		if known(i.Host) {
			hosts[i.Name] = i.Host.Unmap()
		}
	}
	users := map[place]zeekapi.Node{}
	for _, n := range a.config.Nodes {
		host, ok := hosts[n.Instance]
		for _, p := range []struct {
			key  string
			port broker.Port
		}{{"port", n.Port}, {"metrics_port", n.MetricsPort}} {
			if !ok || p.port.Number == 0 {
				continue
			}
			other, taken := users[place{host, p.port}]
			if taken && other.Instance != n.Instance {
				a.found = append(a.found, Advice{Node: n.Name, Key: p.key, Text: fmt.Sprintf(
					"node %s has the port %s of node %s, whose instance has the same address, %s", quote(n.Name), p.port, quote(other.Name), host)})
			}
			users[place{host, p.port}] = n
		}
	}
}

// ephemeralText explains the warning about a port.
const ephemeralText = ", which Linux may have given to an outgoing connection (32768 to 60999)"

// ephemeral reports whether Linux uses a port for outgoing connections by default.
// (Linux: net.ipv4.ip_local_port_range)
func ephemeral(p broker.Port) bool { return p.Number >= 32768 && p.Number <= 60999 }

// prefixes warns about instances whose topics a Zeek agent confuses.
func (a *adviser) prefixes() {
	names := make([]string, len(a.config.Instances))
	for i, in := range a.config.Instances {
		names[i] = in.Name
	}
	slices.Sort(names)
	var open []string // names that are the beginning of the previous one
	for _, name := range names {
		for len(open) > 0 && (!strings.HasPrefix(name, open[len(open)-1]) || name == open[len(open)-1]) {
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			prefix := quote(open[len(open)-1])
			a.found = append(a.found, Advice{Instance: name, Zeek: true,
				Text: fmt.Sprintf("instance %s begins with %s; if %s runs Zeek's own agent, that obeys requests for both", quote(name), prefix, prefix)})
		}
		open = append(open, name)
	}
}

// reserved maps ports to the programs that use them by default.
var reserved = map[uint16]string{
	2149: "the controller's WebSocket server",
	2151: "Zeek's agents",
	9999: "Zeek's Supervisor",
}
