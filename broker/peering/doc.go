// Package peering is a native Broker endpoint: it dials and accepts any number
// of peers, publishes to them and receives from them. It talks to Zeek 5.0 to
// 9.0 and to itself.
//
// An Endpoint is a leaf: it never forwards what it receives. It is a
// broker.Bus, and all that happens comes out of its Next in one order: a peer
// is added, sends, is lost.
//
// What a peer can cost is limited: each has a queue of its own for what we send
// it, a peer that does not read, does not answer or breaks the protocol loses
// its connection, and memory is only spent on bytes that have arrived.
package peering
