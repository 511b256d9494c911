package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// details asks for the nodes in detail.
func details(f *fleet) map[string]zeekapi.NodeDetail {
	f.t.Helper()
	f.ask(zeekapi.AgentStatusRequest{ReqID: id("details")})
	var list []zeekapi.NodeDetail
	if err := record.Unmarshal(one[zeekapi.AgentStatusResponse](f).Result.Data, &list); err != nil {
		f.t.Fatal(err)
	}
	all := make(map[string]zeekapi.NodeDetail)
	for _, d := range list {
		all[d.Status.Node] = d
	}
	return all
}

// scripted returns a configuration with the nodes l, w and x, of which w loads a script.
// Another script does not change the other nodes.
func scripted(configID, script string) zeekapi.Configuration {
	c := configuration(configID, "l", "w", "x")
	c.Nodes[1].Scripts = []string{script}
	return c
}

// badScript makes checks of nodes with the script "bad" fail.
func badScript(n launch.Node) error {
	if len(n.Scripts) > 0 && n.Scripts[0] == "bad" {
		return errors.New("syntax error")
	}
	return nil
}

// wrongScript returns a fleet that runs the nodes l, w and x. The replacement of w has
// failed its check.
func wrongScript(t *testing.T) *fleet {
	t.Helper()
	f := running(t, "l", "w", "x")
	f.refuses = badScript
	f.ask(deploy("bad", scripted("c2", "bad")))
	compare(t, "results", []zeekapi.Result{ok("bad", "l"), troubled("bad", "w", stays), ok("bad", "x")}, one[zeekapi.AgentDeployResponse](f).Results)
	compare(t, "error event", zeekapi.AgentError{Instance: "i", Node: "w", Text: "node w " + stays}, one[zeekapi.AgentError](f))
	compare(t, "stopped", 0, len(stopped(f)))
	f.out = nil
	return f
}

const stays = "cannot be replaced: syntax error; the earlier configuration runs"

// states returns the states that a node has been reported to have.
func states(f *fleet, name string) []zeekapi.State {
	var all []zeekapi.State
	for _, c := range published[zeekapi.AgentChange](f) {
		if c.Node.Name == name {
			all = append(all, c.New)
		}
	}
	return all
}

// A node is replaced only if the replacement passes its check.
func TestWhatRunsGoesOnRunning(t *testing.T) {
	config := scripted("c2", "bad")
	config.Nodes[2].Scripts = []string{"good"}
	bad := deploy("r", config)
	forced := bad
	forced.Force = true
	for _, tt := range []struct {
		name             string
		request          zeekapi.Message
		stopped, started []string
		state            zeekapi.State
		want             []zeekapi.Result
	}{
		{"by Zeek's controller", bad, []string{"x"}, []string{"x"}, zeekapi.StateRunning,
			[]zeekapi.Result{ok("r", "l"), troubled("r", "w", stays), ok("r", "x")}},
		{"by ours", ours(bad), []string{"x"}, []string{"x"}, zeekapi.StateRunning,
			[]zeekapi.Result{ok("r", "l"), troubled("r", "w", stays), ok("r", "x")}},
		{"forced", forced, []string{"x", "w", "l"}, []string{"l", "x"}, zeekapi.StateFailed,
			[]zeekapi.Result{ok("r", "l"), troubled("r", "w", "syntax error"), ok("r", "x")}},
		{"forced by ours", ours(forced), []string{"x", "w", "l"}, []string{"l", "x"}, zeekapi.StateFailed,
			[]zeekapi.Result{ok("r", "l"), troubled("r", "w", "syntax error"), ok("r", "x")}},
		{"removed", deploy("r", configuration("c2", "l", "x")), []string{"x", "w", "l"}, []string{"l", "x"}, "",
			[]zeekapi.Result{ok("r", "l"), ok("r", "x")}},
		{"standby", zeekapi.AgentStandbyRequest{}, []string{"x", "w", "l"}, nil, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := running(t, "l", "w", "x")
			pid := f.statuses()["w"].PID
			f.refuses = badScript
			f.ask(tt.request)
			f.pass(time.Second)
			compare(t, "stopped", tt.stopped, stopped(f))
			compare(t, "started", tt.started, started(f))
			if tt.want != nil {
				compare(t, "results", tt.want, one[zeekapi.AgentDeployResponse](f).Results)
			}
			compare(t, "state", tt.state, f.statuses()["w"].State)
			if tt.state == zeekapi.StateRunning {
				compare(t, "process", pid, f.statuses()["w"].PID)
				compare(t, "reason", stays, details(f)["w"].LastError)
			}
		})
	}
}

