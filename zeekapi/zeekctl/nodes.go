package zeekctl

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// The types of nodes.
const (
	Standalone = "standalone"
	Logger     = "logger"
	Manager    = "manager"
	Proxy      = "proxy"
	Worker     = "worker"
)

// typeOrder is the order in which ZeekControl lists nodes.
var typeOrder = []string{Standalone, Logger, Manager, Proxy, Worker}

// Node is a node of ZeekControl.
type Node struct {
	Name string
	Type string
	Host string

	// Interface is the packet source, CPU the number of the CPU to which the node is
	// pinned, nil for none, and Env the environment. All are as after the plugins
	// for load balancing.
	Interface string
	CPU       *int
	Env       map[string]string

	// Keys are the other keys of the node, by names in lower case with _ for dots,
	// and Unknown those that ZeekControl ignores with a warning.
	Keys    map[string]*Option
	Unknown []*Option

	// Section is the section of the file, and Line its line. The workers of one
	// section with lb_procs have Index 1 and so on; other nodes have Index 0.
	Section string
	Line    int
	Index   int

	count int // unique among the nodes of the type
}

// Procs returns the value of lb_procs, 0 if the node does not have it.
func (n Node) Procs() int {
	procs, _ := parseInt(n.text("lb_procs"))
	return procs
}

// text returns the value of a key, or "".
func (n Node) text(key string) string {
	if o := n.Keys[key]; o != nil {
		return o.Value
	}
	return ""
}

// nodeKeys are the keys of nodes, except those of af_packet.
var nodeKeys = strings.Fields("type host interface aux_scripts zeekbase ether zone_id lb_procs lb_method lb_interfaces pin_cpus env_vars count")

// PacketKeys are the keys of workers that set options of AF_Packet.
var PacketKeys = strings.Fields(`block_size block_timeout buffer_size checksum_validation_mode enable_defrag enable_fanout
	enable_hw_timestamping fanout_id fanout_mode link_type`)

// PacketPrefix precedes PacketKeys in a file.
const PacketPrefix = "af_packet_"

func isNodeKey(key string) bool {
	packet, ok := strings.CutPrefix(key, PacketPrefix)
	return slices.Contains(nodeKeys, key) || ok && slices.Contains(PacketKeys, packet)
}

// nodeParser reads a node.cfg.
type nodeParser struct {
	failures
	options Options
	lines   []string
	counts  map[string]int
	nodes   []*Node
	names   map[string]string // by names in lower case

	warnings configparser.Errors
}

// ParseNodes reads a node.cfg. The options are those of zeekctl.cfg. The name appears
// in errors. An error about the content is of type configparser.Errors and contains
// all errors; the warnings are errors after which ZeekControl continues. The nodes are
// in ZeekControl's order: by type, and then as in the file.
func ParseNodes(name string, r io.Reader, o Options) (nodes []Node, warnings configparser.Errors, err error) {
	content, err := configparser.ReadAll(name, r, MaxSize)
	if err != nil {
		return nil, nil, err
	}
	file, err := configparser.Read(name, bytes.NewReader(content))
	var errs configparser.Errors
	if err != nil && !errors.As(err, &errs) {
		return nil, nil, err
	}
	p := nodeParser{failures: failures{file: name, errs: errs}, options: o, lines: strings.Split(string(content), "\n"),
		counts: map[string]int{}, names: map[string]string{}}
	for _, e := range errs {
		if e.Line > 0 && e.Line <= len(p.lines) && e.Column == 0 {
			line := p.lines[e.Line-1]
			e.Column = len(line) - len(strings.TrimLeft(line, " \t")) + 1
		}
	}
	if len(errs) == 0 {
		p.parse(file)
	}
	if err := p.err(); err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(p.nodes, func(a, b *Node) int {
		if a.Type != b.Type {
			return slices.Index(typeOrder, a.Type) - slices.Index(typeOrder, b.Type)
		}
		return a.count - b.count
	})
	p.loadBalancing()
	nodes = make([]Node, len(p.nodes))
	for i, n := range p.nodes {
		nodes[i] = *n
	}
	return nodes, p.warnings, nil
}

// warn reports an error after which ZeekControl continues.
func (p *nodeParser) warn(o *Option, format string, args ...any) {
	p.warnings.Add(&configparser.Error{File: o.File, Line: o.Line, Column: o.Column, Key: o.Written, Text: fmt.Sprintf(format, args...)})
}

