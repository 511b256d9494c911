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

	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// firstBytes is a connection that keeps the first bytes read. They show which
// protocol the other end speaks; the errors of the libraries do not. It also limits
// the size of the HTTP response, which the libraries do not.
type firstBytes struct {
	net.Conn
	b        []byte
	http     bool // fail at the first byte that is not HTTP
	read     int  // bytes
	upgraded bool // the HTTP response is complete
}

// Values of MismatchError.Met, besides those that begin with "HTTP status".
const (
	MetNative       = "Broker's native protocol"
	MetTLS          = "TLS"
	MetPlain        = "a server without TLS"
	MetOtherTLS     = "TLS without a common cipher suite or version"
	MetDemandingTLS = "TLS that requires a client certificate"
	MetNoHTTP       = "a server that hangs up on HTTP"
	MetNoTLS        = "a server that hangs up on TLS"
	MetSilence      = "silence"
)

const (
	opening = 16 // bytes that distinguish protocols

	// maxUpgrade limits the bytes of the server before the end of its HTTP
	// response, TLS included.
	maxUpgrade = 128 << 10
)

func (f *firstBytes) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.upgraded {
		return n, err
	}
	if f.read += n; f.read > maxUpgrade {
		return 0, errLongResponse
	}
	if missing := opening - len(f.b); missing > 0 {
		f.b = append(f.b, p[:min(n, missing)]...)
		if n := min(len(f.b), len(httpVersion)); f.http && string(f.b[:n]) != httpVersion[:n] {
			return 0, errNotHTTP
		}
	}
	return n, err
}

const httpVersion = "HTTP/"

var (
	errNotHTTP      = errors.New("answer is not HTTP")
	errLongResponse = fmt.Errorf("HTTP response is longer than %d bytes", maxUpgrade)
)

// The alerts of servers that refuse a client with other TLS settings.
const (
	tlsAlertHandshakeFailure    = 40
	tlsAlertProtocolVersion     = 70
	tlsAlertCertificateRequired = 116
)

// explain returns a *MismatchError for err if the other end is recognized, and
// err otherwise.
func (f *firstBytes) explain(err error, usingTLS bool, response *http.Response) error {
	const anonymous = "a Zeek without certificates requires the anonymous TLS of a DialContext function"
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
		m.Met, m.Advice = MetTLS, "set TLS, or a DialContext function for the anonymous TLS of a Zeek without certificates"
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
		m.Met, m.Advice = MetNoHTTP, "set TLS if it expects that, or a DialContext function for the anonymous TLS of a Zeek without certificates"
	case len(f.b) == 0 && f.Conn != nil && errors.Is(err, context.DeadlineExceeded):
		// Broker's native port treats the request as a length and waits for that
		// many bytes; its embedded server treats TLS as an incomplete request.
		m.Met, m.Advice = MetSilence, "check that the port is that of a WebSocket server, and whether it has TLS"
	default:
		return err
	}
	return &m
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// refused returns the *MismatchError for an HTTP response that is no upgrade.
func refused(err error, response *http.Response) error {
	const most = 200
	body, _ := io.ReadAll(io.LimitReader(response.Body, most))
	met, text := "HTTP status "+response.Status, strings.TrimSpace(string(body))
	if text != "" && !strings.HasPrefix(text, "<") { // a page for browsers says no more than the status
		met += fmt.Sprintf(" (%q)", text)
	}
	m := MismatchError{Met: met, Status: response.StatusCode, Advice: "check that the address is that of a WebSocket server of Zeek", Err: err}
	switch response.StatusCode {
	case http.StatusBadRequest:
		// The answer of a TLS server of package net/http to a client without TLS.
		if strings.Contains(text, "HTTP request to an HTTPS server") {
			m.Met, m.Advice = MetTLS, "set TLS"
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		m.Advice = "set the Header that the server requires, or a client certificate in TLS"
	case http.StatusServiceUnavailable:
		m.Advice = "try again later"
	}
	return &m
}

// IsRefusal reports whether err, an error of Dial, is a refusal that further attempts
// with the same settings would meet again: a jsonv1.Error of the server, or the HTTP
// status 401 or 403.
func IsRefusal(err error) bool {
	if errors.As(err, new(jsonv1.Error)) {
		return true
	}
	var m *MismatchError
	return errors.As(err, &m) && (m.Status == http.StatusUnauthorized || m.Status == http.StatusForbidden)
}
