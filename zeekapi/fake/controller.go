package fake

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// The defaults of Config.
const (
	DefaultInstance = "instance-1"
	DefaultVersion  = "8.0.10"
)

// Config describes a Controller. The zero Config is a zeekwire controller with
// one instance, on which nothing runs yet.
type Config struct {
	// Instances are the names of the instances, each with a simulated agent.
	// Nil means DefaultInstance alone, an empty slice none.
	Instances []string

	// Cluster, if non-nil, is deployed before NewController returns.
	Cluster *zeekapi.Configuration

	// Scenario says how the simulated nodes behave. If nil, they do as they are
	// told, at once.
	Scenario *simulated.Scenario

	// ScriptOnly leaves out the real controller and its agents: requests without
	// a handler get no response. It excludes Instances and Cluster.
	ScriptOnly bool

	// Dialects are those that the controller speaks. Nil means all: Management,
	// ClusterAgent and Operations, on their default topics.
	Dialects []*zeekapi.Dialect

	// Version is the version of Zeek that WebSocket clients are told. Empty means
	// DefaultVersion.
	Version string

	// IgnoreUnknown makes the controller ignore events that it does not know,
	// instead of reporting an error to WebSocket clients.
	IgnoreUnknown bool

	// RequestTimeout is the longest time that the real controller waits for
	// agents. Zero means the default of package controller; a negative value is
	// an error.
	RequestTimeout time.Duration

	// StateDir is the directory in which the real controller and its agents store sites. If it
	// is empty, they refuse sites.
	StateDir string

	// Log receives the log of the real controller and its agents. The zero value
	// discards it.
	Log zerolog.Logger
}

// Zeek returns the Config of a controller of Zeek itself, which does not know
// the requests of package operations. Versions before 8.0.3 ignore events that
// they do not know; later ones report an error to WebSocket clients. A version
// is three numbers, such as "8.0.10".
func Zeek(version string) Config {
	var major, minor, patch int
	_, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch)
	reports := major > 8 || major == 8 && (minor > 0 || patch >= 3)
	return Config{
		Dialects: []*zeekapi.Dialect{management.Dialect(management.DefaultTopics)},
		Version:  version, IgnoreUnknown: err != nil || !reports,
	}
}

func allDialects() []*zeekapi.Dialect {
	return []*zeekapi.Dialect{
		management.Dialect(management.DefaultTopics),
		clusteragent.Dialect(clusteragent.DefaultTopics),
		operations.Dialect(operations.DefaultTopics),
	}
}

func (c Config) complete() (Config, error) {
	switch {
	case c.RequestTimeout < 0:
		return c, fmt.Errorf("fake: RequestTimeout is %s, must not be negative", c.RequestTimeout)
	case c.ScriptOnly && (len(c.Instances) > 0 || c.Cluster != nil):
		return c, errors.New("fake: ScriptOnly excludes Instances and Cluster")
	}
	if c.Dialects == nil {
		c.Dialects = allDialects()
	}
	if c.Instances == nil && !c.ScriptOnly {
		c.Instances = []string{DefaultInstance}
	}
	if c.Version == "" {
		c.Version = DefaultVersion
	}
	return c, nil
}

// Controller is a fake controller. All methods may be called from any
// goroutine.
type Controller struct {
	*script
	agents  map[string]*Agent
	cancel  context.CancelFunc
	running sync.WaitGroup
	close   func() error
}

// NewController starts a fake controller and waits until its agents are
// connected and its cluster is deployed, at most until ctx is done. The caller
// must close it.
func NewController(ctx context.Context, cfg Config) (*Controller, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	c := &Controller{agents: make(map[string]*Agent), script: &script{
		transports:    transports{version: cfg.Version, topics: controller.Topics(cfg.Dialects)},
		dialects:      cfg.Dialects,
		api:           zeekapi.ControllerAPI,
		topic:         func(t zeekapi.Topics) string { return t.Controller },
		complete:      func(*zeekapi.Result) {},
		ignoreUnknown: cfg.IgnoreUnknown,
	}}
	for _, d := range cfg.Dialects {
		c.outward = append(c.outward, d.Topics.Controller)
		if d.Topics.Events != "" {
			c.outward = append(c.outward, d.Topics.Events)
		}
	}
	c.init()
	c.close = sync.OnceValue(c.end)
	running, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.running.Go(func() { c.run(running, cfg) })
	if err := c.begin(ctx, cfg); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.forget()
	return c, nil
}

