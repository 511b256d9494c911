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
	"github.com/zeekwire/zeekwire/cmd/internal/metrics"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodelink"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/supervised"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
)

func newAgentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run an agent",
		Long: `Run the agent of an instance, a machine that runs nodes of a Zeek cluster. The
agent carries out the requests of a controller: "zeekwire controller" or Zeek's.

The agent connects to the controller. With "--controller none" it waits for the
controller to connect. It always listens, because its nodes connect to it.`,
		Example: `  zeekwire agent --name instance-01 --controller 10.0.0.1:2150
  zeekwire agent --name instance-01 --zeek /opt/zeek/bin/zeek
  zeekwire agent --name instance-01 --launcher simulated --state-dir /tmp/agent`,
	}
	runService(cmd, newAgentSettings, func(cmd *cobra.Command, s *agentSettings, o *operation) error {
		if o.printOnly {
			return printExposure(cmd.OutOrStdout(), s.exposure())
		}
		o.warn(s.exposure())
		a := agentService{settings: s, security: o.security, log: o.log, operation: o, obeyed: newObeyed(s)}
		o.reloads = append(o.reloads, func(fresh declared) error {
			a.obeyed.change(fresh.(*agentSettings).callers)
			return nil
		})
		if _, err := readScenario(s.scenario); err != nil {
			return fmt.Errorf("--scenario: %w", err)
		}
		return o.run(cmd.Context(), s.preflight, func(ctx context.Context, ending <-chan struct{}) error {
			a.ending = ending
			defer o.keepCertificates(ctx, kept{
				files: s.certificateFiles, peers: o.security.PeerCertificates, renewer: s.renewer(o),
				revoked: newRevokedWatch(o.security.Reload, o.log, s.tls.Revoked()),
			})()
			return a.run(ctx)
		})
	})
	return cmd
}

// Values of --launcher.
const (
	launcherZeek       = "zeek"
	launcherSupervisor = "supervisor"
	launcherSimulated  = "simulated"
)

// backendAuto is the default of --cluster-backend: the launcher chooses.
const backendAuto = "auto"

// Values of --node-transport.
const (
	transportAuto      = "auto"
	transportBroker    = "broker"
	transportWebSocket = "websocket"
)

// Values of --on-exit.
const (
	exitStop  = "stop"
	exitLeave = "leave"
)

// agentService is an agent with its connections.
type agentService struct {
	settings  *agentSettings
	security  *security.Layer
	log       zerolog.Logger
	operation *operation      // nil without metrics, health and systemd
	obeyed    *obeyed         // nil: as the settings say
	ending    <-chan struct{} // closed to ask for a graceful end

	// started, if non-nil, is called once with the address of the listener.
	started func(net.Addr)
}

// defaultMeasureInterval is the default of measure-interval.
const defaultMeasureInterval = 10 * time.Second

// directories returns the directories whose space the agent reports.
func (s *agentSettings) directories() []agent.Directory {
	all := []agent.Directory{{Purpose: "state", Path: s.stateDir}}
	if s.launcher == launcherSimulated { // its nodes write no logs
		return all
	}
	return append(all,
		agent.Directory{Purpose: "spool", Path: s.archive.queueDir(s.nodes.spoolDir, s.stateDir)},
		agent.Directory{Purpose: "archive", Path: s.archive.archiveDir(s.stateDir)})
}

// stopPatience limits the time that nodes may take to stop when the agent ends.
const stopPatience = zeek.DefaultPatience

