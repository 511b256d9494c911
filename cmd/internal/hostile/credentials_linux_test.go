package hostile

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// credentials are the certificates and the token of a cluster. The zero value is for a
// cluster that requires none.
type credentials struct {
	controller, agent, client []string    // flags
	env                       []string    // of clients
	tls                       *tls.Config // of clients
	header                    http.Header // of clients
}

// token proves that a client is the operator.
const token = "the token of the operator"

// newCredentials returns the credentials of a cluster whose peers have certificates and
// whose operator has a token. Address is the one of the controller.
func newCredentials(t *testing.T, address string) credentials {
	t.Helper()
	host := netip.MustParseAddrPort(address).Addr().AsSlice()
	ca := certtest.New(t)
	issue := func(name string) []string {
		cert, key := ca.Issue(t, name, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{name}, []net.IP{host}
		})
		return []string{"--tls-cert", cert, "--tls-key", key, "--tls-ca", ca.File}
	}
	clients := filepath.Join(t.TempDir(), "clients")
	if err := os.WriteFile(clients, fmt.Appendf(nil, "operator full sha256:%x\n", sha256.Sum256([]byte(token))), 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	text, err := os.ReadFile(ca.File)
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal("the certificate of the authority cannot be read: ", err)
	}
	own := issue("controller")
	return credentials{
		controller: append(own, "--websocket-tls-cert", own[1], "--websocket-tls-key", own[3], "--clients", clients),
		agent:      issue(instance),
		client:     []string{"--set", "ssl.enable=yes", "--set", "ssl.cafile=" + ca.File},
		tls:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		env:        []string{"ZEEKWIRE_TOKEN=" + token},
		header:     http.Header{"Authorization": {"Bearer " + token}},
	}
}
