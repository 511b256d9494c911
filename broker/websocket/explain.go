package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// firstBytes remembers how the far end began to speak, because a library that
// expected something else does not tell.
type firstBytes struct {
	net.Conn
	b    []byte
	http bool // HTTP is expected; anything else is not worth waiting for more of
}

// What a MismatchError may have met, besides HTTP responses.
const (
	MetNative       = "Broker's native protocol"
	MetTLS          = "TLS"
	MetPlain        = "a server without TLS"
	MetOtherTLS     = "TLS with which we share no cipher suite or version"
	MetDemandingTLS = "TLS that wants a certificate from us"
	MetNoHTTP       = "a server that hangs up on HTTP"
	MetNoTLS        = "a server that hangs up on TLS"
	MetSilence      = "silence"
)

const opening = 16 // bytes that tell protocols apart

func (f *firstBytes) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if missing := opening - len(f.b); missing > 0 {
		f.b = append(f.b, p[:min(n, missing)]...)
		if n := min(len(f.b), len(httpVersion)); f.http && string(f.b[:n]) != httpVersion[:n] {
			return 0, errNotHTTP
		}
	}
	return n, err
}

const httpVersion = "HTTP/"

var errNotHTTP = errors.New("answer is not HTTP")

// The alerts of a server with which a client of the wrong kind meets.
const (
	tlsAlertHandshakeFailure    = 40
	tlsAlertProtocolVersion     = 70
	tlsAlertCertificateRequired = 116
)

// explain returns err with what is known about the far end.
func (f *firstBytes) explain(err error, usingTLS bool, response *http.Response) error {
	const anonymous = "a Zeek without certificates needs the anonymous TLS of a Dial function"
	looksTLS := len(f.b) >= 3 && f.b[0] >= 20 && f.b[0] <= 23 && f.b[1] == 3
	alert := byte(0)
	if looksTLS && f.b[0] == 21 && len(f.b) >= 7 {
		alert = f.b[6]
	}
	m := MismatchError{Err: err}
	switch {
	case response != nil:
		return refused(err, response)
	case len(f.b) >= 9 && bytes.Equal(f.b[5:9], []byte("ZEEK")):
		m.Met, m.Advice = MetNative, "use the port of the WebSocket server, or a native peering"
	case looksTLS && !usingTLS:
		m.Met, m.Advice = MetTLS, "set TLS, or a Dial function for the anonymous TLS of a Zeek without certificates"
	case usingTLS && bytes.HasPrefix(f.b, []byte(httpVersion)):
		m.Met, m.Advice = MetPlain, "unset TLS"
	case usingTLS && (alert == tlsAlertHandshakeFailure || alert == tlsAlertProtocolVersion):
		m.Met, m.Advice = MetOtherTLS, anonymous
	case usingTLS && (alert == tlsAlertCertificateRequired || strings.Contains(err.Error(), "tls: certificate required")):
		// With TLS 1.3 it comes encrypted, as an error of a type of crypto/tls's own.
		m.Met, m.Advice = MetDemandingTLS, "set one in TLS"
	case usingTLS && len(f.b) > 0 && !looksTLS:
		m.Met, m.Advice = MetPlain, "unset TLS"
	case len(f.b) == 0 && f.Conn != nil && hungUp(err) && usingTLS:
		m.Met, m.Advice = MetNoTLS, "unset TLS if it has none; "+anonymous
	case len(f.b) == 0 && f.Conn != nil && hungUp(err):
		m.Met, m.Advice = MetNoHTTP, "set TLS if it expects that, or a Dial function for the anonymous TLS of a Zeek without certificates"
	case len(f.b) == 0 && f.Conn != nil && errors.Is(err, context.DeadlineExceeded):
		// Broker's native port waits for more of what it takes for a length,
		// and its embedded server for more of what it takes for HTTP.
		m.Met, m.Advice = MetSilence, "check that the port is that of a WebSocket server, and whether it has TLS"
	default:
		return err
	}
	return &m
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// refused explains an HTTP response in place of an upgrade.
func refused(err error, response *http.Response) error {
	const most = 200
	body, _ := io.ReadAll(io.LimitReader(response.Body, most))
	met, text := "HTTP status "+response.Status, strings.TrimSpace(string(body))
	if text != "" {
		met += fmt.Sprintf(" (%q)", text)
	}
	m := MismatchError{Met: met, Status: response.StatusCode, Advice: "check that the address is that of a WebSocket server of Zeek", Err: err}
	switch response.StatusCode {
	case http.StatusBadRequest:
		// How a server of the Go library with TLS answers those who use none.
		if strings.Contains(text, "HTTP request to an HTTPS server") {
			m.Met, m.Advice = MetTLS, "set TLS"
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		m.Advice = "set the Header that the server wants, or a client certificate in TLS"
	case http.StatusServiceUnavailable:
		m.Advice = "try again later"
	}
	return &m
}
