package websocket

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/internal/hooks"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/internal/settings"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// ServerConfig configures a Server. The zero ServerConfig is valid. For every
// number and duration, zero means the default and a negative value is an error of
// NewServer, except where a field says otherwise.
type ServerConfig struct {
	// Endpoint and Version are sent to clients in the ack. As in Zeek, the
	// endpoint name is followed by "-websocket-" and a number, and Version is
	// Zeek's version. The defaults are empty.
	Endpoint string
	Version  string

	// TLS configures TLS for Serve. If nil, Serve does not use TLS.
	TLS *tls.Config

	// Authorize authenticates a client before its connection is upgraded. An
	// error refuses the client with HTTP status 401. A non-nil Identity becomes
	// that of the peer, and its name replaces the name that the client claims. If
	// nil, every client is accepted, as in Zeek.
	Authorize func(*http.Request) (*broker.Identity, error)

	// Admits checks a client again before each message to it. If it returns
	// false, the client is disconnected. If nil, no client is.
	Admits func(broker.Peer) bool

	// Permits checks each message of a client. A message for which it returns an error is
	// ignored, and the client gets the error. If nil, every message is accepted.
	Permits func(broker.Peer, broker.Message) error

	// Feed returns where the messages of a client come from. They then come neither from
	// Publish nor from other clients, and the limits for sending do not apply to them. Feed
	// is called once, before the connection of the client is upgraded. An error refuses the
	// client with HTTP status 400. If Feed is nil, clients receive the messages of Publish.
	Feed func(*http.Request) (Feed, error)

	// Private hides the messages of clients from each other: only Next returns
	// them. By default they are also sent to all other clients that subscribe.
	Private bool

	// Hosts are the names by which web pages may reach the server. Only pages of
	// the same host are accepted, and only if the host has one of these names, so
	// that no other page in a user's browser can connect. Zeek accepts all pages.
	// The names in the certificates of TLS are accepted, too.
	Hosts admission.Hosts

	// MaxClients limits the number of clients. If there are too many, a further
	// client takes the place of one that Authorize has not identified: of the
	// address that has the most clients, the one that has been idle for the
	// longest time. A tenth as many further clients may connect from loopback
	// addresses, and with Authorize, a quarter as many that it identifies. The
	// default is DefaultMaxClients, or an eighth of the file descriptors that the
	// process may have, if that is less.
	//
	// MaxHandshakes limits the connections that are not clients yet. One address
	// can have half of them, unless it is a loopback address. A further
	// connection takes the place of one that has not sent anything for a second,
	// or of the oldest one of the address that has the most. The default is
	// DefaultMaxHandshakes, or an eighth of the file descriptors that the process
	// may have, if that is less.
	MaxClients, MaxHandshakes int

	// MaxMessage is the size of the largest message to receive, in bytes. A
	// larger message ends the client's connection. The default is
	// DefaultMaxMessage.
	MaxMessage int

	// MaxIncomplete limits the memory of incoming messages, in bytes, for all
	// clients together: of messages that have not arrived completely, and of
	// complete ones that wait for room in the receive queue. It does not include
	// the fixed buffer of each connection. The default is DefaultMaxIncomplete.
	// Messages larger than that cannot be received.
	//
	// When a message needs more memory than is left, a client is lost, of those
	// whose incomplete message takes more than an equal share: the one that has
	// been the slowest to send its last 64 KiB if that took more than a second, or
	// else the one with the largest message.
	MaxIncomplete int

	// StallTimeout limits the time in which the next 64 KiB of a message that has
	// begun, or its rest, must arrive. Otherwise the client is lost. The default
	// is DefaultStallTimeout, so that 2.2 KB/s are always sufficient.
	StallTimeout time.Duration

	// PingInterval is the time between pings. A client that sends nothing in
	// between is lost. The default is DefaultPingInterval. A negative value
	// disables pings.
	PingInterval time.Duration

	// SendQueue limits the messages queued for each client. The default is
	// DefaultQueue. SendBytes limits their bytes; a single message may exceed it. The
	// default is 64 MiB, or four messages of MaxMessage bytes if that is more. The writer takes the whole queue at
	// once, so memory use can reach twice that limit for each client.
	//
	// SendOverflow is the policy when the queue is full. With
	// OverflowDisconnect the client is lost with broker.ErrOverflow, but not by
	// the messages of other clients: these take at most half of its queue, and
	// are dropped beyond that. With OverflowBlock, Publish and the messages of other clients wait for the
	// slowest client.
	SendQueue    int
	SendBytes    int
	SendOverflow broker.Overflow

	// MaxUnsent limits the bytes in the send queues of all clients together, where a
	// message sent to many clients counts once. The default is DefaultMaxUnsent. If
	// it is exceeded, the client is lost that has read nothing for the longest time,
	// of those with more than an equal share, if that is more than 5 s. If four times
	// as much is exceeded, the client with the most bytes is lost.
	MaxUnsent int

	// ReceiveQueue limits the messages of all clients queued for Next. The
	// default is DefaultQueue. ReceiveBytes limits their bytes; the default is that of
	// SendBytes.
	//
	// ReceiveOverflow is the policy when the queue is full. PeerAdded and
	// PeerLost are never dropped; instead, new clients wait for their ack. With
	// OverflowBlock the clients wait until Next is called, as with Zeek's
	// server.
	ReceiveQueue    int
	ReceiveBytes    int
	ReceiveOverflow broker.Overflow

	// Hooks may implement broker.HookPeers, broker.HookTraffic and
	// broker.HookDrops. If non-nil it must implement at least one of them.
	Hooks any

	// Log receives errors that no method returns. The zero value discards them.
	Log zerolog.Logger
}

