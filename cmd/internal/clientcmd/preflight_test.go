package clientcmd_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// preflightCluster is a controller with connected agents, and the requests of
// clients that change something.
type preflightCluster struct {
	agents  []zeekapi.Instance
	status  zeekapi.Status
	bad     bool // the check finds problems
	changes []string
}

func (p *preflightCluster) respond(t *testing.T, m zeekapi.Message) zeekapi.Message {
	id := zeekapi.ReqID{ID: m.RequestID()}
	data := func(v any) zeekapi.Result { return zeekapi.Result{Success: true, Data: marshal(t, v)} }
	switch m := m.(type) {
	case zeekapi.GetInstancesRequest:
		return zeekapi.GetInstancesResponse{ReqID: id, Result: data(p.agents)}
	case zeekapi.EventsRequest:
		return zeekapi.EventsResponse{ReqID: id, Result: data([]zeekapi.ClusterEvent{})}
	case zeekapi.StatusRequest:
		return zeekapi.StatusResponse{ReqID: id, Result: data(p.status)}
	case zeekapi.HistoryRequest:
		return zeekapi.HistoryResponse{ReqID: id, Result: data([]zeekapi.Deployment{
			{Number: 4, Config: "now", Outcome: zeekapi.OutcomeDeployed}, {Number: 3, Config: "bad", Outcome: zeekapi.OutcomeFailed},
			{Number: 2, Config: "past", Outcome: zeekapi.OutcomeDeployed},
		})}
	case zeekapi.GetPastRequest:
		if m.Number != 2 {
			return zeekapi.GetPastResponse{ReqID: id, Result: zeekapi.Result{Error: "no such deployment"}}
		}
		return zeekapi.GetPastResponse{ReqID: id, Result: data(zeekapi.Configuration{ID: "past", Instances: []zeekapi.Instance{{Name: "local"}, {Name: "sensor"}}})}
	case zeekapi.RollbackRequest:
		p.changes = append(p.changes, fmt.Sprint("rolled back to ", m.Number)+optionsText(m.DeployOptions))
		return zeekapi.RollbackResponse{ReqID: id, Results: []zeekapi.Result{{Success: true, Data: broker.String("past")}}}
	case zeekapi.GetConfigurationRequest: // diff compares sites
		return zeekapi.GetConfigurationResponse{ReqID: id, Result: zeekapi.Result{Error: "none is deployed"}}
	case zeekapi.DryRunRequest:
		return zeekapi.DryRunResponse{ReqID: id, Results: []zeekapi.Result{data(zeekapi.Diff{To: "c"})}}
	case zeekapi.StageConfigurationRequest:
		p.changes = append(p.changes, "staged")
		return zeekapi.StageConfigurationResponse{ReqID: id, Results: []zeekapi.Result{{Success: true, Data: broker.String(m.Config.ID)}}}
	case zeekapi.CheckRequest:
		p.changes = append(p.changes, "checked "+m.Config.Nodes[0].Name)
		results := []zeekapi.Result{{Success: true, Data: broker.String("c")}}
		if p.bad {
			results = []zeekapi.Result{
				{Instance: "local", Node: "manager", Error: "bad", Data: marshal(t, zeekapi.NodeOutputs{Stderr: "Zeek's message"})},
				{Instance: "sensor", Error: "too slow"}, {Success: true, Instance: "other", Data: broker.String("its nodes are not checked")},
			}
		}
		return zeekapi.CheckResponse{ReqID: id, Results: results}
	case zeekapi.DeployRequest:
		p.changes = append(p.changes, "deployed")
		return zeekapi.DeployResponse{ReqID: id, Results: []zeekapi.Result{{Success: true, Data: broker.String("c")}}}
	case zeekapi.DeployStagedRequest:
		p.changes = append(p.changes, "deployed"+optionsText(m.DeployOptions))
		return zeekapi.DeployStagedResponse{ReqID: id, Results: []zeekapi.Result{{Success: true, Data: broker.String("c")}}}
	}
	t.Errorf("unexpected %T", m)
	return nil
}

func optionsText(o zeekapi.DeployOptions) (text string) {
	for option, set := range map[string]bool{" force": o.Force, " partial": o.Partial, " no-rollback": o.NoRollback} {
		if set {
			text += option
		}
	}
	return text
}

