package httpapi

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// Times of sessions.
const (
	sessionIdle = time.Hour      // after the last request
	sessionLife = 12 * time.Hour // in all
)

// The names of the cookie. A browser accepts the prefix only for cookies that other hosts
// and paths cannot set, over TLS.
const (
	cookieName       = "zeekwire-session"
	secureCookieName = "__Host-" + cookieName
)

// session is a browser that has logged in.
type session struct {
	identity *broker.Identity
	from     netip.Addr
	begun    time.Time
	used     time.Time
}

// expires returns the time at which the session ends unless it is used.
func (s *session) expires() time.Time {
	end := s.begun.Add(sessionLife)
	if idle := s.used.Add(sessionIdle); idle.Before(end) {
		return idle
	}
	return end
}

// sessions keeps the sessions, by the hash of the secret in their cookies. It may be used
// concurrently.
type sessions struct {
	most, mostOfClient int
	now                func() time.Time

	mu     sync.Mutex
	byHash map[[sha256.Size]byte]*session
}

func newSessions(limits Limits) *sessions {
	return &sessions{
		most: limits.Sessions, mostOfClient: limits.SessionsPerClient, now: time.Now,
		byHash: make(map[[sha256.Size]byte]*session),
	}
}

// begin begins a session and returns the secret of its cookie. If the client has too many,
// its oldest one ends.
func (s *sessions) begin(id *broker.Identity, from netip.Addr) (secret string, err error) {
	secret = rand.Text() + rand.Text()
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	own, oldest := 0, [sha256.Size]byte{}
	for hash, x := range s.byHash {
		if x.identity.Name() != id.Name() {
			continue
		}
		if first := s.byHash[oldest]; first == nil || x.used.Before(first.used) {
			oldest = hash
		}
		own++
	}
	if own >= s.mostOfClient {
		delete(s.byHash, oldest)
	}
	if len(s.byHash) >= s.most {
		return "", errors.New("too many sessions")
	}
	s.byHash[sha256.Sum256([]byte(secret))] = &session{identity: id, from: from, begun: now, used: now}
	return secret, nil
}

// of returns the session of a request, nil if it has none. A cookie is of no use at another
// address than that of the browser that got it.
func (s *sessions) of(r *http.Request) *session {
	cookie := sessionCookie(r)
	if cookie == nil {
		return nil
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byHash[sha256.Sum256([]byte(cookie.Value))]
	if x == nil || !x.expires().After(now) || x.from != sender(r).Addr() {
		return nil
	}
	x.used = now
	copied := *x
	return &copied
}

// end ends the session of a request.
func (s *sessions) end(r *http.Request) {
	if cookie := sessionCookie(r); cookie != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byHash, sha256.Sum256([]byte(cookie.Value)))
	}
}

// count returns the number of sessions.
func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(s.now())
	return len(s.byHash)
}

// purge ends the sessions of peers that are no longer accepted.
func (s *sessions) purge(accepted func(broker.Peer) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, x := range s.byHash {
		if !accepted(broker.Peer{Identity: x.identity, Addr: netip.AddrPortFrom(x.from, 0)}) {
			delete(s.byHash, hash)
		}
	}
}

// expire must be called with the lock held.
func (s *sessions) expire(now time.Time) {
	for hash, x := range s.byHash {
		if !x.expires().After(now) {
			delete(s.byHash, hash)
		}
	}
}

// sessionCookie returns the cookie of a request, nil if it has none. Without TLS, it counts
// only on this machine.
func sessionCookie(r *http.Request) *http.Cookie {
	name := cookieName
	if secureCookies(r) {
		name = secureCookieName
	} else if !local(r) {
		return nil
	}
	cookie, err := r.Cookie(name)
	if err != nil || cookie.Value == "" {
		return nil
	}
	return cookie
}

func hasSession(r *http.Request) bool { return sessionCookie(r) != nil }

// local reports whether a request was sent on this machine.
func local(r *http.Request) bool {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// errNoClients is the error of a login without a file of clients.
var errNoClients = errors.New("the controller has no file of clients (--clients), so there is nothing to log in for")

// LogIn begins a session for the browser that sent the request, if the token is that of a
// client, and sets its cookie. The errors are those of access.Clients.Authorize, with
// texts for the user.
func (s *Server) LogIn(w http.ResponseWriter, r *http.Request, token string) (*Principal, error) {
	from := "addr " + sender(r).Addr().String()
	if s.cfg.Clients == nil {
		return nil, errNoClients
	}
	if err := s.visits.mayTry(from); err != nil {
		return nil, err
	}
	probe := &http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}, RemoteAddr: r.RemoteAddr, TLS: r.TLS}
	id, err := s.cfg.Clients.Authorize(probe)
	if err != nil {
		if errors.Is(err, access.ErrWrongToken) {
			s.visits.failed(from)
		}
		s.notices.Warn("login").Err(err).Str("addr", r.RemoteAddr).Msg("login refused")
		return nil, err
	}
	s.sessions.end(r)
	secret, err := s.sessions.begin(id, sender(r).Addr())
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, cookie(r, secret, int(sessionLife/time.Second)))
	p := &Principal{Name: id.Name(), How: BySession, Expires: s.sessions.now().Add(sessionIdle), server: s, peer: broker.Peer{Addr: sender(r), Name: id.Name(), Identity: id}}
	p.Role = s.Role(p.peer)
	s.cfg.Log.Info().Str("by", p.Name).Stringer("addr", p.Address()).Stringer("role", p.Role).Msg("logged in")
	return p, nil
}

// LogOut ends the session of the browser that sent the request, and removes its cookie.
func (s *Server) LogOut(w http.ResponseWriter, r *http.Request) {
	s.sessions.end(r)
	http.SetCookie(w, cookie(r, "", -1))
	if p := PrincipalOf(r.Context()); p != nil {
		s.cfg.Log.Info().Str("by", p.Name).Stringer("addr", p.Address()).Msg("logged out")
	}
}

// cookie returns the cookie of a session. Max-Age below zero removes it.
func cookie(r *http.Request, secret string, maxAge int) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName, Value: cmp.Or(secret, "ended"), Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secureCookies(r),
	}
	if c.Secure {
		c.Name = secureCookieName
	}
	return c
}
