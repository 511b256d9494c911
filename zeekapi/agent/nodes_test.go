package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// A node that sends no hello delays the nodes of the next stage by at most
// StagePatience.
func TestStageWaitIsLimited(t *testing.T) {
	config := configuration("c", "l", "m", "w")
	f := newFleet(t, connecting("i"), assigned(config))
	f.silent = func(n launch.Node) bool { return n.Name == "l" }
	f.step(Tick{})
	f.pass(StagePatience - time.Millisecond)
	compare(t, "started", []string{"l"}, started(f))
	f.pass(time.Millisecond)
	compare(t, "started after StagePatience", []string{"m"}, started(f))
	f.pass(f.startUp)
	compare(t, "started when the next stage is up", []string{"w"}, started(f))
}

// During a request, stages wait less, so that the response is in time.
func TestStageWaitIsShorterDuringRequest(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.startUp = 3 * time.Second
	f.silent = func(n launch.Node) bool { return n.Name == "p" }
	f.ask(deploy("r", configuration("c", "l", "m", "p", "w")))
	f.pass(RequestTimeout/2 - time.Millisecond)
	compare(t, "started in stages", []string{"l", "m"}, started(f))
	f.pass(time.Millisecond)
	compare(t, "started together", []string{"p", "w"}, started(f))
	f.pass(RequestTimeout)
	compare(t, "results", []zeekapi.Result{
		failed("r", "", "request timed out"),
		ok("r", "l"), ok("r", "m"), troubled("r", "p", "still starting"), ok("r", "w"),
	}, one[zeekapi.AgentDeployResponse](f).Results)
}

// Nodes that have run for a long time are restarted in stages.
func TestLongRunningNodesRestartInStages(t *testing.T) {
	for name, request := range map[string]zeekapi.Message{
		"restart":  zeekapi.AgentRestartRequest{ReqID: id("r")},
		"deployed": deploy("r", configuration("c2", "l", "m", "w", "new")),
	} {
		t.Run(name, func(t *testing.T) {
			f := running(t, "l", "m", "w")
			f.pass(2 * StagePatience)
			f.ask(request)
			f.pass(f.startUp - time.Nanosecond)
			compare(t, "started first", []string{"l"}, started(f))
		})
	}
}

// A request that ran out of time does not shorten the stages of the next
// request.
func TestStagesAfterRequestTimeout(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.silent = func(n launch.Node) bool { return n.Name == "m" }
	f.ask(deploy("first", configuration("c1", "m", "w")))
	f.pass(RequestTimeout - time.Second)
	compare(t, "started for the first", []string{"m", "w"}, started(f))
	f.silent = nil
	f.ask(deploy("second", configuration("c2", "l", "m", "w")))
	f.pass(f.startUp - time.Nanosecond)
	compare(t, "started for the second", []string{"l"}, started(f))
}

// A node that dies does not delay the next stage.
func TestStagesDoNotWaitForDeadNodes(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	outputs := zeekapi.NodeOutputs{Stderr: "fatal error"}
	f.dies = func(n launch.Node) *launch.Exited {
		if n.Name != "l" {
			return nil
		}
		return &launch.Exited{Node: "l", Err: errors.New("exit status 1"), Outputs: outputs}
	}
	f.ask(deploy("r", configuration("c", "l", "w")))
	f.pass(f.startUp)
	compare(t, "started after the first death", []string{"l", "w"}, started(f))
	f.pass(MinBackOff + f.startUp)
	dead := failed("r", "l", "exit status 1")
	dead.Data = mustMarshal(outputs)
	compare(t, "results after the second", []zeekapi.Result{dead, ok("r", "w")}, one[zeekapi.AgentDeployResponse](f).Results)
}

