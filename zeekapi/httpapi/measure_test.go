package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// exchanges collects what a server reports about its responses.
type exchanges struct {
	mu  sync.Mutex
	all []httpapi.Exchange
}

func (e *exchanges) observe(x httpapi.Exchange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, x)
}

// await returns the first exchange with a property, when there is one.
func (e *exchanges) await(t *testing.T, what string, has func(httpapi.Exchange) bool) httpapi.Exchange {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		e.mu.Lock()
		i := slices.IndexFunc(e.all, has)
		all := slices.Clone(e.all)
		e.mu.Unlock()
		if i >= 0 {
			return all[i]
		}
		if time.Now().After(deadline) {
			t.Fatalf("no exchange with %s among %+v", what, all)
		}
	}
}

// at returns a property for await.
func at(route string, status int) func(httpapi.Exchange) bool {
	return func(x httpapi.Exchange) bool { return x.Route == route && x.Status == status }
}

// TestObserve checks that responses are reported with the pattern of their path.
func TestObserve(t *testing.T) {
	var seen exchanges
	c := start(t, clientsFile, func(cfg *httpapi.Config) {
		cfg.Observe = seen.observe
		cfg.Monitoring = http.NotFoundHandler()
	})
	alice := "Authorization: Bearer " + aliceToken
	c.awaitInstance(alice)
	c.do("GET", "/api/v1/nodes/n/logs", "", alice)
	c.do("BREW", "/api/v1/status", "", alice)
	c.do("GET", "/api/v1/status", "", "Authorization: Bearer wrong")
	c.do("GET", "/healthz", "")
	c.do("GET", "/some/page", "")
	for what, has := range map[string]func(httpapi.Exchange) bool{
		"a part of the path": func(x httpapi.Exchange) bool {
			return x.Route == "/api/v1/nodes/{node}/logs" && x.Method == "GET" && x.Took > 0
		},
		"an uncommon method":   func(x httpapi.Exchange) bool { return x.Method == "other" && x.Status >= 400 },
		"a refused request":    at("", http.StatusUnauthorized),
		"health":               at("/healthz", http.StatusNotFound),
		"a page":               at("/", http.StatusOK),
		"an ordinary response": at("/api/v1/instances", http.StatusOK),
	} {
		seen.await(t, what, has)
	}
}

// TestStats counts requests, streams, sessions and jobs, and the streams that were too slow.
func TestStats(t *testing.T) {
	var seen exchanges
	c := start(t, clientsFile, func(cfg *httpapi.Config) { cfg.Observe = seen.observe })
	alice := "Authorization: Bearer " + aliceToken
	await := func(want httpapi.Stats) {
		t.Helper()
		deadline := time.Now().Add(5 * time.Minute)
		for c.server.Stats() != want {
			if time.Now().After(deadline) {
				t.Fatalf("the numbers are %+v, want %+v", c.server.Stats(), want)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	await(httpapi.Stats{})
	c.want(http.StatusCreated, "alice", "POST", "/api/v1/session", `{"token":"`+aliceToken+`"}`)
	await(httpapi.Stats{Sessions: 1})
	s := c.stream("Last-Event-ID: 0", alice)
	await(httpapi.Stats{Sessions: 1, Streams: 1})
	s.resp.Body.Close()
	await(httpapi.Stats{Sessions: 1})
	if x := seen.await(t, "a stream", func(x httpapi.Exchange) bool { return x.Stream }); x.Route != "/api/v1/events" || x.Slow {
		t.Errorf("the stream is %+v", x)
	}
	slow := c.stream(alice)
	httpapi.Flood(c.server, 20_000)
	seen.await(t, "a slow stream", func(x httpapi.Exchange) bool { return x.Stream && x.Slow })
	slow.resp.Body.Close()
	await(httpapi.Stats{Sessions: 1})
}

// TestAudit checks that the log has who changes what, and from where, and no secrets.
func TestAudit(t *testing.T) {
	c := start(t, clientsFile, nil)
	alice := "Authorization: Bearer " + aliceToken
	c.awaitInstance(alice)
	c.want(http.StatusOK, "", "PUT", "/api/v1/instances/instance-1/drain", "", alice, "Prefer: wait=60")
	log := c.logs.String()
	if want := `"by":"alice","addr":"127.0.0.1","proof":"token","request":"drain","method":"PUT","path":"/api/v1/instances/instance-1/drain"`; !strings.Contains(log, want) {
		t.Errorf("the log lacks %s:\n%s", want, log)
	}
	if strings.Contains(log, aliceToken) || strings.Contains(log, `"request":"get_instances"`) {
		t.Errorf("the log has a token, or a request that reads:\n%s", log)
	}
}