// TestPreflight checks that a deployment that cannot succeed is refused before
// anything is staged.
func TestPreflight(t *testing.T) {
	agent := func(name, host string) zeekapi.Instance {
		return zeekapi.Instance{Name: name, Host: netip.MustParseAddr(host)}
	}
	const cluster = `[manager]
instance = local
role = manager
[logger]
instance = local
role = logger
[proxy-1]
instance = local
role = proxy
[worker-1]
instance = sensor
role = worker
interface = eth0
`
	dialed := "[instances]\nlocal\nsensor = 10.0.0.2:2151\n" + cluster
	file := filepath.Join(t.TempDir(), "c.ini")
	const missing = "error: the agent of sensor is not connected; start it, or run \"zeekwire drain sensor\" to deploy without it\nerror: nothing was deployed\n"
	const loopback = "node \"manager\" and 2 more of instance \"local\" would be announced to \"sensor\" as 127.0.0.1, which does not lead there; " +
		"write \"local = ADDRESS:PORT\" under [instances], with an address and the port of that agent\n"
	for _, test := range []struct {
		name, command, text string
		agents              []zeekapi.Instance
		status              []zeekapi.InstanceStatus
		changes, stderr     string
		exit                int
	}{
		{
			name: "all well", command: "deploy-config", text: cluster,
			agents: []zeekapi.Instance{agent("local", "10.0.0.1"), agent("sensor", "10.0.0.2")}, changes: "staged deployed",
		},
		{
			name: "one machine", command: "deploy-config", text: cluster,
			agents: []zeekapi.Instance{agent("local", "127.0.0.1"), agent("sensor", "127.0.0.1")}, changes: "staged deployed",
		},
		{
			name: "an agent is away", command: "deploy-config", text: cluster,
			agents: []zeekapi.Instance{agent("local", "10.0.0.1")}, stderr: missing, exit: 1,
		},
		{
			name: "it is drained", command: "deploy-config", text: cluster,
			agents: []zeekapi.Instance{agent("local", "10.0.0.1")}, changes: "staged deployed",
			status: []zeekapi.InstanceStatus{{Instance: agent("sensor", "0.0.0.0"), Drained: true}},
		},
		{
			name: "the controller has not tried to connect", command: "deploy-config", text: dialed,
			agents: []zeekapi.Instance{agent("local", "10.0.0.1")}, changes: "staged deployed",
		},
		{
			name: "the controller has tried to connect", command: "deploy-config", text: dialed,
			agents: []zeekapi.Instance{agent("local", "10.0.0.1")}, stderr: missing, exit: 1,
			status: []zeekapi.InstanceStatus{{Wanted: true,
				Instance: zeekapi.Instance{Name: "sensor", Host: netip.MustParseAddr("10.0.0.2"), Port: broker.TCP(2151)}}},
		},
		{
			name: "staged before", command: "stage-config", text: cluster,
			agents: []zeekapi.Instance{agent("local", "10.0.0.1")}, changes: "staged",
		},
		{
			name: "loopback", command: "deploy-config", text: cluster,
			agents: []zeekapi.Instance{agent("local", "127.0.0.1"), agent("sensor", "10.0.0.2")},
			stderr: "error: " + loopback + "error: nothing was deployed\n", exit: 1,
		},
		{
			name: "loopback, diff", command: "diff", text: cluster,
			agents: []zeekapi.Instance{agent("local", "127.0.0.1"), agent("sensor", "10.0.0.2")},
			stderr: "warning: " + loopback,
		},
		{
			name: "loopback, force", command: "deploy-config --force", text: cluster,
			agents: []zeekapi.Instance{agent("local", "127.0.0.1"), agent("sensor", "10.0.0.2")},
			stderr: "warning: " + loopback, changes: "staged deployed force",
		},
		{
			name: "an agent is away, partial", command: "deploy-config --partial", text: cluster,
			agents: []zeekapi.Instance{agent("local", "10.0.0.1")}, changes: "staged deployed partial",
			stderr: "warning: the agent of sensor is not connected; its nodes are left out\n",
		},
		{
			name: "an agent is away, force", command: "deploy-config --force", text: cluster,
			agents: []zeekapi.Instance{agent("local", "10.0.0.1")}, changes: "staged deployed force",
			stderr: "warning: the agent of sensor is not connected; start it, or run \"zeekwire drain sensor\" to deploy without it\n",
		},
		{
			name: "no rollback", command: "deploy-config --no-rollback", text: cluster,
			agents: []zeekapi.Instance{agent("local", "10.0.0.1"), agent("sensor", "10.0.0.2")}, changes: "staged deployed no-rollback",
		},
		{
			name: "with an address", command: "deploy-config", text: "[instances]\nlocal = 10.0.0.1:2151\nsensor\n" + cluster,
			agents: []zeekapi.Instance{agent("local", "127.0.0.1"), agent("sensor", "10.0.0.2")}, changes: "staged deployed",
		},
		{
			name: "no nodes", command: "deploy-config", text: "[instances]\nlocal\n", exit: 1,
			stderr: "error: FILE has no nodes; if the cluster should end, use --teardown, or \"zeekwire teardown\"\n",
		},
		{
			name: "teardown by file", command: "deploy-config --teardown", text: "", changes: "staged deployed",
		},
		{
			name: "warnings", command: "deploy-config", text: "[m]\nrole = manager\n[l]\nrole = logger\n[w1]\nrole = worker\ninterface = eth0\n[w2]\nrole = worker\ninterface = eth0\n",
			agents: []zeekapi.Instance{agent("agent-testhost", "10.0.0.1")}, changes: "staged deployed",
			stderr: "warning: no node is a proxy; frameworks such as software, and scripts that use Cluster::proxy_pool, do nothing then (FILE)\n" +
				"warning: workers \"w1\" and \"w2\" of one instance both read all packets of eth0, so everything is logged twice; af_packet::eth0 shares them out (FILE:10)\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &preflightCluster{agents: test.agents, status: zeekapi.Status{Instances: test.status}}
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			tool := respondingTool(t, func(m zeekapi.Message) zeekapi.Message { return p.respond(t, m) })
			tool.Extended = true
			got := runCommand(t, tool, "", append(strings.Fields(test.command), file)...)
			stderr := strings.ReplaceAll(got.stderr, file, "FILE")
			// The controller of this test has no staged configuration to ask for.
			if changes := strings.Join(p.changes, " "); stderr != test.stderr || got.exit != test.exit || changes != test.changes {
				t.Errorf("exit code %d, changes %q, want %d, %q; standard error\n%s\nwant\n%s", got.exit, changes, test.exit, test.changes, stderr, test.stderr)
			}
		})
	}
}

