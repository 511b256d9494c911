package zeekapi_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// changing lists the client requests that a read-only client may not make. It
// repeats the registry on purpose, so that a new request is classified twice.
var changing = []string{
	"cancel_job", "cleanup", "deploy", "deploy_staged", "drain", "restart", "rollback", "rolling_restart", "set_configuration",
	"stage_configuration", "step_down", "stop", "test_alerts", "upload_site",
}

var registered = map[string]*zeekapi.Dialect{
	zeekapi.Management:   management.Dialect(management.DefaultTopics),
	zeekapi.ClusterAgent: clusteragent.Dialect(clusteragent.DefaultTopics),
	zeekapi.Operations:   operations.Dialect(operations.DefaultTopics),
}

// TestRequestsAreComplete checks that no declaration lacks a part.
func TestRequestsAreComplete(t *testing.T) {
	names := make(map[string]bool)
	var changes []string
	for r := range zeekapi.Requests() {
		if names[r.Name] || !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(r.Name) {
			t.Errorf("%s: the name is used twice or is not in snake case", r.Name)
		}
		names[r.Name] = true
		if !regexp.MustCompile(`^[A-Z].*[^.]$`).MatchString(r.Summary) || len(r.Summary) > 70 {
			t.Errorf("%s: summary %q", r.Name, r.Summary)
		}
		if r.Effect != zeekapi.Reads && r.Effect != zeekapi.Changes {
			t.Errorf("%s: effect %d", r.Name, r.Effect)
		}
		if len(r.Forms) == 0 {
			t.Errorf("%s is in no dialect", r.Name)
		}
		for _, f := range r.Forms {
			if registered[f.Dialect] == nil {
				t.Errorf("%s: unknown dialect %q", r.Name, f.Dialect)
			}
		}
		if r.API == zeekapi.ControllerAPI && r.Effect == zeekapi.Changes {
			changes = append(changes, r.Name)
		}
	}
	slices.Sort(changes)
	if !slices.Equal(changes, changing) {
		t.Errorf("client requests that change something: %q, want %q", changes, changing)
	}
}

// The refusal of every request can be encoded in every dialect with the request. The
// decoded response has the request and the result.
func TestRequestsRefuse(t *testing.T) {
	for _, d := range registered {
		for _, decl := range d.Declarations() {
			m := reflect.New(zeekapi.MessageType(decl)).Elem()
			isRequest := strings.HasSuffix(m.Type().Name(), "Request")
			request := zeekapi.RequestOf(m.Interface().(zeekapi.Message))
			if (request != nil) != isRequest {
				t.Errorf("%s: RequestOf returns %v", m.Type(), request)
			}
			if request == nil {
				continue
			}
			if got := zeekapi.ClientRequest(m.Interface().(zeekapi.Message)) != nil; got != (decl.API == zeekapi.ControllerAPI) {
				t.Errorf("%s: ClientRequest returns a request: %t", request.Name, got)
			}
			refusal := request.Refuse("id", "no")
			ev, err := d.Encode(refusal)
			if err != nil {
				t.Errorf("%s: %v", request.Name, err)
				continue
			}
			if form, _ := request.Form(d.Name); !strings.HasSuffix(ev.Name, "::"+form.Event+"_response") {
				t.Errorf("%s: the response is %s", request.Name, ev.Name)
			}
			decoded, err := d.Decode(ev)
			if err != nil {
				t.Errorf("%s: %v", request.Name, err)
				continue
			}
			responded, results := zeekapi.ResponseOf(decoded)
			if reflect.TypeOf(decoded) != reflect.TypeOf(refusal) || responded == nil || responded.API != request.API {
				t.Errorf("%s: the response %T belongs to %v", request.Name, decoded, responded)
			}
			want := zeekapi.Failure("id", "no")
			if decoded.RequestID() != "id" || len(results) != 1 || results[0].Error != want.Error || results[0].Success || results[0].ReqID != "id" {
				t.Errorf("%s: results %+v", request.Name, results)
			}
		}
	}
	if r, results := zeekapi.ResponseOf(zeekapi.EventReport{}); r != nil || results != nil {
		t.Errorf("an event report belongs to %s, want no request", r.Name)
	}
}

// TestRespondWithoutResults checks that Respond accepts no results for every
// request, as a handler of a fake may return none.
func TestRespondWithoutResults(t *testing.T) {
	for r := range zeekapi.Requests() {
		_, results := zeekapi.ResponseOf(r.Respond("id"))
		if len(results) > 1 || len(results) == 1 && (results[0].Success || results[0].ReqID != "id") {
			t.Errorf("%s: results %+v, want none or a failure", r.Name, results)
		}
	}
}

func TestWithID(t *testing.T) {
	got := zeekapi.RollbackCall.WithID(zeekapi.RollbackRequest{Number: 7}, "id")
	if want := (zeekapi.RollbackRequest{ReqID: zeekapi.ReqID{ID: "id"}, Number: 7}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	response := zeekapi.RollbackCall.Respond("id", zeekapi.Result{ReqID: "id", Success: true})
	if response.ID != "id" || len(response.Results) != 1 || !response.Results[0].Success {
		t.Errorf("unexpected response %+v", response)
	}
}
