package console

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// lab is the console of a fake controller on an HTTP server.
type lab struct {
	*testing.T
	controller *fake.Controller
	api        *httpapi.Server
	console    *Console
	server     *httptest.Server
	clients    *access.Clients // nil: everybody on this machine may do everything
	file       string          // with the clients
	logs       *safeBuffer     // of the server
	token      string          // of requests; "" for none
	ask        *client.Client
	lost       atomic.Bool // the controller does not respond
}

// patience limits the time that a test waits, also on a machine that does much else.
const patience = 5 * time.Minute

// The tokens of clients.
const (
	aliceToken = "token-of-alice-0123456789" // she may do everything
	bobToken   = "token-of-bob-0123456789"   // he may only read
)

// newLab starts a lab whose requests are made by somebody with a role. With access.None,
// visitors must log in.
func newLab(t *testing.T, cfg fake.Config, role access.Role) *lab {
	t.Helper()
	controller, err := fake.NewController(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := controller.Close(); err != nil {
			t.Error(err)
		}
	})
	l := &lab{T: t, logs: new(safeBuffer), controller: controller, ask: client.New(controller.Bus(), controller.Dialects()...)}
	if role != access.Full {
		l.file = filepath.Join(t.TempDir(), "clients")
		l.setClients("alice full token:" + aliceToken + "\nbob read-only token:" + bobToken + "\n")
	}
	if role == access.ReadOnly {
		l.token = bobToken
	}
	config := httpapi.Config{Dialects: controller.Dialects(), Clients: l.clients, Log: zerolog.New(l.logs), Console: func(s *httpapi.Server) http.Handler {
		l.console = New(s)
		return l.console
	}}
	if l.api, err = httpapi.New(config); err != nil {
		t.Fatal(err)
	}
	if err := controller.Attach(l.api.Bus()); err != nil {
		t.Fatal(err)
	}
	status := l.console.watch.status
	l.console.watch.status = func(ctx context.Context) (zeekapi.Status, error) {
		if l.lost.Load() {
			return zeekapi.Status{}, context.DeadlineExceeded
		}
		return status(ctx)
	}
	l.console.watch.idle, l.console.watch.busy = time.Second, 100*time.Millisecond
	l.serve()
	return l
}

// serve starts the server. It ends with the test.
func (l *lab) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.console.Run(ctx) })
	l.server = httptest.NewServer(l.api)
	l.Cleanup(func() {
		l.server.CloseClientConnections()
		l.server.Close()
		cancel()
		running.Wait()
		if err := l.api.Close(); err != nil {
			l.Error(err)
		}
		l.ask.Close()
	})
}

// setClients replaces the file of clients.
func (l *lab) setClients(text string) {
	l.Helper()
	err := os.WriteFile(l.file, []byte(text), 0o600)
	if err == nil && l.clients == nil {
		l.clients, _, err = access.Load(l.file)
	} else if err == nil {
		_, err = l.clients.Reload()
	}
	if err != nil {
		l.Fatal(err)
	}
	if l.api != nil {
		l.api.Reload()
	}
}

// sample starts a lab with the sample cluster on two machines.
func sample(t *testing.T, role access.Role) *lab {
	t.Helper()
	cluster := fake.SampleCluster("alpha", "beta")
	l := newLab(t, fake.Config{Instances: []string{"alpha", "beta"}, Cluster: &cluster, StateDir: t.TempDir()}, role)
	l.await(func(s snapshot) bool { return len(s.Status.Instances) == 2 })
	return l
}

// await waits until the console knows something.
func (l *lab) await(known func(snapshot) bool) {
	l.Helper()
	deadline := time.After(patience)
	for {
		s, changed := l.console.watch.get()
		if known(s) {
			return
		}
		l.console.watch.refresh()
		select {
		case <-changed:
		case <-deadline:
			l.Fatalf("the console does not know it: %+v", s)
		}
	}
}

// send sends a request without following redirects. Headers are names and values in turn.
func (l *lab) send(method, path string, form url.Values, header ...string) *http.Response {
	l.Helper()
	r := l.newRequest(method, path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k := 0; k < len(header); k += 2 {
		r.Header.Set(header[k], header[k+1])
	}
	return l.roundTrip(r)
}

// newRequest returns a request with the token.
func (l *lab) newRequest(method, path string, body io.Reader) *http.Request {
	l.Helper()
	r, err := http.NewRequestWithContext(l.Context(), method, l.server.URL+path, body)
	if err != nil {
		l.Fatal(err)
	}
	if l.token != "" {
		r.Header.Set("Authorization", "Bearer "+l.token)
	}
	return r
}

// roundTrip sends a request without following redirects.
func (l *lab) roundTrip(r *http.Request) *http.Response {
	l.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { resp.Body.Close() })
	return resp
}

// body returns the body of a response, and closes it.
func (l *lab) body(resp *http.Response) string {
	l.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		l.Fatal(err)
	}
	return string(body)
}

// request sends a request and returns the response with its body.
func (l *lab) request(method, path string, form url.Values, header ...string) (*http.Response, string) {
	l.Helper()
	resp := l.send(method, path, form, header...)
	return resp, l.body(resp)
}

// get returns a page.
func (l *lab) get(path string) string {
	l.Helper()
	resp, body := l.request(http.MethodGet, path, nil)
	if resp.StatusCode != http.StatusOK {
		l.Fatalf("GET %s: %s\n%s", path, resp.Status, body)
	}
	return body
}

// post sends a form, and returns the page to which the console leads.
func (l *lab) post(path string, form url.Values) (location string) {
	l.Helper()
	resp, body := l.request(http.MethodPost, path, form)
	if resp.StatusCode != http.StatusSeeOther {
		l.Fatalf("POST %s: %s\n%s", path, resp.Status, body)
	}
	return resp.Header.Get("Location")
}

// operation waits until an operation has ended and returns its page.
func (l *lab) operation(path string) string {
	l.Helper()
	x, err := l.console.operation.find(strings.TrimPrefix(path, "/operations/"))
	if err != nil {
		l.Fatalf("%s: %v", path, err)
	}
	for deadline := time.Now().Add(patience); !x.get().Done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatalf("%s does not end", path)
		}
	}
	return l.get(path)
}

// wants fails if a text lacks any of the parts.
func (l *lab) wants(text string, parts ...string) {
	l.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			l.Errorf("the page lacks %q", part)
		}
	}
	if l.Failed() {
		l.Logf("%s", text)
	}
}

// lacks fails if a text has any of the parts.
func (l *lab) lacks(text string, parts ...string) {
	l.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			l.Errorf("the page has %q", part)
		}
	}
}

// worker is a cluster file for the sample cluster.
func clusterText(extra string) string {
	return "[instances]\nalpha\nbeta\n\n[manager]\ninstance = alpha\nrole = manager\n\n[logger]\ninstance = alpha\nrole = logger\n\n" +
		"[proxy]\ninstance = alpha\nrole = proxy\n\n[worker-1]\ninstance = alpha\nrole = worker\ninterface = eth0\n\n" +
		"[worker-2]\ninstance = beta\nrole = worker\n" + extra
}

// writeFile writes a file below a directory.
func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// safeBuffer is a buffer for logs of several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
