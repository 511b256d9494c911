package importer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// SiteDir is the directory of the site, relative to the cluster file.
const SiteDir = "site"

// ClusterFile returns the cluster file. Workers have the short form where that expands to
// the same nodes: the file is read again, and compared with the plan.
func (p *Plan) ClusterFile() ([]byte, error) { return p.clusterFile(true) }

func (p *Plan) clusterFile(short bool) ([]byte, error) {
	flat := map[*Group]bool{} // groups that have a section for each node
	for _, g := range p.Groups {
		flat[g] = !short || !g.numbered()
	}
	for attempt := 1; ; attempt++ {
		w := clusterWriter{plan: p, flat: flat}
		text, err := w.file()
		if err != nil {
			return nil, err
		}
		wrong, err := p.verify(text)
		if err == nil {
			return text, nil
		}
		if wrong == nil || flat[wrong] {
			return nil, err
		}
		flat[wrong] = true
		if attempt == maxAttempts {
			return p.clusterFile(false)
		}
	}
}

// maxAttempts limits the number of groups whose short form is tried without success.
const maxAttempts = 16

// verify returns an error unless a cluster file has the nodes of the plan. If the nodes of
// a group are wrong, it also returns the group.
func (p *Plan) verify(text []byte) (wrong *Group, err error) {
	config, _, err := ParseClusterFile(text)
	if err != nil {
		// Perhaps a short form is refused.
		return p.firstShort(text), fmt.Errorf("this cannot be written to a cluster file: %w", err)
	}
	got := map[string]zeekapi.Node{}
	for _, n := range config.Nodes {
		got[n.Name] = n
	}
	total := 0
	for _, g := range p.Groups {
		total += len(g.Nodes)
		for _, n := range g.Nodes {
			if !sameNode(got[n.Name], p.node(g, n)) {
				return g, fmt.Errorf("the cluster file changes node %q", n.Name)
			}
		}
	}
	if len(config.Nodes) != total {
		return nil, errors.New("the cluster file has other nodes")
	}
	return nil, nil
}

// firstShort returns the first group that a text has in the short form.
func (p *Plan) firstShort(text []byte) *Group {
	for _, g := range p.Groups {
		if g.numbered() && bytes.Contains(text, []byte("\n["+g.Name+"]\n")) {
			return g
		}
	}
	return nil
}

// sameNode reports whether two nodes run in the same way. A cluster file adds the fan-out
// IDs of AF_Packet that workers of several interfaces need.
func sameNode(got, want zeekapi.Node) bool {
	scripts := got.Scripts
	if !slices.ContainsFunc(want.Scripts, isFanout) {
		scripts = slices.DeleteFunc(slices.Clone(scripts), isFanout)
	}
	return got.Name == want.Name && got.Instance == want.Instance && got.Role == want.Role && got.Interface == want.Interface && got.Affinity() == want.Affinity() &&
		got.Port == want.Port && got.MetricsPort == want.MetricsPort && slices.Equal(scripts, want.Scripts) && maps.Equal(got.Env, want.Env) &&
		slices.Equal(got.Options, want.Options)
}

// isFanout reports whether a word assigns the fan-out ID of AF_Packet.
func isFanout(word string) bool { return zeekapi.AssignedOption(word) == clusterfile.FanoutOption }

// numbered reports whether one section with the key workers can describe the nodes of the
// group.
func (g *Group) numbered() bool {
	if g.Role != zeekapi.RoleWorker {
		return false
	}
	for i, n := range g.Nodes {
		if n.Name != fmt.Sprintf("%s-%d", g.Name, i+1) || n.Port != 0 || n.MetricsPort != 0 {
			return false
		}
	}
	return true
}

