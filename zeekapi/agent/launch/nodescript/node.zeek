##! The node's end of its connection with the agent. The agent loads it after
##! the node's own scripts.
##!
##! It speaks as Zeek's policy/frameworks/management/node does, but needs
##! nothing of it and no Supervisor. Where that is loaded as well, it is left
##! to it.
##!
##! The node connects to the agent with Broker, whatever backend its cluster
##! has. If the agent gives it a port for WebSockets, the agent connects to the
##! node, which then needs no Broker at all. That takes Zeek 8.0.

@load base/frameworks/cluster
@load base/misc/version

@ifndef ( Management::Node::API::node_dispatch_request )

module ZeekwireNode;

export {
	## Where the agent listens. It says so in the environment.
	const agent_address = getenv("ZEEK_AGENT_ADDR") &redef;

	## The port that belongs to it.
	const agent_port = getenv("ZEEK_AGENT_PORT") == "" ? 2151/tcp : to_port(getenv("ZEEK_AGENT_PORT")) &redef;

	## The topic on which agent and nodes talk.
	const topic = getenv("ZEEKWIRE_NODE_TOPIC") == "" ? "zeek/management/node" : getenv("ZEEKWIRE_NODE_TOPIC") &redef;

	## How long to wait before connecting again.
	const connect_retry = getenv("ZEEKWIRE_CONNECT_RETRY") == "" ? 1sec : double_to_interval(to_double(getenv("ZEEKWIRE_CONNECT_RETRY"))) &redef;

	## Where the node listens for the agent, on this machine only; empty if it
	## connects to the agent. It says so in the environment.
	const websocket_port = getenv("ZEEKWIRE_NODE_WEBSOCKET") &redef;

	## The topic on which the agent asks over a WebSocket. All nodes of a
	## cluster hear each other there, so that each has its own.
	const request_topic = fmt("zeekwire/node/%s/request", Cluster::node) &redef;

	## The topic on which the node answers over a WebSocket.
	const response_topic = fmt("zeekwire/node/%s/response", Cluster::node) &redef;

	## The agent asks whether the node is there. An agent that connects may be
	## heard before it hears.
	global hello_request: event();

	## The outcome of a request. On the wire it is a Management::Result.
	type Outcome: record {
		reqid: string;
		success: bool &default=T;
		instance: string &optional;
		data: any &optional;
		error: string &optional;
		node: string &optional;
	};
}

module Management::Node::API;

export {
	## The node is there.
	global notify_node_hello: event(node: string);

	## The agent wants something of the nodes named, of all if none are.
	global node_dispatch_request: event(reqid: string, action: vector of string, nodes: set[string]);

	## The answer to it.
	global node_dispatch_response: event(reqid: string, result: ZeekwireNode::Outcome);
}

module ZeekwireNode;

# Looks up a global and stores its value in the outcome, or what is wrong.
function look_up(id: string, outcome: Outcome)
	{
	local val = lookup_ID(id);

	# Of what is not there lookup_ID() says so in place of a value.
	if ( type_name(val) == "string" )
		{
		local text: string = val;

		if ( text == "<unknown id>" || text == "<no ID value>" )
			{
			outcome$success = F;
			outcome$error = text[1:-1];
			return;
			}
		}

	outcome$data = to_json(val);
	}

event Management::Node::API::node_dispatch_request(reqid: string, action: vector of string, nodes: set[string])
	{
	if ( |nodes| > 0 && Cluster::node !in nodes )
		return;

	local outcome = Outcome($reqid=reqid, $node=Cluster::node);
	local complaint = "";

	if ( |action| == 0 )
		complaint = "no dispatch arguments provided";
	else if ( action[0] != "get_id_value" )
		complaint = fmt("dispatch %s unknown", action[0]);
	else if ( |action| == 1 )
		complaint = "get_id_value expects name of global identifier";

	if ( complaint == "" )
		look_up(action[1], outcome);
	else
		{
		outcome$success = F;
		outcome$error = complaint;
		}

@if ( Version::number >= 80000 )
	if ( websocket_port != "" )
		Cluster::publish(response_topic, Management::Node::API::node_dispatch_response, reqid, outcome);
@endif
@ifdef ( Broker::peer )
	if ( websocket_port == "" )
		Broker::publish(topic, Management::Node::API::node_dispatch_response, reqid, outcome);
@endif
	}

@if ( Version::number >= 80000 )
event ZeekwireNode::hello_request()
	{
	Cluster::publish(response_topic, Management::Node::API::notify_node_hello, Cluster::node);
	}

event zeek_init()
	{
	if ( websocket_port == "" )
		return;

	Cluster::subscribe(request_topic);

	if ( ! Cluster::listen_websocket([$listen_addr=127.0.0.1, $listen_port=to_port(websocket_port)]) )
		Reporter::fatal(fmt("cannot listen for the agent at port %s", websocket_port));
	}
@endif

@ifdef ( Broker::peer )
event Broker::peer_added(endpoint: Broker::EndpointInfo, msg: string)
	{
	if ( endpoint?$network
	     && endpoint$network$address == agent_address
	     && endpoint$network$bound_port == agent_port )
		Broker::publish(topic, Management::Node::API::notify_node_hello, Cluster::node);
	}

event zeek_init()
	{
	if ( agent_address == "" || websocket_port != "" )
		return;

	Broker::subscribe(topic);
	Broker::peer(agent_address, agent_port, connect_retry);
	}
@endif

@endif
