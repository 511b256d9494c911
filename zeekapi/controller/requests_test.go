package controller_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Many requests of one client do not block requests of other clients.
func TestManyRequestsDoNotBlockOthers(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	for i := range 10_000 {
		b.take(b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: getNodes(strconv.Itoa(i))}))
	}
	b.client(restart("r1", "x"), "answer RestartResponse r1 [F x unknown cluster node]")
}

// Only the agent that got a request can respond to it, with a response of the
// matching type.
func TestResponsesOfOtherAgentsAreIgnored(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	answer := func(id string) zeekapi.Message {
		return zeekapi.AgentGetNodesResponse{ReqID: zeekapi.ReqID{ID: id}, Result: zeekapi.Result{Success: true, Instance: "x", Data: broker.Vector()}}
	}
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1", "to b: AgentGetNodesRequest #2")
	b.agent(peers["b"], answer("#1"))
	b.agent(peer(9), answer("#1"))
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")))
	b.agent(peers["a"], answer("#3"))
	b.agent(peers["a"], answer("#1"))
	b.agent(peers["b"], answer("#2"), "answer GetNodesResponse r1 [T a = []] [T b = []]")

	// An agent cannot report results of another agent or of the controller.
	b.client(deploy("r2"), "save target c1", "to a: AgentDeployRequest #3 c1", "to b: AgentDeployRequest #4 c1")
	b.agent(peers["b"], agentDeployed("#3", success("a", "wa")))
	b.agent(peers["b"], agentDeployed("#4", zeekapi.Result{Success: true, Data: broker.String("c9")}))
	b.agent(peers["a"], agentDeployed("#3", success("a", "wa")), "save deployed c1",
		"answer DeployResponse r2 [T b] [T a wa] [T = c1]")

	// An agent cannot respond to the welcome request of another agent.
	b.do(controller.PeerLost{Peer: peers["b"]})
	b.agent(peers["b"], hello("b"), "to b: AgentWelcomeRequest #5")
	b.agent(peers["a"], welcomed("#5", "b"))
	b.agent(peer(9), welcomed("#5", "b"))
	if got := b.machine.Ready(); !cmp.Equal(got, []string{"a"}) {
		t.Errorf("ready instances %s, want a", got)
	}
}

// Response data of the wrong type are replaced by an error.
func TestInvalidResponseDataIsReplacedByError(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1")
	b.agent(peers["a"], zeekapi.AgentGetNodesResponse{ReqID: zeekapi.ReqID{ID: "#1"}, Result: zeekapi.Result{Success: true, Data: broker.String("x")}},
		"answer GetNodesResponse r1 [F a agent sent something else than the status of nodes]")
}

// When the last agent that has not responded is lost, the client gets the response
// at once.
func TestAgentLostDuringRequest(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #1", "to b: AgentGetNodesRequest #2")
	b.client(getID("r2", "x"), "to a: AgentDispatchRequest #3 get_id_value x of", "to b: AgentDispatchRequest #4 get_id_value x of")
	b.client(restart("r3", "wb", "w"), "to a: AgentRestartRequest #5 of wb", "to b: AgentRestartRequest #6 of wb")
	b.agent(peers["a"], answerTo(controller.ToAgent{Instance: "a", Message: zeekapi.AgentRestartRequest{ReqID: zeekapi.ReqID{ID: "#5"}}}))
	b.agent(peers["a"], zeekapi.AgentDispatchResponse{ReqID: zeekapi.ReqID{ID: "#3"}, Results: []zeekapi.Result{
		{Success: true, Instance: "a", Node: "wa", Data: broker.String("1")}}})
	b.do(controller.PeerLost{Peer: peers["b"]},
		"answer GetIDValueResponse r2 [T a wa = 1] [F wb agent not connected]",
		"answer RestartResponse r3 [F w unknown cluster node] [F wb agent not connected]")
	b.agent(peers["a"], answerTo(controller.ToAgent{Instance: "a", Message: zeekapi.AgentGetNodesRequest{ReqID: zeekapi.ReqID{ID: "#1"}}}),
		"answer GetNodesResponse r1 [F b agent not connected] [T a = []]")

	b.client(getID("r4", "x", "wb"), "to a: AgentDispatchRequest #7 get_id_value x of wb")
	b.do(controller.PeerLost{Peer: peers["a"]}, "answer GetIDValueResponse r4 [F wb agent not connected]")
	b.client(getID("r5", "x"), "answer GetIDValueResponse r5 [F wa agent not connected] [F wb agent not connected]")
	b.client(getID("r6", "x", "y"), "answer GetIDValueResponse r6 [F y unknown cluster node]")
	b.client(restart("r7"), "answer RestartResponse r7 [F no instances connected]")
	b.idle()
}