// The results contain the outputs of the check.
func TestReplacementThatFailsHasOutputs(t *testing.T) {
	f := running(t, "l", "w", "x")
	f.refuses, f.prints = badScript, zeekapi.NodeOutputs{Stderr: "error in ./bad, line 1"}
	f.ask(deploy("r", scripted("c2", "bad")))
	want := failed("r", "w", stays)
	want.Data = mustMarshal(f.prints)
	compare(t, "result", want, one[zeekapi.AgentDeployResponse](f).Results[1])
}

// A node has the state of its process, also while its replacement is being checked.
func TestStateWhileReplacementIsChecked(t *testing.T) {
	f := running(t, "l", "w", "x")
	f.checkTime = time.Second
	f.ask(deploy("r", scripted("c2", "good")))
	compare(t, "state", zeekapi.StateRunning, f.statuses()["w"].State)
	f.answers = func(req zeekapi.NodeDispatchRequest) []zeekapi.NodeDispatchResponse {
		return []zeekapi.NodeDispatchResponse{{ReqID: req.ReqID, Result: zeekapi.Result{Node: "w", Error: "no"}}}
	}
	f.ask(zeekapi.AgentDispatchRequest{ReqID: id("d"), Action: []string{"x"}, Nodes: []string{"w"}})
	f.pass(0)
	compare(t, "dispatched", []zeekapi.Result{failed("d", "w", "no")}, one[zeekapi.AgentDispatchResponse](f).Results)
	f.pass(2 * time.Second)
	compare(t, "states", []zeekapi.State{zeekapi.StatePending, zeekapi.StateRunning}, states(f, "w"))
}

func TestReplacementThatFails(t *testing.T) {
	bad := deploy("r", scripted("c2", "bad"))
	begin := func(t *testing.T) *fleet {
		f := running(t, "l", "w", "x")
		f.refuses = badScript
		return f
	}
	t.Run("of a node that is starting", func(t *testing.T) {
		f := begin(t)
		f.startUp = 5 * time.Second
		f.ask(zeekapi.AgentRestartRequest{Nodes: []string{"w"}})
		f.pass(time.Second)
		f.out = nil
		f.ask(bad)
		compare(t, "state", zeekapi.StatePending, f.statuses()["w"].State)
		f.pass(f.startUp)
		compare(t, "stopped", 0, len(stopped(f)))
		compare(t, "state in the end", zeekapi.StateRunning, f.statuses()["w"].State)
		compare(t, "reason", stays, details(f)["w"].LastError)
	})
	t.Run("of a node that is stopping", func(t *testing.T) {
		f := begin(t)
		f.stopTime = time.Second
		f.ask(zeekapi.AgentRestartRequest{Nodes: []string{"w"}})
		f.out = nil
		f.ask(bad)
		f.pass(f.stopTime)
		compare(t, "result", troubled("r", "w", "syntax error"), one[zeekapi.AgentDeployResponse](f).Results[1])
		compare(t, "state", zeekapi.StateFailed, f.statuses()["w"].State)
		compare(t, "runs", 2, len(f.running))
	})
	t.Run("of a node that crashed", func(t *testing.T) {
		f := begin(t)
		f.after(0, launch.Exited{Node: "w"})
		f.pass(0)
		f.ask(bad)
		f.pass(time.Minute)
		compare(t, "result", troubled("r", "w", "syntax error"), one[zeekapi.AgentDeployResponse](f).Results[1])
		compare(t, "state", zeekapi.StateFailed, f.statuses()["w"].State)
	})
	t.Run("of a node that has failed", func(t *testing.T) {
		f := begin(t)
		for range MaxDeaths {
			f.after(0, launch.Exited{Node: "w"})
			f.pass(20 * time.Second)
		}
		f.ask(bad)
		compare(t, "result", troubled("r", "w", "syntax error"), one[zeekapi.AgentDeployResponse](f).Results[1])
	})
	t.Run("of a node that an earlier agent started", func(t *testing.T) {
		state := past(configuration("c1", "l", "w", "x"), map[string]int64{"l": 11, "w": 12, "x": 13})
		state.Assignment = assigned(scripted("c2", "bad"))
		f := resume(t, state)
		f.refuses = badScript
		f.step(Tick{})
		f.step(Received{Message: zeekapi.NodeHello{Node: "w"}})
		f.pass(time.Hour)
		compare(t, "stopped", 0, len(stopped(f)))
		w := details(f)["w"]
		compare(t, "state", zeekapi.StateRunning, w.Status.State)
		compare(t, "process", int64(12), w.Status.PID)
		compare(t, "reason", stays, w.LastError)
	})
	t.Run("and the agent with it", func(t *testing.T) {
		f := wrongScript(t)
		pid := f.statuses()["w"].PID
		f.kill()
		f.pass(time.Hour)
		compare(t, "stopped", 0, len(stopped(f)))
		compare(t, "process", pid, f.statuses()["w"].PID)
		f.refuses = nil
		f.pass(MaxRecheck)
		compare(t, "stopped when the problem is solved", []string{"w"}, stopped(f))
	})
}

