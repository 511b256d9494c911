package importer

import (
	"bytes"
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
)

// SiteDir is the directory of the site, relative to the cluster file.
const SiteDir = "site"

// ClusterFile returns the cluster file. It is read again, so that its nodes are those of
// the plan.
func (p *Plan) ClusterFile() ([]byte, error) {
	w := clusterWriter{plan: p}
	text, err := w.file()
	if err != nil {
		return nil, err
	}
	return text, p.verify(text)
}

// verify returns an error unless a cluster file has the nodes of the plan.
func (p *Plan) verify(text []byte) error {
	config, _, err := ParseClusterFile(text)
	if err != nil {
		return fmt.Errorf("the cluster file cannot be read again: %w", err)
	}
	want := p.Configuration()
	for _, n := range want.Nodes {
		i := slices.IndexFunc(config.Nodes, func(got zeekapi.Node) bool { return got.Name == n.Name })
		if i < 0 || !sameNode(config.Nodes[i], n) {
			return fmt.Errorf("the cluster file changes node %q", n.Name)
		}
	}
	if len(config.Nodes) != len(want.Nodes) {
		return errors.New("the cluster file has further nodes")
	}
	return nil
}

// sameNode reports whether two nodes run in the same way.
func sameNode(a, b zeekapi.Node) bool {
	sameCPU := (a.CPUAffinity == nil) == (b.CPUAffinity == nil) && (a.CPUAffinity == nil || *a.CPUAffinity == *b.CPUAffinity)
	return a.Name == b.Name && a.Instance == b.Instance && a.Role == b.Role && a.Interface == b.Interface && sameCPU &&
		a.Port == b.Port && a.MetricsPort == b.MetricsPort && slices.Equal(a.Scripts, b.Scripts) && maps.Equal(a.Env, b.Env)
}

// ParseClusterFile reads a cluster file without looking for the site and for the
// addresses of machines.
func ParseClusterFile(text []byte) (zeekapi.Configuration, configparser.Errors, error) {
	return clusterfile.Parse("cluster.cfg", bytes.NewReader(text), clusterfile.Options{
		Thorough: true,
		Site:     func(string) (string, error) { return "", nil },
		Resolve:  func(string) ([]netip.Addr, error) { return []netip.Addr{netip.IPv4Unspecified()}, nil },
	})
}

// clusterWriter writes a cluster file.
type clusterWriter struct {
	plan *Plan
	out  bytes.Buffer
	err  error
}

// section writes a section after a comment.
func (w *clusterWriter) section(name, comment string, keys func(set func(key, value string))) {
	var section configparser.Writer
	section.Section(name)
	keys(func(key, value string) { section.KeyValue(key, configparser.Escape(value)) })
	text, err := section.Bytes()
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("section %q: %w", name, err)
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
		fmt.Fprintf(&w.out, "# Not everything is carried over: see %s.\n", leftName)
	}
	w.instances()
	w.cluster()
	for _, g := range p.Groups {
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
	text, err := section.Bytes()
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("section [instances]: %w", err)
	}
	w.out.WriteString("\n# The machines of the cluster, by the names of their agents.\n")
	w.out.Write(text)
}

func (w *clusterWriter) cluster() {
	common := w.plan.Common
	words := common.words()
	if !common.Site && len(words) == 0 {
		return
	}
	w.section("cluster", "What all nodes have in common.", func(set func(key, value string)) {
		if common.Site {
			set("site", "./"+SiteDir)
		}
		if len(words) > 0 {
			set("scripts", quoteWords(words))
		}
	})
}

// node writes a node.
func (w *clusterWriter) node(g *Group, n Node) {
	node := w.plan.node(g, n)
	common := len(w.plan.Common.words())
	w.section(n.Name, g.Comment, func(set func(key, value string)) {
		set("instance", node.Instance)
		set("role", strings.ToLower(string(node.Role)))
		if node.Port.Number != 0 {
			set("port", strconv.Itoa(int(node.Port.Number)))
		}
		if node.Interface != "" {
			set("interface", node.Interface)
		}
		if node.CPUAffinity != nil {
			set("cpu_affinity", strconv.FormatInt(*node.CPUAffinity, 10))
		}
		if own := node.Scripts[common:]; len(own) > 0 {
			set("scripts", quoteWords(own))
		}
		if len(node.Env) > 0 {
			set("env", envWords(node.Env))
		}
		if node.MetricsPort.Number != 0 {
			set("metrics_port", strconv.Itoa(int(node.MetricsPort.Number)))
		}
	})
}

// envWords returns an environment in the form of a cluster file.
func envWords(env map[string]string) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		words = append(words, name+"="+env[name])
	}
	return quoteWords(words)
}
