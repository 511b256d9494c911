package fake_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

func newAgent(t *testing.T, cfg fake.AgentConfig) *fake.Agent {
	t.Helper()
	a, err := fake.NewAgent(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// Agents that connect and agents that listen join a cluster over network
// connections.
func TestAgentsJoinOverNetwork(t *testing.T) {
	c := newController(t, fake.Config{Instances: []string{}})
	address, err := c.ListenNative(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	newAgent(t, fake.AgentConfig{Instance: "a", Controller: address})
	listens := newAgent(t, fake.AgentConfig{Instance: "b", Listen: true})
	at, err := listens.ListenNative(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Dialects() {
		hello, err := fake.Await[zeekapi.AgentHello](t.Context(), c)
		if err != nil || hello.Instance != "a" || i == 0 && !hello.Connecting {
			t.Fatalf("hello %+v, %v", hello, err)
		}
	}
	config := fake.SampleCluster("a", "b")
	addr := netip.MustParseAddrPort(at)
	config.Instances[1].Host, config.Instances[1].Port = addr.Addr(), broker.TCP(addr.Port())
	caller := newClient(t, c, c.Bus())
	if _, err := caller.Stage(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if got, err := caller.Deploy(t.Context()); err != nil || got.Failed || len(got.Nodes) != len(config.Nodes) {
		t.Errorf("deployed %+v, %v", got, err)
	}
	if got := listens.Requests(); len(got) == 0 {
		t.Error("the listening agent got no requests")
	}
}

// A handler of one agent can fail, and the agent can disconnect, without effect on
// the rest of the cluster.
func TestAgentHandlerFails(t *testing.T) {
	cluster := fake.SampleCluster()
	c := newController(t, fake.Config{Cluster: &cluster})
	caller := newClient(t, c, c.Bus())
	agent := c.Agent(fake.DefaultInstance)
	fake.Handle(agent, zeekapi.AgentGetNodesCall, func(context.Context, zeekapi.AgentGetNodesRequest) ([]zeekapi.Result, error) {
		return nil, errors.New("out of order")
	})
	got, err := caller.GetNodes(t.Context())
	if err != nil || len(got) != 1 || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), "out of order") || got[0].Instance != fake.DefaultInstance {
		t.Errorf("nodes %+v, %v", got, err)
	}
	agent.Disconnect()
	for {
		event, err := caller.Events(t.Context(), 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if event[0].Kind == zeekapi.EventLost {
			break
		}
	}
	if c.Agent("missing") != nil {
		t.Error("got an agent of an unknown instance")
	}
}

func TestAgentChangeReportsState(t *testing.T) {
	cluster := fake.SampleCluster()
	c := newController(t, fake.Config{Cluster: &cluster})
	caller := newClient(t, c, c.Bus())
	agent := c.Agent(fake.DefaultInstance)
	events := make(chan zeekapi.ClusterEvent, 16)
	caller.OnEvent(func(e zeekapi.ClusterEvent) { events <- e })
	if err := agent.Change(t.Context(), "proxy", zeekapi.StateFailed); err != nil {
		t.Fatal(err)
	}
	for e := range events {
		if e.Kind == zeekapi.EventState && e.Node == "proxy" {
			break
		}
	}
	change, err := fake.Await[zeekapi.AgentChange](t.Context(), c)
	if err != nil || change.Old != zeekapi.StateRunning || change.New != zeekapi.StateFailed || change.Node.Role != zeekapi.RoleProxy {
		t.Errorf("change %+v, %v", change, err)
	}
	state := func() zeekapi.State {
		t.Helper()
		status, err := caller.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range status.Instances[0].Nodes {
			if n.Status.Node == "proxy" {
				return n.Status.State
			}
		}
		return ""
	}
	if got := state(); got != zeekapi.StateFailed {
		t.Errorf("the proxy is %s, want FAILED", got)
	}
	if results, err := caller.Restart(t.Context(), "proxy"); err != nil || len(results) != 1 || !results[0].Success {
		t.Errorf("restart: %+v, %v", results, err)
	}
	if got := state(); got != zeekapi.StateRunning {
		t.Errorf("the proxy is %s after a restart, want RUNNING", got)
	}
	if err := agent.Change(t.Context(), "proxy", "odd"); err == nil {
		t.Error("no error for an unknown state")
	}
	if err := agent.Change(t.Context(), "unknown", zeekapi.StateRunning); err != nil {
		t.Error(err)
	}
}

// Tell sends requests to an agent, from a controller without handlers.
func TestTellSendsRequestToAgent(t *testing.T) {
	c := newController(t, fake.Config{ScriptOnly: true})
	agent := newAgent(t, fake.AgentConfig{Instance: "i", Bus: c.Bus(c.Dialects()[0].Topics.Agent("i"))})
	if _, err := fake.Await[zeekapi.AgentHello](t.Context(), c); err != nil {
		t.Fatal(err)
	}
	config := fake.SampleCluster("i")
	for i := range config.Nodes {
		config.Nodes[i].Port = broker.TCP(uint16(5000 + i))
	}
	if err := c.Tell(t.Context(), "i", zeekapi.AgentDeployCall.WithID(zeekapi.AgentDeployRequest{Config: config}, "r1")); err != nil {
		t.Fatal(err)
	}
	got, err := fake.Await[zeekapi.AgentDeployResponse](t.Context(), c)
	if err != nil || got.ID != "r1" || len(got.Results) != len(config.Nodes) {
		t.Errorf("response %+v, %v", got, err)
	}
	agent.Mute(true)
	if err := c.Tell(t.Context(), "i", zeekapi.AgentWelcomeRequest{ReqID: zeekapi.ReqID{ID: "r2"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := fake.Await[zeekapi.AgentWelcomeResponse](shortContext(t), c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("response of a muted agent: error %v", err)
	}
	if _, err := fake.Await[zeekapi.AgentWelcomeRequest](t.Context(), agent); err != nil {
		t.Errorf("a muted agent does not receive requests: %v", err)
	}
}

// A ScriptOnly agent sends only the messages of the test.
func TestScriptOnlyAgentSendsNoHello(t *testing.T) {
	c := newController(t, fake.Config{Instances: []string{}})
	agent := newAgent(t, fake.AgentConfig{Instance: "i", ScriptOnly: true})
	if err := c.Attach(agent.Bus(c.Topics()...)); err != nil {
		t.Fatal(err)
	}
	agent.HandleRest(func(context.Context, zeekapi.Message) ([]zeekapi.Result, error) { return fake.Success(nil), nil })
	if err := agent.Say(t.Context(), zeekapi.AgentHello{Instance: "i", Connecting: true, APIVersion: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := fake.Await[zeekapi.AgentHello](t.Context(), c); err != nil {
		t.Fatal(err)
	}
	got, err := newClient(t, c, c.Bus()).GetInstances(t.Context())
	if err != nil || len(got) != 1 || got[0].Name != "i" {
		t.Errorf("instances %+v, %v", got, err)
	}
	if _, err := fake.NewAgent(t.Context(), fake.AgentConfig{}); err == nil {
		t.Error("no error for an agent without a name")
	}
}
