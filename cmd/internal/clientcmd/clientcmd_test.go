package clientcmd_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

// newRoot is a program with only the client commands, like zeek-client.
func newRoot(tool *clientcmd.Tool) *cobra.Command {
	root := &cobra.Command{Use: "zeek-client"}
	tool.AddFlags(root.PersistentFlags())
	root.AddCommand(tool.Commands()...)
	return root
}

// outcome is all that is to see of a command.
type outcome struct {
	stdout, stderr string
	exit           int
}

func execute1(t *testing.T, tool *clientcmd.Tool, stdin string, args ...string) outcome {
	t.Helper()
	if tool.Getenv == nil {
		tool.Getenv = func(string) string { return "" }
	}
	tool.Hostname = func() (string, error) { return "testhost", nil }
	stdout, stderr, exit := execute(t, tool, stdin, args...)
	return outcome{stdout, stderr, exit}
}

func (got outcome) want(t *testing.T, want outcome) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// newController returns a controller that responds as a function says, nil for
// not at all, in the dialects of zeekwire's own controller.
func newController(t *testing.T, answer func(zeekapi.Message) zeekapi.Message) *fake.Controller {
	t.Helper()
	c, err := fake.NewController(t.Context(), fake.Config{ScriptOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	c.HandleRest(func(_ context.Context, m zeekapi.Message) ([]zeekapi.Result, error) {
		request, results := zeekapi.ResponseOf(answer(m))
		if request == nil {
			return nil, fake.ErrNoResponse
		}
		return results, nil
	})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// silent is a controller that never responds.
func silent(t *testing.T) *fake.Controller {
	t.Helper()
	return newController(t, func(zeekapi.Message) zeekapi.Message { return nil })
}

// inProcess returns a Dial function for a fake controller. As over a WebSocket,
// the client receives the topic of the first dialect and those that it asks for.
func inProcess(c *fake.Controller) clientcmd.Dial {
	return func(_ context.Context, o connect.Options) (*connect.Connection, error) {
		return &connect.Connection{Bus: c.Bus(append([]string{topic}, o.Topics...)...)}, nil
	}
}

// answering returns a tool whose controller responds to every request with what
// the function makes of it.
func answering(t *testing.T, answer func(zeekapi.Message) zeekapi.Message) *clientcmd.Tool {
	t.Helper()
	return &clientcmd.Tool{Dial: inProcess(newController(t, answer))}
}

func marshal(t *testing.T, v any) broker.Value {
	t.Helper()
	out, err := record.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOddAnswers has what the recordings do not. The outputs are those that
// zeek-client gives, but for the texts in parentheses, where it prints
// addresses of Python objects or Python's words.
func TestOddAnswers(t *testing.T) {
	id := func(m zeekapi.Message) zeekapi.ReqID { return zeekapi.ReqID{ID: m.RequestID()} }
	outputs := marshal(t, zeekapi.NodeOutputs{Stdout: "a\"\\\x00\x7f\b\f\n\r\t\v", Stderr: "ü€😀"})
	worker := zeekapi.NodeStatus{Node: "w", State: zeekapi.StateCrashed, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
	tests := []struct {
		name   string
		args   string
		answer func(zeekapi.Message) zeekapi.Message
		want   outcome
	}{
		{
			name: "instances of all kinds", args: "get-instances",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetInstancesResponse{ReqID: id(m), Result: zeekapi.Result{Success: true, Data: marshal(t, []zeekapi.Instance{
					{Name: "b", Host: netip.MustParseAddr("0.0.0.0"), Port: broker.TCP(1)},
					{Name: "c", Host: netip.MustParseAddr("fd00::1")},
					{Name: "a", Host: netip.MustParseAddr("0.0.0.0")},
				})}}
			},
			want: outcome{stdout: "{\n  \"a\": {},\n  \"b\": {\n    \"host\": \"0.0.0.0\",\n    \"port\": 1\n  },\n  \"c\": {\n    \"host\": \"fd00::1\"\n  }\n}\n"},
		},
		{
			name: "no instances", args: "get-instances",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetInstancesResponse{ReqID: id(m), Result: zeekapi.Result{Success: true, Data: broker.Vector()}}
			},
			want: outcome{stdout: "{}\n"},
		},
		{
			name: "instances refused without a word", args: "get-instances",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetInstancesResponse{ReqID: id(m)}
			},
			want: outcome{stderr: "error: no reason given\n", exit: 1},
		},
		{
			name: "nodes with errors", args: "get-nodes --set client.pretty_json=no",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetNodesResponse{ReqID: id(m), Results: []zeekapi.Result{
					{Error: "request timed out"},
					{Success: true, Instance: "c"},
					{Success: true, Instance: "b", Data: marshal(t, []zeekapi.NodeStatus{worker})},
					{Instance: "a", Error: "broken"},
				}}
			},
			want: outcome{exit: 1, stdout: `{"errors": [{"error": "broken", "source": "a"}, {"error": "result does not contain node status data", "source": "c"}, ` +
				`{"error": "request timed out", "source": null}], "results": {"b": {"w": {"cluster_role": "WORKER", "mgmt_role": null, "state": "CRASHED"}}}}` + "\n"},
		},
		{
			name: "nodes that make no sense", args: "get-nodes --set client.pretty_json=no",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetNodesResponse{ReqID: id(m), Results: []zeekapi.Result{{Success: true, Instance: "a", Data: broker.Vector(broker.Vector(broker.String("x")))}}}
			},
			want: outcome{
				stdout: `{"errors": [], "results": {"a": {}}}` + "\n",
				stderr: "error: NodeStatus data invalid: client: result: record: [0]: want a record of 6 fields, got 1\n",
			},
		},
		{
			name: "nodes that make no sense, strictly", args: "get-nodes --strict-exit --set client.pretty_json=no -q",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetNodesResponse{ReqID: id(m), Results: []zeekapi.Result{{Success: true, Instance: "a", Data: broker.Count(1)}}}
			},
			want: outcome{stdout: `{"errors": [], "results": {"a": {}}}` + "\n", exit: 1},
		},
		{
			name: "values of all kinds", args: "get-id-value --set client.pretty_json=no x",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetIDValueResponse{ReqID: id(m), Results: []zeekapi.Result{
					{Success: true, Instance: "i", Node: "n1", Data: broker.String(`{"b":1.50,"a":[1e3,1E400,-0,-0.0,123456789012345678901234567890,1e16,1e-5,0.0001,5e-324]}`)},
					{Success: true, Instance: "i", Node: "n2", Data: broker.String(` "\u00e9\/\ud83d\ude00" `)},
					{Success: true, Instance: "i", Node: "n3", Data: broker.String(`null`)},
					{Success: true, Instance: "i", Node: "n4"},
					{Success: true, Instance: "i", Node: "n5", Data: broker.Count(1)},
					{Success: true, Instance: "i", Node: "n6", Data: broker.String(`{`)},
					{Success: true, Instance: "i", Data: broker.String(`1`)},
					{Instance: "i", Node: "n7"},
				}}
			},
			want: outcome{exit: 1, stdout: `{"errors": [{"error": "invalid result data type None", "source": "n4"}, ` +
				`{"error": "invalid result data type (want string, got count)", "source": "n5"}, ` +
				`{"error": "JSON decode error: (unexpected end of JSON input)", "source": "n6"}, ` +
				`{"error": "result lacking node: (1)"}, ` +
				`{"error": null, "source": "n7"}], ` +
				`"results": {"n1": {"a": [1000.0, Infinity, 0, -0.0, 123456789012345678901234567890, 1e+16, 1e-05, 0.0001, 5e-324], "b": 1.5}, "n2": "\u00e9/\ud83d\ude00", "n3": null}}` + "\n"},
		},
		{
			name: "restart that fails", args: "restart --set client.pretty_json=no",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.RestartResponse{ReqID: id(m), Results: []zeekapi.Result{
					{Instance: "i", Node: "b"}, {Success: true, Instance: "i", Node: "a"},
				}}
			},
			want: outcome{stdout: `{"errors": [], "results": {"a": true, "b": false}}` + "\n"},
		},
		{
			name: "restart that fails, strictly", args: "restart --strict-exit --set client.pretty_json=no",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.RestartResponse{ReqID: id(m), Results: []zeekapi.Result{{Instance: "i", Node: "b"}}}
			},
			want: outcome{stdout: `{"errors": [], "results": {"b": false}}` + "\n", exit: 1},
		},
		{
			name: "restart with time-outs", args: "restart --set client.pretty_json=no",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.RestartResponse{ReqID: id(m), Results: []zeekapi.Result{
					{Error: "request timed out"}, {Instance: "i", Error: "request timed out"},
				}}
			},
			want: outcome{exit: 1, stdout: `{"errors": [{"error": "result lacking node: (instance \"i\", success false, error \"request timed out\")"}, ` +
				`{"error": "request timed out", "source": null}], "results": {}}` + "\n"},
		},
		{
			name: "deploy with outputs", args: "deploy --set client.pretty_json=no -v",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.DeployResponse{ReqID: id(m), Results: []zeekapi.Result{
					{Instance: "i", Node: "a", Data: outputs, Error: "unseen"},
					{Instance: "i", Node: "b"},
					{Success: true, Instance: "j"},
					{Success: true},
				}}
			},
			want: outcome{
				exit: 1,
				stdout: `{"errors": [], "results": {"nodes": {"a": {"instance": "i", "stderr": "\u00fc\u20ac\ud83d\ude00", ` +
					`"stdout": "a\"\\\u0000\u007f\b\f\n\r\t\u000b", "success": false}, "b": {"instance": "i", "success": false}}}}` + "\n",
				stderr: "warning: skipping unexpected response (success true, error \"\", node \"\")\n",
			},
		},
		{
			name: "stage refused without a word", args: "stage-config --set client.pretty_json=no -",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.StageConfigurationResponse{ReqID: id(m), Results: []zeekapi.Result{{}, {Error: "x"}, {Success: true, Data: broker.String("ID")}}}
			},
			want: outcome{stdout: `{"errors": ["no reason given", "x"], "results": {"id": "ID"}}` + "\n", exit: 1},
		},
		{
			name: "configuration without data", args: "get-config",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetConfigurationResponse{ReqID: id(m), Result: zeekapi.Result{Success: true}}
			},
			want: outcome{stderr: "error: received result did not contain configuration data\n", exit: 1},
		},
		{
			name: "configuration whose names INI does not keep", args: "get-config -v",
			answer: func(m zeekapi.Message) zeekapi.Message {
				data, _ := record.Marshal(zeekapi.Configuration{ID: "x", Instances: []zeekapi.Instance{{Name: "Agent"}}})
				return zeekapi.GetConfigurationResponse{ReqID: id(m), Result: zeekapi.Result{Success: true, Data: data}}
			},
			want: outcome{
				stdout: "[instances]\nagent\n\n",
				stderr: "warning: instance \"Agent\" is \"agent\" in an INI file, where keys fold to lower case; --as-json keeps its name\n",
			},
		},
		{
			name: "timeout without a text", args: "test-timeout --with-state",
			answer: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.TestTimeoutResponse{ReqID: id(m), Result: zeekapi.Result{Success: true}}
			},
			want: outcome{stdout: "{\n  \"error\": null,\n  \"success\": true\n}\n"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			execute1(t, answering(t, test.answer), "", strings.Fields(test.args)...).want(t, test.want)
		})
	}
}

