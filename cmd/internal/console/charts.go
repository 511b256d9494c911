package console

import (
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// The charts of a node cover an hour in slots of slotTime.
const (
	slots    = 40
	slotTime = 90 * time.Second
)

// maxCharts limits the nodes with charts. The memory is bounded: a node takes
// about half a kilobyte.
const maxCharts = 20_000

// series has the largest measurement of each slot; NaN means that there is none.
type series [slots]float32

// chart has the measurements of a node in the last hour.
type chart struct {
	last    int64 // number of the newest slot
	cpu     series
	packets series
	drops   series // share of the packets
}

// charts has the measurements of all nodes.
type charts struct {
	mu    sync.Mutex
	nodes map[string]*chart
}

func newCharts() *charts { return &charts{nodes: make(map[string]*chart)} }

// add adds the measurements in a status, and removes the charts of nodes that are not
// in it.
func (c *charts) add(at time.Time, s zeekapi.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := at.UnixNano() / int64(slotTime)
	seen := make(map[string]bool, len(c.nodes))
	for _, i := range s.Instances {
		for _, n := range i.Nodes {
			name := n.Status.Node
			seen[name] = true
			if c.nodes[name] == nil && len(c.nodes) < maxCharts {
				c.nodes[name] = newChart(slot)
			}
			if x := c.nodes[name]; x != nil {
				x.add(slot, n)
			}
		}
	}
	for name := range c.nodes {
		if !seen[name] {
			delete(c.nodes, name)
		}
	}
}

func newChart(slot int64) *chart {
	x := &chart{last: slot}
	for i := range slots {
		x.clear(i)
	}
	return x
}

func (x *chart) clear(i int) {
	none := float32(math.NaN())
	x.cpu[i], x.packets[i], x.drops[i] = none, none, none
}

func (x *chart) add(slot int64, n zeekapi.NodeDetail) {
	if slot < x.last {
		return // the clock was set back
	}
	for s := max(x.last+1, slot-slots+1); s <= slot; s++ {
		x.clear(int(s % slots))
	}
	x.last = slot
	i := slot % slots
	if n.CPU > 0 { // or else it is unknown
		raise(&x.cpu[i], n.CPU)
	}
	if n.Traffic != nil && n.Traffic.Rates != nil {
		raise(&x.packets[i], n.Traffic.Rates.Received)
		raise(&x.drops[i], n.Traffic.Rates.DropShare())
	}
}

func raise(v *float32, to float64) {
	if !math.IsNaN(to) && !math.IsInf(to, 0) && (isNone(*v) || *v < float32(to)) {
		*v = float32(to)
	}
}

// get returns the series of a node, the oldest slot first.
func (c *charts) get(node string) (cpu, packets, drops []float32) {
	if c == nil {
		return nil, nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.nodes[node]
	if x == nil {
		return nil, nil, nil
	}
	return x.ordered(&x.cpu), x.ordered(&x.packets), x.ordered(&x.drops)
}

func (x *chart) ordered(s *series) []float32 {
	first := int((x.last + 1) % slots)
	return append(append(make([]float32, 0, slots), s[first:]...), s[:first]...)
}

func isNone(v float32) bool { return math.IsNaN(float64(v)) }

// line returns the points of a polyline for each uninterrupted part of a series, in a
// box of the given size. The largest value, at least floor, is at the top.
func line(s []float32, width, height, floor float64) []string {
	top := floor
	for _, v := range s {
		if !isNone(v) {
			top = max(top, float64(v))
		}
	}
	if top <= 0 {
		top = 1
	}
	var lines []string
	var b strings.Builder
	points := 0
	flush := func() {
		if points > 0 {
			lines = append(lines, b.String())
		}
		b.Reset()
		points = 0
	}
	step := width / float64(max(1, len(s)-1))
	for i, v := range s {
		if isNone(v) {
			flush()
			continue
		}
		x, y := float64(i)*step, 1+(height-2)*(1-float64(v)/top)
		if points == 0 { // a single measurement is a short line
			b.WriteString(round(max(0, x-step/2)) + "," + round(y) + " ")
		}
		b.WriteString(round(x) + "," + round(y) + " ")
		points++
	}
	flush()
	return lines
}

func round(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }
