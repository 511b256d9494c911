package console

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/configcheck"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

var markField = regexp.MustCompile(`name="mark" value="([0-9a-f]+)"`)

// confirmed performs an action that was confirmed, and returns the page to which it leads.
func (l *lab) confirmed(do, nodes string) (path string) {
	l.Helper()
	page := l.get("/operate?" + url.Values{"do": {do}, "nodes": {nodes}}.Encode())
	mark := markField.FindStringSubmatch(page)
	if mark == nil {
		l.Fatalf("the page asks for no confirmation: %s", page)
	}
	return l.post("/operate/"+do, url.Values{"nodes": {nodes}, "at": {"1"}, "mark": {mark[1]}})
}

// status returns the status that the console knows.
func (l *lab) status() zeekapi.Status {
	s, _ := l.console.watch.get()
	return s.Status
}

// TestOperate performs each action with several nodes, after a confirmation that names the
// effect.
func TestOperate(t *testing.T) {
	l := sample(t, access.Full)
	l.wants(l.get("/operate"), "Restart one after the other", `value="role:worker"`, `value="instance:alpha"`)
	l.wants(l.get("/operate?do=stop&nodes=role:worker"), "Stops 2 nodes.", "stay stopped", "worker-1", "worker-2")
	for _, step := range []struct{ do, nodes, verdict string }{
		{"stop", "role:worker", "2 nodes are stopped"}, {"start", "worker-1,worker-2", "All is well"}, {"restart", "instance:beta", "All is well"},
	} {
		l.wants(l.operation(l.confirmed(step.do, step.nodes)), ": done.")
		l.await(func(snapshot) bool { return strings.Contains(l.get("/"), step.verdict) })
	}
	for path, want := range map[string]int{
		"/operate?do=stop&nodes=nobody": http.StatusUnprocessableEntity, "/operate?do=explode": http.StatusNotFound, "/operate?do=rolling-restart&at=0": http.StatusUnprocessableEntity,
		"/rolling-restart/x": http.StatusNotFound,
	} {
		if resp, body := l.request(http.MethodGet, path, nil); resp.StatusCode != want || !strings.Contains(body, "Go to the overview") {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
	if resp, body := l.request(http.MethodPost, "/operate/stop", url.Values{"nodes": {"role:worker"}, "mark": {"0011"}}); resp.StatusCode != http.StatusConflict || !strings.Contains(body, "Nothing was done") {
		t.Errorf("other nodes than those that were shown: %s", resp.Status)
	}
}

// TestRollingRestart restarts all nodes one after the other, shows the progress, and ends
// another rolling restart early.
func TestRollingRestart(t *testing.T) {
	l := sample(t, access.Full)
	l.wants(l.get("/operate?do=rolling-restart&nodes=instance%3Abeta"), "Restarts 1 node, 1 at a time: loggers first", "worker-2")
	l.wants(l.get("/machines/beta"), `href="/operate?do=rolling-restart&amp;nodes=instance%3Abeta"`)
	path := l.confirmed("rolling-restart", "")
	l.await(func(s snapshot) bool { return s.Status.Job != nil && !s.Status.Job.Ended.IsZero() })
	l.wants(l.get(path), "done, 5 nodes.", "logger, manager, proxy, worker-1, worker-2", `max="5" value="5"`)
	if path != "/rolling-restart/1" {
		t.Errorf("the page is %s", path)
	}
	l.wants(l.get("/rolling-restart/7"), "is not known")

	running := *l.status().Job
	running.Number, running.Ended, running.By = 2, time.Time{}, "alice"
	running.Done, running.Now, running.Next = nil, []string{"worker-1"}, []string{"worker-2"}
	var begun zeekapi.RollingRestartRequest
	fake.Handle(l.controller, zeekapi.RollingRestartCall, func(_ context.Context, q zeekapi.RollingRestartRequest) ([]zeekapi.Result, error) {
		begun = q
		return fake.Success(running), nil
	})
	fake.Handle(l.controller, zeekapi.CancelJobCall, func(context.Context, zeekapi.CancelJobRequest) ([]zeekapi.Result, error) {
		return fake.Success(running), nil
	})
	status := l.status()
	status.Job = &running
	fake.Handle(l.controller, zeekapi.StatusCall, func(context.Context, zeekapi.StatusRequest) ([]zeekapi.Result, error) {
		return fake.Success(status), nil
	})
	path = l.confirmed("rolling-restart", "role:worker")
	if len(begun.Nodes) != 2 || begun.AtOnce != 1 {
		t.Errorf("the request is %+v", begun)
	}
	l.await(func(s snapshot) bool { return s.Status.Job != nil && s.Status.Job.Number == 2 })
	l.wants(l.get(path), "0 of 2 nodes are done", "Restarting now", "worker-1", "End it after these nodes")
	l.wants(l.get("/"), `href="/rolling-restart/2"`)
	l.wants(l.get("/rolling-restart/1"), "has ended", `href="/rolling-restart/2"`)
	if to := l.post("/job/cancel", nil); to != path {
		t.Errorf("the end leads to %s", to)
	}
}

// TestOperateReadOnly offers and performs nothing for a visitor who may only read.
func TestOperateReadOnly(t *testing.T) {
	l := sample(t, access.ReadOnly)
	l.lacks(l.get("/"), `href="/operate"`)
	l.wants(l.get("/operate"), "You may not restart")
	l.lacks(l.get("/operate"), "<select")
	for _, do := range verbs {
		if resp, _ := l.request(http.MethodGet, "/operate?do="+do.Name, nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("the confirmation of %s: %s", do.Name, resp.Status)
		}
		if resp, _ := l.request(http.MethodPost, "/operate/"+do.Name, nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s: %s", do.Name, resp.Status)
		}
	}
	if resp, _ := l.request(http.MethodPost, "/controllers/step-down", nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("POST step-down: %s", resp.Status)
	}
	for _, r := range l.controller.Requests() {
		if request := zeekapi.RequestOf(r); request.Effect == zeekapi.Changes {
			t.Errorf("the console made the request %s", request.Name)
		}
	}
}

// A cluster with a name or a value that INI cannot have can be edited too.
func TestFileOf(t *testing.T) {
	config := func(instance, value string) zeekapi.Configuration {
		return zeekapi.Configuration{
			ID:        "c",
			Instances: []zeekapi.Instance{{Name: instance, Host: netip.IPv4Unspecified()}},
			Nodes:     []zeekapi.Node{{Name: "m", Instance: instance, Role: zeekapi.RoleManager, Env: map[string]string{"E": value}}},
		}
	}
	for _, c := range []zeekapi.Configuration{config("i", "x"), config("i", "x\n#y"), config("i", "x\nport=1"), config("Sensor1", "x")} {
		f := clusterFile{Name: "cluster.cfg", Text: fileOf(c)}
		for _, found := range f.parse(t.Context()) {
			if found.Severity == configcheck.Error {
				t.Errorf("%v in\n%s", found, f.Text)
			}
		}
		want := c.Nodes[0]
		if f.config.ID == c.ID || len(f.config.Nodes) != 1 || f.config.Nodes[0].Instance != want.Instance || f.config.Nodes[0].Env["E"] != want.Env["E"] {
			t.Errorf("configuration %v from\n%s", f.config, f.Text)
		}
	}
	if text := fileOf(config("i", "x\xff")); !strings.HasPrefix(text, "# ") || !strings.Contains(text, "UTF-8") {
		t.Errorf("text that is not UTF-8 is shown as\n%s", text)
	}
}
