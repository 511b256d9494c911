# The cluster layout of the agent of i. Rewritten at every start of the node.

redef Cluster::manager_is_logger = F;

redef Cluster::nodes = {
	["logger"] = [$node_type=Cluster::LOGGER, $ip=10.0.0.1, $p=2200/tcp, $manager="manager", $metrics_port=9000/tcp],
	["manager"] = [$node_type=Cluster::MANAGER, $ip=[2001:db8::1], $p=2201/tcp],
	["work\"er"] = [$node_type=Cluster::WORKER, $ip=10.0.0.1, $p=0/unknown, $manager="manager"],
};
