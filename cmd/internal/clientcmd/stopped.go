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

// stoppedAmong returns the nodes that clients have stopped, by name. Lists of nodes, which
// are Zeek's, do not say who has stopped a node. It is not an error if that is not known.
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

// stoppedLines returns lines that say who stopped nodes, and when.
func stoppedLines(stopped map[string]zeekapi.NodeDetail, now time.Time) []terminal.Line {
	var order []string
	nodes := make(map[string][]string)
	for _, name := range slices.Sorted(maps.Keys(stopped)) {
		key := byText(stopped[name].StoppedBy) + " " + ago(stopped[name].Since, now)
		if nodes[key] == nil {
			order = append(order, key)
		}
		nodes[key] = append(nodes[key], name)
	}
	var lines []terminal.Line
	for _, key := range order {
		lines = append(lines, terminal.Line{
			{Text: "Stopped", Style: terminal.Strong}, cell(key + ": " + strings.Join(nodes[key], ", ")),
		})
	}
	return lines
}
