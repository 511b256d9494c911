package httpapi_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// positions is a controller.Leadership whose turns are those of a test.
type positions chan controller.Turn

func (p positions) Next(ctx context.Context) (controller.Turn, error) {
	select {
	case t := <-p:
		return t, nil
	case <-ctx.Done():
		return controller.Turn{}, ctx.Err()
	}
}

func (p positions) StepDown() {}

// sharedFile is a file in place of a shared store.
type sharedFile struct{ *controller.FileStore }

func (sharedFile) Confirm() error { return nil }

// lead makes the controller lead.
func (p positions) lead(t *testing.T, state controller.State) {
	t.Helper()
	store, err := controller.OpenStore(filepath.Join(t.TempDir(), "state"))
	if err == nil {
		t.Cleanup(func() { store.Close() })
		err = store.Rewrite(state)
	}
	if err != nil {
		t.Fatal(err)
	}
	members := []zeekapi.ControllerMember{{Name: "controller", Leads: true}, {Name: "other"}}
	p <- controller.Turn{Post: controller.Post{Leads: true, Term: 8, Members: members}, State: &state, Store: sharedFile{store}}
}

// stand makes the controller stand by. A leader without name is none.
func (p positions) stand(state *controller.State, leader zeekapi.ControllerMember) {
	post := controller.Post{Term: 7, AsOf: time.Now().Add(-10 * time.Second), Members: []zeekapi.ControllerMember{{Name: "controller"}}}
	if leader.Name != "" {
		leader.Leads = true
		post.Members = append([]zeekapi.ControllerMember{leader}, post.Members...)
	}
	p <- controller.Turn{Post: post, State: state}
}

// stored is a state with two events.
func stored() controller.State {
	return controller.State{
		Term:   7,
		Events: []zeekapi.ClusterEvent{{Number: 41, Kind: zeekapi.EventLeader, Text: "an event before"}, {Number: 42, Kind: zeekapi.EventLeader, Text: "the last event"}},
	}
}

