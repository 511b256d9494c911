package clusteragent_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
)

// A controller that stands by refuses a request for nodes with the leader as data, which is
// no list of nodes.
func TestRefusalOfStandby(t *testing.T) {
	d := clusteragent.Dialect(clusteragent.DefaultTopics)
	refusal := zeekapi.Failure("id", "this controller stands by")
	var err error
	if refusal.Data, err = record.Marshal(zeekapi.NotLeader{Leader: zeekapi.ControllerMember{Name: "c2"}, Term: 7}); err != nil {
		t.Fatal(err)
	}
	ev, err := d.Encode(zeekapi.GetNodesCall.Request.Respond("id", refusal))
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Decode(ev)
	if err != nil {
		t.Fatal(err)
	}
	_, results := zeekapi.ResponseOf(m)
	if n, ok := zeekapi.NotLeaderOf(results); !ok || n.Leader.Name != "c2" || n.Term != 7 {
		t.Errorf("the response is %+v", m)
	}
}