// A failed replacement waits until one of these happens.
func TestEndOfFailedReplacement(t *testing.T) {
	t.Run("passes later", func(t *testing.T) {
		f := wrongScript(t)
		f.pass(time.Hour)
		take[Check](f)
		f.pass(10 * MaxRecheck)
		if n := len(take[Check](f)); n < 9 || n > 11 {
			t.Errorf("%d checks in ten intervals", n)
		}
		compare(t, "repeated error events", 0, len(published[zeekapi.AgentError](f)))
		f.refuses = nil
		f.pass(2 * MaxRecheck)
		compare(t, "stopped", []string{"w"}, stopped(f))
		compare(t, "started", []string{"w"}, started(f))
		compare(t, "states", []zeekapi.State{zeekapi.StatePending, zeekapi.StateRunning}, states(f, "w"))
		compare(t, "reason", "", details(f)["w"].LastError)
	})
	t.Run("is no longer wanted", func(t *testing.T) {
		f := wrongScript(t)
		f.checkTime = time.Second
		f.pass(MinRecheck) // it is being checked again
		f.ask(deploy("r", configuration("c3", "l", "w", "x")))
		compare(t, "results", []zeekapi.Result{ok("r", "l"), ok("r", "w"), ok("r", "x")}, one[zeekapi.AgentDeployResponse](f).Results)
		take[Check](f)
		f.pass(time.Hour)
		compare(t, "stopped", 0, len(stopped(f)))
		compare(t, "checks", 0, len(take[Check](f)))
		compare(t, "reason", "", details(f)["w"].LastError)
	})
	t.Run("is replaced by another that fails", func(t *testing.T) {
		f := wrongScript(t)
		f.refuses = func(n launch.Node) error { return errors.New("no interface") }
		config := scripted("c3", "worse")
		f.ask(deploy("r", config))
		const reason = "cannot be replaced: no interface; the earlier configuration runs"
		compare(t, "result", troubled("r", "w", reason), one[zeekapi.AgentDeployResponse](f).Results[1])
		compare(t, "error event", "node w "+reason, one[zeekapi.AgentError](f).Text)
		compare(t, "stopped", 0, len(stopped(f)))
	})
	t.Run("is deployed again", func(t *testing.T) {
		f := wrongScript(t)
		f.ask(deploy("r", scripted("c2", "bad")))
		compare(t, "result", troubled("r", "w", stays), one[zeekapi.AgentDeployResponse](f).Results[1])
		f.refuses = nil
		f.ask(ours(deploy("again", scripted("c2", "bad"))))
		f.pass(time.Second)
		compare(t, "results", []zeekapi.Result{ok("again", "l"), ok("again", "w"), ok("again", "x")}, one[zeekapi.AgentDeployResponse](f).Results)
	})
	t.Run("is forced", func(t *testing.T) {
		f := wrongScript(t)
		request := deploy("r", scripted("c2", "bad"))
		request.Force = true
		f.ask(request)
		compare(t, "stopped", []string{"x", "w", "l"}, stopped(f))
	})
	t.Run("is restarted", func(t *testing.T) {
		f := wrongScript(t)
		f.ask(zeekapi.AgentRestartRequest{ReqID: id("r"), Nodes: []string{"w"}})
		compare(t, "result", "could not restart node w: syntax error", one[zeekapi.AgentRestartResponse](f).Results[0].Error)
		compare(t, "reason", stays, details(f)["w"].LastError)
		f.refuses = nil
		f.ask(zeekapi.AgentRestartRequest{ReqID: id("again"), Nodes: []string{"w"}})
		f.pass(time.Second)
		compare(t, "results", []zeekapi.Result{ok("again", "w")}, one[zeekapi.AgentRestartResponse](f).Results)
		compare(t, "script", "bad", f.running["w"].Scripts[0])
	})
	t.Run("but what runs keeps dying and is revived", func(t *testing.T) {
		f := wrongScript(t)
		for death := range int64(MaxDeaths) {
			compare(t, "stopped", 0, len(stopped(f)))
			f.step(Launched{launch.Revived{Node: "w", PID: 100 + death}})
			f.step(Received{Message: zeekapi.NodeHello{Node: "w"}})
		}
		compare(t, "stopped in the end", []string{"w"}, stopped(f))
	})
}

