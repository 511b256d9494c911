package console

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

// report makes the controller report a position among several controllers.
func (l *lab) report(asOf time.Time, members ...zeekapi.ControllerMember) {
	l.Helper()
	status := l.status()
	status.Controllers, status.AsOf, status.Term = members, asOf, 7
	fake.Handle(l.controller, zeekapi.StatusCall, func(context.Context, zeekapi.StatusRequest) ([]zeekapi.Result, error) {
		return fake.Success(status), nil
	})
	l.await(func(s snapshot) bool { return len(s.Status.Controllers) == len(members) && s.Status.AsOf.Equal(asOf) })
}

// TestStandby says on each page that the controller stands by, leads to the leader, and
// offers no change.
func TestStandby(t *testing.T) {
	l := sample(t, access.Full)
	if resp, _ := l.request(http.MethodGet, "/controllers", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("several controllers of one: %s", resp.Status)
	}
	asOf := time.Now().Add(-time.Minute).Truncate(time.Second)
	leader := zeekapi.ControllerMember{Name: "c2", Leads: true, HTTP: "https://c2.example:9990", Clients: "c2:2149"}
	l.report(asOf, leader, zeekapi.ControllerMember{Name: "c1", Behind: 3})
	for _, path := range []string{"/", "/topology", "/machines/alpha", "/nodes/worker-1", "/events", "/history", "/history/1", "/deploy", "/operate", "/controllers", "/access"} {
		page := l.get(path)
		l.wants(page, "This controller stands by.", moment{T: asOf}.Text(), `<a href="https://c2.example:9990`+path+`">open this page there</a>`)
		l.lacks(page, `method="post"`, "/rollback/")
	}
	l.wants(l.get("/controllers"), "3 changes", "c2:2149")
	l.wants(l.get("/"), "2 controllers", "c2 leads")
	for _, path := range []string{"/deploy", "/rollback/1", "/nodes/worker-1/restart", "/machines/beta/drain", "/operate/stop", "/controllers/step-down"} {
		if resp, body := l.request(http.MethodPost, path, nil); resp.StatusCode != http.StatusConflict || !strings.Contains(body, "stands by") {
			t.Errorf("POST %s: %s", path, resp.Status)
		}
	}
	stream := l.follow("/")
	if _, data := stream.next(); !strings.Contains(data, "c2 leads") {
		t.Errorf("the stream begins with %s", data)
	}
	for _, evil := range []string{"javascript:alert(1)//", `"><script>alert(1)</script>`} {
		l.report(asOf, zeekapi.ControllerMember{Name: evil, Leads: true, HTTP: evil})
		l.lacks(l.get("/"), `href="javascript:`, "<script>alert")
	}
	l.report(time.Time{}, zeekapi.ControllerMember{Name: "c1", Leads: true}, zeekapi.ControllerMember{Name: "c2"})
	for kind, data := stream.next(); strings.Contains(data, "This controller stands by."); kind, data = stream.next() {
		t.Logf("%s of the time before", kind)
	}
	l.lacks(l.get("/"), "This controller stands by.")
}

// TestStepDown lets another controller lead, after a confirmation.
func TestStepDown(t *testing.T) {
	l := sample(t, access.Full)
	l.report(time.Time{}, zeekapi.ControllerMember{Name: "c1", Leads: true}, zeekapi.ControllerMember{Name: "c2"})
	l.wants(l.get("/controllers"), "hands over to another controller", `action="/controllers/step-down"`)
	fake.Handle(l.controller, zeekapi.StepDownCall, func(context.Context, zeekapi.StepDownRequest) ([]zeekapi.Result, error) {
		return fake.Success([]zeekapi.ControllerMember{{Name: "c1", Leads: true}, {Name: "c2"}}), nil
	})
	if to := l.post("/controllers/step-down", nil); to != "/controllers" {
		t.Errorf("it leads to %s", to)
	}
	if n := len(fakeRequests[zeekapi.StepDownRequest](l)); n != 1 {
		t.Errorf("%d requests to step down", n)
	}
}

// fakeRequests returns the requests of a type that the controller got.
func fakeRequests[Q zeekapi.Message](l *lab) (all []Q) {
	for _, m := range l.controller.Requests() {
		if q, ok := m.(Q); ok {
			all = append(all, q)
		}
	}
	return all
}
