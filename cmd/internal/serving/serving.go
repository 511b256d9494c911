// Package serving runs HTTP servers. It limits their connections, and ends them gracefully.
package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/admission"
)

// Limits of servers.
const (
	IdleTime  = time.Minute // of a connection between requests
	MaxHeader = 16 << 10    // of a request, in bytes

	endGrace   = time.Second
	fewClients = 64 // open connections
)

// FewClients returns the limits of connections to a server with few clients, all of which
// are anonymous.
func FewClients() admission.Limits {
	clients := max(8, min(fewClients, admission.Descriptors()/16))
	return admission.Limits{Arriving: clients, PerAddress: clients / 2, Established: clients, Loopback: clients / 8}
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
		ReadHeaderTimeout: apiHandshake, IdleTimeout: IdleTime,
		MaxHeaderBytes: MaxHeader,
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
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), endGrace)
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
