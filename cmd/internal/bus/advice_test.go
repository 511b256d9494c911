package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// TestAdvice checks that errors of connections name the flag to change.
func TestAdvice(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string // "" for no advice
	}{
		{syscall.ECONNREFUSED, "nobody listens there: check --connect HOST:PORT"},
		{&timeoutError{1}, "what filters packets"},
		{context.DeadlineExceeded, "what filters packets"},
		{&net.DNSError{Err: "no such host"}, "check the name in --connect"},
		{&peering.MismatchError{Met: wire.ProtocolHTTP, Dialed: true}, "use --transport websocket"},
		{&peering.MismatchError{Met: wire.ProtocolNative, Secure: true}, "use --tls off"},
		{&peering.MismatchError{Met: wire.ProtocolTLS}, "use --tls anonymous"},
		{&peering.MismatchError{Met: wire.ProtocolNative}, ""},
		{&websocket.MismatchError{Met: websocket.MetNative}, "use --transport native"},
		{&websocket.MismatchError{Met: websocket.MetTLS}, "use --tls anonymous"},
		{&websocket.MismatchError{Met: websocket.MetPlain}, "use --tls off"},
		{&websocket.MismatchError{Met: websocket.MetOtherTLS}, "--tls mutual if it demands one"},
		{&websocket.MismatchError{Met: websocket.MetSilence}, "check that the port"},
		{&websocket.MismatchError{Met: "HTTP status 401", Status: 401}, "requires a certificate"},
		{&websocket.MismatchError{Met: "HTTP status 404", Status: 404}, "check that --connect"},
		{errors.New("else"), ""},
	} {
		got := advised("h:1", fmt.Errorf("connecting: %w", tt.err))
		if web := (*websocket.MismatchError)(nil); !errors.Is(got, tt.err) && !errors.As(got, &web) || !strings.Contains(got.Error(), tt.want) || strings.Contains(got.Error(), ";") != (tt.want != "") {
			t.Errorf("%#v: %v, want %q", tt.err, got, tt.want)
		}
	}
}
