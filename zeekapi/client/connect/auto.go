package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// ForeignError means that the other end speaks neither Broker nor HTTP: it sent
// other bytes first.
type ForeignError struct{ First []byte }

// Error shows the first bytes.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("connect: this is neither a WebSocket server nor Broker: its first bytes are %q", e.First)
}

// auto finds out which transport the server at the address offers. It must not
// harm the server: a Broker endpoint treats the first bytes of HTTP or TLS as the
// length of a message and allocates memory for it. Except at the port of Zeek's
// WebSocket server, auto therefore sends a wire.PortProbe first, and looks for a greeting,
// which Broker sends on every connection, also within TLS.
func (d *dialer) auto(ctx context.Context) (*Connection, error) {
	mayPeer := d.TLS == nil || d.NativeTLS != nil // a native peering is as secure as a WebSocket
	if mayPeer && !d.usualWebSocketPort() {
		switch native, err := d.greets(ctx, d.Address, d.NativeTLS); {
		case native:
			return d.peer(ctx, d.Address, d.NativeTLS)
		case errors.As(err, new(*ForeignError)):
			return nil, err
		}
		// Other errors occur again below, with a better explanation.
	}
	c, err := d.webSocket(ctx)
	if err == nil {
		return c, nil
	}
	if errors.Is(err, syscall.ECONNREFUSED) && mayPeer && d.NativeAddress != "" {
		if c, failed := d.native(ctx, d.NativeAddress); failed == nil {
			return c, nil
		}
		return nil, err
	}
	var mismatch *websocket.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Met != websocket.MetTLS && mismatch.Met != websocket.MetNoHTTP || d.TLS != nil {
		return nil, err
	}
	if c, failed := d.anonymous(ctx); failed == nil {
		return c, nil
	}
	return nil, err
}

func (d *dialer) usualWebSocketPort() bool {
	_, port, err := net.SplitHostPort(d.Address)
	return err == nil && port == strconv.Itoa(WebSocketPort)
}

// anonymous connects over anonymous TLS, with the transport that is within.
func (d *dialer) anonymous(ctx context.Context) (*Connection, error) {
	layer, err := security.New(security.Config{Mode: security.Anonymous})
	if err != nil {
		return nil, err
	}
	switch native, err := d.greets(ctx, d.Address, layer); {
	case err != nil:
		return nil, err
	case native:
		return d.peer(ctx, d.Address, layer)
	}
	return d.webSocketOver(ctx, layer)
}

// greetingTime is the time to wait for a greeting, or for a response to the probe, in
// addition to the time that connecting took. Only a server that sends nothing at all takes
// this long; it may be a Zeek that is busy.
const greetingTime = 2 * time.Second

// greets reports whether the server at the address is a native endpoint, over
// the layer of TLS unless it is nil.
func (d *dialer) greets(ctx context.Context, address string, layer *security.Layer) (bool, error) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	began := time.Now()
	conn, err := d.line.dial(ctx, "tcp", address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	secured := conn
	if layer != nil {
		if secured, err = layer.Secure(ctx, conn, true); err != nil {
			return false, err
		}
	}
	connecting := time.Since(began)
	conn.SetReadDeadline(time.Now().Add(greetingTime + connecting))
	_, _ = io.WriteString(secured, wire.PortProbe)
	first := make([]byte, len("\x00\x00\x00\x05\x07ZEEK"))
	n, _ := io.ReadFull(secured, first)
	switch protocol := wire.Sniff(first[:n]); {
	case protocol == wire.ProtocolNative:
		return true, nil
	case protocol == wire.ProtocolHTTP, protocol == wire.ProtocolTLS:
		return false, nil // the error with which the server answers the probe
	case n > 0:
		return false, &ForeignError{First: first[:n]}
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	}
	return false, nil // silent, or closed; the next attempt will show which
}
