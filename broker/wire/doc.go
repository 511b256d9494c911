// Package wire is the native protocol of Broker without its sockets: frames,
// the messages of the peering handshake, the handshake itself as a state
// machine, and the envelopes that peers exchange afterwards.
//
// The version of the protocol is 1 and its bytes are the same in Zeek 5.0 to
// 9.0. All integers are big endian (Broker: wire_format, envelope).
//
// Nothing here does I/O, except that ReadFrame reads from the io.Reader it is
// given. Functions and messages are safe for concurrent use; a Handshake is
// for one goroutine.
package wire
