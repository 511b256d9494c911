package metrics

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// expect compares the metrics with the given names. The expected metrics are in
// Prometheus' text format, without comments.
func expect(t *testing.T, g prometheus.Gatherer, want string, names ...string) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families { // the comments, which contain the type
		b.WriteString("# HELP " + f.GetName() + " " + f.GetHelp() + "\n# TYPE " + f.GetName() + " " + strings.ToLower(f.GetType().String()) + "\n")
		for line := range strings.Lines(want) {
			line = strings.TrimSpace(line)
			if rest, ok := strings.CutPrefix(line, f.GetName()); ok && (rest[0] == '{' || rest[0] == ' ') {
				b.WriteString(line + "\n")
			}
		}
	}
	if err := testutil.GatherAndCompare(g, strings.NewReader(b.String()), names...); err != nil {
		t.Error(err)
	}
}

// The packets of an instance are those of its nodes with an interface, until its agent is lost.
func TestPacketsOfInstances(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	c := NewController(r)
	one, two := broker.Peer{ID: uuid.New()}, broker.Peer{ID: uuid.New()}
	status := zeekapi.NodeStatus{Node: "n", State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
	reader := func(device string, received, dropped float64) zeekapi.NodeDetail {
		return zeekapi.NodeDetail{Status: status, Interface: device, Traffic: &zeekapi.Traffic{Rates: &zeekapi.TrafficRates{Period: time.Second, Received: received, Dropped: dropped}}}
	}
	report := func(p broker.Peer, instance string, nodes ...zeekapi.NodeDetail) {
		data, err := record.Marshal(nodes)
		if err != nil {
			t.Fatal(err)
		}
		msg := zeekapi.AgentStatusResponse{Result: zeekapi.Result{Success: true, Data: data}}
		c.Observe(controller.Snapshot{Speaker: instance}, controller.FromAgent{Peer: p, Message: msg}, nil)
	}
	names := []string{"zeekwire_cluster_packets_per_second", "zeekwire_cluster_dropped_packets_per_second"}
	report(one, "one", reader("eth0", 100, 1), reader("eth1", 50, 0), reader("", 7, 7), zeekapi.NodeDetail{Status: status, Interface: "eth2"})
	report(two, "two", reader("eth0", 3, 2))
	report(two, "", reader("eth0", 1000, 1000)) // not accepted as an agent
	const both = `
		zeekwire_cluster_packets_per_second{instance="one"} 150
		zeekwire_cluster_packets_per_second{instance="two"} 3
		zeekwire_cluster_dropped_packets_per_second{instance="one"} 1
		zeekwire_cluster_dropped_packets_per_second{instance="two"} 2
	`
	expect(t, r, both, names...)
	c.Observe(controller.Snapshot{}, controller.PeerLost{Peer: one}, nil)
	report(two, "two", zeekapi.NodeDetail{Status: status, Interface: "eth0"}) // without a second measurement
	expect(t, r, "", names...)
}

func reqID(id string) zeekapi.ReqID { return zeekapi.ReqID{ID: id} }

func TestController(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	client, one, two := broker.Peer{ID: uuid.New()}, broker.Peer{ID: uuid.New()}, broker.Peer{ID: uuid.New()}
	c := NewController(r)
	now := time.Unix(0, 0)
	c.now = func() time.Time { return now }
	snapshot := controller.Snapshot{Agents: 1, Refused: 3, Pending: 2, Storage: "no space left on device"}
	observe := func(in controller.Input, out ...controller.Output) { c.Observe(snapshot, in, out) }
	answer := func(msg zeekapi.Message) controller.Output { return controller.ToClients{Message: msg} }

	observe(controller.FromAgent{Peer: one, Message: zeekapi.AgentHello{Instance: "one"}})
	observe(controller.FromAgent{Peer: one, Message: zeekapi.AgentHello{Instance: "one"}})
	observe(controller.FromAgent{Peer: two, Message: zeekapi.AgentHello{Instance: "two"}})
	observe(controller.FromAgent{Peer: two, Message: zeekapi.AgentError{Instance: "two"}})
	observe(controller.PeerLost{Peer: two})
	observe(controller.PeerLost{Peer: client})
	observe(controller.AgentRefused{})

	observe(controller.FromClient{Peer: client, Message: zeekapi.GetInstancesRequest{ReqID: reqID("a")}},
		answer(zeekapi.GetInstancesResponse{ReqID: reqID("a"), Result: zeekapi.Result{Success: true}}))
	observe(controller.FromClient{Peer: client, Message: zeekapi.DeployRequest{ReqID: reqID("b")}})
	now = now.Add(2 * time.Second)
	observe(controller.Tick{},
		controller.SaveDeployment{Past: controller.Past{Deployment: zeekapi.Deployment{Outcome: zeekapi.OutcomePending}}},
		controller.SaveDeployment{Past: controller.Past{Deployment: zeekapi.Deployment{Outcome: zeekapi.OutcomeTimeout}}},
		answer(zeekapi.DeployResponse{ReqID: reqID("b"), Results: []zeekapi.Result{{Success: true}, {}}}))
	observe(controller.FromClient{Peer: client, Message: zeekapi.RestartRequest{ReqID: reqID("d")}})
	observe(controller.FromClient{Peer: client, Message: zeekapi.TestTimeoutRequest{ReqID: reqID("never answered")}})
	expect(t, r, `
		zeekwire_controller_requests_pending 2
		zeekwire_controller_requests_total{request="deploy",result="error"} 1
		zeekwire_controller_requests_total{request="get_instances",result="ok"} 1
		zeekwire_controller_agents 1
		zeekwire_controller_storage_failed 1
		zeekwire_controller_agent_rivals 3
		zeekwire_controller_agent_hellos_total 2
		zeekwire_controller_agents_refused_total 1
		zeekwire_controller_agent_errors_total 1
		zeekwire_controller_deployments_total{outcome="deployed"} 0
		zeekwire_controller_deployments_total{outcome="failed"} 0
		zeekwire_controller_deployments_total{outcome="lost"} 0
		zeekwire_controller_deployments_total{outcome="superseded"} 0
		zeekwire_controller_deployments_total{outcome="timeout"} 1`,
		"zeekwire_controller_requests_pending", "zeekwire_controller_requests_total", "zeekwire_controller_agents", "zeekwire_controller_storage_failed",
		"zeekwire_controller_agent_rivals",
		"zeekwire_controller_agent_hellos_total", "zeekwire_controller_agents_refused_total",
		"zeekwire_controller_agent_errors_total", "zeekwire_controller_deployments_total")

	now = now.Add(forgetAfter + time.Second)
	snapshot = controller.Snapshot{}
	observe(controller.Tick{})
	expect(t, r, "zeekwire_controller_requests_pending 0", "zeekwire_controller_requests_pending")
	expect(t, r, "zeekwire_controller_storage_failed 0", "zeekwire_controller_storage_failed")
	if n := len(c.begun); n != 0 {
		t.Errorf("%d requests without a response are still timed", n)
	}
}

// A peer may claim to be the agent of any instance, even of one whose name is
// not valid UTF-8. That must neither create metrics nor stop the controller.
func TestControllerHostilePeers(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	c := NewController(r)
	for _, name := range []string{"one", "two", "\xff"} {
		c.Observe(controller.Snapshot{}, controller.FromAgent{Peer: broker.Peer{ID: uuid.New()}, Message: zeekapi.AgentError{Instance: name}}, nil)
	}
	c.Observe(controller.Snapshot{}, controller.FromClient{Message: zeekapi.TestTimeoutRequest{ReqID: reqID(strings.Repeat("x", 1<<20))}}, nil)
	expect(t, r, `
		zeekwire_controller_agent_errors_total 3
		zeekwire_controller_requests_pending 0`, "zeekwire_controller_agent_errors_total", "zeekwire_controller_requests_pending")
}

func TestAgent(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	a := NewAgent(r)
	m, err := agent.NewMachine(agent.Settings{Name: "i"}, agent.State{})
	if err != nil {
		t.Fatal(err)
	}
	observe := func(in agent.Input, out ...agent.Output) { a.Observe(m, in, out) }
	for _, msg := range []zeekapi.Message{
		zeekapi.AgentDeployRequest{}, zeekapi.AgentGetNodesRequest{}, zeekapi.AgentDispatchRequest{}, zeekapi.AgentWelcomeRequest{},
		zeekapi.AgentStandbyRequest{}, zeekapi.AgentRestartRequest{}, zeekapi.AgentStatusRequest{}, zeekapi.AgentLogsRequest{},
		zeekapi.NodeHello{},
	} {
		observe(agent.Received{Message: msg})
	}
	observe(agent.Launched{Event: launch.Started{Node: "w"}})
	observe(agent.Launched{Event: launch.Exited{Node: "w", Err: errors.New("died")}}, agent.Publish{Message: zeekapi.AgentError{}})
	a.setNodes([]zeekapi.NodeDetail{
		{Status: zeekapi.NodeStatus{Node: "m", State: zeekapi.StateRunning}, CPU: 1.5, Memory: 1000},
		{Status: zeekapi.NodeStatus{Node: "w", State: zeekapi.StateCrashed}, Restarts: 2},
		{Status: zeekapi.NodeStatus{Node: "w\xff", State: zeekapi.StateCrashed}, CPU: 1, Memory: 1},
	})
	expect(t, r, `
		zeekwire_agent_storage_failed 0
		zeekwire_agent_nodes{state="crashed"} 2
		zeekwire_agent_nodes{state="failed"} 0
		zeekwire_agent_nodes{state="pending"} 0
		zeekwire_agent_nodes{state="running"} 1
		zeekwire_agent_nodes{state="stopped"} 0
		zeekwire_agent_nodes{state="unknown"} 0
		zeekwire_agent_problems{kind="archive"} 0
		zeekwire_agent_problems{kind="disk"} 0
		zeekwire_agent_problems{kind="hung"} 0
		zeekwire_agent_problems{kind="traffic"} 0
		zeekwire_agent_node_scripts_changed{node="m"} 0
		zeekwire_agent_node_scripts_changed{node="w"} 0
		zeekwire_agent_node_scripts_changed{node="w�"} 0
		zeekwire_agent_node_cpu{node="m"} 1.5
		zeekwire_agent_node_cpu{node="w�"} 1
		zeekwire_agent_node_memory_bytes{node="m"} 1000
		zeekwire_agent_node_memory_bytes{node="w�"} 1
		zeekwire_agent_node_restarts{node="m"} 0
		zeekwire_agent_node_restarts{node="w"} 2
		zeekwire_agent_node_restarts{node="w�"} 0
		zeekwire_agent_node_starts_total 1
		zeekwire_agent_node_exits_total{result="error"} 1
		zeekwire_agent_node_exits_total{result="ok"} 0
		zeekwire_agent_errors_total 1
		zeekwire_agent_requests_pending 0
		zeekwire_agent_requests_total{request="agent_standby"} 1
		zeekwire_agent_requests_total{request="agent_welcome"} 1
		zeekwire_agent_requests_total{request="deploy"} 1
		zeekwire_agent_requests_total{request="get_nodes"} 1
		zeekwire_agent_requests_total{request="logs"} 1
		zeekwire_agent_requests_total{request="node_dispatch"} 1
		zeekwire_agent_requests_total{request="restart"} 1
		zeekwire_agent_requests_total{request="status"} 1`)
	if n := a.Nodes(zeekapi.StateRunning); n != 1 {
		t.Errorf("%d nodes are running", n)
	}
	a.setNodes(nil)
	expect(t, r, "", "zeekwire_agent_node_cpu", "zeekwire_agent_node_restarts")
}

func TestCluster(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	c := NewCluster(r)
	expect(t, r, "zeekwire_cluster_status_up 0")
	c.Observe(controller.Snapshot{
		Instances: map[controller.InstanceState]int{controller.InstanceReady: 3, controller.InstanceMissing: 1, controller.InstanceUnwanted: 2},
		Nodes:     map[zeekapi.State]int{zeekapi.StateRunning: 4, zeekapi.StateFailed: 1},
	})
	expect(t, r, `
		zeekwire_cluster_status_up 1
		zeekwire_cluster_instances{state="connected"} 0
		zeekwire_cluster_instances{state="drained"} 0
		zeekwire_cluster_instances{state="missing"} 1
		zeekwire_cluster_instances{state="ready"} 3
		zeekwire_cluster_instances{state="unwanted"} 2
		zeekwire_cluster_nodes{state="crashed"} 0
		zeekwire_cluster_nodes{state="failed"} 1
		zeekwire_cluster_nodes{state="pending"} 0
		zeekwire_cluster_nodes{state="running"} 4
		zeekwire_cluster_nodes{state="stopped"} 0
		zeekwire_cluster_nodes{state="unknown"} 0`)
}

func TestTransports(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	transports := NewTransports(r)
	native := transports.Transport("native")
	transports.Watch("native", func() (peers, queued int) { return 3, 7 })
	transports.WatchAdmission("native", func() admission.Stats {
		return admission.Stats{Arriving: 8, Anonymous: 9, Known: 10, Evicted: 11, Refused: 12}
	})
	var p broker.Peer
	native.PeerAdded(p)
	native.PeerLost(p, nil)
	native.Sent(p, 2, 100)
	native.Received(p, 3, 200)
	native.DroppedSending(p, 4)
	native.DroppedReceived(p, 5)
	expect(t, r, `
		zeekwire_peerings_total{transport="native"} 1
		zeekwire_peerings_lost_total{transport="native"} 1
		zeekwire_messages_total{direction="sent",transport="native"} 2
		zeekwire_messages_total{direction="received",transport="native"} 3
		zeekwire_message_bytes_total{direction="sent",transport="native"} 100
		zeekwire_message_bytes_total{direction="received",transport="native"} 200
		zeekwire_messages_dropped_total{direction="sent",transport="native"} 4
		zeekwire_messages_dropped_total{direction="received",transport="native"} 5
		zeekwire_peers{transport="native"} 3
		zeekwire_send_queue_messages{transport="native"} 7
		zeekwire_connections{stage="anonymous",transport="native"} 9
		zeekwire_connections{stage="arriving",transport="native"} 8
		zeekwire_connections{stage="known",transport="native"} 10
		zeekwire_connections_evicted_total{transport="native"} 11
		zeekwire_connections_refused_total{transport="native"} 12`)
}

func TestRegistry(t *testing.T) {
	families, err := Registry("agent", "v1").Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, f := range families {
		names[f.GetName()] = true
	}
	if !names["zeekwire_build_info"] || !names["go_goroutines"] {
		t.Errorf("the registry contains %v", names)
	}
}

func TestAgentMeasurements(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	a := NewAgent(r)
	traffic := zeekapi.Traffic{Received: 100, Dropped: 7, Link: 110, Bytes: 5000}
	node := func(name, device string) zeekapi.NodeDetail {
		return zeekapi.NodeDetail{
			Status: zeekapi.NodeStatus{Node: name, State: zeekapi.StateRunning}, Interface: device, Traffic: &traffic,
			Threads: 9, Started: time.Unix(1000, 0), Edited: []string{"a", "b"},
			Connections: &zeekapi.Connections{Missing: []string{"x"}, More: 2},
		}
	}
	a.setNodes([]zeekapi.NodeDetail{node("w", "eth0"), node("w", "eth0"), node("m", ""), {Status: zeekapi.NodeStatus{Node: "x\xff", State: zeekapi.StateCrashed}}})
	a.interfaces.set([]zeekapi.InterfaceTraffic{{Name: "eth0", Traffic: traffic}})
	a.directories.set([]zeekapi.DirectorySpace{
		{Purpose: "state", Size: 1000, Free: 400, Growth: 2, Period: time.Hour, FullIn: 200 * time.Second},
		{Purpose: "spool", Size: 1000, Free: 400},
		{Purpose: "archive", Error: "not there"},
	})
	expect(t, r, `
		zeekwire_agent_node_packets_received_total{node="w"} 100
		zeekwire_agent_node_packets_dropped_total{node="w"} 7
		zeekwire_agent_node_packets_link_total{node="w"} 110
		zeekwire_agent_node_bytes_received_total{node="w"} 5000
		zeekwire_agent_node_threads{node="w"} 9
		zeekwire_agent_node_threads{node="m"} 9
		zeekwire_agent_node_start_time_seconds{node="w"} 1000
		zeekwire_agent_node_start_time_seconds{node="m"} 1000
		zeekwire_agent_node_peers_missing{node="w"} 3
		zeekwire_agent_node_peers_missing{node="m"} 3
		zeekwire_agent_node_scripts_changed{node="w"} 2
		zeekwire_agent_node_scripts_changed{node="m"} 2
		zeekwire_agent_node_scripts_changed{node="x�"} 0
		zeekwire_agent_interface_packets_received_total{interface="eth0"} 100
		zeekwire_agent_interface_packets_dropped_total{interface="eth0"} 7
		zeekwire_agent_directory_size_bytes{directory="state"} 1000
		zeekwire_agent_directory_size_bytes{directory="spool"} 1000
		zeekwire_agent_directory_free_bytes{directory="state"} 400
		zeekwire_agent_directory_free_bytes{directory="spool"} 400
		zeekwire_agent_directory_growth_bytes_per_second{directory="state"} 2
		zeekwire_agent_directory_full_seconds{directory="state"} 200`,
		"zeekwire_agent_node_packets_received_total", "zeekwire_agent_node_packets_dropped_total", "zeekwire_agent_node_packets_link_total",
		"zeekwire_agent_node_bytes_received_total", "zeekwire_agent_node_threads", "zeekwire_agent_node_open_files", "zeekwire_agent_node_start_time_seconds",
		"zeekwire_agent_node_peers_missing", "zeekwire_agent_node_scripts_changed",
		"zeekwire_agent_interface_packets_received_total", "zeekwire_agent_interface_packets_dropped_total",
		"zeekwire_agent_directory_size_bytes", "zeekwire_agent_directory_free_bytes",
		"zeekwire_agent_directory_growth_bytes_per_second", "zeekwire_agent_directory_full_seconds")
}

func TestControllerSpace(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	NewController(r).Observe(controller.Snapshot{Directories: []zeekapi.DirectorySpace{{Purpose: "state", Size: 9, Free: 3, Period: 1}}}, controller.Tick{}, nil)
	expect(t, r, `
		zeekwire_controller_directory_size_bytes{directory="state"} 9
		zeekwire_controller_directory_full_seconds{directory="state"} +Inf`,
		"zeekwire_controller_directory_size_bytes", "zeekwire_controller_directory_full_seconds")
}
