package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/diskwatch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// disk returns a measurement of a disk of 1000 bytes.
func disk(free uint64) DisksRead {
	directory := diskwatch.Directory{Path: "/var", Use: diskwatch.State | diskwatch.Logs | diskwatch.Archive}
	return DisksRead{[]diskwatch.Space{{Directory: directory, Device: 1, Size: 1000, Free: free}}}
}

func watching() Settings {
	s := connecting("i")
	s.Disks = diskwatch.Settings{
		Warn: diskwatch.Threshold{Percent: 20}, Expire: diskwatch.Threshold{Percent: 10}, Stop: diskwatch.Threshold{Percent: 5},
	}
	return s
}

// A disk that fills up is reported, then logs expire early, then the nodes that write logs
// stop, and nothing else. They start when there is space again.
func TestDiskFillsUp(t *testing.T) {
	f := newFleet(t, watching(), nil)
	f.step(PeerAdded{})
	f.ask(deploy("r", configuration("c", "l", "m", "w")))
	f.pass(time.Minute)
	take[Publish](f)
	f.step(disk(500))
	compare(t, "reports of a disk with space", 0, len(published[zeekapi.AgentProblems](f)))
	f.step(disk(190))
	p := one[zeekapi.AgentProblems](f)
	if len(p.Problems) != 1 || p.Problems[0].Kind != zeekapi.ProblemDisk || p.Problems[0].Subject != "/var" ||
		!strings.Contains(p.Problems[0].Text, "190 B free") || !p.Problems[0].Since.Equal(f.now) {
		t.Errorf("the problem is %+v", p)
	}
	since := f.now
	f.pass(time.Second)
	f.step(disk(90))
	compare(t, "bytes to free", []FreeSpace{{20}}, take[FreeSpace](f))
	p = one[zeekapi.AgentProblems](f)
	if !p.Problems[0].Since.Equal(since) {
		t.Errorf("the problem began at %s, want %s", p.Problems[0].Since, since)
	}
	take[Stop](f)
	f.step(disk(40))
	compare(t, "stopped nodes", []Stop{{"l"}}, take[Stop](f))
	f.pass(time.Minute)
	compare(t, "state of the logger", zeekapi.StatePending, f.statuses()["l"].State)
	compare(t, "state of the worker", zeekapi.StateRunning, f.statuses()["w"].State)
	details := f.machine.Nodes()
	if got := details[0].LastError; !strings.Contains(got, "not running: the disk of /var has less than 5% free") {
		t.Errorf("the logger does not run because of %q", got)
	}

	// Requests do not wait for a node that must not run.
	take[Publish](f)
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("again"), Nodes: []string{"l"}})
	f.pass(time.Second)
	results := one[zeekapi.AgentRestartResponse](f).Results
	if len(results) != 1 || results[0].Success || !strings.Contains(results[0].Error, "disk of /var") {
		t.Errorf("the restart: %+v", results)
	}

	f.step(disk(900))
	f.pass(time.Minute)
	compare(t, "state of the logger with space", zeekapi.StateRunning, f.statuses()["l"].State)
	if got := f.machine.Nodes()[0].LastError; got != "" {
		t.Errorf("last error of the logger: %q", got)
	}
	compare(t, "problems", 0, len(f.machine.Problems()))
}

// A full disk when the agent starts keeps the nodes that write logs from starting. A node
// that an earlier agent left running stops.
func TestDiskIsFullAtStart(t *testing.T) {
	config := configuration("c", "m", "w")
	for _, running := range []bool{false, true} {
		state := State{Known: true, Assignment: assigned(config)}
		if running {
			for i, n := range state.Assignment.nodes() {
				state.Running = append(state.Running, launch.Running{Node: n, PID: int64(i + 1), Started: epoch})
			}
		}
		f := startFleet(t, watching(), state)
		f.step(disk(0))
		f.pass(time.Minute)
		if _, runs := f.running["m"]; runs {
			t.Errorf("adopted %t: the manager runs", running)
		}
		if _, runs := f.running["w"]; !runs {
			t.Errorf("adopted %t: the worker does not run", running)
		}
		f.step(disk(900))
		f.pass(time.Minute)
		compare(t, "running", zeekapi.StateRunning, f.statuses()["m"].State)
	}
}

