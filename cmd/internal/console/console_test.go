package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

// TestPages reads every page.
func TestPages(t *testing.T) {
	l := sample(t, access.Full)
	l.wants(l.get("/"), "All is well: 5 nodes run on 2 machines.", `href="/nodes/worker-2"`, `href="/machines/beta"`)
	l.wants(l.get("/?q=beta"), "worker-2")
	l.lacks(l.get("/?q=beta"), "worker-1")
	l.wants(l.get("/?q=nothing-like-it"), "No machine and no node matches.")
	l.wants(l.get("/topology"), "<svg", "worker-2", "None that a node reports.")
	l.wants(l.get("/machines/alpha"), "manager", "Drain alpha")
	l.wants(l.get("/nodes/manager"), "Restart manager", "Standard output")
	l.wants(l.get("/events"), "deploying", `href="/events/1"`)
	l.wants(l.get("/events/1"), "Event 1", `class="chosen"`)
	l.wants(l.get("/history"), "deployed", "should run")
	l.wants(l.get("/history/1"), "[manager]", "role = MANAGER")
	l.wants(l.get("/deploy"), "[manager]", "Check and review")
	l.wants(l.get("/access"), "rolling_restart", "anonymous")
	for _, path := range []string{"/nodes/nobody", "/machines/nowhere", "/events/4711", "/events/x", "/history/99", "/operations/none", "/rollback/99", "/nothing"} {
		if resp, body := l.request(http.MethodGet, path, nil); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "Go to the overview") {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
}

// TestDeploy deploys a good file, and is refused a broken one.
func TestDeploy(t *testing.T) {
	l := sample(t, access.Full)
	page := l.operation(l.post("/deploy", url.Values{"text": {clusterText("[broken]\ninstance = nowhere\nrole = worker\n")}}))
	l.wants(page, "1 error", "nowhere", `<div class="line marked">`, "Edit again")
	l.lacks(page, "/deploy\" class=\"stack\"")

	checked := l.post("/deploy", url.Values{"text": {clusterText("[worker-3]\ninstance = beta\nrole = worker\n")}})
	page = l.operation(checked)
	l.wants(page, "could run on 2 machines", "starts 1 node", "worker-3")
	page = l.operation(l.post(checked+"/deploy", nil))
	l.wants(page, "Deploy: done.")
	l.await(func(s snapshot) bool {
		return s.Status.Last != nil && s.Status.Last.Number == 2 && s.Status.Target != "sample"
	})
	l.wants(l.get("/history"), `href="/rollback/1"`)

	l.wants(l.get("/rollback/1"), "stops and removes 1 node", "Roll back:")
	l.wants(l.operation(l.post("/rollback/1", nil)), "Roll back: done.")
	l.await(func(s snapshot) bool { return s.Status.Last != nil && s.Status.Last.Number == 3 })
	l.wants(l.get("/history"), "rollback")
	l.await(func(snapshot) bool { return !strings.Contains(l.get("/"), "worker-3") }) // the nodes follow
}

// TestProblemsOfMachines shows what the agents find at the lines of the file.
func TestProblemsOfMachines(t *testing.T) {
	l := sample(t, access.Full)
	fake.Handle(l.controller, zeekapi.CheckCall, func(context.Context, zeekapi.CheckRequest) ([]zeekapi.Result, error) {
		bad := fake.Success(zeekapi.NodeOutputs{Stderr: "fatal error: can't find local.zeek"})[0]
		bad.Success, bad.Node, bad.Instance, bad.Error = false, "worker-2", "beta", "the scripts do not load"
		return []zeekapi.Result{bad, {Error: zeekapi.ErrorRefused}}, nil
	})
	page := l.operation(l.post("/deploy", url.Values{"text": {clusterText("")}}))
	l.wants(page, "1 error", "can&#39;t find local.zeek", "[worker-2]", `<b>worker-2</b>: the scripts do not load`)
	l.lacks(page, "<h2>Deploy it</h2>")
}

// TestActions restarts, stops and starts a node, and drains a machine.
func TestActions(t *testing.T) {
	l := sample(t, access.Full)
	for _, action := range []string{"/nodes/worker-1/restart", "/nodes/worker-1/stop", "/nodes/worker-1/start", "/machines/beta/drain", "/machines/beta/undrain"} {
		if page := l.operation(l.post(action, nil)); !strings.Contains(page, ": done.") {
			t.Errorf("%s: %s", action, page)
		}
		if action == "/nodes/worker-1/stop" {
			l.await(func(s snapshot) bool { return strings.Contains(l.get("/nodes/worker-1"), "Start worker-1") })
			l.wants(l.get("/"), "1 node is stopped")
		}
	}
	l.wants(l.operation(l.post("/nodes/nobody/restart", nil)), "failed")
}

// TestReadOnly offers nothing that would be refused, and refuses it.
func TestReadOnly(t *testing.T) {
	l := sample(t, access.ReadOnly)
	for _, path := range []string{"/", "/topology", "/machines/alpha", "/nodes/worker-1", "/events", "/history", "/history/1", "/access"} {
		page := l.get(path)
		l.lacks(page, `method="post"`, "/rollback/")
	}
	page := l.get("/deploy")
	l.wants(page, "You may not deploy it.", `action="/deploy"`)
	checked := l.post("/deploy", url.Values{"text": {clusterText("")}})
	l.lacks(l.operation(checked), "/deploy\" class=\"stack\"", "Deploy it")
	for _, path := range []string{
		checked + "/deploy", "/rollback/1", "/nodes/worker-1/restart", "/nodes/worker-1/stop", "/nodes/worker-1/start",
		"/machines/beta/drain", "/machines/beta/undrain", "/job/cancel",
	} {
		if resp, _ := l.request(http.MethodPost, path, nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s as a read-only visitor: %s", path, resp.Status)
		}
	}
	if resp, _ := l.request(http.MethodGet, "/rollback/1", nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("GET /rollback/1 as a read-only visitor: %s", resp.Status)
	}
	for _, r := range l.controller.Requests() {
		if request := zeekapi.RequestOf(r); request.Effect == zeekapi.Changes {
			t.Errorf("the console made the request %s for a read-only visitor", request.Name)
		}
	}
}

// TestSessions leads visitors without a session to the login, and back.
func TestSessions(t *testing.T) {
	l := sample(t, access.None)
	resp, _ := l.request(http.MethodGet, "/events?kind=state", nil)
	if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || to != "/login?next=%2Fevents%3Fkind%3Dstate" {
		t.Fatalf("%s to %q", resp.Status, to)
	}
	resp, body := l.request(http.MethodPost, "/login", url.Values{"token": {"wrong"}, "next": {"/events?kind=state"}})
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "unknown token") || !strings.Contains(body, "/events?kind=state") {
		t.Errorf("a wrong token: %s\n%s", resp.Status, body)
	}
	resp, _ = l.request(http.MethodPost, "/login", url.Values{"token": {aliceToken}, "next": {"/events?kind=state"}})
	if to := resp.Header.Get("Location"); to != "/events?kind=state" || len(resp.Cookies()) != 1 {
		t.Fatalf("login: %s to %q", resp.Status, to)
	}
	cookie := resp.Cookies()[0].String()
	if _, body := l.request(http.MethodGet, "/access", nil, "Cookie", cookie); !strings.Contains(body, "alice") {
		t.Error("the page does not know its visitor")
	}
	l.setClients("carol full token:0123456789-0123456789\n")
	if resp, _ := l.request(http.MethodPost, "/rollback/1", nil, "Cookie", cookie); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a change after the end of the session: %s", resp.Status)
	}
	if resp, _ := l.request(http.MethodGet, "/", nil, "Cookie", cookie, "Accept", "text/event-stream"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stream after the end of the session: %s", resp.Status)
	}
	l.setClients("alice full token:" + aliceToken + "\nbob read-only token:" + bobToken + "\n")
	for _, evil := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "javascript:alert(1)", "evil", "/login?next=x", "/\tx", "http:/evil"} {
		resp, _ := l.request(http.MethodPost, "/login", url.Values{"token": {bobToken}, "next": {evil}})
		if to := resp.Header.Get("Location"); to != "/" {
			t.Errorf("after login with next=%q: %q", evil, to)
		}
	}
}

