package importer

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

// Place is a place in an imported file.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// Left is something that is not carried over.
type Left struct {
	Place
	Key    string `json:"key"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

// Setting is a setting of the controller or of an agent.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Comment string `json:"comment,omitempty"` // why it has this value
}

// Machine is a machine of the cluster.
type Machine struct {
	Name     string    `json:"name"` // of its instance
	Address  string    `json:"address,omitempty"`
	Settings []Setting `json:"settings"` // of its agent

	// Listens says that the controller connects to the agent.
	Listens bool `json:"listens"`

	// Writable are directories outside of the agent's state directory that the agent
	// or its nodes write to.
	Writable []string `json:"writable,omitempty"`

	ownMetrics bool // its file names the first port for metrics
}

// set sets a setting of the machine's agent.
func (m *Machine) set(name, value, comment string) {
	m.Settings = slices.DeleteFunc(m.Settings, func(s Setting) bool { return s.Name == name })
	m.Settings = append(m.Settings, Setting{name, value, comment})
}

// Group is one or more nodes that a section of an imported file describes. Several
// nodes are workers with the names NAME-1 and so on.
type Group struct {
	Name    string
	Machine string
	Role    zeekapi.ClusterRole
	Comment string // where the nodes come from

	// Source is the packet source of all nodes, in which variables such as
	// ${worker_index} may occur. If it is empty, Nodes have their own.
	Source string

	// Args are the scripts, and the assignments to options, of each node, and Env is
	// its environment, without those of Common.
	Args []string
	Env  []Variable

	MemoryLimit string

	Nodes []Node
}

// Variable is an environment variable, in whose value variables such as
// ${worker_index} may occur.
type Variable struct{ Name, Value string }

// Node is what the nodes of a group do not have in common.
type Node struct {
	Name        string
	Interface   string
	CPUs        []int64           // nil for any
	Env         map[string]string // of the group, with variables replaced
	Port        uint16
	MetricsPort uint16
}

// Common is what all nodes have in common.
type Common struct {
	Site        bool // there is a site, in the directory SiteDir
	Scripts     []string
	Args        []string // assignments to options
	Env         map[string]string
	Networks    []netip.Prefix
	Backend     string // "" for that of the agents
	MemoryLimit string
	LogExpiry   string
}

// The kinds of configurations, for people.
const (
	kindControl = "ZeekControl"
	kindConf    = "zeek.conf"
)

// Plan is the result of an import.
type Plan struct {
	Kind     string // of the imported configuration
	Files    []string
	Machines []*Machine
	Groups   []*Group
	Common   Common

	// Controller has the settings of the controller, which runs on the machine At.
	Controller []Setting
	At         string

	// Script is the text of a script for what ZeekControl tells nodes, "" for none.
	Script string

	// ScriptDirs are directories whose scripts become the site. Of files with one
	// name, the first counts.
	ScriptDirs []string

	Left  []Left
	Notes []string // what an operator should know besides

	before     []string // commands that stop the imported cluster
	exactPorts bool     // an imported file names ports
	listed     map[Left]bool
	metricsOff bool
}

// sortLeft sorts what is not carried over by its places.
func (p *Plan) sortLeft() {
	slices.SortStableFunc(p.Left, func(a, b Left) int {
		return cmp.Or(cmp.Compare(slices.Index(p.Files, a.File), slices.Index(p.Files, b.File)), cmp.Compare(a.Line, b.Line))
	})
}

// leave adds something that is not carried over, unless it is listed already.
func (p *Plan) leave(at Place, key, value, reason string) {
	l := Left{at, key, value, reason}
	if p.listed == nil {
		p.listed = map[Left]bool{}
	}
	if !p.listed[l] {
		p.listed[l] = true
		p.Left = append(p.Left, l)
	}
}

// add adds the scripts and assignments of a command line.
func (c *Common) add(words []string) {
	for _, word := range latest(words) {
		if zeekapi.IsScript(word) {
			c.Scripts = append(c.Scripts, word)
		} else {
			c.Args = append(c.Args, word)
		}
	}
}

// listen makes the agent of a machine listen for the controller, and accept no other one.
func (p *Plan) listen(m *Machine) {
	m.Listens = true
	m.set("controller", "none", "the controller connects to the agent")
	if strings.Contains(m.Address, ":") {
		m.set("default-address", "::", "the agent has an IPv6 address")
	}
	p.obey(m)
}

// obey makes the agent of a machine accept the controller of the cluster only.
func (p *Plan) obey(m *Machine) {
	controller := p.machine(p.At).Address
	if _, err := netip.ParseAddr(controller); err != nil {
		p.note(fmt.Sprintf("Agents accept any controller, because %s is not an address. Set obey in %s/*.conf to the controller's address.", controller, agentsDir))
		return
	}
	m.set("obey", controller, "the controller's address; separate several by commas")
}

// note adds a note, unless there is the same already.
func (p *Plan) note(text string) {
	if !slices.Contains(p.Notes, text) {
		p.Notes = append(p.Notes, text)
	}
}

// machine returns the machine with a name.
func (p *Plan) machine(name string) *Machine {
	for _, m := range p.Machines {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Configuration returns the cluster, without the site.
func (p *Plan) Configuration() zeekapi.Configuration {
	var c zeekapi.Configuration
	for _, m := range p.Machines {
		instance := zeekapi.Instance{Name: m.Name, Host: netip.IPv4Unspecified()}
		if m.Listens {
			instance.Port = broker.TCP(agentPort)
			if addr, err := netip.ParseAddr(m.Address); err == nil {
				instance.Host = addr
			}
		}
		c.Instances = append(c.Instances, instance)
	}
	for _, g := range p.Groups {
		for _, n := range g.Nodes {
			c.Nodes = append(c.Nodes, p.node(g, n))
		}
	}
	return c
}

// agentPort is the port at which agents listen.
const agentPort = 2151

func (p *Plan) node(g *Group, n Node) zeekapi.Node {
	node := zeekapi.Node{Name: n.Name, Instance: g.Machine, Role: g.Role, State: zeekapi.StateRunning, Interface: n.Interface}
	if n.Port != 0 {
		node.Port = broker.TCP(n.Port)
	}
	if n.MetricsPort != 0 {
		node.MetricsPort = broker.TCP(n.MetricsPort)
	}
	node.Scripts = p.Common.with(g.Args)
	env := maps.Clone(p.Common.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, n.Env)
	if len(env) > 0 {
		node.Env = env
	}
	node.SetCPUs(n.CPUs)
	for _, o := range []zeekapi.Option{ // in the order of the cluster file, by name
		{Name: zeekapi.OptionLogExpiry, Value: p.Common.LogExpiry},
		{Name: zeekapi.OptionMemoryLimit, Value: cmp.Or(g.MemoryLimit, p.Common.MemoryLimit)},
	} {
		if o.Value != "" {
			node.Options = append(node.Options, o)
		}
	}
	return node
}

// with returns the words of a node: the common scripts in their order, and then its own
// words with the common assignments that it does not make itself, sorted as by the cluster
// file.
func (c Common) with(own []string) []string {
	var words []string
	if c.Backend != "" {
		words = append(words, zeekapi.BackendScripts+c.Backend)
	}
	words = append(words, c.Scripts...)
	rest := slices.DeleteFunc(slices.Clone(own), func(s string) bool { return slices.Contains(words, s) })
	assigned := map[string]bool{}
	for _, word := range rest {
		assigned[zeekapi.AssignedOption(word)] = true
	}
	common := c.Args
	if len(c.Networks) > 0 {
		common = append(slices.Clone(common), clusterfile.NetworksWord(c.Networks))
	}
	for _, word := range common {
		if !assigned[zeekapi.AssignedOption(word)] {
			rest = append(rest, word)
		}
	}
	slices.Sort(rest)
	return append(words, slices.Compact(rest)...)
}

// latest returns words without the assignments that a later one replaces.
func latest(words []string) []string {
	var out []string
	for i, word := range words {
		option := zeekapi.AssignedOption(word)
		replaced := option != "" && slices.ContainsFunc(words[i+1:], func(later string) bool { return zeekapi.AssignedOption(later) == option })
		if !replaced && !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	return out
}
