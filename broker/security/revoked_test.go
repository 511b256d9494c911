package security

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// serial is a change for Issue, which gives the certificate a number.
func serial(n int64) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.SerialNumber = big.NewInt(n) }
}

// copyFile replaces the content of a file with that of another one.
func copyFile(t *testing.T, to, from string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// mutualWith returns a configuration with a new certificate.
func mutualWith(t *testing.T, a *certtest.Authority, name string, n int64, revoked string) Config {
	t.Helper()
	c := Config{Mode: Mutual, CAFile: a.File, RevokedFile: revoked}
	c.CertFile, c.KeyFile = a.Issue(t, name, serial(n))
	return c
}

// Revoked certificates are refused at both ends of a connection, with a reason.
func TestRevokedAtHandshakes(t *testing.T) {
	a := certtest.New(t)
	bad := mutualWith(t, a, "bad", 10, "")
	strict := newLayer(t, mutualWith(t, a, "good", 11, a.Revoke(t, bad.CertFile)))
	_, _, _, err := secureBoth(t, newLayer(t, bad), strict)
	if !errors.Is(err, ErrRevoked) || !strings.Contains(err.Error(), "bad") {
		t.Errorf("accepted from a revoked peer: %v", err)
	}
	_, _, err, _ = secureBoth(t, strict, newLayer(t, bad))
	if !errors.Is(err, ErrRevoked) {
		t.Errorf("dialed to a revoked peer: %v", err)
	}
	_, _, dialErr, acceptErr := secureBoth(t, newLayer(t, mutualWith(t, a, "other", 12, "")), strict)
	if dialErr != nil || acceptErr != nil {
		t.Errorf("a certificate that is not revoked is refused: %v, %v", dialErr, acceptErr)
	}
	if n := len(strict.PeerCertificates()); n != 1 {
		t.Errorf("%d certificates of peers, want 1", n)
	}
}

// A reload closes the connections whose certificate has been revoked since, and no
// others.
func TestRevokedWhileConnected(t *testing.T) {
	a := certtest.New(t)
	bad, good := mutualWith(t, a, "bad", 10, ""), mutualWith(t, a, "good", 11, "")
	file := a.Revoke(t)
	server := newLayer(t, mutualWith(t, a, "server", 12, file))
	_, toBad, err1, err2 := secureBoth(t, newLayer(t, bad), server)
	_, toGood, err3, err4 := secureBoth(t, newLayer(t, good), server)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	copyFile(t, file, a.Revoke(t, bad.CertFile))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := toBad.Read(make([]byte, 1)); !errors.Is(err, ErrRevoked) {
		t.Errorf("read from a revoked peer: %v", err)
	}
	if _, err := toBad.Write([]byte("x")); !errors.Is(err, ErrRevoked) {
		t.Errorf("write to a revoked peer: %v", err)
	}
	if _, err := toGood.Write([]byte("x")); err != nil {
		t.Errorf("write to another peer: %v", err)
	}
	toBad.Close()
	toGood.Close()
	if n := len(server.PeerCertificates()); n != 0 {
		t.Errorf("%d certificates of closed connections are kept", n)
	}
}

func TestRevokedFiles(t *testing.T) {
	a, other := certtest.New(t), certtest.New(t)
	own, ownKey := a.Issue(t, "x", serial(10))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "damaged.pem")
	text, err := os.ReadFile(a.Revoke(t, own))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged, []byte(strings.Replace(string(text), "A", "B", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ file, want string }{
		"missing":           {filepath.Join(t.TempDir(), "none.pem"), "no such file"},
		"empty":             {empty, "contains no list"},
		"certificate":       {own, "contains no list"},
		"another authority": {other.Revoke(t, own), "security: revoked"},
		"damaged":           {damaged, "security: revoked"},
	} {
		c := Config{Mode: Mutual, CertFile: own, KeyFile: ownKey, CAFile: a.File, RevokedFile: test.file}
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if _, err := NewWeb(WebConfig{CertFile: own, KeyFile: ownKey, CAFile: a.File, RevokedFile: test.file}); err == nil {
			t.Errorf("%s: no error of the WebSocket server", name)
		}
	}
	if _, err := New(Config{Mode: Anonymous, RevokedFile: empty}); err == nil {
		t.Error("anonymous TLS has revoked certificates")
	}
	if _, err := NewWeb(WebConfig{CertFile: own, KeyFile: ownKey, RevokedFile: empty}); err == nil {
		t.Error("revoked certificates without their authority")
	}
}

// A list that cannot be read does not replace the one in use.
func TestRevokedReloadFails(t *testing.T) {
	a := certtest.New(t)
	bad := mutualWith(t, a, "bad", 10, "")
	file := a.Revoke(t, bad.CertFile)
	server := newLayer(t, mutualWith(t, a, "server", 11, file))
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := server.Reload(); err == nil {
		t.Fatal("no error for a damaged list")
	}
	if _, _, _, err := secureBoth(t, newLayer(t, bad), server); !errors.Is(err, ErrRevoked) {
		t.Errorf("got %v", err)
	}
}

// The WebSocket server refuses and closes connections in the same way.
func TestWebRevoked(t *testing.T) {
	a := certtest.New(t)
	bad, badKey := a.Issue(t, "bad", serial(10))
	good, goodKey := a.Issue(t, "good", serial(11))
	file := a.Revoke(t)
	c := WebConfig{CAFile: a.File, RevokedFile: file}
	c.CertFile, c.KeyFile = a.Issue(t, "127.0.0.1", serial(12), func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	web, err := NewWeb(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
	go server.Serve(tls.NewListener(web.Listener(l), web.TLS()))
	t.Cleanup(func() { server.Close() })
	dial := func(cert, key string) *http.Client {
		pair, err := LoadCertificate(cert, key, "")
		if err != nil {
			t.Fatal(err)
		}
		authorities, err := loadAuthorities(a.File)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities.pool, Certificates: []tls.Certificate{pair}}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	get := func(c *http.Client) error {
		resp, err := c.Get("https://" + l.Addr().String())
		if err != nil {
			return err
		}
		_, err = io.ReadAll(resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
	revoked, other := dial(bad, badKey), dial(good, goodKey)
	for _, c := range []*http.Client{revoked, other} {
		if err := get(c); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(web.PeerCertificates()); n != 2 { // the connections are idle
		t.Errorf("%d certificates of clients, want 2", n)
	}
	copyFile(t, file, a.Revoke(t, bad))
	if err := web.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := get(revoked); err == nil {
		t.Error("a client with a revoked certificate is served")
	}
	if err := get(other); err != nil {
		t.Errorf("another client: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); len(web.PeerCertificates()) != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d certificates of clients, want 1", len(web.PeerCertificates()))
		}
	}
}