// run is the real controller until ctx is done.
func (c *Controller) run(ctx context.Context, cfg Config) {
	if cfg.ScriptOnly {
		stage{c.script}.idle(ctx)
		return
	}
	settings := controller.DefaultSettings()
	settings.Name, settings.Version = "fake", "zeekwire"
	if cfg.RequestTimeout > 0 {
		settings.RequestTimeout = cfg.RequestTimeout
	}
	run := controller.Config{
		Settings: settings, Buses: []broker.Bus{stage{c.script}}, Dialer: c.script, Dialects: cfg.Dialects, Log: cfg.Log,
	}
	var err error
	if cfg.StateDir != "" {
		run.Sites, err = site.Open(site.StoreConfig{Dir: filepath.Join(cfg.StateDir, "sites")})
	}
	if err == nil {
		err = controller.Run(ctx, run)
	}
	if err != nil {
		c.fail(err)
		c.junction.cancel() // end all waiting calls
	}
}

// begin brings the controller into its first state.
func (c *Controller) begin(ctx context.Context, cfg Config) error {
	for _, name := range cfg.Instances {
		if c.agents[name] != nil {
			return fmt.Errorf("fake: two instances %q", name)
		}
		one := AgentConfig{Instance: name, Bus: c.Bus(agentTopics(name, cfg.Dialects)...), Dialects: cfg.Dialects, Scenario: cfg.Scenario, Log: cfg.Log}
		if cfg.StateDir != "" {
			one.StateDir = filepath.Join(cfg.StateDir, "agents", name)
		}
		a, err := NewAgent(ctx, one)
		if err != nil {
			return err
		}
		c.agents[name] = a
	}
	if err := c.awaitAgents(ctx); err != nil {
		return fmt.Errorf("fake: waiting for agents: %w", err)
	}
	if cfg.Cluster == nil {
		return nil
	}
	result, err := c.deploy(ctx, *cfg.Cluster)
	if err == nil && result.Failed {
		err = errors.New("nodes or agents failed")
	}
	if err != nil {
		return fmt.Errorf("fake: deploying the cluster: %w", errors.Join(err, errorsOf(result)))
	}
	return nil
}

// awaitAgents waits until all agents have introduced themselves in all dialects.
func (c *Controller) awaitAgents(ctx context.Context) error {
	for range c.agents {
		for _, d := range c.dialects {
			if _, err := Await[zeekapi.AgentHello](ctx, c); err != nil {
				return err
			}
			if d.Has(zeekapi.AgentDescription{}) {
				if _, err := Await[zeekapi.AgentDescription](ctx, c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func errorsOf(r client.DeployResult) error {
	var all []error
	for _, text := range r.Errors {
		all = append(all, errors.New(text))
	}
	return errors.Join(all...)
}

func (c *Controller) deploy(ctx context.Context, config zeekapi.Configuration) (client.DeployResult, error) {
	boss := client.New(c.Bus(), c.dialects...)
	defer boss.Close()
	if boss.Has(zeekapi.SetConfigurationRequest{}) && !boss.Has(zeekapi.DeployRequest{}) {
		return boss.SetConfiguration(ctx, config)
	}
	if _, err := boss.Stage(ctx, config); err != nil {
		return client.DeployResult{}, err
	}
	return boss.Deploy(ctx)
}

// Agent returns the simulated agent of an instance, or nil if there is none.
func (c *Controller) Agent(instance string) *Agent { return c.agents[instance] }

// Say publishes a message to clients: a response, or a zeekapi.EventReport.
func (c *Controller) Say(ctx context.Context, m zeekapi.Message) error {
	return c.say(ctx, func(t zeekapi.Topics) string {
		if _, event := m.(zeekapi.EventReport); event {
			return t.Events
		}
		return t.Controller
	}, m)
}

// Tell publishes a message to the agent of an instance, such as a request. Await
// waits for the response.
func (c *Controller) Tell(ctx context.Context, instance string, m zeekapi.Message) error {
	return c.say(ctx, func(t zeekapi.Topics) string { return t.Agent(instance) }, m)
}

// Close closes all connections and stops the agents. It waits for all
// goroutines of the fake, handlers included. The error joins what went wrong
// since the start, such as results of a handler that could not be encoded.
func (c *Controller) Close() error { return c.close() }

func (c *Controller) end() error {
	var failures []error
	for _, a := range c.agents {
		failures = append(failures, a.Close())
	}
	c.cancel()
	c.running.Wait()
	return errors.Join(append(failures, c.script.close())...)
}