func TestFailedCheckPreventsStart(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.checkTime = time.Second
	refused := map[string]error{"m": errors.New("port 2201/tcp is in use"), "w1": errors.New("no such interface")}
	f.refuses = func(n launch.Node) error { return refused[n.Name] }
	f.ask(deploy("r", configuration("c2", "l", "m", "w1", "w3")))
	f.pass(f.checkTime - time.Millisecond)
	compare(t, "started while checking", 0, len(started(f)))
	f.pass(2 * time.Second)
	compare(t, "started", []string{"l", "w3"}, started(f))
	compare(t, "results", []zeekapi.Result{
		ok("r", "l"), troubled("r", "m", "port 2201/tcp is in use"), troubled("r", "w1", "no such interface"), ok("r", "w3"),
	}, one[zeekapi.AgentDeployResponse](f).Results)
	compare(t, "error events", []zeekapi.AgentError{
		{Instance: "i", Node: "m", Text: "node m cannot run: port 2201/tcp is in use"},
		{Instance: "i", Node: "w1", Text: "node w1 cannot run: no such interface"},
	}, published[zeekapi.AgentError](f))

	// A node is started when a later check succeeds.
	delete(refused, "w1")
	f.pass(2*MinRecheck + 3*time.Second)
	compare(t, "started later", []string{"w1"}, started(f))
	states := f.statuses()
	compare(t, "state of w1", zeekapi.StateRunning, states["w1"].State)
	compare(t, "state of m", zeekapi.StateFailed, states["m"].State)
	compare(t, "error events about known errors", 0, len(published[zeekapi.AgentError](f)))

	// The interval between checks grows to MaxRecheck.
	f.pass(time.Hour)
	take[Check](f)
	f.pass(10 * MaxRecheck)
	if n := len(take[Check](f)); n < 9 || n > 11 {
		t.Errorf("%d checks in ten intervals", n)
	}

	f.ask(zeekapi.AgentRestartRequest{ReqID: id("restart"), Nodes: []string{"m"}})
	f.pass(f.checkTime)
	compare(t, "restart", "could not restart node m: port 2201/tcp is in use", one[zeekapi.AgentRestartResponse](f).Results[0].Error)

	// Another deployment repeats the check at once.
	delete(refused, "m")
	f.ask(deploy("again", configuration("c2", "l", "m", "w1", "w3")))
	f.pass(2 * f.checkTime)
	compare(t, "deployed again", []zeekapi.Result{ok("again", "l"), ok("again", "m"), ok("again", "w1"), ok("again", "w3")},
		one[zeekapi.AgentDeployResponse](f).Results)
}

// A change that is reverted before it has been checked stops no node.
func TestRevertedChangeStopsNothing(t *testing.T) {
	f := running(t, "w1")
	f.checkTime = time.Second
	f.ask(deploy("r2", configuration("c2", "w1", "w2")))
	f.ask(deploy("r3", configuration("c3", "w1")))
	compare(t, "results", []zeekapi.Result{ok("r3", "w1")}, published[zeekapi.AgentDeployResponse](f)[1].Results)
	f.pass(time.Minute)
	compare(t, "stopped", 0, len(stopped(f)))
}

// past returns the stored state of an agent, with some nodes running.
func past(config zeekapi.Configuration, pids map[string]int64) State {
	p := State{Known: true, Assignment: assigned(config)}
	for _, n := range p.Assignment.nodes() {
		if pid := pids[n.Name]; pid != 0 {
			p.Running = append(p.Running, launch.Running{Node: n, PID: pid, Started: epoch.Add(-time.Hour)})
		}
	}
	return p
}

// resume returns a fleet whose agent continues from the state of an earlier
// agent.
func resume(t *testing.T, p State) *fleet {
	t.Helper()
	return startFleet(t, connecting("i"), p)
}

// A step of the clock before the agent started, in either direction, does not delay
// nodes that wait for adopted ones.
func TestAdoptedNodesAndClock(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": -1000 * time.Hour, "back": 1000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			state := past(configuration("c1", "l", "m"), map[string]int64{"l": 11})
			state.Running[0].Started = epoch.Add(step)
			f := resume(t, state) // l sends no hello
			f.step(Tick{})
			f.pass(StagePatience)
			compare(t, "started", []string{"m"}, started(f))
			f.step(Received{Message: zeekapi.NodeHello{Node: "l"}})
			if since := details(f)["l"].Since; since.After(f.now) {
				t.Errorf("runs since %s, it is %s", since, f.now)
			}
		})
	}
}

func TestRunningNodesAreAdopted(t *testing.T) {
	config := configuration("c1", "l", "m", "w1", "w2")
	f := resume(t, past(config, map[string]int64{"l": 11, "w1": 12, "w2": 13}))
	f.step(Tick{})
	compare(t, "stopped", 0, len(stopped(f)))
	if s := f.statuses()["w1"]; s.PID != 12 || s.State != zeekapi.StatePending {
		t.Errorf("before its hello: %+v", s)
	}
	for _, name := range []string{"l", "w1", "w2"} {
		f.step(Received{Message: zeekapi.NodeHello{Node: name}})
	}
	f.pass(time.Second)
	compare(t, "started", []string{"m"}, started(f))
	f.ask(deploy("r", config))
	compare(t, "deployed again", []zeekapi.Result{ok("r", "")}, one[zeekapi.AgentDeployResponse](f).Results)
	compare(t, "stopped", 0, len(stopped(f)))
	for name, pid := range map[string]int64{"l": 11, "w1": 12, "w2": 13} {
		if s := f.statuses()[name]; s.PID != pid || s.State != zeekapi.StateRunning {
			t.Errorf("%+v", s)
		}
	}

	// Adopted nodes are restarted and stopped like others.
	f.after(0, launch.Exited{Node: "w1", Err: errors.New("exit status not known")})
	f.pass(MinBackOff + time.Second)
	compare(t, "started", []string{"w1"}, started(f))
	f.ask(zeekapi.AgentStandbyRequest{})
	compare(t, "stopped", []string{"w2", "w1", "m", "l"}, stopped(f))
}

