package fake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newController(t *testing.T, cfg fake.Config) *fake.Controller {
	t.Helper()
	c, err := fake.NewController(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// transports maps the transports of a controller to functions that connect to it.
var transports = map[string]func(*testing.T, *fake.Controller) broker.Bus{
	"in process": func(_ *testing.T, c *fake.Controller) broker.Bus { return c.Bus() },
	"WebSocket":  dialer(connect.WebSocket, (*fake.Controller).ListenWebSocket),
	"native":     dialer(connect.Native, (*fake.Controller).ListenNative),
}

func dialer(by connect.Transport, listen func(*fake.Controller, context.Context) (string, error)) func(*testing.T, *fake.Controller) broker.Bus {
	return func(t *testing.T, c *fake.Controller) broker.Bus {
		address, err := listen(c, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := listen(c, t.Context()); again != address || err != nil {
			t.Errorf("listening again at %s, %v", again, err)
		}
		var topics []string
		for _, d := range c.Dialects() {
			topics = append(topics, d.Topics.Controller)
		}
		bus, err := connect.Dial(t.Context(), connect.Options{Address: address, Transport: by, Dialects: c.Dialects(), Topics: topics})
		if err != nil {
			t.Fatal(err)
		}
		return bus
	}
}

func newClient(t *testing.T, c *fake.Controller, bus broker.Bus) *client.Client {
	caller := client.New(bus, c.Dialects()...)
	t.Cleanup(func() { caller.Close() })
	return caller
}

// shortContext returns a context for calls that get no response.
func shortContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// A fake without handlers behaves like a cluster.
func TestControllerWithoutHandlers(t *testing.T) {
	for name, dial := range transports {
		t.Run(name, func(t *testing.T) {
			c := newController(t, fake.Config{})
			caller := newClient(t, c, dial(t, c))
			if _, err := caller.Stage(t.Context(), fake.SampleCluster()); err != nil {
				t.Fatal(err)
			}
			deployed, err := caller.Deploy(t.Context())
			if err != nil || deployed.Failed || len(deployed.Nodes) != 4 {
				t.Errorf("deployed %+v, %v", deployed, err)
			}
			status, err := caller.Status(t.Context())
			if err != nil || len(status.Instances) != 1 || !status.Instances[0].Connected || status.Deployed != "sample" {
				t.Errorf("status %+v, %v", status, err)
			}
			value, err := caller.GetIDValue(t.Context(), "Cluster::node", "logger")
			if err != nil || len(value) != 1 || string(value[0].Value) != `"logger"` {
				t.Errorf("value %+v, %v", value, err)
			}
		})
	}
}

// A handler can return results, an error, or one of the special errors.
func TestHandlerResults(t *testing.T) {
	for name, dial := range transports {
		t.Run(name, func(t *testing.T) {
			cluster := fake.SampleCluster()
			c := newController(t, fake.Config{Cluster: &cluster})
			if got := c.Requests(); len(got) != 0 {
				t.Errorf("requests before the first call: %+v", got)
			}
			caller := newClient(t, c, dial(t, c))
			var outcome error
			fake.Handle(c, zeekapi.RollbackCall, func(_ context.Context, q zeekapi.RollbackRequest) ([]zeekapi.Result, error) {
				return fake.Success(fmt.Sprint("config-", q.Number)), outcome
			})
			if got, err := caller.Rollback(t.Context(), 7, zeekapi.DeployOptions{}); err != nil || got.ID != "config-7" {
				t.Errorf("with results: %+v, %v", got, err)
			}
			outcome = errors.New("not today")
			if got, err := caller.Rollback(t.Context(), 1, zeekapi.DeployOptions{}); err != nil || !got.Failed || strings.Join(got.Errors, "") != "not today" {
				t.Errorf("with an error: %+v, %v", got, err)
			}
			outcome = fake.ErrForward
			if got, err := caller.Rollback(t.Context(), 99, zeekapi.DeployOptions{}); err != nil || !strings.Contains(strings.Join(got.Errors, ""), "99") {
				t.Errorf("with ErrForward: %+v, %v", got, err)
			}
			outcome = fake.ErrNoResponse
			if _, err := caller.Rollback(shortContext(t), 1, zeekapi.DeployOptions{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with ErrNoResponse: %v", err)
			}
			fake.Handle(c, zeekapi.DeployStagedCall, func(context.Context, zeekapi.DeployStagedRequest) ([]zeekapi.Result, error) {
				return nil, fake.ErrLoseResponse
			})
			if _, err := caller.DeployStaged(shortContext(t), zeekapi.DeployOptions{Force: true}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with ErrLoseResponse: %v", err)
			}
			fake.Handle(c, zeekapi.DeployStagedCall, nil)
			history, err := caller.History(t.Context(), 1)
			if err != nil || len(history) != 1 || history[0].Action != "force" {
				t.Errorf("history after ErrLoseResponse: %+v, %v", history, err)
			}
			outcome = fake.ErrDisconnect
			if _, err := caller.Rollback(t.Context(), 1, zeekapi.DeployOptions{}); !errors.Is(err, request.ErrDisconnected) {
				t.Errorf("with ErrDisconnect: %v", err)
			}
			if got := len(c.Requests()); got != 7 {
				t.Errorf("%d requests, want 7", got)
			}
			again := newClient(t, c, dial(t, c))
			if _, err := again.GetInstances(t.Context()); err != nil {
				t.Errorf("after reconnecting: %v", err)
			}
			c.Disconnect()
			for err := error(nil); !errors.Is(err, request.ErrDisconnected); {
				_, err = again.GetInstances(t.Context())
			}
		})
	}
}

func TestScriptOnlyController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newController(t, fake.Config{ScriptOnly: true})
		bus := c.Bus()
		caller := newClient(t, c, bus)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := caller.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without handlers: %v", err)
		}
		c.HandleRest(func(_ context.Context, m zeekapi.Message) ([]zeekapi.Result, error) {
			return nil, fmt.Errorf("no %s here", zeekapi.RequestOf(m).Name)
		})
		fake.Handle(c, zeekapi.GetInstancesCall, func(context.Context, zeekapi.GetInstancesRequest) ([]zeekapi.Result, error) {
			return fake.Success([]zeekapi.Instance{}), nil
		})
		if _, err := caller.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no status here") {
			t.Errorf("with a handler for the rest: %v", err)
		}
		if got, err := caller.GetInstances(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("instances %v, %v", got, err)
		}
		events := make(chan zeekapi.ClusterEvent, 1)
		caller.OnEvent(func(e zeekapi.ClusterEvent) { events <- e })
		if err := c.Say(t.Context(), zeekapi.EventReport{Event: zeekapi.ClusterEvent{Number: 3, Time: time.Now(), Kind: zeekapi.EventLog}}); err != nil {
			t.Fatal(err)
		}
		if e := <-events; e.Number != 3 {
			t.Errorf("event %+v", e)
		}
		c.HandleRest(nil)
		caller.Close()
		c.Close()
	})
}

