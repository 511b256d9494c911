package clusterfile

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// failMisread reports comments behind a value, and keys that are indented like the
// continuation of a value.
func (b *builder) failMisread() {
	b.misread = map[place]bool{}
	for _, e := range b.file.Misread(b.isKey) {
		b.errs.Add(e)
		b.misread[place{e.Section, e.Key}] = true
	}
}

// isKey reports whether a section has a key of that name. In [instances], any word may
// be the name of an instance.
func (b *builder) isKey(section, key string) bool {
	switch {
	case section == instancesSection:
		return key != ""
	case b.extended && (slices.Contains(extraKeys, key) ||
		section == clusterSection && slices.Contains(clusterKeys, key) ||
		strings.HasPrefix(section, groupPrefix) && slices.Contains(groupKeys, key)):
		return true
	}
	return slices.Contains(nodeKeys, key) || key == "type"
}

// warnOfSections warns about sections that are probably meant to be others.
func (b *builder) warnOfSections() {
	if d := b.file.Defaults; d != nil && len(d.Options) > 0 {
		if d.Option("role") != nil || d.Option("type") != nil {
			b.warn(d.Line, d.Name, "", "[%s] is not a node: all other sections inherit its keys, %s", d.Name, listedKeys(d))
		}
		if b.file.Section(instancesSection) != nil {
			b.warn(d.Line, d.Name, "", "[%s] inherits the keys of [%s], too: each is an instance", instancesSection, d.Name)
		}
	}
	for _, s := range b.file.Sections {
		for _, special := range []string{instancesSection, configparser.DefaultSection} {
			if s.Name != special && strings.EqualFold(strings.TrimSpace(s.Name), special) {
				b.warn(s.Line, s.Name, "", "[%s] is a node; only [%s] in this spelling is not", s.Name, special)
			}
		}
	}
}

func listedKeys(s *configparser.Section) string {
	keys := make([]string, len(s.Options))
	for i, o := range s.Options {
		keys[i] = o.Key
	}
	return strings.Join(keys, ", ")
}

// assignments matches variables as ZeekControl separates them, by commas.
var assignments = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[^,=]*(,[A-Za-z_]\w*=[^,=]*)+$`) })

// warnOfEnv warns about a variable that contains further ones.
func (n *nodeReader) warnOfEnv(node zeekapi.Node) {
	for key, value := range node.Env {
		if assignments().MatchString(value) {
			n.warn(n.section.Option("env").Line, n.section.Name, "env",
				"the variable %s of node %s has the value %s; if these are several variables, write blanks between them: %s",
				key, quote(node.Name), quote(value), key+"="+strings.ReplaceAll(value, ",", " "))
		}
	}
}

// usesType reports whether the role of the node is the value of the key type.
func (n *nodeReader) usesType() bool {
	_, hasRole := n.value("role")
	return !hasRole && n.text("type") != ""
}

// unexpected reports whether the key of an option of a node has no effect.
func (n *nodeReader) unexpected(key string) bool {
	if n.extended && slices.Contains(extraKeys, key) {
		return false
	}
	return !slices.Contains(nodeKeys, key) && !(n.thorough && key == "type" && n.usesType())
}
