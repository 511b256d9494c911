package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// webSocket connects to a WebSocket server with the TLS of the options. If that
// does not verify the server, webSocket also tries anonymous TLS, which a Zeek
// without certificates requires.
func (d *dialer) webSocket(ctx context.Context) (*Connection, error) {
	c, err := d.webSocketBy(ctx, d.TLS, d.line.dial, kindOf(d.TLS))
	var mismatch *websocket.MismatchError
	if !errors.As(err, &mismatch) || d.TLS == nil || security.Verifies(d.TLS) {
		return c, err
	}
	layer, failed := security.New(security.Config{Mode: security.Anonymous})
	if failed != nil {
		return nil, failed
	}
	if c, failed := d.webSocketOver(ctx, layer); failed == nil {
		return c, nil
	}
	return nil, err
}

// applicationName is the name that the client claims to controllers that do not know who it
// is.
const applicationName = "zeekwire"

func kindOf(config *tls.Config) string {
	switch {
	case config == nil:
		return ""
	case security.Verifies(config):
		return tlsVerified
	}
	return tlsUnverified
}

// webSocketOver connects to a WebSocket server over a layer of anonymous TLS.
func (d *dialer) webSocketOver(ctx context.Context, layer *security.Layer) (*Connection, error) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.line.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return layer.Secure(ctx, conn, true)
	}
	return d.webSocketBy(ctx, nil, dial, tlsAnonymous)
}

func (d *dialer) webSocketBy(ctx context.Context, config *tls.Config,
	dial func(context.Context, string, string) (net.Conn, error), kind string) (*Connection, error) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	dialect := d.Dialects[0]
	bus, err := websocket.Dial(ctx, websocket.ClientConfig{
		Address:         d.Address,
		Subscriptions:   append([]string{dialect.Topics.Controller}, d.Topics...),
		TLS:             config,
		DialContext:     dial,
		ApplicationName: applicationName,
		Header:          d.Header,
		OnError: func(e jsonv1.Error) {
			if d.OnError != nil {
				d.OnError(e)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	found := Found{Transport: WebSocket, Address: d.Address, TLS: kind, Dialect: dialect}
	return &Connection{Bus: bus, Found: found, line: d.line}, nil
}

// native peers with the controller at the address. Without NativeTLS it finds out
// whether the controller requires anonymous TLS.
func (d *dialer) native(ctx context.Context, address string) (*Connection, error) {
	switch {
	case d.NativeTLS != nil:
		return d.peer(ctx, address, d.NativeTLS)
	case d.TLS != nil:
		return nil, errors.New("connect: TLS is set, but NativeTLS is not: cannot secure a native peering")
	}
	switch native, err := d.greets(ctx, address, nil); {
	case err != nil:
		return nil, err
	case native:
		return d.peer(ctx, address, nil)
	}
	layer, err := security.New(security.Config{Mode: security.Anonymous})
	if err != nil {
		return nil, err
	}
	return d.peer(ctx, address, layer)
}

var errOnce = errors.New("connect: only one attempt is made")

// peer peers with the controller at the address, over the layer unless it is nil.
// It makes one attempt: retrying is left to the caller.
func (d *dialer) peer(ctx context.Context, address string, layer *security.Layer) (*Connection, error) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	endpoint, err := peering.New(d.peeringConfig(layer, giveUp))
	if err != nil {
		return nil, err
	}
	found := Found{Transport: Native, Address: address, TLS: d.nativeKind(layer)}
	if err = endpoint.AddPeer(address); err == nil {
		_, err = endpoint.AwaitPeer(ctx, address)
	}
	if err == nil {
		// A Zeek 5.0 that has just accepted the peering receives a request, and
		// may answer before it knows our subscriptions.
		err = endpoint.Flush(ctx)
	}
	if err == nil {
		err = d.chooseDialect(endpoint, &found)
	} else if errors.Is(context.Cause(ctx), errOnce) {
		err = lastError(endpoint, err)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		_ = endpoint.Drain(ctx) // the error below counts
		return nil, err
	}
	return &Connection{Bus: endpoint, Found: found, line: d.line}, nil
}

// peeringConfig configures an endpoint that makes one attempt to connect. It calls
// giveUp instead of making another.
func (d *dialer) peeringConfig(layer *security.Layer, giveUp context.CancelCauseFunc) peering.Config {
	var attempts atomic.Int64
	config := peering.Config{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if attempts.Add(1) > 1 {
				giveUp(errOnce)
				<-ctx.Done()
				return nil, errOnce
			}
			return d.line.dial(ctx, network, address)
		},
		RetryMin: time.Millisecond,
	}
	for _, dialect := range d.Dialects {
		config.Subscriptions = append(config.Subscriptions, dialect.Topics.Controller)
	}
	config.Subscriptions = append(config.Subscriptions, d.Topics...)
	if layer != nil {
		config.TLS = layer.Hook()
	}
	return config
}

// nativeKind returns the value of Found.TLS for a native peering over the layer.
func (d *dialer) nativeKind(layer *security.Layer) string {
	switch {
	case layer == nil:
		return ""
	case layer == d.NativeTLS && security.Verifies(d.TLS):
		return tlsVerified
	}
	return tlsAnonymous
}

// lastError returns the error of the only attempt, or err if there is none.
func lastError(endpoint *peering.Endpoint, err error) error {
	for _, p := range endpoint.Peers() {
		if p.Err != nil {
			return p.Err
		}
	}
	return err
}

// NoControllerError means that a native peer is not a controller of one of the
// dialects.
type NoControllerError struct{ Topics []string }

// Error names the subscriptions of the peer.
func (e *NoControllerError) Error() string {
	return fmt.Sprintf("connect: a Broker endpoint answers, but it is no controller: it subscribes to %q", e.Topics)
}

// chooseDialect chooses the dialect whose controller topic the peer subscribes to.
func (d *dialer) chooseDialect(endpoint *peering.Endpoint, found *Found) error {
	var topics []string
	for _, p := range endpoint.Peers() {
		if p.State != peering.Peered {
			continue
		}
		for _, dialect := range d.Dialects {
			if p.Filter.Matches(dialect.Topics.Controller) {
				found.Dialect = dialect
				return nil
			}
		}
		topics = append(topics, p.Filter...)
	}
	return &NoControllerError{Topics: topics}
}
