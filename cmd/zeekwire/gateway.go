package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/gateway"
	"github.com/zeekwire/zeekwire/broker/gateway/bridge"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/metrics"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

func newGatewayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run a gateway for readers of events",
		Long: `Run a gateway, which passes the messages of Zeeks on to thousands of readers.

The gateway has one connection to each Zeek. Readers connect with Zeek's
WebSocket protocol at /v1/messages/json, or get Server-Sent Events with plain
JSON objects from /v1/events. Slow readers miss messages, and do not delay
others. With --nats-url, gateways pass messages on to each other by NATS
JetStream.`,
		Example: `  zeekwire gateway --zeek 10.0.0.1:9999 --listen 0.0.0.0:9997
  zeekwire gateway --zeek lab=127.0.0.1:9999 --tls off --subscribe zeek/,/lab
  zeekwire gateway --zeek none --nats-url nats://127.0.0.1:4222`,
	}
	runService(cmd, newGatewaySettings, func(cmd *cobra.Command, s *gatewaySettings, o *operation) error {
		if o.printOnly {
			return printExposure(cmd.OutOrStdout(), s.exposure())
		}
		gate, err := s.gate(o.log)
		if err != nil {
			return err
		}
		o.warn(s.exposure())
		o.reloads = append(o.reloads, func(declared) error { return gate.reload() })
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(gateway.GCPercent)
		}
		g := gatewayService{settings: s, security: o.security, gate: &gate, log: o.log, operation: o}
		return o.run(cmd.Context(), s.preflight, func(ctx context.Context, ending <-chan struct{}) error {
			g.ending = ending
			defer o.keepCertificates(ctx, kept{
				files: s.certificateFiles, revoked: newRevokedWatch(o.security.Reload, o.log, s.tls.Revoked()),
			})()
			return g.run(ctx)
		})
	})
	return cmd
}

// gatewayService is a gateway with its connections.
type gatewayService struct {
	settings  *gatewaySettings
	security  *security.Layer
	gate      *gate
	log       zerolog.Logger
	operation *operation      // nil without metrics, health and systemd
	ending    <-chan struct{} // closed to ask for a graceful end

	// started, if non-nil, is called once with the address of the listener.
	started func(net.Addr)
}