// withDefaults returns cfg with all defaults filled in.
func (cfg ServerConfig) withDefaults() (ServerConfig, error) {
	defaultPings(&cfg.PingInterval)
	return cfg, errors.Join(
		settings.Default("websocket: MaxClients", &cfg.MaxClients, min(DefaultMaxClients, admission.Descriptors()/8)),
		settings.Default("websocket: MaxHandshakes", &cfg.MaxHandshakes, min(DefaultMaxHandshakes, admission.Descriptors()/8)),
		settings.Default("websocket: MaxMessage", &cfg.MaxMessage, DefaultMaxMessage),
		settings.Default("websocket: MaxIncomplete", &cfg.MaxIncomplete, DefaultMaxIncomplete),
		settings.Default("websocket: StallTimeout", &cfg.StallTimeout, DefaultStallTimeout),
		settings.Default("websocket: MaxUnsent", &cfg.MaxUnsent, DefaultMaxUnsent),
		settings.Default("websocket: SendQueue", &cfg.SendQueue, DefaultQueue),
		settings.Default("websocket: SendBytes", &cfg.SendBytes, queue.Budget(cfg.MaxMessage)),
		settings.Default("websocket: ReceiveQueue", &cfg.ReceiveQueue, DefaultQueue),
		settings.Default("websocket: ReceiveBytes", &cfg.ReceiveBytes, queue.Budget(cfg.MaxMessage)),
	)
}

// limits returns the limits of connections. Clients are few, so any of them may be
// replaced at any time.
func (cfg *ServerConfig) limits() admission.Limits {
	l := admission.Limits{
		Arriving: cfg.MaxHandshakes, PerAddress: (cfg.MaxHandshakes + 1) / 2,
		Established: cfg.MaxClients, Loopback: cfg.MaxClients / 10,
	}
	if cfg.Authorize != nil {
		l.Known = cfg.MaxClients / 4
	}
	return l
}

