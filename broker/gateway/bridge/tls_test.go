package bridge_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/zeekwire/zeekwire/broker/gateway/bridge"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// withAddress returns a change for certtest.Authority.Issue. It makes the certificate that of
// a server.
func withAddress(s *natsServer) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{netip.MustParseAddrPort(s.address).Addr().AsSlice()}
	}
}

// withTLS makes a server of NATS require TLS, and certificates of clients if clients is
// non-nil.
func withTLS(t *testing.T, cert, key string, clients *certtest.Authority) func(*server.Options) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		text, err := os.ReadFile(clients.File)
		if err != nil || !config.ClientCAs.AppendCertsFromPEM(text) {
			t.Fatal(err)
		}
	}
	return func(o *server.Options) { o.TLS, o.TLSConfig, o.TLSTimeout = true, config, 10 }
}

// reasons collects why a bridge is not connected.
type reasons struct {
	mu   sync.Mutex
	list []string
}

func (r *reasons) add(connected bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !connected && err != nil {
		r.list = append(r.list, err.Error())
	}
}

// await waits until there are some reasons that contain a text, and returns all.
func (r *reasons) await(t *testing.T, some int, text string) []string {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		list := slices.Clone(r.list)
		r.mu.Unlock()
		n := 0
		for _, reason := range list {
			if strings.Contains(reason, text) {
				n++
			}
		}
		if n >= some {
			return list
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("no %d reasons contain %q: %q", some, text, list)
		}
	}
}

// copyFile replaces a file by another one.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

// A bridge connects by TLS only to servers that it can verify, and says why it does not
// connect to others.
func TestTLS(t *testing.T) {
	ours, theirs := certtest.New(t), certtest.New(t)
	named := func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"nats.example.net"} }
	unchanged := func(*x509.Certificate) {}
	for name, tt := range map[string]struct {
		scheme string
		ca     string                  // of the bridge
		client *certtest.Authority     // of the bridge's certificate, nil for none
		server func(*x509.Certificate) // changes the certificate of the server, nil for no TLS
		demand *certtest.Authority     // of certificates that the server demands
		want   string                  // reason, "" for none
	}{
		"verified":                        {"tls", ours.File, nil, unchanged, nil, ""},
		"plain URL, TLS required":         {"nats", ours.File, nil, unchanged, nil, ""},
		"plain URL, unknown authority":    {"nats", "", nil, unchanged, nil, "certificate signed by unknown authority"},
		"wrong authority":                 {"tls", theirs.File, nil, unchanged, nil, "certificate signed by unknown authority"},
		"authorities of the system":       {"tls", "", nil, unchanged, nil, "certificate signed by unknown authority"},
		"another name":                    {"tls", ours.File, nil, named, nil, "cannot validate certificate for 127."},
		"expired":                         {"tls", ours.File, nil, certtest.Expired, nil, "certificate has expired"},
		"server without TLS":              {"tls", "", nil, nil, nil, "secure connection not available"},
		"plain URL, server without TLS":   {"nats", ours.File, nil, nil, nil, "secure connection not available"},
		"with a certificate":              {"tls", ours.File, ours, unchanged, ours, ""},
		"without a certificate":           {"tls", ours.File, nil, unchanged, ours, "certificate required"},
		"with another's certificate":      {"tls", ours.File, theirs, unchanged, ours, "unknown certificate authority"},
		"with a certificate, without CA":  {"tls", "", ours, unchanged, ours, "certificate signed by unknown authority"},
		"certificate that nobody demands": {"tls", ours.File, ours, unchanged, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, nil)
			if tt.server != nil {
				cert, key := ours.Issue(t, "server", withAddress(s), tt.server)
				withTLS(t, cert, key, tt.demand)(&s.options)
			}
			s.start()
			var reasons reasons
			cfg := bridge.Config{URLs: []string{tt.scheme + "://" + s.address}, CA: tt.ca, Connected: reasons.add}
			if tt.client != nil {
				cfg.Cert, cfg.Key = tt.client.Issue(t, "gateway")
			}
			b, _ := run(t, s, cfg)
			publish(t, b, "/t", 0, 1)
			if tt.want == "" {
				until(t, b, "the message", func(s bridge.Stats) bool { return s.Published == 1 })
				return
			}
			reasons.await(t, 2, tt.want) // it tries again
			if stats := b.Stats(); stats.Connected || stats.Published > 0 || stats.Waiting != 1 {
				t.Errorf("%+v", stats)
			}
		})
	}
}

// The files are read again for each connection.
func TestTLSFilesChange(t *testing.T) {
	first, second := certtest.New(t), certtest.New(t)
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	install := func(a *certtest.Authority) {
		t.Helper()
		newCert, newKey := a.Issue(t, "gateway")
		copyFile(t, a.File, ca)
		copyFile(t, newCert, cert)
		copyFile(t, newKey, key)
	}
	s := newServer(t, nil)
	secure := func(a *certtest.Authority) {
		cert, key := a.Issue(t, "server", withAddress(s))
		withTLS(t, cert, key, a)(&s.options)
	}
	install(first)
	secure(first)
	s.start()
	var reasons reasons
	b, _ := run(t, s, bridge.Config{URLs: []string{"tls://" + s.address}, CA: ca, Cert: cert, Key: key, Connected: reasons.add})
	publish(t, b, "/t", 0, 1)
	until(t, b, "the first message", func(s bridge.Stats) bool { return s.Published == 1 })
	s.stop()
	secure(second)
	s.start()
	reasons.await(t, 1, "certificate signed by unknown authority")
	publish(t, b, "/t", 1, 2)
	if err := os.Remove(cert); err != nil { // as while it is replaced
		t.Fatal(err)
	}
	reasons.await(t, 1, "no such file")
	install(second)
	until(t, b, "the second message", func(s bridge.Stats) bool { return s.Published == 2 })
}

// Files that cannot be used are errors before there is a connection.
func TestTLSFilesAreChecked(t *testing.T) {
	a := certtest.New(t)
	cert, key := a.Issue(t, "gateway")
	_, otherKey := a.Issue(t, "other")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ ca, cert, key, want string }{
		"no file":       {"/nonexistent/ca.pem", "", "", "/nonexistent/ca.pem: no such file"},
		"no authority":  {empty, "", "", "failed to parse root certificate from \"" + empty},
		"only a key":    {key, "", "", "failed to parse root certificate"},
		"no cert":       {a.File, "/nonexistent/cert.pem", key, "no such file"},
		"another's key": {a.File, cert, otherKey, "private key does not match public key"},
		"half":          {a.File, cert, "", "belong together"},
	} {
		_, err := bridge.New(bridge.Config{URLs: []string{"tls://h:1"}, Gateway: "g", CA: tt.ca, Cert: tt.cert, Key: tt.key})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tt.want)
		}
	}
}
