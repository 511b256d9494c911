//go:build !race

// The validator of OpenAPI takes minutes to compile with the race detector, so "make test"
// runs these tests without.

package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// validatorOf returns a validator for the description of the API, which must be valid.
func validatorOf(t *testing.T) validator.Validator {
	t.Helper()
	text, err := httpapi.Description("test")
	if err != nil {
		t.Fatal(err)
	}
	document, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, faults := v.ValidateDocument(); !ok {
		for _, f := range faults {
			t.Errorf("the description is invalid: %s: %s", f.Message, f.Reason)
		}
	}
	return v
}

// TestRequestsHaveRoutes checks that every request that clients may make has a resource, or
// a reason for having none.
func TestRequestsHaveRoutes(t *testing.T) {
	routes := make(map[*zeekapi.Request]int)
	paths := make(map[string]bool)
	for r := range zeekapi.Resources() {
		routes[r.Request]++
		if key := r.Method + " " + r.Path; paths[key] {
			t.Errorf("two resources are %s", key)
		} else {
			paths[key] = true
		}
		if r.Method == http.MethodGet && r.Request.Effect != zeekapi.Reads {
			t.Errorf("GET %s changes something", r.Path)
		}
	}
	for r := range zeekapi.Requests() {
		switch {
		case r.API != zeekapi.ControllerAPI:
		case routes[r] == 0 && zeekapi.Instead(r) == "":
			t.Errorf("the request %s has no resource: add it to the table in package zeekapi", r.Name)
		case routes[r] > 0 && zeekapi.Instead(r) != "":
			t.Errorf("the request %s has a resource, and a reason for having none", r.Name)
		}
	}
}

// route is a request for a resource, and the response to it.
type route struct {
	method, path, body, header string
	status                     int
	text                       string // in the response
}