// hosts returns the names of the server.
func (cfg *ServerConfig) hosts() admission.Hosts {
	hosts := cfg.Hosts
	if cfg.TLS == nil {
		return hosts
	}
	for _, c := range cfg.TLS.Certificates {
		if c.Leaf != nil {
			hosts.Names = slices.Concat(hosts.Names, c.Leaf.DNSNames)
		}
	}
	return hosts
}

// Server speaks Zeek's WebSocket protocol, so that Zeek's clients can connect
// to it (Zeek: cluster/websocket). Next returns the messages of clients on all
// topics. Unless the server is private, they are also sent to the other clients
// that subscribe. Publish sends to all clients that subscribe.
//
// A Server is also an http.Handler. It upgrades requests of every path, and
// reports a wrong path to the client afterwards, as Zeek does. Use Serve unless
// another HTTP server is listening already.
//
// The methods of a Server may be called concurrently, except that Next must not
// be called by two goroutines at once.
type Server struct {
	cfg      ServerConfig
	hooks    hooks.Hooks
	log      zerolog.Logger
	hosts    admission.Hosts
	notices  *admission.Notices
	gate     *admission.Gate
	upgrader websocket.Upgrader
	inbox    *queue.Queue[broker.Notification]
	pool     *intake.Pool // of incomplete messages
	unsent   *queue.Total // of the send queues

	done    chan struct{} // closed by Close
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	next    int // number of the next client
	clients map[*client]struct{}
	groups  map[groupKey]*group // of the clients that get messages
}

// group has the clients that get the same messages, so that many of them cost little.
type group struct {
	filter  broker.Filter
	clients map[*client]struct{}
}

// groupKey is a digest of what the clients of a group get.
type groupKey [sha256.Size]byte

// join makes a client get messages. The caller holds the mutex.
func (s *Server) join(c *client) {
	h := sha256.New()
	for _, text := range c.filter {
		fmt.Fprintf(h, "%d %s", len(text), text)
	}
	h.Sum(c.group[:0])
	g := s.groups[c.group]
	if g == nil {
		g = &group{filter: c.filter, clients: make(map[*client]struct{})}
		s.groups[c.group] = g
	}
	g.clients[c] = struct{}{}
}

var (
	_ broker.Bus      = (*Server)(nil)
	_ broker.Director = (*Server)(nil)
	_ broker.Rejecter = (*Server)(nil)
)

// NewServer returns a server without clients. It returns an error if cfg is
// invalid. The caller must Close the server.
func NewServer(cfg ServerConfig) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	hooks, err := hooks.New(cfg.Hooks)
	if err != nil {
		return nil, fmt.Errorf("websocket: %w", err)
	}
	notices := admission.NewNotices(cfg.Log)
	s := &Server{
		cfg:     cfg,
		log:     cfg.Log,
		hooks:   hooks,
		hosts:   cfg.hosts(),
		notices: notices,
		gate:    admission.New(cfg.limits(), notices),
		upgrader: websocket.Upgrader{
			HandshakeTimeout: serverHandshakeTimeout,
			ReadBufferSize:   readBuffer,
			CheckOrigin:      func(*http.Request) bool { return true }, // checked before
		},
		inbox:   newInbox(cfg.ReceiveQueue, cfg.ReceiveOverflow, cfg.ReceiveBytes),
		pool:    intake.NewPool(intake.Limits{Bytes: cfg.MaxIncomplete, Timeout: cfg.StallTimeout}),
		unsent:  queue.NewTotal(cfg.MaxUnsent),
		done:    make(chan struct{}),
		clients: make(map[*client]struct{}),
		groups:  make(map[groupKey]*group),
	}
	if cfg.Feed != nil { // clients are many, and send little
		s.upgrader.ReadBufferSize = 0 // that of the HTTP server
		s.upgrader.WriteBufferPool = new(sync.Pool)
	}
	return s, nil
}