func TestRequestUnsupportedByAgent(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	b.client(restart("r1"), "to a: AgentRestartRequest #1 of")
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "a", Message: zeekapi.AgentRestartRequest{ReqID: zeekapi.ReqID{ID: "#1"}}}},
		"answer RestartResponse r1 [F wa not supported by the agent]")
	b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "a", Message: zeekapi.AgentStandbyRequest{}}})
}

func TestRepeatedRequestIDIsIgnored(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(deploy("r1"), "save target c1", "to a: AgentDeployRequest #1 c1")
	b.client(deploy("r1"))
	b.client(getNodes("r1"))
	b.agent(peers["a"], agentDeployed("#1", success("a", "wa")), "save deployed c1",
		"answer DeployResponse r1 [T a wa] [T = c1]")
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #2")
	b.tick("answer GetNodesResponse r1 [F a request timed out]")
}

func TestTestTimeoutRequest(t *testing.T) {
	b := newBench(t, nil)
	b.client(zeekapi.TestTimeoutRequest{ReqID: zeekapi.ReqID{ID: "r1"}})
	b.idle()
	b.client(zeekapi.TestTimeoutRequest{ReqID: zeekapi.ReqID{ID: "r2"}, WithState: true})
	b.tick("answer TestTimeoutResponse r2 [F request timed out]")
	b.idle()
}

func TestShutdownRefusesNewRequests(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.client(getNodes("before"), "to a: AgentGetNodesRequest #1")
	b.do(controller.Shutdown{})
	b.client(getNodes("r1"), "answer GetNodesResponse r1 [F the controller is shutting down]")
	b.client(deploy("r2"), "answer DeployResponse r2 [F the controller is shutting down]")
	b.client(zeekapi.StatusRequest{ReqID: zeekapi.ReqID{ID: "r3"}}, "answer StatusResponse r3 [F the controller is shutting down]")
	if n := b.machine.Pending(); n != 1 {
		t.Errorf("%d pending requests", n)
	}
	b.agent(peers["a"], zeekapi.AgentGetNodesResponse{ReqID: zeekapi.ReqID{ID: "#1"}, Result: success("a", "")}, "answer GetNodesResponse before [T a]")
	if n := b.machine.Pending(); n != 0 {
		t.Errorf("%d pending requests", n)
	}
}

func TestPendingRequestsAreLimited(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	const asked = 5000
	answers := func(in controller.Input, text string) int {
		n := 0
		for _, o := range b.machine.Step(b.now, in) {
			if o, ok := o.(controller.ToClients); ok && strings.Contains(describe(o), text) {
				n++
			}
		}
		return n
	}
	refused := 0
	for i := range asked {
		refused += answers(controller.FromClient{Message: getNodes(strconv.Itoa(i))}, "[F too many requests under way]")
	}
	_, requests := b.machine.Held()
	if requests != 256 || refused != 200 {
		t.Errorf("%d pending and %d refused requests, want 256 and 200", requests, refused)
	}
	if n := answers(controller.FromAgent{Peer: peer(7), Message: hello("a")}, "a agent not connected"); n != 0 {
		t.Errorf("%d responses when another agent claims the name, want none", n)
	}
	b.now = b.now.Add(controller.ProbeTimeout)
	if n := answers(controller.Tick{}, "[F a agent not connected]"); n != requests {
		t.Errorf("%d responses when the agent is replaced, want %d", n, requests)
	}
}

