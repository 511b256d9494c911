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

// Errors of Authorize. The texts are sent to the client, so they do not reveal
// what would have been accepted.
var (
	ErrNoProof    = errors.New("a token (Authorization: Bearer) or a client certificate is required")
	ErrWrongToken = errors.New("unknown token")
	ErrPlainToken = errors.New("a token must not be sent without encryption; use TLS")

	ErrNoCertificate = errors.New("a client certificate is required")
)

// Authorize identifies the sender of an HTTP request by the bearer token in
// the request or, without a token, by the certificate that the TLS layer has
// verified. Use it as the field Authorize of websocket.ServerConfig.
//
// A token without TLS is accepted only over the loopback interface, where
// others cannot intercept it.
func (c *Clients) Authorize(r *http.Request) (*broker.Identity, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		return c.authorizeToken(r, header)
	}
	id, err := Certificate(r)
	if err != nil {
		return nil, ErrNoProof
	}
	if c.list.Load().certificate(id.Names) == None {
		return nil, fmt.Errorf("unknown certificate for %q", id.Names)
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

// Certificate identifies the sender of an HTTP request by the certificate that
// the TLS layer has verified, whatever its names. Use it as the field
// Authorize of websocket.ServerConfig.
func Certificate(r *http.Request) (*broker.Identity, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, ErrNoCertificate
	}
	return &broker.Identity{Names: security.CertificateNames(r.TLS.PeerCertificates[0]), Certified: true}, nil
}
