// Package clusterfile reads and writes cluster configurations in the forms
// that zeek-client has for them: an INI file and, which zeek-client only writes,
// JSON.
//
// In an INI file the section [instances] lists the instances, as a mere name
// if its agent connects to the controller, as name = host:port if the
// controller connects to the agent. Every other section is a node:
//
//	[instances]
//	agent-1
//	agent-2 = 10.0.0.2:2151
//
//	[manager]
//	instance = agent-1
//	role = manager
//
//	[worker-1]
//	instance = agent-2
//	role = worker
//	interface = eth0
//
// Further keys of a node are port, metrics_port, cpu_affinity, scripts (words
// as in a shell) and env (words KEY=VALUE). Without [instances] all agents
// connect, and if no node names an instance either, all run on this machine's.
// Whether nodes, instances and ports fit together is for the controller to
// check (controller.Settings.Check); Advise says what is legal and yet odd.
package clusterfile
