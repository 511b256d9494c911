package zeekapi

// This file declares what an agent exchanges with its nodes, and what Zeek's
// Supervisor reports to it.

// NodeHello says that a node has come up.
type NodeHello struct {
	OneWay `zeek:"-"`
	Node   string `zeek:"node"`
}

var _ = oneWay[NodeHello](NodeAPI, management("notify_node_hello"))

// NodeDispatchRequest is AgentDispatchRequest on its way to the nodes.
type NodeDispatchRequest struct {
	ReqID
	Action []string `zeek:"action"`
	Nodes  []string `zeek:"nodes,set"`
}

// NodeDispatchResponse names the node in its result.
type NodeDispatchResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// NodeDispatchCall declares NodeDispatchRequest and its response.
var NodeDispatchCall = single[NodeDispatchRequest, NodeDispatchResponse](Request{
	Name:    "node_dispatch",
	Summary: "Run an action on nodes",
	API:     NodeAPI,
	Effect:  Reads,
	Forms:   []Form{management("node_dispatch")},
})

// NodeExit carries what a node wrote before it ended. The Supervisor
// sends it when it starts the node again.
type NodeExit struct {
	OneWay  `zeek:"-"`
	Node    string      `zeek:"node"`
	Outputs NodeOutputs `zeek:"outputs"`
}

var _ = oneWay[NodeExit](SupervisorAPI, management("notify_node_exit"))
