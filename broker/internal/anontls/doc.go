// Package anontls implements TLS 1.2 with the cipher suite that Broker uses if
// no certificates are configured, which is Zeek's default:
// TLS_ECDH_anon_WITH_AES_256_CBC_SHA over secp384r1 (Broker: connector,
// ssl_context_from_cfg). It is needed because crypto/tls does not support
// anonymous cipher suites.
//
// Neither end is authenticated. The encryption protects against passive
// eavesdropping only: an attacker between the two ends can impersonate each to
// the other. The names of the constructors contain "Insecure" for that reason.
//
// Broker offers and accepts no other group than secp384r1, whose arithmetic
// takes most of the time of a handshake. So clients of this package also offer
// x25519 (RFC 8422), and servers choose it if it is offered: two ends of this
// package connect several times as fast. With Broker the group is secp384r1.
//
// Clients and servers support the extended master secret (RFC 7627) and
// encrypt-then-MAC (RFC 7366), and use both if the peer does. Records of peers
// that only support MAC-then-encrypt are checked in a time that does not
// depend on their padding. Session resumption, renegotiation and other
// versions are not supported; with a peer that offers TLS 1.3, the server
// negotiates TLS 1.2.
package anontls
