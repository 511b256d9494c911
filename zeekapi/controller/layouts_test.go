package controller_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// expectLayouts checks which peers got a layout since the last call.
func (b *bench) expectLayouts(want ...uuid.UUID) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.sent); diff != "" {
		b.t.Errorf("peers that got layouts (-want +got)\n%s", diff)
	}
	b.sent = nil
}

// An agent gets the layout of a cluster before the first request that needs it, and again
// only if the layout has changed.
func TestLayoutIsSentOnce(t *testing.T) {
	first := config("c1", "a", "b")
	b, peers := ourBench(t, first)
	deployed := func(id string, c zeekapi.Configuration) {
		t.Helper()
		b.ids = 0
		b.stageQuietly(c)
		b.client(deploy(id), "to a: AgentCheckRequest #1 "+c.ID, "to b: AgentCheckRequest #2 "+c.ID)
		b.agent(peers["a"], checked("#1"))
		b.agent(peers["b"], checked("#2"), "save target "+c.ID,
			"to a: AgentDeployNodesRequest #3 "+c.ID, "to b: AgentDeployNodesRequest #4 "+c.ID)
		b.agent(peers["a"], agentDeployed("#3", success("a", "wa")))
		b.take(b.machine.Step(b.now, controller.FromAgent{Peer: peers["b"], Message: agentDeployed("#4", success("b", "wb"))}))
		if got := b.saved[controller.Deployed].ID; got != c.ID {
			t.Fatalf("%s is deployed, want %s", got, c.ID)
		}
	}
	deployed("r1", config("c2", "a", "b"))
	b.expectLayouts(peers["a"].ID, peers["b"].ID)

	edited := config("c3", "a", "b")
	edited.Nodes[0].Env = map[string]string{"X": "1"}
	deployed("r2", edited)
	b.expectLayouts()

	moved := config("c4", "a", "b")
	moved.Nodes[0].Name = "other"
	deployed("r3", moved)
	b.expectLayouts(peers["a"].ID, peers["b"].ID)
}

// layoutsBench is ourBench after a deployment that was refused, whose layout the agents
// have.
func layoutsBench(t *testing.T) (b *bench, agent func(zeekapi.Message, ...string)) {
	b, peers := ourBench(t, config("c1", "a"))
	agent = func(msg zeekapi.Message, want ...string) { t.Helper(); b.agent(peers["a"], msg, want...) }
	b.stageQuietly(config("c2", "a"))
	b.client(deploy("r1"), "to a: AgentCheckRequest #1 c2")
	agent(checked("#1", problem("wa", "no")), `answer DeployResponse r1 [F a wa no = ["", "no"]] `+refused)
	b.expectLayouts(peers["a"].ID)
	return b, agent
}

// An agent that refuses a request as a whole may lack the layout, so it gets that again.
func TestLayoutIsSentAgain(t *testing.T) {
	b, agent := layoutsBench(t)
	b.client(deploy("r2"), "to a: AgentCheckRequest #2 c2")
	b.expectLayouts()
	agent(checked("#2", zeekapi.Result{Error: "what layout?"}), "answer DeployResponse r2 [F a what layout?] "+refused)
	b.client(deploy("r3"), "to a: AgentCheckRequest #3 c2")
	b.expectLayouts(peer(1).ID)
}

// The next agent of an instance has no layout.
func TestLayoutOfNextAgent(t *testing.T) {
	b, _ := layoutsBench(t)
	b.do(controller.PeerLost{Peer: peer(1)})
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peer(7), description("a"))
	b.agent(peer(7), welcomed("#2", "a"), "to a: AgentDeployNodesRequest #4 c1")
	b.expectLayouts(peer(7).ID)
}

// The next agent of an instance gets the layout unless it says that it has that.
func TestLayoutThatAgentsHave(t *testing.T) {
	b, _ := layoutsBench(t)
	next := func(before, p broker.Peer, deploy, has string) {
		t.Helper()
		b.do(controller.PeerLost{Peer: before})
		b.ids = 10 // the ID of the welcome request follows
		b.agent(p, hello("a"), "to a: AgentWelcomeRequest #11")
		b.agent(p, zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision, Layout: has})
		b.agent(p, welcomed("#11", "a"), "to a: AgentDeployNodesRequest "+deploy+" c1")
	}
	next(peer(1), peer(7), "#13", "")
	b.expectLayouts(peer(7).ID)
	deployed := b.layouts[peer(7).ID][0]
	next(peer(7), peer(8), "#12", deployed)
	b.expectLayouts()
	next(peer(8), peer(9), "#12", zeekapi.PackedLayout("another").ID())
	b.expectLayouts(peer(9).ID)
}

// An agent that repeats its description has both the layout that was sent last and that of its
// assignment.
func TestLayoutOfCheckAndAssignment(t *testing.T) {
	b, agent := layoutsBench(t)
	assigned := b.layouts[peer(1).ID][0]
	moved := config("c3", "a")
	moved.Nodes[0].Name = "other"
	for i, next := range []struct {
		config zeekapi.Configuration
		sent   []uuid.UUID
	}{{moved, []uuid.UUID{peer(1).ID}}, {config("c2", "a"), nil}, {moved, nil}} {
		agent(zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision, Layout: assigned})
		id, check := fmt.Sprintf("next%d", i), fmt.Sprintf("#%d", i+2)
		b.stageQuietly(next.config)
		b.client(deploy(id), "to a: AgentCheckRequest "+check+" "+next.config.ID)
		agent(checked(check, problem("w", "no")), "answer DeployResponse "+id+` [F a w no = ["", "no"]] `+refused)
		b.expectLayouts(next.sent...)
	}
}

// Agents of earlier revisions get the layout in the request.
func TestLayoutForOldAgents(t *testing.T) {
	for revision := uint64(1); revision <= zeekapi.AgentRevision; revision++ {
		b, _ := deployedBench(t, config("c1", "a"))
		b.agent(peer(1), zeekapi.AgentDescription{Instance: "a", LayoutForm: zeekapi.LayoutForm, Revision: revision})
		c := config("c2", "a")
		b.stageQuietly(c)
		outputs := b.machine.Step(b.now, controller.FromClient{Message: deploy("r1")})
		to, _ := outputs[len(outputs)-1].(controller.ToAgent)
		msg, ok := to.Message.(zeekapi.AgentCheckRequest)
		b.take(outputs)
		keeps := revision >= 4
		if !ok || (msg.Layout == "") != keeps || (msg.LayoutID == "") == keeps || (len(b.sent) == 1) != keeps {
			t.Errorf("an agent of revision %d gets %d layouts and %+v", revision, len(b.sent), outputs)
		}
	}
}