func (p *nodeParser) parse(file *configparser.File) {
	global, ok := p.variables(p.options.Text("env_vars", ""), func(text string) {
		o := p.options.Get("env_vars")
		p.errs.Add(&configparser.Error{File: o.File, Line: o.Line, Column: o.Column, Text: "zeekctl config: " + text})
	})
	if !ok {
		return
	}
	for _, s := range file.Sections {
		p.section(s)
	}
	if len(p.errs) > 0 {
		return
	}
	if len(p.nodes) == 0 {
		p.fail(0, 0, "no nodes found in node config")
		return
	}
	p.checkNodes()
	for _, n := range p.nodes {
		for name, value := range global {
			setDefault(n.Env, name, value)
		}
	}
}

// section adds the nodes of a section.
func (p *nodeParser) section(s *configparser.Section) {
	n := &Node{Name: s.Name, Keys: map[string]*Option{}, Section: s.Name, Line: s.Line}
	for _, o := range s.Options {
		if !o.HasValue {
			p.fail(o.Line, 1, "parsing error: key %q has no value", o.Written)
			return
		}
		option := &Option{Name: strings.ReplaceAll(o.Key, ".", "_"), Written: o.Written, Value: o.Value, File: p.file, Line: o.Line}
		if o.Line >= 1 && o.Line <= len(p.lines) {
			option.Column = columnOf(p.lines[o.Line-1], o.Value)
		}
		if isNodeKey(option.Name) {
			n.Keys[option.Name] = option
		} else {
			n.Unknown = append(n.Unknown, option)
		}
	}
	n.Type, n.Host, n.Interface = n.text("type"), n.text("host"), n.text("interface")
	if p.basics(n) {
		p.counts[n.Type]++
		n.count = p.counts[n.Type]
		p.balance(n)
	}
}

// columnOf returns the column of a value in a line.
func columnOf(line, value string) int {
	i := strings.IndexAny(line, "=:")
	if i < 0 || value == "" {
		return 1
	}
	if j := strings.Index(line[i+1:], value); j >= 0 {
		return utf8.RuneCountInString(line[:i+1+j]) + 1
	}
	return utf8.RuneCountInString(line[:i+1]) + 1
}

// reject reports an error about a key of a node, or about the node.
func (p *nodeParser) reject(n *Node, key, format string, args ...any) {
	line, column := n.Line, 1
	if o := n.Keys[key]; o != nil {
		line, column = o.Line, o.Column
	}
	p.fail(line, column, format, args...)
}

// basics checks the keys that all nodes have.
func (p *nodeParser) basics(n *Node) bool {
	switch {
	case n.Type == "":
		p.reject(n, "type", "no type given for node %s", n.Name)
	case !slices.Contains(typeOrder, n.Type):
		p.reject(n, "type", "unknown node type '%s' given for node '%s'", n.Type, n.Name)
	case n.Host == "":
		p.reject(n, "host", "no host given for node '%s'", n.Name)
	default:
		var ok bool
		n.Env, ok = p.variables(n.text("env_vars"), func(text string) {
			p.reject(n, "env_vars", "node '%s' config: %s", n.Name, text)
		})
		return ok
	}
	return false
}

// variables returns the environment variables of a list, whose members are separated
// by commas.
func (p *nodeParser) variables(list string, fail func(text string)) (env map[string]string, ok bool) {
	env = map[string]string{}
	if list == "" {
		return env, true
	}
	for pair := range strings.SplitSeq(list, ",") {
		name, value, ok := strings.Cut(pair, "=")
		switch name = strings.TrimSpace(name); {
		case !ok:
			fail("missing '=' in env_vars option value: " + pair)
			return nil, false
		case name == "":
			fail("env_vars option value must contain at least one environment variable name: " + pair)
			return nil, false
		}
		env[name] = strings.TrimSpace(value)
	}
	return env, true
}

// balance checks the keys for load balancing, and adds the nodes of a section.
func (p *nodeParser) balance(n *Node) {
	procs, ok := p.procs(n)
	if !ok {
		return
	}
	cpus, ok := p.cpus(n, procs)
	if !ok {
		return
	}
	if len(cpus) > 0 {
		n.CPU = &cpus[0]
	}
	if procs == 0 {
		p.add(n)
		return
	}
	interfaces, ok := p.interfaces(n, procs)
	if !ok {
		return
	}
	for i := range procs {
		member := *n
		member.Env, member.Index = maps.Clone(n.Env), i+1
		member.Name = fmt.Sprintf("%s-%d", n.Name, i+1)
		if i > 0 {
			p.counts[n.Type]++
			member.count = p.counts[n.Type]
		}
		if len(cpus) > 0 {
			member.CPU = &cpus[i]
		}
		if len(interfaces) > 0 {
			// The first process has the last interface.
			member.Interface = strings.TrimSpace(interfaces[len(interfaces)-1-i])
		}
		p.add(&member)
	}
}

