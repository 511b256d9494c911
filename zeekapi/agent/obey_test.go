package agent

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// Requests count only from controllers, what nodes say from anybody, and each
// only on its own topic.
func TestObeysOnlyControllers(t *testing.T) {
	var log bytes.Buffer
	boss := broker.Peer{ID: uuid.New(), Name: "boss"}
	other := broker.Peer{ID: uuid.New()}
	status := operations.Dialect(operations.DefaultTopics)
	r := &runner{Config: Config{
		Name: "i", Dialects: []*zeekapi.Dialect{newDialect, oldDialect, status}, Log: zerolog.New(&log),
		Obey: func(p broker.Peer) bool { return p.Name == "boss" },
	}}
	for _, tt := range []struct {
		name    string
		peer    broker.Peer
		topic   string
		dialect *zeekapi.Dialect
		message zeekapi.Message
		want    bool
	}{
		{"controller", boss, "zeek/management/agent/i", newDialect, deploy("r", configuration("c")), true},
		{"controller, older dialect", boss, "zeek/cluster-control/agent/i", oldDialect, deploy("r", configuration("c")), true},
		{"controller, own dialect", boss, "zeekwire/agent/i", status, zeekapi.AgentStatusRequest{ReqID: id("r")}, true},
		{"stranger", other, "zeek/management/agent/i", newDialect, deploy("r", configuration("c")), false},
		{"stranger, older dialect", other, "zeek/cluster-control/agent/i", oldDialect, deploy("r", configuration("c")), false},
		{"stranger, own dialect", other, "zeekwire/agent/i", status, zeekapi.AgentStatusRequest{ReqID: id("r")}, false},
		{"node", other, "zeek/management/node", newDialect, zeekapi.NodeHello{Node: "w"}, true},
		{"node on the agent's topic", other, "zeek/management/agent/i", newDialect, zeekapi.NodeHello{Node: "w"}, false},
		{"controller on the nodes' topic", boss, "zeek/management/node", newDialect, deploy("r", configuration("c")), false},
	} {
		ev, err := tt.dialect.Encode(tt.message)
		if err != nil {
			t.Fatal(err)
		}
		in := r.decode(broker.Received{Peer: tt.peer, Message: broker.Message{Topic: tt.topic, Value: ev.Value()}})
		if (in != nil) != tt.want {
			t.Errorf("%s: taken is %t, want %t", tt.name, in != nil, tt.want)
		}
	}
	if n := strings.Count(log.String(), "no controller of ours"); n != 1 {
		t.Errorf("the stranger is logged %d times, want once:\n%s", n, &log)
	}
}
