package zeekapi_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// changing are the requests that a client who may only read may not send.
var changing = []string{
	"CancelJobRequest", "DeployRequest", "DrainRequest", "ForceDeployRequest", "RestartRequest",
	"RollbackRequest", "RollingRestartRequest", "SetConfigurationRequest", "StageConfigurationRequest",
}

// TestRequests makes sure that no request of any dialect is forgotten.
func TestRequests(t *testing.T) {
	found := make(map[string]bool)
	for _, d := range []*zeekapi.Dialect{
		management.Dialect(management.DefaultTopics),
		clusteragent.Dialect(clusteragent.DefaultTopics),
		operations.Dialect(operations.DefaultTopics),
	} {
		for _, decl := range d.Declarations() {
			m := reflect.New(zeekapi.MessageType(decl)).Elem()
			msg, name := m.Interface().(zeekapi.Message), m.Type().Name()
			isRequest := decl.API == zeekapi.ControllerAPI && strings.HasSuffix(name, "Request")
			effect, ok := zeekapi.EffectOf(msg)
			if ok != isRequest {
				t.Errorf("%s: EffectOf says %t to the question whether it is a request of clients", name, ok)
			}
			if !isRequest {
				if zeekapi.Refuse(msg, "") != nil {
					t.Errorf("%s has a response", name)
				}
				continue
			}
			if got, want := effect == zeekapi.Changes, slices.Contains(changing, name); got != want {
				t.Errorf("%s changes something: %t, want %t", name, got, want)
			}
			found[name] = effect == zeekapi.Changes

			m.FieldByName("ID").SetString("id")
			response := zeekapi.Refuse(m.Interface().(zeekapi.Message), "no")
			if got, want := reflect.TypeOf(response).Name(), strings.TrimSuffix(name, "Request")+"Response"; got != want {
				t.Errorf("%s is answered with %s, want %s", name, got, want)
			}
			if response.RequestID() != "id" {
				t.Errorf("%s is answered with the ID %q", name, response.RequestID())
			}
			if _, err := d.Encode(response); err != nil {
				t.Errorf("%s: its response is of another dialect: %v", name, err)
			}
			if got := resultsOf(response); len(got) != 1 || got[0].Success || got[0].Error != "no" || got[0].ReqID != "id" {
				t.Errorf("%s is answered with %+v", name, got)
			}
		}
	}
	for _, name := range changing {
		if !found[name] {
			t.Errorf("no dialect has %s", name)
		}
	}
}

func resultsOf(response zeekapi.Message) []zeekapi.Result {
	m := reflect.ValueOf(response)
	if one := m.FieldByName("Result"); one.IsValid() {
		return []zeekapi.Result{one.Interface().(zeekapi.Result)}
	}
	return m.FieldByName("Results").Interface().([]zeekapi.Result)
}
