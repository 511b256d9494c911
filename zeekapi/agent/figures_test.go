package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// report returns the response of a node with this text as its report.
func report(reqID, node, text string) zeekapi.NodeDispatchResponse {
	return zeekapi.NodeDispatchResponse{ReqID: id(reqID), Result: zeekapi.Result{ReqID: reqID, Success: true, Node: node, Data: broker.String(text)}}
}

// counts returns a report about packets from a node that sees the named others.
func counts(received, dropped uint64, seen ...string) string {
	text, err := json.Marshal(nodescript.Figures{Received: received, Dropped: dropped, Link: received + dropped, Bytes: 100 * received, Backend: "broker", Nodes: seen, Sees: true})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// sensing returns a fleet with a manager and two workers with an interface. The nodes
// report what reports has for them, and are silent if that is nothing.
func sensing(t *testing.T, settings Settings) (f *fleet, reports map[string]string) {
	t.Helper()
	f = newFleet(t, settings, nil)
	reports = make(map[string]string)
	f.answers = func(req zeekapi.NodeDispatchRequest) (all []zeekapi.NodeDispatchResponse) {
		for _, node := range req.Nodes {
			if text := reports[node]; text != "" {
				all = append(all, report(req.ID, node, text))
			}
		}
		return all
	}
	config := configuration("c", "m", "w1", "w2")
	config.Nodes[1].Interface, config.Nodes[2].Interface = "eth0", "af_packet::eth0"
	f.ask(deploy("deploy", config))
	f.pass(time.Second)
	f.out = nil
	return f, reports
}

// measured asks for measurements, and returns them when they come.
func (f *fleet) measured(maxAge time.Duration) zeekapi.InstanceFigures {
	f.t.Helper()
	f.ask(zeekapi.AgentFiguresRequest{ReqID: id("figures"), MaxAge: maxAge})
	for wait := time.Duration(0); wait < MeasureTimeout+time.Second; wait += 100 * time.Millisecond {
		if wait > 0 {
			f.pass(100 * time.Millisecond)
		} else {
			f.pass(0)
		}
		if got := published[zeekapi.AgentFiguresResponse](f); len(got) == 1 {
			var figures zeekapi.InstanceFigures
			if err := record.Unmarshal(got[0].Result.Data, &figures); err != nil {
				f.t.Fatal(err)
			}
			return figures
		}
	}
	f.t.Fatal("no response")
	return zeekapi.InstanceFigures{}
}

func nodeOf(t *testing.T, figures zeekapi.InstanceFigures, name string) zeekapi.NodeDetail {
	t.Helper()
	i := slices.IndexFunc(figures.Nodes, func(n zeekapi.NodeDetail) bool { return n.Status.Node == name })
	if i < 0 {
		t.Fatalf("no node %s in %+v", name, figures)
	}
	return figures.Nodes[i]
}

func TestFigures(t *testing.T) {
	f, reports := sensing(t, connecting("i"))
	f.traffic = map[string]zeekapi.Traffic{"eth0": {Received: 100}}
	reports["m"], reports["w1"], reports["w2"] = counts(0, 0, "w1", "w2"), counts(1000, 10, "m"), counts(5, 0)
	f.step(SpaceMeasured{[]zeekapi.DirectorySpace{{Purpose: "state", Path: "/s", Size: 7}}})

	first := f.measured(0)
	asked := take[Dispatch](f)
	compare(t, "nodes", []string{"m", "w1", "w2"}, asked[0].Request.Nodes)
	compare(t, "action", []string{nodescript.FiguresAction}, asked[0].Request.Action)
	compare(t, "interfaces", []ReadInterfaces{{[]string{"eth0"}}}, take[ReadInterfaces](f))
	w1 := nodeOf(t, first, "w1")
	compare(t, "traffic", &zeekapi.Traffic{Measured: f.now, Received: 1000, Dropped: 10, Link: 1010, Bytes: 100_000}, w1.Traffic)
	compare(t, "connections", &zeekapi.Connections{Backend: "broker", Seen: 1, Expected: 1}, w1.Connections)
	compare(t, "connections", &zeekapi.Connections{Backend: "broker", Expected: 1, Missing: []string{"m"}}, nodeOf(t, first, "w2").Connections)
	compare(t, "packet source", "af_packet::eth0", nodeOf(t, first, "w2").Interface)
	compare(t, "directories", []zeekapi.DirectorySpace{{Purpose: "state", Path: "/s", Size: 7}}, first.Directories)

	// Measurements of the last second are used again, and older ones on request.
	f.pass(MinRatePeriod)
	f.measured(0)
	f.pass(20 * time.Second)
	f.measured(time.Minute)
	compare(t, "measurements", 0, len(take[Dispatch](f)))

	reports["w1"] = counts(3100, 31)
	f.traffic = map[string]zeekapi.Traffic{"eth0": {Received: 310}}
	second := f.measured(time.Second)
	w1 = nodeOf(t, second, "w1")
	compare(t, "rates", &zeekapi.TrafficRates{Period: 21 * time.Second, Received: 100, Dropped: 1, Link: 101, Bytes: 10_000}, w1.Traffic.Rates)
	compare(t, "interface", 10.0, second.Interfaces[0].Traffic.Rates.Received)
	names, spaces := f.machine.Figures()
	compare(t, "metrics", "eth0 state", names[0].Name+" "+spaces[0].Purpose)

	// Counters that begin again have no rates, and an interface that is gone no traffic.
	f.pass(2 * time.Second)
	reports["w1"], f.traffic = counts(1, 0), nil
	third := f.measured(0)
	compare(t, "rates", (*zeekapi.TrafficRates)(nil), nodeOf(t, third, "w1").Traffic.Rates)
	compare(t, "interfaces", 0, len(third.Interfaces))

	// A node that was started again has measured nothing yet.
	f.after(0, launch.Exited{Node: "w1", Err: errors.New("died")})
	f.pass(0)
	f.pass(2 * time.Second)
	if n := f.machine.Nodes()[1]; n.Traffic != nil || n.Connections != nil {
		t.Errorf("after its death, %+v", n)
	}
}

// Several requests wait for one measurement.
func TestFiguresAreMeasuredOnce(t *testing.T) {
	f, _ := sensing(t, connecting("i"))
	for i := range 3 {
		f.ask(zeekapi.AgentFiguresRequest{ReqID: id(fmt.Sprint(i))})
	}
	compare(t, "pending", 3, f.machine.Pending())
	f.pass(MeasureTimeout)
	compare(t, "responses", 3, len(published[zeekapi.AgentFiguresResponse](f)))
	compare(t, "measurements", 1, len(take[Dispatch](f)))
	compare(t, "silence", "it did not answer within 1.5s", f.machine.Nodes()[0].Silent)
}

func TestFiguresAreLimited(t *testing.T) {
	f, _ := sensing(t, connecting("i"))
	for range MaxRequests {
		f.ask(zeekapi.AgentFiguresRequest{ReqID: id("r")})
	}
	f.ask(zeekapi.AgentFiguresRequest{ReqID: id("more")})
	compare(t, "refusal", []zeekapi.AgentFiguresResponse{{ReqID: id("more"), Result: failed("more", "", errorBusy)}}, published[zeekapi.AgentFiguresResponse](f))
	f.ask(zeekapi.AgentScriptsRequest{ReqID: id("more")})
	compare(t, "refusal", []zeekapi.Result{failed("more", "", errorBusy)}, one[zeekapi.AgentScriptsResponse](f).Results)
}

// Nodes are measured from time to time, except nodes that cannot report figures.
func TestMeasureInterval(t *testing.T) {
	settings := connecting("i")
	settings.MeasureInterval = 10 * time.Second
	f, reports := sensing(t, settings)
	reports["m"], reports["w2"] = counts(1, 0), counts(1, 0)
	before := f.answers
	refused := 0
	f.answers = func(req zeekapi.NodeDispatchRequest) []zeekapi.NodeDispatchResponse {
		all := before(req)
		if slices.Contains(req.Nodes, "w1") {
			refused++
			r := report(req.ID, "w1", "")
			r.Result.Success, r.Result.Error = false, "dispatch zeekwire_figures unknown"
			all = append(all, r)
		}
		return all
	}
	f.pass(time.Minute)
	compare(t, "measurements", 6, len(take[Dispatch](f)))
	compare(t, "requests to a node that cannot report figures", 1, refused)
	compare(t, "silence", "it cannot report figures: dispatch zeekwire_figures unknown", f.machine.Nodes()[1].Silent)
	if r := f.machine.Nodes()[2].Traffic.Rates; r == nil || r.Period != 10*time.Second {
		t.Errorf("rates are %+v", r)
	}

	// Another start may have other scripts.
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("restart"), Nodes: []string{"w1"}})
	f.pass(time.Minute)
	compare(t, "requests after a restart", 2, refused)

	settings.MeasureInterval = -1
	if _, err := NewMachine(settings, State{}); err == nil || !strings.Contains(err.Error(), "MeasureInterval") {
		t.Errorf("negative interval: %v", err)
	}
}

