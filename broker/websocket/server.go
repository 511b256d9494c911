package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// ServerConfig says how a Server behaves. Zero values stand for the defaults.
type ServerConfig struct {
	// Endpoint and Version are what clients learn from the ack: as in Zeek,
	// the endpoint with "-websocket-" and a number, and Zeek's version.
	Endpoint string
	Version  string

	// TLS is for Serve; nil means none.
	TLS *tls.Config

	// Authorize decides about a client before the connection is upgraded; an
	// error refuses it with status 401. Who the client has proved to be becomes
	// the peer's Identity, in place of the name that it gives itself. Nil admits
	// everybody, as Zeek does.
	Authorize func(*http.Request) (*broker.Identity, error)

	// Admits decides again about a client, before each message to it: one that
	// may no longer be here is disconnected. Nil admits all.
	Admits func(broker.Peer) bool

	// Private keeps what clients publish from each other: only Next returns it.
	Private bool

	// CheckOrigin decides about clients that say which web page they serve.
	// Nil, unlike Zeek, admits only pages of the same host, lest any page in
	// any browser talk to us. Programs say nothing or the right host, except
	// through a proxy that changes the Host header.
	CheckOrigin func(*http.Request) bool

	MaxClients   int
	MaxMessage   int64         // bytes; a client that sends more is closed
	PingInterval time.Duration // negative for no pings

	// SendQueue bounds the messages that wait for one client, and SendOverflow
	// says what happens to more. A client that is disconnected for it is lost
	// with broker.ErrOverflow. OverflowBlock makes publishers, other clients
	// among them, wait for the slowest client. All queues are limited to 64 MiB
	// too, or to four of the largest messages if that is more. What waits is
	// taken all at a time, so that there may be twice as much in memory.
	SendQueue    int
	SendOverflow broker.Overflow

	// ReceiveQueue bounds the messages of all clients that wait for Next, and
	// the news of clients: these are never dropped, instead clients have to
	// wait for their ack. OverflowBlock makes the clients wait, as Zeek's
	// server does.
	ReceiveQueue    int
	ReceiveOverflow broker.Overflow

	// Hooks may implement HookPeers, HookTraffic and HookDrops.
	Hooks any

	// Log may be nil.
	Log *zerolog.Logger
}

// Server is a WebSocket server that clients of Zeek take for Zeek
// (Zeek: cluster/websocket). What a client publishes goes to Next, whatever the
// topic, and unless the server is private to all other clients that want it; what
// Publish is given goes to all that do.
//
// As an http.Handler it upgrades every path, and then tells clients of wrong
// ones; use Serve unless something else listens already.
type Server struct {
	cfg      ServerConfig
	hooks    hooks
	log      zerolog.Logger
	upgrader websocket.Upgrader
	inbox    *queue.Queue[broker.Notification]

	done    chan struct{} // closed by Close
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	next    int // number of the next client
	waiting int // upgrades in progress
	clients map[*client]struct{}
}

var (
	_ broker.Bus      = (*Server)(nil)
	_ broker.Director = (*Server)(nil)
)

// NewServer returns a server without clients. Close must be called.
func NewServer(cfg ServerConfig) *Server {
	cfg.MaxClients = positiveOr(cfg.MaxClients, DefaultMaxClients)
	cfg.MaxMessage = positiveOr(cfg.MaxMessage, DefaultMaxMessage)
	cfg.PingInterval = pings(cfg.PingInterval)
	cfg.SendQueue = positiveOr(cfg.SendQueue, DefaultQueue)
	cfg.ReceiveQueue = positiveOr(cfg.ReceiveQueue, DefaultQueue)
	return &Server{
		cfg:   cfg,
		log:   orSilent(cfg.Log),
		hooks: newHooks(cfg.Hooks),
		upgrader: websocket.Upgrader{
			HandshakeTimeout: serverHandshakeTimeout,
			ReadBufferSize:   readBuffer,
			CheckOrigin:      cfg.CheckOrigin,
		},
		inbox:   newInbox(cfg.ReceiveQueue, cfg.ReceiveOverflow, cfg.MaxMessage),
		done:    make(chan struct{}),
		clients: make(map[*client]struct{}),
	}
}

// Serve accepts clients on l until ctx ends or the server is closed, closes l
// and returns nil then. Clients stay until Close.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	l = &limitedListener{Listener: l, slots: make(chan struct{}, 2*s.cfg.MaxClients)}
	if s.cfg.TLS != nil {
		config := s.cfg.TLS.Clone()
		config.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, config)
	}
	web := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: serverHandshakeTimeout, // covers the TLS handshake too
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          stdlog.New(logWriter{s.log}, "", 0),
	}
	web.SetKeepAlivesEnabled(false)
	ctx, cancel := context.WithCancel(ctx)
	var closing sync.WaitGroup
	closing.Go(func() {
		select {
		case <-ctx.Done():
		case <-s.done:
		}
		web.Close()
	})
	err := web.Serve(l)
	cancel()
	closing.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("websocket: accepting clients: %w", err)
}

// logWriter takes the lines of package http, mostly about TLS handshakes that
// failed.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Info().Msg(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

