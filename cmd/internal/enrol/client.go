package enrol

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/authority"
)

// maxResponse limits a response in bytes. It contains the list of revoked certificates.
const maxResponse = 16 << 20

// maxHeaders limits the headers of a response in bytes.
const maxHeaders = 64 << 10

// attemptTime limits a request of a client.
const attemptTime = 30 * time.Second

// Client asks a controller for certificates.
type Client struct {
	Address   string // HOST:PORT of the controller's Server
	Authority []byte // the certificate of the authority that has issued the controller's, PEM

	// Certificate is that of the client, for Renew and Revoked.
	Certificate *tls.Certificate
}

// Pair is a certificate with its key.
type Pair struct {
	Leaf *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// PEM returns the certificate and the key as PEM, so that one file has both.
func (p Pair) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		return nil, err
	}
	return append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Leaf.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Issue makes a key, and has the authority issue a certificate for it, on its own machine.
func Issue(a *authority.Authority, now time.Time, s authority.Subject) (Pair, error) {
	key, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	leaf, err := a.Issue(now, s, &key.PublicKey)
	return Pair{leaf, key}, err
}

// NewRequest makes a key and a certificate request for it.
func NewRequest(name string) (*ecdsa.PrivateKey, []byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	return key, der, err
}

// Join gets the certificate of a join file, and the list of revoked certificates, PEM. If
// the response gets lost, it asks once more: the controller issues one certificate only,
// but sends it again for the same key.
func Join(ctx context.Context, j JoinFile) (p Pair, revoked []byte, err error) {
	c := &Client{Address: j.JoinAddress(), Authority: []byte(j.Authority)}
	key, der, err := NewRequest(j.Name)
	if err != nil {
		return Pair{}, nil, err
	}
	in := request{Secret: j.Secret, Request: der}
	p, revoked, err = c.certificate(ctx, joinPath, in, key)
	if lost := (*lostError)(nil); errors.As(err, &lost) {
		p, revoked, err = c.certificate(ctx, joinPath, in, key)
	}
	if err != nil {
		return Pair{}, nil, err
	}
	if got := p.Leaf.Subject; got.CommonName != j.Name || !slices.Equal(got.OrganizationalUnit, []string{string(j.Kind)}) {
		return Pair{}, nil, fmt.Errorf("the controller sent a certificate for the %s %q", got.OrganizationalUnit, got.CommonName)
	}
	return p, revoked, nil
}

// Renew gets a certificate with the names of Certificate and a new key, and the list of
// revoked certificates, PEM.
func (c *Client) Renew(ctx context.Context) (p Pair, revoked []byte, err error) {
	old := c.Certificate.Leaf
	key, der, err := NewRequest(old.Subject.CommonName)
	if err != nil {
		return Pair{}, nil, err
	}
	p, revoked, err = c.certificate(ctx, renewPath, request{Request: der}, key)
	if err != nil {
		return Pair{}, nil, err
	}
	if !slices.Equal(security.CertificateNames(p.Leaf), security.CertificateNames(old)) {
		return Pair{}, nil, fmt.Errorf("the controller sent a certificate for %q", security.CertificateNames(p.Leaf))
	}
	return p, revoked, nil
}

// Revoked gets the list of revoked certificates, PEM.
func (c *Client) Revoked(ctx context.Context) ([]byte, error) {
	text, err := c.do(ctx, http.MethodGet, revokedPath, nil)
	if err != nil {
		return nil, err
	}
	return text, c.checkRevoked(text)
}

// checkRevoked returns an error unless the authority has signed a list of revoked
// certificates.
func (c *Client) checkRevoked(text []byte) error {
	issuer, err := parseAuthority(c.Authority)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("the controller sent no list of revoked certificates")
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err == nil {
		err = list.CheckSignatureFrom(issuer)
	}
	if err != nil {
		return fmt.Errorf("list of revoked certificates from the controller: %w", err)
	}
	return nil
}

// certificate asks for a certificate for a key, and checks it.
func (c *Client) certificate(ctx context.Context, path string, in request, key *ecdsa.PrivateKey) (p Pair, revoked []byte, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return Pair{}, nil, err
	}
	text, err := c.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return Pair{}, nil, err
	}
	var out response
	if err := json.Unmarshal(text, &out); err != nil {
		return Pair{}, nil, fmt.Errorf("response of the controller: %w", err)
	}
	leaf, err := c.checkCertificate([]byte(out.Certificate), key)
	if err != nil {
		return Pair{}, nil, err
	}
	revoked = []byte(out.Revoked)
	return Pair{leaf, key}, revoked, c.checkRevoked(revoked)
}

// checkCertificate returns a certificate of the authority for a key.
func (c *Client) checkCertificate(text []byte, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the controller sent no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate from the controller: %w", err)
	}
	issuer, err := parseAuthority(c.Authority)
	if err != nil {
		return nil, err
	}
	if err := leaf.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("certificate from the controller: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the controller sent a certificate for another key")
	}
	return leaf, nil
}

// lostError is a failure after which the controller may have issued a certificate.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// do sends a request and returns the body of the response, or the error in it.
func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "https://"+c.Address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeaders}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r) // follows no redirects, and uses no proxy
	if err != nil {
		return nil, c.explain(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err != nil {
		return nil, &lostError{fmt.Errorf("controller %s: %w", c.Address, err)}
	}
	if len(text) > maxResponse {
		return nil, fmt.Errorf("controller %s: the response is larger than %d bytes", c.Address, maxResponse)
	}
	if resp.StatusCode == http.StatusOK {
		return text, nil
	}
	var out response
	if json.Unmarshal(text, &out) != nil || out.Error == "" {
		return nil, fmt.Errorf("controller %s: status %s", c.Address, resp.Status)
	}
	return nil, &RefusedError{Controller: c.Address, Reason: out.Error}
}

// RefusedError is the answer of a controller that issues no certificate.
type RefusedError struct{ Controller, Reason string }

// Error implements the error interface.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("controller %s: %.300s", e.Controller, e.Reason)
}

// explain adds what an operator can do about err.
func (c *Client) explain(err error) error {
	var invalid x509.CertificateInvalidError
	hint := ""
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = fmt.Sprintf(" (the clock of this machine is at %s; compare it with the controller's)", time.Now().UTC().Format(time.RFC3339))
	case errors.As(err, new(x509.UnknownAuthorityError)):
		hint = " (it is not the controller that made the file, or has a new authority)"
	case errors.As(err, new(x509.HostnameError)):
		hint = " (on the controller's machine, \"zeekwire bootstrap --replace --name\" adds a name to its certificate)"
	}
	err = fmt.Errorf("controller %s: %w%s", c.Address, err, hint)
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" || errors.As(err, new(*tls.CertificateVerificationError)) {
		return err
	}
	return &lostError{err}
}

// tls returns a configuration that accepts only a controller with a certificate of the
// authority for the host of Address.
func (c *Client) tls() (*tls.Config, error) {
	issuer, err := parseAuthority(c.Authority)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(issuer)
	config := &tls.Config{
		ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		VerifyConnection: func(state tls.ConnectionState) error {
			// An agent on the machine of the controller may have its address in its
			// certificate.
			if kind := state.PeerCertificates[0].Subject.OrganizationalUnit; !slices.Equal(kind, []string{string(authority.Controller)}) {
				return fmt.Errorf("the certificate of the server is not that of a controller, but of %q", kind)
			}
			return nil
		},
	}
	if c.Certificate != nil {
		config.Certificates = []tls.Certificate{*c.Certificate}
	}
	return config, nil
}