// routes has at least one request for each resource, in an order in which they make sense.
func routes() []route {
	const empty = ""
	siteID := strings.Repeat("0", 64)
	return []route{
		{"GET", "/status", "", "", 200, `"deployed":"c1"`},
		{"GET", "/controllers", "", "", 200, `"leads":true`},
		{"POST", "/controllers/step-down", "", "", 409, ""},
		{"GET", "/instances", "", "", 200, `"name":"instance-1"`},
		{"GET", "/nodes", "", "", 200, `"node":"worker-1"`},
		{"GET", "/nodes/worker-1/logs?bytes=100", "", "", 200, `"stdout"`},
		{"GET", "/nodes/nobody/logs", "", "", 404, "unknown cluster node"},
		{"GET", "/nodes/worker-1/logs?bytes=-1", "", "", 422, `"field":"bytes"`},
		{"GET", "/nodes/worker-1/logs?lines=1", "", "", 422, "unknown parameter"},
		{"GET", "/nodes/worker-1/diagnosis", "", "", 200, `"instance":"instance-1"`},
		{"GET", "/figures?max_age=10s", "", "", 200, `"instances"`},
		{"GET", "/figures?max_age=soon", "", "", 422, `"reason":"want a duration, such as 1m30s"`},
		{"GET", "/scripts?nodes=manager,worker-1&all=true", "", "", 200, `"results"`},
		{"GET", "/values/peer_description?nodes=manager", "", "", 200, `"node":"manager"`},
		{"GET", "/configurations/staged", "", "", 200, `"id":"c1"`},
		{"GET", "/configurations/deployed", "", "", 200, `"id":"c1"`},
		{"GET", "/configurations/1", "", "", 200, `"id":"c1"`},
		{"GET", "/configurations/99", "", "", 404, "no deployment 99 in the history"},
		{"GET", "/configurations/first", "", "", 422, `"value":"\"first\""`},
		{"PUT", "/configurations/staged", configuration, "", 428, "say which configuration this one replaces"},
		{"PUT", "/configurations/staged", configuration, `If-Match: "0123"`, 412, "another configuration has been staged"},
		{"PUT", "/configurations/staged", configuration, "If-None-Match: *", 412, "another configuration has been staged"},
		{"PUT", "/configurations/staged", configuration, "If-Match: *", 200, "c1"},
		{"PUT", "/configurations/staged", `{"id":"c2","nodes":[{"name":"x","role":"BOSS","prt":1}]}`, "If-Match: *", 422, `"field":"nodes[0].prt"`},
		{"PUT", "/configurations/staged", `{"id":"c2","nodes":[{"name":"x","instance":"nowhere","role":"WORKER"}]}`, "If-Match: *", 422, "nowhere"},
		{"POST", "/diffs", configuration, "", 200, `"to":"c1"`},
		{"POST", "/diffs", `{"id":"c2","nodes":[{"name":"x","instance":"nowhere","role":"WORKER"}]}`, "", 422, "nowhere"},
		{"POST", "/checks", empty, "Prefer: wait=60", 200, `"state":"succeeded"`},
		{"POST", "/deployments", `{"force":true}`, "Prefer: wait=60", 200, `"state":"succeeded"`},
		{"GET", "/deployments", "", "", 200, `"action":"force"`},
		{"GET", "/deployments?limit=1", "", "", 200, `"next":"b2"`},
		{"GET", "/deployments?limit=1&cursor=b2", "", "", 200, `"number":1`},
		{"GET", "/deployments?cursor=x", "", "", 422, `"field":"cursor"`},
		{"POST", "/rollbacks", `{"number":1}`, "Prefer: wait=60", 200, `"state":"succeeded"`},
		{"GET", "/events?limit=2", "", "", 200, `"next"`},
		{"GET", "/events?kind=staged", "", "", 200, `"kind":"staged"`},
		{"GET", "/events?limit=many", "", "", 422, `"field":"limit"`},
		{"GET", "/alerts", "", "", 404, "sends no notifications"},
		{"POST", "/alerts/test", empty, "", 409, ""},
		{"POST", "/nodes/restart", `{"nodes":["worker-1"]}`, "Prefer: wait=60", 200, `"node":"worker-1"`},
		{"POST", "/nodes/stop", `{"nodes":["worker-1"]}`, "Prefer: wait=60", 200, `"state":"succeeded"`},
		{"POST", "/nodes/start", `{"all":true}`, "Prefer: wait=60", 200, `"state":"succeeded"`},
		{"POST", "/nodes/start", `{"stop":true}`, "", 422, "is determined by the path"},
		{"PUT", "/instances/instance-1/drain", empty, "Prefer: wait=60", 200, `"state":"succeeded"`},
		{"DELETE", "/instances/instance-1/drain", "", "Prefer: wait=60", 200, `"state":"succeeded"`},
		{"GET", "/rolling-restart", "", "", 404, "there was no rolling restart"},
		{"POST", "/rolling-restart", `{"roles":["WORKER"]}`, "", 202, `"next"`},
		{"DELETE", "/rolling-restart", "", "", 0, ""}, // it may have ended
		{"GET", "/rolling-restart", "", "", 200, `"number":1`},
		{"PUT", "/sites/" + siteID + "/parts", `{"size":10}`, "", 200, `"have":0`},
		{"GET", "/sites/" + siteID + "/parts", "", "", 404, ""},
		{"POST", "/cleanups", `{"dry_run":true}`, "Prefer: wait=60", 200, `"instance":"instance-1"`},
		{"GET", "/jobs", "", "", 200, `"request":"cleanup"`},
		{"GET", "/jobs/none", "", "", 404, "no such job"},
		{"GET", "/session", "", "", 200, `"role":"full"`},
		{"POST", "/session", `{"token":"x"}`, "", 409, "no file of clients"},
		{"DELETE", "/session", "", "", 204, ""},
		{"GET", "/openapi.json", "", "", 200, `"openapi":"3.1.0"`},
		{"POST", "/requests/status", "", "", 200, `"staged":"c1"`},
		{"POST", "/requests/get_id_value", `{"id":"x","nodes":["nobody"]}`, "", 200, `"success":false`},
		{"POST", "/requests/nothing", "", "", 404, "unknown request"},
		{"POST", "/requests/logs", `{"node":7}`, "", 422, `"errors":[{"field":"node","value":"7","reason":"want a string"}]`},
		{"GET", "/nothing", "", "", 404, "no such resource"},
	}
}

