##! The node's side of its connection with the agent. The node loads this script
##! after its own scripts.
##!
##! The protocol is that of Zeek's policy/frameworks/management/node, but the
##! script requires neither that script nor a Supervisor. If that script is
##! loaded as well, this script does nothing.
##!
##! The node connects to the agent with Broker, independently of its cluster
##! backend. If the agent sets a port for WebSockets, the agent connects to the
##! node instead, and the node needs no Broker. This requires Zeek 8.0.

@load base/frameworks/cluster
@load base/misc/version

module ZeekwireLoaded;

export {
	## The name of the file, in the node's directory, that receives the names of
	## the scripts that the node has loaded. The agent reads it. Empty: none.
	const list_file = getenv("ZEEKWIRE_LOADED_SCRIPTS") &redef;

	## Writes the file. An error before Zeek has finished its initialization
	## would end the node, so the event comes later.
	global write_list: event();
}

global scripts: vector of string;

event zeek_script_loaded(path: string, level: count)
	{
	scripts += path;
	}

event ZeekwireLoaded::write_list()
	{
	# The file appears as a whole. Each name ends with a zero byte, and another
	# one ends the list.
	local unfinished = list_file + ".new";
	local f = open(unfinished);

	if ( active_file(f) )
		{
		local written = write_file(f, join_string_vec(scripts, "\x00") + "\x00\x00");

		if ( close(f) && written )
			rename(unfinished, list_file);
		}

	scripts = vector();
	}

event zeek_init()
	{
	if ( list_file != "" )
		schedule 0sec { ZeekwireLoaded::write_list() };
	}

@ifndef ( Management::Node::API::node_dispatch_request )

module ZeekwireNode;

export {
	## The address at which the agent listens, from the environment.
	const agent_address = getenv("ZEEK_AGENT_ADDR") &redef;

	## The port at which the agent listens, from the environment.
	const agent_port = getenv("ZEEK_AGENT_PORT") == "" ? 2151/tcp : to_port(getenv("ZEEK_AGENT_PORT")) &redef;

	## The topic of messages between the agent and its nodes.
	const topic = getenv("ZEEKWIRE_NODE_TOPIC") == "" ? "zeek/management/node" : getenv("ZEEKWIRE_NODE_TOPIC") &redef;

	## The time between two attempts to connect.
	const connect_retry = getenv("ZEEKWIRE_CONNECT_RETRY") == "" ? 1sec : double_to_interval(to_double(getenv("ZEEKWIRE_CONNECT_RETRY"))) &redef;

	## The loopback port at which the node listens for the agent, from the
	## environment; "relayed" if the agent's messages pass through another node,
	## because this one cannot listen; empty if the node connects to the agent.
	const websocket_port = getenv("ZEEKWIRE_NODE_WEBSOCKET") &redef;

	## The topic of the agent's requests over a WebSocket. Each node has its
	## own topic, because all nodes of the cluster receive these messages.
	const request_topic = fmt("zeekwire/node/%s/request", Cluster::node) &redef;

	## The topic of the node's responses over a WebSocket.
	const response_topic = fmt("zeekwire/node/%s/response", Cluster::node) &redef;

	## Requests the node's hello. The agent sends it because a hello that
	## precedes the agent's subscription is lost.
	global hello_request: event();

	## The result of a request. It is encoded as a Management::Result.
	type Outcome: record {
		reqid: string;
		success: bool &default=T;
		instance: string &optional;
		data: any &optional;
		error: string &optional;
		node: string &optional;
	};

	## The measurements of a node. They are sent as JSON.
	type Figures: record {
		received: count;
		dropped: count;
		link: count;
		bytes: count;
		backend: string;

		## The other nodes of the cluster that this node sees, or those that it
		## does not see, whichever are fewer.
		nodes: vector of string;
		sees: bool; ##< Whether it sees them.
		others: count; ##< The number of other nodes.
	};
}

module Management::Node::API;

export {
	## Reports that the node runs.
	global notify_node_hello: event(node: string);

	## Requests an action of the named nodes, or of all nodes if none is named.
	global node_dispatch_request: event(reqid: string, action: vector of string, nodes: set[string]);

	## The response to a request.
	global node_dispatch_response: event(reqid: string, result: ZeekwireNode::Outcome);
}

module ZeekwireNode;

# Looks up a global and stores its value, or an error, in the outcome.
function look_up(id: string, outcome: Outcome)
	{
	local val = lookup_ID(id);

	# For a missing global, lookup_ID() returns a text instead of a value.
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

# Returns the measurements of the node.
function measure(): Figures
	{
	local seen: vector of string;
	local unseen: vector of string;

	# The cluster framework sets the ID of a node when its hello arrives, with
	# every backend, and deletes it when the node is lost.
	for ( name, n in Cluster::nodes )
		{
		if ( name == Cluster::node )
			next;

		if ( n?$id )
			seen += name;
		else
			unseen += name;
		}

	local backend = "broker";
@ifdef ( Cluster::backend )
	backend = cat(Cluster::backend);
@endif
	local stats = get_net_stats();
	local sees = |seen| <= |unseen|;

	return Figures($received=stats$pkts_recvd, $dropped=stats$pkts_dropped,
	               $link=stats$pkts_link, $bytes=stats$bytes_recvd,
	               $backend=backend, $nodes=sees ? seen : unseen, $sees=sees,
	               $others=|seen| + |unseen|);
	}

event Management::Node::API::node_dispatch_request(reqid: string, action: vector of string, nodes: set[string])
	{
	if ( |nodes| > 0 && Cluster::node !in nodes )
		return;

	local outcome = Outcome($reqid=reqid, $node=Cluster::node);
	local problem = "";

	if ( |action| == 0 )
		problem = "no dispatch arguments provided";
	else if ( action[0] == "zeekwire_figures" )
		outcome$data = to_json(measure());
	else if ( action[0] != "get_id_value" )
		problem = fmt("dispatch %s unknown", action[0]);
	else if ( |action| == 1 )
		problem = "get_id_value expects name of global identifier";

	if ( problem == "" )
		{
		if ( ! outcome?$data )
			look_up(action[1], outcome);
		}
	else
		{
		outcome$success = F;
		outcome$error = problem;
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

	if ( websocket_port == "relayed" )
		return;

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
