package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var dialect = management.Dialect(management.DefaultTopics)

// respond handles a request as a controller. See fake.Handle.
type respond func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error)

// start connects a client to a controller, and closes both at the end of the test.
func start(t *testing.T, h respond, dialects ...*zeekapi.Dialect) (*client.Client, *fake.Controller) {
	t.Helper()
	ctl, err := fake.NewController(t.Context(), fake.Config{ScriptOnly: true, Dialects: dialects})
	if err != nil {
		t.Fatal(err)
	}
	ctl.HandleRest(func(_ context.Context, m zeekapi.Message) ([]zeekapi.Result, error) { return h(ctl, m) })
	c := client.New(ctl.Bus(), dialects...)
	t.Cleanup(func() {
		c.Close()
		if err := ctl.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, ctl
}

func data(t *testing.T, v any) broker.Value {
	out, err := record.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var (
	one = zeekapi.Instance{Name: "one", Host: netip.MustParseAddr("10.0.0.1")}
	two = zeekapi.Instance{Name: "two", Host: netip.MustParseAddr("10.0.0.2"), Port: broker.TCP(2151)}

	config = zeekapi.Configuration{
		ID:        "config",
		Instances: []zeekapi.Instance{one, two},
		Nodes: []zeekapi.Node{{
			Name: "manager", Instance: "one", Role: zeekapi.RoleManager, State: zeekapi.StateRunning,
			Env: map[string]string{"A": "b"},
		}},
	}
)

// TestMaxResults checks that a response with too many results is an error.
func TestMaxResults(t *testing.T) {
	for _, extra := range []int{0, 1} {
		c, _ := start(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) {
			return make([]zeekapi.Result, client.MaxResults+extra), nil
		}, dialect)
		_, err := c.Restart(t.Context())
		if got := err != nil; got != (extra > 0) {
			t.Errorf("%d results more than allowed: %v", extra, err)
		}
	}
}

func TestCallsSendRequestsAndDecodeResults(t *testing.T) {
	ctx := t.Context()
	instances := []zeekapi.Instance{one, two}
	running := zeekapi.NodeStatus{
		Node: "manager", State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone,
		ClusterRole: zeekapi.RoleManager, PID: 7, Port: broker.TCP(2200),
	}
	agent := running
	agent.Node = "agent"
	tests := []struct {
		name    string
		call    func(*client.Client) (any, error)
		request zeekapi.Message // without its ID
		results []zeekapi.Result
		want    any
		wantErr string
	}{
		{
			name:    "instances",
			call:    func(c *client.Client) (any, error) { return c.GetInstances(ctx) },
			request: zeekapi.GetInstancesRequest{},
			results: []zeekapi.Result{{Success: true, Data: data(t, []zeekapi.Instance{two, one})}},
			want:    instances,
		},
		{
			name:    "instances without data",
			call:    func(c *client.Client) (any, error) { return c.GetInstances(ctx) },
			request: zeekapi.GetInstancesRequest{},
			results: []zeekapi.Result{{Success: true}},
			wantErr: "client: result without data",
		},
		{
			name:    "instances of the wrong type",
			call:    func(c *client.Client) (any, error) { return c.GetInstances(ctx) },
			request: zeekapi.GetInstancesRequest{},
			results: []zeekapi.Result{{Success: true, Data: broker.Count(1)}},
			wantErr: "client: result: record: want vector, got count",
		},
		{
			name:    "stage",
			call:    func(c *client.Client) (any, error) { return c.Stage(ctx, config) },
			request: zeekapi.StageConfigurationRequest{Config: config},
			results: []zeekapi.Result{{Success: true, Data: broker.String("config")}},
			want:    "config",
		},
		{
			name:    "refused configuration",
			call:    func(c *client.Client) (any, error) { return c.Stage(ctx, config) },
			request: zeekapi.StageConfigurationRequest{Config: config},
			results: []zeekapi.Result{{Error: "bad"}, {Error: "worse"}},
			want:    "",
			wantErr: "client: controller refuses: bad; worse",
		},
		{
			name:    "configuration",
			call:    func(c *client.Client) (any, error) { return c.GetConfiguration(ctx, true) },
			request: zeekapi.GetConfigurationRequest{Deployed: true},
			results: []zeekapi.Result{{Success: true, Data: data(t, config)}},
			want:    config,
		},
		{
			name:    "no configuration",
			call:    func(c *client.Client) (any, error) { return c.GetConfiguration(ctx, false) },
			request: zeekapi.GetConfigurationRequest{},
			results: []zeekapi.Result{{Error: "no staged configuration available"}},
			want:    zeekapi.Configuration{},
			wantErr: "client: controller refuses: no staged configuration available",
		},
		{
			name:    "deploy",
			call:    func(c *client.Client) (any, error) { return c.Deploy(ctx) },
			request: zeekapi.DeployRequest{},
			results: []zeekapi.Result{
				{Success: true, Instance: "one", Node: "manager"},
				{Instance: "one", Node: "worker", Data: data(t, zeekapi.NodeOutputs{Stdout: "out", Stderr: "err"})},
				{Instance: "two", Error: "request timed out"},
				{Success: true, Instance: "three"},
				{Success: true, Data: broker.String("config")},
				{Success: true},
			},
			want: client.DeployResult{
				ID: "config", Failed: true,
				Nodes: []client.DeployedNode{
					{Node: "manager", Instance: "one", Success: true},
					{Node: "worker", Instance: "one", Outputs: &zeekapi.NodeOutputs{Stdout: "out", Stderr: "err"}},
				},
				Errors:  []string{"request timed out"},
				Strange: []zeekapi.Result{{Success: true}},
			},
		},
		{
			name:    "deploy continues",
			call:    func(c *client.Client) (any, error) { return c.Deploy(ctx) },
			request: zeekapi.DeployRequest{},
			results: []zeekapi.Result{
				{Error: zeekapi.ErrorTimeout},
				{Error: "the deployment " + zeekapi.ErrorContinues + ", waiting for one"},
			},
			want: client.DeployResult{
				Failed: true, Continues: true,
				Errors: []string{"request timed out", "the deployment goes on, waiting for one"},
			},
		},
		{
			name:    "agents cannot pretend that a deployment continues",
			call:    func(c *client.Client) (any, error) { return c.Deploy(ctx) },
			request: zeekapi.DeployRequest{},
			results: []zeekapi.Result{
				{Error: zeekapi.ErrorTimeout},
				{Instance: "one", Error: "it " + zeekapi.ErrorContinues + ", really"},
				{Instance: "one", Error: zeekapi.ErrorRefused},
			},
			want: client.DeployResult{
				Failed: true,
				Errors: []string{"request timed out", "it goes on, really", zeekapi.ErrorRefused},
			},
		},
		{
			name:    "refused",
			call:    func(c *client.Client) (any, error) { return c.Deploy(ctx) },
			request: zeekapi.DeployRequest{},
			results: []zeekapi.Result{
				{Instance: "one", Node: "worker", Error: "bad", Data: data(t, zeekapi.NodeOutputs{Stderr: "bad"})},
				{Error: zeekapi.ErrorRefused},
			},
			want: client.DeployResult{
				Failed: true, Refused: true, Errors: []string{zeekapi.ErrorRefused},
				Nodes: []client.DeployedNode{{Node: "worker", Instance: "one", Error: "bad", Outputs: &zeekapi.NodeOutputs{Stderr: "bad"}}},
			},
		},
		{
			name:    "nodes",
			call:    func(c *client.Client) (any, error) { return c.GetNodes(ctx) },
			request: zeekapi.GetNodesRequest{},
			results: []zeekapi.Result{
				{Error: "request timed out"},
				{Success: true, Instance: "two", Data: data(t, []zeekapi.NodeStatus{running, agent})},
				{Success: true, Instance: "one", Data: data(t, []zeekapi.NodeStatus{})},
			},
			want: []client.InstanceNodes{
				{Instance: "one", Nodes: []zeekapi.NodeStatus{}},
				{Instance: "two", Nodes: []zeekapi.NodeStatus{agent, running}},
				{Err: &client.RefusedError{Texts: []string{"request timed out"}}},
			},
		},
		{
			name:    "value",
			call:    func(c *client.Client) (any, error) { return c.GetIDValue(ctx, "x", "b", "a") },
			request: zeekapi.GetIDValueRequest{Identifier: "x", Nodes: []string{"a", "b"}},
			results: []zeekapi.Result{
				{Success: true, Instance: "one", Node: "b", Data: broker.String(`{"x":[1]}`)},
				{Success: true, Instance: "one", Node: "a", Data: broker.String(`{`)},
				{Instance: "one", Node: "c", Error: "unknown id"},
			},
			want: []client.NodeValue{
				{Node: "a", Err: errors.New("unexpected end of JSON input")},
				{Node: "b", Value: []byte(`{"x":[1]}`)},
				{Node: "c", Err: &client.RefusedError{Texts: []string{"unknown id"}}},
			},
		},
		{
			name:    "restart all",
			call:    func(c *client.Client) (any, error) { return c.Restart(ctx) },
			request: zeekapi.RestartRequest{Nodes: []string{}},
			results: []zeekapi.Result{
				{Success: true, Instance: "two", Node: "a"}, {Success: true, Instance: "one", Node: "b"}},
			want: []zeekapi.Result{{Success: true, Instance: "one", Node: "b"}, {Success: true, Instance: "two", Node: "a"}},
		},
		{
			name:    "test timeout",
			call:    func(c *client.Client) (any, error) { return c.TestTimeout(ctx, true) },
			request: zeekapi.TestTimeoutRequest{WithState: true},
			results: []zeekapi.Result{{Error: zeekapi.ErrorTimeout}},
			want:    zeekapi.Result{Error: zeekapi.ErrorTimeout},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _ := start(t, func(_ *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
				if diff := diff(test.request, m); diff != "" {
					t.Errorf("request (-want +got)\n%s", diff)
				}
				return test.results, nil
			}, dialect)
			got, err := test.call(c)
			if text(err) != test.wantErr {
				t.Errorf("error %q, want %q", text(err), test.wantErr)
			}
			if test.want != nil {
				if diff := diff(test.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// diff compares two values. It ignores request IDs, and compares errors by text.
func diff(want, got any) string {
	return cmp.Diff(want, got,
		cmp.Comparer(broker.Equal),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b error) bool { return text(a) == text(b) }),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".ReqID" }, cmp.Ignore()),
	)
}

func TestClusterAgentDialect(t *testing.T) {
	old := clusteragent.Dialect(clusteragent.DefaultTopics)
	c, _ := start(t, func(_ *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
		if r, ok := m.(zeekapi.SetConfigurationRequest); ok && r.Config.ID == "config" {
			return []zeekapi.Result{{Instance: "one", Error: "no"}}, nil
		}
		return nil, fake.ErrNoResponse
	}, old)
	d, err := c.SetConfiguration(t.Context(), config)
	if err != nil || !d.Failed || cmp.Diff(d.Errors, []string{"no"}) != "" {
		t.Errorf("deployment %+v, error %v", d, err)
	}
	if _, err := c.Stage(t.Context(), config); !errors.Is(err, zeekapi.ErrUnknown) {
		t.Errorf("Stage: error %v, want ErrUnknown", err)
	}
}

// A call ignores all messages other than its response, also a repeated response and
// one after its deadline.
func TestCallIgnoresOtherMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := fake.Success([]zeekapi.Instance{one})
		first := true
		c, _ := start(t, func(ctl *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
			if !first {
				time.Sleep(2 * time.Second)
				return answer, nil
			}
			first = false
			topic := dialect.Topics.Controller
			response := zeekapi.GetInstancesCall.Respond(m.RequestID(), answer...)
			say(t, ctl, zeekapi.GetInstancesCall.Respond("other", answer...))
			say(t, ctl, zeekapi.DeployCall.Respond(m.RequestID()))            // of the wrong type
			say(t, ctl, zeekapi.DeployRequest{ReqID: zeekapi.ReqID{ID: "x"}}) // a request
			publish(t, ctl, topic, broker.NewEvent("other::event").Value())
			publish(t, ctl, topic, broker.String("not an event"))
			publish(t, ctl, topic, broker.NewEvent("Management::Controller::API::deploy_response", broker.String("x")).Value())
			ev, _ := dialect.Encode(response)
			publish(t, ctl, topic+"/elsewhere", ev.Value())
			say(t, ctl, response)
			return answer, nil
		}, dialect)
		if got, err := c.GetInstances(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("got %v, error %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := c.GetInstances(ctx)
		var missing *request.NoResponseError
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &missing) ||
			missing.Event != "Management::Controller::API::get_instances_request" {
			t.Errorf("error %v", err)
		}
		if waited := time.Since(begin); waited != time.Second { // on the clock of the synctest bubble
			t.Errorf("waited %v, want 1s", waited)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got, want := c.Stats(), (request.Stats{Stale: 2, Foreign: 5, Malformed: 2}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
	})
}

func say(t *testing.T, ctl *fake.Controller, m zeekapi.Message) {
	t.Helper()
	if err := ctl.Say(t.Context(), m); err != nil {
		t.Error(err)
	}
}

func publish(t *testing.T, ctl *fake.Controller, topic string, v broker.Value) {
	t.Helper()
	if err := ctl.Publish(t.Context(), topic, v); err != nil {
		t.Error(err)
	}
}

func TestMalformedResponseEndsCall(t *testing.T) {
	c, _ := start(t, func(ctl *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
		publish(t, ctl, dialect.Topics.Controller,
			broker.NewEvent("Management::Controller::API::deploy_response", broker.String(m.RequestID()), broker.Count(1)).Value())
		return nil, fake.ErrNoResponse
	}, dialect)
	_, err := c.Deploy(t.Context())
	var mapping *record.Error
	if !errors.As(err, &mapping) {
		t.Errorf("error %v", err)
	}
}

// Concurrent calls get their own responses, even in reverse order.
func TestConcurrentCalls(t *testing.T) {
	const calls = 100
	var waiting []zeekapi.GetIDValueRequest
	c, _ := start(t, func(ctl *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
		waiting = append(waiting, m.(zeekapi.GetIDValueRequest))
		if len(waiting) == calls {
			for _, r := range slices.Backward(waiting) {
				say(t, ctl, zeekapi.GetIDValueCall.Respond(r.ID, zeekapi.Result{Success: true, Node: "n", Data: broker.String(r.Identifier)}))
			}
		}
		return nil, fake.ErrNoResponse
	}, dialect)
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			values, err := c.GetIDValue(t.Context(), fmt.Sprint(i))
			if err != nil || len(values) != 1 || string(values[0].Value) != fmt.Sprint(i) {
				t.Errorf("call %d: %v, error %v", i, values, err)
			}
		})
	}
	all.Wait()
	if got := c.Stats(); got != (request.Stats{}) {
		t.Errorf("stats %+v, want zero", got)
	}
}