// maxProcs limits the nodes of a section.
const maxProcs = zeekapi.MaxInstanceNodes

// procs returns the number of processes of a section, 0 if it is a single node.
func (p *nodeParser) procs(n *Node) (procs int, ok bool) {
	value := n.text("lb_procs")
	if value == "" {
		if n.text("lb_method") != "" {
			p.reject(n, "lb_method", "number of load-balanced processes not specified for node '%s'", n.Name)
		}
		return 0, n.text("lb_method") == ""
	}
	procs, number := parseInt(value)
	switch {
	case n.Type != Worker:
		p.reject(n, "lb_procs", "node '%s' config: load balancing node config options are only for worker nodes", n.Name)
	case !number:
		p.reject(n, "lb_procs", "number of load-balanced processes must be an integer for node '%s'", n.Name)
	case procs < 1:
		p.reject(n, "lb_procs", "number of load-balanced processes must be greater than zero for node '%s'", n.Name)
	case procs > maxProcs:
		p.reject(n, "lb_procs", "number of load-balanced processes of node '%s' exceeds %d", n.Name, maxProcs)
	default:
		return procs, true
	}
	return 0, false
}

// cpus returns the CPUs of the processes of a section, at least one for each process.
func (p *nodeParser) cpus(n *Node, procs int) (cpus []int, ok bool) {
	list := n.text("pin_cpus")
	if list == "" {
		return nil, true
	}
	for item := range strings.SplitSeq(list, ",") {
		cpu, number := parseInt(item)
		if !number || cpu < 0 {
			p.reject(n, "pin_cpus", "pin cpus list must contain only non-negative integers for node '%s'", n.Name)
			return nil, false
		}
		cpus = append(cpus, cpu)
	}
	for given := len(cpus); len(cpus) < procs; {
		cpus = append(cpus, cpus[len(cpus)-given])
	}
	return cpus, true
}

// interfaces returns the interfaces of the method "interfaces", one for each process.
func (p *nodeParser) interfaces(n *Node, procs int) (interfaces []string, ok bool) {
	switch method := n.text("lb_method"); method {
	case "":
		p.reject(n, "lb_procs", "no load balancing method given for node '%s'", n.Name)
		return nil, false
	case "af_packet", "pf_ring", "myricom", "custom":
		return nil, true
	case "interfaces":
	default:
		p.reject(n, "lb_method", "unknown load balancing method '%s' given for node '%s'", method, n.Name)
		return nil, false
	}
	list := n.text("lb_interfaces")
	if list == "" {
		p.reject(n, "lb_method", "list of load-balanced interfaces not specified for node '%s'", n.Name)
		return nil, false
	}
	interfaces = strings.Split(list, ",")
	if len(interfaces) != procs {
		p.reject(n, "lb_interfaces", "number of load-balanced interfaces is not same as number of load-balanced processes for node '%s'", n.Name)
		return nil, false
	}
	return interfaces, true
}

// add adds a node. Names that differ only in their case are the same.
func (p *nodeParser) add(n *Node) {
	lower := strings.ToLower(n.Name)
	if other, ok := p.names[lower]; ok {
		p.fail(n.Line, 1, "node name \"%s\" is a duplicate of \"%s\"", n.Name, other)
		return
	}
	if len(p.nodes) >= maxNodes {
		p.fail(n.Line, 1, "more than %d nodes", maxNodes)
		return
	}
	p.names[lower] = n.Name
	p.nodes = append(p.nodes, n)
}

// maxNodes limits the nodes of a file.
const maxNodes = 20_000

// checkNodes checks all nodes together.
func (p *nodeParser) checkNodes() {
	count := map[string]int{}
	localManager := false
	for _, n := range p.nodes {
		count[n.Type]++
		if n.Type == Manager {
			if count[Manager] > 1 {
				p.reject(n, "type", "only one manager can be defined in node config")
			}
			localManager = IsLocal(n.Host)
		}
	}
	switch {
	case count[Standalone] > 0 && len(p.nodes) > 1:
		p.fail(0, 0, "more than one node defined in standalone node config")
	case count[Standalone] > 0:
	case count[Manager] == 0:
		p.fail(0, 0, "no manager defined in node config")
	case count[Proxy] == 0:
		p.fail(0, 0, "no proxy defined in node config")
	}
	for _, n := range p.nodes {
		if localManager && !IsLocal(n.Host) {
			p.reject(n, "host", "all nodes must use localhost/127.0.0.1/::1 when manager uses it")
		}
	}
}

// IsLocal reports whether a host is the machine itself.
func IsLocal(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

func setDefault(env map[string]string, name, value string) {
	if _, ok := env[name]; !ok {
		env[name] = value
	}
}
