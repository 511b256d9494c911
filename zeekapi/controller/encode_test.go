package controller

import (
	"slices"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// The encoder returns the same events as the dialect.
func TestEncoderMatchesDialect(t *testing.T) {
	config := zeekapi.Configuration{
		ID:        "c",
		Instances: []zeekapi.Instance{{Name: "a"}},
		Nodes:     []zeekapi.Node{{Name: "n", Instance: "a", Role: zeekapi.RoleWorker, State: zeekapi.StateRunning}},
	}
	changed := config
	changed.Nodes = slices.Clone(config.Nodes)
	changed.Nodes[0].Name = "other"
	dialects := []*zeekapi.Dialect{
		management.Dialect(management.DefaultTopics), clusteragent.Dialect(clusteragent.DefaultTopics),
	}
	var e encoder
	for i, msg := range []struct {
		zeekapi.Message
		content uint64
	}{
		{zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "1"}, Config: config}, 1},
		{zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "2"}, Config: config}, 1},
		{zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "3"}, Config: config, Force: true}, 1},
		{zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "4"}, Config: changed}, 2},
		{zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "5"}}, 0},
		{zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "6"}, Config: config}, 1},
		{zeekapi.AgentWelcomeRequest{ReqID: zeekapi.ReqID{ID: "7"}}, 0},
	} {
		for _, d := range dialects {
			want, err := d.Encode(msg.Message)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.encode(d, envelope(msg))
			if err != nil || !broker.Equal(got.Value(), want.Value()) {
				t.Errorf("%d in %s: %v, %v, want %v", i, d.Name, got, err, want)
			}
		}
	}
}