// run runs the gateway until ctx ends or s.ending is closed.
func (s *gatewayService) run(ctx context.Context) error {
	g, nats, err := s.gateways()
	if err != nil {
		return err
	}
	defer g.Close()
	l, err := listeningForReaders.Listen(ctx, s.settings.listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for _, z := range s.settings.zeeks {
		bus, err := s.connect(ctx, z)
		if err != nil {
			l.Close()
			return err
		}
		group.Go(func() error {
			defer bus.Close()
			return s.ended(ctx, g.Attach(ctx, z.name, &watchedBus{Bus: bus, report: s.reporter(z)}))
		})
	}
	if nats != nil {
		group.Go(func() error { return nats.Run(ctx) })
	}
	group.Go(func() error { return g.Serve(ctx, l, s.tls()) })
	group.Go(func() error {
		s.wait(ctx, g)
		cancel()
		return nil
	})
	s.log.Info().Str("name", s.settings.name).Stringer("listen", l.Addr()).Str("zeeks", joinZeeks(s.settings.zeeks)).Msg("gateway is live")
	if s.operation != nil {
		metrics.WatchGateway(s.operation.registry, g, nats)
		s.operation.service.Ready()
	}
	if s.started != nil {
		s.started(l.Addr())
	}
	return group.Wait()
}

// gateways returns the gateway, and its bridge to other gateways, nil for none.
func (s *gatewayService) gateways() (*gateway.Gateway, *bridge.Bridge, error) {
	c := s.config()
	if len(s.settings.nats.urls) == 0 {
		g, err := gateway.New(c)
		return g, nil, err
	}
	var nats *bridge.Bridge // set before there are messages
	c.Forward = func(f gateway.Forwarded) error { return nats.Publish(f.ID, f.Zeek, f.Message) }
	g, err := gateway.New(c)
	if err != nil {
		return nil, nil, err
	}
	if nats, err = s.bridge(g); err != nil {
		return nil, nil, errors.Join(err, g.Close())
	}
	return g, nats, nil
}

// ended returns the error with which the connection to a Zeek ended, nil if the gateway ends.
func (s *gatewayService) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// wait waits for the end of the gateway, and reports meanwhile that it makes progress.
func (s *gatewayService) wait(ctx context.Context, g *gateway.Gateway) {
	var beats <-chan time.Time
	if s.operation != nil {
		ticker := time.NewTicker(s.operation.service.BeatInterval())
		defer ticker.Stop()
		beats = ticker.C
	}
	for {
		select {
		case <-beats:
			s.operation.service.Beat(func() string { return readersText(g.Stats()) })
		case <-s.ending:
			return
		case <-ctx.Done():
			return
		}
	}
}

// config returns the configuration of the gateway.
func (s *gatewayService) config() gateway.Config {
	c := s.settings.config()
	c.Version = "zeekwire " + version.String()
	c.Describe = describer()
	c.Hosts = admission.Hosts{More: s.settings.hosts}
	c.Hooks = s.operation.hooks(websocketTransport)
	c.Log = s.log
	var web websocket.ServerConfig
	s.gate.guard(&web)
	c.Authorize = web.Authorize
	if more := web.Hosts.More; more != nil {
		c.Hosts.More = func() []string { return append(s.settings.hosts(), more()...) }
	}
	if clients := s.gate.clients; clients != nil {
		c.MayRead = func(p broker.Peer) bool { return clients.Role(p) != access.None }
		c.MayPublish = func(p broker.Peer) bool { return clients.Role(p) == access.Full }
	}
	return c
}

// tls returns the TLS configuration for readers, nil for none.
func (s *gatewayService) tls() *tls.Config {
	if s.gate.web == nil {
		return nil
	}
	return s.gate.web.TLS()
}

// describer returns a function that knows the arguments of the events of Zeek's APIs.
func describer() func(event string) []record.Field {
	known := make(map[string][]record.Field)
	for _, d := range defaultTopics.dialects() {
		for _, decl := range d.Declarations() {
			known[decl.Event] = decl.Args()
		}
	}
	return func(event string) []record.Field { return known[event] }
}

// connect returns a bus that connects to a Zeek, and again after each loss.
func (s *gatewayService) connect(ctx context.Context, z namedZeek) (broker.Bus, error) {
	log := s.log.With().Str("zeek", z.name).Logger()
	if s.settings.transport == transportWebSocket {
		return s.dial(ctx, z, log)
	}
	config := s.operation.peering(s.settings.shared(), s.security, log)
	config.Subscriptions = s.settings.topics
	endpoint, err := peering.New(config)
	if err != nil {
		return nil, err
	}
	s.reporter(z)(false)
	return endpoint, endpoint.AddPeer(z.address)
}

// dial connects to the WebSocket server of a Zeek. It tries again until it succeeds, the
// server refuses the connection, or the gateway ends.
func (s *gatewayService) dial(ctx context.Context, z namedZeek, log zerolog.Logger) (broker.Bus, error) {
	config := websocket.ClientConfig{
		Address: z.address, Subscriptions: s.settings.topics, ApplicationName: "zeekwire-gateway",
		Reconnect: true, RetryMin: s.settings.connectRetry, RetryMax: 10 * s.settings.connectRetry,
		DialContext: s.security.DialContext, Log: log,
	}
	s.reporter(z)(false)
	for {
		bus, err := websocket.Dial(ctx, config)
		if err == nil {
			return bus, nil
		}
		if websocket.IsRefusal(err) || ctx.Err() != nil {
			return nil, err
		}
		log.Warn().Err(err).Msg("cannot connect, trying again")
		select {
		case <-time.After(10 * s.settings.connectRetry):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.ending:
			return nil, context.Canceled
		}
	}
}

// reporter returns a function that reports whether the gateway is connected to a Zeek.
func (s *gatewayService) reporter(z namedZeek) func(connected bool) {
	return func(connected bool) {
		if s.operation == nil {
			return
		}
		reason := ""
		if !connected {
			reason = "not connected to " + z.address
		}
		s.operation.service.Health.Set("zeek "+z.name, reason)
	}
}

// watchedBus reports when the only peering of a bus begins and ends.
type watchedBus struct {
	broker.Bus
	report func(connected bool)
}

// Next implements broker.Bus.
func (b *watchedBus) Next(ctx context.Context) (broker.Notification, error) {
	n, err := b.Bus.Next(ctx)
	switch n.(type) {
	case broker.PeerAdded:
		b.report(true)
	case broker.PeerLost:
		b.report(false)
	}
	return n, err
}

// readersText describes the readers of a gateway for systemd.
func readersText(s gateway.Stats) string {
	return fmt.Sprintf("connected to %d Zeeks, %d connections of readers", s.Zeeks, s.Places.Anonymous+s.Places.Known)
}
