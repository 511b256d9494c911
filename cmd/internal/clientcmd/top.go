package clientcmd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// topKeys are the keys by which top sorts. Nodes with the largest number come first. The
// first letter of a key selects it on a terminal.
var topKeys = []struct {
	name   string
	number func(placedNode) float64 // nil: sorted by text
	text   func(placedNode) string
}{
	{name: "cpu", number: func(n placedNode) float64 { return finite(n.CPU) }},
	{name: "memory", number: func(n placedNode) float64 { return float64(n.Memory) }},
	{name: "threads", number: func(n placedNode) float64 { return float64(n.Threads) }},
	{name: "files", number: func(n placedNode) float64 { return float64(n.Files) }},
	{name: "uptime", number: func(n placedNode) float64 {
		if n.Started.IsZero() {
			return 0
		}
		return time.Since(n.Started).Seconds()
	}},
	{name: "packets", number: func(n placedNode) float64 { return rate(n, func(r zeekapi.TrafficRates) float64 { return r.Received }) }},
	{name: "drops", number: func(n placedNode) float64 { return rate(n, func(r zeekapi.TrafficRates) float64 { return r.Dropped }) }},
	{name: "node", text: func(n placedNode) string { return n.Status.Node }},
	{name: "instance", text: func(n placedNode) string { return n.instance }},
}

// rate returns a rate of a node, or -1 if it is unknown.
func rate(n placedNode, of func(zeekapi.TrafficRates) float64) float64 {
	if r := ratesOf(n.Traffic); r != nil {
		return finite(of(*r))
	}
	return -1
}

func topKeyNames() []string {
	var all []string
	for _, k := range topKeys {
		all = append(all, k.name)
	}
	return all
}

// sortNodes sorts nodes by one of topKeys. Nodes with equal values keep their order. It
// returns false if there is no such key.
func sortNodes(nodes []placedNode, key string) bool {
	for _, k := range topKeys {
		if k.name != key {
			continue
		}
		slices.SortStableFunc(nodes, func(a, b placedNode) int {
			if k.number != nil {
				return cmp.Compare(k.number(b), k.number(a))
			}
			return cmp.Compare(k.text(a), k.text(b))
		})
		return true
	}
	return false
}

func (t *Tool) top() *cobra.Command {
	var key string
	var every time.Duration
	var once bool
	cmd := t.command("top [NODE...]", "Show the resources and traffic of nodes, live on a terminal",
		func(ctx context.Context, r *run, args []string) error {
			if !sortNodes(nil, key) {
				return r.misuse("--sort %s: want one of %s", key, strings.Join(topKeyNames(), ", "))
			}
			if every < 100*time.Millisecond {
				return r.misuse("--every %v: want 100ms or more", every)
			}
			m, err := r.connectToMeasure(ctx, args)
			if err != nil {
				return err
			}
			defer m.client.Close()
			v := topView{m, key}
			if !once && r.liveScreen().Moves {
				return v.live(ctx, every)
			}
			return v.once(ctx)
		})
	cmd.Long = cmd.Short + `:
processors, memory, threads, open files, time since the start, packets per
second, and drops, of all nodes or the named ones.

On a terminal, the table is updated until you press q or interrupt the command.
The first letter of a sort key, such as d for drops, sorts by it. In a pipe,
with --json or with --once, the table is shown once.

Nodes with an interface count packets, every ten seconds and for this command.
Rates cover the time since the previous measurement. The number of files is
unknown if the agent is not permitted to read it: if it is not privileged, and
the program zeek has file capabilities.

The JSON has the key nodes, by name, each with instance and the keys of nodes in
status.` + remarksHelp + jsonHelp
	cmd.Flags().StringVar(&key, "sort", "cpu", "`KEY` to sort by: "+strings.Join(topKeyNames(), ", "))
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "`TIME` between updates")
	t.addSelection(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "show the table once, also on a terminal")
	return cmd
}

// topView shows nodes in the order of a key.
type topView struct {
	*measuring
	key string
}

func (v topView) fetch(ctx context.Context) (figures, error) {
	f, err := v.take(ctx, v.names, freshly)
	f.silence()
	sortNodes(f.nodes, v.key)
	return f, err
}

func (v topView) once(ctx context.Context) error {
	f, err := v.fetch(ctx)
	if err != nil {
		return err
	}
	view := struct {
		Nodes map[string]placedNodeView `json:"nodes"`
		remarksView
	}{make(map[string]placedNodeView), f.remarks()}
	for _, n := range f.nodes {
		view.Nodes[n.Status.Node] = placedNodeView{n.instance, newNodeView(n.NodeDetail)}
	}
	if err := v.present(view, func() []terminal.Line { return v.lines(f, time.Now()) }); err != nil {
		return err
	}
	return failIf(len(f.problems) > 0)
}

