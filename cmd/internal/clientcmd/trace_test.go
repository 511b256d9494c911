package clientcmd_test

import (
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

func TestTraceMessages(t *testing.T) {
	tool := respondingTool(t, func(m zeekapi.Message) zeekapi.Message {
		return zeekapi.GetInstancesResponse{ReqID: zeekapi.ReqID{ID: m.RequestID()}, Result: zeekapi.Result{Success: true, Data: broker.Vector()}}
	})
	got := runCommand(t, tool, "", "-vvvv", "get-instances")
	for _, want := range []string{
		"info: connecting to controller 127.0.0.1:2149\ninfo: peered with controller 127.0.0.1:2149\n",
		"debug: sending to " + topic + ": Management::Controller::API::get_instances_request(",
		"debug: received on " + topic + ": Management::Controller::API::get_instances_response(",
	} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr lacks %q\n%s", want, got.stderr)
		}
	}
	if got.stdout != "{}\n" || got.exit != 0 {
		t.Errorf("exit code %d, stdout %q", got.exit, got.stdout)
	}
}
