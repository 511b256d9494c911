package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// Config configures a Server. Dialects are required.
type Config struct {
	// Dialects are the dialects of the controller.
	Dialects []*zeekapi.Dialect

	// Clients are the accepted clients. If nil, every sender on this machine may do
	// everything, and others may only read, unless Certified is set.
	Clients *access.Clients

	// Certified means that TLS requires a certificate of every client. Without Clients,
	// all of them may do everything.
	Certified bool

	// Hosts are the names by which web pages may reach the server.
	Hosts admission.Hosts

	// Monitoring, if non-nil, serves /metrics, /healthz and /readyz. With Clients,
	// /metrics needs the permission to read.
	Monitoring http.Handler

	// Console, if non-nil, returns the handler of all paths outside of the API.
	Console func(*Server) http.Handler

	// Version is the version of the program, for the description of the API.
	Version string

	// Limits are the limits of the server. Zero fields mean the defaults.
	Limits Limits

	// Observe, if non-nil, is called after each response. Calls may be concurrent.
	Observe func(Exchange)

	// Log receives what clients do. The zero value discards it.
	Log zerolog.Logger
}

// Server is the HTTP server of a controller, without listener. Its methods may be called
// concurrently.
type Server struct {
	cfg      Config
	bus      *membus.Server
	reader   *client.Client // of the server itself; it may only read
	events   *client.Client // receives the events of the controller
	steady   *steadyBus     // of events
	callers  *callers
	sessions *sessions
	hub      *hub
	live     atomic.Pointer[hub] // the same, for catchUp
	jobs     *jobs
	status   *statusCache
	posts    *posts
	visits   *visits
	bodies   *bodies

	description func() ([]byte, error)

	handler http.Handler
	notices *admission.Notices

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

// The peer IDs of the server itself. Its requests only read.
var (
	systemID = uuid.MustParse("7e9c6b0e-5d3a-4c55-8a44-7a6f2f0a3c11")
	eventsID = uuid.MustParse("7e9c6b0e-5d3a-4c55-8a44-7a6f2f0a3c12")
)

func systemPeer(id uuid.UUID) broker.Peer {
	return broker.Peer{ID: id, Name: "HTTP server", Application: application}
}

// New returns a server. The caller must give its Bus to the controller, with the server
// as Clients of the access rules, and Close the server.
func New(cfg Config) (*Server, error) {
	if len(cfg.Dialects) == 0 {
		return nil, errors.New("httpapi: Config has no dialects")
	}
	limits, err := cfg.Limits.complete()
	if err != nil {
		return nil, err
	}
	cfg.Limits = limits
	s := &Server{cfg: cfg, notices: admission.NewNotices(cfg.Log)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var requests, events []string
	for _, d := range cfg.Dialects {
		requests = append(requests, d.Topics.Controller)
		if d.Topics.Events != "" {
			events = append(events, d.Topics.Events)
		}
	}
	s.bus = membus.NewServer(requests...)
	line, err := s.bus.Connect(systemPeer(systemID), requests...)
	if err != nil {
		return nil, err
	}
	s.steady = &steadyBus{bus: s.bus, topics: events, lost: s.catchUp}
	if err := s.steady.connect(); err != nil {
		return nil, err
	}
	s.reader = client.New(line, cfg.Dialects...)
	s.events = client.New(s.steady, cfg.Dialects...)
	s.callers = newCallers(s.bus, cfg.Dialects, requests, limits)
	s.sessions = newSessions(limits)
	s.visits = newVisits(limits)
	s.bodies = newBodies(limits.Memory)
	s.status = newStatusCache(s.reader)
	s.posts = newPosts(s.reader)
	s.hub = newHub(s.ctx, s.reader, s.status, s.posts, limits)
	s.jobs = newJobs(s.ctx, limits, s.hub, cfg.Log)
	s.live.Store(s.hub)
	s.events.OnEvent(s.hub.event)
	s.description = s.described()
	s.handler = s.routes()
	return s, nil
}

// Bus returns the bus that the controller must read.
func (s *Server) Bus() broker.Bus { return s.bus }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Reload ends the sessions and streams of clients that are no longer accepted. Call it
// after the clients were loaded again.
func (s *Server) Reload() {
	s.sessions.purge(func(p broker.Peer) bool { return s.Role(p) != access.None })
	s.hub.recheck()
}

// Close ends all requests, streams and jobs of the server, and the connections to the
// controller.
func (s *Server) Close() error {
	s.cancel()
	s.hub.close()
	s.jobs.close()
	s.callers.close()
	return errors.Join(s.reader.Close(), s.events.Close(), s.bus.Close())
}

// catchUp is called after the server's connection for events was lost, because it did
// not keep up with the events. Streams end, because they lack some, and are resumed by
// their clients.
func (s *Server) catchUp() {
	if h := s.live.Load(); h != nil {
		h.restart()
	}
	s.cfg.Log.Warn().Msg("the HTTP server did not keep up with the events of the controller; streams begin again")
}

// routes returns the handler of all paths.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	s.handleAPI(mux)
	console := http.NotFoundHandler()
	if s.cfg.Console != nil {
		console = s.cfg.Console(s)
	}
	mux.Handle("/", console)
	guarded := s.identify(s.limit(routed(mux)))
	if m := s.cfg.Monitoring; m != nil {
		guarded = s.monitoring(m, guarded)
	}
	return s.measured(s.secure(guarded))
}

// monitoring serves health without authentication, and metrics to those who may read.
func (s *Server) monitoring(m, others http.Handler) http.Handler {
	metrics := s.identify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.permitted(w, r, zeekapi.Reads) {
			m.ServeHTTP(w, r)
		}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz", "/readyz":
			exchangeOf(r.Context()).Route = r.URL.Path
			m.ServeHTTP(w, r)
		case "/metrics":
			exchangeOf(r.Context()).Route = r.URL.Path
			metrics.ServeHTTP(w, r)
		default:
			others.ServeHTTP(w, r)
		}
	})
}

