package clientcmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// Target is what a Dial function connects to.
type Target struct {
	Address string      // host:port
	Topics  []string    // to receive
	TLS     *tls.Config // nil for a connection in the clear

	// OnError is to be called with errors that the server reports about what
	// we sent.
	OnError func(error)
}

// Dial connects to a controller.
type Dial func(ctx context.Context, target Target) (broker.Bus, error)

// dialWebSocket is the Dial function that Tool uses by default.
func dialWebSocket(ctx context.Context, target Target) (broker.Bus, error) {
	config := websocket.ClientConfig{
		Address:         target.Address,
		Subscriptions:   target.Topics,
		TLS:             target.TLS,
		ApplicationName: "zeekwire",
		OnError: func(e jsonv1.Error) {
			if e.Code == jsonv1.CodeDeserializationFailed {
				target.OnError(e)
			}
		},
	}
	bus, err := websocket.Dial(ctx, config)
	var mismatch *websocket.MismatchError
	if errors.As(err, &mismatch) && target.TLS != nil && target.TLS.InsecureSkipVerify {
		// A Zeek without certificates knows only the anonymous kind of TLS,
		// which is as good if nobody is to be verified anyway.
		config.TLS, config.Dial = nil, dialAnonymous
		if anonymous, again := websocket.Dial(ctx, config); again == nil {
			return anonymous, nil
		}
	}
	if err == nil {
		return bus, nil
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // without the address, which the user is told anyway
	}
	return nil, err
}

func dialAnonymous(ctx context.Context, network, address string) (net.Conn, error) {
	layer, err := security.New(security.Config{Mode: security.Anonymous})
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return layer.Secure(ctx, conn, true)
}

// dial connects, as often and as long as the settings allow, and says what is
// wrong if that fails.
func (r *run) dial(ctx context.Context, topics []string, onError func(error)) (broker.Bus, error) {
	if r.invalid != nil {
		return nil, r.invalid
	}
	target := Target{Address: r.remote(), Topics: topics, OnError: onError}
	if r.leftover {
		r.warning("The ssl.disable setting is deprecated and ignored. " +
			"Controller connections now default to plaintext. " +
			"Use ssl.enable to enable encryption. " +
			"See 'show-settings' for details.")
	}
	if r.port < 1 || r.port > 65535 {
		return nil, r.fail("cannot configure connection to %s: controller port number %d outside valid range", r.remote(), r.port)
	}
	if r.tls {
		config, err := r.tlsConfig()
		if err != nil {
			return nil, r.fail("cannot configure connection to %s: %v", r.remote(), err)
		}
		target.TLS = config
	}
	r.info("connecting to controller %s", r.remote())
	stage := "connect()"
	for range r.attempts {
		attempt, cancel := context.WithTimeout(ctx, max(r.retryDelay, time.Second))
		bus, err := r.tool.Dial(attempt, target)
		cancel()
		switch {
		case err == nil:
			r.info("peered with controller %s", r.remote())
			return bus, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, syscall.ECONNREFUSED):
			r.debug("connection refused for controller %s", r.remote())
		case isTimeout(err):
			stage = "connect()"
			if errors.Is(err, websocket.ErrNoAck) {
				stage = "handshake"
			}
			r.debug("time-out in %s with controller %s", stage, r.remote())
		default:
			return nil, r.fail("%s", explain(err, r.remote()))
		}
		select {
		case <-time.After(r.retryDelay):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, r.fail("websocket connection to %s timed out in %s", r.remote(), stage)
}

// connect returns a client, which the caller must close.
func (r *run) connect(ctx context.Context) (*client.Client, error) {
	return r.connectFor(ctx, []string{management.DefaultTopics.Controller}, management.Dialect(management.DefaultTopics))
}

// connectFor is connect for more than Zeek's own requests.
func (r *run) connectFor(ctx context.Context, topics []string, dialects ...*zeekapi.Dialect) (*client.Client, error) {
	var c atomic.Pointer[client.Client]
	bus, err := r.dial(ctx, topics, func(err error) {
		if c := c.Load(); c != nil {
			c.Complain(err)
		}
	})
	if err != nil {
		return nil, err
	}
	c.Store(client.New(bus, dialects...))
	return c.Load(), nil
}

func (r *run) remote() string { return r.host + ":" + strconv.Itoa(r.port) }

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// explain says what is wrong with a connection in zeek-client's words.
func explain(err error, remote string) string {
	var (
		record   tls.RecordHeaderError
		alert    tls.AlertError
		untrusty *tls.CertificateVerificationError
		network  net.Error
	)
	switch {
	case errors.As(err, &record), errors.As(err, &alert), errors.As(err, &untrusty):
		return fmt.Sprintf("socket TLS error in connect() with controller %s: %v", remote, err)
	case errors.Is(err, jsonv1.ErrMalformed), errors.As(err, new(jsonv1.Error)):
		return fmt.Sprintf("protocol data error with controller %s: %v", remote, err)
	case errors.As(err, &network):
		return fmt.Sprintf("socket error in connect() with controller %s: %v", remote, err)
	}
	return fmt.Sprintf("websocket error in connect() with controller %s: %v", remote, err)
}

// tlsConfig follows zeek-client: without a certificate of our own, the
// controller's is not checked either.
func (p *parameters) tlsConfig() (*tls.Config, error) {
	for _, file := range []struct{ what, name string }{
		{"certificate file", p.certificate},
		{"private key file", p.keyFile},
		{"trusted CAs file", p.caFile},
		{"trusted CAs path", p.caPath},
	} {
		if file.name == "" {
			continue
		}
		if _, err := os.Stat(file.name); err != nil {
			return nil, fmt.Errorf("SSL %s %q not found", file.what, file.name)
		}
	}
	if p.certificate == "" {
		return &tls.Config{InsecureSkipVerify: true}, nil
	}
	if p.passphrase != "" {
		return nil, errors.New("SSL private keys with a passphrase are not supported, decrypt it first")
	}
	keyFile := p.keyFile
	if keyFile == "" {
		keyFile = p.certificate
	}
	certificate, err := tls.LoadX509KeyPair(p.certificate, keyFile)
	if err != nil {
		return nil, err
	}
	roots, err := p.roots()
	return &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots}, err
}

// roots returns the trusted certificates, nil for the system's.
func (p *parameters) roots() (*x509.CertPool, error) {
	var files []string
	if p.caFile != "" {
		files = append(files, p.caFile)
	}
	if p.caPath != "" {
		entries, err := os.ReadDir(p.caPath)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, filepath.Join(p.caPath, e.Name()))
			}
		}
	}
	if len(files) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	found := false
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		found = pool.AppendCertsFromPEM(text) || found
	}
	if !found {
		return nil, fmt.Errorf("no trusted CA found in %q", files)
	}
	return pool, nil
}
