package controller_test

import (
	"fmt"
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

// Many agents are asked in groups, each agent once in an interval. Those that are lost
// meanwhile are not asked.
func TestManyAgentsAreAskedInGroups(t *testing.T) {
	const agents, interval = 250, 30 * time.Second
	settings := controller.DefaultSettings()
	settings.StatusInterval = interval
	now, ids := testStart, 0
	m := newMachine(settings, controller.State{}, func() string { ids++; return fmt.Sprint(ids) }, zerolog.Nop())
	m.Start(now)
	for n := range agents {
		m.Step(now, controller.FromAgent{Peer: peer(n), Message: hello(fmt.Sprintf("agent-%03d", n))})
	}
	asked := make(map[string][]time.Duration) // by instance
	for at := range 90 {
		if at == 45 {
			m.Step(now, controller.PeerLost{Peer: peer(249)})
		}
		now = testStart.Add(time.Duration(at) * time.Second)
		count := 0
		for _, o := range m.Step(now, controller.Tick{}) {
			if o, ok := o.(controller.ToAgent); ok {
				asked[o.Instance] = append(asked[o.Instance], now.Sub(testStart))
				count++
			}
		}
		if count > 100 {
			t.Errorf("%d agents are asked at once", count)
		}
	}
	want(t, "the first", []time.Duration{30 * time.Second, 60 * time.Second}, asked["agent-000"])
	want(t, "one of the second group", []time.Duration{40 * time.Second, 70 * time.Second}, asked["agent-100"])
	want(t, "one of the last group", []time.Duration{50 * time.Second, 80 * time.Second}, asked["agent-248"])
	want(t, "one that is lost", nil, asked["agent-249"])
	if len(asked) != agents-1 {
		t.Errorf("%d agents are asked, want %d", len(asked), agents-1)
	}
}
