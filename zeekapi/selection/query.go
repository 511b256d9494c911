package selection

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// The kinds of words that do not name nodes, as in role:worker.
const (
	roleKind     = "role"
	groupKind    = "group"
	instanceKind = "instance"
)

// splitWord returns the kind of a word and the name after it. The kind is "" if the word
// names nodes.
func splitWord(word string) (kind, name string) {
	kind, name, ok := strings.Cut(word, ":")
	if ok && (kind == roleKind || kind == groupKind || kind == instanceKind) {
		return kind, name
	}
	return "", word
}

// Query selects nodes. The zero Query selects all.
type Query struct {
	// Words select the nodes that any of them matches. A word is the name of a node, a
	// pattern as for Expand, a glob, or one of role:ROLE, group:NAME and
	// instance:NAME. Without words, all nodes are selected.
	Words []string

	// Roles, Groups and Instances restrict the selection to nodes with one of these.
	// Nil restricts nothing. Groups and Instances may be patterns and globs.
	Roles     []zeekapi.ClusterRole
	Groups    []string
	Instances []string
}

// All reports whether q selects all nodes.
func (q Query) All() bool { return len(q.Words)+len(q.Roles)+len(q.Groups)+len(q.Instances) == 0 }

// Names reports whether q consists of names of nodes. Its words are then the names of the
// selected nodes. A pattern or a glob is no name.
func (q Query) Names() bool {
	return len(q.Roles)+len(q.Groups)+len(q.Instances) == 0 && !slices.ContainsFunc(q.Words, func(word string) bool {
		kind, _ := splitWord(word)
		return IsGlob(word) || kind != ""
	})
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
		// Always match all, because matchers record which words are used.
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

// matchAny reports whether any name matches. It matches all of them, because the matcher
// records which words are used.
func matchAny(m *Matcher, names []string) bool {
	matched := false
	for _, name := range names {
		matched = m.Match(name) || matched
	}
	return matched
}

// words are Query.Words by their kinds.
type words struct {
	nodes, groups, instances *Matcher
	roles                    []zeekapi.ClusterRole
}

func newWords(list []string) (*words, error) {
	var nodes, groups, instances []string
	w := &words{}
	for _, word := range list {
		switch kind, name := splitWord(word); kind {
		case roleKind:
			role, err := ParseRole(name)
			if err != nil {
				return nil, err
			}
			w.roles = append(w.roles, role)
		case groupKind:
			groups = append(groups, name)
		case instanceKind:
			instances = append(instances, name)
		default:
			nodes = append(nodes, name)
		}
	}
	var err error
	if w.nodes, err = NewMatcher(nodes); err != nil {
		return nil, err
	}
	if w.groups, err = NewMatcher(groups); err != nil {
		return nil, err
	}
	if w.instances, err = NewMatcher(instances); err != nil {
		return nil, err
	}
	return w, nil
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
		m.Match(i.Name) // also an instance without nodes exists
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
