package clientcmd

import (
	"context"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// editedNode is a node that has loaded files that changed since.
type editedNode struct {
	node, instance string
	files          []string
}

// editedNodes are such nodes, in the order of a status.
type editedNodes []editedNode

// scriptsChanged describes an edited node.
const scriptsChanged = "scripts changed since start"

func editedIn(s zeekapi.Status) editedNodes {
	var edited editedNodes
	for _, i := range s.Instances {
		for _, n := range i.Nodes {
			if len(n.Edited) > 0 {
				edited = append(edited, editedNode{n.Status.Node, i.Instance.Name, n.Edited})
			}
		}
	}
	return edited
}

// editedPatience limits the time in which a deployment looks for edited nodes. It
// does not need them.
const editedPatience = 2 * time.Second

// before returns the edited nodes before a deployment, as far as they are known, and the
// number of the last deployment, 0 if there was none.
func (d *deployer) before(ctx context.Context) (nodes editedNodes, last uint64) {
	if !d.ours {
		return nil, 0
	}
	ctx, cancel := context.WithTimeout(ctx, editedPatience)
	defer cancel()
	status, err := d.client.Status(ctx)
	if err != nil {
		return nil, 0 // the deployment reports an error of the connection
	}
	if status.Last != nil {
		last = status.Last.Number
	}
	return editedIn(status), last
}

// restartedBy returns the names of those that a deployment has restarted.
func (e editedNodes) restartedBy(d client.DeployResult) []string {
	var names []string
	for _, n := range e {
		if slices.ContainsFunc(d.Nodes, func(x client.DeployedNode) bool { return x.Node == n.node && x.Success }) {
			names = append(names, n.node)
		}
	}
	slices.Sort(names)
	return names
}

// keptBy returns those that a configuration does not change.
func (e editedNodes) keptBy(d zeekapi.Diff) editedNodes {
	return slices.DeleteFunc(slices.Clone(e), func(n editedNode) bool {
		return !slices.ContainsFunc(d.Nodes, func(c zeekapi.Change) bool { return c.Name == n.node && c.Kind == kept })
	})
}

// lines returns the files that changed. Nodes with the same files share a line.
func (e editedNodes) lines() []terminal.Line {
	files := groups(e, func(n editedNode) (text, name string) { return someOf(n.files), n.node })
	return list(files, func(g group) terminal.Line {
		return terminal.Line{{Text: someOf(g.names) + ": ", Style: terminal.Strong}, {Text: scriptsChanged + ": " + g.text, Style: terminal.Warn}}
	})
}

// diffLines returns the lines about the node in a difference.
func (n editedNode) diffLines() []terminal.Line {
	return []terminal.Line{
		{{Text: "~ node " + n.node, Style: terminal.Warn}},
		{cell("    " + scriptsChanged + ": "), {Text: someOf(n.files), Style: terminal.Warn}},
	}
}

// editedCell marks a node whose scripts have changed.
func editedCell(n zeekapi.NodeDetail) terminal.Span {
	if len(n.Edited) == 0 {
		return terminal.Span{}
	}
	return terminal.Span{Text: "changed since start", Style: terminal.Warn}
}
