package agent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// Assignment is the part of a configuration that one instance runs.
type Assignment struct {
	ID     string         // ID of the configuration
	Nodes  []zeekapi.Node // nodes of the instance, sorted by name
	Layout zeekapi.Layout // layout of the cluster, not parsed

	// LayoutID is the ID of the packed Layout, by which controllers name it. It is "" if the
	// controller did not send it packed.
	LayoutID string `json:",omitempty"`

	Site string `json:",omitempty"` // Configuration.Site: the scripts that the nodes load, "" for none
}

// assign returns the part of a configuration that an instance runs. It fails if
// the configuration is invalid.
func assign(config zeekapi.Configuration, instance string) (*Assignment, error) {
	members, err := config.Members()
	if err != nil {
		return nil, err
	}
	layout, err := zeekapi.NewLayout(members)
	if err != nil {
		return nil, err
	}
	a := &Assignment{ID: config.ID, Nodes: config.NodesOn(instance), Layout: layout, Site: config.Site}
	return a, a.check(instance)
}

// assignment returns the assignment in a request of our controller. It fails if that is
// invalid, or if the layout is not available.
func (m *Machine) assignment(msg zeekapi.AgentDeployNodesRequest, from uuid.UUID) (*Assignment, error) {
	if why := m.leadership.disobeys(from); why != "" && msg.LayoutID != "" {
		return nil, errors.New(why) // keepLayout has ignored the layout
	}
	layout, id, err := m.layouts.of(msg.Layout, msg.LayoutID)
	if err != nil {
		return nil, err
	}
	a := &Assignment{ID: msg.Config, Nodes: msg.Nodes, Layout: layout, LayoutID: id, Site: msg.Site}
	return a, a.check(m.settings.Name)
}

// check returns an error if an instance cannot run the assignment.
func (a *Assignment) check(instance string) error {
	if len(a.Nodes) > MaxNodes {
		return fmt.Errorf("%d nodes on one instance, limit is %d", len(a.Nodes), MaxNodes)
	}
	for i, n := range a.Nodes {
		if i > 0 && n.Name <= a.Nodes[i-1].Name {
			return fmt.Errorf("node %s does not come after node %s", n.Name, a.Nodes[i-1].Name)
		}
		m, err := a.Layout.Member(n.Name)
		if err != nil {
			return err
		}
		if m.Role != n.Role || m.Port != n.Port || m.MetricsPort != n.MetricsPort {
			return fmt.Errorf("node %s differs from its entry in the layout of its cluster", n.Name)
		}
		if n.State != "" && !n.State.Valid() { // not used, but it must be valid in a record
			return fmt.Errorf("node %s has the unknown state %q", n.Name, n.State)
		}
		if n.Instance != instance {
			return fmt.Errorf("node %s is on instance %q, this is %s", n.Name, n.Instance, instance)
		}
	}
	return nil
}

// equal reports whether a and b are equal, possibly with different IDs of one layout.
// Zeek's agent compares only the IDs of configurations.
func (a *Assignment) equal(b *Assignment) bool {
	return a.ID == b.ID && a.Layout == b.Layout && a.Site == b.Site && broker.Equal(mustMarshal(a.Nodes), mustMarshal(b.Nodes))
}

// layoutID returns the ID of the layout, "" if it is not known or a is nil.
func (a *Assignment) layoutID() string {
	if a == nil {
		return ""
	}
	return a.LayoutID
}

// verified returns a, which may be nil. If the layout does not match its ID, because the state
// file was damaged or edited, the result has no LayoutID, so that the controller sends the
// layout again.
func (a *Assignment) verified() *Assignment {
	if a.layoutID() == "" || a.Layout.Pack().ID() == a.LayoutID {
		return a
	}
	unnamed := *a
	unnamed.LayoutID = ""
	return &unnamed
}

// names returns the names of the nodes, sorted; none if a is nil.
func (a *Assignment) names() []string {
	var names []string
	if a != nil {
		for _, n := range a.Nodes {
			names = append(names, n.Name)
		}
	}
	return names
}

// nodes returns the nodes in the order in which to start them; none if a is nil.
func (a *Assignment) nodes() []launch.Node {
	if a == nil {
		return nil
	}
	nodes := make([]launch.Node, len(a.Nodes))
	for i, n := range a.Nodes {
		nodes[i] = launch.Node{Node: n, Layout: a.Layout, Site: a.Site}
	}
	slices.SortFunc(nodes, launch.Compare)
	return nodes
}
