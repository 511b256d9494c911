package access

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
)

// Why Authorize refuses somebody. The texts are for the client, too, and do not
// tell what would have been right.
var (
	ErrNoProof    = errors.New("a token (Authorization: Bearer) or a client certificate is needed")
	ErrWrongToken = errors.New("the token is not known")
	ErrPlainToken = errors.New("a token must not travel in the clear, use TLS")

	ErrNoCertificate = errors.New("a client certificate is needed")
)

// Authorize says who sends an HTTP request: the client with the bearer token in
// it or, without one, with the certificate that the TLS layer has verified. It
// is for the field of that name of websocket.ServerConfig.
//
// A token in the clear counts only from the same machine, where others cannot
// listen.
func (c *Clients) Authorize(r *http.Request) (*broker.Identity, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		return c.authorizeToken(r, header)
	}
	id, err := Certificate(r)
	if err != nil {
		return nil, ErrNoProof
	}
	if c.list.Load().certificate(id.Names) == None {
		return nil, fmt.Errorf("the certificate is for %q, which is not known", id.Names)
	}
	return id, nil
}

func (c *Clients) authorizeToken(r *http.Request, header string) (*broker.Identity, error) {
	if r.TLS == nil && !local(r.RemoteAddr) {
		return nil, ErrPlainToken
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, ErrNoProof
	}
	t, ok := c.list.Load().token(strings.TrimSpace(token))
	if !ok {
		return nil, ErrWrongToken
	}
	return &broker.Identity{Names: []string{t.name}, Proof: t.proof()}, nil
}

func local(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// Certificate says who sends an HTTP request by nothing but the certificate
// that the TLS layer has verified, whoever it is for. It is for the same field.
func Certificate(r *http.Request) (*broker.Identity, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, ErrNoCertificate
	}
	return &broker.Identity{Names: security.CertificateNames(r.TLS.PeerCertificates[0]), Certified: true}, nil
}