// A node whose replacement has failed runs with its earlier configuration. When it dies, it
// returns with that.
func TestNodeReturnsWithEarlierConfiguration(t *testing.T) {
	killed := launch.Exited{Node: "w", Err: errors.New("signal: killed")}
	script := func(f *fleet) string {
		if scripts := f.running["w"].Scripts; len(scripts) > 0 {
			return scripts[0]
		}
		return ""
	}
	t.Run("after its death", func(t *testing.T) {
		f := wrongScript(t)
		f.after(0, killed)
		f.pass(time.Minute)
		compare(t, "started", []string{"w"}, started(f))
		compare(t, "script", "", script(f))
		compare(t, "states", []zeekapi.State{zeekapi.StateCrashed, zeekapi.StatePending, zeekapi.StateRunning}, states(f, "w"))
		compare(t, "reason", stays, details(f)["w"].LastError)
		f.refuses = nil
		f.pass(2 * MaxRecheck)
		compare(t, "started in the end", []string{"w"}, started(f))
		compare(t, "script in the end", "bad", script(f))
	})
	t.Run("after the problem is solved", func(t *testing.T) {
		f := wrongScript(t)
		f.refuses = nil
		f.after(0, killed)
		f.pass(time.Minute)
		compare(t, "started", []string{"w"}, started(f))
		compare(t, "script", "bad", script(f))
	})
	t.Run("after its death and that of the agent", func(t *testing.T) {
		f := wrongScript(t)
		delete(f.running, "w") // it dies while there is no agent
		f.kill()
		f.pass(time.Minute)
		compare(t, "started", []string{"w"}, started(f))
		compare(t, "script", "", script(f))
		compare(t, "reason", stays, details(f)["w"].LastError)
	})
	t.Run("until it has died too often", func(t *testing.T) {
		f := wrongScript(t)
		f.dies = func(n launch.Node) *launch.Exited {
			if n.Name == "w" {
				return &killed
			}
			return nil
		}
		f.after(0, killed)
		f.pass(time.Hour)
		compare(t, "starts", MaxDeaths-1, len(started(f)))
		compare(t, "state", zeekapi.StateFailed, f.statuses()["w"].State)
		f.dies, f.refuses = nil, nil
		f.pass(2 * MaxRecheck)
		compare(t, "started when the replacement passes", []string{"w"}, started(f))
		compare(t, "script", "bad", script(f))
	})
	t.Run("unless it is no longer assigned", func(t *testing.T) {
		f := wrongScript(t)
		f.after(0, killed)
		f.pass(0)
		f.ask(deploy("r", configuration("c3", "l", "x")))
		f.pass(time.Hour)
		compare(t, "runs", false, f.running["w"].Name == "w")
	})
	t.Run("unless another deployment is forced", func(t *testing.T) {
		f := wrongScript(t)
		f.after(0, killed)
		f.pass(0)
		request := deploy("r", scripted("c3", "bad"))
		request.Force = true
		f.ask(request)
		f.pass(time.Minute)
		compare(t, "state", zeekapi.StateFailed, f.statuses()["w"].State)
	})
	t.Run("also if another replacement fails", func(t *testing.T) {
		f := wrongScript(t)
		f.after(0, killed)
		f.pass(0)
		f.refuses = func(n launch.Node) error {
			if len(n.Scripts) > 0 {
				return errors.New("no interface")
			}
			return nil
		}
		f.ask(deploy("r", scripted("c3", "worse")))
		f.pass(time.Minute)
		compare(t, "script", "", script(f))
		compare(t, "result", troubled("r", "w", "cannot be replaced: no interface; the earlier configuration runs"), one[zeekapi.AgentDeployResponse](f).Results[1])
	})
	t.Run("its site is kept", func(t *testing.T) {
		f := wrongScript(t)
		f.machine.nodes.all["w"].kept.Site = "earlier"
		f.after(0, killed)
		f.pass(0)
		compare(t, "sites", []string{"earlier"}, f.machine.sites.current())
	})
}

