// Package enrol issues certificates over the network: a machine joins a cluster with a
// join file, and renews its certificate later.
//
// The protocol is HTTPS with small JSON messages. The server has a certificate of the
// authority that the join file names, so that the secret in the file goes to no other
// server. The key is made on the machine, and never leaves it.
package enrol

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/serving"
)

// Limits of the server. All of its clients are anonymous until they have sent a request.
const (
	maxBody      = 16 << 10
	maxHeader    = 4 << 10
	maxSecret    = 128
	requestTime  = 10 * time.Second // for the TLS handshake and the request
	responseTime = 20 * time.Second
)

// Paths of the server.
const (
	joinPath    = "/join"
	renewPath   = "/renew"
	revokedPath = "/revoked"
)

// request is the body of a request for a certificate.
type request struct {
	Secret  string `json:"secret,omitempty"` // of joinPath
	Request []byte `json:"request"`          // a certificate request, DER
}

// response is the body of a response.
type response struct {
	Certificate string `json:"certificate,omitempty"` // PEM
	Revoked     string `json:"revoked,omitempty"`     // list of revoked certificates, PEM
	Error       string `json:"error,omitempty"`
}

// Server issues certificates.
type Server struct {
	Authority *authority.Authority

	// TLS is the configuration of the listener. It asks clients for a certificate,
	// verifies it if there is one, and does not require one.
	TLS *tls.Config

	// Now returns the time; if nil, time.Now.
	Now func() time.Time

	// Joined, if non-nil, is called for each request that got a certificate. It must
	// not block.
	Joined func()

	Log zerolog.Logger
}

// Serve serves requests until ctx ends, and closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	notices := admission.NewNotices(s.Log)
	server := &http.Server{
		Handler:     s.handler(notices),
		TLSConfig:   s.TLS,
		ReadTimeout: requestTime, WriteTimeout: responseTime,
		MaxHeaderBytes: maxHeader,
		ConnState:      admission.Track,
		ErrorLog:       notices.Logger("join"),
	}
	server.SetKeepAlivesEnabled(false)
	admitted := admission.New(serving.FewClients(), notices).Listener(l)
	return serving.Serve(ctx, server, tls.NewListener(admitted, s.TLS))
}

func (s *Server) handler(notices *admission.Notices) http.Handler {
	h := handler{s, notices}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+joinPath, h.join)
	mux.HandleFunc("POST "+renewPath, h.renew)
	mux.HandleFunc("GET "+revokedPath, h.revoked)
	return mux
}

type handler struct {
	*Server
	notices *admission.Notices
}

func (h handler) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

// errSecret is the response to a malformed secret.
var errSecret = errors.New("the secret is missing or damaged")

// join issues the certificate of an invitation.
func (h handler) join(w http.ResponseWriter, r *http.Request) {
	in, err := read(w, r)
	if err == nil && (in.Secret == "" || len(in.Secret) > maxSecret) {
		err = errSecret
	}
	if err != nil {
		h.refuse(w, r, http.StatusBadRequest, err)
		return
	}
	if known, err := h.Authority.Knows(in.Secret); err != nil || !known {
		h.refuse(w, r, http.StatusForbidden, cmp.Or(err, authority.ErrUnknown))
		return
	}
	c, err := h.Authority.Join(h.now(), in.Secret, in.Request)
	if err != nil {
		h.refuse(w, r, http.StatusForbidden, err)
		return
	}
	h.issued(w, r, "joined", c.Subject.CommonName, c.Raw)
}

// renew issues a certificate to the holder of an earlier one.
func (h handler) renew(w http.ResponseWriter, r *http.Request) {
	in, err := read(w, r)
	switch {
	case err != nil:
		h.refuse(w, r, http.StatusBadRequest, err)
		return
	case len(r.TLS.VerifiedChains) == 0:
		h.refuse(w, r, http.StatusUnauthorized, errors.New("a certificate is renewed for its holder only, and none was shown"))
		return
	}
	c, err := h.Authority.Renew(h.now(), r.TLS.PeerCertificates[0], in.Request)
	if err != nil {
		h.refuse(w, r, http.StatusForbidden, err)
		return
	}
	h.issued(w, r, "certificate renewed", c.Subject.CommonName, c.Raw)
}

// revoked sends the list of revoked certificates to holders of a certificate.
func (h handler) revoked(w http.ResponseWriter, r *http.Request) {
	if len(r.TLS.VerifiedChains) == 0 {
		h.refuse(w, r, http.StatusUnauthorized, errors.New("the list is for holders of a certificate"))
		return
	}
	text, err := os.ReadFile(h.Authority.RevokedFile())
	if err != nil {
		h.refuse(w, r, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(text) // the client sees that the connection ended
}

// read reads the body of a request. Web pages can send requests, but not of this type,
// and not without an origin.
func read(w http.ResponseWriter, r *http.Request) (request, error) {
	var in request
	if r.Header.Get("Origin") != "" || r.Header.Get("Content-Type") != "application/json" {
		return in, errors.New("want a request of a program, with the type application/json")
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	if err := d.Decode(&in); err != nil {
		return in, errors.New("the request is not valid JSON, or too large")
	}
	return in, nil
}

// public are the errors whose text is for the client. That of others is for the log.
var public = []error{
	authority.ErrUnknown, authority.ErrUsed, authority.ErrExpired, authority.ErrClock,
	authority.ErrEarly, authority.ErrRevoked, authority.ErrRequest,
}

func (h handler) refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	h.notices.Warn("refused").Err(err).Str("addr", r.RemoteAddr).Str("path", r.URL.Path).Msg("request for a certificate refused")
	text := "the controller cannot issue the certificate; its log has the reason"
	for _, p := range public {
		if errors.Is(err, p) {
			text = p.Error()
		}
	}
	if status != http.StatusForbidden && status != http.StatusInternalServerError {
		text = err.Error()
	}
	respond(w, status, response{Error: text})
}

// issued sends a certificate.
func (h handler) issued(w http.ResponseWriter, r *http.Request, what, name string, der []byte) {
	e := h.Log.Info().Str("name", name).Str("addr", r.RemoteAddr)
	if len(r.TLS.PeerCertificates) > 0 {
		e = e.Strs("certificate", security.CertificateNames(r.TLS.PeerCertificates[0]))
	}
	e.Msg(what)
	if h.Joined != nil {
		h.Joined()
	}
	revoked, err := os.ReadFile(h.Authority.RevokedFile())
	if err != nil {
		h.refuse(w, r, http.StatusInternalServerError, err)
		return
	}
	respond(w, http.StatusOK, response{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), Revoked: string(revoked),
	})
}

func respond(w http.ResponseWriter, status int, out response) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // the client sees that the connection ended
}
