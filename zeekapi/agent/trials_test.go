package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// check returns a request to check a configuration.
func check(reqID string, c zeekapi.Configuration, force bool) zeekapi.AgentCheckRequest {
	a := assigned(c)
	return zeekapi.AgentCheckRequest{ReqID: id(reqID), Config: a.ID, Nodes: a.Nodes, Layout: a.Layout.Pack(), Force: force, Site: a.Site}
}

func checkRestart(reqID string, nodes ...string) zeekapi.AgentCheckRestartRequest {
	return zeekapi.AgentCheckRestartRequest{ReqID: id(reqID), Nodes: nodes}
}

// checks returns the names of the nodes of each Check since the last call, either of
// trials or of other checks.
func checks(f *fleet, trial bool) [][]string {
	var all [][]string
	f.out = slices.DeleteFunc(f.out, func(o Output) bool {
		c, ok := o.(Check)
		if !ok || c.Trial != trial {
			return false
		}
		var names []string
		for _, n := range c.Nodes {
			names = append(names, n.Name)
		}
		all = append(all, names)
		return true
	})
	return all
}

// checkResults returns the results of the only response to the request for a check.
func checkResults(f *fleet) []zeekapi.Result {
	f.t.Helper()
	if restarts := published[zeekapi.AgentCheckRestartResponse](f); len(restarts) == 1 {
		return restarts[0].Results
	}
	return one[zeekapi.AgentCheckResponse](f).Results
}

func refuseWith(reasons map[string]string) func(launch.Node) error {
	return func(n launch.Node) error {
		if reason := reasons[n.Name]; reason != "" {
			return errors.New(reason)
		}
		return nil
	}
}

// A request for a check concerns the nodes that a deployment would start, and changes
// nothing.
func TestCheckRequest(t *testing.T) {
	same := configuration("c1", "l", "m", "w1", "w2", "other/v")
	with := func(change func(*zeekapi.Configuration)) zeekapi.Configuration {
		c := configuration("c2", "l", "m", "w1", "w2", "other/v")
		change(&c)
		return c
	}
	scripts := with(func(c *zeekapi.Configuration) { c.Nodes[2].Scripts = []string{"x"} })
	invalid := check("r", same, false)
	invalid.Nodes[0].Role = zeekapi.RoleWorker
	garbage := check("r", same, false)
	garbage.Layout = "garbage"
	for _, tt := range []struct {
		name    string
		request zeekapi.Message
		edited  []string // nodes whose scripts have changed
		broken  map[string]string
		checked [][]string
		want    []zeekapi.Result
	}{
		{"nothing new", check("r", same, false), nil, map[string]string{"w1": "no"}, nil, []zeekapi.Result{ok("r", "")}},
		{"forced", check("r", same, true), nil, nil, [][]string{{"l", "m", "w1", "w2"}}, []zeekapi.Result{ok("r", "")}},
		{"edited", check("r", same, false), []string{"m", "w2"}, nil, [][]string{{"m", "w2"}}, []zeekapi.Result{ok("r", "")}},
		{"another script", check("r", scripts, false), nil, nil, [][]string{{"w1"}}, []zeekapi.Result{ok("r", "")}},
		{"a script that does not load", check("r", scripts, false), nil, map[string]string{"w1": "syntax error"}, [][]string{{"w1"}},
			[]zeekapi.Result{troubled("r", "w1", "syntax error")}},
		{"another site", check("r", with(func(c *zeekapi.Configuration) { c.Site = "5173" }), false), nil, nil,
			[][]string{{"l", "m", "w1", "w2"}}, []zeekapi.Result{ok("r", "")}},
		{"another cluster", check("r", configuration("c2", "l", "m", "w1", "other/v"), false), nil,
			map[string]string{"w1": "no interface", "l": "port in use", "w2": "removed"}, [][]string{{"l", "m", "w1"}},
			[]zeekapi.Result{troubled("r", "l", "port in use"), troubled("r", "w1", "no interface")}},
		{"no nodes", check("r", configuration("c2"), false), nil, nil, nil, []zeekapi.Result{ok("r", "")}},
		{"an invalid node", invalid, nil, nil, nil, []zeekapi.Result{failed("r", "", "node l differs from its entry in the layout of its cluster")}},
		{"an invalid layout", garbage, nil, nil, nil, []zeekapi.Result{failed("r", "", "zeekapi: layout: s2: corrupt input")}},

		{"restart of all", checkRestart("r"), nil, map[string]string{"m": "no"}, [][]string{{"l", "m", "w1", "w2"}}, []zeekapi.Result{troubled("r", "m", "no")}},
		{"restart of some", checkRestart("r", "w2", "w1", "v"), nil, map[string]string{"m": "no"}, [][]string{{"w1", "w2"}}, []zeekapi.Result{ok("r", "")}},
		{"restart of none", checkRestart("r", "v"), nil, nil, nil, []zeekapi.Result{ok("r", "")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := running(t, "l", "m", "w1", "w2", "other/v")
			f.trialTime = time.Minute
			f.refuses = refuseWith(tt.broken)
			f.edited = make(map[string][]string)
			for _, name := range tt.edited {
				f.edited[name] = []string{"local.zeek"}
			}
			before := f.statuses()
			f.ask(tt.request)
			compare(t, "checked", tt.checked, checks(f, true))
			if tt.checked != nil {
				compare(t, "pending", 1, f.machine.Pending())
				f.pass(f.trialTime)
			}
			compare(t, "results", tt.want, checkResults(f))
			compare(t, "pending", 0, f.machine.Pending())
			f.pass(time.Hour)
			take[Scan](f)
			compare(t, "other outputs", []Output(nil), f.out)
			compare(t, "statuses", before, f.statuses())
		})
	}
}

