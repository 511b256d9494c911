package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

func newControllerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run a controller",
		Long: `Run a controller, which accepts configurations from clients and deploys them to
agents: "zeekwire agent" or Zeek's. Zeek's zeek-client can be a client, too.

Agents connect with Zeek's native protocol, clients with WebSockets. The
controller stores configurations in its state directory. When it starts, it
deploys the last one again, without restarting nodes that already run it.`,
		Example: `  zeekwire controller --name controller
  zeekwire controller --state-dir /tmp/controller --tls off`,
	}
	runService(cmd, newControllerSettings, func(cmd *cobra.Command, s *controllerSettings, o *operation) error {
		c := controllerService{settings: s, security: o.security, log: o.log, operation: o}
		var err error
		if c.gate, err = s.gate.gate(s.tls.Mutual(), o.log); err != nil {
			return err
		}
		o.reloads = append(o.reloads, c.gate.reload)
		if o.printOnly {
			return printExposure(cmd.OutOrStdout(), c.exposure())
		}
		o.warn(c.exposure())
		return o.run(cmd.Context(), s.preflight, func(ctx context.Context, ending <-chan struct{}) error {
			c.ending = ending
			return c.run(ctx)
		})
	})
	return cmd
}

// controllerService is a controller with its listeners and connections.
type controllerService struct {
	settings *controllerSettings
	security *security.Layer
	gate     gate
	dialects []*zeekapi.Dialect // nil for all supported dialects
	log      zerolog.Logger

	operation *operation      // nil without metrics, health and systemd
	ending    <-chan struct{} // closed to ask for a graceful end

	// started, if non-nil, is called once with the addresses of the listeners,
	// nil for a listener that is turned off.
	started func(native, websocket net.Addr)
}

// clientQueue limits the requests queued for all WebSocket clients. Further
// requests wait on their connections, so that a client that sends many delays
// the others only briefly.
const clientQueue = 64

// A controller is sized for ten thousand agents, with room for as many again
// that reconnect before their old connections have timed out. The bytes queued
// for one agent are mostly configurations, of which only the last matters.
const (
	maxPeers     = 20_000
	maxPeerBytes = 16 << 20
)

// nativePeers returns the limit of native peers for a process that may have that
// many file descriptors open. The others are for handshakes, clients, HTTP and
// files.
func nativePeers(descriptors int) int {
	const others = 2048
	return max(1, min(maxPeers, descriptors-min(others, descriptors*5/8)))
}

