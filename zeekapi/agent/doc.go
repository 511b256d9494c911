// Package agent runs the nodes of one instance for a controller.
//
// Machine decides; it is all of the agent's behaviour and touches nothing. Run
// is its surroundings: a goroutine each that waits for the bus, for the
// launcher and for time, and one that carries out the outputs of the machine.
//
// The agent does what Zeek's own does (Zeek: policy/frameworks/management/agent)
// with these exceptions. A deployment leaves alone the nodes that need no
// change. It first checks whether nodes could run, and starts those that can
// stage by stage: loggers, managers, proxies, workers. An agent without nodes in
// a configuration answers at once, where Zeek's times out. A crash shows in a
// node's state, and a node that keeps crashing is given up. A restart is
// answered when the nodes are back. Where Zeek's agent falls silent, about a
// node that does not answer, this one says so. The configuration outlives the
// agent, and so can nodes: an agent goes on with those that its launcher finds
// running, and starts the others without a controller.
package agent
