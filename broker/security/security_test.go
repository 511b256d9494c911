package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/internal/anontls"
)

func newLayer(t *testing.T, c Config) *Layer {
	t.Helper()
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func tcpPair(t *testing.T) (dialed, accepted net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if dialed, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{dialed, accepted} {
		c.SetDeadline(time.Now().Add(time.Minute)) // fail instead of hanging
		t.Cleanup(func() { c.Close() })
	}
	return dialed, accepted
}

// secureBoth secures both ends of a connection. Then each end sends and reads a
// greeting: a TLS 1.3 client completes the handshake before the server has
// verified its certificate, and learns of a rejection only when it reads.
func secureBoth(t *testing.T, dialer, acceptor *Layer) (dialed, accepted net.Conn, dialErr, acceptErr error) {
	t.Helper()
	a, b := tcpPair(t)
	greet := func(c net.Conn) error {
		if _, err := io.WriteString(c, "hello"); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 5))
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if accepted, acceptErr = acceptor.Secure(t.Context(), b, false); acceptErr == nil {
			acceptErr = greet(accepted)
		}
	})
	if dialed, dialErr = dialer.Secure(t.Context(), a, true); dialErr == nil {
		dialErr = greet(dialed)
	}
	wg.Wait()
	for _, c := range []net.Conn{dialed, accepted} {
		if c != nil {
			t.Cleanup(func() { c.Close() })
		}
	}
	return dialed, accepted, dialErr, acceptErr
}

func TestMode(t *testing.T) {
	for _, m := range []Mode{Anonymous, Off, Mutual} {
		if got, err := ParseMode(m.String()); got != m || err != nil {
			t.Errorf("%v: got %v, %v", m, got, err)
		}
	}
	if _, err := ParseMode("tls"); err == nil || !strings.Contains(err.Error(), "anonymous, off and mutual") {
		t.Errorf("unknown mode: got %v", err)
	}
	if got := Mode(9).String(); got != "mode(?)" {
		t.Errorf("got %q", got)
	}
	if got := newLayer(t, Config{}).config.Mode; got != Anonymous {
		t.Errorf("the zero Config means %v", got)
	}
}

// peerNames returns the result of the PeerNames method of a connection, or nil
// if it has no such method.
func peerNames(conn net.Conn) []string {
	if c, ok := conn.(interface{ PeerNames() []string }); ok {
		return c.PeerNames()
	}
	return nil
}

func TestModeOff(t *testing.T) {
	l := newLayer(t, Config{Mode: Off})
	if l.Hook() != nil {
		t.Error("Hook is not nil")
	}
	a, _ := net.Pipe()
	c, err := l.Secure(t.Context(), a, true)
	if c != a || err != nil {
		t.Errorf("got %v, %v", c, err)
	}
	if peerNames(c) != nil {
		t.Error("a plain connection has names")
	}
}

func TestModeAnonymous(t *testing.T) {
	l := newLayer(t, Config{})
	if l.Hook() == nil {
		t.Error("Hook is nil")
	}
	dialed, accepted, err, err2 := secureBoth(t, l, l)
	if err != nil || err2 != nil {
		t.Fatalf("dialer: %v; acceptor: %v", err, err2)
	}
	for _, c := range []net.Conn{dialed, accepted} {
		if _, ok := c.(*anontls.Conn); !ok {
			t.Errorf("got a %T", c)
		}
		if peerNames(c) != nil {
			t.Error("an anonymous peer has names")
		}
	}
	if err := l.Reload(); err != nil {
		t.Error(err)
	}
}

func TestDial(t *testing.T) {
	for _, mode := range []Mode{Off, Anonymous} {
		l := newLayer(t, Config{Mode: mode})
		plain, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener := l.Listener(plain)
		said := make(chan error, 1)
		go func() {
			conn, err := listener.Accept()
			if err == nil {
				_, err = conn.Write([]byte("x"))
				conn.Close()
			}
			said <- err
		}()
		conn, err := l.DialContext(t.Context(), "tcp", plain.Addr().String())
		if err != nil {
			t.Fatalf("%v: %v", mode, err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("%v: %v", mode, err)
		}
		conn.Close()
		if err := <-said; err != nil {
			t.Errorf("%v: the server: %v", mode, err)
		}
		listener.Close()
		if _, err := l.DialContext(t.Context(), "tcp", plain.Addr().String()); err == nil {
			t.Errorf("%v: DialContext succeeds without a listener", mode)
		}
	}
}

// TestAnonymousTLS13 accepts a client that offers TLS 1.3, as Zeek does.
func TestAnonymousTLS13(t *testing.T) {
	l := newLayer(t, Config{})
	a, b := tcpPair(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c, err := l.Secure(t.Context(), b, false)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "hello")
		if peerNames(c) != nil {
			t.Error("an anonymous peer has names")
		}
	})
	c := tls.Client(a, &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.CurveP384}})
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if v := c.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("got version %#x", v)
	}
}

