package clientcmd_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// TestUnusualResponses checks the output for responses that the recordings do not
// have. It is the same as that of zeek-client, except for the texts in parentheses,
// where zeek-client prints addresses of Python objects or errors of Python.
func TestUnusualResponses(t *testing.T) {
	id := func(m zeekapi.Message) zeekapi.ReqID { return zeekapi.ReqID{ID: m.RequestID()} }
	outputs := marshal(t, zeekapi.NodeOutputs{Stdout: "a\"\\\x00\x7f\b\f\n\r\t\v", Stderr: "ü€😀"})
	worker := zeekapi.NodeStatus{Node: "w", State: zeekapi.StateCrashed, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
	tests := []struct {
		name    string
		args    string
		respond func(zeekapi.Message) zeekapi.Message
		want    outcome
	}{
		{
			name: "instances with and without address and port", args: "get-instances",
			respond: func(m zeekapi.Message) zeekapi.Message {
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
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetInstancesResponse{ReqID: id(m), Result: zeekapi.Result{Success: true, Data: broker.Vector()}}
			},
			want: outcome{stdout: "{}\n"},
		},
		{
			name: "refusal of get-instances without error text", args: "get-instances",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetInstancesResponse{ReqID: id(m)}
			},
			want: outcome{stderr: "error: no reason given\n", exit: 1},
		},
		{
			name: "get-nodes with errors of instances", args: "get-nodes --set client.pretty_json=no",
			respond: func(m zeekapi.Message) zeekapi.Message {
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
			name: "invalid node data", args: "get-nodes --set client.pretty_json=no",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetNodesResponse{ReqID: id(m), Results: []zeekapi.Result{{Success: true, Instance: "a", Data: broker.Vector(broker.Vector(broker.String("x")))}}}
			},
			want: outcome{
				stdout: `{"errors": [], "results": {"a": {}}}` + "\n",
				stderr: "error: NodeStatus data invalid: client: result: record: [0]: want a record of 6 fields, got 1\n",
			},
		},
		{
			name: "invalid node data, strict", args: "get-nodes --strict-exit --set client.pretty_json=no -q",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetNodesResponse{ReqID: id(m), Results: []zeekapi.Result{{Success: true, Instance: "a", Data: broker.Count(1)}}}
			},
			want: outcome{stdout: `{"errors": [], "results": {"a": {}}}` + "\n", exit: 1},
		},
		{
			name: "values and errors of get-id-value", args: "get-id-value --set client.pretty_json=no x",
			respond: func(m zeekapi.Message) zeekapi.Message {
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
			name: "failed restart", args: "restart --set client.pretty_json=no",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.RestartResponse{ReqID: id(m), Results: []zeekapi.Result{
					{Instance: "i", Node: "b"}, {Success: true, Instance: "i", Node: "a"},
				}}
			},
			want: outcome{stdout: `{"errors": [], "results": {"a": true, "b": false}}` + "\n"},
		},
		{
			name: "failed restart, strict", args: "restart --strict-exit --set client.pretty_json=no",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.RestartResponse{ReqID: id(m), Results: []zeekapi.Result{{Instance: "i", Node: "b"}}}
			},
			want: outcome{stdout: `{"errors": [], "results": {"b": false}}` + "\n", exit: 1},
		},
		{
			name: "restart with timeouts", args: "restart --set client.pretty_json=no",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.RestartResponse{ReqID: id(m), Results: []zeekapi.Result{
					{Error: "request timed out"}, {Instance: "i", Error: "request timed out"},
				}}
			},
			want: outcome{exit: 1, stdout: `{"errors": [{"error": "result lacking node: (instance \"i\", success false, error \"request timed out\")"}, ` +
				`{"error": "request timed out", "source": null}], "results": {}}` + "\n"},
		},
		{
			name: "deploy with outputs", args: "deploy --set client.pretty_json=no -v",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.DeployResponse{ReqID: id(m), Results: []zeekapi.Result{
					{Instance: "i", Node: "a", Data: outputs, Error: "not shown"},
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
			name: "refusal of stage-config without error text", args: "stage-config --set client.pretty_json=no -",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.StageConfigurationResponse{ReqID: id(m), Results: []zeekapi.Result{{}, {Error: "x"}, {Success: true, Data: broker.String("ID")}}}
			},
			want: outcome{stdout: `{"errors": ["no reason given", "x"], "results": {"id": "ID"}}` + "\n", exit: 1},
		},
		{
			name: "configuration without data", args: "get-config",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.GetConfigurationResponse{ReqID: id(m), Result: zeekapi.Result{Success: true}}
			},
			want: outcome{stderr: "error: received result did not contain configuration data\n", exit: 1},
		},
		{
			name: "configuration with an instance name in upper case", args: "get-config -v",
			respond: func(m zeekapi.Message) zeekapi.Message {
				data, _ := record.Marshal(zeekapi.Configuration{ID: "x", Instances: []zeekapi.Instance{{Name: "Agent"}}})
				return zeekapi.GetConfigurationResponse{ReqID: id(m), Result: zeekapi.Result{Success: true, Data: data}}
			},
			want: outcome{
				stdout: "[instances]\nagent\n\n",
				stderr: "warning: instance \"Agent\" is \"agent\" in an INI file, where keys fold to lower case; --as-json keeps its name\n",
			},
		},
		{
			name: "configuration with a value that an INI file cannot have", args: "get-config",
			respond: func(m zeekapi.Message) zeekapi.Message {
				data, _ := record.Marshal(zeekapi.Configuration{ID: "x", Nodes: []zeekapi.Node{{Name: "n", Role: zeekapi.RoleWorker, Interface: "eth0 "}}})
				return zeekapi.GetConfigurationResponse{ReqID: id(m), Result: zeekapi.Result{Success: true, Data: data}}
			},
			want: outcome{
				stderr: "error: clusterfile: section \"n\": the value of interface, \"eth0 \", cannot be written to an INI file: " +
					"it would be read as \"eth0\"; --as-json prints it as JSON\n",
				exit: 1,
			},
		},
		{
			name: "test-timeout without error text", args: "test-timeout --with-state",
			respond: func(m zeekapi.Message) zeekapi.Message {
				return zeekapi.TestTimeoutResponse{ReqID: id(m), Result: zeekapi.Result{Success: true}}
			},
			want: outcome{stdout: "{\n  \"error\": null,\n  \"success\": true\n}\n"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			runCommand(t, respondingTool(t, test.respond), "", strings.Fields(test.args)...).want(t, test.want)
		})
	}
}
