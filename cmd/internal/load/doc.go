// Package load holds the test of a controller under load: the zeekwire binary
// in a process of its own, and many agents with simulated nodes in another.
package load
