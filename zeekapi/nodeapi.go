package zeekapi

// This file declares the messages between an agent and its nodes, and those that
// Zeek's Supervisor sends to an agent. The other messages of the Supervisor are in
// package zeekapi/supervisor.

// NodeHello reports that a node has started.
type NodeHello struct {
	OneWay `zeek:"-"`
	Node   string `zeek:"node"`
}

var _ = oneWay[NodeHello](NodeAPI, management("notify_node_hello"))

// NodeDispatchRequest is an AgentDispatchRequest that the agent forwards to its
// nodes.
type NodeDispatchRequest struct {
	ReqID
	Action []string `zeek:"action"`
	Nodes  []string `zeek:"nodes,set"`
}

// NodeDispatchResponse has the name of the node in its result.
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

// NodeExit has the output of a node that ended. The Supervisor sends it when it
// restarts the node.
type NodeExit struct {
	OneWay  `zeek:"-"`
	Node    string      `zeek:"node"`
	Outputs NodeOutputs `zeek:"outputs"`
}

var _ = oneWay[NodeExit](SupervisorAPI, management("notify_node_exit"))
