package importer

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
	"github.com/zeekwire/zeekwire/zeekapi/zeekctl"
)

// zeekControlFiles are the parsed files of ZeekControl. Only the nodes are required.
type zeekControlFiles struct {
	nodesFile, optionsFile, networksFile string

	nodes    []zeekctl.Node
	warnings configparser.Errors // about nodes
	options  zeekctl.Options
	networks []zeekctl.Network
}

// control turns a configuration of ZeekControl into a plan.
type control struct {
	*Plan
	files   zeekControlFiles
	base    string // directory of the installation, or ""
	version version
	zeroMQ  bool
}

// zeekControl turns a configuration of ZeekControl into a plan. The installation of Zeek
// is in the directory base, unless a file says otherwise; "" if it is not known.
func zeekControl(files zeekControlFiles, base string) (*Plan, error) {
	c := control{Plan: &Plan{Kind: kindControl}, files: files}
	for _, name := range []string{files.nodesFile, files.networksFile, files.optionsFile} {
		if name != "" {
			c.Files = append(c.Files, name)
		}
	}
	c.base = files.options.Text("zeekbase", base)
	c.version = installedVersion(c.base)
	c.zeroMQ = strings.EqualFold(files.options.Text("clusterbackend", c.version.backend()), "zeromq")
	c.machines()
	c.common()
	c.nodes()
	for _, m := range c.Machines {
		c.settings(m)
	}
	c.alerts()
	c.leaveOptions()
	c.leaveKeys()
	if err := c.ports(); err != nil {
		return nil, err
	}
	c.sortLeft()
	c.before = []string{"zeekctl cron disable", "zeekctl stop"}
	if len(c.Machines) > 1 {
		c.Notes = append(c.Notes, "\"zeekctl deploy\" also copies Zeek itself to the other machines. From now on, install and update Zeek and its plugins on each machine.")
	}
	return c.Plan, nil
}

// machineOf returns the name of the machine of a host.
func machineOf(hostname string) string {
	switch {
	case zeekctl.IsLocal(hostname):
		return localMachine
	case strings.Contains(hostname, ":"):
		// An address of IPv6 cannot be a key of a cluster file.
		return "host-" + strings.NewReplacer(":", "-", "%", "-").Replace(hostname)
	}
	return strings.ToLower(hostname)
}

// machines adds the machines in the order of their nodes.
func (c *control) machines() {
	for _, n := range c.files.nodes {
		name := machineOf(n.Host)
		if n.Type == zeekctl.Manager || c.At == "" {
			c.At = name
		}
		if c.machine(name) == nil {
			m := &Machine{Name: name, Address: n.Host}
			if n.Host == "localhost" {
				m.Address = "127.0.0.1"
			}
			m.set("name", name, "")
			c.Machines = append(c.Machines, m)
		}
	}
	if len(c.Machines) == 1 && c.Machines[0].Address == "127.0.0.1" {
		return
	}
	for _, m := range c.Machines {
		c.listen(m)
	}
}

// common carries over what holds for all nodes.
func (c *control) common() {
	o := c.files.options
	c.Common.Scripts = strings.Fields(o.Text("sitepolicyscripts", "local.zeek"))
	c.Common.Backend = c.version.backend()
	if b := o.Get("clusterbackend"); b != nil {
		c.backend(b)
	} else if c.version == (version{}) {
		c.Notes = append(c.Notes, "No file names the cluster backend. It is ZeroMQ, ZeekControl's default since Zeek 8.1; for an older Zeek, set backend = broker in the cluster file.")
	}
	for _, n := range c.files.networks {
		c.Common.Networks = append(c.Common.Networks, n.Prefix)
	}
	if limit := o.Get("memlimit"); limit != nil && limit.Value != "unlimited" && limit.Value != "" {
		c.Common.MemoryLimit = limit.Value + "K"
		if _, err := zeekapi.ParseMemory(c.Common.MemoryLimit); err != nil {
			c.Common.MemoryLimit = ""
			c.leaveOption(limit, "it is not a number of KB")
		}
	}
	if minutes := o.LogExpireMinutes(); minutes > 0 {
		c.Common.LogExpiry = expiry(minutes)
	}
	c.Script = settingsScript(o)
	if c.Script != "" {
		c.Common.Scripts = append(c.Common.Scripts, scriptName)
	}
	for dir := range strings.SplitSeq(o.Path("sitepolicypath", c.base), ":") {
		if dir != "" {
			c.ScriptDirs = append(c.ScriptDirs, dir)
		}
	}
	c.arguments()
}

