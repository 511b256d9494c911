package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	aliceToken = "alice-has-this-token"
	bobToken   = "bob-has-another-token"

	clientsFile = "alice full token:" + aliceToken + "\nbob read-only token:" + bobToken + "\n"
)

// cluster is a controller with one agent, two nodes and an HTTP server.
type cluster struct {
	*testing.T
	url     string
	server  *httpapi.Server
	http    *http.Client
	clients *access.Clients
	file    string // of clients
	logs    *safeBuffer
	last    atomic.Pointer[httpapi.Principal] // of the last page
	post    controller.Leadership             // nil for the only controller
}

func dialects() []*zeekapi.Dialect {
	return []*zeekapi.Dialect{
		management.Dialect(management.DefaultTopics),
		clusteragent.Dialect(clusteragent.DefaultTopics),
		operations.Dialect(operations.DefaultTopics),
	}
}

// start starts a cluster. Configure may change the configuration of the HTTP server.
func start(t *testing.T, clients string, configure func(*httpapi.Config)) *cluster {
	t.Helper()
	return startOneOf(t, nil, clients, configure)
}

// startOneOf is like start for one of several controllers.
func startOneOf(t *testing.T, post controller.Leadership, clients string, configure func(*httpapi.Config)) *cluster {
	t.Helper()
	c := &cluster{T: t, logs: new(safeBuffer), post: post}
	cfg := httpapi.Config{Dialects: dialects(), Version: "test", Log: zerolog.New(c.logs)}
	if clients != "" {
		c.file = filepath.Join(t.TempDir(), "clients")
		c.write(clients)
		var err error
		if c.clients, _, err = access.Load(c.file); err != nil {
			t.Fatal(err)
		}
		cfg.Clients = c.clients
	}
	cfg.Console = func(*httpapi.Server) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { c.last.Store(httpapi.PrincipalOf(r.Context())) })
	}
	if configure != nil {
		configure(&cfg)
	}
	var err error
	if c.server, err = httpapi.New(cfg); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(c.server)
	c.url, c.http = web.URL, web.Client()
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		c.http.CloseIdleConnections()
		c.server.Close()
		web.Close()
	})
	c.run() // ends before the server
	return c
}

// run runs the controller and its agent.
func (c *cluster) run() {
	hub := membus.New()
	bus := hub.Endpoint(controller.Topics(dialects())...)
	sites, err := site.Open(site.StoreConfig{Dir: c.TempDir()})
	if err != nil {
		c.Fatal(err)
	}
	settings := controller.DefaultSettings()
	settings.Name, settings.Version = "controller", "zeekwire"
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- controller.Run(ctx, controller.Config{
			Settings: settings, Leadership: c.post, Buses: []broker.Bus{bus, c.server.Bus()}, Dialects: dialects(), Sites: sites,
			Access: map[broker.Bus]*controller.Access{c.server.Bus(): {Clients: c.server}}, Log: zerolog.New(c.logs),
		})
	}()
	a, err := fake.NewAgent(ctx, fake.AgentConfig{Instance: "instance-1", Bus: hub.Endpoint(agent.Topics("instance-1", dialects()...)...)})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		a.Close()
		cancel()
		if err := <-ended; err != nil {
			c.Error(err)
		}
		bus.Close()
	})
}

func (c *cluster) write(clients string) {
	c.Helper()
	if err := os.WriteFile(c.file, []byte(clients), 0o600); err != nil {
		c.Fatal(err)
	}
}

// reload loads another file of clients, as SIGHUP does.
func (c *cluster) reload(clients string) {
	c.Helper()
	c.write(clients)
	if _, err := c.clients.Reload(); err != nil {
		c.Fatal(err)
	}
	c.server.Reload()
}

// response is a response with its body.
type response struct {
	*http.Response
	body string
}

// do sends a request. Headers are "Name: value".
func (c *cluster) do(method, path, body string, headers ...string) response {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	if body == "" {
		req.Body = http.NoBody
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return response{resp, string(text)}
}

// want sends a request and fails unless the response has the status and the text.
func (c *cluster) want(status int, text, method, path, body string, headers ...string) response {
	c.Helper()
	r := c.do(method, path, body, headers...)
	if r.StatusCode != status || !strings.Contains(r.body, text) {
		c.Errorf("%s %s: status %d, body %.600s\nwant status %d and %q", method, path, r.StatusCode, r.body, status, text)
	}
	return r
}

// configuration is a cluster of two nodes.
const configuration = `{"id":"c1","instances":[{"name":"instance-1","host":"0.0.0.0"}],"nodes":[
	{"name":"manager","instance":"instance-1","role":"MANAGER"},
	{"name":"worker-1","instance":"instance-1","role":"WORKER","interface":"eth0"}]}`

// deploy deploys the configuration.
func (c *cluster) deploy(headers ...string) {
	c.Helper()
	c.awaitInstance(headers...)
	c.want(200, "c1", "PUT", "/api/v1/configurations/staged", configuration, append(headers, "If-Match: *")...)
	c.want(200, `"state":"succeeded"`, "POST", "/api/v1/deployments", "", append(headers, "Prefer: wait=60")...)
}

func (c *cluster) awaitInstance(headers ...string) {
	c.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if strings.Contains(c.do("GET", "/api/v1/instances", "", headers...).body, "instance-1") {
			return
		}
		if time.Now().After(deadline) {
			c.Fatal("the agent has not connected")
		}
	}
}

func parse[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	return v
}
