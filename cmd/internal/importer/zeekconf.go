package importer

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
	"github.com/zeekwire/zeekwire/zeekapi/zeekconf"
)

// localMachine is the name of the only machine of a cluster that has no other.
const localMachine = "localhost"

// zeekConf turns the files of one cluster into a plan. The installation of Zeek is in
// the directory base, unless a file says otherwise; "" if it is not known.
func zeekConf(files []*zeekconf.Config, base string) (*Plan, error) {
	p := &Plan{Kind: kindConf}
	var hosts []*host
	for _, c := range files {
		h := newHost(p, c, base)
		p.Files = append(p.Files, c.File)
		p.Machines = append(p.Machines, h.machine)
		hosts = append(hosts, h)
		p.exactPorts = p.exactPorts || c.Other["port"] != nil
		p.metricsOff = c.MetricsPort == 0 && (p.metricsOff || len(hosts) == 1)
		h.machine.ownMetrics = c.Other["metrics_port"] != nil
	}
	p.At = controllerHost(hosts)
	p.commonArguments(hosts)
	for _, h := range hosts {
		h.connect(hosts)
		h.nodes()
		h.leave()
		h.archive()
	}
	p.Common.Env = p.commonEnv()
	p.memory()
	if err := p.ports(); err != nil {
		return nil, err
	}
	p.sortLeft()
	p.before = []string{"systemctl stop zeek.target", "rm -f /etc/systemd/system-generators/zeek-systemd-generator", "systemctl daemon-reload"}
	return p, nil
}

// host is a machine with its file.
type host struct {
	plan    *Plan
	config  *zeekconf.Config
	machine *Machine
	base    string // directory of the installation, or ""
	args    arguments
}

func newHost(p *Plan, c *zeekconf.Config, base string) *host {
	name := strings.ToLower(c.Host)
	if name == "" {
		name = localMachine
	}
	h := &host{plan: p, config: c, base: base, machine: &Machine{Name: name, Address: c.Address}}
	if h.machine.Address == "" {
		h.machine.Address = c.Host
	}
	if o := c.Other["base_dir"]; o != nil && o.Value() != "" {
		h.base = o.Value()
	}
	h.machine.set("name", name, "")
	if h.base != "" {
		h.machine.set("zeek", filepath.Join(h.base, "bin", "zeek"), "")
	}
	return h
}

// controllerHost returns the name of the machine of the controller: that of the
// manager, or the first.
func controllerHost(hosts []*host) string {
	for _, h := range hosts {
		if h.config.Manager {
			return h.machine.Name
		}
	}
	return hosts[0].machine.Name
}

// connect decides how the agent of the machine and the controller connect. The agent of a
// cluster on one machine, at 127.0.0.1, connects to the controller. Other agents listen.
func (h *host) connect(hosts []*host) {
	m := h.machine
	if len(hosts) == 1 && m.Address == "127.0.0.1" {
		return
	}
	h.plan.listen(m)
}

// place returns the place of an option.
func (h *host) place(o *zeekconf.Option) Place { return Place{h.config.File, o.Line, o.Column} }

// leaveOption adds an option that is not carried over.
func (h *host) leaveOption(o *zeekconf.Option, reason string) {
	if o != nil {
		h.plan.leave(h.place(o), o.Written, strings.Join(o.Values, " "), reason)
	}
}

// commonArguments sorts the arguments that all processes of a machine have. Scripts that
// all machines load become those of the cluster.
func (p *Plan) commonArguments(hosts []*host) {
	for _, h := range hosts {
		h.args = h.parse(h.config.BackendArgs+" "+h.config.Args(), h.config.Other["cluster_backend_args"], h.config.Common.Args)
		if len(h.args.options) > 0 {
			h.machine.set("node-args", shlex.Join(h.args.options), "options of zeek in args")
		}
		if h.args.tlsOff {
			h.machine.set("tls", "off", "Broker::disable_ssl=T in the arguments")
		}
	}
	first := hosts[0].args
	same := func(f func(arguments) string) bool {
		return !slices.ContainsFunc(hosts, func(h *host) bool { return f(h.args) != f(first) })
	}
	if same(func(a arguments) string { return a.backend }) {
		p.Common.Backend = first.backend
	} else {
		p.Notes = append(p.Notes, "The machines use different cluster backends. All nodes of a cluster must use the same: set backend in [cluster].")
	}
	if slices.ContainsFunc(hosts, func(h *host) bool { return h.args.tlsOff }) {
		p.control("tls", "off", "Broker::disable_ssl=T in the arguments; all agents need the same")
	}
	if same(func(a arguments) string { return strings.Join(a.scripts, "\n") }) {
		p.Common.add(first.scripts)
		for _, h := range hosts {
			h.args.scripts = nil
		}
	}
}

// parse sorts the arguments in a text, which the options contain.
func (h *host) parse(text string, options ...*zeekconf.Option) arguments {
	leave := func(word, reason string) {
		for _, o := range options {
			if o != nil && (strings.Contains(o.Joined(), word) || o == options[len(options)-1]) {
				h.plan.leave(h.place(o), o.Written, word, reason)
				return
			}
		}
	}
	parse := parseCommonArguments
	if len(options) == 1 {
		parse = parseArguments // of the processes of one kind
	}
	a := parse(systemdWords(text, leave))
	for _, l := range a.left {
		leave(l.word, l.reason)
	}
	return a
}

