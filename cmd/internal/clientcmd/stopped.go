package clientcmd

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// stoppedIn returns the nodes of a status that clients have stopped, by name.
func stoppedIn(s zeekapi.Status) map[string]zeekapi.NodeDetail {
	stopped := make(map[string]zeekapi.NodeDetail)
	for _, n := range nodesOf(s) {
		if n.StoppedBy != "" {
			stopped[n.Status.Node] = n.NodeDetail
		}
	}
	return stopped
}

// stoppedAmong returns the nodes that clients have stopped, by name. It asks for the status,
// because the list of nodes, which is defined by Zeek, does not have the client. If the
// status is not available, it returns nil.
func (r *run) stoppedAmong(ctx context.Context, instances []client.InstanceNodes) map[string]zeekapi.NodeDetail {
	stopped := func(n zeekapi.NodeStatus) bool { return n.State == zeekapi.StateStopped }
	if !r.tool.Extended || !slices.ContainsFunc(instances, func(i client.InstanceNodes) bool { return slices.ContainsFunc(i.Nodes, stopped) }) {
		return nil
	}
	quiet := *r
	quiet.show = showNothing
	s, err := askOperation(ctx, &quiet, "the status", func(ctx context.Context, c *client.Client) (zeekapi.Status, error) { return c.Status(ctx) })
	if err != nil {
		return nil
	}
	return stoppedIn(s)
}

// stoppedLines returns lines with the clients that stopped nodes, and the times.
func stoppedLines(stopped map[string]zeekapi.NodeDetail, now time.Time) []terminal.Line {
	all := groups(slices.Sorted(maps.Keys(stopped)), func(node string) (text, name string) {
		return byText(stopped[node].StoppedBy) + " " + ago(stopped[node].Since, now), node
	})
	return list(all, func(g group) terminal.Line {
		return terminal.Line{{Text: "Stopped", Style: terminal.Strong}, cell(g.text + ": " + strings.Join(g.names, ", "))}
	})
}
