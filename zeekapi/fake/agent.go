package fake

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
)

// AgentConfig describes an Agent. Instance is required. With nothing else set,
// the agent speaks all dialects and has no connections yet: see Agent.Bus,
// Agent.Attach and Agent.AddPeer.
type AgentConfig struct {
	// Instance is the name of the instance.
	Instance string

	// Controller, if non-empty, is the "host:port" of a native endpoint to
	// connect to.
	Controller string

	// Listen makes the agent listen for its controller: see
	// Agent.ListenNative. Otherwise it says in its hello that it connects.
	Listen bool

	// Bus, if non-nil, is a bus on which the agent speaks. See Agent.Attach.
	Bus broker.Bus

	// Dialects are those that the agent speaks. Nil means all: Management,
	// ClusterAgent and Operations, on their default topics.
	Dialects []*zeekapi.Dialect

	// Scenario says how the simulated nodes behave. If nil, they do as they are
	// told, at once.
	Scenario *simulated.Scenario

	// ScriptOnly leaves out the real agent: there is no hello, and requests
	// without a handler get no response.
	ScriptOnly bool

	// StateDir is the directory in which the real agent stores its state and sites. If it is
	// empty, the agent refuses sites.
	StateDir string

	// Log receives the log of the real agent. The zero value discards it.
	Log zerolog.Logger
}

// Agent is a fake agent: a real one with simulated nodes, unless a handler
// responds in its place. All methods may be called from any goroutine.
type Agent struct {
	*script
	instance string
	launcher *simulated.Launcher
	cancel   context.CancelFunc
	running  sync.WaitGroup
	close    func() error
	states   states
}

func agentTopics(instance string, dialects []*zeekapi.Dialect) []string {
	return agent.Topics(instance, dialects...)
}

// NewAgent starts a fake agent. The context limits how long it takes to
// listen. The caller must close the agent.
func NewAgent(ctx context.Context, cfg AgentConfig) (*Agent, error) {
	if err := zeekapi.CheckName(cfg.Instance); err != nil {
		return nil, fmt.Errorf("fake: %w", err)
	}
	if cfg.Dialects == nil {
		cfg.Dialects = allDialects()
	}
	a := &Agent{instance: cfg.Instance, launcher: simulated.New(simulated.Config{Scenario: cfg.Scenario}), script: &script{
		transports: transports{version: DefaultVersion, topics: agentTopics(cfg.Instance, cfg.Dialects)},
		dialects:   cfg.Dialects,
		api:        zeekapi.AgentAPI,
		topic:      func(t zeekapi.Topics) string { return t.Agent(cfg.Instance) },
	}}
	a.outward = a.topics
	a.complete = func(r *zeekapi.Result) {
		if r.Instance == "" {
			r.Instance = cfg.Instance
		}
	}
	a.rewrite = a.states.rewrite
	a.init()
	a.close = sync.OnceValue(a.end)
	running, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	var listens netip.AddrPort
	err := func() (err error) {
		if cfg.Listen {
			address, err := a.ListenNative(ctx)
			if err != nil {
				return err
			}
			listens = netip.MustParseAddrPort(address)
		}
		if cfg.Bus != nil {
			if err := a.Attach(cfg.Bus); err != nil {
				return err
			}
		}
		if cfg.Controller != "" {
			return a.AddPeer(cfg.Controller)
		}
		return nil
	}()
	a.running.Go(func() { a.run(running, cfg, listens) })
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// run is the real agent until ctx is done.
func (a *Agent) run(ctx context.Context, cfg AgentConfig, listens netip.AddrPort) {
	if cfg.ScriptOnly {
		stage{a.script}.idle(ctx)
		return
	}
	err := agent.Run(ctx, agent.Config{
		Settings: agent.Settings{
			Name: cfg.Instance, EndpointID: uuid.NewString(), Connecting: !cfg.Listen, Listen: listens, Version: "zeekwire",
		},
		Bus: stage{a.script}, StateDir: cfg.StateDir, Dialects: cfg.Dialects, Launcher: a.launcher, Log: cfg.Log,
	})
	if err != nil {
		a.fail(err)
		a.junction.cancel()
	}
}

// Say publishes a message on the topic of the agent: a hello, a notification or
// a response.
func (a *Agent) Say(ctx context.Context, m zeekapi.Message) error { return a.say(ctx, a.topic, m) }

// Change reports that a node changed its state, although its simulated process
// did not. Until that really changes its state, the agent reports the node in the
// given state when asked.
func (a *Agent) Change(ctx context.Context, node string, state zeekapi.State) error {
	if !state.Valid() {
		return fmt.Errorf("fake: node %q: state %q is unknown", node, state)
	}
	return a.Say(ctx, zeekapi.AgentChange{
		Instance: a.instance, Node: a.node(node), Old: a.states.set(node, state), New: state,
	})
}

// node returns a node as it was last deployed. One that was not has no role.
func (a *Agent) node(name string) zeekapi.Node {
	known := zeekapi.Node{Name: name, Instance: a.instance, Role: zeekapi.RoleNone, State: zeekapi.StateRunning}
	for _, r := range a.Received() {
		var nodes []zeekapi.Node
		switch m := r.Message.(type) {
		case zeekapi.AgentDeployRequest:
			nodes = m.Config.Nodes
		case zeekapi.AgentDeployNodesRequest:
			nodes = m.Nodes
		}
		for _, n := range nodes {
			if n.Name == name {
				known = n
			}
		}
	}
	return known
}

// Close closes all connections and stops the simulated nodes. It waits for all
// goroutines of the fake, handlers included. The error joins what went wrong
// since the start, such as results of a handler that could not be encoded.
func (a *Agent) Close() error { return a.close() }

func (a *Agent) end() error {
	a.cancel()
	a.running.Wait()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	return errors.Join(a.launcher.Close(now), a.script.close())
}
