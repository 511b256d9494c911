// Package agent runs the nodes of one instance for a controller.
//
// Machine implements the behaviour of the agent without I/O. Run connects it to
// the bus, the launcher and the clock, and performs its outputs.
//
// The agent behaves like Zeek's (Zeek: policy/frameworks/management/agent) with
// these exceptions. A deployment does not restart unchanged nodes. It first
// checks whether nodes could run, and starts those that can in stages: loggers,
// managers, proxies, workers. A running node is stopped only if its replacement
// has passed the check, unless the deployment is forced. A restart of several
// nodes begins only if all have passed. An agent without nodes in a configuration
// responds at once, where Zeek's times out. The state of a crashed node is
// CRASHED, and an agent stops restarting a node that keeps crashing. The
// response to a restart is sent when the nodes run again. Responses include
// errors for nodes that do not respond, which Zeek's agent omits. The agent
// stores its configuration. After a restart of the agent, it adopts the nodes
// that its launcher finds running, and starts the others without a controller.
package agent