// TestRollbackPreflight checks that a rollback is refused at once if an agent is not
// connected.
func TestRollbackPreflight(t *testing.T) {
	local := zeekapi.Instance{Name: "local", Host: netip.MustParseAddr("10.0.0.1")}
	sensor := zeekapi.Instance{Name: "sensor", Host: netip.MustParseAddr("10.0.0.2")}
	const missing = "the agent of sensor is not connected; start it, or run \"zeekwire drain sensor\" to deploy without it\n"
	for _, test := range []struct {
		name, command   string
		agents          []zeekapi.Instance
		changes, stderr string
		exit            int
	}{
		{name: "all well", command: "rollback", agents: []zeekapi.Instance{local, sensor}, changes: "rolled back to 0"},
		{name: "all well, by number", command: "rollback 2", agents: []zeekapi.Instance{local, sensor}, changes: "rolled back to 2"},
		{name: "unknown number", command: "rollback 9", agents: []zeekapi.Instance{local}, changes: "rolled back to 9"},
		{name: "an agent is away", command: "rollback", agents: []zeekapi.Instance{local}, stderr: "error: " + missing + "error: nothing was deployed\n", exit: 1},
		{name: "an agent is away, by number", command: "rollback 2", agents: []zeekapi.Instance{local}, stderr: "error: " + missing + "error: nothing was deployed\n", exit: 1},
		{name: "an agent is away, force", command: "rollback --force", agents: []zeekapi.Instance{local}, stderr: "warning: " + missing, changes: "rolled back to 0 force"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &preflightCluster{agents: test.agents, status: zeekapi.Status{Target: "now"}}
			tool := respondingTool(t, func(m zeekapi.Message) zeekapi.Message { return p.respond(t, m) })
			tool.Extended = true
			got := runCommand(t, tool, "", strings.Fields(test.command)...)
			if changes := strings.Join(p.changes, " "); got.stderr != test.stderr || got.exit != test.exit || changes != test.changes {
				t.Errorf("exit code %d, changes %q, want %d, %q; standard error\n%s\nwant\n%s", got.exit, changes, test.exit, test.changes, got.stderr, test.stderr)
			}
		})
	}
}