// unknownMessage is in no dialect.
type unknownMessage struct{ zeekapi.OneWay }

// Invalid use of a fake in a test is an error.
func TestMisuseReturnsErrors(t *testing.T) {
	c, err := fake.NewController(t.Context(), fake.Config{ScriptOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	caller := newClient(t, c, c.Bus())
	fake.Handle(c, zeekapi.GetInstancesCall, func(context.Context, zeekapi.GetInstancesRequest) ([]zeekapi.Result, error) {
		return []zeekapi.Result{{Data: broker.Vector(broker.Set(broker.Count(1), broker.Count(1)))}}, nil
	})
	if _, err := caller.GetInstances(t.Context()); err == nil {
		t.Error("no error for data of the wrong type")
	}
	if err := c.Say(t.Context(), unknownMessage{}); !errors.Is(err, zeekapi.ErrUnknown) {
		t.Errorf("message outside the dialects: error %v", err)
	}
	for range 2 { // Close can be called twice
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := fake.Await[zeekapi.DeployRequest](t.Context(), c); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Await after Close: %v", err)
	}
	late := c.Bus()
	for err = nil; err == nil; { // a bus of a closed fake is closed
		_, err = late.Next(t.Context())
	}
	if !errors.Is(err, broker.ErrClosed) {
		t.Errorf("bus of a closed fake: error %v", err)
	}

	for _, cfg := range []fake.Config{
		{RequestTimeout: -1}, {ScriptOnly: true, Instances: []string{"a"}}, {Instances: []string{"a", "a"}}, {Instances: []string{"a/b"}},
		{Cluster: &zeekapi.Configuration{ID: "c", Nodes: []zeekapi.Node{{Name: "x", Instance: "nowhere", Role: zeekapi.RoleWorker, State: zeekapi.StateRunning}}}},
	} {
		if c, err := fake.NewController(t.Context(), cfg); err == nil {
			c.Close()
			t.Errorf("no error for %+v", cfg)
		}
	}
}

// An emulated Zeek has the dialects of its version, and reports unknown events if
// its version does.
func TestZeekEmulatesVersions(t *testing.T) {
	for version, reports := range map[string]bool{"5.0.0": false, "8.0.2": false, "8.0.3": true, "8.1.0": true, "9.0.0": true, "unknown": false} {
		t.Run(version, func(t *testing.T) {
			c := newController(t, fake.Zeek(version))
			address, err := c.ListenWebSocket(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			messages := make(chan jsonv1.Error, 1)
			bus, err := websocket.Dial(t.Context(), websocket.ClientConfig{
				Address: address, Subscriptions: []string{c.Dialects()[0].Topics.Controller}, OnError: func(e jsonv1.Error) { messages <- e },
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := bus.Ack().Version; got != version {
				t.Errorf("the version is %q, want %q", got, version)
			}
			caller := newClient(t, c, bus)
			if err := bus.Publish(t.Context(), c.Dialects()[0].Topics.Controller, broker.NewEvent("Other::event").Value()); err != nil {
				t.Fatal(err)
			}
			if got, err := caller.GetInstances(t.Context()); err != nil || len(got) != 1 {
				t.Errorf("instances %v, %v", got, err)
			}
			if got := len(messages) == 1; got != reports {
				t.Errorf("error message for an unknown event: %v, want %v", got, reports)
			}
		})
	}
	stock, ours := newController(t, fake.Zeek("8.0.2")), newController(t, fake.Config{})
	all := client.New(stock.Bus(ours.Topics()...), ours.Dialects()...)
	defer all.Close()
	if err := all.Probe(t.Context()); !errors.Is(err, client.ErrUnsupported) {
		t.Errorf("Probe: %v", err)
	}
}

func TestClusterAgentDialect(t *testing.T) {
	cluster := fake.SampleCluster()
	for i := range cluster.Nodes {
		if cluster.Nodes[i].Role != zeekapi.RoleWorker {
			cluster.Nodes[i].Port = broker.TCP(uint16(5000 + i))
		}
	}
	c := newController(t, fake.Config{Dialects: []*zeekapi.Dialect{clusteragent.Dialect(clusteragent.DefaultTopics)}, Cluster: &cluster})
	got, err := newClient(t, c, c.Bus()).GetNodes(t.Context())
	if err != nil || len(got) != 1 || len(got[0].Nodes) < len(cluster.Nodes) {
		t.Errorf("nodes %+v, %v", got, err)
	}
}

// Close reports a response that the dialect of its request cannot encode.
func TestCloseReportsInvalidResponse(t *testing.T) {
	c, err := fake.NewController(t.Context(), fake.Config{ScriptOnly: true, Dialects: []*zeekapi.Dialect{clusteragent.Dialect(clusteragent.DefaultTopics)}})
	if err != nil {
		t.Fatal(err)
	}
	fake.Handle(c, zeekapi.GetNodesCall, func(context.Context, zeekapi.GetNodesRequest) ([]zeekapi.Result, error) {
		return fake.Success("no nodes"), nil
	})
	if _, err := newClient(t, c, c.Bus()).GetNodes(shortContext(t)); err == nil {
		t.Error("no error for data of the wrong type")
	}
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "responding to get_nodes") {
		t.Errorf("Close: %v", err)
	}
}

// A fake communicates on every attached bus.
func TestAttachedBus(t *testing.T) {
	c := newController(t, fake.Config{})
	hub := membus.New()
	if err := c.Attach(hub.Endpoint(c.Topics()...)); err != nil {
		t.Fatal(err)
	}
	caller := newClient(t, c, hub.Endpoint(c.Dialects()[0].Topics.Controller))
	if got, err := caller.GetInstances(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("instances %v, %v", got, err)
	}
	fake.Handle(c, zeekapi.GetInstancesCall, func(context.Context, zeekapi.GetInstancesRequest) ([]zeekapi.Result, error) {
		return nil, fake.ErrDisconnect
	})
	if _, err := caller.GetInstances(t.Context()); !errors.Is(err, request.ErrDisconnected) {
		t.Errorf("with ErrDisconnect: %v", err)
	}
}

// A handler that waits delays the requests after it.
func TestHandlerDelaysLaterRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newController(t, fake.Config{})
		caller := newClient(t, c, c.Bus())
		fake.Handle(c, zeekapi.StatusCall, func(ctx context.Context, _ zeekapi.StatusRequest) ([]zeekapi.Result, error) {
			time.Sleep(time.Minute)
			return nil, fake.ErrForward
		})
		began := time.Now()
		if _, err := caller.Status(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Minute { // on the clock of the synctest bubble
			t.Errorf("the call took %v, want 1m", took)
		}
		c.Mute(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := caller.GetInstances(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("muted controller: error %v", err)
		}
		c.Mute(false)
		if _, err := caller.GetInstances(t.Context()); err != nil {
			t.Error(err)
		}
		caller.Close()
		c.Close()
	})
}