// run runs the agent until ctx ends or s.ending is closed. It then stops the
// nodes, or leaves them running for the next agent.
func (s *agentService) run(ctx context.Context) (err error) {
	set := s.settings
	endpoint, err := s.newEndpoint(agent.Topics(set.name, set.topics.dialects()...))
	if err != nil {
		return err
	}
	defer endpoint.Close()
	if s.obeyed == nil {
		s.obeyed = newObeyed(set)
	}
	s.obeyed.roster.use(endpoint)
	bound, listens, err := s.listen(ctx, endpoint)
	if err != nil {
		return err
	}
	launcher, err := s.newLauncher(ctx, listens)
	if err != nil {
		return err
	}
	logs := set.archive.start(ctx, set.nodes.spoolDir, set.stateDir, set.agentDir(), s.log)
	defer func() {
		stopped, releaseErr := s.release(ctx, launcher)
		logs.stop()
		if stopped {
			logs.finish(ctx)
		}
		err = cmp.Or(err, releaseErr)
	}()
	for _, address := range set.controllers {
		if err := endpoint.AddPeer(address); err != nil {
			return err
		}
	}
	s.log.Info().Str("name", set.name).Str("endpoint", endpoint.ID().String()).Stringer("listen", bound).
		Strs("controllers", set.controllers).Msg("agent is live")
	if s.started != nil {
		s.started(bound)
	}
	return agent.Run(ctx, s.config(endpoint, listens, launcher, logs))
}

// config returns the configuration of the agent. With an operation, it reports that the
// service is ready.
func (s *agentService) config(endpoint *peering.Endpoint, listens netip.AddrPort, launcher launch.Launcher, logs *archiver) agent.Config {
	set := s.settings
	c := agent.Config{
		Settings: agent.Settings{
			Name:           set.name,
			EndpointID:     endpoint.ID().String(),
			Connecting:     len(set.controllers) > 0,
			Listen:         listens,
			Version:        "zeekwire " + version.String(),
			RequestTimeout: set.requestTimeout,
			Disks:          set.disks,

			MeasureInterval: set.measureInterval,
			HungAfter:       set.hungAfter,
			RestartHung:     set.restartHung,

			ArchiveFailingAfter: set.archive.failingAfter,
		},
		Directories: set.directories(),
		Bus:         endpoint,
		Dialects:    set.topics.dialects(),
		Launcher:    launcher,
		StateDir:    set.agentDir(),
		Sites:       set.sites.store(""),
		Disks:       set.watchedDisks(), FreeSpace: logs.freeSpace, Archive: logs.failures(),
		Obey:    s.obeyed.accepts,
		Ending:  s.ending,
		Observe: func(m *agent.Machine, in agent.Input, _ []agent.Output) { logs.observe(m, in) },
		Log:     s.log,
	}
	if o := s.operation; o != nil {
		if logs != nil {
			metrics.WatchArchive(o.registry, &logs.totals, &logs.failing)
		}
		watch := watchAgent(o, endpoint, set.controllers)
		c.Observe = func(m *agent.Machine, in agent.Input, out []agent.Output) {
			logs.observe(m, in)
			watch(m, in, out)
		}
		c.Beat = o.service.BeatInterval()
		o.service.Ready()
	}
	return c
}

// listen starts the listener for controllers and nodes, and returns its address in two
// forms.
func (s *agentService) listen(ctx context.Context, endpoint *peering.Endpoint) (net.Addr, netip.AddrPort, error) {
	address := s.settings.native.at(s.settings.defaultAddress)
	bound, err := endpoint.Listen(ctx, address)
	var listens netip.AddrPort
	if err == nil {
		listens, err = netip.ParseAddrPort(bound.String())
	}
	if err != nil {
		err = listeningForNodes.Explain(address, err)
	}
	return bound, listens, err
}

// newEndpoint returns the endpoint for controllers and nodes.
func (s *agentService) newEndpoint(topics []string) (*peering.Endpoint, error) {
	config := s.operation.peering(s.settings.shared(), s.security, s.log.With().Str("transport", nativeTransport).Logger())
	config.Subscriptions = topics
	config.ReceiveOverflow = broker.OverflowBlock // a controller waits rather than lose a request
	return peering.New(config)
}