// Serve accepts clients from l until ctx ends or the server is closed. Then it
// closes l and returns nil; the clients stay connected until Close. It returns an
// error if l fails.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	l = s.gate.Listener(l)
	if s.cfg.TLS != nil {
		config := s.cfg.TLS.Clone()
		config.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, config)
	}
	web := &http.Server{
		Handler:        s,
		ReadTimeout:    serverHandshakeTimeout, // for the TLS handshake, and then for the request
		WriteTimeout:   serverHandshakeTimeout, // for a refusal
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       s.notices.Logger("http"), // mostly failed TLS handshakes
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, ticketKey{}, admission.TicketOf(c))
		},
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

// ticketKey is the key of the connection's ticket in the context of a request.
type ticketKey struct{}

// ticket returns the ticket of the connection of a request. Without Serve, the
// connection gets a new one, which it has to leave.
func (s *Server) ticket(r *http.Request) (t *admission.Ticket, err error) {
	if t, _ = r.Context().Value(ticketKey{}).(*admission.Ticket); t != nil {
		return t, nil
	}
	var from net.Addr
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from = net.TCPAddrFromAddrPort(a)
	}
	return s.gate.Arrive(from, func() {})
}

// feed returns the feed of the client of a request, nil for none.
func (s *Server) feed(r *http.Request) (Feed, error) {
	if s.cfg.Feed == nil {
		return nil, nil
	}
	return s.cfg.Feed(r)
}

// ServeHTTP upgrades the request to a WebSocket and serves the client until its
// connection ends. With ServerConfig.Feed, it does not wait for the end, so that the memory
// of the request is free.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.hosts.CheckUpgrade(r); err != nil {
		s.refuse(w, r, http.StatusForbidden, err)
		return
	}
	var identity *broker.Identity
	if s.cfg.Authorize != nil {
		var err error
		if identity, err = s.cfg.Authorize(r); err != nil {
			s.refuse(w, r, http.StatusUnauthorized, err)
			return
		}
	}
	feed, err := s.feed(r)
	if err != nil {
		s.refuse(w, r, http.StatusBadRequest, err)
		return
	}
	ticket, err := s.ticket(r)
	if err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, errTooMany)
		return
	}
	number, err := s.reserve(ticket, identity)
	if err != nil {
		ticket.Leave()
		s.refuse(w, r, http.StatusServiceUnavailable, err)
		return
	}
	upgrading := &hijacker{ResponseWriter: w}
	ws, err := s.upgrader.Upgrade(upgrading, r, nil)
	if err != nil {
		defer s.running.Done()
		defer ticket.Leave()
		s.notices.Log(zerolog.InfoLevel, "upgrade").Err(err).Str("addr", r.RemoteAddr).Msg("websocket upgrade failed")
		return
	}
	c := s.newClient(ws, upgrading.stream, r.Header.Get("X-Application-Name"), identity, number)
	c.ticket, c.feed, c.fed = ticket, feed, c.takeFed
	s.add(c)
	if evict := func() { c.dismiss(crowded) }; !ticket.OnEvict(evict) {
		evict()
	}
	if problem := badRequest(r.URL.Path, r.Header.Get("X-Application-Name")); problem != nil {
		c.refuse(*problem)
	}
	if feed == nil {
		s.serve(c)
	} else {
		go s.serve(c)
	}
}

// serve serves a client until its connection ends.
func (s *Server) serve(c *client) {
	defer s.running.Done()
	defer c.ticket.Leave()
	c.patience = time.AfterFunc(subscribeTimeout, func() { c.drain(unsubscribed) })
	err := c.run()
	c.patience.Stop()
	c.out.Discard() // no publisher waits for room in it
	if c.begun {
		c.feed.End()
	}
	s.remove(c)
	if c.state == clientSubscribed {
		s.inbox.Force(broker.PeerLost{Peer: c.peer, Err: err})
		s.hooks.PeerLost(c.peer, err)
	}
	c.gone(err)
}