// The headers of all responses. Pages may load and reach nothing but this server, run no
// inline scripts, and be shown in no frame.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
}

// secure sets the headers, and refuses requests that other web pages cause.
func (s *Server) secure(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for name, value := range securityHeaders {
			h.Set(name, value)
		}
		if !isAsset(r.URL.Path) {
			h.Set("Cache-Control", "no-store")
		}
		if err := s.cfg.Hosts.CheckRead(r); err != nil {
			s.notices.Warn("host").Err(err).Str("addr", r.RemoteAddr).Msg("HTTP request refused")
			WriteProblem(w, r, http.StatusForbidden, err.Error())
			return
		}
		if err := origin.Check(r); err != nil {
			s.notices.Warn("origin").Err(err).Str("addr", r.RemoteAddr).Str("origin", r.Header.Get("Origin")).Msg("HTTP request of another web page refused")
			WriteProblem(w, r, http.StatusForbidden, "the request comes from a web page of another origin")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// AssetPrefix is the prefix of the paths of a console's files that browsers may cache.
// Their handler sets Cache-Control.
const AssetPrefix = "/assets/"

func isAsset(path string) bool { return strings.HasPrefix(path, AssetPrefix) }

func isAPI(path string) bool { return path == "/api" || strings.HasPrefix(path, "/api/") }

// Time limits of a request.
const (
	bodyTime  = 30 * time.Second // to send the body
	writeTime = 30 * time.Second // to read the response, or a part of a stream
)

type visitKey struct{}

// Leave makes a request no longer count as one that is under way, but as a stream. Handlers
// of streams call it, because these have a limit of their own.
func (s *Server) Leave(r *http.Request) {
	exchangeOf(r.Context()).Stream = true
	if v, ok := r.Context().Value(visitKey{}).(*visit); ok {
		v.stream()
	}
}

// AllowUpload makes a request accept a body of n bytes, however large Limits.Body is, and
// gives the client that much time to send it. The handler must call it before it reads the
// body, and must limit such requests itself.
func (s *Server) AllowUpload(w http.ResponseWriter, r *http.Request, n int64, within time.Duration) {
	v, ok := r.Context().Value(visitKey{}).(*visit)
	if !ok {
		return
	}
	r.Body = http.MaxBytesReader(unwrapped(w), v.body, n)
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(within)) // not all connections have deadlines
}

// limit limits the rate and the number of the requests of each client, and the time and
// the size of their bodies.
func (s *Server) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visit, err := s.visits.enter(visitorOf(r))
		if err != nil {
			w.Header().Set("Retry-After", "1")
			WriteProblem(w, r, http.StatusTooManyRequests, err.Error())
			return
		}
		defer visit.end()
		r = r.WithContext(context.WithValue(r.Context(), visitKey{}, visit))
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // not all connections have deadlines
		_ = control.SetWriteDeadline(time.Now().Add(longWait + writeTime))
		visit.body = r.Body
		r.Body = http.MaxBytesReader(unwrapped(w), r.Body, s.cfg.Limits.Body)
		next.ServeHTTP(w, r)
	})
}
