package console

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// topologyView is a picture of the machines, the nodes and their connections.
type topologyView struct {
	Stale         *staleness
	Width, Height int
	Hub           box // the controller
	Boxes         []topologyBox
	Edges         []edge
	Missing       []missingConnection
	MoreMissing   int
	Hidden        int // machines that are left out
	Unknown       int // nodes that do not report their connections
	AllEdges      bool
	Query         string
	Controller    string
}

type box struct{ X, Y, W, H int }

// topologyBox is a machine.
type topologyBox struct {
	box
	Name  string
	Level string // of the agent
	Agent string
	Link  string // path of the line to the controller
	Nodes []topologyNode
	More  int // nodes that are left out
	TextY int
}

// topologyNode is a node in the box of its machine.
type topologyNode struct {
	box
	Name, Role, Level, State string
	Connected                string // "12 of 12", "" if unknown
	TextY                    int
}

// edge is a connection between two nodes.
type edge struct {
	Path    string
	Missing bool
}

// missingConnection is a connection that a node lacks.
type missingConnection struct{ Node, Other string }

// The layout, in pixels.
const (
	boxWidth    = 220
	boxGapX     = 60
	boxGapY     = 40
	boxPadding  = 10
	boxHead     = 34
	nodeHeight  = 24
	nodeGap     = 6
	columns     = 4
	hubHeight   = 40
	hubDistance = 56

	maxBoxes       = 48  // machines in the picture
	maxBoxNodes    = 14  // nodes of a machine
	maxDrawnNodes  = 40  // up to which all connections are drawn
	maxMissingList = 100 // rows of the list
	maxEdges       = 800
)

func (c *Console) topology(r *http.Request, _ Visitor) (view, error) {
	s, _ := c.watch.get()
	t := &topologyView{Stale: stale(s), Query: strings.TrimSpace(r.URL.Query().Get("q")), Controller: s.Status.Controller.Name}
	var machines []machineRow
	for _, i := range s.Status.Instances {
		if m := newMachine(i); m.filter(t.Query, "") {
			machines = append(machines, m)
		}
	}
	t.choose(machines)
	t.list(s.Status)
	return view{Name: "topology", Title: "Topology", Data: t}, nil
}

// choose draws the machines, or if there are too many, first those with problems.
func (t *topologyView) choose(machines []machineRow) {
	drawn := machines
	if len(machines) > maxBoxes {
		drawn = nil
		for _, wanted := range []bool{true, false} {
			for _, m := range machines {
				if m.troubled() == wanted && len(drawn) < maxBoxes {
					drawn = append(drawn, m)
				}
			}
		}
		t.Hidden = len(machines) - len(drawn)
	}
	t.place(drawn)
	t.connect(drawn)
}

// troubled reports whether the machine should be in the picture.
func (m machineRow) troubled() bool {
	if m.Agent.Level != "good" {
		return true
	}
	for _, n := range m.Rows {
		if n.Level != "good" || n.Connections != nil && n.Connections.Seen < n.Connections.Expected {
			return true
		}
	}
	return false
}

// place puts the machines into rows below the controller.
func (t *topologyView) place(machines []machineRow) {
	cols := max(1, min(columns, len(machines)))
	t.Width = max(cols*boxWidth+(cols-1)*boxGapX+2*boxPadding, 2*boxWidth)
	inset := (t.Width - (cols*boxWidth + (cols-1)*boxGapX)) / 2
	t.Hub = box{X: t.Width/2 - boxWidth/2, Y: boxPadding, W: boxWidth, H: hubHeight}
	y, tallest := t.Hub.Y+hubHeight+hubDistance, 0
	for k, m := range machines {
		if k > 0 && k%cols == 0 {
			y, tallest = y+tallest+boxGapY, 0
		}
		b := topologyBox{Name: m.Instance.Name, Level: m.Agent.Level, Agent: m.Agent.Text}
		b.X, b.Y, b.W = inset+(k%cols)*(boxWidth+boxGapX), y, boxWidth
		b.TextY = y + 22
		for j, n := range m.Rows {
			if j == maxBoxNodes {
				b.More = len(m.Rows) - j
				break
			}
			at := box{b.X + boxPadding, y + boxHead + j*(nodeHeight+nodeGap), boxWidth - 2*boxPadding, nodeHeight}
			b.Nodes = append(b.Nodes, topologyNode{
				at, n.Status.Node, strings.ToLower(string(n.Status.ClusterRole)), n.Level, n.State, connected(n.Connections), at.Y + 16,
			})
		}
		shown := len(b.Nodes)
		if b.More > 0 {
			shown++
		}
		b.H = boxHead + shown*(nodeHeight+nodeGap) + boxPadding/2
		b.Link = t.link(b.box)
		tallest = max(tallest, b.H)
		t.Boxes = append(t.Boxes, b)
	}
	t.Height = y + tallest + boxPadding
}

