package enrol_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

// cluster is a controller that issues certificates.
type cluster struct {
	*authority.Authority
	port   uint16
	ahead  atomic.Int64 // by which the clock of the controller is ahead
	joined atomic.Int32
}

func (c *cluster) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// newCluster starts a controller with a certificate of a kind for 127.0.0.1.
func newCluster(t *testing.T) *cluster {
	return newClusterWith(t, authority.Subject{Kind: authority.Controller, Name: "controller", Hosts: []string{"127.0.0.1"}}, time.Now())
}

// newClusterWith starts a controller with the certificate of a subject, issued at some
// time.
func newClusterWith(t *testing.T, s authority.Subject, issued time.Time) *cluster {
	t.Helper()
	dir := t.TempDir()
	a, err := authority.Create(filepath.Join(dir, "authority"), "127.0.0.1", time.Hour, ownedfile.Own(), issued)
	if err != nil {
		t.Fatal(err)
	}
	pair := filepath.Join(dir, "server.pem")
	if err := os.WriteFile(pair, issue(t, a, s, issued), 0o600); err != nil {
		t.Fatal(err)
	}
	web, err := security.NewWeb(security.WebConfig{CertFile: pair, KeyFile: pair, CAFile: a.File()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Authority: a, port: uint16(l.Addr().(*net.TCPAddr).Port)}
	server := &enrol.Server{Authority: a, TLS: web.TLS(), Now: c.now, Joined: func() { c.joined.Add(1) }, Log: zerolog.Nop()}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

// issue returns a certificate with its key.
func issue(t *testing.T, a *authority.Authority, s authority.Subject, now time.Time) []byte {
	t.Helper()
	p, err := enrol.Issue(a, now, s)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (c *cluster) invite(t *testing.T, kind authority.Kind, name string) enrol.JoinFile {
	t.Helper()
	secret, expires, err := c.Invite(c.now(), authority.Subject{Kind: kind, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return enrol.JoinFile{
		Kind: kind, Name: name, Host: "127.0.0.1", AgentPort: 2150, ClientPort: 2149, JoinPort: c.port,
		Expires: expires, Secret: secret, Authority: string(c.PEM()),
	}
}

func (c *cluster) address() string { return fmt.Sprintf("127.0.0.1:%d", c.port) }

// join uses a join file and returns the certificate for TLS.
func join(t *testing.T, j enrol.JoinFile) tls.Certificate {
	t.Helper()
	p, revoked, err := enrol.Join(t.Context(), j)
	if err != nil || len(revoked) == 0 {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{p.Leaf.Raw}, PrivateKey: p.Key, Leaf: p.Leaf}
}

func TestJoin(t *testing.T) {
	c := newCluster(t)
	got := join(t, c.invite(t, authority.Agent, "sensor-1"))
	if names := security.CertificateNames(got.Leaf); !slices.Equal(names, []string{"sensor-1"}) || c.joined.Load() != 1 {
		t.Errorf("names %q, %d joined", names, c.joined.Load())
	}
	client := join(t, c.invite(t, authority.Client, "alice"))
	if slices.Contains(client.Leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		t.Error("a client is a server")
	}
}

func TestJoinIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		cluster func(*testing.T) *cluster
		edit    func(*testing.T, *cluster, *enrol.JoinFile)
		want    string
	}{
		"used twice": {want: "has been used", edit: func(t *testing.T, _ *cluster, j *enrol.JoinFile) { join(t, *j) }},
		"expired": {want: "has expired", edit: func(_ *testing.T, c *cluster, _ *enrol.JoinFile) {
			c.ahead.Store(int64(authority.InvitationLifetime))
		}},
		"clock of the controller set back": {want: "was set back", edit: func(_ *testing.T, c *cluster, _ *enrol.JoinFile) {
			c.ahead.Store(-int64(10 * time.Minute))
		}},
		"another secret": {want: "has not made", edit: func(_ *testing.T, _ *cluster, j *enrol.JoinFile) {
			j.Secret = strings.Repeat("x", len(j.Secret))
		}},
		"another name in the file": {want: "a certificate for", edit: func(_ *testing.T, _ *cluster, j *enrol.JoinFile) {
			j.Name = "sensor-2"
		}},
		"another kind in the file": {want: "a certificate for", edit: func(_ *testing.T, _ *cluster, j *enrol.JoinFile) {
			j.Kind = authority.Client
		}},
		"another authority": {want: "not the controller that made the file", edit: func(t *testing.T, _ *cluster, j *enrol.JoinFile) {
			j.Authority = string(newCluster(t).PEM())
		}},
		"another controller": {want: "not the controller that made the file", edit: func(t *testing.T, _ *cluster, j *enrol.JoinFile) {
			j.JoinPort = newCluster(t).port
		}},
		"host not in the certificate": {want: "--name", edit: func(_ *testing.T, _ *cluster, j *enrol.JoinFile) {
			j.Host = "localhost"
		}},
		"an agent in place of the controller": {want: "not that of a controller", cluster: func(t *testing.T) *cluster {
			return newClusterWith(t, authority.Subject{Kind: authority.Agent, Name: "sensor-9", Hosts: []string{"127.0.0.1"}}, time.Now())
		}},
		"certificate of the controller expired": {want: "clock of this machine", cluster: func(t *testing.T) *cluster {
			return newClusterWith(t, authority.Subject{Kind: authority.Controller, Name: "controller", Hosts: []string{"127.0.0.1"}}, time.Now().Add(-2*time.Hour))
		}},
		"certificate of the controller not valid yet": {want: "clock of this machine", cluster: func(t *testing.T) *cluster {
			return newClusterWith(t, authority.Subject{Kind: authority.Controller, Name: "controller", Hosts: []string{"127.0.0.1"}}, time.Now().Add(2*time.Hour))
		}},
		"nobody listens": {want: "connection refused", edit: func(_ *testing.T, _ *cluster, j *enrol.JoinFile) { j.JoinPort = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := test.cluster
			if start == nil {
				start = newCluster
			}
			c := start(t)
			j := c.invite(t, authority.Agent, "sensor-1")
			if test.edit != nil {
				test.edit(t, c, &j)
			}
			if _, _, err := enrol.Join(t.Context(), j); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestJoinConcurrently(t *testing.T) {
	c := newCluster(t)
	j := c.invite(t, authority.Agent, "sensor-1")
	var wg sync.WaitGroup
	var won, lost atomic.Int32
	for range 12 {
		wg.Go(func() {
			_, _, err := enrol.Join(t.Context(), j)
			switch refused := (*enrol.RefusedError)(nil); {
			case err == nil:
				won.Add(1)
			case errors.As(err, &refused) && refused.Reason == authority.ErrUsed.Error():
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 11 {
		t.Errorf("%d joined, %d refused", won.Load(), lost.Load())
	}
}

// The controller has used up the invitation when the connection ends, and the client
// gets its certificate with a second request.
func TestLostResponse(t *testing.T) {
	c := newCluster(t)
	j := c.invite(t, authority.Agent, "sensor-1")
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.Close()
	wg.Go(func() {
		for first := true; ; first = false {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(t.Context(), "tcp", c.address())
			if err != nil {
				t.Error(err)
				in.Close()
				return
			}
			wg.Go(func() { forward(c, in, out, first) })
		}
	})
	j.JoinPort = uint16(l.Addr().(*net.TCPAddr).Port)
	join(t, j)
	if n := c.joined.Load(); n != 2 {
		t.Errorf("%d requests got a certificate, want 2", n)
	}
}

// forward forwards a connection. If cut is true, it ends the connection when the
// controller has issued a certificate.
func forward(c *cluster, in, out net.Conn, cut bool) {
	defer in.Close()
	defer out.Close()
	go func() {
		_, _ = io.Copy(out, in)
		out.Close()
	}()
	b := make([]byte, 4096)
	for {
		n, err := out.Read(b)
		if err != nil || cut && c.joined.Load() > 0 {
			return
		}
		_, _ = in.Write(b[:n])
	}
}

func TestRenew(t *testing.T) {
	c := newCluster(t)
	pair := join(t, c.invite(t, authority.Agent, "sensor-1"))
	client := &enrol.Client{Address: c.address(), Authority: c.PEM(), Certificate: &pair}
	if _, _, err := client.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), authority.ErrEarly.Error()) {
		t.Errorf("early: %v", err)
	}
	c.ahead.Store(int64(45 * time.Minute)) // TLS verifies with the real time
	renewed, _, err := client.Renew(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !renewed.Leaf.NotAfter.After(pair.Leaf.NotAfter) || renewed.Leaf.Equal(pair.Leaf) {
		t.Error("the certificate is not a new one")
	}
	list, err := client.Revoked(t.Context())
	if want, readErr := os.ReadFile(c.RevokedFile()); err != nil || readErr != nil || string(want) != string(list) {
		t.Errorf("list of revoked certificates: %v", err)
	}
	if _, _, err := c.Revoke(c.now(), "sensor-1"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), authority.ErrRevoked.Error()) {
		t.Errorf("revoked: %v", err)
	}
}

// Requests without a certificate, of web pages, and without sense are refused. They use
// up no invitation.
func TestHostileRequests(t *testing.T) {
	c := newCluster(t)
	j := c.invite(t, authority.Agent, "sensor-1")
	roots := x509.NewCertPool()
	roots.AddCert(c.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	secret := fmt.Sprintf(`{"secret": %q, "request": "aGVsbG8="}`, j.Secret)
	for name, test := range map[string]struct {
		method, path, body, kind, origin string
		want                             int
	}{
		"renewal without a certificate": {body: `{"request": ""}`, path: "/renew", want: http.StatusUnauthorized},
		"list without a certificate":    {method: "GET", path: "/revoked", want: http.StatusUnauthorized},
		"no secret":                     {body: `{}`, want: http.StatusBadRequest},
		"unknown secret":                {body: `{"secret": "x"}`, want: http.StatusForbidden},
		"long secret":                   {body: `{"secret": "` + strings.Repeat("x", 1000) + `"}`, want: http.StatusBadRequest},
		"no request":                    {body: secret, want: http.StatusForbidden},
		"no JSON":                       {body: "hello", want: http.StatusBadRequest},
		"large":                         {body: `{"secret": "` + strings.Repeat("x", 1<<20) + `"}`, want: http.StatusBadRequest},
		"form of a web page":            {body: secret, kind: "text/plain", want: http.StatusBadRequest},
		"web page":                      {body: secret, origin: "https://evil.example", want: http.StatusBadRequest},
		"other path":                    {path: "/", want: http.StatusNotFound},
		"path outside":                  {method: "GET", path: "/../authority/ca-key.pem", want: http.StatusTemporaryRedirect},
		"other method":                  {method: "GET", path: "/join", want: http.StatusMethodNotAllowed},
	} {
		method, path, kind := "POST", "/join", "application/json"
		if test.method != "" {
			method = test.method
		}
		if test.path != "" {
			path = test.path
		}
		if test.kind != "" {
			kind = test.kind
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+c.address()+path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.want || strings.Contains(string(text), "BEGIN") {
			t.Errorf("%s: status %d, want %d: %s", name, resp.StatusCode, test.want, text)
		}
	}
	join(t, j)
}

// Connections that send nothing do not prevent a machine from joining.
func TestSilentConnections(t *testing.T) {
	c := newCluster(t)
	for range 200 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", c.address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	join(t, c.invite(t, authority.Agent, "sensor-1"))
}

// A server in place of the controller gets no secret, and cannot make the client write
// what it likes.
func TestHostileServer(t *testing.T) {
	c := newCluster(t)
	for name, text := range map[string]string{
		"no JSON": "hello", "empty": "{}", "no PEM": `{"certificate": "x"}`, "large": strings.Repeat("x", 1<<20),
		"foreign":     fmt.Sprintf(`{"certificate": %q}`, newCluster(t).PEM()),
		"another key": fmt.Sprintf(`{"certificate": %q}`, issue(t, c.Authority, authority.Subject{Kind: authority.Agent, Name: "sensor-1"}, time.Now())),
	} {
		port := serve(t, c, text)
		j := c.invite(t, authority.Agent, "sensor-1")
		j.JoinPort = port
		if _, _, err := enrol.Join(t.Context(), j); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// serve starts an HTTPS server with a certificate of the controller, and returns its
// port.
func serve(t *testing.T, c *cluster, text string) uint16 {
	t.Helper()
	pem := issue(t, c.Authority, authority.Subject{Kind: authority.Controller, Name: "controller", Hosts: []string{"127.0.0.1"}}, time.Now())
	pair, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, text)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
