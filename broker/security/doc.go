// Package security puts TLS on the connections of native peerings, in the ways
// that Broker has: none at all, anonymous, and mutual with certificates. Both
// ends must use the same; there is no negotiation. Whoever opens the
// connection is the TLS client.
//
// Anonymous is Zeek's default. It hides traffic from those who merely listen
// and authenticates nobody; use Mutual wherever somebody else can reach the
// port.
package security
