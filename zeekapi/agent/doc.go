// Package agent runs the nodes of one instance for a controller.
//
// Machine decides; it is all of the agent's behaviour and touches nothing. Run
// is its surroundings: a goroutine each that waits for the bus, for the
// launcher and for time, and one that carries out what the machine says.
//
// The agent does what Zeek's own does (Zeek: policy/frameworks/management/agent)
// with these exceptions. A deployment leaves alone the nodes that need no
// change. An agent without nodes in a configuration answers at once, where
// Zeek's times out. A crash shows in a node's state, and a node that keeps
// crashing is given up. A restart is answered when the nodes are back. Where
// Zeek's agent falls silent, about a node that does not answer, this one says
// so. The configuration outlives the agent, so that nodes come back without a
// controller.
package agent
