package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

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
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
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
		o.reloads = append(o.reloads, func(fresh declared) error {
			c.gate.names().change(fresh.(*controllerSettings).gate.agents)
			return errors.Join(c.gate.reload(), c.reloadHTTP())
		})
		if o.printOnly {
			return printExposure(cmd.OutOrStdout(), c.exposure())
		}
		o.warn(c.exposure())
		if err := c.openAuthority(); err != nil {
			return err
		}
		return o.run(cmd.Context(), s.preflight, func(ctx context.Context, ending <-chan struct{}) error {
			c.ending = ending
			defer o.keepCertificates(ctx, kept{
				files: s.certificateFiles, renewer: c.renewer(),
				revoked: newRevokedWatch(c.reloadCertificates, o.log, s.tls.Revoked(), s.gate.web.RevokedFile),
			})()
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
	joins    joins
	starts   nodeStarts
	dialects []*zeekapi.Dialect // nil for all supported dialects
	log      zerolog.Logger

	http atomic.Pointer[httpapi.Server] // for reloads; nil if it is turned off

	operation *operation      // nil without metrics, health and systemd
	ending    <-chan struct{} // closed to ask for a graceful end

	// started, if non-nil, is called once with the addresses of the listeners,
	// nil for a listener that is turned off.
	started func(native, websocket, http net.Addr)
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
	store, closeStore, err := s.openStore()
	if err != nil {
		return err
	}
	defer closeStore()
	sites, err := site.Open(s.settings.sites.store(s.settings.sitesDir()))
	if err != nil {
		return err
	}
	agents, native, err := s.listen(ctx)
	if err != nil {
		return err
	}
	if agents != nil {
		defer agents.Close()
	}
	dialects := s.spoken()
	endpoint, err := s.newEndpoint(dialects)
	if err != nil {
		return err
	}
	defer endpoint.Close()
	s.gate.names().roster.use(endpoint)
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
	front, err := s.openFront(ctx, group, &config, sites, endpoint, native)
	defer front.close()
	if err != nil {
		return err
	}
	config.Loaded = func() { s.ready(endpoint, agents, front.clients) }
	if o := s.operation; o != nil {
		o.watch(endpoint)
		watchController(o, &config)
	}
	if err := s.notify(ctx, group, &config); err != nil {
		return err
	}
	if s.started != nil {
		s.started(native, front.clients, front.api.address())
	}
	group.Go(func() error {
		defer cancel() // clients need no connection once the controller has ended
		return controller.Run(ctx, config)
	})
	return group.Wait()
}

// openStore opens the store of the controller. It is nil if several controllers share one.
func (s *controllerService) openStore() (store controller.Store, closeStore func(), err error) {
	if s.settings.store.kind != storeFile {
		return nil, func() {}, nil
	}
	file, err := controller.OpenStore(s.settings.stateFile())
	if err != nil {
		return nil, nil, err
	}
	return file, func() { _ = file.Close() }, nil
}

// front has the servers for clients of a controller and, if several controllers share
// their state, its candidate for their leader.
type front struct {
	clients net.Addr // nil without a WebSocket server
	api     *webServer
	closers []func()
}

// close ends the servers.
func (f *front) close() {
	for _, c := range slices.Backward(f.closers) {
		c()
	}
}

// openFront starts the servers for clients and adds them to the configuration. The result
// must be closed, also after an error.
func (s *controllerService) openFront(ctx context.Context, group *errgroup.Group, config *controller.Config, copies *site.Store, endpoint *peering.Endpoint, native net.Addr) (*front, error) {
	f := new(front)
	clients, web, err := s.serveClients(ctx, group, endpoint.ID().String())
	if err != nil {
		return f, err
	}
	f.clients = clients
	if web != nil {
		f.closers = append(f.closers, func() { _ = web.Close() })
		config.Buses = append(config.Buses, web)
	}
	var relayed broker.Bus
	if f.api, err = s.newWebServer(ctx, config.Dialects); err != nil {
		return f, err
	}
	f.closers = append(f.closers, f.api.close)
	if config.Store == nil {
		candidate, err := s.settings.candidate(native, clients, f.api.base(), s.log)
		if err != nil {
			return f, err
		}
		f.closers = append(f.closers, func() { _ = candidate.Close() })
		config.Leadership, config.Sites, relayed = candidate, candidate.ShareSites(copies), candidate.Requests()
		config.Buses = append(config.Buses, relayed)
	}
	config.Access = s.gate.access(endpoint, web)
	if relayed != nil { // the controllers that forward requests have checked the permissions
		config.Access[relayed] = &controller.Access{Clients: access.Everybody(access.Full)}
	}
	f.api.join(config)
	f.api.serve(ctx, group, s)
	return f, nil
}

// serveClients starts the server for machines that join, and the WebSocket server. It returns the
// latter with its address, or nothing if it is turned off.
func (s *controllerService) serveClients(ctx context.Context, group *errgroup.Group, endpoint string) (net.Addr, broker.Bus, error) {
	if err := s.serveJoins(ctx, group); err != nil {
		return nil, nil, err
	}
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
	if relay, ok := c.Leadership.(controller.Relay); ok {
		c.Leadership = &alertedLeadership{Relay: relay, take: service.Take}
	}
	group.Go(func() error {
		service.Run(ctx)
		return nil
	})
	feed, others := alertFeed{take: service.Take}, c.Observe
	c.Observe = func(snapshot controller.Snapshot, in controller.Input, out []controller.Output) {
		feed.observe(snapshot, in, out)
		s.starts.observe(snapshot, in, out)
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
func (s *controllerService) exposure() zeekapi.Exposure {
	e := s.settings.exposure(&s.gate)
	if s.operation != nil {
		e.Warnings = append(e.Warnings, s.operation.expiring()...)
	}
	if warning := s.starts.expiring(time.Now(), s.joins.authority); warning != "" {
		e.Warnings = append(e.Warnings, warning)
	}
	return e
}

// newEndpoint returns the endpoint for agents.
func (s *controllerService) newEndpoint(dialects []*zeekapi.Dialect) (*peering.Endpoint, error) {
	config := s.operation.peering(s.settings.shared(), s.security, s.log.With().Str("transport", nativeTransport).Logger())
	config.Subscriptions = controller.Topics(dialects)
	config.ReceiveOverflow = broker.OverflowBlock // an agent waits rather than lose a response
	config.MaxPeers = nativePeers(admission.Descriptors())
	return peering.New(config)
}

// listen opens the listener for agents, and returns it with its address, or nothing if it is
// turned off. Agents wait there until the controller has read its state: thousands of
// handshakes at once would delay that.
func (s *controllerService) listen(ctx context.Context) (net.Listener, net.Addr, error) {
	address := s.settings.native.at(s.settings.defaultAddress)
	if address == "" {
		return nil, nil, nil
	}
	l, err := listeningForAgents.Listen(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	return l, l.Addr(), nil
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

// ready accepts agents, and reports in the log and to systemd that the controller has restored
// its state and accepts requests.
func (s *controllerService) ready(endpoint *peering.Endpoint, agents net.Listener, clients net.Addr) {
	var native net.Addr
	if agents != nil {
		native = agents.Addr()
		_ = endpoint.Serve(agents) // it fails only if the endpoint is closed
	}
	s.log.Info().Str("name", s.settings.name).Str("endpoint", endpoint.ID().String()).
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
