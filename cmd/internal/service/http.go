package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/cmd/internal/serving"
)

// Limits of the HTTP server.
const (
	httpTimeout   = 10 * time.Second
	httpHandshake = 5 * time.Second // for a request, which has no body
	httpInFlight  = 8
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
		ReadTimeout: httpHandshake, WriteTimeout: 2 * httpTimeout, IdleTimeout: serving.IdleTime,
		MaxHeaderBytes: serving.MaxHeader,
		ConnState:      admission.Track,
		ErrorLog:       notices.Logger("http"),
	}
	return serving.Serve(ctx, server, admission.New(serving.FewClients(), notices).Listener(l))
}
