package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
)

func newAgentCommand() *cobra.Command {
	controller := addressSetting{
		flag: "controller", usage: "connect to the controller at",
		portVar: "ZEEK_CONTROLLER_PORT",
		host:    "127.0.0.1", port: 2150,
	}
	listen := addressSetting{
		flag: "listen", usage: "listen for nodes and controllers at",
		addrVar: "ZEEK_AGENT_ADDR", portVar: "ZEEK_AGENT_PORT",
		host: "0.0.0.0", port: 2151,
		neededBy: "nodes",
	}
	service := serviceSetting{kind: "agent", nameVar: "ZEEK_AGENT_NAME"}
	var s agentService
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run an agent",
		Long: `Run the agent of an instance, a machine that runs nodes of a Zeek cluster. It does
what a controller tells it: ours ("zeekwire controller") or Zeek's own.

The agent connects to the controller, or with "--controller none" waits for the
controller to connect. It always listens, because its nodes connect to it.`,
		Example: `  zeekwire agent --name instance-1 --zeek /opt/zeek/bin/zeek --state-dir /tmp/agent
  zeekwire agent --name instance-1 --launcher simulated --state-dir /tmp/agent`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := service.resolve(cmd.ErrOrStderr()); err != nil {
				return err
			}
			s.name, s.stateDir, s.log = service.name, service.stateDir, service.log
			s.security, s.tls = service.security, service.tls.Config
			var err error
			if s.controller, err = controller.resolve(); err != nil {
				return err
			}
			if s.listen, err = listen.resolve(); err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	controller.register(cmd)
	listen.register(cmd)
	cmd.Flags().StringVar(&s.launcher, "launcher", launcherZeek, "run nodes as `KIND`: zeek (real processes) or simulated")
	cmd.Flags().StringVar(&s.zeek, "zeek", "zeek", "the zeek program, a `PATH` or a name in $PATH")
	service.register(cmd)
	return cmd
}

// The kinds of --launcher.
const (
	launcherZeek      = "zeek"
	launcherSimulated = "simulated"
)

// agentService is an agent with its connections. A controller that is "" is
// not connected to.
type agentService struct {
	name       string
	controller string
	listen     string
	stateDir   string
	launcher   string
	zeek       string
	security   *security.Layer
	tls        security.Config // what security is made of, for nodes
	log        zerolog.Logger

	// started, if set, is called once with the address that is listened at.
	started func(net.Addr)
}

// stopPatience is how long nodes may take to end when the agent ends. Zeek's
// Supervisor waits as long.
const stopPatience = 26 * time.Second

// run serves until ctx ends. Then it stops the nodes.
func (s *agentService) run(ctx context.Context) (err error) {
	endpoint, err := peering.New(peering.Config{
		Subscriptions:   agent.Topics(s.name, dialects()...),
		ReceiveOverflow: broker.OverflowBlock, // controllers wait rather than not be heard
		Secure:          s.security.Hook(),
		Log:             s.log.With().Str("transport", "native").Logger(),
	})
	if err != nil {
		return err
	}
	defer endpoint.Close()
	bound, err := endpoint.Listen(ctx, s.listen)
	if err != nil {
		return fmt.Errorf("listening for nodes and controllers: %w", err)
	}
	listens, err := netip.ParseAddrPort(bound.String())
	if err != nil {
		return fmt.Errorf("listening for nodes and controllers: %w", err)
	}
	launcher, err := s.newLauncher(ctx, listens)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		if closeErr := launcher.Close(ctx); closeErr != nil && err == nil {
			err = closeErr
		}
	}()
	if s.controller != "" {
		if err := endpoint.Dial(s.controller); err != nil {
			return err
		}
	}
	s.log.Info().Str("name", s.name).Str("endpoint", endpoint.ID().String()).Stringer("listen", bound).
		Str("controller", s.controller).Msg("agent is live")
	if s.started != nil {
		s.started(bound)
	}
	return agent.Run(ctx, agent.Config{
		Name:       s.name,
		Bus:        endpoint,
		EndpointID: endpoint.ID().String(),
		Dialects:   dialects(),
		Launcher:   launcher,
		StateDir:   s.stateDir,
		Connecting: s.controller != "",
		Listen:     listens,
		Log:        s.log,
	})
}

func (s *agentService) newLauncher(ctx context.Context, listens netip.AddrPort) (launch.Launcher, error) {
	switch s.launcher {
	case launcherSimulated:
		return simulated.New(simulated.Config{}), nil
	case launcherZeek:
		return zeek.New(ctx, zeek.Config{
			Binary:   s.zeek,
			StateDir: filepath.Clean(s.stateDir),
			Agent:    listens,
			TLS:      s.tls,
			Log:      s.log,
		})
	}
	return nil, fmt.Errorf("--launcher %q: want %s or %s", s.launcher, launcherZeek, launcherSimulated)
}