func TestModeMutual(t *testing.T) {
	ca := newAuthority(t)
	manager := newLayer(t, ca.node(t, "manager", withAltNames))
	worker := newLayer(t, ca.node(t, "worker"))
	dialed, accepted, err, err2 := secureBoth(t, worker, manager)
	if err != nil || err2 != nil {
		t.Fatalf("dialer: %v; acceptor: %v", err, err2)
	}
	want := []string{"manager", "node.example", "192.0.2.1", "spiffe://example/node", "node@example"}
	if got := peerNames(dialed); !slices.Equal(got, want) {
		t.Errorf("the acceptor has the names %q, want %q", got, want)
	}
	if got := peerNames(accepted); !slices.Equal(got, []string{"worker"}) {
		t.Errorf("the dialer has the names %q", got)
	}
}

func TestMutualWithoutNames(t *testing.T) {
	ca := newAuthority(t)
	nameless := newLayer(t, ca.node(t, ""))
	dialed, _, err, err2 := secureBoth(t, nameless, nameless)
	if err != nil || err2 != nil {
		t.Fatalf("dialer: %v; acceptor: %v", err, err2)
	}
	if got := peerNames(dialed); len(got) != 0 {
		t.Errorf("the peer has the names %q", got)
	}
}

func TestMutualRejectsPeer(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	pinned := func(c Config, name string) Config { c.PeerName = name; return c }
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	onlyClient := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	onlyServer := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	good := ca.node(t, "good")
	tests := []struct {
		name             string
		dialer, acceptor Config
		dialErr          string // part of the error, or empty for any error
		acceptErr        string
	}{
		{"dialer of another authority", other.node(t, "worker"), good, "certificate signed by unknown authority", "bad certificate"},
		{"acceptor trusts another authority", withCA(good, ca), withCA(good, other), "unknown certificate authority", "certificate signed by unknown authority"},
		{"expired acceptor", good, ca.node(t, "manager", expired), "expired", "certificate"},
		{"expired dialer", ca.node(t, "worker", expired), good, "certificate", "expired"},
		{"acceptor with a client's certificate", good, ca.node(t, "manager", onlyClient), "incompatible key usage", "bad certificate"},
		{"dialer with a server's certificate", ca.node(t, "worker", onlyServer), good, "bad certificate", "incompatible key usage"},
		{"acceptor of another name", pinned(good, "manager"), ca.node(t, "proxy"), `["proxy"], not for "manager"`, "bad certificate"},
		{"dialer of another name", ca.node(t, "proxy"), pinned(good, "worker"), "bad certificate", `["proxy"], not for "worker"`},
		{"anonymous dialer", Config{}, good, "may require certificates", "the peer uses anonymous TLS"},
		{"anonymous acceptor", good, Config{}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, dialErr, acceptErr := secureBoth(t, newLayer(t, tt.dialer), newLayer(t, tt.acceptor))
			if dialErr == nil || !strings.Contains(dialErr.Error(), tt.dialErr) {
				t.Errorf("dialer: got %v, want %q", dialErr, tt.dialErr)
			}
			if acceptErr == nil || !strings.Contains(acceptErr.Error(), tt.acceptErr) {
				t.Errorf("acceptor: got %v, want %q", acceptErr, tt.acceptErr)
			}
		})
	}
}

func withCA(c Config, ca *authority) Config { c.CAFile = ca.File; return c }

func TestPinnedName(t *testing.T) {
	ca := newAuthority(t)
	for _, name := range []string{"manager", "NODE.example", "192.0.2.1", "spiffe://example/node"} {
		worker := ca.node(t, "worker")
		worker.PeerName = name
		_, _, err, err2 := secureBoth(t, newLayer(t, worker), newLayer(t, ca.node(t, "manager", withAltNames)))
		if err != nil || err2 != nil {
			t.Errorf("%s: dialer: %v; acceptor: %v", name, err, err2)
		}
	}
}

