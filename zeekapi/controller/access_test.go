package controller_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

func certified(names ...string) *broker.Identity {
	return &broker.Identity{Names: names, Certified: true}
}

func withToken(name string) *broker.Identity { return &broker.Identity{Names: []string{name}} }

// roles maps the name of a client to its role.
type roles map[string]access.Role

func (r roles) Role(p broker.Peer) access.Role { return r[p.Name] }

func guarded(a controller.Access) controller.Config {
	return controller.Config{Access: map[broker.Bus]*controller.Access{nil: &a}}
}

func TestAccessRestrictsAgents(t *testing.T) {
	for _, tt := range []struct {
		name   string
		access controller.Access
		peer   *broker.Identity
		says   string // the instance name in the hello
		want   string // part of the log line, empty if the hello is accepted
	}{
		{"open", controller.Open, nil, "a", ""},
		{"no agents allowed", controller.Access{}, certified("a"), "a", `no agent called \"a\" is allowed here`},
		{"matches a pattern", controller.Access{Agents: []string{"b", "sensor-*"}}, nil, "sensor-1", ""},
		{"matches no pattern", controller.Access{Agents: []string{"b", "sensor-*"}}, nil, "sensor", `no agent called \"sensor\" is allowed here`},
		{"common name", controller.Access{Agents: []string{"*"}, Certified: true}, certified("a"), "a", ""},
		{"alternative name", controller.Access{Agents: []string{"*"}, Certified: true}, certified("host.example", "a"), "a", ""},
		{"certificate of a name that is not allowed", controller.Access{Agents: []string{"b"}, Certified: true}, certified("a"), "a", `no agent called \"a\"`},
		{"certificate of another name", controller.Access{Agents: []string{"*"}, Certified: true}, certified("b", "c"), "a",
			`the peer's certificate is for [\"b\" \"c\"], not for \"a\"`},
		{"certificate of the name in another case", controller.Access{Agents: []string{"*"}, Certified: true}, certified("A"), "a", `not for \"a\"`},
		{"certificate without a name", controller.Access{Agents: []string{"*"}, Certified: true}, certified(), "a", `not for \"a\"`},
		{"certificate of a prefix of the name", controller.Access{Agents: []string{"*"}, Certified: true}, certified("sensor-1"), "sensor-10", `not for \"sensor-10\"`},
		{"token instead of a certificate", controller.Access{Agents: []string{"*"}, Certified: true}, withToken("a"), "a", `the peer has no certificate`},
		{"no identity", controller.Access{Agents: []string{"*"}, Certified: true}, nil, "a", `the peer has no certificate`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.access.Clients = access.Everybody(access.Full)
			n := run(t, guarded(tt.access))
			agent := &party{n.hub.EndpointOf(tt.peer), t, modern}
			defer agent.Close()
			for range 3 { // agents repeat their hello
				agent.send(modern.Topics.Agent(tt.says), hello(tt.says))
			}
			want := `[["` + tt.says + `", 127.0.0.1, nil]]`
			if tt.want != "" {
				want = "[]"
			}
			n.client(modern).ask(getInstances("r"), "answer GetInstancesResponse r [T = "+want+"]")
			log := slices.DeleteFunc(n.log.take(), func(line string) bool { return line == "" })
			if tt.want == "" && len(log) > 0 || tt.want != "" && (len(log) != 1 || !strings.Contains(log[0], tt.want)) {
				t.Errorf("log is %q, want one line with %q", log, tt.want)
			}
		})
	}
}

// A peer without the certificate of an agent cannot act as that agent: its hello
// and its responses are ignored.
func TestAccessIgnoresImpostor(t *testing.T) {
	n := run(t, guarded(controller.Access{
		Agents: []string{"*"}, Certified: true, Clients: access.Everybody(access.Full),
	}))
	agent := &party{n.hub.EndpointOf(certified("a"), modern.Topics.Agent("a")), t, modern}
	defer agent.Close()
	agent.send(modern.Topics.Agent("a"), hello("a"))
	client := n.client(modern)
	client.send(modern.Topics.Controller, getNodes("r1"))
	request, _ := agent.receive()

	impostor := &party{n.hub.EndpointOf(certified("b")), t, modern}
	defer impostor.Close()
	forged := zeekapi.AgentGetNodesResponse{
		ReqID:  zeekapi.ReqID{ID: request.RequestID()},
		Result: zeekapi.Failure(request.RequestID(), "forged"),
	}
	impostor.send(modern.Topics.Agent("a"), hello("a"))
	impostor.send(modern.Topics.Agent("a"), forged)
	impostor.send(modern.Topics.Agent("b"), hello("b"))
	impostor.send(modern.Topics.Agent("b"), zeekapi.AgentError{Instance: "a", Text: "forged"})
	client.ask(getInstances("r2"), `answer GetInstancesResponse r2 [T = [["a", 127.0.0.1, nil], ["b", 127.0.0.1, nil]]]`)

	agent.send(modern.Topics.Agent("a"), answerTo(controller.ToAgent{Instance: "a", Message: request}))
	for {
		answer, ok := client.receive()
		if !ok {
			t.Fatal("no response")
		}
		if answer.RequestID() == "r1" {
			if got := describe(controller.ToClients{Message: answer}); got != "answer GetNodesResponse r1 [T a = []]" {
				t.Errorf("got %s, want the response of the real agent", got)
			}
			return
		}
	}
}

