package httpapi

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"
)

// Exchange is an HTTP request with its response, for metrics.
type Exchange struct {
	// Route is the pattern of the path, such as "/api/v1/nodes/{node}/logs". It is "" if the
	// request was refused before its path counted, for example without a valid token.
	Route string

	Method string        // of the request, "other" for an uncommon one
	Status int           // of the response
	Took   time.Duration // until the response was sent

	// Stream reports whether the response was a stream of events. Took is then its duration.
	Stream bool

	// Slow reports whether the stream ended because the client did not read it in time.
	Slow bool
}

// Stats are the present numbers of a Server.
type Stats struct {
	Requests int // under way, without streams
	Streams  int // of events, including those of the console
	Sessions int // of browsers
	Jobs     int // under way
}

// Stats returns the present numbers.
func (s *Server) Stats() Stats {
	var n Stats
	n.Requests, n.Streams = s.visits.present()
	n.Sessions = s.sessions.count()
	n.Jobs = s.jobs.count()
	return n
}

// exchange is an Exchange that is under way, and the writer of its response.
type exchange struct {
	http.ResponseWriter
	Exchange
}

type exchangeKey struct{}

// exchangeOf returns the exchange of a request. If the request has none, it returns a new one,
// which is not reported.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return new(exchange)
}

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	if x.Status == 0 && status >= http.StatusOK {
		x.Status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(b []byte) (int, error) {
	if x.Status == 0 {
		x.Status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(b)
	x.sent(err)
	return n, err
}

// FlushError is called by http.ResponseController.
func (x *exchange) FlushError() error {
	err := http.NewResponseController(x.ResponseWriter).Flush()
	x.sent(err)
	return err
}

// Unwrap is called by http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// sent notes whether err, from writing a part of the response, means that a stream is slow.
func (x *exchange) sent(err error) {
	if x.Stream && errors.Is(err, os.ErrDeadlineExceeded) {
		x.Slow = true
	}
}

// unwrapped returns the writer of the server in package net/http, which ends the connection
// after a body that is too large.
func unwrapped(w http.ResponseWriter) http.ResponseWriter {
	if x, ok := w.(*exchange); ok {
		return x.ResponseWriter
	}
	return w
}

// measured reports all exchanges to Config.Observe.
func (s *Server) measured(next http.Handler) http.Handler {
	if s.cfg.Observe == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w}
		x.Method = commonMethod(r.Method)
		began := time.Now()
		defer func() {
			x.Took = time.Since(began)
			if x.Status == 0 {
				x.Status = http.StatusOK // of a response without a body
			}
			s.cfg.Observe(x.Exchange)
		}()
		next.ServeHTTP(x, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
	})
}

// routed notes the route of requests, which ServeMux determines.
func routed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { exchangeOf(r.Context()).Route = routeOf(r.Pattern) }()
		next.ServeHTTP(w, r)
	})
}

// routeOf returns a pattern of ServeMux without its method.
func routeOf(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		pattern = path
	}
	return strings.TrimSuffix(pattern, "{$}")
}

// commonMethod returns a method, "other" for one that no resource has. Clients can send any
// text.
func commonMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
		return method
	}
	return "other"
}
