package controller_test

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// With a StatusInterval, the controller requests the nodes of its agents, and counts
// them in the snapshot.
func TestStatusIntervalCountsNodes(t *testing.T) {
	settings := controller.DefaultSettings()
	settings.StatusInterval = time.Minute
	b := newBench(t, nil)
	b.machine = newMachine(settings, controller.State{}, func() string { b.ids++; return "#" }, zerolog.Nop())
	b.start()
	b.tick() // there are no agents
	b.agent(peer(1), hello("a"))
	want(t, "instances", map[controller.InstanceState]int{controller.InstanceUnwanted: 1}, b.machine.Snapshot().Instances)
	b.tick("to a: AgentStatusRequest #")
	b.agent(peer(1), zeekapi.AgentStatusResponse{ReqID: reqID("#"), Result: zeekapi.Result{Success: true, Data: mustMarshal([]zeekapi.NodeDetail{
		{Status: zeekapi.NodeStatus{Node: "w", State: zeekapi.StateCrashed, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}},
	})}})
	s := b.machine.Snapshot()
	want(t, "nodes", map[zeekapi.State]int{zeekapi.StateCrashed: 1}, s.Nodes)
	if s.Agents != 1 || s.Pending != 0 {
		t.Errorf("snapshot %+v", s)
	}
	b.now = b.now.Add(time.Minute)
	b.do(controller.Tick{}, "to a: AgentStatusRequest #")
	b.do(controller.PeerLost{Peer: peer(1)})
	if n := b.machine.Snapshot().Nodes[zeekapi.StateCrashed]; n != 0 {
		t.Errorf("%d nodes of a lost agent are counted", n)
	}
}
