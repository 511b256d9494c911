package clientcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) peers() *cobra.Command {
	cmd := t.command("peers [NODE...]", "Show connections between nodes that are missing",
		func(ctx context.Context, r *run, args []string) error {
			m, err := r.connectToMeasure(ctx, args)
			if err != nil {
				return err
			}
			defer m.client.Close()
			all, err := m.take(ctx, nil, freshly)
			if err != nil {
				return err
			}
			if err := m.addConnections(ctx, &all); err != nil {
				return err
			}
			p := newPeerMatrix(all, m.names)
			if err := r.present(p.view(), func() []terminal.Line { return p.lines(r.screen) }); err != nil {
				return err
			}
			if r.tool.flags.strictExit && p.broken() > 0 {
				return &ExitError{Code: Attention}
			}
			return failIf(len(p.problems) > 0)
		})
	cmd.Long = cmd.Short + `, for all
nodes or the named ones. A node sees another node when it has received its
hello. With Broker, nodes with different roles should see each other. With
ZeroMQ, all nodes should.

A row of the matrix is a node that does not see others, and a column is a node
that is not seen. "x" marks a missing connection, and "-" a connection to a node
that does not run. Nodes that see all others are only counted.

With --strict-exit, the exit code is 3 if a connection between nodes that run is
missing.

The JSON has the keys nodes, by name, each with instance, state, and
connections: backend ("broker" or "zeromq"), seen and expected (numbers of other
nodes), missing (names, at most 100) and more (further missing ones), or null if
the node does not report them. The key missing is the number of missing
connections between nodes that run.` + remarksHelp
	t.addSelection(cmd)
	return cmd
}

// statesOf returns the states of nodes by name.
func statesOf(nodes []placedNode) map[string]zeekapi.State {
	states := make(map[string]zeekapi.State, len(nodes))
	for _, n := range nodes {
		states[n.Status.Node] = n.Status.State
	}
	return states
}

// missingRunning returns the running nodes that a running node does not see.
func missingRunning(n placedNode, states map[string]zeekapi.State) []string {
	if n.Connections == nil || n.Status.State != zeekapi.StateRunning {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(n.Connections.Missing), func(name string) bool { return states[name] != zeekapi.StateRunning })
}

// peerMatrix has the connections of the shown nodes.
type peerMatrix struct {
	figures
	states map[string]zeekapi.State // of all nodes
}

func newPeerMatrix(all figures, names []string) peerMatrix {
	p := peerMatrix{takeFigures(all.Figures, names), statesOf(all.nodes)}
	p.silence()
	return p
}

// broken returns the number of missing connections between nodes that run.
func (p peerMatrix) broken() int {
	n := 0
	for _, node := range p.nodes {
		n += len(missingRunning(node, p.states))
		if c := node.Connections; c != nil && node.Status.State == zeekapi.StateRunning {
			n += int(min(c.More, 1<<20))
		}
	}
	return n
}

// incomplete returns the nodes that run and do not see all others.
func (p peerMatrix) incomplete() []placedNode {
	return slices.DeleteFunc(slices.Clone(p.nodes), func(n placedNode) bool {
		return n.Status.State != zeekapi.StateRunning || n.Connections == nil || len(n.Connections.Missing) == 0
	})
}

type peersView struct {
	Instance    string           `json:"instance"`
	State       zeekapi.State    `json:"state"`
	Connections *connectionsView `json:"connections"`
}

func (p peerMatrix) view() any {
	nodes := make(map[string]peersView)
	for _, n := range p.nodes {
		nodes[n.Status.Node] = peersView{n.instance, n.Status.State, newConnectionsView(n.Connections)}
	}
	return struct {
		Nodes   map[string]peersView `json:"nodes"`
		Missing int                  `json:"missing"`
		remarksView
	}{nodes, p.broken(), p.remarks()}
}