// TestCheck checks a configuration that is in a file.
func TestCheck(t *testing.T) {
	const cluster = "[instances]\nlocal\nsensor\n[manager]\ninstance = local\nrole = manager\n[logger]\ninstance = local\nrole = logger\n" +
		"[proxy]\ninstance = local\nrole = proxy\n[worker]\ninstance = sensor\nrole = worker\ninterface = eth0\n"
	for _, test := range []struct {
		name, host, want string
		bad              bool
		exit             int
	}{
		{name: "no problem", host: "10.0.0.1", want: "No problems found. Nothing was deployed.\n"},
		{
			name: "problems", host: "10.0.0.1", bad: true, exit: 1,
			want: "INSTANCE  NODE     RESULT\nlocal     manager  problem\nmanager (<stdin>:4):\n  bad\n  Zeek's message\nerror: too slow\n" +
				"other: its nodes are not checked\n2 problems found. Nothing was deployed.\n",
		},
		{
			name: "an address that leads nowhere", host: "127.0.0.1", exit: 1,
			want: "error: node \"manager\" and 2 more of instance \"local\" would be announced to \"sensor\" as 127.0.0.1, which does not lead there; " +
				"write \"local = ADDRESS:PORT\" under [instances], with an address and the port of that agent\n1 problem found. Nothing was deployed.\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &preflightCluster{bad: test.bad, agents: []zeekapi.Instance{
				{Name: "local", Host: netip.MustParseAddr(test.host)}, {Name: "sensor", Host: netip.MustParseAddr("10.0.0.2")},
			}}
			tool := respondingTool(t, func(m zeekapi.Message) zeekapi.Message { return p.respond(t, m) })
			tool.Extended = true
			runCommand(t, tool, cluster, "deploy-config", "-", "--check", "--json=false").want(t, outcome{test.want, "", test.exit})
			if len(p.changes) != 1 || !strings.HasPrefix(p.changes[0], "checked ") {
				t.Errorf("changes: %q", p.changes)
			}
		})
	}
}

// TestZeekClientDeploysEmptyFiles checks that the client stays as permissive as
// Zeek's when it is called zeek-client: scripts end clusters by empty files.
func TestZeekClientDeploysEmptyFiles(t *testing.T) {
	p := new(preflightCluster)
	tool := respondingTool(t, func(m zeekapi.Message) zeekapi.Message { return p.respond(t, m) })
	if got := runCommand(t, tool, "", "deploy-config", "-"); got.exit != 0 || got.stderr != "" || len(p.changes) != 2 {
		t.Errorf("exit code %d, changes %q, standard error %s", got.exit, p.changes, got.stderr)
	}
}

// TestServerError checks that an error of a WebSocket server ends a command at once.
func TestServerError(t *testing.T) {
	for _, member := range []string{"context", "message"} { // "message" in Zeek 7.2.0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer ws.Close()
			answer := `{"type":"ack","endpoint":"e","version":"v"}`
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
				if err := ws.WriteMessage(websocket.TextMessage, []byte(answer)); err != nil {
					return
				}
				answer = `{"type":"error","code":"serialization_failed","` + member + `":"event is not known here"}`
			}
		}))
		for _, extended := range []bool{false, true} {
			for _, command := range []string{"get-instances", "status", "deploy"} {
				if !extended && command == "status" {
					continue
				}
				got := runCommand(t, &clientcmd.Tool{Extended: extended}, "", command, "--controller", strings.TrimPrefix(server.URL, "http://"), "--transport", "websocket")
				got.want(t, outcome{stderr: "error: the server refused the request: serialization_failed: event is not known here\n", exit: 1})
			}
		}
		server.Close()
	}
}
