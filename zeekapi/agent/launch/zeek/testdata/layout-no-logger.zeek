# The cluster layout of the agent of i. Rewritten at every start of the node.

redef Cluster::nodes = {
	["manager"] = [$node_type=Cluster::MANAGER, $ip=[2001:db8::1], $p=2201/tcp],
	["work\"er"] = [$node_type=Cluster::WORKER, $ip=10.0.0.1, $p=0/unknown, $manager="manager"],
};
