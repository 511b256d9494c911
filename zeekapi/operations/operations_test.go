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
