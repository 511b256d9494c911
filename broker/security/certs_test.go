package security

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/youmark/pkcs8"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// authority issues the Configs of nodes.
type authority struct{ *certtest.Authority }

func newAuthority(t *testing.T) *authority { return &authority{certtest.New(t)} }

// node returns the Config of a node with a new certificate.
func (a *authority) node(t *testing.T, name string, change ...func(*x509.Certificate)) Config {
	t.Helper()
	cert, key := a.Issue(t, name, change...)
	return Config{Mode: Mutual, CertFile: cert, KeyFile: key, CAFile: a.File}
}

// withAltNames gives a certificate one name of each sort.
func withAltNames(c *x509.Certificate) {
	c.DNSNames = []string{"node.example", c.Subject.CommonName}
	c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}
	c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example", Path: "/node"}}
	c.EmailAddresses = []string{"node@example"}
}

func pemOf(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// encryptKey replaces the key file by an encrypted one.
func encryptKey(t *testing.T, c Config, legacy bool, passphrase string) Config {
	t.Helper()
	text, err := os.ReadFile(c.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if legacy {
		der, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
		if err != nil {
			t.Fatal(err)
		}
		//nolint:staticcheck // such files must be readable
		block, err = x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte(passphrase), x509.PEMCipherAES256)
		if err != nil {
			t.Fatal(err)
		}
	} else {
		der, err := pkcs8.MarshalPrivateKey(key, []byte(passphrase), nil)
		if err != nil {
			t.Fatal(err)
		}
		block = &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}
	}
	c.KeyFile = write(t, "encrypted.pem", pem.EncodeToMemory(block))
	return c
}

func serverName(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "server.example") }

func content(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func replace(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