// The agent repeats its problems with each hello, so that a controller that has just started
// knows them, and one that missed their end forgets them.
func TestProblemsAreRepeated(t *testing.T) {
	f := newFleet(t, watching(), nil)
	f.step(PeerAdded{})
	compare(t, "problems", 0, len(one[zeekapi.AgentProblems](f).Problems))
	f.step(disk(190))
	one[zeekapi.AgentProblems](f)
	f.step(disk(190))
	compare(t, "reports without a change", 0, len(published[zeekapi.AgentProblems](f)))
	f.pass(HelloInterval)
	compare(t, "repeated problems", 1, len(one[zeekapi.AgentProblems](f).Problems))
	compare(t, "complaints", 1, len(take[Complain](f)))
}

// A node over its memory limit is stopped, and its end counts as a death with a reason.
func TestMemoryLimit(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	config := configuration("c", "w", "x")
	config.Nodes[0].Options = []zeekapi.Option{{Name: zeekapi.OptionMemoryLimit, Value: "1G"}}
	f.ask(deploy("r", config))
	f.pass(time.Minute)
	use := func(bytes uint64) {
		f.step(Launched{launch.Measured{Nodes: map[string]launch.Usage{"w": {Memory: bytes}, "x": {Memory: bytes}}}})
	}
	use(1 << 30)
	compare(t, "stopped at the limit", 0, len(take[Stop](f)))
	use(3 << 29)
	use(3 << 29)
	compare(t, "stopped above it", []Stop{{"w"}}, take[Stop](f))
	f.pass(time.Second)
	const reason = "it used 1.5 GiB of memory, its limit is 1.0 GiB"
	var texts []string
	for _, e := range published[zeekapi.AgentError](f) {
		texts = append(texts, e.Text)
	}
	if !slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, "node w died: "+reason) }) {
		t.Errorf("complaints are %q", texts)
	}
	f.pass(time.Minute)
	n := f.machine.Nodes()[0]
	if n.Status.State != zeekapi.StateRunning || n.Restarts != 1 || n.LastError != reason {
		t.Errorf("afterwards: %+v", n)
	}

	// Five times in a row is a failure.
	for range MaxDeaths {
		use(3 << 29)
		f.pass(20 * time.Second)
	}
	compare(t, "state", zeekapi.StateFailed, f.statuses()["w"].State)
}

// Another limit restarts no node; the launcher learns it.
func TestMemoryLimitChanges(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	limited := func(id, limit string) zeekapi.Configuration {
		config := configuration(id, "w")
		if limit != "" {
			config.Nodes[0].Options = []zeekapi.Option{{Name: zeekapi.OptionMemoryLimit, Value: limit}}
		}
		return config
	}
	f.ask(deploy("r", limited("a", "")))
	f.pass(time.Minute)
	compare(t, "limits at the start", 0, len(take[LimitMemory](f)))
	for i, tt := range []struct {
		limit string
		want  []LimitMemory
	}{
		{"1G", []LimitMemory{{"w", 1 << 30}}}, {"1024M", nil}, {"2G", []LimitMemory{{"w", 2 << 30}}}, {"0", []LimitMemory{{"w", 0}}}, {"", nil},
	} {
		f.ask(deploy("r", limited(string(rune('b'+i)), tt.limit)))
		f.pass(time.Minute)
		compare(t, "limits for "+tt.limit, tt.want, take[LimitMemory](f))
	}
	compare(t, "stopped nodes", 0, len(take[Stop](f)))

	// Other CPUs need a restart, even together with another limit.
	pinned := limited("x", "1G")
	pinned.Nodes[0].SetCPUs([]int64{0, 1})
	f.ask(deploy("r", pinned))
	f.pass(time.Minute)
	compare(t, "stopped nodes with other CPUs", []Stop{{"w"}}, take[Stop](f))
	pinned = limited("y", "2G")
	pinned.Nodes[0].SetCPUs([]int64{0, 1})
	take[LimitMemory](f)
	f.ask(deploy("r", pinned))
	f.pass(time.Minute)
	compare(t, "limit with the same CPUs", []LimitMemory{{"w", 2 << 30}}, take[LimitMemory](f))
	compare(t, "stopped nodes with the same CPUs", 0, len(take[Stop](f)))
}

// What cannot be measured is a problem, too.
func TestDiskCannotBeMeasured(t *testing.T) {
	f := newFleet(t, watching(), nil)
	f.step(DisksRead{[]diskwatch.Space{{Directory: diskwatch.Directory{Path: "/var", Use: diskwatch.Logs}, Err: errors.New("stale file handle")}}})
	if p := f.machine.Problems(); len(p) != 1 || !strings.Contains(p[0].Text, "stale file handle") {
		t.Errorf("problems are %+v", p)
	}
}
