package controller

import (
	"cmp"
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// stoppedNodes keeps the nodes that clients have stopped. Agents are told to run the
// other nodes of the target only.
type stoppedNodes struct {
	*outbox
	byName map[string]zeekapi.StoppedNode
}

func newStoppedNodes(out *outbox, stored []zeekapi.StoppedNode) *stoppedNodes {
	return &stoppedNodes{outbox: out, byName: byName(stored, func(n zeekapi.StoppedNode) string { return n.Node })}
}

// has reports whether a node is stopped.
func (s *stoppedNodes) has(node string) bool { return s.byName[node].Node != "" }

// stop adds nodes that are not stopped yet.
func (s *stoppedNodes) stop(nodes []string, by string) {
	s.change(func() {
		for _, name := range nodes {
			if !s.has(name) {
				s.byName[name] = zeekapi.StoppedNode{Node: name, By: by, Since: s.now}
			}
		}
	})
}

// start removes nodes.
func (s *stoppedNodes) start(nodes []string) {
	s.change(func() {
		for _, name := range nodes {
			delete(s.byName, name)
		}
	})
}

// retain forgets the nodes that are not among those of a configuration.
func (s *stoppedNodes) retain(nodes []zeekapi.Node) {
	if len(s.byName) == 0 {
		return
	}
	exists := byName(nodes, func(n zeekapi.Node) string { return n.Name })
	s.start(slices.DeleteFunc(sortedKeys(s.byName), func(name string) bool { return exists[name].Name != "" }))
}

// change calls do, which must only add or only remove nodes, and stores the nodes if they
// have changed.
func (s *stoppedNodes) change(do func()) {
	before := len(s.byName)
	if do(); len(s.byName) != before {
		s.emit(SaveStopped{Nodes: s.all()})
	}
}

// all returns the stopped nodes, sorted by name.
func (s *stoppedNodes) all() []zeekapi.StoppedNode {
	var all []zeekapi.StoppedNode
	for _, name := range sortedKeys(s.byName) {
		all = append(all, s.byName[name])
	}
	return all
}

// without returns the nodes that are not stopped.
func (s *stoppedNodes) without(nodes []zeekapi.Node) []zeekapi.Node {
	if len(s.byName) == 0 {
		return nodes
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(n zeekapi.Node) bool { return s.has(n.Name) })
}

// among returns the names of the stopped ones among nodes.
func (s *stoppedNodes) among(nodes []zeekapi.Node) []string {
	var names []string
	for _, n := range nodes {
		if s.has(n.Name) {
			names = append(names, n.Name)
		}
	}
	return names
}

// text says who stopped a node.
func (s *stoppedNodes) text(node string) string {
	return "stopped by " + s.byName[node].By + "; start runs it again"
}

// statuses returns the stopped ones among nodes on an instance, as an agent would report
// them.
func (s *stoppedNodes) statuses(nodes []zeekapi.Node, instance string) []zeekapi.NodeStatus {
	if len(s.byName) == 0 {
		return nil
	}
	var all []zeekapi.NodeStatus
	for _, n := range nodes {
		if n.Instance == instance && s.has(n.Name) {
			all = append(all, zeekapi.NodeStatus{
				Node: n.Name, State: zeekapi.StateStopped, ManagementRole: zeekapi.ManagementNone, ClusterRole: n.Role,
				Port: n.Port, MetricsPort: n.MetricsPort,
			})
		}
	}
	slices.SortFunc(all, func(a, b zeekapi.NodeStatus) int { return cmp.Compare(a.Node, b.Node) })
	return all
}
