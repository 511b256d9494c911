package clusterfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// clusterKeys lists the keys of the section [cluster].
var clusterKeys = slices.Sorted(slices.Values(append([]string{"backend", "env", "scripts", "site"}, sharedKeys...)))

// sitePrefix precedes the ID of a site where a file has it instead of a directory.
const sitePrefix = "sha256:"

// common has the values of the section [cluster] that all nodes get.
type common struct {
	shared
	scripts []string // before those of the nodes
	env     map[string]string
}

// isNode reports whether a section with a special name describes a node with that name: it
// has a role that it does not inherit.
func isNode(s *configparser.Section) bool {
	return slices.ContainsFunc(s.Options, func(o *configparser.Option) bool {
		return !o.Inherited && (o.Key == "role" || o.Key == "type")
	})
}

// cluster reads the section [cluster]. It ignores inherited options, which are keys of
// nodes.
func (b *builder) cluster(s *configparser.Section) {
	reject := func(key string, err error) {
		b.fail(s.Option(key).Line, s.Name, key, "%s of the cluster: %v", key, err)
	}
	get := func(key string) string {
		o := s.Option(key)
		if o == nil || o.Inherited {
			return ""
		}
		if key == "scripts" {
			return o.Value
		}
		text, err := variables(nil).substitute(o.Value)
		if err != nil {
			reject(key, err)
		}
		return text
	}
	for _, o := range s.Options {
		switch {
		case o.Inherited:
		case !slices.Contains(clusterKeys, o.Key):
			b.fail(o.Line, s.Name, o.Key, "section [cluster] has no key %s, only %s", quote(o.Key), listed(clusterKeys))
		case o.Key == "site" && b.pack != nil:
			b.siteOption(s, o)
		}
	}
	if err := b.readBackend(get("backend")); err != nil {
		reject("backend", err)
	}
	words, err := shlex.Split(get("scripts"))
	if err != nil {
		reject("scripts", err)
	}
	for _, word := range words {
		if !slices.Contains(b.common.scripts, word) {
			b.common.scripts = append(b.common.scripts, word)
		}
	}
	if b.common.env, err = parseEnv(get("env")); err != nil {
		reject("env", err)
	}
	b.common.shared = readShared(get, reject)
}

// readBackend makes all nodes load the script of a cluster backend.
func (b *builder) readBackend(backend string) error {
	switch backend {
	case "":
	case "broker", "zeromq":
		b.common.scripts = append(b.common.scripts, zeekapi.BackendScripts+backend)
	default:
		return fmt.Errorf("%s is neither broker nor zeromq", quote(backend))
	}
	return nil
}

func (b *builder) siteOption(s *configparser.Section, o *configparser.Option) {
	if id, ok := strings.CutPrefix(o.Value, sitePrefix); ok {
		if !zeekapi.ValidSite(id) {
			b.fail(o.Line, s.Name, o.Key, "site %s is not %s and 64 hexadecimal digits in lower case", quote(o.Value), sitePrefix)
		}
		b.config.Site = id
		return
	}
	if o.Value == "" {
		b.fail(o.Line, s.Name, o.Key, "site requires a directory")
		return
	}
	id, err := b.pack(o.Value)
	if err == nil {
		b.config.Site = id
		return
	}
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		b.fail(o.Line, s.Name, o.Key, "%v", err)
		return
	}
	for _, problem := range several.Unwrap() {
		// Without the key, fail does not ignore the others.
		b.fail(o.Line, s.Name, "", "site %s: %v", quote(o.Value), problem)
	}
}

// addCommon adds the values of [cluster] to all nodes: scripts before their own, without
// duplicates, and the variables, assignments and options that a node does not set itself.
func (b *builder) addCommon() {
	items := len(b.common.scripts) + len(b.common.args) + len(b.common.env)
	if items*len(b.config.Nodes) > maxExpanded/valueCost {
		b.fail(b.file.Section(clusterSection).Line, clusterSection, "", "the values of section [cluster] are too many for %d nodes", len(b.config.Nodes))
		return
	}
	for i := range b.config.Nodes {
		n := &b.config.Nodes[i]
		own := slices.DeleteFunc(n.Scripts, func(script string) bool { return slices.Contains(b.common.scripts, script) })
		assigned := map[string]bool{}
		for _, word := range own {
			assigned[zeekapi.AssignedOption(word)] = true
		}
		for _, arg := range b.common.args {
			if !assigned[zeekapi.AssignedOption(arg)] {
				own = append(own, arg)
			}
		}
		if len(own)+len(b.common.scripts) > 0 {
			n.Scripts = slices.Concat(b.common.scripts, own)
		}
		b.sortOwn(n)
		for name, value := range b.common.env {
			if _, set := n.Env[name]; !set {
				if n.Env == nil {
					n.Env = map[string]string{}
				}
				n.Env[name] = value
			}
		}
		for _, o := range b.common.options {
			if !slices.ContainsFunc(n.Options, func(x zeekapi.Option) bool { return x.Name == o.Name }) {
				n.Options = append(n.Options, o)
			}
		}
	}
}

// sortOwn sorts the scripts of a node after those of the cluster, as zeek-client does.
func (b *builder) sortOwn(n *zeekapi.Node) {
	slices.Sort(n.Scripts[min(len(b.common.scripts), len(n.Scripts)):])
}

// clusterScripts returns the scripts that an INI file must have in [cluster], so
// that Parse returns the scripts of all nodes in their order: Parse sorts the scripts
// of a node's own section. It returns nil if that is not necessary, or if the order
// cannot be kept.
func clusterScripts(c zeekapi.Configuration) []string {
	count := 0
	for _, n := range c.Nodes {
		for i := len(n.Scripts) - 1; i > count; i-- {
			if n.Scripts[i-1] > n.Scripts[i] {
				count = i
			}
		}
	}
	if count == 0 {
		return nil
	}
	common := c.Nodes[0].Scripts[:min(count, len(c.Nodes[0].Scripts))]
	for _, n := range c.Nodes {
		if len(n.Scripts) < count || !slices.Equal(n.Scripts[:count], common) || repeats(n.Scripts, count) {
			return nil
		}
	}
	return common
}

// repeats reports whether one of the first scripts occurs again.
func repeats(scripts []string, first int) bool {
	for i, s := range scripts[:first] {
		if slices.Contains(scripts[i+1:], s) {
			return true
		}
	}
	return false
}
