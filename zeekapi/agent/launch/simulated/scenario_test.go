package simulated_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

func scenario(t *testing.T, text string) *simulated.Scenario {
	t.Helper()
	s, err := simulated.ParseScenario("scenario", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// within runs a test with a launcher in a synctest bubble.
func within(t *testing.T, text string, test func(t *testing.T, l *simulated.Launcher)) {
	synctest.Test(t, func(t *testing.T) {
		l := simulated.New(simulated.Config{Scenario: scenario(t, text), Patience: time.Minute})
		test(t, l)
		l.Close(t.Context())
	})
}

// life starts a node and stops it after a time. It returns the event of the node's end,
// whether the node sent a hello, and how long it ran.
func life(t *testing.T, l *simulated.Launcher, name string, stop time.Duration) (e launch.Exited, up bool, after time.Duration) {
	t.Helper()
	began := time.Now()
	l.Start(node(name, ""))
	timer := time.AfterFunc(stop, func() { l.Stop(name) })
	defer timer.Stop()
	for {
		ev, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch ev := ev.(type) {
		case launch.Up:
			up = true
		case launch.Exited:
			return ev, up, time.Since(began)
		}
	}
}

const example = `
# The behaviour of simulated nodes.
[DEFAULT]
start-time = 2s

[worker-1]
fail-starts = 1
exit = 3
stdout = 100%
stderr =
    fatal error: no such device
    giving up

[worker-2]
crash-after = 10s
crashes = 2
exit = SIGSEGV

[worker-3]
silent = true
stop-time = never

[worker-[45]]
start-time = 0
crash-after = 1s
exit = 0

[worker-?]
stop-time = 7s

[proxy]
check-error = interface eth9 does not exist

[proxy-2]
ports-in-use = 2201 2200

[logger]
check-error = syntax error
check-error-after = 1
check-time = 2s
edited =
    site/local.zeek
    packages/a.zeek
`

func TestScenario(t *testing.T) {
	within(t, example, func(t *testing.T, l *simulated.Launcher) {
		for _, tt := range []struct {
			node  string
			err   string
			up    bool
			after time.Duration
		}{
			{"worker-1", "exit status 3", false, 0},
			{"worker-1", "", true, time.Hour},
			{"worker-2", "signal: segmentation fault", true, 12 * time.Second},
			{"worker-2", "signal: segmentation fault", true, 12 * time.Second},
			{"worker-2", "", true, time.Hour},
			{"worker-3", "signal: killed", false, time.Hour + time.Minute},
			{"worker-4", "", true, time.Second},
			{"worker-5", "", true, time.Second},
			{"worker-6", "", true, time.Hour + 7*time.Second},
			{"manager", "", true, time.Hour},
		} {
			e, up, after := life(t, l, tt.node, time.Hour)
			err := ""
			if e.Err != nil {
				err = e.Err.Error()
			}
			if err != tt.err || up != tt.up || after != tt.after {
				t.Errorf("%s: %q, up %t, after %s, want %q, %t, %s", tt.node, err, up, after, tt.err, tt.up, tt.after)
			}
		}
	})
}

func TestOutputs(t *testing.T) {
	within(t, example, func(t *testing.T, l *simulated.Launcher) {
		e, _, _ := life(t, l, "worker-1", time.Hour)
		want := zeekapi.NodeOutputs{Stdout: "simulating worker-1\n100%\n", Stderr: "fatal error: no such device\ngiving up\n"}
		if diff := cmp.Diff(want, e.Outputs); diff != "" {
			t.Error(diff)
		}
	})
}

func TestChecks(t *testing.T) {
	within(t, example, func(t *testing.T, l *simulated.Launcher) {
		check := func(name, behaviour string, trial bool, want string, after time.Duration) {
			t.Helper()
			began := time.Now()
			l.Check([]launch.Node{node(name, behaviour)}, trial)
			c := next[launch.Checked](t, l)
			err := ""
			if c.Err != nil {
				err = c.Err.Error()
			}
			if took := time.Since(began); c.Node.Name != name || c.Trial != trial || err != want || took != after {
				t.Errorf("%s, %q, trial: %t, after %s, want %s, %q, %t, %s", c.Node.Name, err, c.Trial, took, name, want, trial, after)
			}
		}
		check("proxy", "", false, "interface eth9 does not exist", 0)
		check("worker-1", "", true, "", 0)
		check("worker-1", simulated.Refuse, false, "told to fail the check", 0)
		for starts := range 2 {
			want := ""
			if starts == 1 {
				want = "syntax error"
			}
			check("logger", "", true, want, 2*time.Second)
			life(t, l, "logger", time.Hour)
		}
		l.Check([]launch.Node{node("logger", "")}, true) // ends with the launcher
	})
}

// A node runs with earlier scripts until its second start.
func TestScan(t *testing.T) {
	within(t, example, func(t *testing.T, l *simulated.Launcher) {
		scan := func(want map[string][]string) {
			t.Helper()
			l.Scan()
			if diff := cmp.Diff(want, next[launch.Edited](t, l).Nodes); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		scan(map[string][]string{})
		for _, want := range []map[string][]string{{"logger": {"packages/a.zeek", "site/local.zeek"}}, {}} {
			l.Start(node("logger", ""))
			next[launch.Started](t, l)
			next[launch.Up](t, l)
			scan(want)
			l.Stop("logger")
			next[launch.Exited](t, l)
		}
	})
}

func TestValues(t *testing.T) {
	const text = `
[slow]
answer-time = 3s
[gone]
answer-time = 1h
[mute]
answer-time = never
[*]
id-values =
    Site::local_nets ["10.0.0.0/8"]
    # a comment
    Cluster::node "another"
    pi 3.14
`
	within(t, text, func(t *testing.T, l *simulated.Launcher) {
		for _, name := range []string{"quick", "slow", "gone", "mute"} {
			l.Start(node(name, ""))
			next[launch.Started](t, l)
			next[launch.Up](t, l)
		}
		began := time.Now()
		ask := func(id string, nodes ...string) {
			l.Dispatch(zeekapi.NodeDispatchRequest{Action: []string{"get_id_value", id}, Nodes: nodes})
		}
		for id, want := range map[string]string{
			"Site::local_nets": `["10.0.0.0/8"]`, "Cluster::node": `"another"`, "pi": "3.14", "Cluster::manager_is_logger": "true",
		} {
			ask(id, "quick")
			if got, _ := next[launch.Answered](t, l).Response.Result.Data.Text(); got != want {
				t.Errorf("%s is %s, want %s", id, got, want)
			}
		}
		ask("Cluster::node", "mute", "gone", "slow")
		if got := next[launch.Answered](t, l).Response.Result.Node; got != "slow" || time.Since(began) != 3*time.Second {
			t.Errorf("%s answered after %s", got, time.Since(began))
		}
	})
}

func TestParseScenarioErrors(t *testing.T) {
	_, err := simulated.ParseScenario("s.ini", strings.NewReader(`[DEFAULT]
start-time = soon
[worker]
silent = perhaps
fail-starts = -1
exit = SIGNAL
stop-time = 1
check-time = 1
check-error-after = all
ports-in-use = 2200 70000
[manager]
id-values = x y
colour = blue
[a
[worker-[]
`))
	want := []string{
		"start-time: want a time such as 90s, 5m or 1h (s.ini:2)",
		"silent: want true or false (s.ini:4)",
		"fail-starts: want a number or all (s.ini:5)",
		"exit: want an exit code up to 255 or one of SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGINT, SIGKILL, SIGSEGV, SIGTERM (s.ini:6)",
		"stop-time: want a time such as 90s, 5m or 1h, or never (s.ini:7)",
		"check-time: want a time such as 90s, 5m or 1h (s.ini:8)",
		"check-error-after: want a number (s.ini:9)",
		"ports-in-use: 70000: want a port number (s.ini:10)",
		"id-values: x: want a name and JSON (s.ini:12)",
		"colour: no such key (s.ini:13)",
		"[worker-[] is not a valid pattern for names (s.ini:15)",
	}
	var errs configparser.Errors
	if !errors.As(err, &errs) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, e := range errs {
		if e.Line != 14 { // the missing bracket: an error of configparser
			got = append(got, e.Error())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func FuzzScenario(f *testing.F) {
	f.Add(example)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := simulated.ParseScenario("s", strings.NewReader(text))
		if (s == nil) == (err == nil) {
			t.Errorf("%v and %v", s, err)
		}
	})
}

func TestPortsInUse(t *testing.T) {
	within(t, example, func(t *testing.T, l *simulated.Launcher) {
		for _, tt := range []struct {
			port, metrics uint16
			err           string
		}{
			{2202, 9000, ""},
			{2200, 9000, "port 2200 is in use by another program"},
			{2202, 2201, "port 2201 is in use by another program"},
		} {
			n := node("proxy-2", "")
			n.Port, n.MetricsPort = broker.TCP(tt.port), broker.TCP(tt.metrics)
			l.Check([]launch.Node{n}, true)
			ev, err := l.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := ev.(launch.Checked)
			switch {
			case tt.err == "" && (got.Err != nil || got.PortsInUse != nil):
				t.Errorf("ports %d and %d: %v, in use are %d", tt.port, tt.metrics, got.Err, got.PortsInUse)
			case tt.err != "" && (got.Err == nil || got.Err.Error() != tt.err || !slices.Equal(got.PortsInUse, []uint16{2200, 2201})):
				t.Errorf("ports %d and %d: %v, in use are %d, want %s", tt.port, tt.metrics, got.Err, got.PortsInUse, tt.err)
			}
		}
	})
}

// Nodes with an interface receive packets at the rate of the scenario.
func TestFigures(t *testing.T) {
	within(t, "[w]\npackets = 1000\ndrops = 25%\nunseen = m\nedited = b.zeek\n", func(t *testing.T, l *simulated.Launcher) {
		n := node("w", "")
		n.Interface, n.Scripts = "eth0", []string{"a.zeek", "b.zeek", "X::y=1"}
		n.Layout = "m MANAGER - 1/tcp -\nw WORKER - - -\nx WORKER - - -\n"
		l.Start(n)
		for range 2 {
			if _, err := l.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(4 * time.Second)
		l.Dispatch(zeekapi.NodeDispatchRequest{Action: []string{nodescript.FiguresAction}, Nodes: []string{"w"}})
		ev, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, _ := ev.(launch.Answered).Response.Result.Data.Text()
		const want = `{"received":3000,"dropped":1000,"link":4000,"bytes":2100000,"backend":"broker","nodes":["m"],"sees":false,"others":2}`
		if got != want {
			t.Errorf("figures are %s, want %s", got, want)
		}
		scripts, err := l.Scripts(t.Context(), "w", false)
		if err != nil || len(scripts.Scripts) != 2 || scripts.Scripts[0].Changed || !scripts.Scripts[1].Changed {
			t.Errorf("scripts are %+v, %v", scripts, err)
		}
		if _, err := l.Scripts(t.Context(), "x", false); !errors.Is(err, launch.ErrNoScripts) {
			t.Errorf("scripts of another node: %v", err)
		}
	})
	_, err := simulated.ParseScenario("s.ini", strings.NewReader("[w]\npackets = -1\ndrops = 101%\n"))
	for _, want := range []string{"packets: want a number of packets per second", "drops: want a percentage"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}
