package clientcmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// testTime is the time at which the statuses of the tests are shown.
var testTime = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// cluster returns the status of a cluster of running nodes, four on each instance.
func cluster(instances int) zeekapi.Status {
	long := testTime.Add(-2 * time.Hour)
	s := zeekapi.Status{
		Controller: zeekapi.Process{Name: "controller", Version: "zeekwire 1", Started: long}, Deployed: "c", Target: "c",
		Last: &zeekapi.Deployment{Number: 1, Action: "deploy", Outcome: zeekapi.OutcomeDeployed, Started: long},
	}
	for n := range instances {
		i := zeekapi.InstanceStatus{Instance: zeekapi.Instance{Name: fmt.Sprintf("sensor-%04d", n)}, Connected: true, Since: long, Wanted: true, Ready: true}
		for k := range 4 {
			i.Nodes = append(i.Nodes, zeekapi.NodeDetail{
				Status: zeekapi.NodeStatus{Node: fmt.Sprintf("worker-%04d-%d", n, k), State: zeekapi.StateRunning, ClusterRole: zeekapi.RoleWorker, PID: int64(1000 + 4*n + k)},
				Since:  long,
			})
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}

func textOf(lines []terminal.Line) string {
	var b strings.Builder
	if err := (terminal.Screen{}).Write(&b, lines...); err != nil {
		panic(err)
	}
	return b.String()
}

// colored returns the lines with a span in a style.
func colored(lines []terminal.Line, style terminal.Style) string {
	var found []terminal.Line
	for _, line := range lines {
		for _, span := range line {
			if span.Style == style {
				found = append(found, line)
				break
			}
		}
	}
	return textOf(found)
}

// TestFitStatus checks that a status fits the terminal, with what has problems.
func TestFitStatus(t *testing.T) {
	for _, instances := range []int{1, 5, 50, 1000} {
		for _, rows := range []int{12, 24, 25, 60} {
			s := cluster(instances)
			last := &s.Instances[len(s.Instances)-1]
			last.Nodes[3].Status.State, last.Nodes[3].LastError = zeekapi.StateCrashed, "exit status 7"
			screen := terminal.Screen{Moves: true, Size: func() (int, int) { return 80, rows }}
			lines := fitStatus(screen, s, true, testTime)
			text := textOf(lines)
			if len(lines) > rows-1 { // the last one is for the cursor
				t.Errorf("%d instances, %d rows: %d lines\n%s", instances, rows, len(lines), text)
			}
			if rows >= 24 && (!strings.Contains(text, "CRASHED") || !strings.Contains(text, "exit status 7") || !strings.Contains(text, "RUNNING")) {
				t.Errorf("%d instances, %d rows: the crashed node, its error or a running node is missing\n%s", instances, rows, text)
			}
		}
	}
}

// TestFitStatusOfManyInstances shows 50 instances on a terminal of 24 lines.
func TestFitStatusOfManyInstances(t *testing.T) {
	s := cluster(50)
	s.Instances[7].Connected = false
	for k := range s.Instances[7].Nodes {
		s.Instances[7].Nodes[k].Status.State = zeekapi.StateUnknown
	}
	s.Instances[30].Nodes[2].Status.State, s.Instances[30].Nodes[2].LastError = zeekapi.StateFailed, "exit status 7\nout of memory"
	s.Instances[40].Drained, s.Instances[40].Nodes = true, nil
	screen := terminal.Screen{Moves: true, Size: func() (int, int) { return 80, 24 }}
	const want = `
Controller  controller, zeekwire 1, up 2h00m
Deployed    c
Last        deployment 1, 2h00m ago: deployed
Instances   50: 48 connected, 1 missing, 1 drained
Nodes       196: 1 failed, 4 unknown, 191 running

INSTANCE     AGENT      SINCE  NODES
sensor-0007  missing    2h00m  0/4
sensor-0030  connected  2h00m  3/4

NODE           INSTANCE     ROLE    STATE    SINCE   PID
worker-0030-2  sensor-0030  worker  FAILED   2h00m  1122
worker-0007-0  sensor-0007  worker  UNKNOWN  2h00m  1028
worker-0007-1  sensor-0007  worker  UNKNOWN  2h00m  1029
worker-0007-2  sensor-0007  worker  UNKNOWN  2h00m  1030
worker-0007-3  sensor-0007  worker  UNKNOWN  2h00m  1031
worker-0000-0  sensor-0000  worker  RUNNING  2h00m  1000
worker-0000-1  sensor-0000  worker  RUNNING  2h00m  1001
… 189 more nodes: 189 running

worker-0030-2: exit status 7
               out of memory
`
	if diff := cmp.Diff(want, textOf(fitStatus(screen, s, true, testTime))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestPastErrors checks that only what is wrong now is red. A node that runs again shows
// how often and how long ago it was restarted.
func TestPastErrors(t *testing.T) {
	s := cluster(3)
	revived := &s.Instances[0].Nodes[1]
	revived.Restarts, revived.Since, revived.LastError = 2, testTime.Add(-5*time.Minute), "exit status 7\nout of memory"
	s.Instances[0].LastError = "node worker-0000-1 died: exit status 7"
	lines := statusLines(terminal.Screen{}, s, true, testTime)
	if red := colored(lines, terminal.Bad); red != "" {
		t.Errorf("red although all is well:\n%s", red)
	}
	for _, want := range []string{
		"\nsensor-0000: earlier: node worker-0000-1 died: exit status 7\n",
		"\nworker-0000-1: running for 5m after 2 restarts; earlier: exit status 7; out of memory\n",
	} {
		if text := textOf(lines); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	revived.Status.State = zeekapi.StateCrashed
	want := "sensor-0000  connected  2h00m  3/4\nworker-0000-1  sensor-0000  worker  CRASHED  5m            2  1001\n" +
		"sensor-0000: node worker-0000-1 died: exit status 7\nworker-0000-1: exit status 7\n               out of memory\n"
	if red := colored(statusLines(terminal.Screen{}, s, true, testTime), terminal.Bad); red != want {
		t.Errorf("red:\n%s\nwant:\n%s", red, want)
	}
}

// TestDrainedInstances checks that a drained instance does not look empty.
func TestDrainedInstances(t *testing.T) {
	s := cluster(2)
	s.Instances[0].Drained, s.Instances[0].Nodes = true, nil
	text := textOf(statusLines(terminal.Screen{}, s, true, testTime))
	if !strings.Contains(text, "sensor-0000  drained    2h00m  drained\n") || strings.Contains(text, "0/0") {
		t.Errorf("the drained instance is not marked:\n%s", text)
	}
}