func TestUnassignedNodesAreStopped(t *testing.T) {
	config := configuration("c1", "w1", "w2")
	for _, tt := range []struct {
		name    string
		change  func(*State)
		stopped []string
	}{
		{"another configuration", func(p *State) { p.Assignment = assigned(configuration("c2", "w1")) }, []string{"w2", "w1"}},
		{"standby", func(p *State) { p.Assignment = nil }, []string{"w2", "w1"}},
		// An agent without stored state waits for a deployment.
		{"no stored state", func(p *State) { p.Known, p.Assignment = false, nil }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := past(config, map[string]int64{"w1": 11, "w2": 12})
			tt.change(&p)
			f := resume(t, p)
			f.step(Tick{})
			compare(t, "stopped", tt.stopped, stopped(f))
		})
	}

	f := resume(t, State{Running: past(config, map[string]int64{"w1": 11, "w2": 12}).Running})
	f.step(Received{Message: zeekapi.NodeHello{Node: "w1"}})
	f.ask(zeekapi.AgentStatusRequest{ReqID: id("status")})
	var details []zeekapi.NodeDetail
	if err := record.Unmarshal(one[zeekapi.AgentStatusResponse](f).Result.Data, &details); err != nil {
		t.Fatal(err)
	}
	for i, pid := range []int64{11, 12} {
		if d := details[i]; d.Status.State != zeekapi.StateUnknown || d.Status.PID != pid || d.LastError == "" {
			t.Errorf("before the deployment: %+v", d)
		}
	}
	f.ask(deploy("r", configuration("c3", "w1", "w2")))
	f.step(Received{Message: zeekapi.NodeHello{Node: "w2"}})
	compare(t, "the same nodes with another configuration ID", []zeekapi.Result{ok("r", "w1"), ok("r", "w2")}, one[zeekapi.AgentDeployResponse](f).Results)
	compare(t, "stopped", 0, len(stopped(f)))
}

func TestSavingIsRetried(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.saving = errors.New("no space left on device")
	config := configuration("c", "w")
	f.ask(deploy("r", config))
	compare(t, "error event", "cannot save the configuration: no space left on device", one[zeekapi.AgentError](f).Text)
	f.pass(time.Second)
	compare(t, "results", []zeekapi.Result{
		failed("r", "", "cannot save the configuration: no space left on device"), ok("r", "w"),
	}, one[zeekapi.AgentDeployResponse](f).Results)
	f.pass(10 * SaveInterval)
	compare(t, "error events about the same error", 0, len(published[zeekapi.AgentError](f)))
	take[Persist](f)
	f.saving = nil
	f.pass(SaveInterval)
	compare(t, "saved when possible", []Persist{{Assignment: assigned(config)}}, take[Persist](f))
	f.pass(10 * SaveInterval)
	compare(t, "saved again", 0, len(take[Persist](f)))
}

// A deployment that starts no node also reports that it cannot be saved.
func TestDeploymentWithoutStartReportsSaveError(t *testing.T) {
	unsaved := failed("r", "", "cannot save the configuration: no space left on device")
	for _, tt := range []struct {
		config zeekapi.Configuration
		want   []zeekapi.Result
	}{
		{configuration("c2", "w"), []zeekapi.Result{unsaved, ok("r", "w")}}, // already running
		{configuration("c2", "other/w"), []zeekapi.Result{unsaved}},
	} {
		f := running(t, "w")
		f.saving = errors.New("no space left on device")
		for range 2 { // the result is the same for a repeated request
			f.ask(deploy("r", tt.config))
			compare(t, "results", tt.want, one[zeekapi.AgentDeployResponse](f).Results)
		}
	}
}

func TestStatus(t *testing.T) {
	f := running(t, "l", "w")
	f.dies = func(n launch.Node) *launch.Exited { return nil }
	f.step(Launched{launch.Exited{Node: "w", Err: errors.New("signal: killed")}})
	delete(f.running, "w")
	f.pass(time.Second)
	f.step(Launched{launch.Measured{Nodes: map[string]launch.Usage{"w": {CPU: 1.5, Memory: 1 << 20}}}})
	f.ask(zeekapi.AgentStatusRequest{ReqID: id("r")})
	var got []zeekapi.NodeDetail
	if err := record.Unmarshal(one[zeekapi.AgentStatusResponse](f).Result.Data, &got); err != nil {
		t.Fatal(err)
	}
	states := f.statuses()
	compare(t, "status", []zeekapi.NodeDetail{
		{Status: states["l"], Since: epoch.Add(f.startUp)},
		{Status: states["w"], Since: epoch.Add(time.Second + MinBackOff + f.startUp), Restarts: 1, CPU: 1.5, Memory: 1 << 20, LastError: "signal: killed"},
	}, got)
}

