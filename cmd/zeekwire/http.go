package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/cmd/internal/console"
	"github.com/zeekwire/zeekwire/cmd/internal/listening"
	"github.com/zeekwire/zeekwire/cmd/internal/metrics"
	"github.com/zeekwire/zeekwire/cmd/internal/serving"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// listeningForHTTP describes the listener of the HTTP API in errors.
var listeningForHTTP = listening.Purpose{For: "HTTP", Flag: "--http-listen"}

// webServer is the HTTP server of a controller. A nil webServer is turned off.
type webServer struct {
	*httpapi.Server
	listener net.Listener
	tls      *tls.Config // nil for none
	console  *console.Console
}

// newWebServer opens the listener for HTTP. It returns nil if that is turned off.
func (s *controllerService) newWebServer(ctx context.Context, dialects []*zeekapi.Dialect) (*webServer, error) {
	address := s.settings.http.at(s.settings.defaultAddress)
	if address == "" {
		return nil, nil
	}
	l, err := listeningForHTTP.Listen(ctx, address)
	if err != nil {
		return nil, err
	}
	w := &webServer{listener: l}
	config := httpapi.Config{
		Dialects: dialects, Clients: s.gate.clients, Certified: s.gate.demand,
		Hosts: admission.Hosts{More: s.settings.hosts}, Version: version.String(),
		Log: s.log.With().Str("transport", httpTransport).Logger(),
	}
	if web := s.gate.web; web != nil {
		w.tls = web.TLS()
		config.Hosts.More = func() []string { return slices.Concat(s.settings.hosts(), web.Names()) }
	}
	var counts *metrics.HTTP
	if o := s.operation; o != nil {
		config.Monitoring = o.service.Monitoring()
		counts = metrics.NewHTTP(o.registry)
		config.Observe = counts.Observe
	}
	config.Console = func(server *httpapi.Server) http.Handler {
		w.console = console.New(server)
		return w.console
	}
	if w.Server, err = httpapi.New(config); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if counts != nil {
		counts.Watch(w.Stats)
	}
	s.http.Store(w.Server)
	return w, nil
}

// reloadHTTP ends the sessions and streams of clients that are no longer accepted.
func (s *controllerService) reloadHTTP() error {
	if server := s.http.Load(); server != nil {
		server.Reload()
	}
	return nil
}

// join adds the server to the buses of the controller.
func (w *webServer) join(c *controller.Config) {
	if w == nil {
		return
	}
	c.Buses = append(c.Buses, w.Bus())
	if c.Access == nil {
		c.Access = make(map[broker.Bus]*controller.Access)
	}
	c.Access[w.Bus()] = &controller.Access{Clients: w.Server}
}

// serve serves requests until ctx ends.
func (w *webServer) serve(ctx context.Context, group *errgroup.Group, s *controllerService) {
	if w == nil {
		return
	}
	s.log.Info().Stringer("address", w.listener.Addr()).Bool("tls", w.tls != nil).Msg("serving the API and the console over HTTP")
	group.Go(func() error {
		w.console.Run(ctx)
		return nil
	})
	group.Go(func() error {
		return serving.API{Handler: w.Server, TLS: w.tls, Log: s.log}.Serve(ctx, w.listener)
	})
}

// address returns the address of the listener, nil if there is none.
func (w *webServer) address() net.Addr {
	if w == nil {
		return nil
	}
	return w.listener.Addr()
}

// base returns the URL at which others reach the server, "" if there is none.
func (w *webServer) base() string {
	at := advertised(w.address())
	switch {
	case at == "":
		return ""
	case w.tls != nil:
		return "https://" + at
	}
	return "http://" + at
}

// close ends the server.
func (w *webServer) close() {
	if w != nil {
		_ = w.Close()
	}
}
