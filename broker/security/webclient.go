package security

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"

	"github.com/zeekwire/zeekwire/broker/tcp"
)

// WebClientConfig configures the TLS of clients of WebSocket servers. Such a client
// verifies that the server's certificate is for the host to which it connects.
type WebClientConfig struct {
	// Host is the name or IP address of the server, required.
	Host string

	// Authorities issue servers' certificates. If nil, those of the system are
	// used.
	Authorities *x509.CertPool

	// Certificates are sent to a server that asks for one. The default is none.
	Certificates []tls.Certificate

	// RequireAltName refuses certificates without a subject alternative name for
	// Host. By default, a certificate without alternative names of DNS may have
	// Host as common name, as for OpenSSL and Python's ssl, and so for
	// zeek-client. An IP address is never accepted as common name.
	RequireAltName bool

	// OnCommonName, if non-nil, is called after a certificate was accepted because
	// of its common name. It must not block.
	OnCommonName func(*x509.Certificate)
}

// TLS returns the configuration. Handshakes that fail because of the server's
// certificate return a *tls.CertificateVerificationError.
func (c WebClientConfig) TLS() *tls.Config {
	c.Host = tcp.WithoutZone(c.Host)
	return &tls.Config{
		ServerName:   c.Host,
		Certificates: c.Certificates,
		MinVersion:   tls.VersionTLS12,

		// crypto/tls cannot accept common names. VerifyConnection does all that
		// is skipped.
		InsecureSkipVerify: true,
		VerifyConnection:   c.verify,
	}
}

func (c WebClientConfig) verify(state tls.ConnectionState) error {
	chain := state.PeerCertificates
	fail := func(err error) error {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	if err := verifyChain(chain, c.Authorities, x509.ExtKeyUsageServerAuth); err != nil {
		return fail(err)
	}
	err := chain[0].VerifyHostname(c.Host)
	if err == nil {
		return nil
	}
	switch common := hasCommonName(chain[0], c.Host); {
	case !common && len(chain[0].DNSNames)+len(chain[0].IPAddresses) == 0:
		return fail(fmt.Errorf("x509: certificate is for %q, not for %q", CertificateNames(chain[0]), c.Host))
	case !common:
		return fail(err)
	case c.RequireAltName:
		return fail(fmt.Errorf("x509: certificate has the name %q only as common name, not as subject alternative name", c.Host))
	}
	if c.OnCommonName != nil {
		c.OnCommonName(chain[0])
	}
	return nil
}

// hasCommonName reports whether a certificate without alternative names of DNS has
// host as common name (OpenSSL: X509_check_host).
func hasCommonName(c *x509.Certificate, host string) bool {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || len(c.DNSNames) > 0 {
		return false
	}
	for _, attribute := range c.Subject.Names {
		if name, ok := attribute.Value.(string); ok && attribute.Type.String() == "2.5.4.3" {
			if (&x509.Certificate{DNSNames: []string{name}}).VerifyHostname(host) == nil {
				return true
			}
		}
	}
	return false
}

// verifyChain verifies that one of the authorities issued the first certificate of a
// chain, for the given usage. The other certificates may be intermediate ones. If
// authorities is nil, those of the system are used.
func verifyChain(chain []*x509.Certificate, authorities *x509.CertPool, usage x509.ExtKeyUsage) error {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: authorities, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

// Verifies reports whether connections with the configuration verify the server's
// certificate. A nil configuration means no TLS, which does not.
func Verifies(c *tls.Config) bool {
	return c != nil && (!c.InsecureSkipVerify || c.VerifyConnection != nil)
}
