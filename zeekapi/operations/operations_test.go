package operations

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// TestExtensions lists the arguments that later versions have added to events, with how
// receivers of earlier versions are spared: until 0.9 they refused such events. Who adds
// an argument must say so here. Fields of records need nothing, since additional ones
// were always ignored.
func TestExtensions(t *testing.T) {
	const all = "all versions in testdata/compat have it"
	spared := map[string]string{
		"Zeekwire::Controller::deploy_staged_request force":       all,
		"Zeekwire::Controller::deploy_staged_request partial":     all,
		"Zeekwire::Controller::deploy_staged_request no_rollback": all,
		"Zeekwire::Controller::rollback_request force":            all,
		"Zeekwire::Controller::rollback_request partial":          all,
		"Zeekwire::Controller::rollback_request no_rollback":      all,
		"Zeekwire::Agent::description revision":                   all,
		"Zeekwire::Agent::description layout":                     "they ignore further arguments",
		"Zeekwire::Agent::deploy_request site":                    "AgentDeployNodesRequest.For",
		"Zeekwire::Agent::deploy_request edited":                  "AgentDeployNodesRequest.For",
		"Zeekwire::Agent::deploy_request start_limit":             "AgentDeployNodesRequest.For",
		"Zeekwire::Agent::deploy_request continue":                "AgentDeployNodesRequest.For",
		"Zeekwire::Agent::deploy_request layout_id":               "AgentDeployNodesRequest.For",
		"Zeekwire::Agent::check_request layout_id":                "only agents that keep layouts get it",
		"Zeekwire::Controller::deploy_staged_request expects":     "only the HTTP API sends it, to the controller of its process",
		"Zeekwire::Controller::deploy_staged_request config":      "client.DeployConfiguration repeats the request without it",
	}
	for _, decl := range Dialect(DefaultTopics).Declarations() {
		for _, arg := range decl.Args() {
			name := decl.Event + " " + arg.Name
			if _, ok := spared[name]; arg.Extension && !ok {
				t.Errorf("%s is new: how do receivers of earlier versions cope?", name)
			}
			delete(spared, name)
		}
	}
	for name := range spared {
		t.Errorf("%s does not exist", name)
	}
}

// A later version may add arguments, which are ignored.
func TestAdditionalArguments(t *testing.T) {
	d := Dialect(DefaultTopics)
	ev, err := d.Encode(zeekapi.StatusRequest{ReqID: zeekapi.ReqID{ID: "r"}})
	if err != nil {
		t.Fatal(err)
	}
	ev.Args = append(ev.Args, broker.Count(1))
	got, err := d.Decode(ev)
	if err != nil || got.RequestID() != "r" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestRoundTrip sends one message of each shape through the dialect.
func TestRoundTrip(t *testing.T) {
	began := time.Unix(1790000000, 5).UTC()
	id := zeekapi.ReqID{ID: "r"}
	status := zeekapi.Status{
		Controller: zeekapi.Process{Name: "controller-1", Version: "zeekwire v1", Started: began},
		Target:     "config-1",
		Last:       &zeekapi.Deployment{Number: 3, Config: "config-1", Action: "deploy", By: "alice", Started: began, Outcome: zeekapi.OutcomePending},
		Instances: []zeekapi.InstanceStatus{{
			Instance: zeekapi.Instance{Name: "instance-1", Host: netip.MustParseAddr("10.0.0.1"), Port: broker.TCP(2151)},
			Since:    began,
			Dialects: []string{"Management"},
			Nodes: []zeekapi.NodeDetail{{
				Status: zeekapi.NodeStatus{
					Node: "worker", State: zeekapi.StateCrashed,
					ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker,
				},
				CPU: 1.5, Memory: 1 << 30, LastError: "node worker died: exit status 1",
			}},
		}},
	}
	data, err := record.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	var back zeekapi.Status
	if err := record.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status, back, cmp.Comparer(broker.Equal), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("status (-sent +received):\n%s", diff)
	}

	dialect := Dialect(DefaultTopics)
	for _, msg := range []zeekapi.Message{
		zeekapi.StatusRequest{ReqID: id},
		zeekapi.StatusResponse{ReqID: id, Result: zeekapi.Result{ReqID: "r", Success: true, Data: data}},
		zeekapi.RollbackRequest{ReqID: id, Number: 7},
		zeekapi.DrainRequest{ReqID: id, Instance: "instance-1", Drain: true},
		zeekapi.RollingRestartRequest{ReqID: id, Roles: []zeekapi.ClusterRole{zeekapi.RoleWorker}, AtOnce: 2},
		zeekapi.LogsRequest{ReqID: id, Node: "worker", Bytes: 100},
		zeekapi.EventReport{Event: zeekapi.ClusterEvent{Number: 1, Time: began, Kind: zeekapi.EventState, Node: "worker", Text: "RUNNING"}},
		zeekapi.StoredAnswer{ReqID: id, Controller: "c2", AsOf: began},
		zeekapi.AgentLayout{ID: "id", Layout: "layout"},
		zeekapi.AgentHello{Instance: "instance-1", EndpointID: "e", Connecting: true, APIVersion: 1},
		zeekapi.AgentDescription{Instance: "instance-1", Agent: zeekapi.Process{Name: "agent-1", Started: began}, Zeek: "8.0.10", LayoutForm: zeekapi.LayoutForm},
	} {
		ev, err := dialect.Encode(msg)
		if err != nil {
			t.Errorf("%T: %v", msg, err)
			continue
		}
		back, err := dialect.Decode(ev)
		if err != nil {
			t.Errorf("%T: %v", msg, err)
			continue
		}
		if diff := cmp.Diff(msg, back, cmp.Comparer(broker.Equal), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%T (-sent +received):\n%s", msg, diff)
		}
	}
}
