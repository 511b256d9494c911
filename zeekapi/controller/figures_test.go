package controller_test

import (
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// measuringBench returns a bench with three instances: the agent of a measures, that of b
// is Zeek's, and that of c is of an earlier version.
func measuringBench(t *testing.T) (*bench, map[string]broker.Peer) {
	t.Helper()
	b, peers := deployedBench(t, config("c1", "a", "b", "c"))
	for name, revision := range map[string]uint64{"a": 2, "c": 1} {
		b.do(controller.FromAgent{Peer: peers[name], Dialect: zeekapi.Operations, Message: hello(name)})
		b.agent(peers[name], zeekapi.AgentDescription{Instance: name, Revision: revision})
	}
	return b, peers
}

func succeeded(data any) zeekapi.Result {
	return zeekapi.Result{Success: true, Data: mustMarshal(data)}
}

func TestFigures(t *testing.T) {
	b, peers := measuringBench(t)
	node := func(name string) zeekapi.NodeDetail {
		return zeekapi.NodeDetail{Status: zeekapi.NodeStatus{
			Node: name, State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker,
		}}
	}
	full := node("wa")
	full.Interface, full.Threads = "eth0", 7
	full.Traffic = &zeekapi.Traffic{Measured: testStart.UTC(), Received: 5, Rates: &zeekapi.TrafficRates{Period: time.Second, Received: 2.5}}
	full.Connections = &zeekapi.Connections{Backend: "broker", Seen: 1, Expected: 2, Missing: []string{"wx"}}
	measured := zeekapi.InstanceFigures{
		Instance: "another name", Nodes: []zeekapi.NodeDetail{full},
		Interfaces:  []zeekapi.InterfaceTraffic{{Name: "eth0", Traffic: zeekapi.Traffic{Measured: testStart.UTC(), Received: 9}}},
		Directories: []zeekapi.DirectorySpace{{Purpose: "state", Path: "/s", Size: 1, FullIn: time.Hour}},
	}
	b.client(zeekapi.FiguresRequest{ReqID: reqID("r"), MaxAge: time.Second},
		"to a: AgentFiguresRequest #1", "to b: AgentStatusRequest #2", "to c: AgentStatusRequest #3")
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "b", Message: zeekapi.AgentStatusRequest{ReqID: reqID("#2")}}}, "to b: AgentGetNodesRequest #2")
	b.agent(peers["a"], zeekapi.AgentFiguresResponse{ReqID: reqID("#1"), Result: succeeded(measured)})
	b.agent(peers["b"], zeekapi.AgentGetNodesResponse{ReqID: reqID("#2"), Result: succeeded([]zeekapi.NodeStatus{node("wb").Status})})
	var got zeekapi.Figures
	b.answered(b.machine.Step(b.now, controller.FromAgent{Peer: peers["c"], Message: zeekapi.AgentStatusResponse{ReqID: reqID("#3"), Result: succeeded([]zeekapi.NodeDetail{node("wc")})}}), "r", &got)
	measured.Instance = "a"
	want(t, "figures", zeekapi.Figures{Instances: []zeekapi.InstanceFigures{
		measured,
		{Instance: "b", Note: "Zeek's own agent does not measure nodes and disks", Nodes: []zeekapi.NodeDetail{node("wb")}},
		{Instance: "c", Note: "the agent is of an earlier version, which does not measure nodes and disks", Nodes: []zeekapi.NodeDetail{node("wc")}},
	}}, got)
}

// The response says which agents did not answer, or answered nonsense.
func TestFiguresOfSilentAgents(t *testing.T) {
	b, peers := measuringBench(t)
	b.do(controller.PeerLost{Peer: peers["c"]})
	b.client(zeekapi.FiguresRequest{ReqID: reqID("r")}, "to a: AgentFiguresRequest #1", "to b: AgentStatusRequest #2")
	b.agent(peers["b"], zeekapi.AgentFiguresResponse{ReqID: reqID("#1"), Result: succeeded(zeekapi.InstanceFigures{})}) // in place of a
	b.agent(peers["a"], zeekapi.AgentFiguresResponse{ReqID: reqID("#1"), Result: succeeded("nonsense")})
	b.now, _ = b.machine.Deadline()
	var got zeekapi.Figures
	b.answered(b.machine.Step(b.now, controller.Tick{}), "r", &got)
	var errs []string
	for _, i := range got.Instances {
		errs = append(errs, i.Instance+": "+i.Error)
		want(t, "nodes of "+i.Instance, "w"+i.Instance+" UNKNOWN", i.Nodes[0].Status.Node+" "+string(i.Nodes[0].Status.State))
	}
	want(t, "errors", []string{"a: agent sent something else than measurements", "b: no answer when asked for measurements", "c: agent not connected"}, errs)
}

func TestTooManyFigures(t *testing.T) {
	b, peers := measuringBench(t)
	b.client(zeekapi.FiguresRequest{ReqID: reqID("r")}, "to a: AgentFiguresRequest #1", "to b: AgentStatusRequest #2", "to c: AgentStatusRequest #3")
	many := make([]zeekapi.NodeDetail, 5000)
	for i := range many {
		many[i].Status = zeekapi.NodeStatus{Node: "n", State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
	}
	b.agent(peers["a"], zeekapi.AgentFiguresResponse{ReqID: reqID("#1"), Result: succeeded(zeekapi.InstanceFigures{Nodes: many})})
	b.now, _ = b.machine.Deadline()
	var got zeekapi.Figures
	b.answered(b.machine.Step(b.now, controller.Tick{}), "r", &got)
	want(t, "error", "the answers of all agents are too large", got.Instances[0].Error)
}

func TestScripts(t *testing.T) {
	b, peers := measuringBench(t)
	loaded := zeekapi.NodeScripts{Scripts: []zeekapi.LoadedScript{{Path: "/local.zeek", Hash: "ab", Changed: true}}, Changes: []string{}, Omitted: 3}
	b.client(zeekapi.ScriptsRequest{ReqID: reqID("r"), Nodes: []string{"wa", "wb", "wc", "nix"}, All: true}, "to a: AgentScriptsRequest #1")
	good, bad := succeeded(loaded), succeeded("nonsense")
	good.Node, bad.Node = "wa", "wx"
	out := b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: zeekapi.AgentScriptsResponse{ReqID: reqID("#1"), Results: []zeekapi.Result{good, bad}}})
	var texts []string
	for _, r := range resultsOf(out[0].(controller.ToClients).Message) {
		texts = append(texts, r.Node+": "+r.Error)
	}
	want(t, "results", []string{
		"nix: unknown cluster node", "wb: not supported by the agent", "wc: not supported by the agent", "wa: ", "wx: agent sent something else than scripts",
	}, texts)
}

// A drained instance without an agent is no problem.
func TestFiguresOfDrainedInstance(t *testing.T) {
	b, peers := measuringBench(t)
	b.do(controller.PeerLost{Peer: peers["c"]})
	b.take(b.machine.Step(b.now, controller.FromClient{Message: zeekapi.DrainRequest{ReqID: reqID("drain"), Instance: "c", Drain: true}}))
	b.client(zeekapi.FiguresRequest{ReqID: reqID("r")}, "to a: AgentFiguresRequest #1", "to b: AgentStatusRequest #2")
	b.now, _ = b.machine.Deadline()
	var got zeekapi.Figures
	b.answered(b.machine.Step(b.now, controller.Tick{}), "r", &got)
	want(t, "c", zeekapi.InstanceFigures{Instance: "c", Note: "instance is drained"}, got.Instances[2])
}
