package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func newControllerCommand() *cobra.Command {
	listen := addressSetting{
		flag: "listen", usage: "listen for agents at",
		addrVar: "ZEEK_CONTROLLER_ADDR", portVar: "ZEEK_CONTROLLER_PORT",
		host: "0.0.0.0", port: 2150,
	}
	websocketListen := addressSetting{
		flag: "websocket-listen", usage: "listen for clients at",
		addrVar: "ZEEK_CONTROLLER_WEBSOCKET_ADDR", portVar: "ZEEK_CONTROLLER_WEBSOCKET_PORT",
		host: "0.0.0.0", port: 2149,
	}
	service := serviceSetting{kind: "controller", nameVar: "ZEEK_CONTROLLER_NAME"}
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run a controller",
		Long: `Run a controller, which takes configurations from clients and deploys them to
agents: ours ("zeekwire agent") or Zeek's own. It works with Zeek's own zeek-client.

Agents connect by Zeek's native protocol, clients by WebSocket. The controller
remembers its configurations in its state directory and, when it starts again,
makes the last one true without restarting nodes that run it.`,
		Example: `  zeekwire controller --state-dir /tmp/controller --tls off`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := service.resolve(cmd.ErrOrStderr()); err != nil {
				return err
			}
			s := controllerService{
				name: service.name, security: service.security, log: service.log,
				stateFile: filepath.Join(service.stateDir, "nodes", service.name, "controller.db"),
			}
			var err error
			if s.listen, err = listen.resolve(); err != nil {
				return err
			}
			if s.websocketListen, err = websocketListen.resolve(); err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	listen.register(cmd)
	websocketListen.register(cmd)
	service.register(cmd)
	return cmd
}

// controllerService is a controller with its listeners. An address that is ""
// is not listened at.
type controllerService struct {
	name            string
	listen          string // for agents
	websocketListen string // for clients
	stateFile       string // "" keeps state in memory
	security        *security.Layer
	log             zerolog.Logger

	// started, if set, is called once with the addresses that are listened at.
	started func(native, websocket net.Addr)
}

// run serves until ctx ends.
func (s *controllerService) run(ctx context.Context) error {
	settings := controller.DefaultSettings()
	settings.BrokerPort = broker.Port{}

	var store *controller.Store
	if s.stateFile != "" {
		var err error
		if store, err = controller.OpenStore(s.stateFile); err != nil {
			return err
		}
		defer store.Close()
	}
	endpoint, err := peering.New(peering.Config{
		Subscriptions:   controller.Topics(dialects()),
		ReceiveOverflow: broker.OverflowBlock, // agents wait rather than not be heard
		Secure:          s.security.Hook(),
		Log:             s.log.With().Str("transport", "native").Logger(),
	})
	if err != nil {
		return err
	}
	defer endpoint.Close()

	var native net.Addr
	if s.listen != "" {
		if native, err = endpoint.Listen(ctx, s.listen); err != nil {
			return fmt.Errorf("listening for agents: %w", err)
		}
		settings.BrokerPort = broker.TCP(portOf(native))
	}
	group, ctx := errgroup.WithContext(ctx)
	buses := []broker.Bus{endpoint}
	var clients net.Addr
	if s.websocketListen != "" {
		var listener net.ListenConfig
		l, err := listener.Listen(ctx, "tcp", s.websocketListen)
		if err != nil {
			return fmt.Errorf("listening for clients: %w", err)
		}
		clients = l.Addr()
		log := s.log.With().Str("transport", "websocket").Logger()
		server := websocket.NewServer(websocket.ServerConfig{
			Endpoint:        endpoint.ID().String(),
			Version:         version(),
			ReceiveOverflow: broker.OverflowBlock,      // clients wait rather than not be heard
			SendOverflow:    broker.OverflowDisconnect, // and find out if they missed something
			Log:             &log,
		})
		defer server.Close()
		buses = append(buses, server)
		group.Go(func() error { return server.Serve(ctx, l) })
	}
	s.log.Info().Str("name", s.name).Str("endpoint", endpoint.ID().String()).
		Stringer("native", orNone(native)).Stringer("websocket", orNone(clients)).Msg("controller is live")
	if s.started != nil {
		s.started(native, clients)
	}
	group.Go(func() error {
		return controller.Run(ctx, controller.Config{
			Settings: settings,
			Buses:    buses,
			Dialer:   endpoint,
			Dialects: dialects(),
			Store:    store,
			Log:      s.log,
		})
	})
	return group.Wait()
}

// portOf returns the port of a TCP address, 0 if there is no address.
func portOf(a net.Addr) uint16 {
	if a == nil {
		return 0
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return 0
	}
	return p.Port()
}

type none struct{}

func (none) String() string { return disabled }

func orNone(a net.Addr) fmt.Stringer {
	if a == nil {
		return none{}
	}
	return a
}