// A deployment would start nodes that do not run.
func TestCheckRequestOfNodesThatDoNotRun(t *testing.T) {
	for name, prepare := range map[string]func(f *fleet){
		"never ran":   func(f *fleet) { f.ask(zeekapi.AgentStandbyRequest{}); f.pass(time.Second) },
		"is stopping": func(f *fleet) { f.stopTime = time.Hour; f.ask(zeekapi.AgentRestartRequest{Nodes: []string{"w"}}) },
		"crashed":     func(f *fleet) { f.after(0, launch.Exited{Node: "w"}); f.pass(0) },
		"cannot run": func(f *fleet) {
			f.ask(zeekapi.AgentStandbyRequest{})
			f.pass(time.Second)
			f.refuses = refuse("w")
			f.ask(deploy("", configuration("c2", "w")))
			f.refuses = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := running(t, "w")
			prepare(f)
			checks(f, true)
			f.trialTime = time.Millisecond
			f.ask(check("r", configuration("c1", "w"), false))
			compare(t, "checked", [][]string{{"w"}}, checks(f, true))
		})
	}
}

func TestCheckRequestShowsOutputs(t *testing.T) {
	f := running(t, "w1", "w2")
	f.refuses = refuse("w1", "w2")
	f.prints = zeekapi.NodeOutputs{Stdout: "out", Stderr: strings.Repeat("x", MaxOutputs) + "the end"}
	f.ask(checkRestart("r"))
	for _, r := range checkResults(f) {
		text := fmt.Sprint(r.Data)
		if r.Error != "no" || len(text) > MaxOutputs/4+100 || !strings.Contains(text, `"out"`) || !strings.Contains(text, "the end") {
			t.Errorf("%s: %q, %d bytes", r.Node, r.Error, len(text))
		}
	}
}

// The nodes with changed scripts are checked, too, so the request waits for the report.
func TestCheckRequestWaitsForScan(t *testing.T) {
	f := running(t, "w1", "w2")
	f.scanTime = time.Second
	f.ask(check("r", configuration("c1", "w1", "w2"), false))
	compare(t, "scans", 1, len(take[Scan](f)))
	f.edited = map[string][]string{"w2": {"local.zeek"}}
	compare(t, "checked before", 0, len(checks(f, true)))
	f.after(time.Second/2, launch.Edited{Nodes: map[string][]string{"w1": {"local.zeek"}}})
	f.pass(time.Second / 2) // any report after the request will do
	compare(t, "checked", [][]string{{"w1"}}, checks(f, true))
	compare(t, "results", []zeekapi.Result{ok("r", "")}, checkResults(f))

	// The nodes that run when the report arrives count.
	f.ask(check("r", configuration("c2", "w1", "w3"), false))
	f.ask(deploy("d", configuration("c2", "w1", "w3")))
	f.pass(time.Minute)
	compare(t, "checked after the deployment", 0, len(checks(f, true)))
	compare(t, "results", []zeekapi.Result{ok("r", "")}, checkResults(f))
}

