package clientcmd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
)

func (t *Tool) netstats() *cobra.Command {
	var interval time.Duration
	var threshold float64
	cmd := t.command("netstats [NODE...]", "Show the packets that nodes receive and drop",
		func(ctx context.Context, r *run, args []string) error {
			if interval != 0 && interval < time.Second {
				return r.misuse("--interval %v: want 1s or more", interval)
			}
			if !(threshold >= 0 && threshold <= 100) {
				return r.misuse("--threshold %v: want a percentage from 0 to 100", threshold)
			}
			f, err := r.takeTraffic(ctx, args, interval)
			if err != nil {
				return err
			}
			s := newTrafficSums(f)
			if err := r.present(s.view(), func() []terminal.Line { return s.lines(r.screen, threshold) }); err != nil {
				return err
			}
			if r.tool.flags.strictExit && len(losing(s.nodes, threshold)) > 0 {
				return &ExitError{Code: Attention}
			}
			return failIf(len(s.problems) > 0)
		})
	cmd.Long = cmd.Short + `: of each node with an
interface, or of the named ones, and of all together, since their start and per
second. The second table has the packets that arrived at the network interfaces
of the machines, whether or not a node received them.

Rates cover the time since the previous measurement, which is at most ten
seconds ago. With --interval, the command measures twice, and shows the rates
between the two measurements.

The loss is the share of packets that were dropped. Above the threshold, it is
shown in the colour of warnings, and above ten times the threshold in that of
errors. With --strict-exit, the exit code is 3 if the present loss of a node
exceeds the threshold.

The JSON has the keys nodes, by name, each with instance, interface, traffic and
silent (why the node does not report), total (as traffic), and interfaces, a
list with instance, name and traffic.` + trafficHelp + remarksHelp + jsonHelp
	cmd.Flags().DurationVar(&interval, "interval", 0, "`TIME` in which to count packets (default since the last measurement)")
	t.addSelection(cmd)
	cmd.Flags().Float64Var(&threshold, "threshold", defaultLoss, "`PERCENT` of dropped packets beyond which to warn")
	return cmd
}

// takeTraffic returns the traffic of nodes. With an interval, it measures twice, and the
// rates are those between the two.
func (r *run) takeTraffic(ctx context.Context, args []string, interval time.Duration) (figures, error) {
	c, names, err := r.connectForNodes(ctx, "the packets of nodes", args)
	if err != nil {
		return figures{}, err
	}
	defer c.Close()
	m := &measuring{run: r, client: c, extended: true, names: names}
	before, err := m.take(ctx, m.names, freshly)
	if err != nil || interval == 0 {
		return before, err
	}
	if !sleep(ctx, interval) {
		return figures{}, errors.Join(ctx.Err(), context.Cause(ctx))
	}
	now, err := m.take(ctx, m.names, freshly)
	if err == nil {
		now.between(before)
	}
	return now, err
}

// between replaces the rates by the rates since an earlier measurement.
func (f *figures) between(before figures) {
	nodes := make(map[string]*zeekapi.Traffic)
	for _, n := range before.nodes {
		nodes[n.Status.Node] = n.Traffic
	}
	for _, n := range f.nodes {
		n.Traffic.SetRates(nodes[n.Status.Node])
	}
	interfaces := make(map[[2]string]*zeekapi.Traffic)
	for _, i := range before.Instances {
		for _, x := range i.Interfaces {
			interfaces[[2]string{i.Instance, x.Name}] = &x.Traffic
		}
	}
	for _, i := range f.Instances {
		for k := range i.Interfaces {
			x := &i.Interfaces[k]
			x.Traffic.SetRates(interfaces[[2]string{i.Instance, x.Name}])
		}
	}
}

// trafficSums are the packets of nodes and interfaces.
type trafficSums struct {
	figures
	total      zeekapi.Traffic
	interfaces []placedInterface
}

// placedInterface is an interface with the name of its instance.
type placedInterface struct {
	instance string
	zeekapi.InterfaceTraffic
}

func newTrafficSums(f figures) trafficSums {
	used := make(map[[2]string]bool)
	var readers []placedNode
	for _, n := range f.nodes {
		if reads(n) {
			readers = append(readers, n)
			if device, err := zeekapi.NetworkInterface(n.Interface); err == nil {
				used[[2]string{n.instance, device}] = true
			}
		}
	}
	f.nodes = readers
	f.silence()
	s := trafficSums{figures: f, total: trafficOf(readers)}
	for _, i := range f.Instances {
		for _, x := range i.Interfaces {
			if used[[2]string{i.Instance, x.Name}] {
				s.interfaces = append(s.interfaces, placedInterface{i.Instance, x})
			}
		}
	}
	slices.SortFunc(s.interfaces, func(a, b placedInterface) int {
		return cmp.Or(cmp.Compare(a.instance, b.instance), cmp.Compare(a.Name, b.Name))
	})
	return s
}

