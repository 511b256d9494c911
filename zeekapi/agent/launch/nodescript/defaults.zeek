# Loaded before a node's own scripts, which can override these settings.

module ZeekwireOutput;

export {
	## Makes Zeek write each line of its standard output at once, as it does
	## under the Supervisor. Otherwise a file receives blocks of several KiB, and
	## the last lines of a killed node are lost. It also writes the lines that
	## scripts before this one have printed.
	global write_lines: function(): bool;
}

function write_lines(): bool
	{
	set_buf(open("/dev/stdout"), F);
	return flush_all();
	}

# Scripts may print while they are loaded, so the first event would be too late.
global writes_lines = write_lines();

module GLOBAL;

# Without Zeek's Supervisor, a logger runs zeekctl's programs for rotated logs.
# These settings make it collect the logs for zeek-archiver, as it does under the
# Supervisor.
@ifdef ( archiver_rotation_format_func )
redef Log::default_rotation_dir = getenv("ZEEK_MANAGEMENT_SPOOL_DIR") + "/log-queue";
redef Log::rotation_format_func = archiver_rotation_format_func;
redef Log::default_rotation_postprocessor_cmd = "";
redef LogAscii::enable_leftover_log_rotation = T;
@endif

# The node uses the agent's key. The agent passes the passphrase in the
# environment, because other users can read command lines.
@ifdef ( Broker::ssl_passphrase )
@if ( getenv("ZEEKWIRE_TLS_PASSPHRASE") != "" )
redef Broker::ssl_passphrase = getenv("ZEEKWIRE_TLS_PASSPHRASE");
@endif
@endif

# With ZeroMQ, all messages pass through the manager. By default, Zeek expects it
# on this machine, which is wrong if the cluster has several machines.
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