func TestDisconnectEndsCall(t *testing.T) {
	c, _ := start(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) { return nil, fake.ErrDisconnect }, dialect)
	if _, err := c.Deploy(t.Context()); !errors.Is(err, request.ErrDisconnected) {
		t.Errorf("error %v", err)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	asked := make(chan struct{})
	c, _ := start(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) {
		close(asked)
		return nil, fake.ErrNoResponse
	}, dialect)
	failed := make(chan error)
	go func() {
		_, err := c.Deploy(context.Background())
		failed <- err
	}()
	<-asked
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, request.ErrDisconnected) || !errors.Is(err, broker.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if _, err := c.Deploy(context.Background()); !errors.Is(err, request.ErrDisconnected) {
		t.Errorf("after Close: error %v", err)
	}
}

func TestServerErrorEndsOnlyPendingCall(t *testing.T) {
	reported := errors.New("failed to create Zeek event")
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		var c *client.Client
		c, _ = start(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) {
			if requests++; requests == 1 || requests == 3 {
				c.Complain(reported)
			}
			return nil, fake.ErrNoResponse
		}, dialect)
		// The error concerns the only pending call, which ends with it.
		if _, err := c.Deploy(t.Context()); !errors.Is(err, reported) {
			t.Errorf("error %v", err)
		}
		// With two pending calls, the error may concern either. Both time out and
		// mention it.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if _, err := c.Deploy(ctx); !errors.Is(err, reported) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
			})
		}
		both.Wait()
	})
}