func (c *control) backend(o *zeekctl.Option) {
	switch c.Common.Backend = strings.ToLower(o.Value); c.Common.Backend {
	case "zeromq", "broker":
	default:
		c.Common.Backend = ""
		c.leaveOption(o, "agents know the backends broker and zeromq")
	}
}

// expiry returns an age in the form of a cluster file.
func expiry(minutes int) string {
	const hour, day = 60, 24 * 60
	switch {
	case minutes%day == 0:
		return fmt.Sprintf("%dd", minutes/day)
	case minutes%hour == 0:
		return fmt.Sprintf("%dh", minutes/hour)
	}
	return fmt.Sprintf("%dm", minutes)
}

// arguments carries over ZeekArgs, and Prefixes.
func (c *control) arguments() {
	var options []string
	if o := c.files.options.Get("zeekargs"); o != nil && o.Value != "" {
		words, err := shlex.Split(o.Value)
		a := parseArguments(words)
		if err != nil {
			c.leaveOption(o, err.Error())
		}
		for _, l := range a.left {
			c.leave(placeOf(o), o.Written, l.word, l.reason)
		}
		c.Common.add(a.scripts)
		options = a.options
	}
	for prefix := range strings.SplitSeq(c.files.options.Text("prefixes", "local"), ":") {
		if prefix != "" {
			options = append(options, "-p", prefix)
		}
	}
	for _, m := range c.Machines {
		if len(options) > 0 {
			m.set("node-args", shlex.Join(options), "ZeekArgs and Prefixes of ZeekControl")
		}
	}
}

// nodes adds the groups of nodes. A standalone node becomes a small cluster.
func (c *control) nodes() {
	port := uint16(c.files.options.Int("zeekport", c.version.port())) + 1 // after that of "control"
	if c.zeroMQ {
		port += 2 // ZeroMQ itself
	}
	metrics := c.files.options.Int("metricsport", 9991)
	c.metricsOff = metrics == 0
	c.exactPorts = c.files.options.Get("zeekport") != nil
	groups := map[string]*Group{}
	for _, n := range inPortOrder(c.files.nodes) {
		if n.Type == zeekctl.Standalone {
			c.standalone(n, port-1, uint16(metrics))
			return
		}
		g := groups[n.Section]
		if g == nil {
			g = c.group(n)
			groups[n.Section] = g
			c.Groups = append(c.Groups, g)
		}
		node := c.node(n)
		node.Port = port
		port++
		if metrics > 0 {
			node.MetricsPort = uint16(metrics)
			metrics++
		}
		g.Nodes = append(g.Nodes, node)
	}
	c.Common.Env = c.commonEnv()
}

// inPortOrder returns nodes in the order in which ZeekControl gives them ports.
func inPortOrder(nodes []zeekctl.Node) []zeekctl.Node {
	order := []string{zeekctl.Standalone, zeekctl.Manager, zeekctl.Logger, zeekctl.Proxy, zeekctl.Worker}
	return slices.SortedStableFunc(slices.Values(nodes), func(a, b zeekctl.Node) int {
		return slices.Index(order, a.Type) - slices.Index(order, b.Type)
	})
}

// roles are the roles of ZeekControl's types of nodes.
var roles = map[string]zeekapi.ClusterRole{
	zeekctl.Manager: zeekapi.RoleManager, zeekctl.Logger: zeekapi.RoleLogger, zeekctl.Proxy: zeekapi.RoleProxy, zeekctl.Worker: zeekapi.RoleWorker,
}

// node returns a node, and lists what it has and is not carried over.
func (c *control) node(n zeekctl.Node) Node {
	node := Node{Name: n.Name, Interface: n.Interface, Env: map[string]string{}}
	if n.CPU != nil {
		node.CPUs = []int64{int64(*n.CPU)}
	}
	for _, name := range slices.Sorted(maps.Keys(n.Env)) {
		value, err := shellValue(n.Env[name])
		if err == nil {
			node.Env[name] = value
			continue
		}
		o := n.Keys["env_vars"]
		if o == nil || !strings.Contains(o.Value, n.Env[name]) {
			o = c.files.options.Get("env_vars")
		}
		c.leave(placeOf(o), o.Written, name+"="+n.Env[name], err.Error())
	}
	return node
}

