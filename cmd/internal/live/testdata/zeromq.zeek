# The declarations of the ZeroMQ backend of Zeek 8.1 and later that our scripts use, for
# versions of Zeek without this backend.

module Cluster::Backend::ZeroMQ;
export {
	const connect_xpub_endpoint = "tcp://127.0.0.1:5556" &redef;
	const connect_xsub_endpoint = "tcp://127.0.0.1:5555" &redef;
	const listen_xsub_endpoint = "tcp://127.0.0.1:5556" &redef;
	const listen_xpub_endpoint = "tcp://127.0.0.1:5555" &redef;
	const ipv6 = F &redef;
}
