package security

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the table of certificate rules into the documentation")

const rulesHost = "sensor.zeek.example"

// A rule says who accepts a server's certificate of some kind, with the reason of
// our decision.
type rule struct {
	kind string
	make func(f *forge) *served

	web         bool // accepted by our client of a WebSocket server for rulesHost
	native      bool // accepted natively, with mutual TLS
	python      bool // accepted by Python's ssl, as zeek-client uses it
	openssl     bool // accepted by OpenSSL, as Broker uses it
	explanation string
}

// served has the chain that a server sends, and the authorities that its client trusts.
type served struct {
	chain []*issued
	roots []*issued
	host  string // the default is rulesHost
}

func leaf(f *forge, change ...func(*x509.Certificate)) *served {
	root := f.root()
	return &served{chain: []*issued{f.issue("server", root, change...)}, roots: []*issued{root}}
}

func named(cn string, change ...func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName = cn
		for _, f := range change {
			f(c)
		}
	}
}

func dns(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

var good = named("server", dns(rulesHost))

var rules = []rule{
	{kind: "alternative name of the host", make: func(f *forge) *served { return leaf(f, good) },
		web: true, native: true, python: true, openssl: true},
	{kind: "the host as common name, no alternative name", make: func(f *forge) *served { return leaf(f, named(rulesHost)) },
		web: true, native: true, python: true, openssl: true, explanation: "with a warning; refused with `ssl.require_altname`"},
	{kind: "the host as common name, with a wildcard", make: func(f *forge) *served { return leaf(f, named("*.zeek.example")) },
		web: true, native: true, python: true, openssl: true, explanation: "as above"},
	{kind: "the host as common name, an IP address as alternative name",
		make: func(f *forge) *served {
			return leaf(f, named(rulesHost, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }))
		},
		web: true, native: true, python: true, openssl: true, explanation: "as above"},
	{kind: "the host as common name, another host as alternative name", make: func(f *forge) *served { return leaf(f, named(rulesHost, dns("other.example"))) },
		native: true, openssl: true, explanation: "alternative names count alone"},
	{kind: "another host", make: func(f *forge) *served { return leaf(f, named("other", dns("other.example"))) },
		native: true, openssl: true, explanation: "Broker compares no host names; agents and clients are known by the names in their certificates"},
	{kind: "the IP address as common name", make: func(f *forge) *served {
		s := leaf(f, named("192.0.2.1"))
		s.host = "192.0.2.1"
		return s
	}, native: true, openssl: true, explanation: "as another host"},
	{kind: "the IP address as alternative name of DNS", make: func(f *forge) *served {
		s := leaf(f, named("server", dns("192.0.2.1")))
		s.host = "192.0.2.1"
		return s
	}, native: true, openssl: true, explanation: "as another host"},
	{kind: "an underscore in the name", make: func(f *forge) *served {
		s := leaf(f, named("server", dns("sensor_1.zeek.example")))
		s.host = "sensor_1.zeek.example"
		return s
	}, web: true, native: true, python: true, openssl: true},

	{kind: "negative serial number", make: func(f *forge) *served {
		return leaf(f, good, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(-77) })
	}, web: true, native: true, python: true, openssl: true},
	{kind: "signature with SHA-1", make: func(f *forge) *served {
		return leaf(f, good, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
	}, explanation: "forgeable; OpenSSL 3 refuses it from security level 1 on"},
	{kind: "RSA key of 1024 bits", make: func(f *forge) *served {
		f.bits = 1024
		return leaf(f, good)
	}, web: true, native: true, explanation: "OpenSSL refuses it from security level 2 on, which is Debian's"},
	{kind: "no key usage", make: func(f *forge) *served {
		return leaf(f, good, func(c *x509.Certificate) { c.KeyUsage, c.ExtKeyUsage = 0, nil })
	}, web: true, native: true, python: true, openssl: true},
	{kind: "key usage of an authority only", make: func(f *forge) *served {
		return leaf(f, good, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	}, web: true, native: true, explanation: "Go does not check the key usage of servers and clients"},
	{kind: "extended key usage of clients only", make: func(f *forge) *served {
		return leaf(f, good, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	}, explanation: "certificates of agents and controllers need both, or no extended key usage"},
	{kind: "expired", make: func(f *forge) *served { return leaf(f, good, expired) }},

	{kind: "authority of version 1", make: func(f *forge) *served {
		root := f.root(func(c *x509.Certificate) { c.Version = 1 })
		return &served{chain: []*issued{f.issue("server", root, good)}, roots: []*issued{root}}
	}, web: true, native: true, python: true, openssl: true},
	{kind: "authority without basic constraints", make: func(f *forge) *served {
		root := f.root(func(c *x509.Certificate) { c.BasicConstraintsValid = false })
		return &served{chain: []*issued{f.issue("server", root, good)}, roots: []*issued{root}}
	}, python: true, openssl: true, explanation: "RFC 5280 forbids it, and any server's certificate could then issue others: issue the authority's certificate with `basicConstraints=critical,CA:TRUE`"},
	{kind: "authority whose key usage does not allow it", make: func(f *forge) *served {
		root := f.root(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
		return &served{chain: []*issued{f.issue("server", root, good)}, roots: []*issued{root}}
	}},
	{kind: "self-signed, and trusted itself", make: func(f *forge) *served {
		self := f.issue("server", nil, good)
		return &served{chain: []*issued{self}, roots: []*issued{self}}
	}, web: true, native: true, python: true, openssl: true},
	{kind: "only the intermediate authority is trusted", make: func(f *forge) *served {
		intermediate := f.issue("intermediate", f.root(), authority2)
		return &served{chain: []*issued{f.issue("server", intermediate, good)}, roots: []*issued{intermediate}}
	}, web: true, native: true, explanation: "who is in the file is trusted; OpenSSL wants the authority above, too"},
	{kind: "chain with an expired cross-signature, and a valid path", make: func(f *forge) *served {
		root := f.root()
		old := f.issue("old authority", nil, authority2, expired)
		cross := f.cross(root, old, expired)
		return &served{chain: []*issued{f.issue("server", root, good), cross}, roots: []*issued{root, old}}
	}, web: true, native: true, python: true, openssl: true},
}

func authority2(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = c.NotBefore.AddDate(0, 0, -3), c.NotAfter.AddDate(0, 0, -2)
}

// Each kind of certificate is accepted or refused as the table says, by us, and by
// Python and OpenSSL where they are installed.
func TestCertificateRules(t *testing.T) {
	for _, r := range rules {
		t.Run(r.kind, func(t *testing.T) {
			s := r.make(&forge{t: t})
			host := s.host
			if host == "" {
				host = rulesHost
			}
			address, cafile := s.serve(t), s.rootsFile(t)
			check := func(who string, err error, want bool) {
				t.Helper()
				if (err == nil) != want {
					t.Errorf("%s: accepted is %t, want %t: %v", who, err == nil, want, err)
				}
			}
			check("WebSocket client", dialWeb(t, address, host, cafile), r.web)
			check("native", dialNative(t, address, cafile), r.native)
			if _, err := exec.LookPath("openssl"); err == nil {
				check("OpenSSL", tool(t, "openssl", "s_client", "-connect", address, "-CAfile", cafile,
					"-cipher", "HIGH:!aNULL:!MD5", "-verify_return_error"), r.openssl)
			}
			if _, err := exec.LookPath("python3"); err == nil {
				check("Python", tool(t, "python3", "-c", pythonClient, address, host, cafile), r.python)
			}
		})
	}
}

// pythonClient connects as zeek-client does, whose library websocket-client
// uses this context.
const pythonClient = `
import socket, ssl, sys
host, port = sys.argv[1].rsplit(":", 1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(cafile=sys.argv[3])
context.set_ciphers("HIGH:!aNULL:!MD5")
with socket.create_connection((host, int(port)), timeout=60) as s:
    context.wrap_socket(s, server_hostname=sys.argv[2])
`

func tool(t *testing.T, name string, args ...string) error {
	cmd := exec.CommandContext(t.Context(), name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func dialWeb(t *testing.T, address, host, cafile string) error {
	roots, err := loadAuthorities(cafile)
	if err != nil {
		return err
	}
	return handshake(t, address, WebClientConfig{Host: host, Authorities: roots.pool}.TLS())
}

// dialNative connects as a native endpoint with mutual TLS does, to a server that
// does not ask for its certificate.
func dialNative(t *testing.T, address, cafile string) error {
	own := newAuthority(t).node(t, "own")
	own.CAFile = cafile
	l, err := New(own)
	if err != nil {
		return err
	}
	return handshake(t, address, l.client.Load())
}

func handshake(t *testing.T, address string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// serve serves TLS with the chain, and ends each connection after its handshake.
func (s *served) serve(t *testing.T) (address string) {
	certificate := tls.Certificate{PrivateKey: s.chain[0].key}
	for _, c := range s.chain {
		certificate.Certificate = append(certificate.Certificate, c.der)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(time.Minute))
			c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
			_ = c.HandshakeContext(t.Context()) // the client reports why it failed
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func (s *served) rootsFile(t *testing.T) string {
	var text bytes.Buffer
	for _, r := range s.roots {
		text.Write(pemOf("CERTIFICATE", r.der))
	}
	return write(t, "roots.pem", text.Bytes())
}

// issued is a certificate with its private key.
type issued struct {
	template *x509.Certificate
	der      []byte
	key      crypto.Signer
}

// forge issues certificates, including those that package x509 refuses to.
type forge struct {
	t    *testing.T
	bits int // of RSA keys of servers; 0 for ECDSA
}

func (f *forge) root(change ...func(*x509.Certificate)) *issued {
	return f.issue("authority", nil, append([]func(*x509.Certificate){authority2}, change...)...)
}

// issue returns a certificate that the parent signed, or a self-signed one if it is
// nil.
func (f *forge) issue(name string, parent *issued, change ...func(*x509.Certificate)) *issued {
	f.t.Helper()
	var key crypto.Signer
	var err error
	if f.bits > 0 && name == "server" {
		f.t.Setenv("GODEBUG", "rsa1024min=0")
		key, err = rsa.GenerateKey(rand.Reader, f.bits)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	template := &x509.Certificate{
		Version:      3,
		SerialNumber: big.NewInt(7),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	for _, c := range change {
		c(template)
	}
	return f.sign(template, key, parent)
}

// cross returns a certificate for the name and key of c that another authority
// signed.
func (f *forge) cross(c, parent *issued, change ...func(*x509.Certificate)) *issued {
	template := *c.template
	for _, change := range change {
		change(&template)
	}
	return f.sign(&template, c.key, parent)
}

// tbs is a TBSCertificate of RFC 5280.
type tbs struct {
	Version    int `asn1:"optional,explicit,default:0,tag:0"`
	Serial     *big.Int
	Signature  pkix.AlgorithmIdentifier
	Issuer     asn1.RawValue
	Validity   asn1.RawValue
	Subject    asn1.RawValue
	PublicKey  asn1.RawValue
	Extensions []pkix.Extension `asn1:"omitempty,optional,explicit,tag:3"`
}

var (
	ecdsaWithSHA1   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	ecdsaWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// sign has package x509 issue an ordinary certificate, and issues it again with the
// version, serial number and signature of the template.
func (f *forge) sign(template *x509.Certificate, key crypto.Signer, parent *issued) *issued {
	f.t.Helper()
	if parent == nil {
		parent = &issued{template: template, key: key}
	}
	ordinary := *template
	ordinary.SerialNumber, ordinary.SignatureAlgorithm = big.NewInt(7), 0
	der, err := x509.CreateCertificate(rand.Reader, &ordinary, parent.template, key.Public(), parent.key)
	if err != nil {
		f.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatal(err)
	}
	var content tbs
	if _, err := asn1.Unmarshal(made.RawTBSCertificate, &content); err != nil {
		f.t.Fatal(err)
	}
	content.Serial = template.SerialNumber
	if template.Version == 1 {
		content.Version, content.Extensions = 0, nil
	}
	hash, algorithm := crypto.SHA256, ecdsaWithSHA256
	if template.SignatureAlgorithm == x509.ECDSAWithSHA1 {
		hash, algorithm = crypto.SHA1, ecdsaWithSHA1
	}
	content.Signature = pkix.AlgorithmIdentifier{Algorithm: algorithm}
	return &issued{template, f.signed(content, hash, parent.key), key}
}

func (f *forge) signed(content tbs, hash crypto.Hash, key crypto.Signer) (der []byte) {
	f.t.Helper()
	raw, err := asn1.Marshal(content)
	if err != nil {
		f.t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	digest := sum[:]
	if hash == crypto.SHA1 {
		sum := sha1.Sum(raw)
		digest = sum[:]
	}
	signature, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		f.t.Fatal(err)
	}
	der, err = asn1.Marshal(struct {
		Content   asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: raw}, content.Signature, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		f.t.Fatal(err)
	}
	return der
}

const rulesFile = "../../docs/reference/certificates.md"

// The documentation has the table of the rules.
func TestCertificateRulesAreDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString(rulesIntroduction)
	sign := func(ok bool) string {
		if ok {
			return "yes"
		}
		return "no"
	}
	for _, r := range rules {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.kind, sign(r.web), sign(r.python), sign(r.native), sign(r.openssl), r.explanation)
	}
	b.WriteString(rulesEnd)
	if *update {
		if err := os.WriteFile(rulesFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is out of date: run the test with -update", rulesFile)
	}
}

const rulesIntroduction = `# Which certificates are accepted

Our programs verify certificates with Go's library, Zeek's with OpenSSL, and zeek-client with Python's, which uses OpenSSL. The
libraries differ. This page lists who accepts what. A test makes each of these certificates and shows it to all four.

- **Client** is our client at a WebSocket server, next to **zeek-client**. Both verify the host's name.
- **Native** are our controller and agent with mutual TLS, next to **Broker**. Neither verifies the host's name. The controller
  takes the names of agents from their certificates instead.

The columns of OpenSSL are those of OpenSSL 3.0 in Debian, with security level 2.

| Certificate of the server | Client | zeek-client | Native | Broker | Remark |
|---|---|---|---|---|---|
`

const rulesEnd = `
The rules for certificates of clients are the same, with the extended key usage of clients. Names of clients are the common name
and all alternative names.

## Set-ups that need new certificates

- Go knows the curves P-256, P-384, P-521 and Ed25519. OpenSSL also knows secp256k1 and the Brainpool curves.
- Go refuses RSA keys of more than 8192 bits.
- Go refuses a certificate with an encoding that RFC 5280 forbids, such as ` + "`@` or `_`" + ` in a PrintableString, or an alternative
  name with other characters than those of ASCII.
`
