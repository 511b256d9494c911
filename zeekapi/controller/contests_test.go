package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// described makes a peer say hello in the dialect of our agents.
func described(b *bench, p broker.Peer, instance string, want ...string) {
	b.t.Helper()
	b.do(controller.FromAgent{Peer: p, Dialect: zeekapi.Operations, Message: hello(instance)}, want...)
}

// proven returns the peer with a certificate for a name.
func proven(p broker.Peer, name string) broker.Peer {
	p.Identity = &broker.Identity{Names: []string{name}, Certified: true}
	return p
}

// statusOf returns the status of an instance whose agent does not answer when it is
// asked for that.
func statusOf(b *bench, instance string) zeekapi.InstanceStatus {
	b.t.Helper()
	id := fmt.Sprint("status-", b.now.UnixNano())
	b.take(b.machine.Step(b.now, controller.FromClient{Message: zeekapi.StatusRequest{ReqID: reqID(id)}}))
	b.now = b.now.Add(10 * time.Second)
	var s zeekapi.Status
	b.answered(b.machine.Step(b.now, controller.Tick{}), id, &s)
	for _, i := range s.Instances {
		if i.Instance.Name == instance {
			return i
		}
	}
	b.t.Fatalf("the status has no instance %s", instance)
	return zeekapi.InstanceStatus{}
}

// The agent of an instance keeps it while it answers. A second agent with its name
// is refused, which the log, the events and the status show, and follows when the
// first one is lost.
func TestFirstAgentKeepsName(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.events = nil
	b.log.take()
	described(b, peer(7), "a", "to a: AgentWelcomeRequest #2")
	described(b, peer(7), "a") // no second question
	b.client(getNodes("r1"), "to a: AgentGetNodesRequest #3")
	b.agent(peer(7), welcomed("#2", "a")) // it was not asked
	b.agent(peers["a"], welcomed("#2", "a"), "to a: AgentRefusal")
	b.expectEvents("error a : refused another agent with this name from 10.0.0.7:40000: the one from 10.0.0.1:40000 is connected and answers")
	if log := strings.Join(b.log.take(), "\n"); !strings.Contains(log, "refusing another agent") || !strings.Contains(log, `"address":"10.0.0.7:40000"`) {
		t.Errorf("log: %s", log)
	}
	if s := b.machine.Snapshot(); s.Refused != 1 || s.Agents != 2 {
		t.Errorf("%d of %d agents are refused, want 1 of 2", s.Refused, s.Agents)
	}
	if got := statusOf(b, "a").Refused; !slices.Equal(got, []string{"10.0.0.7:40000"}) {
		t.Errorf("refused are %q", got)
	}

	// A repeated hello is a new claim, which is no news.
	described(b, peer(7), "a", "to a: AgentWelcomeRequest #6")
	b.agent(peers["a"], welcomed("#6", "a"), "to a: AgentRefusal")
	b.expectEvents()

	b.do(controller.PeerLost{Peer: peers["a"]},
		"answer GetNodesResponse r1 [F a agent not connected]", "to a: AgentWelcomeRequest #7")
	b.agent(peer(7), welcomed("#7", "a"), "to a: AgentDeployRequest #9 c1")
	if s := b.machine.Snapshot(); s.Refused != 0 {
		t.Errorf("%d agents are refused after the first one is lost", s.Refused)
	}
}

// An agent that does not answer, because its machine lost power, loses its
// instance to the peer that claims it.
func TestSilentAgentIsReplaced(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.events = nil
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #2")
	before := b.now
	b.tick("to a: AgentWelcomeRequest #3")
	if waited := b.now.Sub(before); waited != controller.ProbeTimeout {
		t.Errorf("the new agent waits %s", waited)
	}
	b.agent(peer(7), welcomed("#3", "a"), "to a: AgentDeployRequest #5 c1")
	b.expectEvents(
		"lost a : the agent does not answer, and another one with its name has connected from 10.0.0.7:40000",
		"connected a : agent connected from 10.0.0.7")

	// The earlier peer is alive after all. Now it is refused.
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #7")
	b.agent(peer(7), welcomed("#7", "a"))
	if s := b.machine.Snapshot(); s.Refused != 1 {
		t.Errorf("%d agents are refused", s.Refused)
	}
}

