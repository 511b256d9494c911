// Package security secures the connections of native peerings in the modes of
// Broker: without TLS, with anonymous TLS, and with mutual TLS and certificates.
// Both ends must use the same mode; there is no negotiation. The end that opens
// the connection is the TLS client.
//
// Anonymous is Zeek's default. It protects against passive eavesdroppers, but
// authenticates neither end. Use Mutual if others can reach the port.
package security
