package simulated_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func next[E launch.Event](t *testing.T, l launch.Launcher) E {
	t.Helper()
	ev, err := l.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, ok := ev.(E)
	if !ok {
		t.Fatalf("got %#v, want %T", ev, e)
	}
	return e
}

func node(name, behaviour string) launch.Node {
	return launch.Node{
		Node:   zeekapi.Node{Name: name, Role: zeekapi.RoleWorker, MetricsPort: broker.TCP(9001), Env: map[string]string{simulated.Env: behaviour}},
		Layout: zeekapi.Layout("m MANAGER 10.0.0.1 2200/tcp -\n" + name + " WORKER 10.0.0.1 - 9001/tcp\n"),
	}
}

func TestStartAndStop(t *testing.T) {
	l := simulated.New(simulated.Config{})
	defer l.Close(t.Context())
	var pids []int64
	for range 2 {
		l.Start(node("w", ""))
		l.Start(node("w", "")) // no effect
		pids = append(pids, next[launch.Started](t, l).PID)
		next[launch.Up](t, l)
		l.Stop("w")
		if e := next[launch.Exited](t, l); e.Err != nil {
			t.Errorf("exited with %v", e.Err)
		}
		l.Stop("w") // no effect
	}
	if pids[0] == pids[1] || pids[0] < 1<<22 {
		t.Errorf("process IDs %v", pids)
	}
}

func TestMisbehaviour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := simulated.New(simulated.Config{Scenario: scenario(t, "[*]\nstart-time = 1s"), Patience: time.Minute})
		defer l.Close(t.Context())
		l.Start(node("w", simulated.Fail))
		next[launch.Started](t, l)
		if e := next[launch.Exited](t, l); e.Err == nil || e.Outputs.Stderr == "" {
			t.Errorf("a node that fails: %+v", e)
		}

		l.Start(node("w", simulated.Crash))
		next[launch.Started](t, l)
		next[launch.Up](t, l)
		if e := next[launch.Exited](t, l); e.Err == nil || e.Outputs.Stderr == "" {
			t.Errorf("a node that crashes: %+v", e)
		}
		want := zeekapi.NodeOutputs{Stdout: "w\n", Stderr: "h\n"} // the last two bytes
		if o, err := l.Outputs("w", 2); o != want || err != nil {
			t.Errorf("outputs %q, %v", o, err)
		}

		began := time.Now()
		l.Start(node("w", simulated.Hang))
		next[launch.Started](t, l)
		l.Stop("w")
		if e := next[launch.Exited](t, l); e.Err == nil {
			t.Errorf("a node that hangs: %+v", e)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %s to end", took)
		}

		l.Start(node("w", ""))
		next[launch.Started](t, l)
		l.Stop("w")
		next[launch.Exited](t, l) // before its hello
	})
}

func TestClose(t *testing.T) {
	l := simulated.New(simulated.Config{Patience: time.Hour})
	l.Start(node("w", simulated.Hang))
	next[launch.Started](t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	l.Close(ctx)
	next[launch.Exited](t, l)
	l.Start(node("w", ""))
	if _, err := l.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}

func TestDispatch(t *testing.T) {
	l := simulated.New(simulated.Config{})
	defer l.Close(t.Context())
	l.Start(node("w", ""))
	next[launch.Started](t, l)
	next[launch.Up](t, l)
	for _, tt := range []struct {
		action []string
		want   string
		err    string
	}{
		{nil, "", "no dispatch arguments provided"},
		{[]string{"x"}, "", "dispatch x unknown"},
		{[]string{"get_id_value"}, "", "get_id_value expects name of global identifier"},
		{[]string{"get_id_value", "x"}, "", "unknown id"},
		{[]string{"get_id_value", "Cluster::node"}, `"w"`, ""},
		{[]string{"get_id_value", "Cluster::manager_is_logger"}, `true`, ""},
		{[]string{"get_id_value", "Telemetry::metrics_port"}, `{"port":9001,"proto":"tcp"}`, ""},
		{[]string{"get_id_value", "Cluster::nodes"}, `{"m":{"node_type":"Cluster::MANAGER","ip":"10.0.0.1","zone_id":"","p":{"port":2200,"proto":"tcp"}},` +
			`"w":{"node_type":"Cluster::WORKER","ip":"10.0.0.1","zone_id":"","p":{"port":0,"proto":"unknown"},"manager":"m","metrics_port":{"port":9001,"proto":"tcp"}}}`, ""},
	} {
		l.Dispatch(zeekapi.NodeDispatchRequest{ReqID: zeekapi.ReqID{ID: "r"}, Action: tt.action, Nodes: []string{"unknown", "w"}})
		want := zeekapi.Result{ReqID: "r", Node: "w", Error: tt.err, Success: tt.err == ""}
		if want.Success {
			want.Data = broker.String(tt.want)
		}
		if diff := cmp.Diff(want, next[launch.Answered](t, l).Response.Result, cmp.Comparer(broker.Equal)); diff != "" {
			t.Errorf("%q: %s", tt.action, diff)
		}
	}
}
