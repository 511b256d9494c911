package clusterfile

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

// INI returns the configuration as an INI file, for Options.Extended and Options.Thorough.
// Instances and nodes are sorted by name, and so are the scripts that a node has besides
// those of [cluster]. The ID, node states, unknown options, and hosts of agents that connect
// are omitted. Names of instances are in lower case. Percent signs and quotes in values,
// which zeek-client does not write correctly, are escaped.
//
// INI returns an error that wraps configparser.ErrUnwritable if a name or a value cannot be
// written, or would be read as another one.
//
// zeek-client can read the file, with three exceptions. The file has a section [cluster] for
// a site, and for scripts that all nodes load first in an order that is not alphabetical.
// Groups, memory limits and log expiry are keys of the nodes. A list of several CPUs is
// an error for zeek-client.
func INI(c zeekapi.Configuration) ([]byte, error) {
	for _, i := range c.Instances {
		if selection.IsPattern(i.Name) {
			return nil, fmt.Errorf("clusterfile: instance %q %w: it would be read as a pattern", i.Name, configparser.ErrUnwritable)
		}
	}
	for _, n := range c.Nodes {
		if selection.IsPattern(n.Instance) {
			return nil, fmt.Errorf("clusterfile: instance %q of node %q %w: it would be read as a pattern", n.Instance, n.Name, configparser.ErrUnwritable)
		}
	}
	text, err := writeINI(c)
	if err != nil {
		return nil, err
	}
	if err := readable(text); err != nil {
		return nil, fmt.Errorf("clusterfile: the configuration %w: %w", configparser.ErrUnwritable, err)
	}
	return text, nil
}

// readable returns an error if a thorough reader refuses lines of a file, because they look
// like something else, such as a comment behind a value.
func readable(text []byte) error {
	file, err := configparser.Read("cluster.cfg", bytes.NewReader(text))
	if err != nil {
		return err
	}
	if errs := file.Misread(newBuilder(file, Options{Extended: true}).isKey); len(errs) > 0 {
		return errs
	}
	return nil
}

// PlainINI is like INI, in the form that zeek-client reads. It omits sites and all
// options, and scripts are sorted.
func PlainINI(c zeekapi.Configuration) ([]byte, error) {
	c.Site, c.Nodes = "", slices.Clone(c.Nodes)
	for i, n := range c.Nodes {
		c.Nodes[i].Options = nil
		c.Nodes[i].Scripts = slices.Sorted(slices.Values(n.Scripts))
	}
	return writeINI(c)
}

func writeINI(c zeekapi.Configuration) ([]byte, error) {
	var w configparser.Writer
	if len(c.Instances) > 0 {
		w.Section(instancesSection)
		for _, i := range sortedInstances(c) {
			if i.Connects() {
				w.Key(i.Name)
			} else {
				w.KeyValue(i.Name, configparser.Escape(fmt.Sprintf("%s:%d", i.Host, i.Port.Number)))
			}
		}
	}
	common := clusterScripts(c)
	if c.Site != "" || len(common) > 0 {
		w.Section(clusterSection)
		if c.Site != "" {
			w.KeyValue("site", configparser.Escape(sitePrefix+c.Site))
		}
		if len(common) > 0 {
			w.KeyValue("scripts", configparser.Escape(scriptWords(common)))
		}
	}
	for _, n := range sortedNodes(c) {
		if n.Name == instancesSection {
			return nil, fmt.Errorf("clusterfile: node %q %w", n.Name, configparser.ErrUnwritable)
		}
		for name := range n.Env {
			if strings.Contains(name, "=") {
				return nil, fmt.Errorf("clusterfile: node %q: the name of the variable %q %w: it would end at the first =", n.Name, name, configparser.ErrUnwritable)
			}
		}
		writeNode(&w, n, len(common))
	}
	text, err := w.Bytes()
	if err != nil {
		return nil, fmt.Errorf("clusterfile: %w", err)
	}
	return text, nil
}

// writeNode writes the section of a node. The first scripts, as many as common, are in
// [cluster].
func writeNode(w *configparser.Writer, n zeekapi.Node, common int) {
	w.Section(n.Name)
	set := func(key, value string) { w.KeyValue(key, configparser.Escape(value)) }
	set("instance", n.Instance)
	set("role", string(n.Role))
	if n.Port.Number != 0 {
		set("port", strconv.Itoa(int(n.Port.Number)))
	}
	if own := n.Scripts[common:]; len(own) > 0 {
		set("scripts", scriptWords(slices.Sorted(slices.Values(own))))
	}
	if n.Interface != "" {
		set("interface", n.Interface)
	}
	if cpus, err := n.CPUs(); err == nil && len(cpus) > 0 {
		set(cpuKey, zeekapi.FormatCPUs(cpus))
	}
	if len(n.Env) > 0 {
		set("env", envWords(n.Env))
	}
	if n.MetricsPort.Number != 0 {
		set("metrics_port", strconv.Itoa(int(n.MetricsPort.Number)))
	}
	writeOptions(n, set)
}

// writeOptions writes the options of a node that Parse can read.
func writeOptions(n zeekapi.Node, set func(key, value string)) {
	if groups := slices.DeleteFunc(n.Groups(), func(g string) bool { return selection.CheckGroup(g) != nil }); len(groups) > 0 {
		set("groups", strings.Join(groups, " "))
	}
	written := map[string]bool{zeekapi.OptionGroup: true}
	for _, o := range n.Options {
		if check, known := optionChecks[o.Name]; known && !written[o.Name] && check(o.Value) == nil {
			set(o.Name, o.Value)
			written[o.Name] = true
		}
	}
}

func scriptWords(scripts []string) string {
	var words []string
	for _, s := range scripts {
		words = append(words, word(s, "", s))
	}
	return strings.Join(words, " ")
}

func envWords(env map[string]string) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(env)) {
		words = append(words, word(key+"="+env[key], key+"=", env[key]))
	}
	return strings.Join(words, " ")
}

// word quotes value, a word that consists of before and value, in the manner
// of zeek-client, or differently if that is not read as the word.
func word(whole, before, value string) string {
	if len(strings.Fields(value)) > 1 {
		value = `"` + value + `"`
	}
	if !shlex.IsRead(before+value, whole) {
		return shlex.Quote(whole)
	}
	return before + value
}

// orNull returns nil if v is the zero value, and a pointer to v otherwise.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func sortedInstances(c zeekapi.Configuration) []zeekapi.Instance {
	return slices.SortedStableFunc(slices.Values(c.Instances), func(a, b zeekapi.Instance) int { return cmp.Compare(a.Name, b.Name) })
}

func sortedNodes(c zeekapi.Configuration) []zeekapi.Node {
	return slices.SortedStableFunc(slices.Values(c.Nodes), func(a, b zeekapi.Node) int { return cmp.Compare(a.Name, b.Name) })
}
