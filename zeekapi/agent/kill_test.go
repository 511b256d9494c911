package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// lifeOfAnAgent returns the steps of a test. Time passes between them.
func lifeOfAnAgent() []func(*fleet) {
	edited := func(reqID string) zeekapi.Message {
		m := ours(deploy(reqID, scripted("c3", "good")))
		m.Edited, m.StartLimit = true, time.Minute
		return m
	}
	forced := deploy("forced", scripted("c4", "bad"))
	forced.Force = true
	return []func(*fleet){
		func(f *fleet) { f.refuses = badScript },
		func(f *fleet) { f.ask(check("check first", configuration("c1", "l", "w", "x"), false)) },
		func(f *fleet) { f.ask(ours(deploy("first", configuration("c1", "l", "w", "x")))) },
		func(f *fleet) { f.ask(check("check bad", scripted("c2", "bad"), false)) },
		func(f *fleet) { f.ask(deploy("bad", scripted("c2", "bad"))) },
		func(f *fleet) { f.ask(checkRestart("check restart")) },
		func(f *fleet) { f.ask(zeekapi.AgentRestartRequest{ReqID: id("restart"), Nodes: []string{"x"}}) },
		func(f *fleet) { f.ask(zeekapi.AgentRestartRequest{ReqID: id("restart all")}) },
		func(f *fleet) { f.ask(ours(deploy("good", scripted("c3", "good")))) },
		func(f *fleet) { f.ask(some("stop", scripted("c3", "good"), "w", "x")) },
		func(f *fleet) { f.ask(some("start", scripted("c3", "good"))) },
		func(f *fleet) {
			f.edited = map[string][]string{"l": {"local.zeek"}, "w": {"local.zeek"}}
			f.refuses = refuse("l")
			f.after(0, f.report())
		},
		func(f *fleet) { f.ask(check("check edited", scripted("c3", "good"), false)) },
		func(f *fleet) { f.ask(edited("edited")) },
		func(f *fleet) { f.refuses = badScript },
		func(f *fleet) { f.ask(edited("edited again")) },
		func(f *fleet) { f.ask(zeekapi.AgentRestartRequest{ReqID: id("restart all again")}) },
		func(f *fleet) { f.ask(forced) },
		func(f *fleet) { f.ask(deploy("fewer", configuration("c5", "l", "x"))) },
		func(f *fleet) { f.ask(zeekapi.AgentStandbyRequest{}) },
		func(f *fleet) { f.ask(deploy("last", configuration("c6", "l", "w", "x"))) },
	}
}

// killed returns a fleet after the life of its agent. The agent was killed before it
// performed the output with the given number, which happened in the returned step. The
// result is false if there is no such output.
func killed(t *testing.T, output int) (f *fleet, step int, died bool) {
	t.Helper()
	f = newFleet(t, connecting("i"), nil)
	f.checkTime, f.trialTime, f.scanTime = 100*time.Millisecond, 200*time.Millisecond, 50*time.Millisecond
	n, dead := 0, false
	f.performs = func(Output) bool {
		dead = dead || n == output
		n++
		return !dead || died
	}
	steps := lifeOfAnAgent()
	for i, tell := range steps {
		tell(f)
		for range 20 {
			if dead && !died {
				step, died = i, true
				f.kill()
			}
			f.pass(50 * time.Millisecond)
		}
	}
	return f, step, died
}

// If an agent is killed before any of its outputs, no running node stops without reason,
// which the rules of the fleet check, and the next agent reaches the same state.
func TestKilledAtAnyOutput(t *testing.T) {
	for output := 0; ; output++ {
		died := true
		t.Run(fmt.Sprint(output), func(t *testing.T) {
			var f *fleet
			var step int
			f, step, died = killed(t, output)
			f.ask(deploy("last", configuration("c6", "l", "w", "x"))) // the agent may have died before it stored the request
			f.pass(time.Hour)
			for _, name := range []string{"l", "w", "x"} {
				n, runs := f.running[name]
				if s := f.statuses()[name]; !runs || s.State != zeekapi.StateRunning || s.PID != f.pid[name] || len(n.Scripts) > 0 {
					t.Errorf("killed in step %d: %s runs: %t, %+v", step, name, runs, s)
				}
			}
		})
		if !died {
			if output < 100 {
				t.Errorf("only %d outputs", output)
			}
			return
		}
	}
}

// Killing the agent stops no process if nothing has been deployed.
func TestKilledBetweenRequests(t *testing.T) {
	f := wrongScript(t)
	for name, prepare := range map[string]func(){
		"at rest":         func() { f.pass(time.Minute) },
		"while checking":  func() { f.ask(check("r", scripted("c9", "bad"), false)) },
		"a restart":       func() { f.ask(zeekapi.AgentRestartRequest{ReqID: id("r")}) },
		"another restart": func() { f.ask(checkRestart("r", "l")) },
		"changed scripts": func() { f.step(Launched{launch.Edited{Nodes: map[string][]string{"l": {"x"}}}}) },
	} {
		f.checkTime, f.trialTime = time.Second, time.Second
		prepare()
		f.pass(time.Second / 2)
		f.kill()
		f.pass(time.Minute)
		compare(t, name+": stopped", 0, len(stopped(f)))
	}
	compare(t, "processes", map[string]int64{"l": 1, "w": 2, "x": 3}, f.pid)
}
