package security

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker/internal/anontls"
)

func dialAnonymous(ctx context.Context, conn net.Conn) (net.Conn, error) {
	c := anontls.InsecureClient(conn)
	return c, c.HandshakeContext(ctx)
}

// anonymousServerConfig returns the configuration for clients that offer TLS 1.3.
// That version has no anonymous suites, so the server sends a certificate that the
// clients ignore (Broker: anonymous mode verifies nothing).
func anonymousServerConfig() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("security: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "anonymous"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no expiration
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("security: %w", err)
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		GetConfigForClient:     onlyTLS13,
	}, nil
}

// errOnlyTLS12 ends the handshake with crypto/tls after a client's hello that does
// not offer TLS 1.3.
var errOnlyTLS12 = errors.New("the client does not offer TLS 1.3")

// onlyTLS13 returns errOnlyTLS12 if the client, whose connection is a helloConn, does
// not offer TLS 1.3.
func onlyTLS13(info *tls.ClientHelloInfo) (*tls.Config, error) {
	hello := info.Conn.(*helloConn)
	if !slices.Contains(info.SupportedVersions, tls.VersionTLS13) {
		hello.again = true
		return nil, errOnlyTLS12
	}
	hello.heard, hello.known = nil, true
	return nil, nil
}

// acceptAnonymous serves Zeek, which offers TLS 1.3 as a client, and clients with
// only the anonymous suite of TLS 1.2. The client's first message shows which.
func acceptAnonymous(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	hello := &helloConn{Conn: conn}
	c := tls.Server(hello, config)
	err := c.HandshakeContext(ctx)
	if !errors.Is(err, errOnlyTLS12) {
		return c, err
	}
	c12 := anontls.InsecureServer(hello)
	hello.known = true
	return c12, c12.HandshakeContext(ctx)
}

// helloConn keeps the bytes read until known is set. If again is set, it then
// returns them a second time.
type helloConn struct {
	net.Conn
	heard        []byte
	known, again bool
}

func (c *helloConn) Read(p []byte) (int, error) {
	if c.known && len(c.heard) > 0 {
		n := copy(p, c.heard)
		if c.heard = c.heard[n:]; len(c.heard) == 0 {
			c.heard = nil
		}
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if !c.known {
		c.heard = append(c.heard, p[:n]...)
	}
	return n, err
}

// Write discards the alert that crypto/tls sends when its handshake ends.
func (c *helloConn) Write(p []byte) (int, error) {
	if c.again && !c.known {
		return len(p), nil
	}
	return c.Conn.Write(p)
}
