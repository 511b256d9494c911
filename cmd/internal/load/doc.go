// Package load contains the load tests of the controller. They run the zeekwire
// binary in one process, and many agents with simulated nodes in another
// process.
package load