func TestConfigFiles(t *testing.T) {
	var staged zeekapi.Configuration
	tool := func(t *testing.T) *clientcmd.Tool {
		return answering(t, func(m zeekapi.Message) zeekapi.Message {
			r := m.(zeekapi.StageConfigurationRequest)
			staged = r.Config
			return zeekapi.StageConfigurationResponse{ReqID: r.ReqID, Results: []zeekapi.Result{{Success: true, Data: broker.String("ID")}}}
		})
	}
	const good = "{\n  \"errors\": [],\n  \"results\": {\n    \"id\": \"ID\"\n  }\n}\n"

	t.Run("standard input", func(t *testing.T) {
		execute1(t, tool(t), "[m]\nrole=manager\nstate=RUNNING\n", "stage-config", "-").want(t, outcome{stdout: good})
		if len(staged.Instances) != 1 || staged.Instances[0].Name != "agent-testhost" {
			t.Errorf("instances %v", staged.Instances)
		}
	})
	t.Run("warnings are for those who ask", func(t *testing.T) {
		execute1(t, tool(t), "[m]\nrole=manager\nstate=RUNNING\n", "-v", "stage-config", "-").want(t, outcome{stdout: good,
			stderr: "warning: ignoring node \"m\" state \"RUNNING\" in configuration (<stdin>:3)\nwarning: ignoring unexpected keys: state (<stdin>:3)\n"})
	})
	t.Run("all errors", func(t *testing.T) {
		execute1(t, tool(t), "[m]\nport = 0\n", "deploy-config", "-").want(t, outcome{exit: 1,
			stderr: "error: invalid node \"m\" configuration: node requires a role (<stdin>:1)\n" +
				"error: invalid node \"m\" configuration: port 0 outside valid range (<stdin>:2)\n" +
				"error: configuration has errors, not sending\n"})
	})
	for _, missing := range []string{"", "/nonexistent", "."} {
		t.Run("missing "+missing, func(t *testing.T) {
			execute1(t, tool(t), "", "stage-config", missing).want(t, outcome{exit: 1,
				stderr: "error: please provide a cluster configuration file.\n"})
		})
	}
}

