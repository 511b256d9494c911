package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	newDialect = management.Dialect(management.DefaultTopics)
	oldDialect = clusteragent.Dialect(clusteragent.DefaultTopics)
)

// controller is the endpoint of an agent's controller.
type controller struct {
	*testing.T
	*membus.Endpoint
}

func newController(t *testing.T, hub *membus.Hub) controller {
	c := controller{t, hub.Endpoint(newDialect.Topics.AgentPrefix, newDialect.Topics.Node, oldDialect.Topics.AgentPrefix)}
	t.Cleanup(func() { c.Close() })
	return c
}

func (c controller) send(d *zeekapi.Dialect, topic string, m zeekapi.Message) {
	c.Helper()
	peertest.Say(c.Context(), c, c, d, topic, m)
}

// await returns the next message of its type in a dialect.
func await[M zeekapi.Message](c controller, d *zeekapi.Dialect) M {
	c.Helper()
	return peertest.Hear[M](c.Context(), c, c, d)
}

// start runs an agent "i" until stop is called or the test ends. It speaks both dialects
// of Zeek, and more.
func start(t *testing.T, hub *membus.Hub, launcher launch.Launcher, dir string, more ...*zeekapi.Dialect) (stop func()) {
	t.Helper()
	dialects := append([]*zeekapi.Dialect{newDialect, oldDialect}, more...)
	bus := hub.Endpoint(Topics("i", dialects...)...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{
			Settings: Settings{
				Name: "i", EndpointID: bus.ID().String(), Connecting: true, Listen: netip.MustParseAddrPort("0.0.0.0:2151"),
			},
			Bus: bus, Dialects: dialects, Launcher: launcher, StateDir: dir,
		})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		bus.Close()
		launcher.Close(context.Background())
	})
	t.Cleanup(stop)
	return stop
}

func TestRunInBothDialects(t *testing.T) {
	hub := membus.New()
	c := newController(t, hub)
	start(t, hub, simulated.New(simulated.Config{}), "")
	hello := await[zeekapi.AgentHello](c, newDialect)
	if hello.Instance != "i" || !hello.Connecting || hello.EndpointID == "" {
		t.Errorf("hello is %+v", hello)
	}
	await[zeekapi.AgentHello](c, oldDialect)

	config := configuration("c1", "l", "w")
	c.send(newDialect, "zeek/management/agent/i", deploy("r1", config))
	if got := await[zeekapi.AgentDeployResponse](c, newDialect); len(got.Results) != 2 || !got.Results[0].Success || !got.Results[1].Success {
		t.Errorf("deployment: %+v", got)
	}
	c.send(oldDialect, "zeek/cluster-control/agent/i", deploy("r2", config))
	if got := await[zeekapi.AgentDeployResponse](c, oldDialect); len(got.Results) != 1 || !got.Results[0].Success {
		t.Errorf("deployment in the other dialect: %+v", got)
	}

	c.send(newDialect, "zeek/management/agent/i", zeekapi.AgentDispatchRequest{
		ReqID: id("r3"), Action: []string{"get_id_value", "Cluster::node"}, Nodes: []string{"w"},
	})
	want := ok("r3", "w")
	want.Data = broker.String(`"w"`)
	if diff := gocmp.Diff([]zeekapi.Result{want}, await[zeekapi.AgentDispatchResponse](c, newDialect).Results, gocmp.Comparer(broker.Equal)); diff != "" {
		t.Error(diff)
	}
}

// An idle agent reports progress at the interval Beat, and ends when Ending is
// closed.
func TestRunBeatsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := membus.New().Endpoint(Topics("i", newDialect)...)
		launcher := simulated.New(simulated.Config{})
		defer launcher.Close(t.Context())
		defer bus.Close()
		beats, ending, began := 0, make(chan struct{}), time.Now()
		err := Run(t.Context(), Config{
			Settings: Settings{Name: "i"}, Bus: bus, Dialects: []*zeekapi.Dialect{newDialect}, Launcher: launcher,
			Beat: time.Second, Ending: ending,
			Observe: func(m *Machine, in Input, _ []Output) {
				if _, tick := in.(Tick); !tick {
					return
				}
				if beats++; beats == 60 {
					close(ending)
				}
			},
		})
		if took := time.Since(began); err != nil || took != time.Minute {
			t.Errorf("%d beats, one per second, in %s, then %v", beats, took, err)
		}
	})
}

