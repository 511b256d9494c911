package live

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestControllerKilledDuringRollingRestart kills our controller during a rolling restart
// and starts it again. The job continues, with our agent and with Zeek's: each node becomes
// another process once, and the client, which waits all the time, reports success.
func TestControllerKilledDuringRollingRestart(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		t.Run("our agent", func(t *testing.T) {
			z.needsChildren(t)
			killDuringRollingRestart(t, func(native int) { ourAgent(t, z, native, "zeek", "anonymous") })
		})
		t.Run("Zeek's agent", func(t *testing.T) {
			killDuringRollingRestart(t, func(native int) { z.agent(t, native) })
		})
	})
}

// jobStatus is the part of the status that is about a job.
type jobStatus struct {
	Job *struct {
		Done, Now []string
		Ended     *string
		Error     *string
	}
}

func killDuringRollingRestart(t *testing.T, startAgent func(native int)) {
	native, websocket, state := freePort(t), freePort(t), t.TempDir()
	controller := startController(t, native, websocket, state, "anonymous")
	startAgent(native)
	c := ours(t, websocket)
	c.instances(t, "agent-one")
	c.deploy(t, cluster)
	before := c.running(t, "agent-one", nodes...)

	restart := start(t, "rolling restart", nil, append(c.argv, "rolling-restart", "--json")...)
	eventually(t, "rolling restart", func() error {
		var s jobStatus
		if err := c.call(t, &s, "status"); err != nil {
			return err
		}
		if s.Job == nil || len(s.Job.Done) == 0 || len(s.Job.Now) == 0 || s.Job.Ended != nil {
			return fmt.Errorf("job %+v", s.Job)
		}
		return nil
	})
	controller.kill()
	startController(t, native, websocket, state, "anonymous")
	eventually(t, "end of the client", func() error {
		select {
		case <-restart.done:
			return nil
		default:
			return errors.New("it waits")
		}
	})
	if code := restart.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(restart.out.tail(100), "lost the connection to the controller") {
		t.Errorf("exit code %d\n%s", code, restart.out.tail(100))
	}

	var s jobStatus
	if err := c.call(t, &s, "status"); err != nil {
		t.Fatal(err)
	}
	done := slices.Sorted(slices.Values(s.Job.Done))
	if want := slices.Sorted(slices.Values(nodes)); !slices.Equal(done, want) || s.Job.Error != nil {
		t.Errorf("restarted %v, error %v, want %v", done, s.Job.Error, want)
	}
	for name, now := range c.running(t, "agent-one", nodes...) {
		if now.PID == before[name].PID {
			t.Errorf("node %s is still process %d", name, now.PID)
		}
	}
	var events struct{ Events []struct{ Text string } }
	if err := c.call(t, &events, "events", "--limit", "0"); err != nil {
		t.Fatal(err)
	}
	resumed, restarts := 0, make(map[string]int)
	for _, e := range events.Events {
		if strings.Contains(e.Text, "resumed after a restart of the controller") {
			resumed++
		}
		if strings.HasSuffix(e.Text, "the node runs again") {
			restarts[e.Text]++
		}
	}
	if resumed != 1 || restarts["job 1: the node runs again"] != len(nodes) {
		t.Errorf("resumed %d times, nodes came back %v", resumed, restarts)
	}
}
