package console

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

const showcaseText = `# Three sensors behind the tap of the data centre.
[instances]
sensor-01
sensor-02
sensor-03

[manager]
instance = sensor-01
role = manager

[logger]
instance = sensor-01
role = logger

[proxy]
instance = sensor-01
role = proxy

[worker-01]
instance = sensor-02
role = worker
interface = af_packet::ens1f0
scripts = site/local.zeek

[worker-02]
instance = sensor-02
role = worker
interface = af_packet::ens1f0
scripts = site/local.zeek

[worker-03]
instance = sensor-03
role = worker
interface = af_packet::ens1f1
scripts = site/local.zeek
env = TZ=UTC ZEEK_DNS_FAKE=1

[worker-04]
instance = sensor-03
role = worker
interface = af_packet::ens1f1
scripts = site/local.zeek policy/misc/stats
`

// parsed returns the configuration in a text.
func parsed(t *testing.T, text string) zeekapi.Configuration {
	t.Helper()
	config, _, err := clusterfile.Parse("cluster.cfg", strings.NewReader(text), clusterfile.Options{Extended: true})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// newShowcase starts a lab with a cluster of three machines that has been running for an
// hour.
func newShowcase(t *testing.T) *lab {
	t.Helper()
	config := parsed(t, strings.Replace(showcaseText, " policy/misc/stats", "", 1))
	l := newLab(t, fake.Config{Instances: []string{"sensor-01", "sensor-02", "sensor-03"}, Cluster: &config}, access.Full)
	l.await(func(s snapshot) bool { return len(s.Status.Instances) == 3 })
	next := parsed(t, showcaseText)
	if _, err := l.ask.Stage(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if result, err := l.ask.DeployStaged(t.Context(), zeekapi.DeployOptions{}); err != nil || result.Failed {
		t.Fatalf("%+v, %v", result, err)
	}
	l.await(func(s snapshot) bool { return s.Status.Deployed == next.ID })
	measured := func(s zeekapi.Status, at float64) zeekapi.Status {
		s.Controller.Name = "controller"
		for k := range s.Instances {
			for j := range s.Instances[k].Nodes {
				measure(&s.Instances[k].Nodes[j], float64(3*k+j), at)
			}
		}
		return s
	}
	var last zeekapi.Status
	l.await(func(s snapshot) bool { last = s.Status; return len(s.Status.Instances) == 3 })
	fresh := newCharts()
	for k := range slots {
		fresh.add(time.Now().Add(time.Duration(k-slots+1)*slotTime), measured(cloned(last), float64(k)))
	}
	l.console.watch.charts.replace(fresh)
	fake.Handle(l.controller, zeekapi.StatusCall, func(context.Context, zeekapi.StatusRequest) ([]zeekapi.Result, error) {
		return fake.Success(measured(cloned(last), slots)), nil
	})
	fake.Handle(l.controller, zeekapi.DiagnoseCall, func(_ context.Context, q zeekapi.DiagnoseRequest) ([]zeekapi.Result, error) {
		return fake.Success(zeekapi.Diagnosis{Crashes: []zeekapi.CrashReport{{
			Node: q.Node, Time: time.Now().Add(-26 * time.Hour), Runtime: 3*time.Hour + 12*time.Minute, PID: 4711, Signal: 11, Code: -1,
			Reason: "signal: segmentation fault (core dumped)", Zeek: "8.0.10", Core: "core.4711",
			Backtrace: "#0  zeek::detail::Frame::SetElement () at Frame.cc:103\n#1  zeek::detail::AssignExpr::Eval () at Expr.cc:2178",
		}}}), nil
	})
	fake.Handle(l.controller, zeekapi.LogsCall, func(context.Context, zeekapi.LogsRequest) ([]zeekapi.Result, error) {
		return fake.Success(zeekapi.NodeLogs{NodeOutputs: zeekapi.NodeOutputs{
			Stdout: "listening on af_packet::ens1f1\n",
			Stderr: "1764376210.183422 warning in /usr/share/zeek/site/local.zeek, line 14: lookup of feed.example took 4.1 s\n" +
				"1764376311.021144 received 48112 items of intelligence\n1764379902.552910 processing suspended\n1764379902.558021 processing continued\n",
		}}), nil
	})
	l.console.watch.refresh()
	l.await(func(s snapshot) bool { return s.Status.Instances[1].Nodes[0].CPU > 0 })
	return l
}

func cloned(s zeekapi.Status) zeekapi.Status {
	s.Instances = append([]zeekapi.InstanceStatus(nil), s.Instances...)
	for k := range s.Instances {
		s.Instances[k].Nodes = append([]zeekapi.NodeDetail(nil), s.Instances[k].Nodes...)
	}
	return s
}

// measure gives a node plausible measurements at a slot.
func measure(n *zeekapi.NodeDetail, phase, at float64) {
	wave := 1 + .25*math.Sin(at/6+phase) + .1*math.Sin(at*1.7+phase*3)
	n.CPU, n.Memory, n.Threads, n.Files = .12*wave, uint64(210+40*phase)<<20, 11, 64
	n.Started = time.Now().Add(-26 * time.Hour)
	n.Since = n.Started
	n.Connections = &zeekapi.Connections{Backend: zeekapi.BackendBroker, Seen: 3, Expected: 3}
	if n.Status.Node == "worker-03" {
		n.Connections.Seen, n.Connections.Missing = 2, []string{"proxy"}
	}
	if n.Interface == "" {
		return
	}
	n.CPU, n.Memory = .62*wave, uint64(1400+90*phase)<<20
	rates := zeekapi.TrafficRates{Period: time.Second, Received: 61000 * wave, Dropped: 12}
	if n.Status.Node == "worker-03" {
		rates.Received, rates.Dropped = 84000*wave, 800+2200*max(0, wave-.8)
	}
	n.Traffic = &zeekapi.Traffic{Measured: time.Now(), Received: 1e9, Rates: &rates}
	n.Interface = strings.TrimSpace(n.Interface)
}

// replace replaces all measurements.
func (c *charts) replace(by *charts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = by.nodes
}