func (p peerMatrix) lines(screen terminal.Screen) []terminal.Line {
	lines := []terminal.Line{p.summary()}
	if rows := p.incomplete(); len(rows) > 0 {
		lines = append(lines, terminal.Line{})
		if matrix := p.matrix(rows); fits(matrix, screen) {
			lines = append(lines, matrix.Lines(screen)...)
		} else {
			lines = append(lines, p.list(rows).Lines(screen)...)
		}
	}
	return append(lines, p.figures.lines()...)
}

// summary returns a line about all shown nodes.
func (p peerMatrix) summary() terminal.Line {
	backends := make(map[string]bool)
	complete, reported, notRunning := 0, 0, 0
	for _, n := range p.nodes {
		switch {
		case n.Status.State != zeekapi.StateRunning:
			notRunning++
		case n.Connections != nil:
			reported++
			backends[n.Connections.Backend] = true
			if len(n.Connections.Missing) == 0 {
				complete++
			}
		}
	}
	line := terminal.Line{cell(fmt.Sprintf("%d of %s see all others that they should", complete, plural(reported, "node")))}
	if len(backends) > 0 {
		line = append(line, cell(" ("+strings.Join(slices.Sorted(maps.Keys(backends)), ", ")+")"))
	}
	if broken := p.broken(); broken > 0 {
		line = append(line, cell("; "), terminal.Span{Text: plural(broken, "missing connection") + " between running nodes", Style: terminal.Bad})
	}
	if notRunning > 0 {
		line = append(line, cell("; "), terminal.Span{Text: fmt.Sprintf("%d do not run", notRunning), Style: terminal.Warn})
	}
	return line
}

// maxColumns limits the columns of a matrix.
const maxColumns = 16

// fits reports whether a matrix fits a screen. A wider table would lose columns.
func fits(t *terminal.Table, screen terminal.Screen) bool {
	if t == nil {
		return false
	}
	width := 0
	for _, span := range t.Lines(terminal.Screen{})[0] {
		width += terminal.Width(span.Text)
	}
	columns := 80
	if screen.Size != nil {
		columns, _ = screen.Size()
	}
	return columns == 0 || width <= columns
}

// matrix returns the nodes that do not see others, by the nodes that are not seen. It is
// nil if there are too many.
func (p peerMatrix) matrix(rows []placedNode) *terminal.Table {
	var unseen []string
	for _, n := range rows {
		if n.Connections.More > 0 {
			return nil
		}
		unseen = append(unseen, n.Connections.Missing...)
	}
	slices.Sort(unseen)
	unseen = slices.Compact(unseen)
	if len(unseen) > maxColumns {
		return nil
	}
	t := &terminal.Table{Header: append([]string{"DOES NOT SEE"}, unseen...)}
	for _, n := range rows {
		cells := []terminal.Span{cell(n.Status.Node)}
		for _, name := range unseen {
			mark := terminal.Span{}
			if slices.Contains(n.Connections.Missing, name) {
				mark = terminal.Span{Text: "x", Style: terminal.Bad}
				if p.states[name] != zeekapi.StateRunning {
					mark = terminal.Span{Text: "-", Style: terminal.Faint}
				}
			}
			cells = append(cells, mark)
		}
		t.Add(cells...)
	}
	return t
}

// list returns the nodes that do not see others, with the names of the nodes that they do
// not see.
func (p peerMatrix) list(rows []placedNode) *terminal.Table {
	t := &terminal.Table{
		Header: []string{"NODE", "INSTANCE", "SEES", "DOES NOT SEE"},
		Right:  []bool{2: true},
		Spare:  []int{1},
	}
	for _, n := range rows {
		c := n.Connections
		span := terminal.Span{Style: terminal.Bad}
		missing := missingRunning(n, p.states)
		if len(missing) == 0 {
			missing, span.Style = c.Missing, terminal.Faint
		}
		span.Text = someOf(missing)
		if c.More > 0 {
			span.Text += fmt.Sprintf(" and %d more", c.More)
		}
		t.Add(cell(n.Status.Node), cell(n.instance), cell(fmt.Sprintf("%d/%d", c.Seen, c.Expected)), span)
	}
	return t
}