// placedNodeView is a node with the name of its instance.
type placedNodeView struct {
	Instance string `json:"instance"`
	nodeView
}

// live updates the table until ctx ends.
func (v topView) live(ctx context.Context, every time.Duration) error {
	screen := terminal.NewLive(v.page, v.liveScreen())
	defer screen.Leave()
	keys, restore := terminal.Keys(v.stdin)
	defer restore()
	for {
		f, err := v.fetch(ctx)
		if ctx.Err() != nil {
			return nil // an interrupt is the normal end
		}
		if err != nil {
			return err
		}
		for next := time.After(every); next != nil; {
			if err := screen.Update(v.fit(f, time.Now())...); err != nil {
				return err
			}
			select {
			case <-next:
				next = nil
			case key := <-keys:
				if key == 'q' {
					return nil
				}
				v.press(key)
				sortNodes(f.nodes, v.key)
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// press selects the sort key that begins with a letter.
func (v *topView) press(letter byte) {
	for _, k := range topKeys {
		if k.name[0] == letter {
			v.key = k.name
		}
	}
}

// fit returns the lines that fit the screen: the first nodes in the order of the key.
func (v topView) fit(f figures, now time.Time) []terminal.Line {
	rows := v.screen.Rows()
	lines := v.lines(f, now)
	if rows == 0 || len(lines) < rows {
		return lines
	}
	remarks := f.lines()
	remarks = remarks[:min(len(remarks), max(0, rows/4))]
	left := rows - len(remarks) - 5 // summary, empty line, header, line about the rest, cursor
	shown := f
	shown.nodes = f.nodes[:max(0, min(left, len(f.nodes)))]
	shown.problems, shown.notes = nil, nil
	table := topTable(shown.nodes, now).Lines(v.screen)
	return slices.Concat([]terminal.Line{topSummary(f, now), {}}, table,
		[]terminal.Line{faint("… %d more nodes", len(f.nodes)-len(shown.nodes))}, remarks)
}

func (v topView) lines(f figures, now time.Time) []terminal.Line {
	if len(f.nodes) == 0 {
		return append([]terminal.Line{terminal.Text("There are no nodes.")}, f.lines()...)
	}
	return slices.Concat([]terminal.Line{topSummary(f, now), {}}, topTable(f.nodes, now).Lines(v.screen), f.lines())
}

// topSummary returns a line about all nodes together.
func topSummary(f figures, now time.Time) terminal.Line {
	var cpu float64
	var memory uint64
	running := 0
	for _, n := range f.nodes {
		cpu += finite(n.CPU)
		memory += n.Memory
		if n.Status.State == zeekapi.StateRunning {
			running++
		}
	}
	text := fmt.Sprintf("%s  %d of %s running", localTime(now), running, plural(len(f.nodes), "node"))
	if cpu > 0 || memory > 0 {
		text += fmt.Sprintf(", %.1f CPUs, %s", cpu, memoryText(memory))
	}
	line := terminal.Line{cell(text)}
	if total := trafficOf(f.nodes); total.Rates != nil {
		line = append(line, cell(fmt.Sprintf(", %s packets/s, %s Mbit/s, loss ", perSecond(total.Rates.Received), megabits(total.Rates.Bytes))),
			lossCell(total.Rates.DropShare(), defaultLoss))
	}
	return line
}

func topTable(nodes []placedNode, now time.Time) *terminal.Table {
	t := &terminal.Table{
		Header: []string{"NODE", "INSTANCE", "ROLE", "STATE", "CPU", "MEMORY", "THREADS", "FILES", "UPTIME", "PKTS/S", "MBIT/S", "DROPS/S", "LOSS"},
		Right:  []bool{4: true, 5: true, 6: true, 7: true, 8: true, 9: true, 10: true, 11: true, 12: true},
		Spare:  []int{2, 6, 7, 10, 1, 11},
	}
	for _, n := range nodes {
		cells := []terminal.Span{
			cell(n.Status.Node), cell(n.instance), cell(roleText(n.Status)), stateCell(n.Status.State), cell(cpuText(finite(n.CPU))), cell(memoryText(n.Memory)),
			number(n.Threads), number(n.Files), cell(since(n.Started, now)),
		}
		if r := ratesOf(n.Traffic); r != nil && reads(n) {
			cells = append(cells, cell(perSecond(r.Received)), cell(megabits(r.Bytes)), cell(perSecond(r.Dropped)), lossCell(r.DropShare(), defaultLoss))
		}
		t.Add(cells...)
	}
	return t
}
