// Package hostile tests that controllers, agents and clients withstand attacks. It
// runs the zeekwire binary under a memory limit, attacks it from another process
// over the loopback interface, and has an operator use it meanwhile.
package hostile
