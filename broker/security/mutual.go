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

	"github.com/youmark/pkcs8"

	"github.com/zeekwire/zeekwire/broker/internal/anontls"
)

// identity is the content of the files.
type identity struct {
	certificate tls.Certificate
	authorities *x509.CertPool
}

func loadIdentity(c Config) (identity, error) {
	certificate, err := LoadCertificate(c.CertFile, c.KeyFile, c.Passphrase)
	if err != nil {
		return identity{}, err
	}
	authorities, err := loadAuthorities(c.CAFile)
	return identity{certificate, authorities}, err
}

func loadAuthorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("security: certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("security: certificate authorities: %s contains no certificate", file)
	}
	return pool, nil
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

func (i identity) serverConfig(peerName string) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{i.certificate},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              i.authorities,
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true, // a ticket would outlive a Reload
		VerifyConnection: func(state tls.ConnectionState) error {
			return checkName(state.PeerCertificates[0], peerName)
		},
	}
}

func (i identity) clientConfig(peerName string) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{i.certificate},
		MinVersion:   tls.VersionTLS12,

		// Certificates of Zeek nodes need not contain the dialed name, and
		// crypto/tls cannot verify a chain without a name. VerifyConnection can.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := state.PeerCertificates
			if err := verifyChain(chain, i.authorities, x509.ExtKeyUsageServerAuth); err != nil {
				return fmt.Errorf("the peer's certificate: %w", err)
			}
			return checkName(chain[0], peerName)
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

func (l *Layer) mutual(ctx context.Context, conn net.Conn, dialed bool) (net.Conn, error) {
	var c *tls.Conn
	anonymous := false
	if dialed {
		c = tls.Client(conn, l.client.Load())
	} else {
		config := l.server.Load().Clone()
		config.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			anonymous = slices.Contains(info.CipherSuites, anontls.Suite)
			return nil, nil
		}
		c = tls.Server(conn, config)
	}
	err := c.HandshakeContext(ctx)
	if err != nil && anonymous {
		return nil, fmt.Errorf("the peer uses anonymous TLS, without certificates: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return &mutualConn{c, CertificateNames(c.ConnectionState().PeerCertificates[0])}, nil
}

// mutualConn is a connection to a peer with a verified certificate.
type mutualConn struct {
	*tls.Conn
	names []string
}

// PeerNames returns the common name and the alternative names in the peer's
// verified certificate.
func (c *mutualConn) PeerNames() []string { return slices.Clone(c.names) }
