package controller_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func diskProblem(directory string) zeekapi.Problem {
	return zeekapi.Problem{Kind: zeekapi.ProblemDisk, Subject: directory, Text: directory + " is full"}
}

// The problems that an agent reports are events when they begin and when they end, and part
// of the status.
func TestProblems(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.events = nil
	report := func(problems ...zeekapi.Problem) {
		b.agent(peers["a"], zeekapi.AgentProblems{Instance: "a", Problems: problems})
	}
	hung := zeekapi.Problem{Kind: zeekapi.ProblemHung, Node: "wa", Text: "no answer"}
	report(diskProblem("/var"), hung)
	report(hung, diskProblem("/var"), hung)
	b.agent(peer(9), zeekapi.AgentProblems{Instance: "a"}) // of another peer
	b.expectEvents("problem a : /var is full", "problem a wa: no answer")
	report(hung)
	b.expectEvents("solved a : /var is full")
	b.do(controller.PeerLost{Peer: peers["a"]})
	b.expectEvents("lost a : agent disconnected")
	b.agent(peers["a"], hello("a"), "to a: AgentWelcomeRequest #1")
	b.events = nil
	report()
	b.expectEvents("solved a wa: no answer")
}

// An agent cannot fill the history of the cluster with problems.
func TestProblemsAreLimited(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.events = nil
	for round := range 10 {
		var many []zeekapi.Problem
		for i := range 10_000 {
			many = append(many, diskProblem(fmt.Sprintf("/%d/%d/%s", round, i, strings.Repeat("x", 5000))))
		}
		b.agent(peers["a"], zeekapi.AgentProblems{Instance: "a", Problems: many})
	}
	if n := len(b.events); n > 300 {
		t.Errorf("%d events, want at most 300", n)
	}
}

// What operators were told is in the history. Without a sender of notifications, requests
// about them are refused.
func TestNotes(t *testing.T) {
	b, _ := deployedBench(t, config("c1", "a"))
	b.events = nil
	b.do(controller.Noted{Events: []zeekapi.ClusterEvent{
		{Kind: zeekapi.EventAlert, Instance: "a", Node: "wa", Subject: "node-failed", Text: "node wa has failed"},
		{Kind: zeekapi.EventResolved, Instance: "a", Node: "wa", Subject: "node-failed", Text: "node wa has failed"},
	}})
	b.expectEvents("alert a wa: node wa has failed", "resolved a wa: node wa has failed")
	var list []zeekapi.ClusterEvent
	b.ask(zeekapi.EventsRequest{ReqID: reqID("r1"), Limit: 1}, &list)
	if len(list) != 1 || list[0].Subject != "node-failed" {
		t.Errorf("events: %+v", list)
	}
}
