// Package zeekctl reads the configuration of ZeekControl: node.cfg with the nodes,
// zeekctl.cfg with options, and networks.cfg with the local networks.
//
// The files are accepted, and understood, as by ZeekControl. The texts of errors are
// ZeekControl's, followed by the position. What ZeekControl finds on a machine is not
// checked: whether directories exist, and whether a host is this machine.
//
// A worker with lb_procs becomes several nodes. What ZeekControl's own plugins for
// load balancing do is done here as well: they change interfaces and environments.
package zeekctl