// until sends a request again and again, until the response has a status.
func (c *cluster) until(status int, method, path, body string, headers ...string) response {
	c.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		r := c.do(method, path, body, headers...)
		if r.StatusCode == status {
			return r
		}
		if time.Now().After(deadline) {
			c.Fatalf("%s %s: status %d, body %.300s, want status %d", method, path, r.StatusCode, r.body, status)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestStandby checks that a controller that stands by answers what it can, with the age of
// its state, and redirects the rest to the leader, or says who that is.
func TestStandby(t *testing.T) {
	at := make(positions, 4)
	state := stored()
	leader := zeekapi.ControllerMember{Name: "other", Clients: "other:2149", HTTP: "https://other:9990"}
	at.stand(&state, leader)
	c := startOneOf(t, at, "", nil)
	r := c.until(http.StatusOK, "GET", "/api/v1/events?limit=1", "")
	age, err := strconv.Atoi(r.Header.Get("Age"))
	if err != nil || age < 10 || !strings.Contains(r.body, "the last event") {
		t.Errorf("the age is %q: %s", r.Header.Get("Age"), r.body)
	}
	if _, err := time.Parse(time.RFC3339, r.Header.Get("Zeekwire-As-Of")); err != nil || !strings.Contains(r.Header.Get("Link"), "https://other:9990/api/v1/events") {
		t.Errorf("the headers are %v", r.Header)
	}
	if r := c.want(200, `"as_of":"`, "GET", "/api/v1/status", ""); r.Header.Get("Age") == "" {
		t.Errorf("the status has no age: %v", r.Header)
	}
	for _, q := range []struct{ method, path, body string }{
		{"GET", "/api/v1/nodes", ""}, {"PUT", "/api/v1/configurations/staged", configuration}, {"POST", "/api/v1/deployments", ""},
		{"POST", "/api/v1/requests/restart", `{}`}, {"POST", "/api/v1/rolling-restart", ""}, {"GET", "/api/v1/nodes/n/logs", ""},
	} {
		r := c.want(http.StatusTemporaryRedirect, `"http":"https://other:9990"`, q.method, q.path, q.body, "If-Match: *", "Prefer: wait=60")
		if to := r.Header.Get("Location"); to != "https://other:9990"+q.path || r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s leads to %q, %v", q.method, q.path, to, r.Header)
		}
	}
	r = c.want(http.StatusTemporaryRedirect, "stands by", "GET", "/api/v1/events?after=4", "", "Accept: text/event-stream")
	if to := r.Header.Get("Location"); to != "https://other:9990/api/v1/events?after=4" {
		t.Errorf("a stream leads to %q", to)
	}

	leader.HTTP = ""
	at.stand(nil, leader)
	c.until(http.StatusMisdirectedRequest, "GET", "/api/v1/nodes", "")
	c.want(http.StatusMisdirectedRequest, `"leader":{"name":"other","clients":"other:2149","term":7}`, "GET", "/api/v1/nodes", "")
	at.stand(nil, zeekapi.ControllerMember{})
	r = c.until(http.StatusServiceUnavailable, "GET", "/api/v1/nodes", "")
	if r.Header.Get("Retry-After") == "" || r.Header.Get("Location") != "" || strings.Contains(r.body, `"leader"`) {
		t.Errorf("without a leader: %v %s", r.Header, r.body)
	}
	at.lead(t, state)
	c.until(http.StatusOK, "GET", "/api/v1/nodes", "") // it may have an age, if the controller began to lead meanwhile
	if r := c.want(http.StatusOK, "", "GET", "/api/v1/nodes", ""); r.Header.Get("Age") != "" {
		t.Errorf("a leader says that its state is old: %v", r.Header)
	}
}

// TestStreamOfFormerLeader checks that a stream ends when its controller no longer leads, that
// it continues at the controller that leads, with the same numbers, and that a client learns
// that numbers began again.
func TestStreamOfFormerLeader(t *testing.T) {
	first, second := make(positions, 4), make(positions, 4)
	state := stored()
	first.lead(t, state)
	a := startOneOf(t, first, "", nil)
	a.until(http.StatusOK, "GET", "/api/v1/nodes", "")
	s := a.stream("Last-Event-ID: 41")
	if m := s.next("event"); m.id != "42" {
		t.Errorf("the first event is %+v", m)
	}
	moved := s.next("event") // that it leads
	first.stand(nil, zeekapi.ControllerMember{Name: "other", HTTP: "http://other"})
	if m := s.next("end"); !strings.Contains(m.data, "stands by") {
		t.Errorf("the stream ends with %+v", m)
	}

	state = stored()
	number, err := strconv.ParseUint(moved.id, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	state.Events = append(state.Events, zeekapi.ClusterEvent{Number: number, Kind: zeekapi.EventLeader, Text: "stored by the former leader"})
	second.stand(&state, zeekapi.ControllerMember{Name: "other", HTTP: a.url})
	b := startOneOf(t, second, "", nil)
	b.until(http.StatusTemporaryRedirect, "GET", "/api/v1/events", "", "Accept: text/event-stream")
	second.lead(t, state)
	b.until(http.StatusOK, "GET", "/api/v1/nodes", "")
	resumed := b.stream("Last-Event-ID: " + moved.id)
	if m := resumed.next("event"); m.id != strconv.FormatUint(number+1, 10) || !strings.Contains(m.data, "leads, term 8") {
		t.Errorf("after %s follows %+v", moved.id, m)
	}
	again := b.stream("Last-Event-ID: 4711")
	if m := again.next("gap"); !strings.Contains(m.data, `"after":4711`) || !strings.Contains(m.data, `"oldest":41`) {
		t.Errorf("the numbers began again: %+v", m)
	}
	if m := again.next("event"); m.id != "41" {
		t.Errorf("after the gap follows %+v", m)
	}
}