// ParseClusterFile reads a cluster file without looking for the site and for the
// addresses of machines.
func ParseClusterFile(text []byte) (zeekapi.Configuration, configparser.Errors, error) {
	return clusterfile.Parse("cluster.cfg", bytes.NewReader(text), clusterfile.Options{
		Thorough: true,
		Extended: true,
		Site:     func(string) (string, error) { return "", nil },
		Resolve:  func(string) ([]netip.Addr, error) { return []netip.Addr{netip.IPv4Unspecified()}, nil },
	})
}

// clusterWriter writes a cluster file.
type clusterWriter struct {
	plan *Plan
	flat map[*Group]bool
	out  bytes.Buffer
	err  error
}

// section makes a section and writes it after a comment.
func (w *clusterWriter) section(name, comment string, keys func(set func(key, value string))) {
	var section configparser.Writer
	section.Section(name)
	keys(func(key, value string) { section.KeyValue(key, configparser.Escape(value)) })
	w.add(&section, comment)
}

// add writes a section after a comment.
func (w *clusterWriter) add(section *configparser.Writer, comment string) {
	text, err := section.Bytes()
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("the cluster file: %w; change it in %s", err, strings.Join(w.plan.Files, ", "))
	}
	w.out.WriteByte('\n')
	if comment != "" {
		fmt.Fprintf(&w.out, "# %s\n", printable(comment))
	}
	w.out.Write(bytes.TrimSpace(text))
	w.out.WriteByte('\n')
}

// printable returns text as part of a comment.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

func (w *clusterWriter) file() ([]byte, error) {
	p := w.plan
	fmt.Fprintf(&w.out, "# Made by \"zeekwire import\" from a configuration of %s:\n", p.Kind)
	for _, name := range p.Files {
		fmt.Fprintf(&w.out, "# %s\n", printable(filepath.Base(name)))
	}
	if len(p.Left) > 0 {
		fmt.Fprintf(&w.out, "# Not carried over: %s, which the command lists with reasons.\n", count(len(p.Left), "value"))
	}
	w.instances()
	w.cluster()
	for _, g := range p.Groups {
		if !w.flat[g] {
			w.workers(g)
			continue
		}
		for _, n := range g.Nodes {
			w.node(g, n)
		}
	}
	return w.out.Bytes(), w.err
}

func (w *clusterWriter) instances() {
	var section configparser.Writer
	section.Section("instances")
	for _, m := range w.plan.Machines {
		if m.Listens {
			section.KeyValue(m.Name, configparser.Escape(net.JoinHostPort(m.Address, strconv.Itoa(agentPort))))
		} else {
			section.Key(m.Name)
		}
	}
	w.add(&section, "The machines of the cluster, by the names of their agents.")
}

func (w *clusterWriter) cluster() {
	c := w.plan.Common
	if !c.Site && len(c.with(nil)) == 0 && len(c.Env) == 0 && c.MemoryLimit == "" && c.LogExpiry == "" {
		return
	}
	w.section("cluster", "Values for all nodes.", func(set func(key, value string)) {
		if c.Site {
			set("site", "./"+SiteDir)
		}
		write := func(key, value string) {
			if value != "" {
				set(key, value)
			}
		}
		write("scripts", shlex.Join(c.Scripts))
		write("backend", c.Backend)
		write("args", literal(shlex.Join(c.Args)))
		var networks []string
		for _, n := range c.Networks {
			networks = append(networks, n.String())
		}
		write("networks", strings.Join(networks, " "))
		write("env", literal(envWords(c.Env)))
		write("memory_limit", c.MemoryLimit)
		write("log_expiry", c.LogExpiry)
	})
}

// literal escapes the variables of a text.
func literal(text string) string { return strings.ReplaceAll(text, "${", `\${`) }

// own returns the scripts, and the assignments, of a group.
func (g *Group) own(c Common) (scripts, args []string) {
	for _, word := range slices.Compact(slices.Sorted(slices.Values(g.Args))) {
		switch {
		case zeekapi.IsAssignment(word):
			args = append(args, word)
		case !slices.Contains(c.Scripts, word):
			scripts = append(scripts, word)
		}
	}
	return scripts, args
}

