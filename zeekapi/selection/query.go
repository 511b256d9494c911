package selection

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Prefixes of words that do not name nodes.
const (
	rolePrefix     = "role:"
	groupPrefix    = "group:"
	instancePrefix = "instance:"
)

// Query selects nodes. The zero Query selects all.
type Query struct {
	// Words select nodes, each additional ones. A word is the name of a node, a
	// pattern as for Expand, a glob, or one of role:ROLE, group:NAME and
	// instance:NAME. Without words, all nodes are selected.
	Words []string

	// Roles, Groups and Instances leave out the nodes that have none of these. Nil
	// leaves out none. Groups and Instances may be patterns and globs.
	Roles     []zeekapi.ClusterRole
	Groups    []string
	Instances []string
}

// All reports whether q selects all nodes.
func (q Query) All() bool { return len(q.Words)+len(q.Roles)+len(q.Groups)+len(q.Instances) == 0 }

// Names reports whether q consists of names of nodes, so that its words are what it
// selects. A pattern or a glob is no name.
func (q Query) Names() bool {
	return len(q.Roles)+len(q.Groups)+len(q.Instances) == 0 && !slices.ContainsFunc(q.Words, func(word string) bool {
		return IsGlob(word) || hasPrefix(word)
	})
}

func hasPrefix(word string) bool {
	return strings.HasPrefix(word, rolePrefix) || strings.HasPrefix(word, groupPrefix) || strings.HasPrefix(word, instancePrefix)
}

// ParseRole returns the role with a name, in any case. The role NONE is not valid.
func ParseRole(name string) (zeekapi.ClusterRole, error) {
	role := zeekapi.ClusterRole(strings.ToUpper(strings.TrimSpace(name)))
	if !role.Valid() || role == zeekapi.RoleNone {
		return "", fmt.Errorf("role %q: want manager, logger, proxy or worker", name)
	}
	return role, nil
}

// Nodes returns the names of the selected nodes of a configuration, sorted and without
// duplicates. It returns an error if a word, a group or an instance does not occur in the
// configuration, or if no node is left.
func (q Query) Nodes(c zeekapi.Configuration) ([]string, error) {
	words, err := newWords(q.Words)
	if err != nil {
		return nil, err
	}
	groups, err := NewMatcher(q.Groups)
	if err != nil {
		return nil, fmt.Errorf("group: %w", err)
	}
	instances, err := NewMatcher(q.Instances)
	if err != nil {
		return nil, fmt.Errorf("instance: %w", err)
	}
	var names []string
	for _, n := range c.Nodes {
		// All are asked, so that each knows what occurs.
		selected := words.match(n) || len(q.Words) == 0
		inGroup := matchAny(groups, n.Groups()) || len(q.Groups) == 0
		onInstance := instances.Match(n.Instance) || len(q.Instances) == 0
		if selected && inGroup && onInstance && (len(q.Roles) == 0 || slices.Contains(q.Roles, n.Role)) {
			names = append(names, n.Name)
		}
	}
	if err := words.missing(c); err != nil {
		return nil, err
	}
	if err := missingGroup(groups, c); err != nil {
		return nil, err
	}
	if err := missingInstance(instances, c); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no node of the configuration is selected")
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// matchAny matches all names, so that the matcher knows which words are used.
func matchAny(m *Matcher, names []string) bool {
	matched := false
	for _, name := range names {
		matched = m.Match(name) || matched
	}
	return matched
}

// words are Query.Words, by what they select.
type words struct {
	nodes, groups, instances *Matcher
	roles                    []zeekapi.ClusterRole
}

func newWords(list []string) (*words, error) {
	var nodes, groups, instances []string
	w := &words{}
	for _, word := range list {
		switch name := ""; {
		case cut(word, rolePrefix, &name):
			role, err := ParseRole(name)
			if err != nil {
				return nil, err
			}
			w.roles = append(w.roles, role)
		case cut(word, groupPrefix, &name):
			groups = append(groups, name)
		case cut(word, instancePrefix, &name):
			instances = append(instances, name)
		default:
			nodes = append(nodes, word)
		}
	}
	for _, part := range []struct {
		matcher **Matcher
		words   []string
	}{{&w.nodes, nodes}, {&w.groups, groups}, {&w.instances, instances}} {
		var err error
		if *part.matcher, err = NewMatcher(part.words); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// cut stores what follows a prefix, and reports whether a word has it.
func cut(word, prefix string, rest *string) (ok bool) {
	*rest, ok = strings.CutPrefix(word, prefix)
	return ok
}

// match reports whether any word selects a node.
func (w *words) match(n zeekapi.Node) bool {
	name, group, instance := w.nodes.Match(n.Name), matchAny(w.groups, n.Groups()), w.instances.Match(n.Instance)
	return name || group || instance || slices.Contains(w.roles, n.Role)
}

// missing returns an error about a word that selects nothing. A role may have no nodes.
func (w *words) missing(c zeekapi.Configuration) error {
	if err := missingGroup(w.groups, c); err != nil {
		return err
	}
	if err := missingInstance(w.instances, c); err != nil {
		return err
	}
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return missing(w.nodes, "node", names)
}

func missingGroup(m *Matcher, c zeekapi.Configuration) error {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Groups()...)
	}
	return missing(m, "group", names)
}

func missingInstance(m *Matcher, c zeekapi.Configuration) error {
	var names []string
	for _, i := range c.Instances {
		m.Match(i.Name) // which may have no nodes
		names = append(names, i.Name)
	}
	return missing(m, "instance", names)
}

// NotFoundError is the error about a name, a pattern or a glob that matches nothing in a
// configuration.
type NotFoundError struct {
	Kind  string   // "node", "group" or "instance"
	Word  string   // as written
	Known []string // all names of that kind, sorted
}

// Error returns a text with up to maxListed of the known names.
func (e *NotFoundError) Error() string {
	const maxListed = 8
	text := fmt.Sprintf("there is no %s %q", e.Kind, e.Word)
	if IsGlob(e.Word) {
		text = fmt.Sprintf("no %s matches %q", e.Kind, e.Word)
	}
	switch n := len(e.Known); {
	case n == 0:
		return fmt.Sprintf("%s; the configuration has no %ss", text, e.Kind)
	case n <= maxListed:
		return fmt.Sprintf("%s, only %s", text, strings.Join(e.Known, ", "))
	}
	return text
}

// missing returns an error if a word has matched nothing. The names are those that exist.
func missing(m *Matcher, kind string, names []string) error {
	unused := m.Unused()
	if len(unused) == 0 {
		return nil
	}
	slices.Sort(names)
	return &NotFoundError{Kind: kind, Word: unused[0], Known: slices.Compact(names)}
}
