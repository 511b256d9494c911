package zeekapi_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/internal/recorded"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// A node without a state is encoded as pending, in every dialect with
// configurations.
func TestNodeWithoutStateIsPending(t *testing.T) {
	config := zeekapi.Configuration{ID: "c", Nodes: []zeekapi.Node{{Name: "w", Instance: "i", Role: zeekapi.RoleWorker}}}
	for _, d := range dialects {
		ev, err := d.Encode(zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "r"}, Config: config})
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
			continue
		}
		msg, err := d.Decode(ev)
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
			continue
		}
		if got := msg.(zeekapi.AgentDeployRequest).Config.Nodes[0].State; got != zeekapi.StatePending {
			t.Errorf("%s: the state is %q, want PENDING", d.Name, got)
		}
	}
}

var dialects = []*zeekapi.Dialect{
	management.Dialect(management.DefaultTopics),
	clusteragent.Dialect(clusteragent.DefaultTopics),
}

// Every recorded management event of Zeek can be decoded, and is encoded to the same
// event again.
func TestRecordedEventsRoundTrip(t *testing.T) {
	folders := []string{"zeek-8.0.10-management", "zeek-8.0.10-two-instances", "zeek-5.0.10-cluster"}
	folders = append(folders, recorded.Versions(t, "../testdata/recordings", "agent-controller-01.jsonl")...)
	for _, folder := range folders {
		t.Run(folder, func(t *testing.T) {
			seen := 0
			for _, ev := range recorded.Read(t, "../testdata/recordings/"+folder+"/*.jsonl") {
				for _, d := range dialects {
					msg, err := d.Decode(ev.Event)
					if errors.Is(err, zeekapi.ErrUnknown) {
						continue
					}
					if err != nil {
						// This recording has invalid requests.
						if folder != "zeek-5.0.10-cluster" {
							t.Errorf("%s at %v: %v", ev.File, ev.At, err)
						}
						continue
					}
					seen++
					again, err := d.Encode(msg)
					if err != nil {
						t.Errorf("%s at %v: %v", ev.File, ev.At, err)
						continue
					}
					if diff := cmp.Diff(ev.Event.String(), again.String()); diff != "" {
						t.Errorf("%s at %v (-recorded +encoded)\n%s", ev.File, ev.At, diff)
					}
				}
			}
			t.Logf("%d events", seen)
			if seen == 0 {
				t.Error("no events")
			}
		})
	}
}

// Declarations have the names of arguments in Zeek's scripts, and are complete.
func TestDeclarations(t *testing.T) {
	for _, d := range dialects {
		for _, decl := range d.Declarations() {
			if !strings.Contains(decl.Event, "::API::") || decl.Since == "" || len(decl.Args()) == 0 {
				t.Errorf("%s: incomplete declaration %+v", d.Name, decl)
			}
		}
	}
	var got []string
	for _, decl := range dialects[0].Declarations() {
		if decl.Event == "Management::Agent::API::notify_agent_hello" {
			for _, arg := range decl.Args() {
				got = append(got, arg.Name+": "+arg.Type.Kind)
			}
		}
	}
	if diff := cmp.Diff([]string{"instance: string", "id: string", "connecting: bool", "api_version: count"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeErrors(t *testing.T) {
	d := dialects[0]
	for _, tt := range []struct {
		name  string
		event broker.Event
		want  string
	}{
		{"unknown", broker.NewEvent("Other::event"), `event "Other::event": not in this dialect (Management)`},
		{"arity", broker.NewEvent("Management::Controller::API::deploy_request"), "has 0 arguments, want 1"},
		{"type", broker.NewEvent("Management::Controller::API::deploy_request", broker.Count(1)),
			"event Management::Controller::API::deploy_request: record: reqid: want string, got count"},
	} {
		_, err := d.Decode(tt.event)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
		if unknown := errors.Is(err, zeekapi.ErrUnknown); unknown != (tt.name == "unknown") {
			t.Errorf("%s: ErrUnknown is %v", tt.name, unknown)
		}
	}
	if _, err := d.Encode(zeekapi.SetConfigurationRequest{}); !errors.Is(err, zeekapi.ErrUnknown) {
		t.Errorf("encoding a message outside the dialect: error %v", err)
	}
}

func TestTopics(t *testing.T) {
	topics := management.DefaultTopics
	if got := topics.Agent("a-1"); got != "zeek/management/agent/a-1" {
		t.Error(got)
	}
	if name, ok := topics.AgentName("zeek/management/agent/a-1"); !ok || name != "a-1" {
		t.Error(name, ok)
	}
	if _, ok := topics.AgentName("zeek/management/controller"); ok {
		t.Error("AgentName accepts the topic of the controller")
	}
}

// The ClusterAgent dialect has a single result, which summarizes several results and
// names failed nodes.
func TestClusterAgentSummary(t *testing.T) {
	d := dialects[1]
	ev, err := d.Encode(zeekapi.AgentDeployResponse{
		ReqID: zeekapi.ReqID{ID: "r"},
		Results: []zeekapi.Result{
			{ReqID: "r", Success: true, Instance: "i", Node: "a"},
			{ReqID: "r", Instance: "i", Node: "b"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `ClusterAgent::API::set_configuration_response("r", ["r", "i", F, nil, "node b failed", nil])`
	if ev.String() != want {
		t.Errorf("got %s, want %s", ev, want)
	}
}
