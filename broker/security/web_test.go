package security

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// clientConfig returns the TLS of a client that trusts an authority and has, if
// cert is not "", a certificate.
func clientConfig(t *testing.T, trusted *authority, cert, key string) *tls.Config {
	t.Helper()
	roots, err := loadAuthorities(trusted.File)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: roots.pool, ServerName: "server.example"}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		// Send the certificate regardless of the requested authorities, as a
		// hostile client would.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c
}

// meet connects a client to a server, exchanges a byte, and returns their
// errors.
func meet(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			heard <- err
			return
		}
		defer conn.Close()
		c := tls.Server(conn, server)
		b := make([]byte, 1)
		_, err = io.ReadFull(c, b)
		if err == nil {
			_, err = c.Write(b)
		}
		heard <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, client)
	if _, clientErr = c.Write([]byte{1}); clientErr == nil {
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	conn.Close()
	return <-heard, clientErr
}

func TestWebClientCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.Issue(t, "server", withAltNames, serverName)
	plain := WebConfig{CertFile: cert, KeyFile: key}
	asking, demanding := plain, plain
	asking.CAFile, demanding.CAFile, demanding.Demand = ca.File, ca.File, true
	mine, mineKey := ca.Issue(t, "client")
	foreign, foreignKey := other.Issue(t, "client")
	old, oldKey := ca.Issue(t, "client", certtest.Expired)
	for _, tt := range []struct {
		name           string
		server         WebConfig
		cert, key      string
		server2, error string // errors of the server and the client
	}{
		{"no client certificates", plain, "", "", "", ""},
		{"certificate that is not requested", plain, foreign, foreignKey, "", ""},
		{"optional certificate", asking, mine, mineKey, "", ""},
		{"no optional certificate", asking, "", "", "", ""},
		{"optional certificate of another authority", asking, foreign, foreignKey, "unknown authority", "unknown certificate authority"},
		{"expired optional certificate", asking, old, oldKey, "expired", "expired certificate"},
		{"required certificate", demanding, mine, mineKey, "", ""},
		{"no required certificate", demanding, "", "", "didn't provide a certificate", "certificate required"},
		{"expired required certificate", demanding, old, oldKey, "expired", "expired certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := NewWeb(tt.server)
			if err != nil {
				t.Fatal(err)
			}
			serverErr, clientErr := meet(t, w.TLS(), clientConfig(t, ca, tt.cert, tt.key))
			for _, x := range []struct {
				who  string
				err  error
				want string
			}{{"server", serverErr, tt.server2}, {"client", clientErr, tt.error}} {
				if (x.err == nil) != (x.want == "") || x.err != nil && !strings.Contains(x.err.Error(), x.want) {
					t.Errorf("error of the %s is %v, want %q", x.who, x.err, x.want)
				}
			}
		})
	}
}

func TestWebReload(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.Issue(t, "server", serverName)
	w, err := NewWeb(WebConfig{CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	server := w.TLS() // before the reload
	replace(t, cert, "invalid")
	if err := w.Reload(); err == nil {
		t.Error("Reload accepts an invalid certificate")
	}
	if _, err := meet(t, server, clientConfig(t, ca, "", "")); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
	newCert, newKey := other.Issue(t, "server", serverName)
	replace(t, cert, content(t, newCert))
	replace(t, key, content(t, newKey))
	if err := w.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := meet(t, server, clientConfig(t, other, "", "")); err != nil {
		t.Errorf("after the reload: %v", err)
	}
}

func TestWebErrors(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.Issue(t, "server")
	_, otherKey := ca.Issue(t, "other")
	for _, tt := range []struct {
		config WebConfig
		want   string
	}{
		{WebConfig{CertFile: cert}, "requires both"},
		{WebConfig{KeyFile: key}, "requires both"},
		{WebConfig{CertFile: cert, KeyFile: key, Demand: true}, "needs a file with their authorities"},
		{WebConfig{CertFile: cert, KeyFile: otherKey}, "does not match"},
		{WebConfig{CertFile: cert, KeyFile: key, CAFile: key}, "contains no certificate"},
		{WebConfig{CertFile: cert, KeyFile: key, CAFile: "missing.pem"}, "missing.pem"},
	} {
		if _, err := NewWeb(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.config, err, tt.want)
		}
	}
}

// A listener accepts clients that use anonymous TLS. A client that sends
// nothing does not delay others.
func TestListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	layer := newLayer(t, Config{})
	l := layer.Listener(inner)
	defer l.Close()
	silent, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	waiting, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()

	dialed, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	done := make(chan error, 1)
	go func() {
		c, err := layer.Secure(t.Context(), dialed, true)
		if err == nil {
			_, err = c.Write([]byte("hello"))
		}
		done <- err
	}()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	b := make([]byte, 5)
	if _, err := io.ReadFull(accepted, b); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	silent.Close()
	if _, err := waiting.Read(b); err == nil {
		t.Error("Read succeeds for a client that sent nothing")
	}
	if _, err := waiting.Write(b); err == nil {
		t.Error("Write succeeds for a client without TLS")
	}
	if got := newLayer(t, Config{Mode: Off}).Listener(inner); got != inner {
		t.Error("Listener wraps the listener in mode off")
	}
}
