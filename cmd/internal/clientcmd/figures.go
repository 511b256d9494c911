package clientcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// freshly is the maximum age of the measurements of nodes that commands show.
const freshly = time.Second

// figures are the measurements of a cluster, reduced to what a command shows.
type figures struct {
	zeekapi.Figures
	nodes    []placedNode // sorted by name
	problems []remark     // instances and nodes without an answer
	notes    []remark     // instances that answered without measurements
}

// remark is a text about an instance or a node.
type remark struct{ source, text string }

// takeFigures returns the measurements of the named nodes, or of all if there are no names.
func takeFigures(f zeekapi.Figures, names []string) figures {
	taken := figures{Figures: f}
	found := make(map[string]bool)
	for _, i := range f.Instances {
		matches := len(names) == 0
		for _, n := range i.Nodes {
			if len(names) > 0 && !slices.Contains(names, n.Status.Node) {
				continue
			}
			matches, found[n.Status.Node] = true, true
			taken.nodes = append(taken.nodes, placedNode{n, i.Instance})
		}
		if matches && i.Error != "" {
			taken.problems = append(taken.problems, remark{i.Instance, i.Error})
		}
		if matches && i.Note != "" {
			taken.notes = append(taken.notes, remark{i.Instance, i.Note})
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if !found[name] {
			taken.problems = append(taken.problems, remark{name, "unknown cluster node"})
		}
	}
	slices.SortStableFunc(taken.nodes, func(a, b placedNode) int { return cmp.Compare(a.Status.Node, b.Status.Node) })
	return taken
}

// silence adds notes about the nodes that did not report measurements.
func (f *figures) silence() {
	for _, n := range f.nodes {
		if n.Silent != "" {
			f.notes = append(f.notes, remark{n.Status.Node, n.Silent})
		}
	}
}

// lines returns the problems and notes for a terminal. Equal ones share a line.
func (f figures) lines() []terminal.Line {
	var lines []terminal.Line
	add := func(all []remark, style terminal.Style) {
		for _, g := range groups(all, func(r remark) (text, name string) { return r.text, r.source }) {
			lines = append(lines, terminal.Line{{Text: someOf(g.names) + ": ", Style: terminal.Strong}, {Text: inOneLine(g.text), Style: style}})
		}
	}
	add(f.problems, terminal.Bad)
	add(f.notes, terminal.Warn)
	if len(lines) > 0 {
		lines = slices.Insert(lines, 0, terminal.Line{})
	}
	return lines
}

// remarksView are the problems and notes in JSON.
type remarksView struct {
	Errors []any        `json:"errors"`
	Notes  []remarkView `json:"notes"`
}

type remarkView struct {
	Source string `json:"source"`
	Text   string `json:"text"`
}

func (f figures) remarks() remarksView {
	out := newReport()
	for _, p := range f.problems {
		out.addError(p.source, p.text)
	}
	return remarksView{out.Errors, list(f.notes, func(r remark) remarkView { return remarkView{r.source, r.text} })}
}

const remarksHelp = `

The JSON also has errors, a list with source (an instance or a node) and error,
and notes, a list with source and text, about what cannot be measured.`

// measuring is a connection over which a command asks for measurements.
type measuring struct {
	*run
	client   *client.Client
	extended bool     // whether the controller is zeekwire's
	names    []string // of the selected nodes; empty for all nodes
}

// connectToMeasure connects to the controller, and selects nodes. The caller must close
// the client.
func (r *run) connectToMeasure(ctx context.Context, args []string) (*measuring, error) {
	c, err := r.connectAll(ctx)
	if err != nil {
		return nil, err
	}
	m := &measuring{run: r, client: c}
	if m.extended, err = r.speaksOperations(ctx, c); err == nil {
		m.names, err = r.selectNodes(ctx, c, args)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return m, nil
}

// take returns the measurements of the named nodes, or of all nodes without names. Those
// of Zeek's controller are only the states of nodes.
func (m *measuring) take(ctx context.Context, names []string, maxAge time.Duration) (figures, error) {
	call := statesAsFigures
	if m.extended {
		call = func(ctx context.Context, c *client.Client) (zeekapi.Figures, error) { return c.Figures(ctx, maxAge) }
	}
	f, err := askOn(ctx, m.run, m.client, call)
	if err != nil {
		var refused *client.RefusedError
		if errors.As(err, &refused) || errors.Is(err, client.ErrNoData) {
			err = requestError(err, "measurement")
		}
		return figures{}, err
	}
	return takeFigures(f, names), nil
}

// statesAsFigures returns the states of nodes, which are all that Zeek's controller knows,
// as measurements.
func statesAsFigures(ctx context.Context, c *client.Client) (zeekapi.Figures, error) {
	s, err := assembleStatus(ctx, c)
	var f zeekapi.Figures
	for _, i := range sortedStatus(s).Instances {
		f.Instances = append(f.Instances, zeekapi.InstanceFigures{
			Instance: i.Instance.Name, Nodes: i.Nodes, Error: i.LastError, Note: "Zeek's own controller does not measure nodes",
		})
	}
	return f, err
}

// finite returns a number that a peer sent, or 0 if it is negative or not finite.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return 0
	}
	return f
}