// Agent i also receives requests for agent i-2, whose topic begins with its
// own, and messages that are not requests.
func TestRunIgnoresOtherMessages(t *testing.T) {
	hub := membus.New()
	c := newController(t, hub)
	start(t, hub, simulated.New(simulated.Config{}), "")
	await[zeekapi.AgentHello](c, newDialect)
	const topic = "zeek/management/agent/i"
	c.send(newDialect, topic+"-2", zeekapi.AgentWelcomeRequest{ReqID: id("not ours")})
	for _, v := range []broker.Value{
		broker.None(),
		broker.NewEvent("Unknown::event").Value(),
		broker.NewEvent("Management::Agent::API::deploy_request", broker.String("x")).Value(),
		broker.NewEvent("Management::Agent::API::agent_welcome_request", broker.Count(1)).Value(),
	} {
		if err := c.Publish(t.Context(), topic, v); err != nil {
			t.Fatal(err)
		}
	}
	c.send(newDialect, topic, zeekapi.AgentWelcomeRequest{ReqID: id("ours")})
	if got := await[zeekapi.AgentWelcomeResponse](c, newDialect); got.ID != "ours" {
		t.Errorf("response to %q", got.ID)
	}
}

func TestConfigurationIsRestored(t *testing.T) {
	hub := membus.New()
	c := newController(t, hub)
	dir := t.TempDir()
	config := configuration("c1", "l", "w")
	config.Nodes[1].Env = map[string]string{"X": "y"}
	cpu := int64(1)
	config.Nodes[1].CPUAffinity = &cpu
	config.Site = "5173"

	stop := start(t, hub, simulated.New(simulated.Config{}), dir)
	c.send(newDialect, "zeek/management/agent/i", deploy("r1", config))
	await[zeekapi.AgentDeployResponse](c, newDialect)
	c.send(newDialect, "zeek/management/agent/i", zeekapi.AgentRestartRequest{ReqID: id("r"), Nodes: []string{"w"}})
	await[zeekapi.AgentRestartResponse](c, newDialect)
	stop()
	past, err := newStateFiles(dir, "i").history()
	if err != nil || past["w"].Restarts != 1 {
		t.Errorf("history of nodes: %+v, %v", past, err)
	}
	saved, err := newStateFiles(dir, "i").load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(assigned(config), saved.Assignment, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}

	if err := os.WriteFile(newStateFiles(dir, "i").nodes, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop = start(t, hub, simulated.New(simulated.Config{}), dir)
	for range 2 {
		if change := await[zeekapi.AgentChange](c, newDialect); change.New != zeekapi.StateRunning {
			t.Errorf("%+v", change)
		}
	}
	c.send(newDialect, "zeek/management/agent/i", deploy("r2", config))
	if got := await[zeekapi.AgentDeployResponse](c, newDialect).Results; len(got) != 1 || !got[0].Success || got[0].Node != "" {
		t.Errorf("deployment of the running configuration: %+v", got)
	}
	c.send(newDialect, "zeek/management/agent/i", zeekapi.AgentStandbyRequest{})
	await[zeekapi.AgentStandbyResponse](c, newDialect)
	stop()
	if saved, err := newStateFiles(dir, "i").load(); !saved.Known || saved.Assignment != nil || err != nil {
		t.Errorf("after standby: %+v, %v", saved, err)
	}
}

// An agent loads the state that an earlier version has saved.
func TestStateOfEarlierVersions(t *testing.T) {
	dir := t.TempDir()
	config := configuration("c1", "w", "other/v")
	members, err := config.Members()
	if err != nil {
		t.Fatal(err)
	}
	saved := func(content map[string]any) string {
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for text, want := range map[string]State{
		saved(map[string]any{"version": 1, "config": config}):                                                                           {Known: true, Assignment: assigned(config)},
		saved(map[string]any{"version": 2, "assignment": map[string]any{"ID": "c1", "Nodes": config.NodesOn("i"), "Cluster": members}}): {Known: true, Assignment: assigned(config)},
		`{"version": 1, "config": null}`:     {Known: true},
		`{"version": 2, "assignment": null}`: {Known: true},
	} {
		state := newStateFiles(dir, "i")
		if err := os.MkdirAll(filepath.Dir(state.assignment), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(state.assignment, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := state.load()
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
}

// onBus hides the Dispatch method of a launcher, so that the agent sends
// requests for nodes on the bus.
type onBus struct{ launch.Launcher }

func TestDispatchOnBus(t *testing.T) {
	hub := membus.New()
	c := newController(t, hub)
	start(t, hub, onBus{simulated.New(simulated.Config{})}, "")
	await[zeekapi.AgentHello](c, newDialect)
	c.send(newDialect, "zeek/management/agent/i", deploy("r1", configuration("c1", "w")))
	await[zeekapi.AgentDeployResponse](c, newDialect)
	c.send(newDialect, "zeek/management/agent/i", zeekapi.AgentDispatchRequest{ReqID: id("r2"), Action: []string{"x"}})
	asked := await[zeekapi.NodeDispatchRequest](c, newDialect)
	c.send(newDialect, "zeek/management/node", zeekapi.NodeDispatchResponse{ReqID: asked.ReqID, Result: zeekapi.Result{ReqID: asked.ID, Node: "w", Error: "no"}})
	got := await[zeekapi.AgentDispatchResponse](c, newDialect)
	if diff := gocmp.Diff([]zeekapi.Result{failed("r2", "w", "no")}, got.Results, gocmp.Comparer(broker.Equal)); diff != "" {
		t.Error(diff)
	}
}

func TestRunFails(t *testing.T) {
	dir := t.TempDir()
	stateFile := filepath.Join(dir, "agents", "i.json")
	if err := os.Mkdir(filepath.Dir(stateFile), 0o755); err != nil {
		t.Fatal(err)
	}
	bus, launcher := membus.New().Endpoint(), simulated.New(simulated.Config{})
	defer bus.Close()
	defer launcher.Close(t.Context())
	good := Config{Settings: Settings{Name: "i"}, Bus: bus, Launcher: launcher, Dialects: []*zeekapi.Dialect{newDialect}, StateDir: dir}
	for _, tt := range []struct {
		name   string
		state  string
		change func(*Config)
		want   string
	}{
		{"no bus", "", func(c *Config) { c.Bus = nil }, "agent: no bus"},
		{"no launcher", "", func(c *Config) { c.Launcher = nil }, "agent: no launcher"},
		{"no dialects", "", func(c *Config) { c.Dialects = nil }, "agent: no dialects"},
		{"invalid name", "", func(c *Config) { c.Settings.Name = "a/b" }, `agent: instance name "a/b": want printable characters`},
		{"negative beat", "", func(c *Config) { c.Beat = -1 }, "agent: Beat is -1ns, must not be negative"},
		{"negative timeout", "", func(c *Config) { c.Settings.RequestTimeout = -1 }, "agent: RequestTimeout is -1ns, must not be negative"},
		{"zero Config", "", func(c *Config) { *c = Config{} }, "agent: no bus"},
		{"saved state is not JSON", "x", func(*Config) {}, "i.json: invalid character 'x'"},
		{"saved state of a later version", `{"version": 4}`, func(*Config) {}, "i.json has version 4, and this program reads 1 to 3"},
		{"saved state has an invalid layout", `{"version": 3, "assignment": {"ID": "c", "Layout": "w WORKER\n"}}`, func(*Config) {},
			`i.json: configuration c: zeekapi: layout: line 1: `},
		{"saved state has no role", `{"version": 2, "assignment": {"ID": "c", "Cluster": [{"Name": "w"}]}}`, func(*Config) {},
			`i.json: configuration c: node w has the unknown role ""`},
		{"saved state has an invalid port", `{"version": 2, "assignment": {"ID": "c", "Cluster": [{"Name": "w", "Role": "WORKER", "Port": {"Number": 1, "Protocol": 9}}]}}`, func(*Config) {},
			`i.json: configuration c: node w has a port of unknown protocol`},
		{"saved state has an invalid node state", `{"version": 2, "assignment": {"ID": "c", "Cluster": [{"Name": "w", "Role": "WORKER"}], "Nodes": [{"Name": "w", "Instance": "i", "Role": "WORKER", "State": "odd"}]}}`, func(*Config) {},
			`agent: configuration c: node w has the unknown state "odd"`},
		{"saved state lacks the layout", `{"version": 2, "assignment": {"ID": "c", "Nodes": [{"Name": "w", "Role": "WORKER"}]}}`, func(*Config) {},
			`agent: configuration c: node w is not in the layout of its cluster`},
		{"saved state of version 1 is invalid", `{"version": 1, "config": {"ID": "c", "Nodes": [{"Name": "w", "Role": "WORKER"}]}}`, func(*Config) {},
			`i.json: configuration c: node w is on instance ""`},
		{"bus ends", `{"version": 1}`, func(c *Config) {
			b := membus.New().Endpoint()
			b.Close()
			c.Bus = b
		}, "agent: bus: broker: closed"},
		{"launcher ends", `{"version": 1}`, func(c *Config) {
			l := simulated.New(simulated.Config{})
			l.Close(t.Context())
			c.Launcher = l
		}, "agent: launcher: broker: closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(stateFile, []byte(tt.state), 0o600); err != nil {
				t.Fatal(err)
			}
			c := good
			tt.change(&c)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // in case it does not fail
			defer cancel()
			if err := Run(ctx, c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// Two agents with the same name and state directory would revert each other's
// changes.
func TestStateDirectoryIsLocked(t *testing.T) {
	hub := membus.New()
	c := newController(t, hub)
	dir := t.TempDir()
	stop := start(t, hub, simulated.New(simulated.Config{}), dir)
	await[zeekapi.AgentHello](c, newDialect)
	bus, launcher := hub.Endpoint(), simulated.New(simulated.Config{})
	defer bus.Close()
	defer launcher.Close(t.Context())
	err := Run(t.Context(), Config{Settings: Settings{Name: "i"}, Bus: bus, Launcher: launcher, Dialects: []*zeekapi.Dialect{newDialect}, StateDir: dir})
	if err == nil || !strings.Contains(err.Error(), "is in use by another agent") {
		t.Errorf("second agent: %v", err)
	}
	stop()
}

func TestSaveErrorIsLogged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	p := &performer{Config: Config{Log: zerolog.New(&log)}, files: newStateFiles(file, "i")}
	in, err := p.perform(t.Context(), []Output{Persist{}, Remember{}})
	if err != nil || len(in) != 1 || in[0].(Persisted).Err == nil {
		t.Errorf("inputs %v, error %v, want a failed Persisted", in, err)
	}
	for _, want := range []string{"cannot save the configuration", "cannot save the history of nodes"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log is %q, want %q", log.String(), want)
		}
	}
}

// FuzzReceive checks that no message from a peer makes the agent panic or send
// a message that cannot be encoded, and that the agent still reports its nodes.
func FuzzReceive(f *testing.F) {
	seed := func(d *zeekapi.Dialect, topic string, m zeekapi.Message) {
		ev, err := d.Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(topic, bin.Append(nil, ev.Value()))
	}
	for _, d := range []*zeekapi.Dialect{newDialect, oldDialect} {
		seed(d, d.Topics.Agent("i"), deploy("r", configuration("c1", "l", "m", "w", "other/w2")))
		seed(d, d.Topics.Agent("i"), zeekapi.AgentStandbyRequest{})
		seed(d, d.Topics.Agent("i"), zeekapi.AgentGetNodesRequest{ReqID: id("r")})
	}
	seed(newDialect, "zeek/management/agent/i", zeekapi.AgentDispatchRequest{ReqID: id("r"), Action: []string{"x"}, Nodes: []string{"w"}})
	seed(newDialect, "zeek/management/agent/i", zeekapi.AgentRestartRequest{ReqID: id("r"), Nodes: []string{"w"}})
	seed(newDialect, "zeek/management/node", zeekapi.NodeHello{Node: "w"})
	own := operations.Dialect(operations.DefaultTopics)
	seed(own, own.Topics.Agent("i"), ours(deploy("r", configuration("c1", "l", "m", "w", "other/w2"))))
	seed(own, own.Topics.Agents, zeekapi.AgentLayout{ID: "x", Layout: ours(deploy("r", configuration("c1", "w"))).Layout})
	seed(own, own.Topics.Agent("i"), check("r", configuration("c2", "l", "w", "other/w2"), true))
	seed(own, own.Topics.Agent("i"), checkRestart("r", "w"))
	seed(own, own.Topics.Agent("i"), zeekapi.AgentStatusRequest{ReqID: id("r")})
	seed(own, own.Topics.Agent("i"), zeekapi.AgentLogsRequest{ReqID: id("r"), Node: "w", Bytes: 1})
	seed(newDialect, "zeek/management/node", zeekapi.NodeDispatchResponse{ReqID: id("x-1"), Result: ok("x-1", "w")})
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		v, err := bin.Decode(payload)
		if err != nil {
			return
		}
		r := &receiver{name: "i", dialects: []*zeekapi.Dialect{newDialect, oldDialect, own}}
		fleet := newFleet(t, connecting("i"), nil)
		fleet.ask(deploy("r", configuration("c1", "l", "m", "w")))
		fleet.pass(time.Second)
		if in, ok := r.decode(broker.Received{Message: broker.Message{Topic: topic, Value: v}}); ok {
			fleet.step(in)
			fleet.pass(time.Minute)
		}
		for _, p := range take[Publish](fleet) {
			for _, d := range r.dialects {
				if !d.Has(p.Message) || p.Dialect != nil && p.Dialect != d {
					continue
				}
				if _, err := d.Encode(p.Message); err != nil {
					t.Errorf("%+v: %v", p.Message, err)
				}
			}
		}
		fleet.statuses()
	})
}

// unscanned hides that a launcher can check and scan.
type unscanned struct {
	launch.Launcher
	launch.Dispatcher
}

// An agent can be asked for checks with any launcher.
func TestChecksWithAnyLauncher(t *testing.T) {
	own := operations.Dialect(operations.DefaultTopics)
	simulation := simulated.New(simulated.Config{})
	for name, tt := range map[string]struct {
		launcher launch.Launcher
		want     []zeekapi.Result
	}{
		"that checks": {simulated.New(simulated.Config{}), []zeekapi.Result{troubled("r", "w", "told to fail the check")}},
		"that cannot": {unscanned{simulation, simulation}, []zeekapi.Result{ok("r", "")}},
	} {
		t.Run(name, func(t *testing.T) {
			hub := membus.New()
			bus := hub.Endpoint(Topics("i", own)...)
			c := controller{t, hub.Endpoint(own.Topics.AgentPrefix)}
			defer c.Close()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- Run(ctx, Config{Settings: Settings{Name: "i"}, Bus: bus, Dialects: []*zeekapi.Dialect{own}, Launcher: tt.launcher})
			}()
			defer func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				bus.Close()
				tt.launcher.Close(context.Background())
			}()
			if d := await[zeekapi.AgentDescription](c, own); d.Revision != zeekapi.AgentRevision {
				t.Errorf("revision %d", d.Revision)
			}
			config := configuration("c1", "l", "w")
			config.Nodes[1].Env = map[string]string{simulated.Env: simulated.Refuse}
			c.send(own, own.Topics.Agent("i"), check("r", config, false))
			got := await[zeekapi.AgentCheckResponse](c, own).Results
			if diff := gocmp.Diff(tt.want, got, gocmp.Comparer(broker.Equal)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestKeptConfigurationsAreStored stores the earlier configurations of nodes.
func TestKeptConfigurationsAreStored(t *testing.T) {
	files := newStateFiles(t.TempDir(), "i")
	a := assigned(configuration("c", "l", "w"))
	kept := a.nodes()[:1]
	kept[0].Site, kept[0].Scripts = "earlier", []string{"s"}
	for _, k := range [][]launch.Node{kept, nil} {
		if err := files.save(a, k); err != nil {
			t.Fatal(err)
		}
		state, err := files.load()
		if err != nil || !slices.EqualFunc(k, state.Kept, launch.Node.Equal) {
			t.Errorf("kept %v, want %v, error %v", state.Kept, k, err)
		}
	}
}
