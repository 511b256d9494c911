package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
)

func TestNodeStates(t *testing.T) {
	out := new(outbox)
	configs := newConfigurations(out, nil)
	names := newNameSets(out, State{}, zerolog.Nop())
	s := newNodeStates(configs, names, newStoppedNodes(out, nil))
	expect := func(want map[zeekapi.State]int) {
		t.Helper()
		got := s.total.copy()
		for state, n := range got {
			if n == 0 {
				delete(got, state)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("nodes by state (-want +got)\n%s", diff)
		}
		if err := s.check(); err != nil {
			t.Error(err)
		}
	}
	type counts = map[zeekapi.State]int

	configs.save(Target, configs.revise(zeekapi.Configuration{Nodes: []zeekapi.Node{
		{Name: "a1", Instance: "a"}, {Name: "a2", Instance: "a"}, {Name: "b1", Instance: "b"},
	}}))
	s.retarget()
	expect(counts{zeekapi.StateUnknown: 3})

	s.heard("a", zeekapi.AgentDeployResponse{Results: []zeekapi.Result{{Success: true, Node: "a1"}, {Node: "a2"}}})
	expect(counts{zeekapi.StateRunning: 1, zeekapi.StateFailed: 1, zeekapi.StateUnknown: 1})
	s.heard("a", zeekapi.AgentDeployResponse{Results: []zeekapi.Result{{Error: zeekapi.ErrorTimeout}}}) // without a node name
	expect(counts{zeekapi.StateRunning: 1, zeekapi.StateFailed: 1, zeekapi.StateUnknown: 1})

	s.heard("a", zeekapi.AgentChange{Node: zeekapi.Node{Name: "a2"}, New: zeekapi.StateRunning})
	s.heard("b", zeekapi.AgentChange{Node: zeekapi.Node{Name: "b1"}, New: zeekapi.StateRunning}) // b has no other known nodes
	expect(counts{zeekapi.StateRunning: 2, zeekapi.StateUnknown: 1})

	s.heard("b", zeekapi.AgentGetNodesResponse{Result: zeekapi.Result{Success: true, Data: mustMarshal([]zeekapi.NodeStatus{
		{Node: "b1", State: zeekapi.StateCrashed, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker},
		{Node: "agent", State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementAgent, ClusterRole: zeekapi.RoleNone},
	})}})
	expect(counts{zeekapi.StateRunning: 2, zeekapi.StateCrashed: 1})
	s.heard("b", zeekapi.AgentStatusResponse{Result: zeekapi.Result{Success: true, Data: mustMarshal([]zeekapi.NodeDetail{
		{Status: zeekapi.NodeStatus{Node: "b1", State: zeekapi.StatePending, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}},
	})}})
	expect(counts{zeekapi.StateRunning: 2, zeekapi.StatePending: 1})

	s.lost("a")
	expect(counts{zeekapi.StateUnknown: 2, zeekapi.StatePending: 1})
	names.keep(Drained, "a", true)
	s.count("a")
	expect(counts{zeekapi.StatePending: 1})
	configs.save(Target, configs.revise(zeekapi.Configuration{}))
	s.lost("b")
	s.retarget()
	expect(counts{})
}
