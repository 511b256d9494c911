package clientcmd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

// explain describes a connection error with the texts of zeek-client.
func explain(err error, remote string) string {
	var (
		mismatch       *websocket.MismatchError
		nativeMismatch *peering.MismatchError
		foreign        *connect.ForeignError
		noController   *connect.NoControllerError
		record         tls.RecordHeaderError
		alert          tls.AlertError
		untrusted      *tls.CertificateVerificationError
		network        net.Error
		lookup         *net.DNSError
		refused        *connect.HTTPError
	)
	switch {
	case errors.As(err, &refused):
		hint := ""
		if refused.Status == http.StatusUnauthorized {
			hint = "; set " + tokenVariable + ", or ssl.certificate, to what the controller accepts"
		}
		return fmt.Sprintf("HTTP error with controller %s: %v%s", remote, err, hint)
	case errors.As(err, &mismatch):
		kind := "websocket"
		switch mismatch.Met {
		case websocket.MetPlain, websocket.MetOtherTLS, websocket.MetDemandingTLS, websocket.MetNoTLS:
			kind = "socket TLS"
		}
		return fmt.Sprintf("%s error in connect() with controller %s: met %s; %s (%v)", kind, remote, mismatch.Met, advice(mismatch), mismatch.Err)
	case strings.HasPrefix(err.Error(), "websocket: connecting to ") && errors.Unwrap(err) != nil:
		return explain(errors.Unwrap(err), remote) // without the address, which the text already has
	case errors.As(err, &nativeMismatch), errors.As(err, &foreign), errors.As(err, &noController), strings.HasPrefix(err.Error(), "peering: "):
		return fmt.Sprintf("cannot talk to controller %s: %v", remote, err)
	case errors.As(err, &record), errors.As(err, &alert), errors.As(err, &untrusted):
		return fmt.Sprintf("socket TLS error in connect() with controller %s: %v", remote, err)
	case errors.Is(err, jsonv1.ErrMalformed), errors.As(err, new(jsonv1.Error)):
		return fmt.Sprintf("protocol data error with controller %s: %v", remote, err)
	case errors.As(err, &lookup):
		return fmt.Sprintf("websocket error in connect() with controller %s: %s", remote, lookup.Err) // without the names of the host and the DNS servers
	case errors.As(err, &network):
		return fmt.Sprintf("socket error in connect() with controller %s: %v", remote, err)
	}
	return fmt.Sprintf("websocket error in connect() with controller %s: %v", remote, err)
}

// advice returns the setting to change after a mismatch.
func advice(m *websocket.MismatchError) string {
	switch m.Met {
	case websocket.MetNative:
		return "use --transport native, or the port of the WebSocket server"
	case websocket.MetTLS:
		return "set ssl.enable if it expects TLS, and ssl.certificate if it expects that"
	case websocket.MetNoHTTP:
		return "set ssl.enable if it expects TLS, and ssl.certificate if it expects that, or use the port for clients, by default 2149"
	case websocket.MetPlain:
		return "unset ssl.enable"
	case websocket.MetDemandingTLS:
		return "set ssl.certificate and ssl.keyfile"
	case websocket.MetOtherTLS, websocket.MetNoTLS:
		return "unset ssl.certificate if it has none itself, or ssl.enable if it expects no TLS"
	}
	if m.Status == http.StatusUnauthorized || m.Status == http.StatusForbidden {
		return "set " + tokenVariable + ", or ssl.certificate, to what the controller accepts"
	}
	return m.Advice
}
