package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// Principal is the sender of HTTP requests, as authenticated. It is valid during a
// request.
type Principal struct {
	// Name is the name of the client, or its address if it is anonymous.
	Name string

	// Role is its role, which is never access.None.
	Role access.Role

	// How tells by what it proved its name.
	How Proof

	// Expires is the time at which its session ends, zero without a session.
	Expires time.Time

	peer   broker.Peer
	server *Server

	mu     sync.Mutex
	caller *caller // nil until Client is called
}

// Proof is what a principal proved its name by.
type Proof string

// The proofs.
const (
	ByNothing     Proof = "nothing" // everybody is accepted
	ByToken       Proof = "token"
	ByCertificate Proof = "certificate"
	BySession     Proof = "session" // a cookie
)

// application is the program of all peers on the server's bus. A controller that stands by does
// not forward requests of zeekwire's programs: HTTP clients are redirected.
const application = "zeekwire HTTP server"

type principalKey struct{}

// PrincipalOf returns the sender of the request with that context, or nil if it has not
// proved who it is.
func PrincipalOf(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}

// May reports whether the principal may make requests with that effect.
func (p *Principal) May(e zeekapi.Effect) bool {
	return p != nil && p.Role.May(e)
}

// Address returns the address from which the principal sent the request.
func (p *Principal) Address() netip.Addr { return p.peer.Addr.Addr() }

// Client returns a client that makes requests of the controller as the principal. It is
// valid during the HTTP request, and must not be closed. Requests need a context with a
// deadline; see [Timeout].
func (p *Principal) Client() *client.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.caller == nil {
		p.caller = p.server.callers.acquire(p.peer)
	}
	return p.caller.client
}

// release gives the client back.
func (p *Principal) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.caller != nil {
		p.server.callers.release(p.caller)
		p.caller = nil
	}
}

// key identifies the principal for limits.
func (p *Principal) key() string { return visitorKey(p.peer) }

// visitorKey identifies a peer for limits: clients by name, anonymous ones by address.
func visitorKey(p broker.Peer) string {
	if name := p.Identity.Name(); name != "" {
		return "name " + name
	}
	return "addr " + p.Addr.Addr().String()
}

// visitorOf identifies the sender of a request for limits.
func visitorOf(r *http.Request) string {
	if p := PrincipalOf(r.Context()); p != nil {
		return p.key()
	}
	return "addr " + sender(r).Addr().String()
}

// Role implements access.Roles for the clients on the server's bus.
func (s *Server) Role(p broker.Peer) access.Role {
	switch {
	case p.ID == systemID, p.ID == eventsID:
		return access.ReadOnly
	case s.cfg.Clients != nil:
		return s.cfg.Clients.Role(p)
	case s.cfg.Certified && p.Identity != nil && p.Identity.Certified, p.Addr.Addr().IsLoopback():
		return access.Full
	}
	return access.ReadOnly
}

// Errors of authentication. Their texts are sent to the client.
var (
	errSession = errors.New("the session has ended; log in again")
	errRole    = errors.New("the client is no longer accepted")
)

// authenticate identifies the sender of a request. It returns an error if that is
// impossible, and no principal.
func (s *Server) authenticate(r *http.Request) (*Principal, error) {
	p := &Principal{server: s, peer: broker.Peer{Addr: sender(r), Application: application}}
	var err error
	switch cookie := s.sessions.of(r); {
	case s.cfg.Clients == nil && !s.cfg.Certified:
		p.How = ByNothing
	case s.cfg.Clients == nil:
		p.How = ByCertificate
		p.peer.Identity, err = access.Certificate(r)
	case r.Header.Get("Authorization") == "" && cookie != nil:
		p.How, p.Expires = BySession, cookie.expires()
		p.peer.Identity = cookie.identity
	default:
		p.How = ByCertificate
		if r.Header.Get("Authorization") != "" {
			p.How = ByToken
		}
		p.peer.Identity, err = s.cfg.Clients.Authorize(r)
		if errors.Is(err, access.ErrNoProof) && hasSession(r) {
			err = errSession
		}
	}
	if err != nil {
		return nil, err
	}
	p.peer.Name = cmp.Or(p.peer.Identity.Name(), claimedName(r))
	p.Name = cmp.Or(p.peer.Identity.Name(), p.peer.Addr.Addr().String())
	if p.Role = s.Role(p.peer); p.Role == access.None {
		return nil, errRole
	}
	return p, nil
}

// claimedName returns the name of the program that sent a request, as anonymous clients of
// the WebSocket server claim it, "" for none or an unusual one.
func claimedName(r *http.Request) string {
	const most = 64
	name := r.Header.Get("X-Application-Name")
	unusual := func(c rune) bool { return c <= ' ' || c > '~' }
	if len(name) > most || strings.ContainsFunc(name, unusual) {
		return ""
	}
	return name
}

// sender returns the address of the sender of a request, without zone. A request that came
// through a proxy has the unspecified address: it must not get the permissions of the
// machine on which the proxy runs, and what a proxy says about its origin proves nothing.
func sender(r *http.Request) netip.AddrPort {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || proxied(r) {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// proxied reports whether a request came through a proxy.
func proxied(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header[name] != nil {
			return true
		}
	}
	return false
}

// identify adds the principal to the context of requests. Those of the API need one.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := "addr " + sender(r).Addr().String()
		if err := s.visits.mayTry(from); err != nil && r.Header.Get("Authorization") != "" {
			w.Header().Set("Retry-After", "10")
			WriteProblem(w, r, http.StatusTooManyRequests, err.Error())
			return
		}
		p, err := s.authenticate(r)
		switch {
		case err == nil:
			defer p.release()
			r = r.WithContext(context.WithValue(r.Context(), principalKey{}, p))
		case errors.Is(err, access.ErrWrongToken):
			s.visits.failed(from)
			s.notices.Warn("token").Err(err).Str("addr", r.RemoteAddr).Msg("HTTP request refused")
		}
		if err != nil && (isAPI(r.URL.Path) && !isOpen(r) || r.URL.Path == "/metrics" || r.Header.Get("Authorization") != "") {
			s.unauthorized(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOpen reports whether a request of the API needs no principal: to log in.
func isOpen(r *http.Request) bool {
	return r.URL.Path == zeekapi.APIPrefix+"/session" && r.Method == http.MethodPost
}

func (s *Server) unauthorized(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="zeekwire"`)
	WriteProblem(w, r, http.StatusUnauthorized, err.Error())
}

// permitted reports whether the sender of a request may make requests with that effect, and
// refuses the request if not.
func (s *Server) permitted(w http.ResponseWriter, r *http.Request, e zeekapi.Effect) bool {
	p := PrincipalOf(r.Context())
	switch {
	case p == nil:
		s.unauthorized(w, r, access.ErrNoProof)
		return false
	case !p.May(e):
		s.cfg.Log.Warn().Str("by", p.Name).Stringer("addr", p.Address()).Str("method", r.Method).Str("path", r.URL.Path).Msg("refusing an HTTP request")
		WriteProblem(w, r, http.StatusForbidden, "client '"+p.Name+"' may only read"+s.remedy(p))
		return false
	}
	return true
}

// remedy tells how a principal could get more permissions.
func (s *Server) remedy(p *Principal) string {
	if s.cfg.Clients == nil && p.How == ByNothing {
		return ": without a file of clients (--clients), only clients on the controller's machine may change something"
	}
	return ""
}

// secureCookies reports whether cookies of the sender travel over TLS only.
func secureCookies(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
