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
// With Options.Extended, there are short forms, and keys that zeek-client does not know:
//
//   - The section [cluster] describes the whole cluster: its site (see package site),
//     and scripts, variables, assignments and limits of all nodes.
//   - The key cpu_affinity may be a list of CPUs.
//   - A section with the key workers describes several workers. Each gets a CPU of
//     cpu_affinity, and values may contain variables, such as ${worker_index}.
//   - An instance may be a pattern of names, such as sensor-[01-40], in [instances] and
//     in the sections of nodes.
//   - A section [group NAME] describes a group of nodes.
//
// Parse expands short forms. Positions in errors and in Places are those of the short
// forms.
//
// Parsing does not check whether nodes, instances and ports are consistent;
// see controller.Settings.Check. Advise returns warnings about configurations
// that are valid but unusual.
package clusterfile