// TestComplaintsAboutAllCalls checks that pending calls end when there were as many
// errors of the server as calls, and that a response shows that an earlier error was
// about another call.
func TestComplaintsAboutAllCalls(t *testing.T) {
	reported := errors.New("not understood")
	for name, complaints := range map[string]int{"one for each": 2, "one, and a response": 1} {
		t.Run(name, func(t *testing.T) {
			var c *client.Client
			var mu sync.Mutex
			requests := 0
			c, _ = start(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) {
				mu.Lock()
				defer mu.Unlock()
				if requests++; requests < 2 {
					return nil, fake.ErrNoResponse
				}
				for range complaints {
					c.Complain(reported)
				}
				if complaints == 2 {
					return nil, fake.ErrNoResponse
				}
				return []zeekapi.Result{{Success: true, Data: broker.String("c")}}, nil
			}, dialect)
			failed := make(chan error, 2)
			for range 2 {
				go func() {
					_, err := c.Deploy(t.Context())
					failed <- err
				}()
			}
			ended := 0
			for range 2 {
				if err := <-failed; errors.Is(err, reported) {
					ended++
				} else if err != nil {
					t.Errorf("error %v", err)
				}
			}
			if ended != complaints {
				t.Errorf("%d calls ended with the error, want %d", ended, complaints)
			}
		})
	}
}

// A call on a bus that cannot receive the response fails at once.
func TestCallRequiresSubscription(t *testing.T) {
	c := client.New(membus.New().Endpoint("other"), dialect)
	defer c.Close()
	_, err := c.GetInstances(t.Context())
	var missing *broker.NotSubscribedError
	if !errors.As(err, &missing) || missing.Topic != dialect.Topics.Controller {
		t.Errorf("error %v", err)
	}
}