func TestCheckRequestsHaveLimits(t *testing.T) {
	f := running(t, "w")
	f.scanTime = -1
	refused := func(reason string, requests ...zeekapi.Message) {
		t.Helper()
		for _, m := range requests {
			f.ask(m)
			compare(t, fmt.Sprintf("%T", m), []zeekapi.Result{failed("more", "", reason)}, checkResults(f))
		}
	}
	for i := range MaxRequests / 2 {
		f.ask(check(fmt.Sprint("check", i), configuration("c1", "w"), false))
	}
	f.trialTime = time.Hour
	for i := range MaxRequests / 2 {
		f.ask(checkRestart(fmt.Sprint("restart", i)))
	}
	refused(errorBusy, check("more", configuration("c2", "w"), false), checkRestart("more"))
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("more")})
	compare(t, "restart", []zeekapi.Result{failed("more", "", errorBusy)}, one[zeekapi.AgentRestartResponse](f).Results)
	compare(t, "pending", MaxRequests, f.machine.Pending())

	f.step(Shutdown{})
	compare(t, "phase", Ending, f.machine.Phase())
	refused(errorEnding, check("more", configuration("c2", "w"), false), checkRestart("more"))
	f.pass(TrialTimeout - time.Nanosecond)
	compare(t, "pending", MaxRequests, f.machine.Pending())
	f.pass(time.Nanosecond)
	compare(t, "phase", Ended, f.machine.Phase())
	for _, m := range published[zeekapi.AgentCheckRestartResponse](f) {
		compare(t, "results", []zeekapi.Result{failed(m.ID, "", zeekapi.ErrorTimeout)}, m.Results)
	}
}

// A response after the timeout has the results so far.
func TestCheckRequestTimesOut(t *testing.T) {
	f := running(t, "w1", "w2")
	f.trialTime = time.Hour
	f.ask(checkRestart("r"))
	f.step(Launched{launch.Checked{Node: f.running["w2"], Trial: true, Err: errors.New("no")}})
	f.pass(TrialTimeout)
	compare(t, "results", []zeekapi.Result{failed("r", "", zeekapi.ErrorTimeout), troubled("r", "w2", "no")}, checkResults(f))
	f.pass(time.Hour)
	compare(t, "later results", 0, len(published[zeekapi.AgentCheckRestartResponse](f)))
}

// Requested checks and checks before starts may concern the same nodes at the same time.
func TestCheckRequestsAndDeployments(t *testing.T) {
	config := configuration("c2", "w1", "w2")
	config.Nodes[0].Scripts = []string{"x"}
	begin := func(t *testing.T) *fleet {
		f := running(t, "w1", "w2")
		f.checkTime, f.trialTime = time.Hour, time.Hour
		f.ask(check("first", config, false))
		f.ask(check("second", config, false))
		f.ask(deploy("d", config))
		return f
	}
	result := func(f *fleet, trial bool, err error) launch.Checked {
		for _, n := range assigned(config).nodes() {
			if n.Name == "w1" {
				return launch.Checked{Node: n, Trial: trial, Err: err}
			}
		}
		panic("no node w1")
	}
	t.Run("a trial that fails", func(t *testing.T) {
		f := begin(t)
		f.step(Launched{result(f, true, errors.New("no"))})
		compare(t, "the first", zeekapi.AgentCheckResponse{ReqID: id("first"), Results: []zeekapi.Result{troubled("first", "w1", "no")}}, one[zeekapi.AgentCheckResponse](f))
		f.step(Launched{result(f, true, nil)})
		compare(t, "the second", zeekapi.AgentCheckResponse{ReqID: id("second"), Results: []zeekapi.Result{ok("second", "")}}, one[zeekapi.AgentCheckResponse](f))
		compare(t, "stopped", 0, len(stopped(f)))
		f.step(Launched{result(f, false, nil)})
		compare(t, "stopped", []string{"w1"}, stopped(f))
	})
	t.Run("a start that waits for no trial", func(t *testing.T) {
		f := begin(t)
		f.step(Launched{result(f, false, nil)})
		f.pass(time.Second)
		compare(t, "deployed", []zeekapi.Result{ok("d", "w1"), ok("d", "w2")}, one[zeekapi.AgentDeployResponse](f).Results)
		compare(t, "pending", 2, f.machine.Pending())
	})
	t.Run("a check before a start that fails", func(t *testing.T) {
		f := begin(t)
		f.step(Launched{result(f, false, errors.New("no"))})
		compare(t, "answers to checks", 0, len(published[zeekapi.AgentCheckResponse](f)))
		compare(t, "deployed", 1, len(published[zeekapi.AgentDeployResponse](f)))
	})
}

// If nodes fail because of their ports, the response lists the ports in use.
func TestCheckRequestListsPortsInUse(t *testing.T) {
	f := running(t, "w1", "w2")
	f.refuses = refuse("w1", "w2")
	for port := range uint16(zeekapi.MaxMachinePorts + 5) {
		f.portsInUse = append(f.portsInUse, port+1)
	}
	f.ask(checkRestart("r"))
	results := checkResults(f)
	last := results[len(results)-1]
	var ports zeekapi.MachinePorts
	if err := record.Unmarshal(last.Data, &ports); err != nil {
		t.Fatal(err)
	}
	if len(results) != 3 || !last.Success || last.Node != "" || !slices.Equal(ports.InUse, f.portsInUse[:zeekapi.MaxMachinePorts]) {
		t.Errorf("%d results, the last with %d ports", len(results), len(ports.InUse))
	}
}