// ServeHTTP makes the request a client and returns when that is gone.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get("X-Application-Name")
	problem := badRequest(r.URL.Path, name)
	var identity *broker.Identity
	if s.cfg.Authorize != nil {
		var err error
		if identity, err = s.cfg.Authorize(r); err != nil {
			s.log.Warn().Err(err).Str("addr", r.RemoteAddr).Msg("websocket client not authorized")
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
	}
	number, err := s.reserve()
	if err != nil {
		s.log.Warn().Err(err).Str("addr", r.RemoteAddr).Int("max", s.cfg.MaxClients).Msg("websocket client refused")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer s.running.Done()
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.log.Info().Err(err).Str("addr", r.RemoteAddr).Msg("websocket upgrade failed")
		s.remove(nil)
		return
	}
	c := s.newClient(ws, name, identity, number)
	s.add(c)
	if problem != nil {
		c.refuse(*problem)
	}
	err = c.run()
	c.out.Close() // lest somebody wait for room in it
	s.remove(c)
	if c.state == clientSubscribed {
		s.inbox.Force(broker.PeerLost{Peer: c.peer, Err: err})
		s.hooks.PeerLost(c.peer, err)
	}
	c.log.Debug().Err(err).Msg("websocket client gone")
}

// badRequest returns what Zeek would complain about, if anything.
func badRequest(path, name string) *jsonv1.Error {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_-.=:*@"
	switch {
	case path != jsonv1.Path:
		return &jsonv1.Error{Code: "invalid_uri", Context: "Invalid URI - use " + jsonv1.Path}
	case strings.Trim(name, allowed) != "":
		return &jsonv1.Error{Code: "invalid_application_name", Context: "Invalid X-Application-Name"}
	}
	return nil
}

// reserve makes sure that there is room for one more client and that Close
// waits for it.
func (s *Server) reserve() (number int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, errors.New("terminating")
	case len(s.clients)+s.waiting >= s.cfg.MaxClients:
		return 0, errors.New("too many clients")
	}
	s.waiting++
	s.running.Add(1)
	s.next++
	return s.next - 1, nil
}

func (s *Server) add(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
	s.clients[c] = struct{}{}
	if s.closed {
		c.drain(terminating)
	}
}

// remove forgets c, or an upgrade that failed.
func (s *Server) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c == nil {
		s.waiting--
		return
	}
	delete(s.clients, c)
}

var terminating = farewell{websocket.CloseGoingAway, "Terminating", broker.ErrClosed}

// ErrDismissed is why a client is lost that ServerConfig.Admits refuses.
var ErrDismissed = errors.New("websocket: client is no longer admitted")

var dismissed = farewell{websocket.ClosePolicyViolation, "No longer admitted", ErrDismissed}

// fanOut sends data to all clients that want it, except to its origin.
func (s *Server) fanOut(ctx context.Context, data jsonv1.Data, origin *client) error {
	var receivers []*client
	s.mu.Lock()
	for c := range s.clients {
		if c != origin && c.active && c.filter.Matches(data.Topic) {
			receivers = append(receivers, c)
		}
	}
	s.mu.Unlock()
	if receivers == nil {
		return nil
	}
	return s.deliver(ctx, receivers, data)
}

// deliver sends data to clients that want it.
func (s *Server) deliver(ctx context.Context, receivers []*client, data jsonv1.Data) error {
	text := encode(jsonv1.Append, data)
	for _, c := range receivers {
		if s.cfg.Admits != nil && !s.cfg.Admits(c.peer) {
			c.drain(dismissed)
			continue
		}
		if err := c.enqueue(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// Publish sends v to all clients that want topic. It waits only where the
// policy is OverflowBlock.
func (s *Server) Publish(ctx context.Context, topic string, v broker.Value) error {
	select {
	case <-s.done:
		return broker.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return s.fanOut(ctx, jsonv1.Data{Topic: topic, Value: v}, nil)
}

// find returns the client of a peer, or nil. The caller holds the mutex.
func (s *Server) find(peer uuid.UUID) *client {
	for c := range s.clients {
		if c.active && c.peer.ID == peer {
			return c
		}
	}
	return nil
}

// Reject implements broker.Rejecter, in the words in which Zeek's server refuses
// an event that no script declares, or with other arguments.
func (s *Server) Reject(peer uuid.UUID) {
	s.mu.Lock()
	c := s.find(peer)
	s.mu.Unlock()
	if c != nil {
		c.complain(jsonv1.Error{Code: jsonv1.CodeDeserializationFailed, Context: "failed to create Zeek event"})
	}
}

// PublishTo implements broker.Director.
func (s *Server) PublishTo(ctx context.Context, peer uuid.UUID, topic string, v broker.Value) (known bool, err error) {
	select {
	case <-s.done:
		return false, broker.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return false, context.Cause(ctx)
	}
	s.mu.Lock()
	receiver := s.find(peer)
	wanted := receiver != nil && receiver.filter.Matches(topic)
	s.mu.Unlock()
	if !wanted {
		return receiver != nil, nil
	}
	return true, s.deliver(ctx, []*client{receiver}, jsonv1.Data{Topic: topic, Value: v})
}

// Next implements broker.Bus.
func (s *Server) Next(ctx context.Context) (broker.Notification, error) { return s.inbox.Next(ctx) }

// Clients returns the clients that have subscribed, in no order.
func (s *Server) Clients() []broker.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var peers []broker.Peer
	for c := range s.clients {
		if c.active {
			peers = append(peers, c.peer)
		}
	}
	return peers
}

// Close closes all connections as a terminating Zeek does, after sending what
// is queued, and waits until that is done, which takes a few seconds at most.
// Clients are lost with broker.ErrClosed.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
		for c := range s.clients {
			c.drain(terminating)
		}
	}
	s.mu.Unlock()
	s.running.Wait()
	s.inbox.Close()
	return nil
}