// perSecond formats a rate.
func perSecond(rate float64) string {
	switch rate = finite(rate); {
	case rate == 0:
		return "0"
	case rate < 10:
		return fmt.Sprintf("%.1f", rate)
	case rate < 1e6:
		return fmt.Sprintf("%.0f", rate)
	}
	return fmt.Sprintf("%.1fM", rate/1e6)
}

// megabits formats a number of bytes per second.
func megabits(rate float64) string { return fmt.Sprintf("%.1f", finite(rate)*8/1e6) }

// shareText formats a share of packets.
func shareText(share float64) string { return fmt.Sprintf("%.2f%%", finite(share)*100) }

// lossCell returns a share of dropped packets. Above the threshold, in percent, it has the
// colour of warnings, and above ten times the threshold that of errors.
func lossCell(share, threshold float64) terminal.Span {
	span := cell(shareText(share))
	switch percent := finite(share) * 100; {
	case percent > 10*threshold:
		span.Style = terminal.Bad
	case percent > threshold:
		span.Style = terminal.Warn
	}
	return span
}

// ratesOf returns the rates of a node, nil if they are unknown.
func ratesOf(t *zeekapi.Traffic) *zeekapi.TrafficRates {
	if t == nil {
		return nil
	}
	return t.Rates
}

// reads reports whether a node reads packets.
func reads(n placedNode) bool { return n.Interface != "" }

// losing returns the nodes whose current loss exceeds a threshold in percent.
func losing(nodes []placedNode, threshold float64) []placedNode {
	return slices.DeleteFunc(slices.Clone(nodes), func(n placedNode) bool {
		r := ratesOf(n.Traffic)
		return r == nil || finite(r.DropShare())*100 <= threshold
	})
}

// defaultLoss is the default threshold for a loss that is a problem, in percent.
const defaultLoss = 1

// figureWarnings returns the lines of a status about nodes that lose packets, the largest
// loss first, and about nodes with missing connections.
func figureWarnings(s zeekapi.Status) []terminal.Line {
	nodes := nodesOf(s)
	var loss, missing []string
	worst := losing(nodes, defaultLoss)
	slices.SortStableFunc(worst, func(a, b placedNode) int {
		return cmp.Compare(b.Traffic.Rates.DropShare(), a.Traffic.Rates.DropShare())
	})
	for _, n := range worst {
		loss = append(loss, n.Status.Node+" "+shareText(n.Traffic.Rates.DropShare()))
	}
	states := statesOf(nodes)
	for _, n := range nodes {
		if unseen := missingRunning(n, states); len(unseen) > 0 {
			missing = append(missing, n.Status.Node+" does not see "+someOf(unseen))
		}
	}
	var lines []terminal.Line
	add := func(title string, all []string, command string) {
		if len(all) > 0 {
			lines = append(lines, terminal.Line{{Text: title, Style: terminal.Strong}, {Text: someOf(all) + ", see " + command, Style: terminal.Warn}})
		}
	}
	add("Dropped packets: ", loss, "netstats")
	add("Missing connections: ", missing, "peers")
	return lines
}
