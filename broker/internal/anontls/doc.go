// Package anontls is TLS 1.2 with the one cipher suite that Broker uses when
// no certificates are configured, which is Zeek's default:
// TLS_ECDH_anon_WITH_AES_256_CBC_SHA over secp384r1 (Broker: connector,
// ssl_context_from_cfg). It exists because crypto/tls has no anonymous suites.
//
// Nobody is authenticated. Whoever sits between the two ends can take the
// place of either; the encryption stops only those who merely listen. The
// names of the constructors say so.
//
// The client and the server offer the extended master secret (RFC 7627) and
// encrypt-then-MAC (RFC 7366) and use both whenever the peer agrees. With
// peers that know only MAC-then-encrypt, records are checked in time that does
// not depend on their padding. There are no sessions to resume, no
// renegotiation and no other versions; a peer that offers TLS 1.3 as well is
// served TLS 1.2.
package anontls
