package clientcmd_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
)

// TestRecordedClusterSession replays the requests of a Zeek script to a controller
// with ClusterController::API, and the recorded responses. The output is compared
// with a golden file, because zeek-client does not support this API.
func TestRecordedClusterSession(t *testing.T) {
	const (
		clusterTopic = "zeek/cluster-control/controller"
		golden       = "testdata/old-session.want"
		config       = "testdata/old-session.cfg"
	)
	calls := [][]string{
		{"get-instances"},
		{"get-nodes"},
		{"deploy-config", config},
		{"get-instances"},
		{"get-nodes"},
		{"test-timeout", "--with-state"},
		{"deploy-config", filepath.Join(clusters, "empty.cfg")},
	}
	frames := readFrames(t, filepath.Join(recordings, "zeek-5.0.10-cluster", "controller-01.jsonl"), clusterTopic)
	if len(frames) != 2*len(calls) {
		t.Fatalf("recording has %d events, want a request and a response for each of %d calls", len(frames), len(calls))
	}
	var got strings.Builder
	runOn := func(hub *membus.Hub, args []string) {
		tool := &clientcmd.Tool{
			Getenv: func(string) string { return "" },
			Dial: func(context.Context, connect.Options) (*connect.Connection, error) {
				found := connect.Found{Transport: connect.Native, Dialect: clusteragent.Dialect(clusteragent.DefaultTopics)}
				return &connect.Connection{Bus: hub.Endpoint(clusterTopic), Found: found}, nil
			},
		}
		stdout, stderr, exit := execute(t, tool, "", args...)
		fmt.Fprintf(&got, "$ %s\n%s%sexit %d\n\n", strings.Join(args, " "), stdout, stderr, exit)
	}
	for i, args := range calls {
		hub := membus.New()
		controller := hub.Endpoint(clusterTopic)
		played := make(chan error, 1)
		go func() { played <- play(controller, clusterTopic, frames[2*i:2*i+2]) }()
		runOn(hub, args)
		controller.Close()
		if err := <-played; err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, args := range [][]string{ // not supported by this API
		{"deploy"}, {"stage-config", config}, {"get-config"}, {"get-id-value", "x"}, {"restart"},
	} {
		runOn(membus.New(), args)
	}

	compareGolden(t, golden, got.String())
}
