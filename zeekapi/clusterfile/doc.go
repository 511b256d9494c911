// Package clusterfile reads and writes cluster configurations in the formats
// of zeek-client: INI files, and JSON, which zeek-client itself only writes.
//
// The section [instances] of an INI file lists the instances. An entry is the
// name alone if the agent connects to the controller, and name = host:port if
// the controller connects to the agent. Every other section describes a node:
//
//	[instances]
//	agent-01
//	agent-02 = 10.0.0.2:2151
//
//	[manager]
//	instance = agent-01
//	role = manager
//
//	[worker-1]
//	instance = agent-02
//	role = worker
//	interface = eth0
//
// Other keys of a node are port, metrics_port, cpu_affinity, scripts (words
// with shell quoting) and env (words of the form KEY=VALUE). Without
// [instances], all agents connect to the controller. If the nodes do not name
// instances either, all of them run on an instance of the local machine.
//
// With Options.Site, the section [cluster] describes the whole cluster. Its keys
// are site, the directory of a site (see package site) or sha256: and the ID of
// one, and scripts, which all nodes load before their own. A section of that name
// with the key role or type describes a node.
//
// Parsing does not check whether nodes, instances and ports are consistent;
// see controller.Settings.Check. Advise returns warnings about configurations
// that are valid but unusual.
package clusterfile
