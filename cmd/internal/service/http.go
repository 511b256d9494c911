package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of the HTTP server.
const (
	httpTimeout   = 10 * time.Second
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

// serveHTTP serves HTTP requests until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: httpTimeout, ReadTimeout: httpTimeout, WriteTimeout: 2 * httpTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: httpHeaders,
	}
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
