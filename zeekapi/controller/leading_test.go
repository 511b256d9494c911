package controller_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// leadingBench returns a bench with a leader of term 7 that has to run a configuration on
// an instance.
func leadingBench(t *testing.T) *bench {
	b := newBenchOf(t, controller.State{
		Term:    7,
		Configs: map[controller.Slot]zeekapi.Configuration{controller.Target: config("c1", "a")},
	})
	b.machine.Start(b.now)
	return b
}

// A leader tells our agents its term before anything else, once for each peering. Zeek's
// agents do not know terms.
func TestTermComesFirst(t *testing.T) {
	b := leadingBench(t)
	out := b.machine.Step(b.now, controller.FromAgent{Peer: peer(1), Dialect: zeekapi.Operations, Message: hello("a")})
	to, _ := out[0].(controller.ToAgent)
	claim, ok := to.Message.(zeekapi.AgentLeaderRequest)
	if !ok || !claim.Leads || claim.Term != 7 || claim.ID == "" || to.Peer != peer(1).ID || !slices.Equal(to.Dialects, []string{zeekapi.Operations}) {
		t.Fatalf("the first output is %+v", out[0])
	}
	second, _ := out[len(out)-1].(controller.ToAgent)
	if _, ok := second.Message.(zeekapi.AgentWelcomeRequest); !ok {
		t.Errorf("the last output is %+v", second)
	}
	claims := func(in controller.Input) (n int) {
		for _, o := range b.machine.Step(b.now, in) {
			if to, ok := o.(controller.ToAgent); ok && to.Message != nil {
				if _, ok := to.Message.(zeekapi.AgentLeaderRequest); ok {
					n++
				}
			}
		}
		return n
	}
	again := controller.FromAgent{Peer: peer(1), Dialect: zeekapi.Operations, Message: hello("a")}
	if n := claims(again); n != 0 {
		t.Errorf("%d claims for the second hello", n)
	}
	claims(controller.PeerLost{Peer: peer(1)})
	if n := claims(again); n != 1 {
		t.Errorf("%d claims for a new peering, want 1", n)
	}
	for _, dialect := range []string{zeekapi.Management, zeekapi.ClusterAgent} {
		if n := claims(controller.FromAgent{Peer: peer(2), Dialect: dialect, Message: hello("b")}); n != 0 {
			t.Errorf("%d claims for an agent that speaks %s", n, dialect)
		}
	}
	if n := claims(controller.FromAgent{Peer: peer(3), Dialect: zeekapi.Operations, Message: hello("a")}); n != 1 {
		t.Errorf("%d claims for another agent with the same name", n)
	}
}

// A controller that is alone has no term, and says nothing about it.
func TestNoTermWithoutOthers(t *testing.T) {
	b := newBench(t, nil)
	b.machine.Start(b.now)
	b.do(controller.FromAgent{Peer: peer(1), Dialect: zeekapi.Operations, Message: hello("a")})
}

// An agent that obeys another controller is an event with its reason. Responses to other
// controllers are none.
func TestAgentDoesNotObey(t *testing.T) {
	b := leadingBench(t)
	b.events = nil
	out := b.machine.Step(b.now, controller.FromAgent{Peer: peer(1), Dialect: zeekapi.Operations, Message: hello("a")})
	id := out[0].(controller.ToAgent).Message.RequestID()
	b.take(out)
	b.events = nil
	respond := func(id string, r zeekapi.Result) {
		b.take(b.machine.Step(b.now, controller.FromAgent{Peer: peer(1), Message: zeekapi.AgentLeaderResponse{ReqID: reqID(id), Result: r}}))
	}
	respond(id, zeekapi.Result{Success: true})
	respond("another", zeekapi.Failure("another", "no"))
	b.expectEvents()
	respond(id, zeekapi.Failure(id, "another controller leads"))
	b.expectEvents("error a : does not obey this controller: another controller leads")
	if log := strings.Join(b.log.take(), "\n"); !strings.Contains(log, "does not obey") || !strings.Contains(log, `"term":7`) {
		t.Errorf("log: %s", log)
	}
}

// A leader that cannot store changes does not know whether it still leads, and does not
// tell clients that it does.
func TestLeaderInDoubt(t *testing.T) {
	b := newBenchOf(t, controller.State{Term: 7})
	b.machine.Start(b.now)
	b.machine.SetPost(controller.Post{Leads: true, Term: 7, Members: []zeekapi.ControllerMember{{Name: "c1", Leads: true}, {Name: "c2"}}})
	ask := func(id string) (all zeekapi.Controllers) {
		t.Helper()
		b.answered(b.machine.Step(b.now, controller.FromClient{Message: zeekapi.ControllersRequest{ReqID: reqID(id)}}), id, &all)
		return all
	}
	all := ask("1")
	if leader, ok := all.Leader(); !all.Leads || all.Term != 7 || !ok || leader.Name != "c1" {
		t.Errorf("controllers %+v", all)
	}
	b.take(b.machine.Step(b.now, controller.StorageChanged{Why: "etcd does not answer"}))
	all = ask("2")
	if _, ok := all.Leader(); all.Leads || ok || len(all.Members) != 2 {
		t.Errorf("controllers %+v", all)
	}
	b.take(b.machine.Step(b.now, controller.StorageChanged{}))
	if !ask("3").Leads {
		t.Error("the leader does not say that it leads again")
	}
}
