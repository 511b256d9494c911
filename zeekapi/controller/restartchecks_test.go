package controller_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// checkedRestart is the response to the check of a restart.
func checkedRestart(id string, problems ...zeekapi.Result) zeekapi.AgentCheckRestartResponse {
	return zeekapi.AgentCheckRestartResponse{ReqID: reqID(id), Results: checked(id, problems...).Results}
}

// No node restarts unless all of them could run again.
func TestRestartIsChecked(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	b.client(restart("r1"), "to a: AgentCheckRestartRequest #1 of wa", "to b: AgentCheckRestartRequest #2 of wb")
	b.agent(peers["a"], checkedRestart("#1"))
	b.agent(peers["b"], checkedRestart("#2", problem("wb", "bad")),
		`answer RestartResponse r1 [F b wb not restarted: bad = ["", "bad"]] [F a wa not restarted: another node of the request could not run again]`)

	b.client(restart("r2", "wb"), "to b: AgentCheckRestartRequest #3 of wb")
	b.agent(peers["b"], checkedRestart("#3"), "to a: AgentRestartRequest #4 of wb", "to b: AgentRestartRequest #5 of wb")
	b.agent(peers["a"], zeekapi.AgentRestartResponse{ReqID: reqID("#4")})
	b.agent(peers["b"], zeekapi.AgentRestartResponse{ReqID: reqID("#5"), Results: []zeekapi.Result{success("b", "wb")}}, "answer RestartResponse r2 [T b wb]")

	// An agent without an answer does not restart nodes either.
	b.client(restart("r3", "wa"), "to a: AgentCheckRestartRequest #6 of wa")
	b.tick("answer RestartResponse r3 [F request timed out] [F no node was restarted: the check of a has not ended]")
	b.client(restart("r4", "wa"), "to a: AgentCheckRestartRequest #7 of wa")
	b.do(controller.PeerLost{Peer: peers["a"]}, "to b: AgentRestartRequest #8 of wa")

	// Zeek's agents cannot check.
	b, peers = deployedBench(t, config("c1", "a", "b"))
	b.described(map[string]broker.Peer{"b": peers["b"]})
	b.client(restart("r1"), "to b: AgentCheckRestartRequest #1 of wb")
	b.agent(peers["b"], checkedRestart("#1"), "to a: AgentRestartRequest #2 of", "to b: AgentRestartRequest #3 of")
}

// A rolling restart begins only if all its nodes could run again.
func TestRollingRestartIsChecked(t *testing.T) {
	b, peers := ourBench(t, config("c1", "a", "b"))
	rolling := func(id string) zeekapi.Message { return zeekapi.RollingRestartRequest{ReqID: reqID(id)} }
	b.client(rolling("r1"), "to a: AgentCheckRestartRequest #1 of wa", "to b: AgentCheckRestartRequest #2 of wb")
	b.agent(peers["a"], checkedRestart("#1", problem("wa", "bad")))
	b.agent(peers["b"], checkedRestart("#2"), "answer RollingRestartResponse r1 [F no node was restarted: wa on a: bad]")
	if b.state.Job != nil {
		t.Errorf("job %+v", b.state.Job)
	}

	// What began during the check comes first.
	b.client(rolling("r2"), "to a: AgentCheckRestartRequest #3 of wa", "to b: AgentCheckRestartRequest #4 of wb")
	b.client(deploy("r3"), "to a: AgentCheckRequest #5 c1", "to b: AgentCheckRequest #6 c1")
	b.agent(peers["a"], checkedRestart("#3"))
	b.agent(peers["b"], checkedRestart("#4"), "answer RollingRestartResponse r2 [F earlier deployment r3 still pending]")
}

// Nodes restart only if the agents that restart them have checked that, not other ones
// that their instances had before, or none.
func TestAgentChangesDuringRestartCheck(t *testing.T) {
	begin := func(t *testing.T) (*bench, map[string]broker.Peer) {
		t.Helper()
		b, peers := ourBench(t, config("c1", "a", "b"))
		b.client(restart("r1"), "to a: AgentCheckRestartRequest #1 of wa", "to b: AgentCheckRestartRequest #2 of wb")
		b.agent(peers["a"], checkedRestart("#1"))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #3")
		b.describe7()
		return b, peers
	}
	t.Run("another agent", func(t *testing.T) {
		b, peers := begin(t)
		b.agent(peer(7), welcomed("#3", "a"), "to a: AgentDeployNodesRequest #5 c1")
		b.agent(peers["b"], checkedRestart("#2"), "to a: AgentCheckRestartRequest #6 of wa")
		b.agent(peer(7), checkedRestart("#6", problem("wa", "bad")),
			`answer RestartResponse r1 [F a wa not restarted: bad = ["", "bad"]] [F b wb not restarted: another node of the request could not run again]`)
	})
	t.Run("another agent that is not ready", func(t *testing.T) {
		b, peers := begin(t)
		b.agent(peers["b"], checkedRestart("#2"), "to b: AgentRestartRequest #4 of")
		b.agent(peers["b"], zeekapi.AgentRestartResponse{ReqID: reqID("#4"), Results: []zeekapi.Result{success("b", "wb")}},
			"answer RestartResponse r1 [F wa agent not connected] [T b wb]")
	})
	t.Run("after it failed", func(t *testing.T) {
		b, peers := ourBench(t, config("c1", "a", "b"))
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("r1")}, "to a: AgentCheckRestartRequest #1 of wa", "to b: AgentCheckRestartRequest #2 of wb")
		b.agent(peers["a"], checkedRestart("#1", problem("wa", "bad")))
		b.do(controller.PeerLost{Peer: peers["a"]})
		b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #3")
		b.describe7()
		b.agent(peers["b"], checkedRestart("#2"), "to a: AgentCheckRestartRequest #4 of wa")
		b.agent(peer(7), checkedRestart("#4", problem("wa", "worse")), "answer RollingRestartResponse r1 [F no node was restarted: wa on a: worse]")
	})
	t.Run("an agent that does not know the request", func(t *testing.T) {
		b, peers := ourBench(t, config("c1", "a"))
		b.client(restart("r1"), "to a: AgentCheckRestartRequest #1 of wa")
		b.do(controller.Unsupported{ToAgent: controller.ToAgent{Instance: "a", Peer: peers["a"].ID, Message: zeekapi.AgentCheckRestartRequest{ReqID: reqID("#1")}}},
			"to a: AgentRestartRequest #2 of")
	})
}