// TestHeaders checks what protects visitors, on every kind of response.
func TestHeaders(t *testing.T) {
	l := sample(t, access.Full)
	for _, path := range []string{"/", "/nothing", "/login", assetPath("console.js")} {
		resp, body := l.request(http.MethodGet, path, nil)
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} {
			if resp.Header.Get(name) == "" {
				t.Errorf("GET %s: no header %s", path, name)
			}
		}
		if strings.Contains(body, "style=") || strings.Contains(body, "onclick") || strings.Contains(body, "<style") {
			t.Errorf("GET %s: styles or scripts that the policy forbids", path)
		}
	}
	for _, path := range []string{"/nodes/worker-1/stop", "/deploy", "/login", "/logout"} {
		resp, _ := l.request(http.MethodPost, path, nil, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s from another site: %s", path, resp.Status)
		}
	}
	if resp, _ := l.request(http.MethodPost, "/deploy", url.Values{"text": {strings.Repeat("x", maxForm)}}); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a file that is too large: %s", resp.Status)
	}
}

// TestLostController shows that the controller does not respond, and what it said last.
func TestLostController(t *testing.T) {
	l := sample(t, access.Full)
	l.lost.Store(true)
	l.await(func(s snapshot) bool { return s.Failed != nil })
	l.wants(l.get("/"), "The controller does not respond", "worker-1")
	l.lost.Store(false)
	l.await(func(s snapshot) bool { return s.Failed == nil })
	l.wants(l.get("/"), "All is well")
}

// TestTroubles names what is wrong, the lost machine and the crashed node.
func TestTroubles(t *testing.T) {
	l := sample(t, access.Full)
	if err := l.controller.Agent("alpha").Change(t.Context(), "worker-1", zeekapi.StateCrashed); err != nil {
		t.Fatal(err)
	}
	if err := l.controller.Agent("beta").Close(); err != nil {
		t.Fatal(err)
	}
	l.await(func(s snapshot) bool { return len(s.Status.Troubles()) >= 3 })
	page := l.get("/?show=problems")
	l.wants(page, "need attention", "is crashed", "the agent is not connected")
	l.lacks(page, `href="/nodes/logger"`)
	l.wants(l.get("/topology"), `class="link bad"`)
}

// TestAudit checks that the log has who changes what, and from where, also for the site of a
// check.
func TestAudit(t *testing.T) {
	l := sample(t, access.None)
	l.token = aliceToken
	l.operation(l.post("/nodes/worker-1/restart", nil))
	l.reviewed(withSite(), nil, upload{"site-files", "s/local.zeek", "x"})
	l.wants(l.logs.String(), `"by":"alice","addr":"127.0.0.1","proof":"token","request":"restart","method":"POST","path":"/nodes/worker-1/restart"`, `"request":"upload_site"`)
	l.lacks(l.logs.String(), `"request":"check"`, aliceToken)
}
