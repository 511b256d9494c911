package agent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// The limits of a configuration.
const (
	MaxNodes    = 1000 // on one instance
	MaxNameSize = 255  // in bytes: names are names of directories and files
)

// Assignment is what a controller has an instance run.
type Assignment struct {
	ID      string           // of the configuration
	Nodes   []zeekapi.Node   // of the instance, by name
	Cluster []zeekapi.Member // all nodes of the cluster, by name
}

// assign returns the part of an instance in a configuration, or why the
// configuration cannot be.
func assign(config zeekapi.Configuration, instance string) (*Assignment, error) {
	members, err := config.Members()
	if err != nil {
		return nil, err
	}
	a := &Assignment{ID: config.ID, Nodes: config.NodesOn(instance), Cluster: members}
	slices.SortFunc(a.Cluster, byName)
	return a, a.check(instance)
}

func byName(a, b zeekapi.Member) int { return cmp.Compare(a.Name, b.Name) }

// check says what keeps an instance from running its assignment.
func (a *Assignment) check(instance string) error {
	for i, m := range a.Cluster {
		if err := checkName(m.Name); err != nil {
			return fmt.Errorf("node %w", err)
		}
		if i > 0 && m.Name == a.Cluster[i-1].Name {
			return fmt.Errorf("two nodes have the name %s", m.Name)
		}
		// Events cannot carry these, but what was saved can.
		if !m.Role.Valid() {
			return fmt.Errorf("node %s has the unknown role %q", m.Name, m.Role)
		}
		if !m.Port.Protocol.Valid() || !m.MetricsPort.Protocol.Valid() {
			return fmt.Errorf("node %s has a port of unknown protocol", m.Name)
		}
	}
	if len(a.Nodes) > MaxNodes {
		return fmt.Errorf("%d nodes on one instance, limit is %d", len(a.Nodes), MaxNodes)
	}
	for i, n := range a.Nodes {
		if i > 0 && n.Name <= a.Nodes[i-1].Name {
			return fmt.Errorf("node %s does not come after node %s", n.Name, a.Nodes[i-1].Name)
		}
		at, ok := slices.BinarySearchFunc(a.Cluster, zeekapi.Member{Name: n.Name}, byName)
		if !ok {
			return fmt.Errorf("node %s is not in the layout of its cluster", n.Name)
		}
		if m := a.Cluster[at]; m.Role != n.Role || m.Port != n.Port || m.MetricsPort != n.MetricsPort {
			return fmt.Errorf("node %s is another in the layout of its cluster", n.Name)
		}
		if !n.State.Valid() { // nobody reads it, but it would not go into a record
			return fmt.Errorf("node %s has the unknown state %q", n.Name, n.State)
		}
		if n.Instance != instance {
			return fmt.Errorf("node %s is on instance %q, this is %s", n.Name, n.Instance, instance)
		}
	}
	return nil
}

// equal compares more than Zeek's agent does, which takes two configurations
// with the same ID for the same.
func (a *Assignment) equal(b *Assignment) bool {
	return a.ID == b.ID && slices.Equal(a.Cluster, b.Cluster) && broker.Equal(mustMarshal(a.Nodes), mustMarshal(b.Nodes))
}

// nodes returns the nodes in the order in which to start them.
func (a *Assignment) nodes() []launch.Node {
	nodes := make([]launch.Node, len(a.Nodes))
	for i, n := range a.Nodes {
		nodes[i] = launch.Node{Node: n, Cluster: a.Cluster}
	}
	slices.SortFunc(nodes, launch.Compare)
	return nodes
}

// checkName refuses what cannot name a directory or would read badly in a
// script.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("name is empty")
	case len(name) > MaxNameSize:
		return fmt.Errorf("name of %d bytes, limit is %d", len(name), MaxNameSize)
	case name == "." || name == "..",
		strings.ContainsFunc(name, func(r rune) bool {
			return r == '/' || r == '\\' || r == '"' || r == unicode.ReplacementChar || unicode.IsSpace(r) || !unicode.IsPrint(r)
		}):
		return fmt.Errorf("name %q: want printable characters other than spaces, slashes and quotes", name)
	}
	return nil
}
