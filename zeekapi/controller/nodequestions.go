package controller

import (
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// statusTimeout is the longest time to wait for agents that are asked for the
// status of their nodes.
const statusTimeout = 3 * time.Second

// askNodes asks an agent for its nodes.
var askNodes = question{
	message: func(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentGetNodesRequest{ReqID: id} },
}

// askStatus asks an agent for its nodes in detail. Zeek's agents, which cannot
// answer that, are asked for their nodes.
var askStatus = question{
	message:  func(id zeekapi.ReqID) zeekapi.Message { return zeekapi.AgentStatusRequest{ReqID: id} },
	fallback: askNodes.message,
}

func askRestart(nodes []string) question {
	return question{message: func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentRestartRequest{ReqID: id, Nodes: nodes}
	}}
}

// takeRestart is the inquiry for askRestart.
var takeRestart = inquiry[zeekapi.AgentRestartResponse]{
	results: func(_ *call, answer zeekapi.AgentRestartResponse) []zeekapi.Result {
		return slices.Clone(answer.Results)
	},
}

// takeStatus is the task for askStatus. The results have []NodeDetail for data.
type takeStatus struct{ basicTask }

func (takeStatus) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	var result zeekapi.Result
	switch msg := msg.(type) {
	case zeekapi.AgentStatusResponse:
		result = msg.Result
		if !isA[[]zeekapi.NodeDetail](result.Data) {
			return c.request.unanswered(c.instance, noStatus), true
		}
	case zeekapi.AgentGetNodesResponse:
		result = msg.Result
		nodes, ok := dataOf[[]zeekapi.NodeStatus](result.Data)
		if !ok {
			return c.request.unanswered(c.instance, noStatus), true
		}
		details := make([]zeekapi.NodeDetail, 0, len(nodes))
		for _, n := range nodes {
			if n.ManagementRole == zeekapi.ManagementAgent {
				continue // the agent itself, which is no node of the cluster
			}
			details = append(details, zeekapi.NodeDetail{Status: n})
		}
		result.Data = mustMarshal(details)
	default:
		return nil, false
	}
	return []zeekapi.Result{result}, true
}

// problems returns the failures in the answer to a check.
func problems(c *call, answer []zeekapi.Result) []zeekapi.Result {
	var found []zeekapi.Result
	for _, res := range answer {
		if res.Success {
			continue
		}
		if !isA[zeekapi.NodeOutputs](res.Data) {
			res.Data = broker.None()
		}
		res.ReqID = c.request.id
		found = append(found, res)
	}
	return found
}