// run runs the controller until ctx ends or s.ending is closed.
func (s *controllerService) run(ctx context.Context) error {
	store, err := controller.OpenStore(s.settings.stateFile())
	if err != nil {
		return err
	}
	defer store.Close()
	sites, err := site.Open(s.settings.sites.store(s.settings.sitesDir()))
	if err != nil {
		return err
	}
	dialects := s.spoken()
	endpoint, err := s.newEndpoint(dialects)
	if err != nil {
		return err
	}
	defer endpoint.Close()
	native, err := s.listen(ctx, endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	config := controller.Config{
		Settings: s.machineSettings(native),
		Buses:    []broker.Bus{endpoint},
		Dialer:   endpoint,
		Dialects: dialects,
		Store:    store,
		Sites:    sites,
		Exposure: s.exposure, Directories: s.directories(),
		Ending: s.ending,
		Log:    s.log,
	}
	clients, web, err := s.serveClients(ctx, group, endpoint.ID().String())
	if err != nil {
		return err
	}
	if web != nil {
		defer web.Close()
		config.Buses = append(config.Buses, web)
	}
	config.Access = s.gate.access(endpoint, web)
	config.Loaded = func() { s.ready(endpoint.ID().String(), native, clients) }
	if o := s.operation; o != nil {
		o.watch(endpoint)
		watchController(o, &config)
	}
	if err := s.notify(ctx, group, &config); err != nil {
		return err
	}
	if s.started != nil {
		s.started(native, clients)
	}
	group.Go(func() error {
		defer cancel() // clients need no connection once the controller has ended
		return controller.Run(ctx, config)
	})
	return group.Wait()
}

// serveClients starts the WebSocket server and returns it with its address, or nothing if it is
// turned off.
func (s *controllerService) serveClients(ctx context.Context, group *errgroup.Group, endpoint string) (net.Addr, broker.Bus, error) {
	address := s.settings.websocket.at(s.settings.defaultAddress)
	if address == "" {
		return nil, nil, nil
	}
	server, l, err := s.newServer(ctx, address, endpoint)
	if err != nil {
		return nil, nil, err
	}
	group.Go(func() error { return server.Serve(ctx, s.gate.listener(l)) })
	return l.Addr(), server, nil
}

// notify starts the service that notifies operators, and adds it to the configuration, with an
// observer.
func (s *controllerService) notify(ctx context.Context, group *errgroup.Group, c *controller.Config) error {
	service, err := s.newAlerts(c.Store)
	if err != nil {
		return err
	}
	c.Alerts = service
	group.Go(func() error {
		service.Run(ctx)
		return nil
	})
	feed, others := alertFeed{take: service.Take}, c.Observe
	c.Observe = func(snapshot controller.Snapshot, in controller.Input, out []controller.Output) {
		feed.observe(snapshot, in, out)
		if others != nil {
			others(snapshot, in, out)
		}
	}
	return nil
}

// spoken returns the dialects of the controller.
func (s *controllerService) spoken() []*zeekapi.Dialect {
	if s.dialects != nil {
		return s.dialects
	}
	return s.settings.topics.dialects()
}

// machineSettings returns the settings of the controller's state machine. Native
// is the address at which agents connect, nil if there is none.
func (s *controllerService) machineSettings(native net.Addr) controller.Settings {
	machine := s.settings.machine
	machine.Name, machine.Version = s.settings.name, "zeekwire "+version.String()
	machine.BrokerPort = broker.Port{}
	if native != nil {
		machine.BrokerPort = broker.TCP(portOf(native))
	}
	return machine
}

// directories returns the directories whose space the controller reports.
func (s *controllerService) directories() []controller.Directory {
	return []controller.Directory{{Purpose: "state", Path: s.settings.stateDir}}
}

// exposure returns who may command the controller now.
func (s *controllerService) exposure() zeekapi.Exposure { return s.settings.exposure(&s.gate) }

// newEndpoint returns the endpoint for agents.
func (s *controllerService) newEndpoint(dialects []*zeekapi.Dialect) (*peering.Endpoint, error) {
	config := peering.Config{
		Subscriptions:   controller.Topics(dialects),
		ReceiveOverflow: broker.OverflowBlock, // an agent waits rather than lose a response
		MaxPeers:        nativePeers(admission.Descriptors()),
		MaxIncomplete:   s.settings.incomingBytes(),
		RetryMin:        s.settings.connectRetry,
		RetryMax:        10 * s.settings.connectRetry,
		Hooks:           s.operation.hooks(nativeTransport),
		TLS:             s.security.Hook(),
		Log:             s.log.With().Str("transport", nativeTransport).Logger(),
	}
	s.operation.plan().native(&config)
	return peering.New(config)
}

// listen starts the listener for agents and returns its address, nil if it is
// turned off.
func (s *controllerService) listen(ctx context.Context, endpoint *peering.Endpoint) (net.Addr, error) {
	address := s.settings.native.at(s.settings.defaultAddress)
	if address == "" {
		return nil, nil
	}
	bound, err := endpoint.Listen(ctx, address)
	if err != nil {
		return nil, listeningForAgents.Explain(address, err)
	}
	return bound, nil
}

// newServer returns the WebSocket server for clients with its listener.
func (s *controllerService) newServer(ctx context.Context, address, endpoint string) (*websocket.Server, net.Listener, error) {
	l, err := listeningForClients.Listen(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	config := websocket.ServerConfig{
		Private:         true, // a client could flood the others, or respond in place of the controller
		Endpoint:        endpoint,
		Version:         version.String(),
		ReceiveOverflow: broker.OverflowBlock, // a client waits rather than lose a request
		ReceiveQueue:    clientQueue,
		MaxIncomplete:   s.settings.incomingBytes(),
		SendOverflow:    broker.OverflowDisconnect, // a slow client learns that it missed events
		Hooks:           s.operation.hooks(websocketTransport),
		Log:             s.log.With().Str("transport", websocketTransport).Logger(),
	}
	config.Hosts.More = s.settings.hosts
	s.operation.plan().web(&config)
	s.gate.guard(&config)
	server, err := websocket.NewServer(config)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	if o := s.operation; o != nil {
		o.transports.WatchAdmission(websocketTransport, server.Admission)
		o.transports.Watch(websocketTransport, func() (peers, queued int) { return len(server.Clients()), server.Queued() })
	}
	return server, l, nil
}

// ready reports, in the log and to systemd, that the controller has restored
// its state and accepts requests.
func (s *controllerService) ready(endpoint string, native, clients net.Addr) {
	s.log.Info().Str("name", s.settings.name).Str("endpoint", endpoint).
		Stringer("native", orNone(native)).Str("tls", s.settings.tls.Mode()).
		Stringer("websocket", orNone(clients)).Str("websocket-tls", s.gate.tls()).
		Str("clients", s.gate.admits()).Msg("controller is live")
	if s.operation != nil {
		s.operation.service.Ready()
	}
}

// portOf returns the port of a TCP address, 0 for nil.
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

// none is the text for the address of a listener that is turned off.
type none struct{}

func (none) String() string { return settings.None }

// orNone returns a, or the text "none" for nil.
func orNone(a net.Addr) fmt.Stringer {
	if a == nil {
		return none{}
	}
	return a
}
