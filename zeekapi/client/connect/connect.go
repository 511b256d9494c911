// Package connect connects to a controller over the transport that it offers,
// WebSocket or native peering, with or without TLS, and finds out its dialect.
package connect

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Transport is a way to connect to a controller.
type Transport string

// The transports. Controllers of Zeek 5.0 and 5.1 have no WebSocket.
const (
	Auto      Transport = "auto" // whichever answers; also the empty Transport
	WebSocket Transport = "websocket"
	Native    Transport = "native" // a peering like an agent's
	HTTP      Transport = "http"   // the HTTP API of zeekwire's controllers; Auto does not try it
)

// ParseTransport returns the transport with the given name. The empty name is an
// error.
func ParseTransport(name string) (Transport, error) {
	switch t := Transport(name); t {
	case Auto, WebSocket, Native, HTTP:
		return t, nil
	}
	return "", fmt.Errorf("transport %q: want %s, %s, %s or %s", name, Auto, WebSocket, Native, HTTP)
}

// Zeek's ports (Management::Controller::default_port_websocket, default_port).
const (
	WebSocketPort = 2149
	NativePort    = 2150
)

// Options configure Dial. Address and Dialects are required.
type Options struct {
	// Address is the controller's host:port. If the host is a name with several
	// addresses, they are tried in turn.
	Address string

	// NativeAddress is the address that Auto tries with a native peering if
	// Address refuses connections. If empty, Auto tries only Address.
	NativeAddress string

	// Transport is the transport to use. The default is Auto.
	Transport Transport

	// Dialects are the dialects that the caller supports, at least one. The
	// subscriptions of a native peer show which of them it supports. A WebSocket
	// server does not show it; the first dialect is used.
	Dialects []*zeekapi.Dialect

	// Topics are additional topics to receive. The topics for responses of the
	// dialects' controllers are always received.
	Topics []string

	// TLS configures the TLS of WebSockets and of HTTP, and NativeTLS that of native
	// peerings. If both are nil, Auto and Native try anonymous TLS, Zeek's former
	// default, with a controller that does not accept connections without TLS. If
	// one is set, TLS is never turned off.
	TLS       *tls.Config
	NativeTLS *security.Layer

	// Header is added to HTTP requests, also that of a WebSocket, for instance for
	// authentication. Unless TLS verifies the server, any server can read it.
	Header http.Header

	// OnError, if non-nil, is called with a jsonv1.Error for each error that a
	// WebSocket server reports. It must not block.
	OnError func(error)

	// DialContext opens network connections. If nil, a net.Dialer is used.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// Timeout limits each attempt to connect, up to the point where requests can
	// be made. Auto makes up to four attempts. Zero means DefaultTimeout, a
	// negative value is an error.
	Timeout time.Duration
}

// DefaultTimeout is the default of Options.Timeout.
const DefaultTimeout = 5 * time.Second

// Found describes the connection to a controller.
type Found struct {
	Transport Transport // never Auto
	Address   string
	TLS       string // "anonymous", "unverified" or "verified"; "" without TLS
	Dialect   *zeekapi.Dialect
}

// String returns a description for people.
func (f Found) String() string {
	protection := "without TLS"
	if f.TLS != "" {
		protection = "with " + f.TLS + " TLS"
	}
	return fmt.Sprintf("%s at %s, %s, dialect %s", f.Transport, f.Address, protection, f.Dialect.Name)
}

// Values of Found.TLS.
const (
	tlsAnonymous  = "anonymous"
	tlsUnverified = "unverified"
	tlsVerified   = "verified"
)

// Connection is a bus whose only peer is a controller.
type Connection struct {
	broker.Bus
	Found
	line *line
}

// closeTime limits the closing handshake. All responses have been received by
// then.
const closeTime = 250 * time.Millisecond

// Close closes the connection, with a closing handshake of at most 250 ms.
func (c *Connection) Close() error {
	defer time.AfterFunc(closeTime, c.Cut).Stop()
	return c.Bus.Close()
}

// Subscriptions implements broker.Subscriber. If the bus does not tell its
// subscriptions, they are assumed to match every topic.
func (c *Connection) Subscriptions() broker.Filter {
	if s, ok := c.Bus.(broker.Subscriber); ok {
		return s.Subscriptions()
	}
	return broker.NewFilter("")
}

// SpeaksOperations reports whether the controller is known to speak the dialect of package
// operations, because it has an HTTP API. Others must be asked, see client.Client.Probe.
func (c *Connection) SpeaksOperations() bool { return c.Transport == HTTP }

// Cut closes the network connection at once, so that all calls that wait for it
// return. The caller must still call Close.
func (c *Connection) Cut() {
	if c.line != nil {
		c.line.cut()
	}
}

// withDefaults returns o with all defaults filled in.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Address == "":
		return o, errors.New("connect: Address is empty")
	case len(o.Dialects) == 0:
		return o, errors.New("connect: Dialects is empty")
	case o.Timeout < 0:
		return o, fmt.Errorf("connect: Timeout is %s, must not be negative", o.Timeout)
	}
	if o.DialContext == nil {
		o.DialContext = new(net.Dialer).DialContext
	}
	o.Transport = cmp.Or(o.Transport, Auto)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	return o, nil
}

// Dial connects to a controller and returns once the connection is established.
// Errors wrap those of packages websocket and peering, in particular the
// *MismatchError of either if another protocol answered.
func Dial(ctx context.Context, o Options) (*Connection, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &dialer{Options: o, line: &line{open: o.DialContext}}
	var c *Connection
	switch o.Transport {
	case WebSocket:
		c, err = d.webSocket(ctx)
	case Native:
		c, err = d.native(ctx, o.Address)
	case HTTP:
		c, err = d.http(ctx)
	case Auto:
		c, err = d.auto(ctx)
	default:
		_, err = ParseTransport(string(o.Transport))
	}
	if err != nil {
		d.line.cut()
		return nil, err
	}
	return c, nil
}

// dialer is one call of Dial.
type dialer struct {
	Options
	line *line
}

// step returns a context for one attempt to connect.
func (d *dialer) step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.Timeout)
}

// line holds the network connections of a Connection, for Cut.
type line struct {
	open func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	conns []net.Conn
	isCut bool
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.open(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		conn.Close()
		return nil, errCut
	}
	l.conns = append(l.conns, conn)
	return conn, nil
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	for _, c := range l.conns {
		c.Close()
	}
}

var errCut = errors.New("connect: cut")
