package controller_test

import (
	"strconv"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func TestLogs(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	logs := func(id, node string) zeekapi.Message {
		return zeekapi.LogsRequest{ReqID: reqID(id), Node: node, Bytes: 7}
	}
	b.client(logs("r1", "x"), "answer LogsResponse r1 [F x unknown cluster node]")
	b.client(logs("r2", "wa"), "to a: AgentLogsRequest #1")
	b.agent(peers["a"], zeekapi.AgentLogsResponse{ReqID: reqID("#1"), Result: zeekapi.Result{Success: true, Node: "wa", Data: mustMarshal(zeekapi.NodeOutputs{Stdout: "out"})}},
		`answer LogsResponse r2 [T a wa = ["out", ""]]`)
	b.client(logs("r3", "wa"), "to a: AgentLogsRequest #2")
	b.agent(peers["a"], zeekapi.AgentLogsResponse{ReqID: reqID("#2"), Result: zeekapi.Result{Success: true, Data: broker.Count(1)}},
		"answer LogsResponse r3 [F a wa agent sent something else than the output of a node]")
	b.client(logs("r4", "wb"), "to b: AgentLogsRequest #3")
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "b", Message: zeekapi.AgentLogsRequest{ReqID: reqID("#3")}}},
		"answer LogsResponse r4 [F wb not supported by the agent]")

	// A drained instance has no nodes, but still has their output files.
	wrote := zeekapi.Result{Success: true, Node: "wb", Data: mustMarshal(zeekapi.NodeLogs{
		NodeOutputs: zeekapi.NodeOutputs{Stdout: "out"}, Remark: "gone",
	})}
	b.client(logs("r6", "wb"), "to b: AgentLogsRequest #4")
	b.agent(peers["b"], zeekapi.AgentLogsResponse{ReqID: reqID("#4"), Result: wrote}, `answer LogsResponse r6 [T b wb = ["out", "", "gone"]]`)
	b.client(zeekapi.DrainRequest{ReqID: reqID("d"), Instance: "b", Drain: true}, "to b: AgentStandbyRequest #5")
	b.client(logs("r7", "wb"), "to b: AgentLogsRequest #6")
	b.agent(peers["b"], zeekapi.AgentLogsResponse{ReqID: reqID("#6"), Result: wrote}, `answer LogsResponse r7 [T b wb = ["out", "", "instance is drained"]]`)
	b.do(controller.PeerLost{Peer: peers["b"]}, "answer DrainResponse d [F b agent not connected]")
	b.client(logs("r5", "wb"), "answer LogsResponse r5 [F wb agent not connected]")
}

// Before the first deployment has ended, requests concern the nodes of the running
// deployment, or of one that timed out.
func TestRequestsBeforeFirstDeployment(t *testing.T) {
	b := newBench(t, nil)
	b.agent(peer(1), hello("a"))
	b.client(restart("r1"), "answer RestartResponse r1 [F no active cluster deployment]")
	b.client(getID("r2", "x"), "answer GetIDValueResponse r2 [F no cluster deployed]")
	b.client(set("r3", config("c1", "a", "b")), "save staged c1", "save ready c1", "save target c1", "to a: AgentWelcomeRequest #1")
	b.client(getID("r4", "x", "wa"), "answer GetIDValueResponse r4 [F wa agent not connected]")
	b.agent(peer(1), welcomed("#1", "a"))
	b.client(restart("r5", "wa"), "to a: AgentRestartRequest #2 of wa")
	b.tick("answer SetConfigurationResponse r3 [F request timed out] [F waited for b] [F no agent is connected for b; drain such an instance to deploy without it]", "answer RestartResponse r5 [F request timed out]")
}

func TestUnknownNodesAreLimited(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	nodes := make([]string, 100_000)
	for i := range nodes {
		nodes[i] = strconv.Itoa(i)
	}
	for _, o := range b.machine.Step(b.now, controller.FromClient{Message: zeekapi.RestartRequest{ReqID: reqID("r1"), Nodes: nodes}}) {
		results := resultsOf(o.(controller.ToClients).Message)
		if n := len(results); n != 1001 || results[n-1].Error != "more than 1000 unknown cluster nodes" {
			t.Errorf("got %d results, want 1001; the last is %q", n, results[n-1].Error)
		}
	}
}
