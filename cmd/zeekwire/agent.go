package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodelink"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/supervised"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
)

func newAgentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run an agent",
		Long: `Run the agent of an instance, a machine that runs nodes of a Zeek cluster. It
does what a controller tells it: ours ("zeekwire controller") or Zeek's own.

The agent connects to the controller, or with "--controller none" waits for the
controller to connect. It always listens, because its nodes connect to it.`,
		Example: `  zeekwire agent --name instance-1 --controller 10.0.0.1:2150
  zeekwire agent --name instance-1 --zeek /opt/zeek/bin/zeek
  zeekwire agent --name instance-1 --launcher simulated --state-dir /tmp/agent`,
	}
	runService(cmd, newAgentSettings, func(cmd *cobra.Command, s *agentSettings, o *operation) error {
		a := agentService{
			name:         s.name,
			controllers:  s.controllers,
			listen:       s.native.at(s.defaultAddress),
			stateDir:     s.stateDir,
			ownDir:       s.ownDir(),
			launcher:     s.launcher,
			zeek:         s.zeek,
			leave:        s.onExit == exitLeave,
			obey:         s.callers.obey(len(s.controllers) > 0),
			dialects:     s.topics.dialects(),
			supervisor:   s.supervisor,
			archive:      s.archive,
			nodes:        s.nodes,
			topics:       s.topics.management,
			backend:      zeek.Backend(strings.TrimPrefix(s.backend, backendAuto)),
			scenario:     s.scenario,
			transport:    s.transport,
			connectRetry: s.connectRetry,
			timeout:      s.requestTimeout,
			security:     o.security,
			tls:          s.tls.Config,
			log:          o.log,
			operation:    o,
		}
		return o.run(cmd.Context(), func(ctx context.Context, ending <-chan struct{}) error {
			a.ending = ending
			return a.run(ctx)
		})
	})
	return cmd
}

// The kinds of --launcher.
const (
	launcherZeek       = "zeek"
	launcherSupervisor = "supervisor"
	launcherSimulated  = "simulated"
)

// backendAuto is the default of --cluster-backend, which leaves the choice to
// the launcher.
const backendAuto = "auto"

// The kinds of --node-transport.
const (
	transportAuto      = "auto"
	transportBroker    = "broker"
	transportWebSocket = "websocket"
)

// The kinds of --on-exit.
const (
	exitStop  = "stop"
	exitLeave = "leave"
)

// agentService is an agent with its connections.
type agentService struct {
	name         string
	controllers  []string // to connect to; none: they connect
	listen       string
	ownDir       string // for the agent's own state, "" for stateDir
	stateDir     string
	launcher     string
	zeek         string
	leave        bool                   // nodes when the agent ends
	obey         func(broker.Peer) bool // nil: everybody
	supervisor   string                 // where it listens
	archive      archiveSettings
	nodes        nodeSettings
	topics       zeekapi.Topics // of nodes and a Supervisor, "" for the defaults
	backend      zeek.Backend
	scenario     string // a file, "" for none
	transport    string
	security     *security.Layer
	tls          security.Config // what security is made of, for nodes
	log          zerolog.Logger
	dialects     []*zeekapi.Dialect
	connectRetry time.Duration // 0 for the default
	timeout      time.Duration // of requests, 0 for the default

	operation *operation      // nil if nobody watches over the agent
	ending    <-chan struct{} // closed when it shall end in good order

	// started, if set, is called once with the address that is listened at.
	started func(net.Addr)
}

// stopPatience is how long nodes may take to end when the agent ends. Zeek's
// Supervisor waits as long.
const stopPatience = 26 * time.Second