// trafficOf returns the packets of all nodes together. The rates are nil if no node has any.
func trafficOf(nodes []placedNode) zeekapi.Traffic {
	var sum zeekapi.Traffic
	for _, n := range nodes {
		t := n.Traffic
		if t == nil || !reads(n) {
			continue
		}
		sum.Received += t.Received
		sum.Dropped += t.Dropped
		sum.Link += t.Link
		sum.Bytes += t.Bytes
		if t.Measured.After(sum.Measured) {
			sum.Measured = t.Measured
		}
		if r := t.Rates; r != nil {
			if sum.Rates == nil {
				sum.Rates = new(zeekapi.TrafficRates)
			}
			sum.Rates.Period = max(sum.Rates.Period, r.Period)
			sum.Rates.Received += finite(r.Received)
			sum.Rates.Dropped += finite(r.Dropped)
			sum.Rates.Link += finite(r.Link)
			sum.Rates.Bytes += finite(r.Bytes)
		}
	}
	return sum
}

type nodeTrafficView struct {
	Instance  string       `json:"instance"`
	Interface string       `json:"interface"`
	Traffic   *trafficView `json:"traffic"`
	Silent    *string      `json:"silent"`
}

type interfaceView struct {
	Instance string       `json:"instance"`
	Name     string       `json:"name"`
	Traffic  *trafficView `json:"traffic"`
}

func (s trafficSums) view() any {
	nodes := make(map[string]nodeTrafficView)
	for _, n := range s.nodes {
		nodes[n.Status.Node] = nodeTrafficView{n.instance, n.Interface, newTrafficView(n.Traffic), orNull(n.Silent)}
	}
	return struct {
		Nodes      map[string]nodeTrafficView `json:"nodes"`
		Total      *trafficView               `json:"total"`
		Interfaces []interfaceView            `json:"interfaces"`
		remarksView
	}{nodes, newTrafficView(&s.total), list(s.interfaces, func(x placedInterface) interfaceView {
		return interfaceView{x.instance, x.Name, newTrafficView(&x.Traffic)}
	}), s.remarks()}
}

func (s trafficSums) lines(screen terminal.Screen, threshold float64) []terminal.Line {
	if len(s.nodes) == 0 {
		return append([]terminal.Line{terminal.Text("No node reads packets.")}, s.figures.lines()...)
	}
	t := &terminal.Table{
		Header: []string{"NODE", "INSTANCE", "INTERFACE", "RECEIVED", "DROPPED", "LOSS", "LINK", "PKTS/S", "MBIT/S", "DROPS/S", "LOSS NOW"},
		Right:  []bool{3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 9: true, 10: true},
		Spare:  []int{6, 1, 8, 2, 9},
	}
	for _, n := range s.nodes {
		t.Add(append([]terminal.Span{cell(n.Status.Node), cell(n.instance), cell(n.Interface)}, trafficCells(n.Traffic, threshold)...)...)
	}
	if len(s.nodes) > 1 {
		t.Add(append([]terminal.Span{{Text: "all", Style: terminal.Strong}, {}, {}}, trafficCells(&s.total, threshold)...)...)
	}
	lines := t.Lines(screen)
	if len(s.interfaces) > 0 {
		lines = append(append(lines, terminal.Line{}), s.interfaceTable(threshold).Lines(screen)...)
	}
	return append(lines, s.figures.lines()...)
}

func (s trafficSums) interfaceTable(threshold float64) *terminal.Table {
	t := &terminal.Table{
		Header: []string{"INTERFACE", "INSTANCE", "RECEIVED", "DROPPED", "LOSS", "PKTS/S", "MBIT/S", "DROPS/S", "LOSS NOW"},
		Right:  []bool{2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true},
		Spare:  []int{6, 1, 7},
	}
	for _, x := range s.interfaces {
		cells := trafficCells(&x.Traffic, threshold)
		t.Add(append([]terminal.Span{cell(x.Name), cell(x.instance)}, slices.Delete(cells, 3, 4)...)...) // without link
	}
	return t
}

// trafficCells returns the cells from RECEIVED to LOSS NOW.
func trafficCells(t *zeekapi.Traffic, threshold float64) []terminal.Span {
	cells := make([]terminal.Span, 8)
	if t == nil {
		return cells
	}
	cells[0], cells[1], cells[2], cells[3] = count(t.Received), count(t.Dropped), lossCell(t.DropShare(), threshold), number(t.Link)
	if r := t.Rates; r != nil {
		cells[4], cells[5] = cell(perSecond(r.Received)), cell(megabits(r.Bytes))
		cells[6], cells[7] = cell(perSecond(r.Dropped)), lossCell(r.DropShare(), threshold)
	}
	return cells
}
