package controller

import (
	"slices"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// What the encoder remembers is what the dialect would say.
func TestEncoder(t *testing.T) {
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
	for i, msg := range []zeekapi.Message{
		zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "1"}, Config: config},
		zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "2"}, Config: config},
		zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "3"}, Config: config, Force: true},
		zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "4"}, Config: changed},
		zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "5"}},
		zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: "6"}, Config: config},
		zeekapi.AgentWelcomeRequest{ReqID: zeekapi.ReqID{ID: "7"}},
	} {
		for _, d := range dialects {
			want, err := d.Encode(msg)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.encode(d, msg)
			if err != nil || !broker.Equal(got.Value(), want.Value()) {
				t.Errorf("%d in %s: %v, %v, want %v", i, d.Name, got, err, want)
			}
		}
	}
}
