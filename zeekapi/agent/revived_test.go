package agent

import (
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// TestKeepPrecedesStarts checks that the launcher is told the assigned nodes
// before any node is started, and is told nothing while the agent has no
// assignment.
func TestKeepPrecedesStarts(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.step(Tick{})
	compare(t, "before any configuration", 0, len(take[Keep](f)))

	f.ask(deploy("r", configuration("c", "w", "m", "other/x")))
	if _, first := f.out[1].(Keep); !first {
		t.Errorf("Keep does not follow Persist: %+v", f.out)
	}
	compare(t, "after a deployment", []Keep{{[]string{"m", "w"}}}, take[Keep](f))
	f.pass(time.Minute)
	compare(t, "later", 0, len(take[Keep](f)))

	f.ask(zeekapi.AgentStandbyRequest{ReqID: id("s")})
	f.pass(time.Minute)
	f.ask(zeekapi.AgentStandbyRequest{ReqID: id("s")})
	keeps := take[Keep](f)
	compare(t, "after standing by twice", 2, len(keeps))
	compare(t, "without nodes", []string{}, keeps[1].Nodes)
}

func TestRevivedNodeFailsAfterMaxDeaths(t *testing.T) {
	f := running(t, "w")
	outputs := zeekapi.NodeOutputs{Stderr: "fatal error"}
	for death := int64(1); death < MaxDeaths; death++ {
		f.step(Launched{launch.Revived{Node: "w", PID: 100 + death, Outputs: outputs}})
		if s := f.statuses()["w"]; s.State != zeekapi.StateCrashed || s.PID != 100+death {
			t.Errorf("after death %d: %+v", death, s)
		}
		f.step(Received{Message: zeekapi.NodeHello{Node: "w"}})
		compare(t, "after the hello", zeekapi.StateRunning, f.statuses()["w"].State)
		f.pass(time.Second)
	}
	compare(t, "started", 0, len(started(f)))

	f.step(Launched{launch.Revived{Node: "w", PID: 200, Outputs: outputs}})
	compare(t, "stopped after too many deaths", []string{"w"}, stopped(f))
	f.pass(time.Hour)
	compare(t, "final state", zeekapi.StateFailed, f.statuses()["w"].State)
	compare(t, "started again", 0, len(started(f)))

	f.ask(zeekapi.AgentRestartRequest{ReqID: id("r")})
	f.pass(time.Second)
	compare(t, "restarted", zeekapi.StateRunning, f.statuses()["w"].State)
}

// The hello of a restarted node may arrive before the event that reports the
// restart.
func TestHelloBeforeRevivedEvent(t *testing.T) {
	f := running(t, "w")
	for pid := range int64(2) {
		f.step(Received{Message: zeekapi.NodeHello{Node: "w"}})
		f.step(Launched{launch.Revived{Node: "w", PID: pid + 1}})
		if s := f.statuses()["w"]; s.State != zeekapi.StateRunning || s.PID != pid+1 {
			t.Errorf("revived as %d: %+v", pid+1, s)
		}
		var states []zeekapi.State
		for _, change := range published[zeekapi.AgentChange](f) {
			states = append(states, change.New)
		}
		compare(t, "states", []zeekapi.State{zeekapi.StateCrashed, zeekapi.StateRunning}, states)
		f.pass(StableAfter)
	}
	f.step(Launched{launch.Revived{Node: "w", PID: 3}})
	compare(t, "without a hello", zeekapi.StateCrashed, f.statuses()["w"].State)
}

func TestLongRunResetsDeaths(t *testing.T) {
	f := running(t, "w")
	for range 3 * MaxDeaths {
		f.pass(StableAfter)
		f.step(Launched{launch.Revived{Node: "w", PID: 7}})
		f.step(Received{Message: zeekapi.NodeHello{Node: "w"}})
	}
	compare(t, "state", zeekapi.StateRunning, f.statuses()["w"].State)
}

// A node that failed before it could be stopped starts again with another deployment.
func TestRevivedNodeFailsDuringCheck(t *testing.T) {
	f := running(t, "l", "w", "x")
	f.checkTime = time.Second
	config := configuration("c2", "l", "w", "x")
	config.Nodes[2].Scripts = []string{"good"}
	f.ask(deploy("x", config)) // its check delays all stops
	for death := range int64(MaxDeaths) {
		f.step(Launched{launch.Revived{Node: "w", PID: 100 + death}})
	}
	config.ID, config.Nodes[1].Scripts = "c3", []string{"good"}
	f.ask(deploy("w", config))
	f.pass(time.Minute)
	compare(t, "state", zeekapi.StateRunning, f.statuses()["w"].State)
	compare(t, "scripts", []string{"good"}, f.running["w"].Scripts)
}