// maxAskedForNodes limits the nodes whose table of the cluster is requested, because each
// table has all nodes.
const maxAskedForNodes = 100

// addConnections asks the selected nodes of Zeek's agents for their table of the cluster's
// nodes. Nodes whose hello they have received have an ID in it.
func (m *measuring) addConnections(ctx context.Context, f *figures) error {
	if m.extended && len(f.notes) == 0 || !m.client.Has(zeekapi.GetIDValueRequest{}) {
		return nil
	}
	var asked []string
	for _, i := range f.Instances {
		for _, n := range i.Nodes {
			if i.Note != "" && n.Status.State == zeekapi.StateRunning && (len(m.names) == 0 || slices.Contains(m.names, n.Status.Node)) {
				asked = append(asked, n.Status.Node)
			}
		}
	}
	if len(asked) == 0 {
		return nil
	}
	slices.Sort(asked)
	asked = asked[:min(len(asked), maxAskedForNodes)]
	tables, err := m.values(ctx, "Cluster::nodes", asked)
	if err != nil {
		return err
	}
	backends, err := m.values(ctx, "Cluster::backend", asked)
	if err != nil {
		return err
	}
	for x := range f.Instances {
		if i := &f.Instances[x]; i.Note != "" && fillConnections(i.Nodes, tables, backends) {
			i.Note = ""
		}
	}
	return nil
}

// fillConnections adds the connections of nodes whose tables are known, and reports whether
// there are any.
func fillConnections(nodes []zeekapi.NodeDetail, tables, backends map[string]json.RawMessage) bool {
	filled := false
	for k := range nodes {
		n := &nodes[k]
		table, ok := tables[n.Status.Node]
		if !ok {
			continue
		}
		filled = true
		if n.Connections = tableConnections(n.Status.Node, table, backends[n.Status.Node]); n.Connections == nil {
			n.Silent = "its table of nodes cannot be read"
		}
	}
	return filled
}

// values returns the values of a global on nodes, as JSON. Nodes without it are missing.
func (m *measuring) values(ctx context.Context, identifier string, nodes []string) (map[string]json.RawMessage, error) {
	all, err := askOn(ctx, m.run, m.client, func(ctx context.Context, c *client.Client) ([]client.NodeValue, error) {
		return c.GetIDValue(ctx, identifier, nodes...)
	})
	values := make(map[string]json.RawMessage)
	for _, v := range all {
		if v.Err == nil && v.Node != "" {
			values[v.Node] = v.Value
		}
	}
	return values, err
}

// tableConnections returns the connections of a node, from its table of nodes and the name of
// its backend. Versions of Zeek with Broker only have no such name. It returns nil if the
// table is invalid.
func tableConnections(node string, table, backend json.RawMessage) *zeekapi.Connections {
	var nodes map[string]struct {
		Type string `json:"node_type"`
		ID   string `json:"id"`
	}
	if json.Unmarshal(table, &nodes) != nil || nodes[node].Type == "" {
		return nil
	}
	var name string
	if json.Unmarshal(backend, &name) != nil {
		name = zeekapi.BackendBroker
	}
	role := func(kind string) zeekapi.ClusterRole {
		return zeekapi.ClusterRole(strings.TrimPrefix(kind, "Cluster::"))
	}
	c := &zeekapi.Connections{Backend: strings.ToLower(name[strings.LastIndex(name, "_")+1:])}
	for _, other := range slices.Sorted(maps.Keys(nodes)) {
		n := nodes[other]
		if other == node || !zeekapi.Connects(c.Backend, role(nodes[node].Type), role(n.Type)) {
			continue
		}
		c.Expected++
		switch {
		case n.ID != "":
			c.Seen++
		case len(c.Missing) < zeekapi.MaxMissing:
			c.Missing = append(c.Missing, other)
		default:
			c.More++
		}
	}
	return c
}
