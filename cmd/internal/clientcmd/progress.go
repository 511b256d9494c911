package clientcmd

import (
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
	// pollPause is between two looks at the nodes.
	pollPause = time.Second

	// eventBacklog is how many events may wait to be shown. Further ones are
	// dropped: the next look at the nodes has what they say.
	eventBacklog = 256

	// progressRows is how many nodes are shown at once.
	progressRows = 12
)

// progress is how far nodes are. Zeek's controller must be asked for that; ours
// also tells it by events.
type progress struct {
	title string
	began time.Time
	fixed bool // the nodes are known and others are no concern of ours
	nodes []progressNode
}

type progressNode struct {
	name, instance string
	state          zeekapi.State // "" if not known
}

// follow shows how nodes come along, all if none are given, until stop is
// called or ctx ends. It does nothing if progress is not shown.
func (r *run) follow(ctx context.Context, c *client.Client, title string, nodes []zeekapi.Node) (stop func()) {
	if r.progress == nil {
		return func() {}
	}
	p := &progress{title: title, began: time.Now(), fixed: len(nodes) > 0}
	for _, n := range nodes {
		p.nodes = append(p.nodes, progressNode{name: n.Name, instance: n.Instance})
	}
	p.sort()
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan zeekapi.ClusterEvent, eventBacklog)
	c.OnEvent(func(n zeekapi.ClusterEvent) {
		select {
		case events <- n:
		default:
		}
	})
	looks := make(chan []client.InstanceNodes)
	var group sync.WaitGroup
	group.Go(func() { poll(ctx, c, looks) })
	group.Go(func() {
		live := terminal.NewLive(r.progress, r.watcher)
		defer live.Clear()
		clock := time.NewTicker(time.Second)
		defer clock.Stop()
		for {
			live.Update(p.lines(r.watcher, time.Now())...)
			select {
			case n := <-events:
				p.hear(n)
			case all := <-looks:
				p.see(all)
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

// poll sends the nodes repeatedly until ctx ends.
func poll(ctx context.Context, c *client.Client, looks chan<- []client.InstanceNodes) {
	for ctx.Err() == nil {
		if all, err := c.GetNodes(ctx); err == nil {
			select {
			case looks <- all:
			case <-ctx.Done():
			}
		}
		select {
		case <-time.After(pollPause):
		case <-ctx.Done():
		}
	}
}

func (p *progress) sort() {
	slices.SortFunc(p.nodes, func(a, b progressNode) int {
		return strings.Compare(a.instance+"\x00"+a.name, b.instance+"\x00"+b.name)
	})
}

func (p *progress) set(name, instance string, s zeekapi.State) {
	for i := range p.nodes {
		if p.nodes[i].name == name {
			p.nodes[i].state = s
			if instance != "" {
				p.nodes[i].instance = instance
			}
			return
		}
	}
	if !p.fixed {
		p.nodes = append(p.nodes, progressNode{name, instance, s})
		p.sort()
	}
}

// hear takes a event.
func (p *progress) hear(n zeekapi.ClusterEvent) {
	if n.Kind == zeekapi.EventState && n.Node != "" {
		p.set(n.Node, n.Instance, zeekapi.State(n.Text))
	}
}

// see updates the nodes.
func (p *progress) see(all []client.InstanceNodes) {
	for _, in := range all {
		for _, n := range in.Nodes {
			if n.ClusterRole != zeekapi.RoleNone && n.ClusterRole != "" {
				p.set(n.Node, in.Instance, n.State)
			}
		}
	}
}

// lines shows all nodes, or if they are many, those that do not run.
func (p *progress) lines(s terminal.Screen, now time.Time) []terminal.Line {
	var running int
	var others []progressNode
	for _, n := range p.nodes {
		if n.state == zeekapi.StateRunning {
			running++
		} else {
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

// age returns a duration for people, in its one or two largest units.
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
