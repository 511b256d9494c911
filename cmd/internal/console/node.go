package console

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// nodeView is the page of a node.
type nodeView struct {
	Stale   *staleness
	Node    nodeRow
	Machine string
	Config  *zeekapi.Node // nil: it is not part of the configuration
	Env     []zeekapi.Option

	Charts []bigChart
	Output output
	Crash  []zeekapi.CrashReport
	Remark string // why there is no diagnosis
	Events []zeekapi.ClusterEvent

	Identifier string // of a value that the visitor has asked for
	Value      string
	ValueError string

	MayRestart, MayStop, MayAsk bool
}

// output is what a node has written.
type output struct {
	Stdout, Stderr string
	Remark, Error  string
}

// bigChart is a chart with its largest value.
type bigChart struct {
	Title, Now, Top string
	Lines           []string
	Bad             bool
}

// The sizes of the charts of a node, in pixels.
const (
	chartWidth  = 320
	chartHeight = 56
)

const (
	outputBytes = 16 << 10 // that are shown of each output
	outputAge   = 1500 * time.Millisecond
	crashAge    = 20 * time.Second
	valueAge    = 10 * time.Second
)

func (c *Console) node(r *http.Request, v Visitor) (view, error) {
	name := r.PathValue("name")
	s, _ := c.watch.get()
	n := nodeView{
		Stale: stale(s), Events: about(s.Events, "", name),
		MayRestart: v.May(zeekapi.RestartCall.Request), MayStop: v.May(zeekapi.StopCall.Request), MayAsk: v.May(zeekapi.GetIDValueCall.Request),
	}
	found := false
	for _, i := range s.Status.Instances {
		for _, d := range i.Nodes {
			if d.Status.Node == name {
				found, n.Node, n.Machine = true, newNodeRow(d), i.Instance.Name
			}
		}
	}
	if !found {
		return view{}, notFound("The cluster has no node %q.", name)
	}
	n.configure(s.Config, name)
	n.draw(s.charts)
	if v.May(zeekapi.LogsCall.Request) {
		n.Output = c.output(name)
	}
	c.diagnose(&n, name)
	if id := strings.TrimSpace(r.URL.Query().Get("value")); id != "" && n.MayAsk {
		c.askValue(&n, v, id)
	}
	return view{Name: "node", Title: name, Data: n, Poll: c.watch.busy}, nil
}

// configure adds the settings of the node.
func (n *nodeView) configure(config zeekapi.Configuration, name string) {
	for _, x := range config.Nodes {
		if x.Name == name {
			n.Config = &x
			for _, key := range slices.Sorted(maps.Keys(x.Env)) {
				n.Env = append(n.Env, zeekapi.Option{Name: key, Value: x.Env[key]})
			}
		}
	}
}

func (n *nodeView) draw(all *charts) {
	cpu, packets, drops := all.get(n.Node.Status.Node)
	add := func(title, now string, s []float32, floor float64, text func(float64) string, bad bool) {
		top := 0.0
		for _, v := range s {
			if !isNone(v) {
				top = max(top, float64(v))
			}
		}
		n.Charts = append(n.Charts, bigChart{title, now, text(top), line(s, chartWidth, chartHeight, floor), bad})
	}
	add("CPU", cpuText(n.Node.CPU), cpu, 0.1, cpuText, false)
	if rates := n.Node.Rates(); n.Node.Reads() {
		var r zeekapi.TrafficRates
		if rates != nil {
			r = *rates
		}
		add("Packets per second", rateText(r.Received), packets, 1, rateText, false)
		add("Dropped", percentText(r.DropShare()), drops, 0.02, percentText, true)
	}
}

// output returns the ends of the outputs of a node.
func (c *Console) output(name string) output {
	logs, err := cached(&c.answers, "logs "+name, outputAge, func() (zeekapi.NodeLogs, error) {
		ctx, cancel := c.background(client.DefaultTimeout)
		defer cancel()
		return c.client.Logs(ctx, name, outputBytes)
	})
	if err != nil {
		return output{Error: errorText(err)}
	}
	return output{Stdout: logs.Stdout, Stderr: logs.Stderr, Remark: logs.Remark}
}

// diagnose adds the crash reports of a node.
func (c *Console) diagnose(n *nodeView, name string) {
	d, err := cached(&c.answers, "diagnosis "+name, crashAge, func() (zeekapi.Diagnosis, error) {
		ctx, cancel := c.background(client.DefaultTimeout)
		defer cancel()
		return c.client.Diagnose(ctx, name, 4<<10)
	})
	if err != nil {
		n.Remark = errorText(err)
		return
	}
	n.Crash = d.Crashes
	if d.Node != nil && n.Config != nil {
		// The agent masks secrets.
		n.Env = nil
		for _, key := range slices.Sorted(maps.Keys(d.Node.Env)) {
			n.Env = append(n.Env, zeekapi.Option{Name: key, Value: d.Node.Env[key]})
		}
	}
}

// maxValue limits the shown size of a value, in bytes.
const maxValue = 64 << 10

// askValue adds the value of a global identifier of the node.
func (c *Console) askValue(n *nodeView, v Visitor, identifier string) {
	n.Identifier = identifier
	node := n.Node.Status.Node
	values, err := cached(&c.answers, "value "+node+" "+identifier, valueAge, func() ([]client.NodeValue, error) {
		ctx, cancel := c.background(client.DefaultTimeout)
		defer cancel()
		return v.Client.GetIDValue(ctx, identifier, node)
	})
	if err != nil {
		n.ValueError = errorText(err)
		return
	}
	for _, value := range values {
		if value.Err != nil {
			n.ValueError = errorText(value.Err)
			continue
		}
		var b bytes.Buffer
		if json.Indent(&b, value.Value, "", "  ") != nil {
			b.Write(value.Value)
		}
		n.Value = b.String()
		if len(n.Value) > maxValue {
			n.Value = strings.ToValidUTF8(n.Value[:maxValue], "") + "…"
		}
	}
}

// nodeAction starts a request about one node.
func (c *Console) nodeAction(r *http.Request, v Visitor, verb string, ask func(nodes []string) zeekapi.Message) (string, error) {
	name := r.PathValue("name")
	o := operation{Title: verb + " " + name, By: v, Back: "/nodes/" + url.PathEscape(name)}
	return c.start(o, ask([]string{name}), (*running).finishNodes)
}

func (c *Console) restartNode(r *http.Request, v Visitor) (string, error) {
	return c.nodeAction(r, v, "Restart", askRestart)
}

func (c *Console) stopNode(r *http.Request, v Visitor) (string, error) {
	return c.nodeAction(r, v, "Stop", askStop)
}

func (c *Console) startNode(r *http.Request, v Visitor) (string, error) {
	return c.nodeAction(r, v, "Start", askStart)
}
