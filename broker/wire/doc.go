// Package wire implements the native protocol of Broker without I/O: frames,
// the messages of the peering handshake, the handshake as a state machine, and
// the envelopes that peers exchange after it.
//
// It implements protocol version 1, which is the same in Zeek 5.0 to 9.0. All
// integers are big endian (Broker: wire_format, envelope).
//
// Only ReadFrame does I/O: it reads from its io.Reader. Functions and messages
// may be used concurrently; a Handshake must not.
package wire