// refuse answers a request that does not become a client.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	s.notices.Warn(http.StatusText(status)).Err(err).Int("status", status).Str("addr", r.RemoteAddr).Msg("websocket client refused")
	http.Error(w, err.Error(), status)
}

// badRequest returns the error that Zeek reports for the request, or nil.
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

// errTooMany is sent to clients for which there is no room.
var errTooMany = errors.New("too many clients")

// reserve reserves a place for a client, and makes Close wait for it. It returns
// the client's number.
func (s *Server) reserve(ticket *admission.Ticket, identity *broker.Identity) (number int, err error) {
	name := ""
	if identity != nil {
		name = cmp.Or(identity.Name(), "unnamed")
	}
	if ticket.Establish(name) != nil {
		return 0, errTooMany
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errors.New("terminating")
	}
	s.running.Add(1)
	s.next++
	return s.next - 1, nil
}

func (s *Server) add(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c] = struct{}{}
	if s.closed {
		c.drain(terminating)
	}
}

func (s *Server) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
	if g := s.groups[c.group]; g != nil {
		if delete(g.clients, c); len(g.clients) == 0 {
			delete(s.groups, c.group)
		}
	}
}

var terminating = farewell{websocket.CloseGoingAway, "Terminating", broker.ErrClosed}

// ErrDismissed is the reason for the loss of a client that ServerConfig.Admits
// refused.
var ErrDismissed = errors.New("websocket: client is no longer admitted")

var dismissed = farewell{websocket.ClosePolicyViolation, "No longer admitted", ErrDismissed}

// ErrNoSubscriptions is the reason for the end of a client that has not sent its
// subscriptions in time.
var ErrNoSubscriptions = errors.New("websocket: client has sent no subscriptions")

var unsubscribed = farewell{websocket.ClosePolicyViolation, "No subscriptions", ErrNoSubscriptions}

// crowded ends clients in favor of others.
var crowded = farewell{websocket.CloseTryAgainLater, "Too many clients", admission.ErrEvicted}

// fanOut sends data to all clients that subscribe to it, except origin.
func (s *Server) fanOut(ctx context.Context, data jsonv1.Data, origin *client) error {
	var receivers []*client
	s.mu.Lock()
	for _, g := range s.groups {
		if !g.filter.Matches(data.Topic) {
			continue
		}
		for c := range g.clients {
			if c != origin {
				receivers = append(receivers, c)
			}
		}
	}
	s.mu.Unlock()
	if origin != nil {
		receivers = slices.DeleteFunc(receivers, func(c *client) bool { return !c.takesRelayed() })
	}
	if len(receivers) == 0 {
		return nil
	}
	return s.deliver(ctx, receivers, data)
}

// deliver sends data to the receivers.
func (s *Server) deliver(ctx context.Context, receivers []*client, data jsonv1.Data) error {
	text := encode(jsonv1.Append, data)
	for _, c := range receivers {
		if s.cfg.Admits != nil && !s.cfg.Admits(c.peer) {
			c.drain(dismissed)
			continue
		}
		if err := c.enqueue(ctx, text, len(receivers)); err != nil {
			return err
		}
	}
	return nil
}

// Publish queues v for all clients that subscribe to topic. It does not block,
// except with OverflowBlock while a queue is full.
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

// Reject implements broker.Rejecter. It sends the error of Zeek's server for an
// event that no script declares, or that has other arguments.
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

// Admission returns the numbers of connections that the server has, and of those that
// it has refused or closed because there were too many.
func (s *Server) Admission() admission.Stats { return s.gate.Stats() }

// Clients returns the clients that have subscribed, in no particular order.
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

// Close sends the queued messages, closes all connections as a terminating Zeek
// does, and waits until they have ended, which takes a few seconds at most.
// PeerLost of the clients then wraps broker.ErrClosed.
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

// Queued returns the number of messages in the send queues of all clients.
func (s *Server) Queued() (messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		waiting, _ := c.out.Stats()
		messages += waiting
	}
	return messages
}
