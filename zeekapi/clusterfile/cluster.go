package clusterfile

import (
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// clusterKeys lists the keys of the section [cluster].
var clusterKeys = []string{"scripts", "site"}

// sitePrefix precedes the ID of a site where a file has it instead of a directory.
const sitePrefix = "sha256:"

// isNode reports whether the section [cluster] describes a node with that name: it
// has a role itself.
func isNode(s *configparser.Section) bool {
	return slices.ContainsFunc(s.Options, func(o *configparser.Option) bool {
		return !o.Inherited && (o.Key == "role" || o.Key == "type")
	})
}

// cluster reads the section [cluster]. Its inherited options are those of the nodes.
// The function pack is Options.Site.
func (b *builder) cluster(s *configparser.Section, pack func(string) (string, error)) {
	for _, o := range s.Options {
		switch {
		case o.Inherited:
		case o.Key == "site":
			b.siteOption(s, o, pack)
		case o.Key == "scripts":
			b.scriptsOption(s, o)
		default:
			b.fail(o.Line, s.Name, o.Key, "section [cluster] has no key %s, only %s", quote(o.Key), strings.Join(clusterKeys, " and "))
		}
	}
}

func (b *builder) siteOption(s *configparser.Section, o *configparser.Option, pack func(string) (string, error)) {
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
	id, err := pack(o.Value)
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

func (b *builder) scriptsOption(s *configparser.Section, o *configparser.Option) {
	words, err := shlex.Split(o.Value)
	if err != nil {
		b.fail(o.Line, s.Name, o.Key, "scripts of the cluster: %v", err)
	}
	for _, word := range words {
		if !slices.Contains(b.scripts, word) {
			b.scripts = append(b.scripts, word)
		}
	}
}

// addScripts puts the scripts of the cluster before those that nodes name, without
// duplicates.
func (b *builder) addScripts() {
	if len(b.scripts) == 0 {
		return
	}
	for i := range b.config.Nodes {
		n := &b.config.Nodes[i]
		own := slices.DeleteFunc(n.Scripts, func(script string) bool { return slices.Contains(b.scripts, script) })
		n.Scripts = slices.Concat(b.scripts, own)
	}
}

// clusterScripts returns the scripts that an INI file must have in [cluster], so
// that Parse returns the scripts of all nodes in their order: what nodes name in
// their own section is sorted. It returns nil if that is not necessary, or if
// nothing would help.
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
