package clusterfile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

// groupPrefix begins the names of sections that describe a group of nodes.
const groupPrefix = "group "

// groupKeys lists the keys of a group.
var groupKeys = []string{"instances", "nodes"}

// group is a section [group NAME].
type group struct {
	name    string
	section *configparser.Section
	by      map[string]*selection.Matcher // by key
}

// isGroup reports whether a section describes a group.
func isGroup(s *configparser.Section) bool {
	return strings.HasPrefix(s.Name, groupPrefix) && !isNode(s)
}

// group reads a section that describes a group.
func (b *builder) group(s *configparser.Section) {
	g := group{strings.TrimSpace(s.Name[len(groupPrefix):]), s, map[string]*selection.Matcher{}}
	if err := selection.CheckGroup(g.name); err != nil {
		b.fail(s.Line, s.Name, "", "%v", err)
	}
	for _, o := range s.Options {
		switch {
		case o.Inherited:
		case !slices.Contains(groupKeys, o.Key):
			b.fail(o.Line, s.Name, o.Key, "a group has no key %s, only %s", quote(o.Key), listed(groupKeys))
		default:
			matcher, err := selection.NewMatcher(words(o.Value))
			if err != nil {
				b.fail(o.Line, s.Name, o.Key, "%v", err)
				continue
			}
			g.by[o.Key] = matcher
		}
	}
	b.groups = append(b.groups, g)
}

// words splits a list at blanks and commas. Commas within brackets are part of a word.
func words(list string) []string {
	inBrackets := false
	return strings.FieldsFunc(list, func(r rune) bool {
		switch r {
		case '[':
			inBrackets = true
		case ']':
			inBrackets = false
		}
		return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == ',' && !inBrackets
	})
}

// addGroups adds nodes to the groups whose sections name them, and sorts the options of
// all nodes. It warns about words of a group that match no node.
func (b *builder) addGroups() {
	for i := range b.config.Nodes {
		n := &b.config.Nodes[i]
		for _, g := range b.groups {
			// Always match both, because matchers record which words are used.
			byName, byInstance := g.match("nodes", n.Name), g.match("instances", n.Instance)
			if byName || byInstance {
				n.Options = append(n.Options, zeekapi.Option{Name: zeekapi.OptionGroup, Value: g.name})
			}
		}
		slices.SortFunc(n.Options, compareOptions)
		n.Options = slices.Compact(n.Options)
	}
	for _, g := range b.groups {
		for _, key := range groupKeys {
			if m := g.by[key]; m != nil && len(m.Unused()) > 0 {
				b.warn(g.section.Option(key).Line, g.section.Name, key, "group %s: no node matches %s", quote(g.name), strings.Join(m.Unused(), " "))
			}
		}
	}
}

func (g group) match(key, name string) bool { return g.by[key] != nil && g.by[key].Match(name) }

func compareOptions(a, b zeekapi.Option) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
}

// listed returns words as a list with "and".
func listed(words []string) string {
	last := len(words) - 1
	if last <= 0 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