// run serves until ctx or s.ending ends. Then it stops the nodes, or leaves them for the
// next agent to find.
func (s *agentService) run(ctx context.Context) (err error) {
	config := agent.Config{
		Name:           s.name,
		Dialects:       s.dialects,
		StateDir:       cmp.Or(s.ownDir, s.stateDir),
		Connecting:     len(s.controllers) > 0,
		Obey:           s.obey,
		Version:        "zeekwire " + version.String(),
		RequestTimeout: s.timeout,
		Ending:         s.ending,
		Log:            s.log,
	}
	endpoint, err := peering.New(peering.Config{
		Subscriptions:   agent.Topics(s.name, s.dialects...),
		Hooks:           s.operation.hooks(nativeTransport),
		ReceiveOverflow: broker.OverflowBlock, // controllers wait rather than not be heard
		RetryMin:        s.connectRetry,
		RetryMax:        10 * s.connectRetry,
		TLS:             s.security.Hook(),
		Log:             s.log.With().Str("transport", "native").Logger(),
	})
	if err != nil {
		return err
	}
	defer endpoint.Close()
	bound, err := endpoint.Listen(ctx, s.listen)
	if err != nil {
		return fmt.Errorf("listening for nodes and controllers (--listen): %w", err)
	}
	listens, err := netip.ParseAddrPort(bound.String())
	if err != nil {
		return fmt.Errorf("listening for nodes and controllers (--listen): %w", err)
	}
	launcher, err := s.newLauncher(ctx, listens)
	if err != nil {
		return err
	}
	defer func() {
		if leaver, ok := launcher.(launch.Leaver); ok && s.leave {
			leaver.Leave()
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		if closeErr := launcher.Close(ctx); closeErr != nil && err == nil {
			err = closeErr
		}
	}()
	defer s.archive.start(ctx, s.nodes.spoolDir, s.stateDir, s.log)()
	for _, address := range s.controllers {
		if err := endpoint.AddPeer(address); err != nil {
			return err
		}
	}
	s.log.Info().Str("name", s.name).Str("endpoint", endpoint.ID().String()).Stringer("listen", bound).
		Strs("controllers", s.controllers).Msg("agent is live")
	if s.started != nil {
		s.started(bound)
	}
	config.Bus, config.EndpointID, config.Listen, config.Launcher = endpoint, endpoint.ID().String(), listens, launcher
	if o := s.operation; o != nil {
		config.Observe, config.Beat = watchAgent(o, endpoint, s.controllers), o.service.BeatInterval()
		o.service.Ready()
	}
	return agent.Run(ctx, config)
}

func (s *agentService) newLauncher(ctx context.Context, listens netip.AddrPort) (launch.Launcher, error) {
	switch s.launcher {
	case launcherSimulated:
		return s.newSimulatedLauncher()
	case launcherZeek:
		return s.newZeekLauncher(ctx, listens)
	case launcherSupervisor:
		return s.newSupervisorLauncher(ctx, listens)
	}
	return nil, fmt.Errorf("--launcher %q: want %s, %s or %s", s.launcher, launcherZeek, launcherSupervisor, launcherSimulated)
}

func (s *agentService) newZeekLauncher(ctx context.Context, listens netip.AddrPort) (launch.Launcher, error) {
	processes, err := zeek.New(ctx, zeek.Config{
		Binary:     s.zeek,
		StateDir:   filepath.Clean(s.stateDir),
		SpoolDir:   s.nodes.spoolDir,
		StdoutFile: s.nodes.stdout, StderrFile: s.nodes.stderr, OutputLines: s.nodes.outputLines,
		NodeTopic: s.topics.Node, ConnectRetry: s.connectRetry,
		Agent:   listens,
		TLS:     s.tls,
		Backend: s.backend,
		Log:     s.log,
	})
	if err != nil {
		return nil, err
	}
	if s.transport == transportWebSocket || s.transport == transportAuto && !processes.HasBroker() {
		if s.tls.Mode == security.Mutual {
			s.log.Warn().Msg("the agent reaches its nodes in the clear, on this machine, over WebSockets")
		}
		return nodelink.New(processes, s.log), nil
	}
	return processes, nil
}

func (s *agentService) newSimulatedLauncher() (launch.Launcher, error) {
	c := simulated.Config{Patience: stopPatience}
	if s.scenario != "" {
		f, err := os.Open(s.scenario)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if c.Scenario, err = simulated.ParseScenario(s.scenario, f); err != nil {
			return nil, err
		}
	}
	return simulated.New(c), nil
}

func (s *agentService) newSupervisorLauncher(ctx context.Context, listens netip.AddrPort) (launch.Launcher, error) {
	log := s.log.With().Str("supervisor", s.supervisor).Logger()
	endpoint, err := peering.New(peering.Config{
		Subscriptions: supervised.Topics(s.topics.Supervisor),
		RetryMin:      s.connectRetry,
		RetryMax:      10 * s.connectRetry,
		TLS:           s.security.Hook(),
		Log:           log,
	})
	if err != nil {
		return nil, err
	}
	if err := endpoint.AddPeer(s.supervisor); err != nil {
		endpoint.Close()
		return nil, err
	}
	l, err := supervised.New(ctx, supervised.Config{
		Bus:      endpoint,
		StateDir: s.stateDir, SpoolDir: s.nodes.spoolDir,
		StdoutFile: s.nodes.stdout, StderrFile: s.nodes.stderr,
		NodeTopic: s.topics.Node, ConnectRetry: s.connectRetry, TopicPrefix: s.topics.Supervisor,
		Agent: listens,
		Log:   log,
	})
	if err != nil {
		endpoint.Close()
		return nil, err
	}
	return l, nil
}