// The history of nodes is kept across restarts of the agent.
func TestNodeHistoryIsKept(t *testing.T) {
	config := configuration("c1", "l", "w")
	f := newFleet(t, connecting("i"), assigned(config))
	f.step(Tick{})
	f.pass(time.Second)
	compare(t, "without a history", 0, len(take[Remember](f)))
	for range 3 {
		delete(f.running, "w")
		f.step(Launched{launch.Exited{Node: "w", Err: errors.New("signal: killed")}})
		f.pass(MinBackOff / 10)
		f.ask(zeekapi.AgentRestartRequest{ReqID: id("r"), Nodes: []string{"w"}})
	}
	compare(t, "the first change, saved at once", []Remember{{map[string]NodeHistory{"w": {0, "signal: killed"}}}}, take[Remember](f))
	f.pass(RememberInterval)
	past := map[string]NodeHistory{"w": {Restarts: 3}}
	compare(t, "later changes, saved together", []Remember{{past}}, take[Remember](f))

	delete(f.running, "w")
	f.step(Launched{launch.Exited{Node: "w", Err: errors.New("signal: killed")}})
	f.pass(time.Minute)
	remembered := take[Remember](f)
	past = remembered[len(remembered)-1].Nodes
	compare(t, "the last change", map[string]NodeHistory{"w": {4, "signal: killed"}}, past)

	past["gone"] = NodeHistory{1, "x"}
	f = resume(t, State{Known: true, Assignment: assigned(config), Nodes: past})
	f.step(Tick{})
	f.pass(time.Minute)
	f.ask(zeekapi.AgentStatusRequest{ReqID: id("r")})
	var got []zeekapi.NodeDetail
	if err := record.Unmarshal(one[zeekapi.AgentStatusResponse](f).Result.Data, &got); err != nil {
		t.Fatal(err)
	}
	compare(t, "restarts", uint64(4), got[1].Restarts)
	compare(t, "last error", "signal: killed", got[1].LastError)
	compare(t, "history of another node", NodeHistory{}, NodeHistory{got[0].Restarts, got[0].LastError})

	f.ask(deploy("r", configuration("c2", "l", "w")))
	f.pass(time.Minute)
	remembered = take[Remember](f)
	compare(t, "after another deployment", map[string]NodeHistory{"w": {0, "signal: killed"}}, remembered[len(remembered)-1].Nodes)
}

func TestLogs(t *testing.T) {
	f := running(t, "w")
	for bytes, want := range map[uint64]int{0: LogBytes, 1: 1, 1 << 63: MaxLogBytes} {
		f.ask(zeekapi.AgentLogsRequest{ReqID: id("r"), Node: "w", Bytes: bytes})
		compare(t, "read", []Read{{ReqID: "r", Node: "w", Bytes: want}}, take[Read](f))
	}
	f.ask(zeekapi.AgentLogsRequest{ReqID: id("r"), Node: "x"})
	compare(t, "of a node that is not assigned", []Read{{ReqID: "r", Node: "x", Bytes: LogBytes, Gone: true}}, take[Read](f))
	f.ask(zeekapi.AgentLogsRequest{ReqID: id("r"), Node: "../x"})
	compare(t, "of an invalid name", failed("r", "", `no node "../x" on instance i`), one[zeekapi.AgentLogsResponse](f).Result)
}

// Stopping and starting a node has no effect on the others: one that has failed stays as it
// is, and restarts are still counted. The node itself begins anew.
func TestStopAndStartOfANode(t *testing.T) {
	config := configuration("c", "w1", "w2", "w3")
	f := newFleet(t, connecting("i"), nil)
	f.dies = func(n launch.Node) *launch.Exited {
		if n.Name == "w3" {
			return nil
		}
		return &launch.Exited{Node: n.Name, Err: errors.New("exit status 1")}
	}
	f.ask(ours(deploy("r1", config)))
	f.pass(time.Hour)
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("r2"), Nodes: []string{"w3"}})
	f.pass(time.Minute)
	f.out = nil
	f.dies = nil
	f.ask(some("r3", config, "w2"))
	f.pass(time.Minute)
	compare(t, "started after a stop", 0, len(started(f)))
	compare(t, "state of the other node", zeekapi.StateFailed, f.statuses()["w1"].State)
	f.ask(some("r4", config))
	f.pass(time.Minute)
	compare(t, "started", []string{"w2"}, started(f))
	restarts := make(map[string]uint64)
	for _, n := range f.machine.Nodes() {
		restarts[n.Status.Node] = n.Restarts
	}
	compare(t, "restarts", map[string]uint64{"w1": MaxDeaths - 1, "w2": 0, "w3": 1}, restarts)
}
