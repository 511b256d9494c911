package clientcmd_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

// life has the effects of a controller until it is killed: the responses to requests by kind,
// in order, of which the last is repeated. The controller is killed instead of an empty
// response.
type life map[string][]any

// mortal is a controller that is killed and started again.
type mortal struct {
	t     *testing.T
	lives []life
	down  time.Duration // until the next life

	mu      sync.Mutex
	current *fake.Controller // nil while it is down
}

// start begins the next life, if there is one.
func (m *mortal) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.lives) == 0 {
		return
	}
	now := m.lives[0]
	m.lives = m.lives[1:]
	m.current = newController(m.t, func(msg zeekapi.Message) zeekapi.Message { return m.respond(now, msg) })
}

// respond returns the next response of a life, or ends it.
func (m *mortal) respond(now life, msg zeekapi.Message) zeekapi.Message {
	request := zeekapi.RequestOf(msg)
	m.mu.Lock()
	defer m.mu.Unlock()
	data := []any{[]zeekapi.ClusterEvent{}} // the probe
	if request.Name != "events" {
		data = now[request.Name]
	}
	if len(data) == 0 {
		m.t.Errorf("unexpected %T", msg)
		return nil
	}
	if len(data) > 1 {
		now[request.Name] = data[1:]
	}
	switch data := data[0].(type) {
	case nil:
		if current := m.current; current != nil {
			m.current = nil
			go current.Close()
			time.AfterFunc(m.down, m.start)
		}
		return nil
	case []zeekapi.Result:
		return request.Respond(msg.RequestID(), data...)
	default:
		return request.Respond(msg.RequestID(), zeekapi.Result{Success: true, Data: marshal(m.t, data)})
	}
}

func (m *mortal) dial(ctx context.Context, o connect.Options) (*connect.Connection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	return inProcess(m.current)(ctx, o)
}

const reconnecting = "warning: lost the connection to the controller; reconnecting, to see how "