// Of several peers that claim a name, the one with the last hello follows: those that
// say nothing may be lost, too. The successor must answer, or the next one follows.
func TestSilentSuccessorIsReplaced(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.agent(peer(7), hello("a"), "to a: AgentWelcomeRequest #2")
	b.agent(peer(8), hello("a"))
	b.agent(peer(7), hello("a"))
	b.do(controller.PeerLost{Peer: peers["a"]}, "to a: AgentWelcomeRequest #3", "to a: AgentWelcomeRequest #5")
	if got := b.machine.AgentOf("a"); got != peer(7).ID {
		t.Errorf("the agent is %s, want the one with the last hello", got)
	}
	b.agent(peer(9), hello("a"))
	b.tick("to a: AgentWelcomeRequest #6", "to a: AgentWelcomeRequest #8")
	if got := b.machine.AgentOf("a"); got != peer(9).ID {
		t.Errorf("the agent is %s, want the one with the last hello", got)
	}
	b.agent(peer(7), hello("a")) // it did not answer before
	b.tick("to a: AgentWelcomeRequest #9", "to a: AgentWelcomeRequest #11")
	if got := b.machine.AgentOf("a"); got != peer(8).ID {
		t.Errorf("the agent is %s, want the one that was not asked yet", got)
	}
}

// Of two agents with certificates for the name, the newest is the agent at once.
// Later hellos change nothing.
func TestLaterAgentWithCertificate(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.agent(proven(peer(7), "b"), hello("a"), "to a: AgentWelcomeRequest #2") // for another name
	b.agent(peers["a"], welcomed("#2", "a"))
	b.events = nil
	b.agent(proven(peer(8), "a"), hello("a"), "to a: AgentWelcomeRequest #3")
	b.agent(proven(peer(9), "a"), hello("a"), "to a: AgentWelcomeRequest #4")
	b.expectEvents(
		"lost a : another agent takes over the instance, from 10.0.0.8:40000", "connected a : agent connected from 10.0.0.8",
		"lost a : another agent takes over the instance, from 10.0.0.9:40000", "connected a : agent connected from 10.0.0.9")
	b.agent(proven(peer(8), "a"), hello("a"), "to a: AgentWelcomeRequest #6")
	b.agent(peers["a"], hello("a"))
	b.agent(proven(peer(9), "a"), welcomed("#6", "a"))
	if got := b.machine.AgentOf("a"); got != peer(9).ID {
		t.Errorf("the agent is %s, want the newest", got)
	}
}

// If two addresses answer with the same name, only the one that the configuration
// has for that name gets its nodes.
func TestListeningAgentWithNameOfAnother(t *testing.T) {
	c := listening(listening(config("c1", "a", "b"), "a", "10.1.0.1:2151"), "b", "10.1.0.2:2151")
	for _, tt := range []struct {
		name  string
		wrong bool // answers first
	}{{"wrong first", true}, {"right first", false}} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.client(set("r1", c), "save staged c1", "save ready c1", "save target c1", "dial 10.1.0.1:2151", "dial 10.1.0.2:2151")
			right, wrong := dialedPeer(1, "10.1.0.1:2151"), dialedPeer(2, "10.1.0.2:2151")
			if tt.wrong {
				b.agent(wrong, hello("a")) // no welcome
				b.agent(right, hello("a"), "to a: AgentWelcomeRequest #1")
			} else {
				b.agent(right, hello("a"), "to a: AgentWelcomeRequest #1")
				b.agent(wrong, hello("a"), "to a: AgentWelcomeRequest #3")
				b.agent(right, welcomed("#3", "a"))
			}
			if got := b.machine.AgentOf("a"); got != right.ID {
				t.Errorf("the agent is %s, want the one at the address in the configuration", got)
			}
		})
	}
	t.Run("wrong only", func(t *testing.T) {
		b := newBench(t, nil)
		b.client(set("r1", c), "save staged c1", "save ready c1", "save target c1", "dial 10.1.0.1:2151", "dial 10.1.0.2:2151")
		b.agent(dialedPeer(2, "10.1.0.2:2151"), hello("a"))
		if b.machine.IsReady("a") {
			t.Error("a is ready")
		}
		want := "the agent at 10.1.0.2:2151 says that it is a, which is at 10.1.0.1:2151 in the configuration"
		if got := statusOf(b, "a").LastError; got != want {
			t.Errorf("the last error is %q", got)
		}
	})
}

// Peers that connect again and again with the name of an agent cause few events,
// and one question at a time.
func TestManyClaims(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.events = nil
	probes := 0
	for i := range 1000 {
		p := peer(100 + i)
		outputs := b.machine.Step(b.now, controller.FromAgent{Peer: p, Message: hello("a")})
		for _, o := range outputs {
			if to, ok := o.(controller.ToAgent); ok {
				probes++
				if i%2 == 0 {
					outputs = append(outputs, b.machine.Step(b.now, controller.FromAgent{Peer: peers["a"], Message: answerTo(to)})...)
				}
			}
		}
		b.take(outputs)
		if i%3 == 0 {
			b.take(b.machine.Step(b.now, controller.PeerLost{Peer: p}))
		}
	}
	if len(b.events) > 60 {
		t.Errorf("%d events", len(b.events))
	}
	if probes > 600 {
		t.Errorf("%d questions", probes)
	}
	if err := b.machine.Check(); err != nil {
		t.Error(err)
	}
}
