package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// advised adds to an error of a connection to an address which flag to change, if that is known.
func advised(address string, err error) error {
	var web *websocket.MismatchError
	if errors.As(err, &web) {
		changed := *web // with advice about flags in place of fields
		changed.Advice = webSocketAdvice(web)
		return fmt.Errorf("websocket: connecting to %s: %w", address, &changed)
	}
	if text := advice(err); text != "" {
		return fmt.Errorf("%w; %s", err, text)
	}
	return err
}

// advice returns what to change after an error of a connection, or "".
func advice(err error) string {
	var (
		native *peering.MismatchError
		lookup *net.DNSError
	)
	switch {
	case errors.As(err, &native):
		return nativeAdvice(native)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: check --connect HOST:PORT, and that the peer runs"
	case errors.As(err, &lookup):
		return "check the name in --connect HOST:PORT"
	case errors.Is(err, context.DeadlineExceeded):
		return "check --connect HOST:PORT, and what filters packets on the way"
	}
	return ""
}

func nativeAdvice(m *peering.MismatchError) string {
	switch {
	case m.Met == wire.ProtocolHTTP || m.Met == wire.ProtocolWebSocket:
		return "use --transport websocket, or the native port of the peer"
	case m.Met == wire.ProtocolNative && m.Secure:
		return "use --tls off"
	case m.Met == wire.ProtocolTLS && !m.Secure:
		return "use --tls anonymous or --tls mutual"
	}
	return ""
}

func webSocketAdvice(m *websocket.MismatchError) string {
	switch m.Met {
	case websocket.MetNative:
		return "use --transport native, or the port of the WebSocket server"
	case websocket.MetTLS, websocket.MetNoHTTP:
		return "use --tls anonymous or --tls mutual, or check that the port is that of a WebSocket server"
	case websocket.MetPlain, websocket.MetNoTLS:
		return "use --tls off"
	case websocket.MetOtherTLS, websocket.MetDemandingTLS:
		return "use --tls anonymous if the server has no certificate, and --tls mutual if it demands one"
	case websocket.MetSilence:
		return "check that the port is that of a WebSocket server"
	}
	if m.Status == http.StatusUnauthorized || m.Status == http.StatusForbidden {
		return "the server requires a certificate, with --tls mutual, or a token, which this command has not"
	}
	return "check that --connect is the address of a WebSocket server"
}