// TestReconnect kills the controller while a command waits for it. The command shows the
// outcome in the next life.
func TestReconnect(t *testing.T) {
	status := func(s zeekapi.Status) zeekapi.Status { return s }
	job := func(number uint64, done, now, next string, problem string) zeekapi.Job {
		j := zeekapi.Job{Number: number, Started: time.Unix(1, 0), Done: strings.Fields(done), Now: strings.Fields(now), Next: strings.Fields(next), Error: problem}
		if len(j.Now) == 0 {
			j.Ended = time.Unix(2, 0)
		}
		return j
	}
	withJob := func(j zeekapi.Job) zeekapi.Status { return zeekapi.Status{Job: &j} }
	entry := func(number uint64, o zeekapi.Outcome, problems ...string) []zeekapi.Deployment {
		return []zeekapi.Deployment{{Number: number, Config: "c", Outcome: o, Errors: problems}}
	}
	node := func(state zeekapi.State) zeekapi.Status {
		return zeekapi.Status{Instances: []zeekapi.InstanceStatus{{
			Instance: zeekapi.Instance{Name: "a"}, Connected: true, Wanted: true,
			Nodes: []zeekapi.NodeDetail{{Status: zeekapi.NodeStatus{Node: "w", State: state, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}}},
		}}}
	}
	drained := func(connected bool) zeekapi.Status {
		return zeekapi.Status{Instances: []zeekapi.InstanceStatus{{Instance: zeekapi.Instance{Name: "a"}, Connected: connected, Drained: true}}}
	}
	before := zeekapi.Status{Last: &zeekapi.Deployment{Number: 6}}
	configuration := zeekapi.Configuration{ID: "c"}
	continues := []zeekapi.Result{{Error: zeekapi.ErrorTimeout}, {Error: "the deployment " + zeekapi.ErrorContinues + ", waiting for a"}}
	standing := []zeekapi.Result{{Success: true, Instance: "a"}}
	const notBegun = "error: no response received: disconnected: broker: closed; the controller had not begun "
	for _, test := range []struct {
		name, args     string
		lives          []life
		down           time.Duration
		stdout, stderr string
		exit           int
	}{
		{
			name: "rolling restart", args: "rolling-restart",
			lives: []life{
				{"rolling_restart": {job(3, "", "a", "b", "")}, "status": {status(zeekapi.Status{}), withJob(job(3, "", "a", "b", "")), nil}},
				{"status": {withJob(job(3, "", "a", "b", "")), withJob(job(3, "a", "b", "", "")), withJob(job(3, "a b", "", "", ""))}},
			},
			stdout: "Restarted: a, b\n", stderr: reconnecting + "rolling restart 3 continues\n",
		},
		{
			name: "rolling restart that fails", args: "rolling-restart",
			lives: []life{
				{"rolling_restart": {job(3, "", "a", "b", "")}, "status": {status(zeekapi.Status{}), nil}},
				{"status": {withJob(job(3, "", "a", "b", "")), nil}},
				{"status": {withJob(job(3, "", "", "a b", "node a is not back after 1m0s"))}},
			},
			stdout: "Rolling restart 3 ended early: node a is not back after 1m0s\nRestarted: (none)\n",
			stderr: strings.Repeat(reconnecting+"rolling restart 3 continues\n", 2), exit: 1,
		},
		{
			name: "rolling restart without a response", args: "rolling-restart", down: time.Minute,
			lives: []life{
				{"rolling_restart": {nil}, "status": {withJob(job(2, "x", "", "", ""))}},
				{"status": {withJob(job(3, "", "a", "", "")), withJob(job(3, "a", "", "", ""))}},
			},
			stdout: "Restarted: a\n", stderr: reconnecting + "the rolling restart continues\n",
		},
		{
			name: "rolling restart that did not begin", args: "rolling-restart",
			lives: []life{
				{"rolling_restart": {nil}, "status": {withJob(job(2, "x", "", "", ""))}},
				{"status": {withJob(job(2, "x", "", "", ""))}},
			},
			stderr: reconnecting + "the rolling restart continues\n" + notBegun + "the rolling restart, run the command again\n", exit: 1,
		},
		{
			name: "rolling restart for ever", args: "rolling-restart",
			lives: []life{{"rolling_restart": {job(3, "", "a", "b", "")}, "status": {status(zeekapi.Status{}), nil}}},
			stderr: reconnecting + "rolling restart 3 continues\n" +
				"error: stopped waiting; the controller continues rolling restart 3. See status, or cancel it with rolling-restart --cancel.\n" +
				"error: no response received: disconnected: broker: closed; the controller has not come back within 10m0s, see status when it has\n",
			exit: 1,
		},
		{
			name: "deployment", args: "deploy",
			lives: []life{
				{"status": {before}, "get_configuration": {configuration}, "deploy_staged": {continues}, "history": {entry(7, zeekapi.OutcomePending), nil}},
				{"history": {entry(7, zeekapi.OutcomePending), entry(7, zeekapi.OutcomeDeployed)}, "status": {node(zeekapi.StateRunning)}},
			},
			stdout: "INSTANCE  NODE  RESULT\na         w     ok\nDeployed configuration c.\n", stderr: reconnecting + "the deployment continues\n",
		},
		{
			name: "deployment without a response", args: "deploy",
			lives: []life{
				{"status": {before}, "get_configuration": {configuration}, "deploy_staged": {nil}},
				{"history": {entry(7, zeekapi.OutcomeRolledBack, "rolled back to deployment 6")}},
			},
			stdout: "error: rolled back to deployment 6\n", stderr: reconnecting + "the deployment continues\n", exit: 1,
		},
		{
			name: "deployment that did not begin", args: "deploy",
			lives: []life{
				{"status": {before}, "get_configuration": {configuration}, "deploy_staged": {nil}},
				{"history": {entry(6, zeekapi.OutcomeDeployed)}},
			},
			stderr: reconnecting + "the deployment continues\n" + notBegun + "the deployment, run the command again\n", exit: 1,
		},
		{
			name: "lost deployment", args: "rollback 5",
			lives: []life{
				{"status": {before}, "get_past": {configuration}, "get_instances": {[]zeekapi.Instance{}}, "rollback": {nil}},
				{"history": {entry(7, zeekapi.OutcomeLost, "nothing has changed")}},
			},
			stdout: "error: nothing has changed\n", stderr: reconnecting + "the deployment continues\n", exit: 1,
		},
		{
			name: "deployment without waiting", args: "deploy --wait 0",
			lives:  []life{{"status": {before}, "get_configuration": {configuration}, "deploy_staged": {nil}}},
			stderr: "error: no response received: disconnected: broker: closed\n", exit: 1,
		},
		{
			name: "drain", args: "drain a",
			lives: []life{
				{"drain": {nil}},
				{"status": {drained(false), drained(false), drained(true)}, "drain": {standing}},
			},
			stdout: "Drained a: no node is running.\n", stderr: reconnecting + "the draining of a continues\n",
		},
		{
			name: "drain of several instances", args: "drain a b",
			lives:  []life{{"drain": {standing, standing}}},
			stdout: "Drained a, b: no node is running.\n",
		},
		{
			name: "drain by glob", args: "drain a*",
			lives:  []life{{"get_configuration": {zeekapi.Configuration{ID: "c", Instances: []zeekapi.Instance{{Name: "a"}, {Name: "b"}}}}, "drain": {standing}}},
			stdout: "Drained a: no node is running.\n",
		},
		{
			name: "drain that did not begin", args: "drain a",
			lives:  []life{{"drain": {nil}}, {"status": {node(zeekapi.StateRunning)}, "drain": {standing}}},
			stdout: "Drained a: no node is running.\n", stderr: reconnecting + "the draining of a continues\n",
		},
		{
			name: "undrain", args: "undrain a",
			lives:  []life{{"drain": {nil}}, {"status": {node(zeekapi.StatePending), node(zeekapi.StateRunning)}}},
			stdout: "INSTANCE  NODE  RESULT\na         w     ok\n", stderr: reconnecting + "the undraining of a continues\n",
		},
		{
			name: "undrain that fails", args: "undrain a",
			lives:  []life{{"drain": {nil}}, {"status": {node(zeekapi.StateCrashed)}}},
			stdout: "INSTANCE  NODE  RESULT\na         w     failed\n", stderr: reconnecting + "the undraining of a continues\n", exit: 1,
		},
		{
			name: "undrain that did not begin", args: "undrain a",
			lives:  []life{{"drain": {nil}}, {"status": {drained(true)}, "drain": {standing}}},
			stdout: "a had no nodes to start.\n", stderr: reconnecting + "the undraining of a continues\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mortal{t: t, lives: test.lives, down: max(test.down, 3*time.Second)}
				m.start()
				tool := &clientcmd.Tool{Extended: true, Dial: m.dial}
				runCommand(t, tool, "", append(strings.Fields(test.args), "--json=false")...).want(t, outcome{test.stdout, test.stderr, test.exit})
			})
		})
	}
}

