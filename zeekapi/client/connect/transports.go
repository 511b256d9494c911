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

// webSocket connects to a WebSocket server as the options say. Where nobody is
// to be verified, TLS may as well be anonymous, and for a Zeek without
// certificates it has to be.
func (d *dialer) webSocket(ctx context.Context) (*Connection, error) {
	c, err := d.webSocketBy(ctx, d.TLS, d.line.dial, kindOf(d.TLS))
	var mismatch *websocket.MismatchError
	if !errors.As(err, &mismatch) || d.TLS == nil || !d.TLS.InsecureSkipVerify {
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

func kindOf(config *tls.Config) string {
	switch {
	case config == nil:
		return ""
	case config.InsecureSkipVerify:
		return tlsUnverified
	}
	return tlsVerified
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
		ApplicationName: "zeekwire",
		Header:          d.Header,
		OnError: func(e jsonv1.Error) {
			if e.Code == jsonv1.CodeDeserializationFailed && d.OnError != nil {
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

// native peers with the controller at the address. Without a layer it finds out
// whether the controller wants anonymous TLS.
func (d *dialer) native(ctx context.Context, address string) (*Connection, error) {
	switch {
	case d.Layer != nil:
		return d.peer(ctx, address, d.Layer)
	case d.TLS != nil:
		return nil, errors.New("connect: there is TLS for WebSockets, but none for native connections")
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

var errOnce = errors.New("connect: one attempt is all")

// peer peers with the controller at the address, over the layer if there is
// one. It makes one attempt: to try again is for the caller.
func (d *dialer) peer(ctx context.Context, address string, layer *security.Layer) (*Connection, error) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
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
	found := Found{Transport: Native, Address: address}
	if layer != nil {
		config.TLS = layer.Hook()
		found.TLS = tlsAnonymous
		if layer == d.Layer && d.TLS != nil && !d.TLS.InsecureSkipVerify {
			found.TLS = tlsVerified
		}
	}
	endpoint, err := peering.New(config)
	if err != nil {
		return nil, err
	}
	if err = endpoint.AddPeer(address); err == nil {
		_, err = endpoint.AwaitPeer(ctx, address)
	}
	if err == nil {
		// A Zeek 5.0 that has just accepted us hears our request, and may answer
		// before it knows that we listen.
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

// lastError returns why the only attempt failed, or err.
func lastError(endpoint *peering.Endpoint, err error) error {
	for _, p := range endpoint.Peers() {
		if p.Err != nil {
			return p.Err
		}
	}
	return err
}

// NoControllerError says that a peer is no controller of a dialect that we
// know.
type NoControllerError struct{ Topics []string }

// Error says what the peer listens to.
func (e *NoControllerError) Error() string {
	return fmt.Sprintf("connect: a Broker endpoint answers, but it is no controller: it subscribes to %q", e.Topics)
}

// chooseDialect goes by the topics that the peer told us in the handshake.
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