func TestGetConfigToFile(t *testing.T) {
	config := zeekapi.Configuration{ID: "ID", Instances: []zeekapi.Instance{{Name: "a", Host: netip.IPv4Unspecified()}}}
	tool := answering(t, func(m zeekapi.Message) zeekapi.Message {
		r := m.(zeekapi.GetConfigurationRequest)
		if !r.Deployed {
			t.Error("asked for the staged configuration")
		}
		return zeekapi.GetConfigurationResponse{ReqID: r.ReqID, Result: zeekapi.Result{Success: true, Data: marshal(t, config)}}
	})
	file := filepath.Join(t.TempDir(), "out.cfg")
	execute1(t, tool, "", "get-config", "--deployed", "-f", file).want(t, outcome{})
	if got, err := os.ReadFile(file); err != nil || string(got) != "[instances]\na\n\n" {
		t.Errorf("file has %q, error %v", got, err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"stage-config"}, {"stage-config", "a", "b"}, {"get-id-value"}, {"get-nodes", "x"}, {"get-nodes", "--nonsense"},
		{"get-config", "--deployed", "--staged"}, {"get-nodes", "-q", "-v"}, {"nonsense"},
	} {
		got := execute1(t, new(clientcmd.Tool), "", args...)
		if got.exit != 2 || !strings.HasPrefix(got.stderr, "Error: ") {
			t.Errorf("%q: %+v, want exit code 2 and an error", args, got)
		}
	}
}

