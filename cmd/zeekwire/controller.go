package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func newControllerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run a controller",
		Long: `Run a controller, which takes configurations from clients and deploys them to
agents: ours ("zeekwire agent") or Zeek's own. Zeek's zeek-client is a client,
too.

Agents connect by Zeek's native protocol, clients by WebSocket. The controller
remembers its configurations in its state directory and, when it starts again,
makes the last one true without restarting nodes that run it.`,
		Example: `  zeekwire controller --name controller
  zeekwire controller --state-dir /tmp/controller --tls off`,
	}
	runService(cmd, newControllerSettings, func(cmd *cobra.Command, s *controllerSettings, o *operation) error {
		c := controllerService{
			name:            s.name,
			listen:          s.native.at(s.defaultAddress),
			websocketListen: s.websocket.at(s.defaultAddress),
			stateFile:       s.stateFile(),
			settings:        s.machine,
			dialects:        s.topics.dialects(),
			connectRetry:    s.connectRetry,
			security:        o.security,
			tls:             s.tls.mode,
			log:             o.log,
			operation:       o,
		}
		var err error
		if c.gate, err = s.gate.gate(s.tls.Mode, o.log); err != nil {
			return err
		}
		o.reloads = append(o.reloads, c.gate.reload)
		return o.run(cmd.Context(), func(ctx context.Context, ending <-chan struct{}) error {
			c.ending = ending
			return c.run(ctx)
		})
	})
	return cmd
}

// controllerService is a controller with its listeners. An address that is ""
// is not listened at.
type controllerService struct {
	name            string
	listen          string              // for agents
	websocketListen string              // for clients
	stateFile       string              // "" keeps state in memory
	settings        controller.Settings // but for BrokerPort
	dialects        []*zeekapi.Dialect
	connectRetry    time.Duration // 0 for the default
	security        *security.Layer
	tls             string // the mode of security, for the log
	gate            gate
	log             zerolog.Logger

	operation *operation      // nil if nobody watches over the controller
	ending    <-chan struct{} // closed when it shall end in good order

	// started, if set, is called once with the addresses that are listened at.
	started func(native, websocket net.Addr)
}

// clientQueue is how many requests of clients wait at most. More wait on their
// connections, so that who sends many keeps nobody else waiting for long.
const clientQueue = 64

// A controller is made for ten thousand agents, with room for as many again that
// come back before we notice that they were gone. What waits for one of them is
// little but for configurations, of which only the last is of interest.
const (
	maxPeers     = 20_000
	maxPeerBytes = 16 << 20
)

// run serves until ctx ends.
func (s *controllerService) run(ctx context.Context) error {
	settings := s.settings
	settings.Name, settings.Version = s.name, "zeekwire "+version.String()
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
		Subscriptions:   controller.Topics(s.dialects),
		ReceiveOverflow: broker.OverflowBlock, // agents wait rather than not be heard
		SendBytes:       maxPeerBytes,
		MaxPeers:        maxPeers,
		RetryMin:        s.connectRetry,
		RetryMax:        10 * s.connectRetry,
		Hooks:           s.operation.hooks(nativeTransport),
		TLS:             s.security.Hook(),
		Log:             s.log.With().Str("transport", "native").Logger(),
	})
	if err != nil {
		return err
	}
	defer endpoint.Close()

	var native net.Addr
	if s.listen != "" {
		if native, err = endpoint.Listen(ctx, s.listen); err != nil {
			return fmt.Errorf("listening for agents (--listen): %w", err)
		}
		settings.BrokerPort = broker.TCP(portOf(native))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	buses := []broker.Bus{endpoint}
	var web broker.Bus
	var clients net.Addr
	if s.websocketListen != "" {
		var listener net.ListenConfig
		l, err := listener.Listen(ctx, "tcp", s.websocketListen)
		if err != nil {
			return fmt.Errorf("listening for clients (--websocket-listen): %w", err)
		}
		clients = l.Addr()
		config := websocket.ServerConfig{
			Endpoint:        endpoint.ID().String(),
			Version:         version.String(),
			ReceiveOverflow: broker.OverflowBlock, // clients wait rather than not be heard
			ReceiveQueue:    clientQueue,
			SendOverflow:    broker.OverflowDisconnect, // and find out if they missed something
			Hooks:           s.operation.hooks(websocketTransport),
			Log:             s.log.With().Str("transport", "websocket").Logger(),
		}
		s.gate.guard(&config)
		server, err := websocket.NewServer(config)
		if err != nil {
			return err
		}
		defer server.Close()
		if o := s.operation; o != nil {
			o.transports.Watch(websocketTransport, func() (peers, queued int) { return len(server.Clients()), server.Queued() })
		}
		buses, web = append(buses, server), server
		group.Go(func() error { return server.Serve(ctx, s.gate.listener(l)) })
	}
	config := controller.Config{
		Settings: settings,
		Buses:    buses,
		Access:   s.gate.access(endpoint, web),
		Dialer:   endpoint,
		Dialects: s.dialects,
		Store:    store,
		Ending:   s.ending,
		Log:      s.log,
		Loaded: func() {
			s.log.Info().Str("name", s.name).Str("endpoint", endpoint.ID().String()).
				Stringer("native", orNone(native)).Str("tls", s.tls).
				Stringer("websocket", orNone(clients)).Str("websocket-tls", s.gate.tls()).
				Str("clients", s.gate.admits()).Msg("controller is live")
			if s.operation != nil {
				s.operation.service.Ready()
			}
		},
	}
	if o := s.operation; o != nil {
		o.watch(endpoint)
		watchController(o, &config)
	}
	if s.started != nil {
		s.started(native, clients)
	}
	group.Go(func() error {
		defer cancel() // when it has ended, no client needs a connection
		return controller.Run(ctx, config)
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

func (none) String() string { return settings.None }

func orNone(a net.Addr) fmt.Stringer {
	if a == nil {
		return none{}
	}
	return a
}
