package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/wire"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// A response with large outputs of many nodes stays below the controller's
// limit of the message size.
func TestResponseSizeIsLimited(t *testing.T) {
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("w%03d", i))
	}
	f := newFleet(t, connecting("i"), nil)
	text := strings.Repeat("a line\n", 150_000) + "the last line\n"
	f.dies = func(n launch.Node) *launch.Exited {
		return &launch.Exited{Node: n.Name, Err: errors.New("exit status 1"), Outputs: zeekapi.NodeOutputs{Stdout: text, Stderr: text}}
	}
	f.ask(deploy("r", configuration("c1", names...)))
	f.pass(2 * time.Second)
	resp := one[zeekapi.AgentDeployResponse](f)
	ev, err := newDialect.Encode(resp)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(bin.Append(nil, ev.Value())); size > wire.DefaultMaxFrame/2 {
		t.Errorf("the response has %d bytes, a controller accepts %d", size, wire.DefaultMaxFrame)
	}
	var outputs zeekapi.NodeOutputs
	if err := record.Unmarshal(resp.Results[0].Data, &outputs); err != nil || !strings.HasSuffix(outputs.Stderr, "a line\nthe last line\n") {
		t.Errorf("the first node wrote %.100q, %v", outputs.Stderr, err)
	}
}
