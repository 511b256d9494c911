package importer

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
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

	// Archive is the directory of the archive, if it is not in the agent's state
	// directory.
	Archive string `json:"archive,omitempty"`
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
	CPU         *int64
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

// Plan is the result of an import.
type Plan struct {
	Kind     string // of the imported configuration, for people
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
	metricsOff bool
}

// leave adds something that is not carried over.
func (p *Plan) leave(at Place, key, value, reason string) {
	p.Left = append(p.Left, Left{at, key, value, reason})
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
	node := zeekapi.Node{Name: n.Name, Instance: g.Machine, Role: g.Role, State: zeekapi.StateRunning, Interface: n.Interface, CPUAffinity: n.CPU}
	if n.Port != 0 {
		node.Port = broker.TCP(n.Port)
	}
	if n.MetricsPort != 0 {
		node.MetricsPort = broker.TCP(n.MetricsPort)
	}
	common := p.Common.words()
	own := slices.DeleteFunc(slices.Sorted(slices.Values(g.Args)), func(s string) bool { return slices.Contains(common, s) })
	node.Scripts = append(common, slices.Compact(own)...)
	if len(node.Scripts) == 0 {
		node.Scripts = nil
	}
	env := maps.Clone(p.Common.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, n.Env)
	if len(env) > 0 {
		node.Env = env
	}
	return node
}

// words returns what is common to all nodes as words of their scripts.
func (c Common) words() []string {
	words := slices.Clone(c.Scripts)
	if c.Backend != "" {
		words = append(words, backendScripts+c.Backend)
	}
	if len(c.Networks) > 0 {
		words = append(words, networksWord(c.Networks))
	}
	return append(words, c.Args...)
}

// backendScripts is the prefix of the scripts of cluster backends.
const backendScripts = "policy/frameworks/cluster/backend/"

// networksWord returns the assignment of the local networks.
func networksWord(networks []netip.Prefix) string {
	word := "Site::local_nets={"
	for i, n := range networks {
		if i > 0 {
			word += ","
		}
		if n.Addr().Is6() {
			word += "[" + n.Addr().String() + "]" + n.String()[len(n.Addr().String()):]
		} else {
			word += n.String()
		}
	}
	return word + "}"
}