func TestServerComplains(t *testing.T) {
	complain := make(chan func(error), 1)
	controller := newController(t, func(zeekapi.Message) zeekapi.Message {
		(<-complain)(jsonv1.Error{Code: "deserialization_failed", Context: "failed to create Zeek event"})
		return nil
	})
	tool := &clientcmd.Tool{Dial: func(ctx context.Context, o connect.Options) (*connect.Connection, error) {
		complain <- o.OnError
		return inProcess(controller)(ctx, o)
	}}
	execute1(t, tool, "", "deploy").want(t, outcome{exit: 1,
		stderr: "error: no response received: server reports deserialization_failed: failed to create Zeek event\n"})
}

func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		controller := silent(t)
		tool := &clientcmd.Tool{Dial: inProcess(controller)}
		go func() {
			time.Sleep(30 * time.Second)
			broker.PublishEvent(context.Background(), controller, topic, broker.NewEvent("a::b", broker.String("c")))
			controller.Publish(context.Background(), topic, broker.Count(1))
			controller.Close()
		}()
		execute1(t, tool, "", "monitor").want(t, outcome{exit: 1,
			stdout: "no response received: websocket connection to 127.0.0.1:2149 timed out\nreceived \"a::b(\"c\")\"\nreceived \"1\"\n",
			stderr: "error: broker: closed\n"})
	})
}

const defaultSettings = `[client]
request_timeout_secs = 20
peering_attempts = 10
peering_retry_delay_secs = 1.0
rich_logging_format = False
pretty_json = True
verbosity = 0

[controller]
host = 127.0.0.1
port = 2149

[ssl]
enable = False
certificate = 
keyfile = 
cafile = 
capath = 
passphrase = 

`

func TestTrace(t *testing.T) {
	tool := answering(t, func(m zeekapi.Message) zeekapi.Message {
		return zeekapi.GetInstancesResponse{ReqID: zeekapi.ReqID{ID: m.RequestID()}, Result: zeekapi.Result{Success: true, Data: broker.Vector()}}
	})
	got := execute1(t, tool, "", "-vvvv", "get-instances")
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
