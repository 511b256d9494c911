package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/youmark/pkcs8"

	"github.com/zeekwire/zeekwire/broker/internal/anontls"
)

// identity is the content of the files.
type identity struct {
	certificate tls.Certificate
	authorities authorities
}

func loadIdentity(c Config) (identity, error) {
	certificate, err := LoadCertificate(c.CertFile, c.KeyFile, c.Passphrase)
	if err != nil {
		return identity{}, err
	}
	trusted, err := loadAuthorities(c.CAFile)
	return identity{certificate, trusted}, err
}

// authorities are certificate authorities.
type authorities struct {
	certificates []*x509.Certificate
	pool         *x509.CertPool // of the certificates
}

// loadAuthorities reads a PEM file with certificates. It ignores those that cannot be
// parsed, and returns an error if there are no others.
func loadAuthorities(file string) (authorities, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return authorities{}, fmt.Errorf("security: certificate authorities: %w", err)
	}
	a := authorities{pool: x509.NewCertPool()}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" || len(block.Headers) != 0 { // as in CertPool.AppendCertsFromPEM
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			a.certificates = append(a.certificates, c)
			a.pool.AddCert(c)
		}
	}
	if len(a.certificates) == 0 {
		return authorities{}, fmt.Errorf("security: certificate authorities: %s contains no certificate", file)
	}
	return a, nil
}

// LoadCertificate reads a certificate with its chain and its private key from PEM
// files. The passphrase decrypts the key if it is encrypted.
func LoadCertificate(certFile, keyFile, passphrase string) (tls.Certificate, error) {
	chain, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("security: certificate: %w", err)
	}
	key, err := readKey(keyFile, passphrase)
	if err != nil {
		return tls.Certificate{}, err
	}
	certificate, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("security: certificate %s with private key %s: %w", certFile, keyFile, err)
	}
	return certificate, nil
}

// readKey returns the first private key in a file as PEM, decrypted.
func readKey(path, passphrase string) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("security: private key %s: %w", path, err)
	}
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("security: private key: %w", err)
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return fail(errors.New("the file contains none"))
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		// "openssl rsa -aes256 -traditional" and ssh-keygen still write this.
		//nolint:staticcheck // the format is weak, but it is what such a file has
		legacy := x509.IsEncryptedPEMBlock(block)
		if !legacy && block.Type != "ENCRYPTED PRIVATE KEY" {
			return pem.EncodeToMemory(block), nil
		}
		if passphrase == "" {
			return fail(errors.New("it is encrypted and there is no passphrase"))
		}
		if legacy {
			//nolint:staticcheck // see above
			der, err := x509.DecryptPEMBlock(block, []byte(passphrase))
			if err != nil {
				return fail(fmt.Errorf("wrong passphrase: %w", err))
			}
			return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
		}
		key, _, err := pkcs8.ParsePrivateKey(block.Bytes, []byte(passphrase))
		if err != nil {
			return fail(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fail(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	}
}

func (i identity) serverConfig(accepts func([]*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{i.certificate},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              i.authorities.pool,
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true, // a ticket would outlive a Reload
		GetConfigForClient:     noteAnonymous,
		VerifyConnection:       func(state tls.ConnectionState) error { return accepts(state.PeerCertificates) },
	}
}

func (i identity) clientConfig(accepts func([]*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{i.certificate},
		MinVersion:   tls.VersionTLS12,

		// Certificates of Zeek nodes need not contain the dialed name, and
		// crypto/tls cannot verify a chain without a name. VerifyConnection can.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := state.PeerCertificates
			if err := verifyChain(chain, i.authorities.pool, x509.ExtKeyUsageServerAuth); err != nil {
				return fmt.Errorf("the peer's certificate: %w", err)
			}
			return accepts(chain)
		},
	}
}

func checkName(c *x509.Certificate, want string) error {
	names := CertificateNames(c)
	same := func(name string) bool { return strings.EqualFold(name, want) }
	if want != "" && !slices.ContainsFunc(names, same) {
		return fmt.Errorf("the peer's certificate is for %q, not for %q", names, want)
	}
	return nil
}

// CertificateNames returns the common name of a certificate and its alternative
// names of all kinds, without duplicates.
func CertificateNames(c *x509.Certificate) []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(c.Subject.CommonName)
	for _, name := range c.DNSNames {
		add(name)
	}
	for _, ip := range c.IPAddresses {
		add(ip.String())
	}
	for _, uri := range c.URIs {
		add(uri.String())
	}
	for _, mail := range c.EmailAddresses {
		add(mail)
	}
	return names
}

// acceptedConn is a connection whose client may only support anonymous TLS.
type acceptedConn struct {
	net.Conn
	anonymous bool
}

// noteAnonymous notes in the client's acceptedConn whether it supports anonymous TLS.
// All connections share the configuration with this function, because a copy would
// last as long as a connection.
func noteAnonymous(info *tls.ClientHelloInfo) (*tls.Config, error) {
	info.Conn.(*acceptedConn).anonymous = slices.Contains(info.CipherSuites, anontls.Suite)
	return nil, nil
}

func (l *Layer) mutual(ctx context.Context, conn net.Conn, dialed bool) (net.Conn, error) {
	var c *tls.Conn
	accepted := &acceptedConn{Conn: conn}
	if dialed {
		c = tls.Client(conn, l.client.Load())
	} else {
		c = tls.Server(accepted, l.server.Load())
	}
	err := c.HandshakeContext(ctx)
	if err != nil && accepted.anonymous {
		return nil, fmt.Errorf("the peer uses anonymous TLS, without certificates: %w", err)
	}
	if err != nil {
		return nil, err
	}
	chain := c.ConnectionState().PeerCertificates
	secured := &mutualConn{Conn: c, names: CertificateNames(chain[0]), layer: l}
	if err := l.verified.add(secured, chain); err != nil { // revoked during the handshake
		return nil, err
	}
	return secured, nil
}

// mutualConn is a connection to a peer with a verified certificate.
type mutualConn struct {
	*tls.Conn
	names   []string
	layer   *Layer
	revoked atomic.Bool // the certificate was revoked, and the connection closed
}

// revoke closes the connection because its certificate has been revoked.
func (c *mutualConn) revoke() {
	c.revoked.Store(true)
	c.NetConn().Close() // an alert might have to wait for the peer
}

// Close implements net.Conn.
func (c *mutualConn) Close() error {
	c.layer.verified.remove(c)
	return c.Conn.Close()
}

// Read implements net.Conn.
func (c *mutualConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain(err)
}

// Write implements net.Conn.
func (c *mutualConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

func (c *mutualConn) explain(err error) error {
	if err != nil && c.revoked.Load() {
		return ErrRevoked
	}
	return err
}

// PeerNames returns the common name and the alternative names in the peer's
// verified certificate.
func (c *mutualConn) PeerNames() []string { return slices.Clone(c.names) }