// A deployment with Edited restarts the nodes with changed scripts.
func TestDeployWithChangedScripts(t *testing.T) {
	request := func(reqID string, edited bool) zeekapi.AgentDeployNodesRequest {
		r := ours(deploy(reqID, configuration("c1", "l", "w", "x")))
		r.Edited = edited
		return r
	}
	begin := func(t *testing.T) *fleet {
		f := running(t, "l", "w", "x")
		f.edited = map[string][]string{"w": {"a.zeek", "b.zeek"}, "stranger": {"x"}}
		f.step(Launched{f.report()})
		compare(t, "changed scripts", []string{"a.zeek", "b.zeek"}, details(f)["w"].Edited)
		compare(t, "others", []string(nil), details(f)["x"].Edited)
		return f
	}
	const stays = "cannot be replaced: no; the earlier scripts run"
	t.Run("not covered", func(t *testing.T) {
		f := begin(t)
		f.ask(request("r", false))
		compare(t, "results", []zeekapi.Result{ok("r", "")}, one[zeekapi.AgentDeployResponse](f).Results)
		compare(t, "stopped", 0, len(stopped(f)))
	})
	t.Run("covered", func(t *testing.T) {
		f := begin(t)
		f.ask(request("r", true))
		f.pass(time.Second)
		compare(t, "changed scripts of the new node", []string(nil), details(f)["w"].Edited)
		compare(t, "stopped", []string{"w"}, stopped(f))
		compare(t, "started", []string{"w"}, started(f))
		compare(t, "results", []zeekapi.Result{ok("r", "l"), ok("r", "w"), ok("r", "x")}, one[zeekapi.AgentDeployResponse](f).Results)
		f.ask(request("again", true))
		compare(t, "again", []zeekapi.Result{ok("again", "")}, one[zeekapi.AgentDeployResponse](f).Results)
	})
	t.Run("that do not load", func(t *testing.T) {
		f := begin(t)
		f.refuses = refuse("w")
		f.ask(request("r", true))
		compare(t, "result", troubled("r", "w", stays), one[zeekapi.AgentDeployResponse](f).Results[1])
		f.ask(request("again", true))
		compare(t, "again", troubled("again", "w", stays), one[zeekapi.AgentDeployResponse](f).Results[1])
		compare(t, "stopped", 0, len(stopped(f)))
		f.refuses = nil
		f.pass(MaxRecheck)
		compare(t, "stopped when they load", []string{"w"}, stopped(f))
	})
	t.Run("that do not load and are not covered any more", func(t *testing.T) {
		f := begin(t)
		f.refuses = refuse("w")
		f.ask(request("r", true))
		published[zeekapi.AgentDeployResponse](f)
		f.ask(request("again", false))
		compare(t, "results", []zeekapi.Result{ok("again", "l"), ok("again", "w"), ok("again", "x")}, one[zeekapi.AgentDeployResponse](f).Results)
		f.refuses = nil
		f.pass(time.Hour)
		compare(t, "stopped", 0, len(stopped(f)))
		compare(t, "changed scripts", []string{"a.zeek", "b.zeek"}, details(f)["w"].Edited)
	})
	t.Run("at the end of the agent", func(t *testing.T) {
		f := begin(t)
		f.step(Shutdown{})
		f.ask(request("r", true))
		compare(t, "results", []zeekapi.Result{failed("r", "", errorEnding)}, one[zeekapi.AgentDeployResponse](f).Results)
	})
}

// A report about changed scripts applies only to the process that has loaded them.
func TestChangedScriptsOfEarlierProcesses(t *testing.T) {
	changed := map[string][]string{"w": {"a.zeek"}}
	for _, tt := range []struct {
		name   string
		change func(*fleet)
	}{
		{"another report", func(f *fleet) { f.step(Launched{launch.Edited{}}) }},
		{"revived", func(f *fleet) { f.step(Launched{launch.Revived{Node: "w", PID: 7}}) }},
		{"died", func(f *fleet) { f.after(0, launch.Exited{Node: "w"}); f.pass(0) }},
		{"restarted", func(f *fleet) {
			f.ask(zeekapi.AgentRestartRequest{Nodes: []string{"w"}})
			f.after(f.stopTime, launch.Edited{Nodes: changed}) // after the end, and before the start is reported
			f.pass(f.stopTime)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := running(t, "w")
			f.step(Launched{launch.Edited{Nodes: changed}})
			tt.change(f)
			compare(t, "changed scripts", []string(nil), details(f)["w"].Edited)
		})
	}
}
