package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/admission"
)

// Limits of the HTTP server.
const (
	httpTimeout   = 10 * time.Second
	httpHandshake = 5 * time.Second // for a request, which has no body
	httpIdle      = time.Minute     // between requests
	httpClients   = 64              // open connections
	httpHeaders   = 16 << 10
	httpInFlight  = 8
	httpEndGrace  = time.Second
	httpTextPlain = "text/plain; charset=utf-8"
)

// handler serves
//
//	/metrics  the metrics of g in the format of Prometheus
//	/healthz  200 if the service is alive, otherwise 503 and the reasons
//	/readyz   200 if the service is ready, otherwise 503 and the reasons
func handler(h *Health, g prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: httpInFlight, Timeout: httpTimeout}))
	mux.HandleFunc("GET /healthz", answer(h.Alive))
	mux.HandleFunc("GET /readyz", answer(h.Ready))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", httpTextPlain)
		io.WriteString(w, "/metrics\n/healthz\n/readyz\n")
	})
	return mux
}

func answer(against func() []string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", httpTextPlain)
		w.Header().Set("Cache-Control", "no-store")
		reasons := against()
		if len(reasons) == 0 {
			io.WriteString(w, "ok\n")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, strings.Join(reasons, "\n"))
	}
}

// FewClients returns the limits of connections to a server with few clients, all of which
// are anonymous.
func FewClients() admission.Limits {
	clients := max(8, min(httpClients, admission.Descriptors()/16))
	return admission.Limits{Arriving: clients, PerAddress: clients / 2, Established: clients, Loopback: clients / 8}
}

// checkHost refuses requests of web pages that reach the server by a name that is
// not its own.
func checkHost(hosts admission.Hosts, notices *admission.Notices, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := hosts.CheckRead(r); err != nil {
			notices.Warn("host").Err(err).Str("addr", r.RemoteAddr).Msg("HTTP request refused")
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serveHTTP serves HTTP requests until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, handler http.Handler, notices *admission.Notices) error {
	server := &http.Server{
		Handler:     handler,
		ReadTimeout: httpHandshake, WriteTimeout: 2 * httpTimeout, IdleTimeout: httpIdle,
		MaxHeaderBytes: httpHeaders,
		ConnState:      admission.Track,
		ErrorLog:       notices.Logger("http"),
	}
	return Serve(ctx, server, admission.New(FewClients(), notices).Listener(l))
}

// Limits of the HTTP server of an API, whose clients may have streams.
const (
	apiClients   = 1024 // open connections
	apiHandshake = 5 * time.Second
)

// API is an HTTP server whose handler limits the time of its requests itself, as far as it
// has begun to handle them.
type API struct {
	Handler http.Handler
	TLS     *tls.Config // nil for none
	Log     zerolog.Logger
}

// Serve serves requests at a listener until ctx ends, and then returns nil.
func (a API) Serve(ctx context.Context, l net.Listener) error {
	notices := admission.NewNotices(a.Log)
	clients := max(16, min(apiClients, admission.Descriptors()/8))
	gate := admission.New(admission.Limits{Arriving: clients / 4, PerAddress: clients / 8, Established: clients, Loopback: clients / 8}, notices)
	server := &http.Server{
		Handler:           a.Handler,
		ReadHeaderTimeout: apiHandshake, IdleTimeout: httpIdle,
		MaxHeaderBytes: httpHeaders,
		ConnState:      admission.Track,
		ErrorLog:       notices.Logger("http"),
	}
	l = gate.Listener(l)
	if a.TLS != nil {
		l = tls.NewListener(l, a.TLS)
	}
	return Serve(ctx, server, l)
}

// Serve runs a server at a listener until ctx ends, and then returns nil. Requests in
// progress may take another second to end.
func Serve(ctx context.Context, server *http.Server, l net.Listener) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpEndGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