// group returns a group for the nodes of a section, without nodes.
func (c *control) group(n zeekctl.Node) *Group {
	g := &Group{Name: n.Section, Machine: machineOf(n.Host), Role: roles[n.Type],
		Comment: fmt.Sprintf("[%s] of %s, line %d", n.Section, filepath.Base(c.files.nodesFile), n.Line)}
	if o := n.Keys["aux_scripts"]; o != nil && o.Value != "" {
		words, err := shlex.Split(o.Value)
		a := parseArguments(words)
		g.Args = append(g.Args, a.scripts...)
		if err != nil {
			c.leaveOption(o, err.Error())
		}
		for _, word := range a.options {
			c.leave(placeOf(o), o.Written, word, noOwnOptions)
		}
		for _, l := range a.left {
			c.leave(placeOf(o), o.Written, l.word, l.reason)
		}
	}
	for _, key := range zeekctl.PacketKeys {
		o := n.Keys[zeekctl.PacketPrefix+key]
		switch {
		case o == nil || strings.TrimSpace(o.Value) == "":
		case n.Procs() == 0:
			c.leaveOption(o, "ZeekControl ignores it without lb_procs, too")
		case !c.usesPackets():
			c.leaveOption(o, "ZeekControl ignores it if no worker uses AF_PACKET, too")
		default:
			g.Args = append(g.Args, "AF_Packet::"+key+"="+strings.TrimSpace(o.Value))
		}
	}
	return g
}

// usesPackets reports whether ZeekControl's plugin for AF_PACKET is active.
func (c *control) usesPackets() bool {
	refused := slices.ContainsFunc(c.files.warnings, func(w *configparser.Error) bool { return w.Key == "interface" })
	return !refused && slices.ContainsFunc(c.files.nodes, func(n zeekctl.Node) bool {
		return n.Procs() > 0 && strings.HasPrefix(n.Interface, "af_packet::")
	})
}

// standalone adds the nodes for a standalone node.
func (c *control) standalone(n zeekctl.Node, port, metrics uint16) {
	worker := c.node(n)
	for i, role := range []zeekapi.ClusterRole{zeekapi.RoleManager, zeekapi.RoleLogger, zeekapi.RoleProxy, zeekapi.RoleWorker} {
		node := Node{Name: strings.ToLower(string(role)), Env: maps.Clone(worker.Env), Port: port + uint16(i)}
		if role == zeekapi.RoleWorker {
			node.Interface, node.CPUs, node.Port = worker.Interface, worker.CPUs, 0
		}
		if metrics > 0 {
			node.MetricsPort = metrics + uint16(i)
		}
		g := c.group(n)
		g.Name, g.Role, g.Nodes = node.Name, role, []Node{node}
		c.Groups = append(c.Groups, g)
	}
	c.Common.Env = c.commonEnv()
	c.Notes = append(c.Notes, fmt.Sprintf("The standalone node %q becomes a cluster of manager, logger, proxy and worker: there are no standalone nodes here.", n.Name))
}

// settings sets the settings of a machine's agent.
func (c *control) settings(m *Machine) {
	o := c.files.options
	if path := o.Path("zeek", c.base); path != "" {
		m.set("zeek", path, "")
	}
	for _, name := range []string{"brokerdbdir", "fileextractdir", "defaultstoredir"} {
		if option := o.Get(name); option != nil && option.Value != "" {
			m.Writable = append(m.Writable, option.Value)
		}
	}
	if !c.writesLogs(m) {
		return
	}
	c.compression(m)
	if path := o.Path("logdir", c.base); path != "" {
		m.Writable = append(m.Writable, path)
		m.set("archive-dir", path, "LogDir of ZeekControl")
	}
}

// compression carries over how archived logs are compressed.
func (c *control) compression(m *Machine) {
	o := c.files.options
	if !o.Bool("compresslogs", true) {
		m.set("archive-compression", "none", "CompressLogs of ZeekControl")
		return
	}
	words := strings.Fields(o.Text("compresscmd", "gzip"))
	command, program := o.Get("compresscmd"), ""
	if len(words) > 0 {
		program = filepath.Base(words[0])
	}
	switch program {
	case "zstd":
		m.set("archive-compression", "zstd", "CompressCmd of ZeekControl")
	case "gzip", "pigz":
	default:
		c.leave(placeOf(command), command.Written, command.Value,
			"the agent compresses archived logs itself, with gzip or zstd; another program needs archive-cmd")
		return
	}
	if len(words) > 1 {
		c.leave(placeOf(command), command.Written, command.Value, "the agent compresses archived logs itself, with its own level")
	}
}

// writesLogs reports whether a machine has a node that writes logs.
func (c *control) writesLogs(m *Machine) bool {
	role := zeekapi.RoleManager
	for _, g := range c.Groups {
		if g.Role == zeekapi.RoleLogger {
			role = zeekapi.RoleLogger
		}
	}
	return slices.ContainsFunc(c.Groups, func(g *Group) bool { return g.Machine == m.Name && g.Role == role })
}
