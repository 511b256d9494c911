package clientcmd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

const (
	// pollPause is the time between two requests for the nodes.
	pollPause = time.Second

	// eventBacklog limits the events that are queued to be shown. Events beyond
	// it are dropped: the next response with the nodes has their information.
	eventBacklog = 256

	// progressRows limits the nodes that are shown at once.
	progressRows = 12
)

// progress is the state of the nodes during a request. Zeek's controller must be
// polled for it; zeekwire's controller also reports changes by events.
type progress struct {
	title string
	began time.Time
	fixed bool // ignore nodes that are not in nodes
	stops bool // the nodes are to stop
	nodes []progressNode
	index map[string]int // of nodes, by name
}

type progressNode struct {
	name, instance string
	state          zeekapi.State // "" if not known
}

// newProgress returns the progress of the given nodes, or of all nodes if none are
// given.
func newProgress(title string, nodes []zeekapi.Node) *progress {
	p := &progress{title: title, began: time.Now(), fixed: len(nodes) > 0}
	for _, n := range nodes {
		p.nodes = append(p.nodes, progressNode{name: n.Name, instance: n.Instance})
	}
	p.sort()
	return p
}

// withNames returns nodes of which only the names are known.
func withNames(names []string) []zeekapi.Node {
	return list(names, func(name string) zeekapi.Node { return zeekapi.Node{Name: name} })
}

// maxProgressNodes limits the nodes whose states are kept, which are those that a
// controller reports.
const maxProgressNodes = 100_000

// showProgress shows p until stop is called or ctx ends, if standard error can show
// progress. The function gets every event, too, unless it is nil.
func (r *run) showProgress(ctx context.Context, c *client.Client, p *progress, onEvent func(zeekapi.ClusterEvent)) (stop func()) {
	if onEvent == nil {
		onEvent = func(zeekapi.ClusterEvent) {}
	}
	if r.progress == nil {
		c.OnEvent(onEvent)
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan zeekapi.ClusterEvent, eventBacklog)
	c.OnEvent(func(n zeekapi.ClusterEvent) {
		onEvent(n)
		select {
		case events <- n:
		default:
		}
	})
	polled := make(chan []client.InstanceNodes)
	var group sync.WaitGroup
	group.Go(func() { poll(ctx, c, polled) })
	group.Go(func() {
		live := terminal.NewLive(r.progress, r.progressScreen)
		defer live.Clear()
		clock := time.NewTicker(time.Second)
		defer clock.Stop()
		for {
			live.Update(p.lines(r.progressScreen, time.Now())...)
			select {
			case n := <-events:
				p.addEvent(n)
			case all := <-polled:
				p.addStates(all)
			case <-clock.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		group.Wait()
	}
}

// poll requests the nodes repeatedly, and sends them, until ctx ends.
func poll(ctx context.Context, c *client.Client, polled chan<- []client.InstanceNodes) {
	for ctx.Err() == nil {
		if all, err := c.GetNodes(ctx); err == nil {
			select {
			case polled <- all:
			case <-ctx.Done():
			}
		}
		sleep(ctx, pollPause)
	}
}

func (p *progress) sort() {
	slices.SortFunc(p.nodes, func(a, b progressNode) int {
		return cmp.Or(strings.Compare(a.instance, b.instance), strings.Compare(a.name, b.name))
	})
	p.index = make(map[string]int, len(p.nodes))
	for i, n := range p.nodes {
		p.index[n.name] = i
	}
}

// set sets the state of a node. An empty instance leaves the instance unchanged. It
// reports whether the node is new, and p must be sorted.
func (p *progress) set(name, instance string, s zeekapi.State) (added bool) {
	if i, ok := p.index[name]; ok {
		p.nodes[i].state = s
		if instance != "" {
			p.nodes[i].instance = instance
		}
		return false
	}
	if p.fixed || len(p.nodes) == maxProgressNodes {
		return false
	}
	p.index[name] = len(p.nodes)
	p.nodes = append(p.nodes, progressNode{name, instance, s})
	return true
}

// addEvent applies a cluster event.
func (p *progress) addEvent(n zeekapi.ClusterEvent) {
	if n.Kind == zeekapi.EventState && n.Node != "" && p.set(n.Node, n.Instance, zeekapi.State(n.Text)) {
		p.sort()
	}
}

// addStates applies a response with the nodes.
func (p *progress) addStates(all []client.InstanceNodes) {
	added := false
	for _, in := range all {
		for _, n := range in.Nodes {
			if n.ClusterRole != zeekapi.RoleNone && n.ClusterRole != "" {
				added = p.set(n.Node, in.Instance, n.State) || added
			}
		}
	}
	if added {
		p.sort()
	}
}

// lines returns the lines to show: all nodes or, if there are too many, the nodes
// that are not running.
func (p *progress) lines(s terminal.Screen, now time.Time) []terminal.Line {
	var running int
	var others []progressNode
	for _, n := range p.nodes {
		if n.state == zeekapi.StateRunning {
			running++
		}
		if (n.state == zeekapi.StateRunning) == p.stops {
			others = append(others, n)
		}
	}
	head := terminal.Line{{Text: p.title, Style: terminal.Strong}}
	if len(p.nodes) > 0 {
		head = append(head, cell(fmt.Sprintf(": %d of %d nodes run", running, len(p.nodes))))
	}
	head = append(head, terminal.Span{Text: " (" + age(now.Sub(p.began)) + ")", Style: terminal.Faint})
	show := p.nodes
	if len(show) > progressRows {
		show = others[:min(len(others), progressRows)]
	}
	if len(show) == 0 {
		return []terminal.Line{head}
	}
	t := &terminal.Table{Header: []string{"  INSTANCE", "NODE", "STATE"}}
	for _, n := range show {
		state := stateCell(n.state)
		if n.state == "" {
			state = terminal.Span{Text: "waiting", Style: terminal.Faint}
		}
		t.Add(cell("  "+n.instance), cell(n.name), state)
	}
	lines := append([]terminal.Line{head}, t.Lines(s)...)
	if more := len(others) - len(show); len(p.nodes) > progressRows && more > 0 {
		lines = append(lines, terminal.Text("  and %d more", more))
	}
	return lines
}

// age formats a duration in its one or two largest units.
func age(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d/time.Minute))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d/time.Hour), int(d/time.Minute)%60)
	}
	return fmt.Sprintf("%dd%dh", int(d/time.Hour)/24, int(d/time.Hour)%24)
}