// Nodes run scripts of users, and may report anything, at any time, also for others.
func TestHostileReports(t *testing.T) {
	text := func(s string) broker.Value { return broker.String(s) }
	for name, tt := range map[string]struct {
		data   broker.Value
		silent string
	}{
		"no data":          {broker.None(), "its report is a none, want string"},
		"number":           {broker.Count(7), "its report is a count, want string"},
		"no JSON":          {text("{"), "its report cannot be read"},
		"negative number":  {text(`{"received":-1}`), "its report cannot be read"},
		"too large number": {text(`{"received":1e30}`), "its report cannot be read"},
		"too large":        {text(`{"backend":"` + strings.Repeat("x", maxReport) + `"}`), fmt.Sprintf("its report has %d bytes, limit is %d", maxReport+14, maxReport)},
		"nothing":          {text(`null`), ""},
		"other names":      {text(`{"nodes":["m","m","\u001b[2J"],"sees":true,"backend":"\u001b[2J"}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := sensing(t, connecting("i"))
			f.answers = func(req zeekapi.NodeDispatchRequest) []zeekapi.NodeDispatchResponse {
				r := report(req.ID, "w1", "")
				r.Result.Data = tt.data
				return []zeekapi.NodeDispatchResponse{r, r, report(req.ID, "stranger", ""), report("later", "w2", "")}
			}
			n := nodeOf(t, f.measured(0), "w1")
			compare(t, "silence", tt.silent, n.Silent)
			if c := n.Connections; tt.silent == "" && (c == nil || c.Backend != "unknown" && c.Backend != "" || c.Expected > 2) {
				t.Errorf("connections are %+v", c)
			}
		})
	}
}

func TestConnections(t *testing.T) {
	member := func(name string, role zeekapi.ClusterRole) zeekapi.Member {
		return zeekapi.Member{Name: name, Role: role}
	}
	members := []zeekapi.Member{
		member("c", zeekapi.RoleNone), member("l1", zeekapi.RoleLogger), member("l2", zeekapi.RoleLogger), member("m", zeekapi.RoleManager),
		member("p", zeekapi.RoleProxy), member("w1", zeekapi.RoleWorker), member("w2", zeekapi.RoleWorker),
	}
	for _, tt := range []struct {
		node, backend string
		nodes         []string
		sees          bool
		want          *zeekapi.Connections
	}{
		{"w1", "broker", []string{"l1", "m", "p"}, true, &zeekapi.Connections{Backend: "broker", Seen: 3, Expected: 4, Missing: []string{"l2"}}},
		{"w1", "zeromq", []string{"w2"}, false, &zeekapi.Connections{Backend: "zeromq", Seen: 4, Expected: 5, Missing: []string{"w2"}}},
		{"l1", "broker", nil, false, &zeekapi.Connections{Backend: "broker", Seen: 4, Expected: 4}},
		{"m", "broker", nil, true, &zeekapi.Connections{Backend: "broker", Expected: 5, Missing: []string{"l1", "l2", "p", "w1", "w2"}}},
		{"c", "zeromq", nil, true, &zeekapi.Connections{Backend: "zeromq"}},
		{"stranger", "broker", nil, true, nil},
	} {
		compare(t, tt.node+" "+tt.backend, tt.want, connections(members, tt.node, nodescript.Figures{Backend: tt.backend, Nodes: tt.nodes, Sees: tt.sees}))
	}

	members = []zeekapi.Member{member("m", zeekapi.RoleManager)}
	for i := range zeekapi.MaxMissing + 5 {
		members = append(members, member(fmt.Sprintf("w%d", i), zeekapi.RoleWorker))
	}
	c := connections(members, "m", nodescript.Figures{Backend: "broker", Sees: true})
	compare(t, "limit", []uint64{zeekapi.MaxMissing, 5}, []uint64{uint64(len(c.Missing)), c.More})
}

func TestListScripts(t *testing.T) {
	f := running(t, "l", "w1", "w2")
	f.listTime = time.Second
	f.after(0, launch.Exited{Node: "w2", Err: errors.New("died")})
	f.pass(0)
	f.ask(zeekapi.AgentScriptsRequest{ReqID: id("r"), Nodes: []string{"w1", "w2", "other"}, All: true})
	compare(t, "output", []ListScripts{{ReqID: "r", Nodes: []string{"w1"}, All: true}}, take[ListScripts](f))
	compare(t, "pending", 1, f.machine.Pending())
	f.ask(zeekapi.AgentScriptsRequest{ReqID: id("r")}) // the same again
	compare(t, "pending", 1, f.machine.Pending())
	f.step(ScriptsListed{ReqID: "unknown"})
	f.pass(2 * time.Second)
	compare(t, "results", []zeekapi.Result{failed("r", "w2", "cluster node w2 not in running state"), ok("r", "w1")}, one[zeekapi.AgentScriptsResponse](f).Results)

	f.ask(zeekapi.AgentScriptsRequest{ReqID: id("none"), Nodes: []string{"other"}})
	compare(t, "no nodes", 0, len(one[zeekapi.AgentScriptsResponse](f).Results))
}

// lister is a launcher whose nodes have loaded so many bytes of names.
type lister struct {
	launch.Launcher
	bytes int
}

func (l lister) Scripts(_ context.Context, name string, _ bool) (zeekapi.NodeScripts, error) {
	if name == "starting" {
		return zeekapi.NodeScripts{}, launch.ErrNoScripts
	}
	return zeekapi.NodeScripts{Scripts: []zeekapi.LoadedScript{{Path: strings.Repeat("x", l.bytes)}}}, nil
}

func TestScriptsOfNodesShareLimit(t *testing.T) {
	p := performer{Config: Config{Settings: Settings{Name: "i"}, Launcher: lister{bytes: zeekapi.MaxScriptBytes/2 - 100}}}
	var errs []string
	for _, r := range p.scripts(t.Context(), ListScripts{ReqID: "r", Nodes: []string{"starting", "a", "b", "c"}}) {
		errs = append(errs, r.Error)
	}
	compare(t, "errors", []string{launch.ErrNoScripts.Error(), "", "", "the lists of the nodes of an instance exceed 4194304 bytes; name fewer nodes"}, errs)

	p.Launcher = struct{ launch.Launcher }{}
	compare(t, "launcher without scripts", []zeekapi.Result{failed("r", "a", "the launcher does not know the scripts of nodes")},
		p.scripts(t.Context(), ListScripts{ReqID: "r", Nodes: []string{"a"}}))
}

func TestListingsAreLimited(t *testing.T) {
	p := performer{Config: Config{Settings: Settings{Name: "i"}, Launcher: lister{}}, workers: eventloop.NewWorkers[Input](1)}
	defer p.workers.Wait()
	compare(t, "first", 0, len(p.listScripts(t.Context(), ListScripts{ReqID: "a", Nodes: []string{"n"}})))
	compare(t, "second", []Input{ScriptsListed{ReqID: "b", Results: []zeekapi.Result{failed("b", "", errorBusy)}}},
		p.listScripts(t.Context(), ListScripts{ReqID: "b", Nodes: []string{"n"}}))
	if in, _, err := p.workers.Next(t.Context()); err != nil || in.(ScriptsListed).ReqID != "a" {
		t.Errorf("result is %+v, %v", in, err)
	}
}