// brokenBus is a connection to a server that sends a broken frame instead of a
// response.
type brokenBus struct{ broker.Bus }

func (b brokenBus) Next(ctx context.Context) (broker.Notification, error) {
	n, err := b.Bus.Next(ctx)
	if lost, ok := n.(broker.PeerLost); ok {
		lost.Err = &broker.FrameError{Err: errors.New("too large")}
		n = lost
	}
	return n, err
}

// TestNoEndlessReconnects loses the connection again and again. A command ends, at once
// if the server is at fault.
func TestNoEndlessReconnects(t *testing.T) {
	var many []life
	for range 1000 {
		many = append(many, life{"drain": {nil}, "status": {zeekapi.Status{Instances: []zeekapi.InstanceStatus{{
			Instance: zeekapi.Instance{Name: "a"}, Connected: true, Drained: true,
		}}}}})
	}
	for _, test := range []struct {
		name       string
		broken     bool
		reconnects int
		stderr     string
	}{
		{"lost", false, 10, "error: no response received: disconnected: broker: closed; the connection was lost 11 times, see status\n"},
		{"broken frames", true, 0, "error: no response received: disconnected: broken frame from server to client at offset 0: too large\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mortal{t: t, lives: slices.Clone(many), down: time.Second / 2}
				m.start()
				dial := func(ctx context.Context, o connect.Options) (*connect.Connection, error) {
					c, err := m.dial(ctx, o)
					if err == nil && test.broken {
						c.Bus = brokenBus{c.Bus}
					}
					return c, err
				}
				tool := &clientcmd.Tool{Extended: true, Dial: dial}
				want := outcome{"", strings.Repeat(reconnecting+"the draining of a continues\n", test.reconnects) + test.stderr, 1}
				runCommand(t, tool, "", "drain", "a", "--json=false").want(t, want)
			})
		})
	}
}

// TestInterruptDuringReconnect checks that an interrupted command says what continues.
func TestInterruptDuringReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := zeekapi.Job{Number: 7, Started: time.Now(), Now: []string{"a"}}
		m := &mortal{t: t, down: time.Hour, lives: []life{{"rolling_restart": {j}, "status": {zeekapi.Status{}, nil}}}}
		m.start()
		stdout, stderr := interruptToolAfterMinute(t, &clientcmd.Tool{Extended: true, Getenv: noEnv, Dial: m.dial}, "rolling-restart")
		if !strings.Contains(stderr, "the controller continues rolling restart 7. See status") || stdout != "" {
			t.Errorf("stdout %q, stderr %q", stdout, stderr)
		}
	})
}