func TestEncryptedKey(t *testing.T) {
	ca := newAuthority(t)
	for name, legacy := range map[string]bool{"PKCS 8": false, "legacy": true} {
		t.Run(name, func(t *testing.T) {
			c := encryptKey(t, ca.node(t, "node"), legacy, "open sesame")
			if _, err := New(c); err == nil || !strings.Contains(err.Error(), "no passphrase") {
				t.Errorf("without passphrase: got %v", err)
			}
			c.Passphrase = "open barley"
			if _, err := New(c); err == nil || !strings.Contains(err.Error(), c.KeyFile) {
				t.Errorf("wrong passphrase: got %v", err)
			}
			c.Passphrase = "open sesame"
			l := newLayer(t, c)
			if _, _, err, err2 := secureBoth(t, l, l); err != nil || err2 != nil {
				t.Errorf("dialer: %v; acceptor: %v", err, err2)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	ca := newAuthority(t)
	good := ca.node(t, "node")
	with := func(change func(*Config)) Config { c := good; change(&c); return c }
	junk := write(t, "junk.pem", []byte("no PEM at all"))
	broken := write(t, "broken.pem", pemOf("ENCRYPTED PRIVATE KEY", []byte("junk")))
	tests := []struct {
		name   string
		config Config
		want   string // part of the error
	}{
		{"no certificate", with(func(c *Config) { c.CertFile = "" }), "requires a file with the certificate"},
		{"no key", with(func(c *Config) { c.KeyFile = "" }), "requires a file with the private key"},
		{"no authorities", with(func(c *Config) { c.CAFile = "" }), "requires a file with the certificate authorities"},
		{"certificate missing", with(func(c *Config) { c.CertFile = "gone.pem" }), "gone.pem"},
		{"key missing", with(func(c *Config) { c.KeyFile = "gone.pem" }), "gone.pem"},
		{"authorities missing", with(func(c *Config) { c.CAFile = "gone.pem" }), "gone.pem"},
		{"certificate is junk", with(func(c *Config) { c.CertFile = junk }), junk},
		{"key is junk", with(func(c *Config) { c.KeyFile = junk }), junk + ": the file contains none"},
		{"encrypted key is junk", with(func(c *Config) { c.KeyFile, c.Passphrase = broken, "x" }), broken},
		{"authorities are junk", with(func(c *Config) { c.CAFile = junk }), junk},
		{"key of another certificate", with(func(c *Config) { c.KeyFile = ca.node(t, "other").KeyFile }), "does not match"},
		{"anonymous with a certificate", with(func(c *Config) { c.Mode = Anonymous }), "mode anonymous does not use"},
		{"unknown mode", Config{Mode: 3}, "unknown mode 3"},
		{"unknown mode with certificates", with(func(c *Config) { c.Mode = 200 }), "unknown mode 200"},
		{"off with a name", Config{Mode: Off, PeerName: "x"}, "mode off does not use"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestReload(t *testing.T) {
	ca := newAuthority(t)
	config := ca.node(t, "before")
	l := newLayer(t, config)
	name := func() string {
		t.Helper()
		dialed, _, err, err2 := secureBoth(t, l, l)
		if err != nil || err2 != nil {
			t.Fatalf("dialer: %v; acceptor: %v", err, err2)
		}
		return peerNames(dialed)[0]
	}
	copyFile := func(to, from string) {
		t.Helper()
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	after := ca.node(t, "after")
	copyFile(config.CertFile, after.CertFile)
	if err := l.Reload(); err == nil {
		t.Error("Reload accepts a certificate without its key")
	}
	if got := name(); got != "before" {
		t.Errorf("after a failed Reload the name is %q", got)
	}
	copyFile(config.KeyFile, after.KeyFile)
	if err := l.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "after" {
		t.Errorf("after Reload the name is %q", got)
	}
}

func TestSecureContext(t *testing.T) {
	ca := newAuthority(t)
	for _, config := range []Config{{}, ca.node(t, "node")} {
		for _, dialed := range []bool{true, false} {
			a, b := tcpPair(t)
			ctx, cancel := context.WithCancel(t.Context())
			if dialed {
				go func() { // the hello has been sent
					b.Read(make([]byte, 1))
					cancel()
				}()
			} else {
				cancel()
			}
			_, err := newLayer(t, config).Secure(ctx, a, dialed)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v, dialed %v: got %v", config.Mode, dialed, err)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%v, dialed %v: the connection is open: %v", config.Mode, dialed, err)
			}
		}
	}
}

// TestOtherProtocols connects to peers that do not use TLS.
func TestOtherProtocols(t *testing.T) {
	ca := newAuthority(t)
	for _, greeting := range []string{"\x00\x00\x00\x05\x01ZEEK", "GET / HTTP/1.1\r\n\r\n"} {
		for _, config := range []Config{{}, ca.node(t, "node")} {
			for _, dialed := range []bool{true, false} {
				a, b := tcpPair(t)
				io.WriteString(b, greeting)
				_, err := newLayer(t, config).Secure(t.Context(), a, dialed)
				if err == nil || !strings.Contains(err.Error(), "TLS") {
					t.Errorf("%q, %v, dialed %v: got %v", greeting, config.Mode, dialed, err)
				}
			}
		}
	}
}

func TestAnonymousNoCommonSuite(t *testing.T) {
	a, b := tcpPair(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		tls.Client(b, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).Handshake()
		b.Close()
	})
	_, err := newLayer(t, Config{}).Secure(t.Context(), a, false)
	if err == nil || !strings.Contains(err.Error(), "does not offer the anonymous cipher suite") {
		t.Errorf("got %v", err)
	}
}
