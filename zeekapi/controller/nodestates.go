package controller

import (
	"github.com/zeekwire/zeekwire/zeekapi"
)

// maxNodesTold is the number of nodes of one instance whose states are kept.
const maxNodesTold = 4096

// nodeStates keeps the states of the nodes as their agents reported them, and
// counts them. A node of the target is in the state UNKNOWN until the agent of
// its instance reports, unless the instance is drained. Agents do not report nodes that
// clients have stopped.
type nodeStates struct {
	configs *configurations
	names   *nameSets
	stopped *stoppedNodes
	told    map[string]map[string]zeekapi.State // by instance and node
	counted map[string]map[zeekapi.State]int    // by instance
	total   tally[zeekapi.State]
}

func newNodeStates(configs *configurations, names *nameSets, stopped *stoppedNodes) *nodeStates {
	return &nodeStates{
		configs: configs, names: names, stopped: stopped,
		told:    make(map[string]map[string]zeekapi.State),
		counted: make(map[string]map[zeekapi.State]int),
		total:   newTally[zeekapi.State](),
	}
}

// retarget counts again after the target has changed.
func (s *nodeStates) retarget() {
	instances := make(map[string]bool)
	for instance := range s.counted {
		instances[instance] = true
	}
	for _, n := range s.configs.target().Nodes {
		instances[n.Instance] = true
	}
	for instance := range instances {
		s.count(instance)
	}
}

// of returns the state of a node, UNKNOWN if its agent has not reported it.
func (s *nodeStates) of(instance, node string) zeekapi.State {
	if state, ok := s.told[instance][node]; ok {
		return state
	}
	return zeekapi.StateUnknown
}

// lost forgets the states of an instance whose agent is lost.
func (s *nodeStates) lost(instance string) {
	delete(s.told, instance)
	s.count(instance)
}

// heard takes a message of the agent of an instance, of any kind.
func (s *nodeStates) heard(instance string, msg zeekapi.Message) {
	switch msg := msg.(type) {
	case zeekapi.AgentChange:
		s.changed(instance, msg.Node.Name, msg.New)
	case zeekapi.AgentDeployResponse:
		s.deployed(instance, msg.Results)
	case zeekapi.AgentGetNodesResponse:
		if nodes, ok := toldBy[[]zeekapi.NodeStatus](msg.Result); ok {
			s.replace(instance, len(nodes), func(i int) zeekapi.NodeStatus { return nodes[i] })
		}
	case zeekapi.AgentStatusResponse:
		if nodes, ok := toldBy[[]zeekapi.NodeDetail](msg.Result); ok {
			s.replace(instance, len(nodes), func(i int) zeekapi.NodeStatus { return nodes[i].Status })
		}
	}
}

// toldBy returns the nodes in a successful result. It returns false if there are none.
func toldBy[T any](result zeekapi.Result) (nodes T, ok bool) {
	if !result.Success || result.Data.IsNone() {
		return nodes, false
	}
	return dataOf[T](result.Data)
}

// replace takes the states of all nodes of an instance.
func (s *nodeStates) replace(instance string, n int, node func(i int) zeekapi.NodeStatus) {
	told := make(map[string]zeekapi.State, min(n, maxNodesTold))
	for i := range min(n, maxNodesTold) {
		if n := node(i); n.ManagementRole == zeekapi.ManagementNone {
			told[n.Node] = n.State
		}
	}
	s.told[instance] = told
	s.count(instance)
}

// deployed takes the results of a deployment, which name all nodes of the
// instance. An agent that answers for the whole instance names none.
func (s *nodeStates) deployed(instance string, results []zeekapi.Result) {
	told := make(map[string]zeekapi.State)
	for _, r := range results {
		if r.Node == "" || len(told) == maxNodesTold {
			continue
		}
		told[r.Node] = zeekapi.StateRunning
		if !r.Success {
			told[r.Node] = zeekapi.StateFailed
		}
	}
	if len(told) > 0 {
		s.told[instance] = told
		s.count(instance)
	}
}

// changed takes the new state of a node.
func (s *nodeStates) changed(instance, node string, state zeekapi.State) {
	told := s.told[instance]
	if told == nil {
		return // the states of the other nodes are not known either
	}
	if _, known := told[node]; known || len(told) < maxNodesTold {
		told[node] = state
		s.count(instance)
	}
}

// count counts the nodes of an instance anew.
func (s *nodeStates) count(instance string) {
	for state, n := range s.counted[instance] {
		s.total.add(state, -n)
	}
	delete(s.counted, instance)
	counted := s.states(instance)
	for state, n := range counted {
		s.total.add(state, n)
	}
	if len(counted) > 0 {
		s.counted[instance] = counted
	}
}

func (s *nodeStates) states(instance string) map[zeekapi.State]int {
	counted := make(map[zeekapi.State]int)
	told, known := s.told[instance]
	for _, state := range told {
		counted[state]++
	}
	if s.names.drained(instance) || known && len(s.stopped.byName) == 0 {
		return counted
	}
	for _, name := range s.configs.nodesOn(instance) {
		_, reported := told[name]
		switch {
		case reported:
		case s.stopped.has(name):
			counted[zeekapi.StateStopped]++
		case !known:
			counted[zeekapi.StateUnknown]++
		}
	}
	return counted
}
