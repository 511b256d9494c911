package fake

import (
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// states are the states of nodes as an Agent reports them.
type states struct {
	mu      sync.Mutex
	last    map[string]zeekapi.State // last reported, by node
	claimed map[string]zeekapi.State // those that are not true
}

// set claims a state of a node and returns the state reported before.
func (s *states) set(node string, state zeekapi.State) (old zeekapi.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old = s.last[node]
	if old == "" {
		old = zeekapi.StateRunning
	}
	if s.claimed == nil {
		s.claimed = make(map[string]zeekapi.State)
	}
	s.claimed[node] = state
	s.remember(node, state)
	return old
}

func (s *states) remember(node string, state zeekapi.State) {
	if s.last == nil {
		s.last = make(map[string]zeekapi.State)
	}
	s.last[node] = state
}

// rewrite puts claimed states into the messages of the real agent. A change that the
// real agent reports ends a claim.
func (s *states) rewrite(m zeekapi.Message) (zeekapi.Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m := m.(type) {
	case zeekapi.AgentChange:
		s.remember(m.Node.Name, m.New)
		delete(s.claimed, m.Node.Name)
	case zeekapi.AgentGetNodesResponse:
		ok := replace(s.claimed, &m.Result.Data, func(n *zeekapi.NodeStatus) *zeekapi.NodeStatus { return n })
		return m, ok
	case zeekapi.AgentStatusResponse:
		ok := replace(s.claimed, &m.Result.Data, func(n *zeekapi.NodeDetail) *zeekapi.NodeStatus { return &n.Status })
		return m, ok
	}
	return m, false
}

// replace changes the states in the data of a result, a []T.
func replace[T any](claimed map[string]zeekapi.State, data *broker.Value, status func(*T) *zeekapi.NodeStatus) bool {
	var nodes []T
	if len(claimed) == 0 || data.IsNone() || record.Unmarshal(*data, &nodes) != nil {
		return false
	}
	for i := range nodes {
		n := status(&nodes[i])
		if state, ok := claimed[n.Node]; ok && n.ManagementRole == zeekapi.ManagementNone {
			n.State = state
		}
	}
	changed, err := record.Marshal(nodes)
	if err != nil {
		return false
	}
	*data = changed
	return true
}
