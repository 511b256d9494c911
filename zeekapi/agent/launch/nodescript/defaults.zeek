# Loaded before a node's own scripts, which may overrule what is here.

# A logger that runs without Zeek's Supervisor expects zeekctl's programs for
# rotated logs. Have it do what it does under the Supervisor: collect them for
# zeek-archiver.
@ifdef ( archiver_rotation_format_func )
redef Log::default_rotation_dir = getenv("ZEEK_MANAGEMENT_SPOOL_DIR") + "/log-queue";
redef Log::rotation_format_func = archiver_rotation_format_func;
redef Log::default_rotation_postprocessor_cmd = "";
redef LogAscii::enable_leftover_log_rotation = T;
@endif

# The agent's key serves the node as well. The agent puts this into the
# environment, as everybody can read command lines.
@ifdef ( Broker::ssl_passphrase )
@if ( getenv("ZEEKWIRE_TLS_PASSPHRASE") != "" )
redef Broker::ssl_passphrase = getenv("ZEEKWIRE_TLS_PASSPHRASE");
@endif
@endif

# With ZeroMQ all messages go through the manager, which Zeek expects on this
# machine. That is so unless the nodes are on several.
@ifdef ( Cluster::Backend::ZeroMQ::connect_xpub_endpoint )
@load base/utils/addrs

module ZeekwireNode;

function message_hub(): string
	{
	local hosts: set[addr];
	local manager = 127.0.0.1;

	for ( _, n in Cluster::nodes )
		{
		add hosts[n$ip];

		if ( n$node_type == Cluster::MANAGER )
			manager = n$ip;
		}

	return |hosts| > 1 ? addr_to_uri(manager) : "127.0.0.1";
	}

redef Cluster::Backend::ZeroMQ::listen_xsub_endpoint = fmt("tcp://%s:5556", message_hub());
redef Cluster::Backend::ZeroMQ::listen_xpub_endpoint = fmt("tcp://%s:5555", message_hub());
redef Cluster::Backend::ZeroMQ::connect_xpub_endpoint = fmt("tcp://%s:5556", message_hub());
redef Cluster::Backend::ZeroMQ::connect_xsub_endpoint = fmt("tcp://%s:5555", message_hub());
@ifdef ( Cluster::Backend::ZeroMQ::ipv6 )
redef Cluster::Backend::ZeroMQ::ipv6 = "[" in message_hub();
@endif
@endif