// Clients with many requests leave room for another one, however many they are.
func TestManyClientsLeaveRoom(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	for client := range 100 {
		for i := range 256 {
			b.machine.Step(b.now, controller.FromClient{Peer: peer(100 + client), Message: getNodes(fmt.Sprint(client, "-", i))})
		}
	}
	for i := range 3 { // a command may have made requests for which it no longer waits
		_, before := b.machine.Held()
		b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: getNodes(fmt.Sprint("alice", i))})
		if _, after := b.machine.Held(); after != before+1 {
			t.Errorf("with %d pending requests of 100 clients, request %d of another one is refused", before, i)
		}
	}
	if err := b.machine.Check(); err != nil {
		t.Error(err)
	}
}

// Many requests that time out do not fill the log.
func TestTimeoutsDoNotFillLog(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	for i := range 1000 {
		b.machine.Step(b.now, controller.FromClient{Peer: peer(100 + i), Message: getNodes(fmt.Sprint(i))})
	}
	b.log.take()
	b.now = b.now.Add(time.Minute)
	b.machine.Step(b.now, controller.Tick{})
	if n := len(b.log.take()); n != 100 {
		t.Errorf("%d lines, want 100", n)
	}
}

// Even if there are many clients, there is room for the first request of another one.
func TestVeryManyClientsLeaveRoom(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	for i := range 256 {
		for client := range 900 {
			b.machine.Step(b.now, controller.FromClient{Peer: peer(100 + client), Message: getNodes(fmt.Sprint(client, "-", i))})
		}
	}
	_, before := b.machine.Held()
	b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: getNodes("alice")})
	if _, after := b.machine.Held(); after != before+1 {
		t.Errorf("with %d pending requests of 900 clients, that of another one is refused", before)
	}
}

// The memory of pending requests is limited, for one client and in all. Small requests
// are not affected, and when a request has ended there is room for another one.
func TestMemoryOfPendingRequestsIsLimited(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	const large = 10 << 20
	ask := func(client int, id string, memory int) (refused bool) {
		in := controller.FromClient{Peer: peer(client), Message: zeekapi.TestTimeoutRequest{ReqID: reqID(id), WithState: true}, Memory: memory}
		for _, o := range b.take(b.machine.Step(b.now, in)) {
			refused = refused || strings.Contains(o, "too many requests under way")
		}
		return refused
	}
	if ask(100, "r1", 100<<20) {
		t.Error("a single request is refused")
	}
	if !ask(101, "r2", large) {
		t.Error("requests of more than the limit are pending")
	}
	if ask(101, "r3", 1000) {
		t.Error("a small request is refused")
	}
	b.now = b.now.Add(time.Hour)
	b.take(b.machine.Step(b.now, controller.Tick{}))
	total := 0
	for client := range 100 {
		for i := range 10 {
			if !ask(200+client, fmt.Sprint(client, "-", i), large) {
				total += large
			}
			if i == 0 && client == 0 && !ask(200, "own", large) {
				t.Error("a client has requests of more than its limit pending")
			}
		}
	}
	if total < 30<<20 || total > 74<<20 {
		t.Errorf("requests of %d bytes are pending", total)
	}
}

// A request with an ID of excessive length is ignored, because the ID would be
// held until the request ends.
func TestLongRequestIDIsIgnored(t *testing.T) {
	b := newBench(t, nil)
	b.client(zeekapi.TestTimeoutRequest{ReqID: reqID(strings.Repeat("x", 1<<20)), WithState: true})
	if n := b.machine.Pending(); n != 0 {
		t.Errorf("%d pending requests, want none", n)
	}
}