// release stops the nodes, or leaves them running if --on-exit says so or another program
// runs them. It reports whether it stopped them.
func (s *agentService) release(ctx context.Context, launcher launch.Launcher) (stopped bool, err error) {
	leaver, ok := launcher.(launch.Leaver)
	if ok && s.settings.onExit == exitLeave {
		leaver.Leave()
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	return ok, launcher.Close(ctx)
}

// newLauncher returns the launcher that --launcher selects. Nodes connect to the
// agent at the address listens.
func (s *agentService) newLauncher(ctx context.Context, listens netip.AddrPort) (launch.Launcher, error) {
	if s.settings.launcher != launcherSimulated && listens.Addr().Zone() != "" {
		return nil, fmt.Errorf("--listen %s: nodes cannot connect to an address with a zone, because Zeek has none; listen at [::]:%d, or another address", listens, listens.Port())
	}
	switch s.settings.launcher {
	case launcherSimulated:
		return s.newSimulatedLauncher()
	case launcherZeek:
		return s.newZeekLauncher(ctx, listens)
	case launcherSupervisor:
		return s.newSupervisorLauncher(ctx, listens)
	}
	return nil, fmt.Errorf("--launcher %q: want %s, %s or %s", s.settings.launcher, launcherZeek, launcherSupervisor, launcherSimulated)
}

// nodesAgent returns the settings with which nodes connect to the agent.
func (s *agentService) nodesAgent(listens netip.AddrPort) nodescript.Agent {
	return nodescript.Agent{
		Listen: listens, SpoolDir: s.settings.nodes.spoolDir,
		Topic: s.settings.topics.management.Node, ConnectRetry: s.settings.connectRetry,
	}
}

func (s *agentService) newZeekLauncher(ctx context.Context, listens netip.AddrPort) (launch.Launcher, error) {
	config, err := s.settings.tls.Config()
	if err != nil {
		return nil, err
	}
	processes, err := zeek.New(ctx, zeek.Config{
		Binary:   s.settings.zeek,
		Instance: s.settings.name, Args: s.settings.nodes.args,
		StateDir: filepath.Clean(s.settings.stateDir),
		SitesDir: agent.SitesDir(s.settings.agentDir(), s.settings.name), CheckTimeout: s.settings.checkTimeout,
		StdoutFile: s.settings.nodes.stdout, StderrFile: s.settings.nodes.stderr, OutputLines: s.settings.nodes.outputLines,
		Agent:   s.nodesAgent(listens),
		TLS:     config,
		Backend: zeek.Backend(strings.TrimPrefix(s.settings.backend, backendAuto)),
		Log:     s.log,
	})
	if err != nil {
		return nil, err
	}
	if s.settings.transport == transportWebSocket || s.settings.transport == transportAuto && !processes.HasBroker() {
		if s.settings.tls.Mutual() {
			s.log.Warn().Msg("the agent connects to its nodes without TLS, over WebSockets on the loopback interface")
		}
		return nodelink.New(processes, s.log), nil
	}
	return processes, nil
}

func (s *agentService) newSimulatedLauncher() (launch.Launcher, error) {
	scenario, err := readScenario(s.settings.scenario)
	if err != nil {
		return nil, err
	}
	return simulated.New(simulated.Config{Patience: stopPatience, Scenario: scenario}), nil
}

// readScenario reads the behaviour of simulated nodes from a file, nil for no file.
func readScenario(file string) (*simulated.Scenario, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return simulated.ParseScenario(file, f)
}

func (s *agentService) newSupervisorLauncher(ctx context.Context, listens netip.AddrPort) (launch.Launcher, error) {
	log := s.log.With().Str("supervisor", s.settings.supervisor).Logger()
	endpoint, err := peering.New(peering.Config{
		Subscriptions: supervised.Topics(s.settings.topics.management.Supervisor),
		RetryMin:      s.settings.connectRetry,
		RetryMax:      10 * s.settings.connectRetry,
		TLS:           s.security.Hook(),
		Log:           log,
	})
	if err != nil {
		return nil, err
	}
	if err := endpoint.AddPeer(s.settings.supervisor); err != nil {
		endpoint.Close()
		return nil, err
	}
	l, err := supervised.New(ctx, supervised.Config{
		Bus: endpoint, StateDir: s.settings.stateDir, Instance: s.settings.name,
		StdoutFile: s.settings.nodes.stdout, StderrFile: s.settings.nodes.stderr,
		TopicPrefix: s.settings.topics.management.Supervisor,
		Agent:       s.nodesAgent(listens),
		Log:         log,
	})
	if err != nil {
		endpoint.Close()
		return nil, err
	}
	return l, nil
}