// TestRoutes sends requests for all resources, and checks requests and responses against
// the description of the API.
func TestRoutes(t *testing.T) {
	v := validatorOf(t)
	c := start(t, "", nil)
	c.deploy()
	tried := make(map[string]bool)
	for _, x := range routes() {
		var headers []string
		if x.header != "" {
			headers = append(headers, x.header)
		}
		r := c.do(x.method, "/api/v1"+x.path, x.body, headers...)
		if x.status != 0 && r.StatusCode != x.status || !strings.Contains(r.body, x.text) {
			t.Errorf("%s %s: status %d, body %.500s\nwant status %d and %q", x.method, x.path, r.StatusCode, r.body, x.status, x.text)
		}
		if kind := r.Header.Get("Content-Type"); r.StatusCode >= 400 && kind != "application/problem+json" {
			t.Errorf("%s %s: the problem has the type %q", x.method, x.path, kind)
		}
		path, _, _ := strings.Cut(x.path, "?")
		tried[x.method+" "+path] = true
		if x.path == "/nothing" || x.path == "/requests/nothing" {
			continue // not in the description
		}
		if ok, faults := v.ValidateHttpResponse(r.Request, r.Response); !ok {
			for _, f := range faults {
				t.Errorf("%s %s: the response does not match the description: %s: %s %+v\n%.300s", x.method, x.path, f.Message, f.Reason, f.SchemaValidationErrors, r.body)
			}
		}
	}
	for resource := range zeekapi.Resources() {
		found := false
		for key := range tried {
			found = found || matchesPath(resource.Method+" "+resource.Path, key)
		}
		if !found {
			t.Errorf("%s %s is not in the table of this test", resource.Method, resource.Path)
		}
	}
}

// matchesPath reports whether a path matches a pattern with parts in braces.
func matchesPath(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}

// TestTags checks that two clients cannot overwrite each other's configuration unseen, and
// that a deployment can insist on the configuration that its client has seen.
func TestTags(t *testing.T) {
	c := start(t, "", nil)
	const path = "/api/v1/configurations/staged"
	c.awaitInstance()
	c.want(404, "no staged configuration", "GET", path, "")
	first := c.want(200, "c1", "PUT", path, configuration, "If-None-Match: *").Header.Get("ETag")
	if got := c.want(200, "c1", "GET", path, "").Header.Get("ETag"); got != first || first == "" {
		t.Errorf("GET has the ETag %s, PUT had %s", got, first)
	}
	c.want(304, "", "GET", path, "", "If-None-Match: "+first)
	other := strings.Replace(configuration, "eth0", "eth1", 1) // with the same ID
	second := c.want(200, "c1", "PUT", path, other, "If-Match: "+first).Header.Get("ETag")
	if second == first {
		t.Error("another configuration has the same ETag")
	}
	c.want(412, "another configuration has been staged", "PUT", path, configuration, "If-Match: "+first)
	c.want(400, "want one ETag", "PUT", path, configuration, "If-Match: "+first+", "+second)
	c.want(200, "another configuration has been staged", "POST", "/api/v1/deployments", "", "If-Match: "+first, "Prefer: wait=30")
	c.want(200, `"state":"succeeded"`, "POST", "/api/v1/deployments", "", "If-Match: "+second, "Prefer: wait=30")
	c.want(200, `"interface":"eth1"`, "GET", "/api/v1/configurations/deployed", "")
}

// TestJobs follows a job from its begin to its end.
func TestJobs(t *testing.T) {
	c := start(t, clientsFile, nil)
	alice, bob := "Authorization: Bearer "+aliceToken, "Authorization: Bearer "+bobToken
	c.awaitInstance(alice)
	c.want(200, "c1", "PUT", "/api/v1/configurations/staged", configuration, alice, "If-Match: *")
	r := c.want(202, `"state":"running"`, "POST", "/api/v1/deployments", `{}`, alice)
	at := r.Header.Get("Location")
	if !strings.HasPrefix(at, "/api/v1/jobs/") {
		t.Fatalf("Location is %q", at)
	}
	id := strings.TrimPrefix(at, "/api/v1/jobs/")
	if j, ok := c.server.AwaitJob(t.Context(), id); !ok || j.State != httpapi.JobSucceeded {
		t.Fatalf("the job is %+v", j)
	}
	c.want(200, `"by":"alice"`, "GET", at, "", bob)
	c.want(200, id, "GET", "/api/v1/jobs", "", bob)
	for _, want := range []string{`"by":"alice","addr":"127.0.0.1","proof":"token","request":"deploy_staged"`, `"by":"alice at 127.0.0.1"`} {
		if !strings.Contains(c.logs.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, c.logs)
		}
	}
	c.want(200, `"by":"alice at 127.0.0.1"`, "GET", "/api/v1/deployments", "", bob)
}