// The number of log lines about refused or invalid messages of a peer is limited.
func TestAccessLimitsLogLines(t *testing.T) {
	n := run(t, guarded(controller.Access{Clients: access.Everybody(access.Full)}))
	agent := n.party(modern)
	defer agent.Close()
	for i := range 20 {
		name := strconv.Itoa(i)
		agent.send(modern.Topics.Agent(name), hello(name))
	}
	for range 20 {
		agent.publish(modern.Topics.Controller, broker.String("no event"))
	}
	n.client(modern).ask(getInstances("r"), "answer GetInstancesResponse r [T = []]")
	if log := n.log.take(); len(log) != 32 {
		t.Errorf("log has %d lines, want 32: %q", len(log), log)
	}
}

// requests returns one request of each type that clients can send.
func requests(id string) []zeekapi.Message {
	r := zeekapi.ReqID{ID: id}
	return []zeekapi.Message{
		zeekapi.GetInstancesRequest{ReqID: r},
		zeekapi.StageConfigurationRequest{ReqID: r, Config: config("c1")},
		zeekapi.GetConfigurationRequest{ReqID: r},
		zeekapi.DeployRequest{ReqID: r},
		zeekapi.SetConfigurationRequest{ReqID: r, Config: config("c1")},
		zeekapi.GetNodesRequest{ReqID: r},
		zeekapi.GetIDValueRequest{ReqID: r},
		zeekapi.RestartRequest{ReqID: r},
		zeekapi.TestTimeoutRequest{ReqID: r},
		zeekapi.StatusRequest{ReqID: r},
		zeekapi.AlertsRequest{ReqID: r},
		zeekapi.TestAlertsRequest{ReqID: r},
		zeekapi.DryRunRequest{ReqID: r, Config: config("c1")},
		zeekapi.DeployStagedRequest{ReqID: r, DeployOptions: zeekapi.DeployOptions{Force: true}},
		zeekapi.CheckRequest{ReqID: r},
		zeekapi.UploadSiteRequest{ReqID: r},
		zeekapi.DownloadSiteRequest{ReqID: r},
		zeekapi.HistoryRequest{ReqID: r},
		zeekapi.GetPastRequest{ReqID: r},
		zeekapi.RollbackRequest{ReqID: r},
		zeekapi.StopRequest{}, zeekapi.DrainRequest{ReqID: r},
		zeekapi.RollingRestartRequest{ReqID: r},
		zeekapi.CancelJobRequest{ReqID: r},
		zeekapi.StopRequest{ReqID: r, All: true, Stop: true},
		zeekapi.EventsRequest{ReqID: r},
		zeekapi.StepDownRequest{ReqID: r},
		zeekapi.ControllersRequest{ReqID: r},
		zeekapi.LogsRequest{ReqID: r},
		zeekapi.FiguresRequest{ReqID: r},
		zeekapi.ScriptsRequest{ReqID: r},
		zeekapi.DiagnoseRequest{ReqID: r},
		zeekapi.CleanupRequest{ReqID: r},
	}
}

// In every dialect, a request that the client has no permission for is refused in
// the response to it, and has no effect.
func TestAccessRefusesClientRequests(t *testing.T) {
	every := append(slices.Clone(dialects), operations.Dialect(operations.DefaultTopics))
	sent := make(map[string]bool) // names of request events
	cfg := guarded(controller.Access{Clients: roles{"reader": access.ReadOnly, "admin": access.Full}})
	cfg.Dialects = every
	n := run(t, cfg)
	for _, client := range []struct {
		name string
		id   *broker.Identity
		may  access.Role
		want string
	}{
		{"reader", withToken("reader"), access.ReadOnly, "controller: client 'reader' may only read"},
		{"stranger", certified("stranger"), access.None, "controller: client 'stranger' may not ask anything"},
	} {
		for _, d := range every {
			p := &party{n.hub.EndpointOf(client.id, d.Topics.Controller), t, d}
			for i, msg := range requests(client.name) {
				if !d.Has(msg) {
					continue
				}
				ev, err := d.Encode(msg)
				if err != nil {
					t.Fatal(err)
				}
				sent[ev.Name] = true
				if request := zeekapi.ClientRequest(msg); request != nil && client.may == access.ReadOnly && request.Effect == zeekapi.Reads {
					continue
				}
				p.publish(d.Topics.Controller, ev.Value())
				got, _ := p.receive()
				if diff := cmp.Diff(zeekapi.RequestOf(msg).Refuse(msg.RequestID(), client.want), got, cmp.Comparer(broker.Equal)); diff != "" {
					t.Errorf("request %d of %s, %s: response (-want +got)\n%s", i, client.name, ev.Name, diff)
				}
			}
			p.Close()
		}
	}
	for _, d := range every {
		for _, decl := range d.Declarations() {
			if decl.API == zeekapi.ControllerAPI && strings.HasSuffix(decl.Event, "_request") && !sent[decl.Event] {
				t.Errorf("this test does not send %s", decl.Event)
			}
		}
	}
	reader := &party{n.hub.EndpointOf(withToken("reader"), modern.Topics.Controller), t, modern}
	defer reader.Close()
	reader.ask(zeekapi.GetConfigurationRequest{ReqID: zeekapi.ReqID{ID: "r1"}},
		"answer GetConfigurationResponse r1 [F no staged configuration available]")
	admin := &party{n.hub.EndpointOf(withToken("admin"), modern.Topics.Controller), t, modern}
	defer admin.Close()
	admin.ask(stage("r2", config("c1")), "answer StageConfigurationResponse r2 [T = c1]")
}

// Run rejects invalid access rules.
func TestRunRejectsInvalidAccess(t *testing.T) {
	bus := membus.New().Endpoint()
	defer bus.Close()
	cfg := controller.Config{
		Buses: []broker.Bus{bus}, Dialects: dialects,
		Access: map[broker.Bus]*controller.Access{bus: {Agents: []string{"["}}},
	}
	if err := controller.Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), `"["`) {
		t.Errorf("Run: %v", err)
	}
}
