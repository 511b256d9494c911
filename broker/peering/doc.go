// Package peering implements a native Broker endpoint. An Endpoint connects to
// and accepts any number of peers, publishes messages to them and receives their
// messages. It interoperates with Zeek 5.0 to 9.0 and with itself.
//
// An Endpoint is a leaf: it never forwards the messages that it receives. It is a
// broker.Bus: its Next returns everything that happens as one stream, for each
// peer PeerAdded, then messages, then PeerLost.
//
// The resources that a peer can use are limited. Each peer has its own send
// queue; a peer that does not read, does not answer or violates the protocol
// loses its connection; and memory is allocated only as bytes arrive.
package peering