func connected(c *zeekapi.Connections) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%d of %d", c.Seen, c.Expected)
}

// link returns the line from the controller to a machine.
func (t *topologyView) link(b box) string {
	x0, y0, x1 := t.Hub.X+t.Hub.W/2, t.Hub.Y+t.Hub.H, b.X+b.W/2
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x0, y0, x0, y0+hubDistance/2+4, x1, b.Y-hubDistance/2-4, x1, b.Y)
}

// connect draws the connections between nodes: all of them in a small cluster, and the
// missing ones in any.
func (t *topologyView) connect(machines []machineRow) {
	at := map[string]box{}
	for _, b := range t.Boxes {
		for _, n := range b.Nodes {
			at[n.Name] = n.box
		}
	}
	t.AllEdges = len(at) <= maxDrawnNodes
	var nodes []nodeRow
	missing := map[[2]string]bool{}
	for _, m := range machines {
		for _, n := range m.Rows {
			nodes = append(nodes, n)
			if n.Connections != nil {
				for _, other := range n.Connections.Missing {
					missing[pair(n.Status.Node, other)] = true
				}
			}
		}
	}
	for i, a := range nodes {
		for _, b := range nodes[i+1:] {
			from, here := at[a.Status.Node]
			to, there := at[b.Status.Node]
			lacks := missing[pair(a.Status.Node, b.Status.Node)]
			if !here || !there || len(t.Edges) >= maxEdges {
				continue
			}
			backend := backendOf(a, b)
			if lacks || t.AllEdges && backend != "" && zeekapi.Connects(backend, a.Status.ClusterRole, b.Status.ClusterRole) {
				t.Edges = append(t.Edges, edge{curve(from, to), lacks})
			}
		}
	}
}

// backendOf returns the cluster backend of two nodes that both report their connections.
func backendOf(a, b nodeRow) string {
	if a.Connections == nil || b.Connections == nil {
		return ""
	}
	return a.Connections.Backend
}

func pair(a, b string) [2]string {
	if b < a {
		a, b = b, a
	}
	return [2]string{a, b}
}

// curve returns the line between two nodes. Nodes of one machine are connected on the
// left.
func curve(a, b box) string {
	ya, yb := a.Y+a.H/2, b.Y+b.H/2
	switch {
	case a.X == b.X && a.Y != b.Y:
		out := a.X - 14 - min(40, abs(ya-yb)/5)
		return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", a.X, ya, out, ya, out, yb, b.X, yb)
	case a.X > b.X:
		a, b, ya, yb = b, a, yb, ya
	}
	x0, x1 := a.X+a.W, b.X
	bend := (x1 - x0) / 2
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x0, ya, x0+bend, ya, x1-bend, yb, x1, yb)
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// list lists the missing connections of all nodes.
func (t *topologyView) list(s zeekapi.Status) {
	for _, i := range s.Instances {
		for _, n := range i.Nodes {
			if n.Connections == nil {
				if n.Status.State == zeekapi.StateRunning {
					t.Unknown++
				}
				continue
			}
			for _, other := range n.Connections.Missing {
				if len(t.Missing) < maxMissingList {
					t.Missing = append(t.Missing, missingConnection{n.Status.Node, other})
				} else {
					t.MoreMissing++
				}
			}
			t.MoreMissing += int(n.Connections.More)
		}
	}
}
