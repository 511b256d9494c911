// Package connect opens the way to a controller, whichever of its ways it has:
// WebSocket or native peering, with or without TLS, and the dialect that it
// listens to.
package connect

import (
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

// Transport is how to talk to a controller.
type Transport string

// The transports. Controllers of Zeek 5.0 and 5.1 have no WebSocket.
const (
	Auto      Transport = "auto" // whichever answers
	WebSocket Transport = "websocket"
	Native    Transport = "native" // a peering like an agent's
)

// ParseTransport returns the transport of that name.
func ParseTransport(name string) (Transport, error) {
	switch t := Transport(name); t {
	case Auto, WebSocket, Native:
		return t, nil
	}
	return "", fmt.Errorf("transport %q: want %s, %s or %s", name, Auto, WebSocket, Native)
}

// Zeek's ports (Management::Controller::default_port_websocket, default_port).
const (
	WebSocketPort = 2149
	NativePort    = 2150
)

// Options say where the controller is and what to talk about.
type Options struct {
	// Address is the controller's host:port. The host may be a name, also one
	// of several addresses, which are tried in turn.
	Address string

	// NativeAddress is what Auto tries if nobody listens at Address; "" for
	// nothing.
	NativeAddress string

	Transport Transport

	// Dialects are those that the caller knows, of which there must be one. A
	// native peer says which one it listens to; over a WebSocket it has to be
	// the first.
	Dialects []*zeekapi.Dialect

	// Topics to receive besides those of the dialects' controllers.
	Topics []string

	// TLS protects WebSockets, Layer native connections. If both are nil, Auto
	// and Native turn to anonymous TLS, Zeek's default of old, where they meet
	// a controller that does not go without. Neither ever turns TLS off.
	TLS   *tls.Config
	Layer *security.Layer

	// Header is added to the request for a WebSocket, to authenticate.
	Header http.Header

	// OnError is called with errors that the server of a WebSocket reports
	// about what it was sent, and must not block.
	OnError func(error)

	// DialContext opens network connections; nil for a net.Dialer's.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// Timeout bounds every step, a connection up to where requests can be made;
	// zero means DefaultTimeout. Auto takes a few.
	Timeout time.Duration
}

// DefaultTimeout is for controllers anywhere on a network.
const DefaultTimeout = 5 * time.Second

// Found says how a controller was reached.
type Found struct {
	Transport Transport // never Auto
	Address   string
	TLS       string // "" for none
	Dialect   *zeekapi.Dialect
}

// String describes it in a few words.
func (f Found) String() string {
	protection := "without TLS"
	if f.TLS != "" {
		protection = "with " + f.TLS + " TLS"
	}
	return fmt.Sprintf("%s at %s, %s, dialect %s", f.Transport, f.Address, protection, f.Dialect.Name)
}

// How a connection may be protected, as Found has it.
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

// closeTime is how long a controller may take to say goodbye. Everything of
// importance has been said by then.
const closeTime = 250 * time.Millisecond

// Close closes the connection in good order, if that is quickly done.
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

// Cut ends the connection at once, so that nobody waits for it any more. The
// connection must be closed nevertheless.
func (c *Connection) Cut() {
	if c.line != nil {
		c.line.cut()
	}
}

// Dial connects to a controller. Errors wrap those of packages websocket and
// peering: a MismatchError says what else answered.
func Dial(ctx context.Context, o Options) (*Connection, error) {
	if o.DialContext == nil {
		o.DialContext = new(net.Dialer).DialContext
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	d := &dialer{Options: o, line: &line{open: o.DialContext}}
	var c *Connection
	var err error
	switch o.Transport {
	case WebSocket:
		c, err = d.webSocket(ctx)
	case Native:
		c, err = d.native(ctx, o.Address)
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

// step bounds a step in time.
func (d *dialer) step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.Timeout)
}

// line is the network connections of a Connection, to cut them.
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