// nodes adds the groups of the machine's nodes.
func (h *host) nodes() {
	groups := map[*zeekconf.Process]*Group{}
	for _, n := range h.config.Nodes() {
		g := groups[n.Process]
		if g == nil || n.Role != zeekapi.RoleWorker {
			g = h.group(n)
			groups[n.Process] = g
			h.plan.Groups = append(h.plan.Groups, g)
		}
		node := Node{Name: n.Name, Interface: n.Interface, Port: uint16(n.Port), MetricsPort: uint16(n.MetricsPort), Env: map[string]string{}}
		for _, cpu := range n.CPUs() {
			node.CPUs = append(node.CPUs, int64(cpu))
		}
		for _, v := range n.Variables {
			if value, err := systemdVariable(v.Name, v.Value); err == nil {
				node.Env[v.Name] = value
			}
		}
		maps.Copy(node.Env, h.paths())
		g.Nodes = append(g.Nodes, node)
	}
}

// group returns a group for a node, without nodes.
func (h *host) group(n zeekconf.Node) *Group {
	g := &Group{Name: n.Name, Machine: h.machine.Name, Role: n.Role, Args: latest(h.args.scripts)}
	section := "" // of the interface of a worker
	if n.On != nil {
		section = n.On.Name
		g.Name = strings.TrimSuffix(n.Name, "-1")
		g.Comment = "the interface of " + filepath.Base(h.config.File)
		if section != "" {
			g.Comment = fmt.Sprintf("[interface %s] of %s, line %d", section, filepath.Base(h.config.File), n.On.Line)
		}
		g.Source = strings.ReplaceAll(n.On.Source, "${interface_section_name}", section)
	}
	if o := n.Process.Args; o != nil {
		a := h.parse(o.Joined(), o)
		g.Args = latest(slices.Concat(a.scripts, h.args.scripts))
		if len(a.options) > 0 {
			h.roleOptions(n, o, a.options)
		}
	}
	if o := n.Process.MemoryMax; o != nil {
		if _, err := zeekapi.ParseMemory(o.Value()); err != nil {
			h.leaveOption(o, err.Error())
		} else {
			g.MemoryLimit = o.Value()
		}
	}
	for _, v := range n.Process.Variables {
		if value, err := systemdVariable(v.Name, v.Value); err == nil {
			g.Env = append(g.Env, Variable{v.Name, strings.ReplaceAll(value, "${interface_section_name}", section)})
		}
	}
	return g
}

// roleOptions carries over options of zeek that the processes of one kind have. An
// agent can give them only to all its nodes.
func (h *host) roleOptions(n zeekconf.Node, o *zeekconf.Option, options []string) {
	for _, other := range h.config.Nodes() {
		if other.Process != n.Process {
			h.plan.leave(h.place(o), o.Written, strings.Join(options, " "),
				noOwnOptions)
			return
		}
	}
	h.machine.set("node-args", shlex.Join(slices.Concat(h.args.options, options)), "options of zeek in args and "+o.Written)
}

// paths returns the variables for the paths of the machine, as far as the file sets
// them.
func (h *host) paths() map[string]string {
	env := map[string]string{}
	other := h.config.Other
	value := func(key, otherwise string) string {
		if o := other[key]; o != nil {
			return o.Value()
		}
		return otherwise
	}
	if h.base == "" {
		return nil
	}
	if other["path"] != nil || value("ext_path", "") != "" {
		env["PATH"] = join(value("ext_path", ""), filepath.Join(h.base, "bin"), value("path", zeekconf.DefaultPath))
	}
	if ext := value("ext_zeek_path", ""); ext != "" {
		share := filepath.Join(h.base, "share", "zeek")
		env["ZEEKPATH"] = join(ext, share, filepath.Join(share, "policy"), filepath.Join(share, "site"), filepath.Join(share, "builtin-plugins"))
	}
	return env
}

// join joins directories to a path.
func join(dirs ...string) string {
	return strings.Join(slices.DeleteFunc(dirs, func(s string) bool { return s == "" }), ":")
}

// commonEnv returns the variables that all nodes have with one value, and removes them
// from the nodes.
func (p *Plan) commonEnv() map[string]string {
	common := map[string]string{}
	first := true
	p.eachNode(func(n *Node) {
		if first {
			common = maps.Clone(n.Env)
			first = false
		}
		maps.DeleteFunc(common, func(name, value string) bool { v, ok := n.Env[name]; return !ok || v != value })
	})
	p.eachNode(func(n *Node) {
		maps.DeleteFunc(n.Env, func(name, _ string) bool { _, ok := common[name]; return ok })
	})
	return common
}

// memory makes a limit that all nodes have one of the cluster.
func (p *Plan) memory() {
	limits := map[string]bool{}
	for _, g := range p.Groups {
		limits[g.MemoryLimit] = true
	}
	if len(limits) != 1 {
		return
	}
	for limit := range limits {
		p.Common.MemoryLimit = limit
	}
	for _, g := range p.Groups {
		g.MemoryLimit = ""
	}
}