// node writes a node.
func (w *clusterWriter) node(g *Group, n Node) {
	w.section(n.Name, g.Comment, func(set func(key, value string)) {
		set("instance", g.Machine)
		set("role", strings.ToLower(string(g.Role)))
		if n.Port != 0 {
			set("port", strconv.Itoa(int(n.Port)))
		}
		if n.Interface != "" {
			set("interface", n.Interface)
		}
		if len(n.CPUs) > 0 {
			set("cpu_affinity", zeekapi.FormatCPUs(n.CPUs))
		}
		w.words(g, set, func(s string) string { return s })
		if len(n.Env) > 0 {
			set("env", envWords(n.Env))
		}
		if n.MetricsPort != 0 {
			set("metrics_port", strconv.Itoa(int(n.MetricsPort)))
		}
	})
}

// words writes the scripts, assignments and limits of a group.
func (w *clusterWriter) words(g *Group, set func(key, value string), escape func(string) string) {
	scripts, args := g.own(w.plan.Common)
	if len(scripts) > 0 {
		set("scripts", escape(shlex.Join(scripts)))
	}
	if len(args) > 0 {
		set("args", escape(shlex.Join(args)))
	}
	if g.MemoryLimit != "" {
		set("memory_limit", g.MemoryLimit)
	}
}

// workers writes the section that describes all workers of a group.
func (w *clusterWriter) workers(g *Group) {
	w.section(g.Name, g.Comment, func(set func(key, value string)) {
		first := g.Nodes[0]
		set("instance", g.Machine)
		set("role", "worker")
		set("workers", strconv.Itoa(len(g.Nodes)))
		if source := cmp.Or(g.Source, g.template(func(n Node) string { return n.Interface })); source != "" {
			set("interface", source)
		}
		if len(first.CPUs) > 0 {
			set("cpu_affinity", g.cpus())
		}
		w.words(g, set, literal)
		if env := g.env(); env != "" {
			set("env", env)
		}
	})
}

// env returns the environment of the group as a template.
func (g *Group) env() string {
	env := map[string]string{}
	for name := range g.Nodes[0].Env {
		env[name] = g.template(func(n Node) string { return n.Env[name] })
	}
	for _, v := range g.Env {
		if _, ok := env[v.Name]; ok {
			env[v.Name] = v.Value
		}
	}
	return envWords(env)
}

// template returns a template for a value of each node: the first node's value, or, if all
// values end with the number of the node, one with a variable. If the template is wrong,
// the nodes get sections of their own.
func (g *Group) template(value func(Node) string) string {
	first := value(g.Nodes[0])
	for start, name := range []string{"${worker_index0}", "${worker_index}"} {
		prefix, ok := strings.CutSuffix(first, strconv.Itoa(start))
		different := slices.ContainsFunc(g.Nodes, func(n Node) bool { return value(n) != first })
		if !ok || !different {
			continue
		}
		numbered := true
		for i, n := range g.Nodes {
			numbered = numbered && value(n) == prefix+strconv.Itoa(start+i)
		}
		if numbered {
			return literal(prefix) + name
		}
	}
	return literal(first)
}

// cpus returns the shortest list of CPUs that gives each node of the group its CPU.
func (g *Group) cpus() string {
	var all []int64
	for _, n := range g.Nodes {
		if len(n.CPUs) != 1 {
			return ""
		}
		all = append(all, n.CPUs[0])
	}
	period := 1
	for ; period < len(all); period++ {
		if slices.Equal(all[period:], all[:len(all)-period]) {
			break
		}
	}
	return zeekapi.FormatCPUs(all[:period])
}

// envWords returns an environment in the form of a cluster file.
func envWords(env map[string]string) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		words = append(words, name+"="+env[name])
	}
	return shlex.Join(words)
}
