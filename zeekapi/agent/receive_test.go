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

// TestReceive checks that requests are accepted only from controllers, messages of
// nodes from any peer, and both only on their own topics.
func TestReceive(t *testing.T) {
	var log bytes.Buffer
	boss := broker.Peer{ID: uuid.New(), Name: "boss"}
	other := broker.Peer{ID: uuid.New()}
	status := operations.Dialect(operations.DefaultTopics)
	r := &receiver{
		name: "i", dialects: []*zeekapi.Dialect{newDialect, oldDialect, status}, log: zerolog.New(&log),
		obey: func(p broker.Peer) bool { return p.Name == "boss" },
	}
	for _, tt := range []struct {
		name    string
		peer    broker.Peer
		topic   string
		dialect *zeekapi.Dialect
		message zeekapi.Message
		want    bool
	}{
		{"controller", boss, "zeek/management/agent/i", newDialect, deploy("r", configuration("c")), true},
		{"controller, of an agent whose name begins with this one's", boss, "zeek/management/agent/i0", newDialect, deploy("r", configuration("c")), false},
		{"controller, older dialect, of the same", boss, "zeek/cluster-control/agent/i0", oldDialect, deploy("r", configuration("c")), false},
		{"controller, own dialect, of the same", boss, "zeekwire/agent/i0", status, zeekapi.AgentStatusRequest{ReqID: id("r")}, false},
		{"controller, older dialect", boss, "zeek/cluster-control/agent/i", oldDialect, deploy("r", configuration("c")), true},
		{"controller, own dialect", boss, "zeekwire/agent/i", status, zeekapi.AgentStatusRequest{ReqID: id("r")}, true},
		{"other peer", other, "zeek/management/agent/i", newDialect, deploy("r", configuration("c")), false},
		{"other peer, older dialect", other, "zeek/cluster-control/agent/i", oldDialect, deploy("r", configuration("c")), false},
		{"other peer, own dialect", other, "zeekwire/agent/i", status, zeekapi.AgentStatusRequest{ReqID: id("r")}, false},
		{"node", other, "zeek/management/node", newDialect, zeekapi.NodeHello{Node: "w"}, true},
		{"node on the agent's topic", other, "zeek/management/agent/i", newDialect, zeekapi.NodeHello{Node: "w"}, false},
		{"controller on the nodes' topic", boss, "zeek/management/node", newDialect, deploy("r", configuration("c")), false},
	} {
		ev, err := tt.dialect.Encode(tt.message)
		if err != nil {
			t.Fatal(err)
		}
		_, got := r.decode(broker.Received{Peer: tt.peer, Message: broker.Message{Topic: tt.topic, Value: ev.Value()}})
		if got != tt.want {
			t.Errorf("%s: accepted is %t, want %t", tt.name, got, tt.want)
		}
	}
	if n := strings.Count(log.String(), "no controller of ours"); n != 1 {
		t.Errorf("the other peer is logged %d times, want once:\n%s", n, &log)
	}
}
