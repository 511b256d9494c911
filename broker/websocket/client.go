package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/backoff"
	"github.com/zeekwire/zeekwire/broker/internal/hooks"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/internal/settings"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/tcp"
)

// ClientConfig configures a Client. Only Address is required. For every number
// and duration, zero means the default and a negative value is an error of Dial,
// except where a field says otherwise.
type ClientConfig struct {
	// Address is the host and port of the server.
	Address string

	// Subscriptions are the topic prefixes to receive. They cannot be changed
	// later.
	Subscriptions []string

	// TLS configures TLS. If nil, the client does not use TLS of its own;
	// DialContext may. Broker's embedded server (Zeek 5.0 to 8.0) has anonymous
	// TLS by default, for which DialContext must be that of a security.Layer.
	TLS *tls.Config

	// DialContext opens the connection. If nil, a net.Dialer is used.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// ApplicationName identifies the client in the server's statistics. Zeek
	// accepts letters, digits and the characters /_.=:*@- in it.
	ApplicationName string

	// Header is added to the HTTP request, for instance for authentication.
	Header http.Header

	// HandshakeTimeout limits connecting and the handshakes of TLS and
	// WebSocket. The default is DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration

	// AckTimeout limits the time from the handshake to the server's ack. The
	// default is DefaultAckTimeout.
	AckTimeout time.Duration

	// PingInterval is the time between pings. A server that sends nothing in
	// between is lost. The default is DefaultPingInterval. A negative value
	// disables pings.
	PingInterval time.Duration

	// MaxMessage is the size of the largest message to receive, in bytes. A
	// larger message ends the connection. The default is DefaultMaxMessage.
	MaxMessage int

	// SendQueue limits the messages queued for the server. The default is
	// DefaultQueue. Their bytes are limited to 64 MiB, or to four messages of
	// MaxMessage bytes if that is more. The writer takes the whole queue at
	// once, so memory use can reach twice that limit.
	//
	// SendOverflow is the policy when the queue is full. With OverflowBlock,
	// Publish waits for the server.
	SendQueue    int
	SendOverflow broker.Overflow

	// ReceiveQueue limits the messages queued for Next. The default is
	// DefaultQueue. Their bytes are limited as those of SendQueue.
	//
	// ReceiveOverflow is the policy when the queue is full. PeerAdded and
	// PeerLost are never dropped. With OverflowBlock the client stops reading,
	// also pings, until Next is called; Zeek disconnects such a client after 5
	// to 10 seconds.
	ReceiveQueue    int
	ReceiveOverflow broker.Overflow

	// Reconnect makes the client connect and subscribe again whenever it loses
	// the connection, until the server refuses it; see IsRefusal. Meanwhile,
	// published messages stay in the send queue.
	Reconnect bool

	// RetryMin and RetryMax limit the time between attempts to reconnect. It
	// doubles with each failed attempt, and is shortened at random by up to half.
	// The defaults are DefaultRetryMin, and DefaultRetryMax or RetryMin if that
	// is more.
	RetryMin, RetryMax time.Duration

	// OnError, if non-nil, is called for each error that the server reports
	// about a message of the client. It must not block. Such errors are also
	// logged.
	OnError func(jsonv1.Error)

	// Hooks may implement broker.HookPeers, broker.HookTraffic and
	// broker.HookDrops. If non-nil it must implement at least one of them.
	Hooks any

	// Log receives errors that no method returns. The zero value discards them.
	Log zerolog.Logger
}

// withDefaults returns cfg with all defaults filled in.
func (cfg ClientConfig) withDefaults() (ClientConfig, error) {
	if cfg.Address == "" {
		return cfg, errors.New("websocket: Address is empty")
	}
	if cfg.DialContext == nil {
		cfg.DialContext = new(net.Dialer).DialContext
	}
	defaultPings(&cfg.PingInterval)
	err := settings.Default("websocket: RetryMin", &cfg.RetryMin, DefaultRetryMin)
	err = errors.Join(err,
		settings.Default("websocket: RetryMax", &cfg.RetryMax, max(DefaultRetryMax, cfg.RetryMin)),
		settings.Default("websocket: HandshakeTimeout", &cfg.HandshakeTimeout, DefaultHandshakeTimeout),
		settings.Default("websocket: AckTimeout", &cfg.AckTimeout, DefaultAckTimeout),
		settings.Default("websocket: MaxMessage", &cfg.MaxMessage, DefaultMaxMessage),
		settings.Default("websocket: SendQueue", &cfg.SendQueue, DefaultQueue),
		settings.Default("websocket: ReceiveQueue", &cfg.ReceiveQueue, DefaultQueue),
	)
	if err == nil && cfg.RetryMax < cfg.RetryMin {
		err = fmt.Errorf("websocket: RetryMax %s is less than RetryMin %s", cfg.RetryMax, cfg.RetryMin)
	}
	return cfg, err
}

// Client is a connection to one of Zeek's WebSocket servers, created by Dial. The
// server is its only peer, named by the endpoint name in the ack. A message that
// is being sent when the connection breaks is lost. The methods of a Client may
// be called concurrently, except that Next must not be called by two goroutines
// at once.
type Client struct {
	cfg   ClientConfig
	subs  broker.Filter
	hooks hooks.Hooks
	log   zerolog.Logger
	out   *queue.Queue[[]byte]
	inbox *queue.Queue[broker.Notification]
	pool  *intake.Pool

	ctx    context.Context // ends at Close; for attempts to reconnect
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended

	mu      sync.Mutex
	session *session // the current one, or the last
	closing bool
	gone    error // the reason why there will be no further session
	refusal error // of the server, which ended the attempts to reconnect
}

var (
	_ broker.Bus        = (*Client)(nil)
	_ broker.Subscriber = (*Client)(nil)
)

// session is one connection of a Client from the ack to its end.
type session struct {
	*conn
	ack  jsonv1.Ack
	peer broker.Peer
}

// Dial connects to a server, subscribes, and waits for the server's ack. It
// returns once the connection is established, or with an error when ctx or one
// of the timeouts of cfg ends. The error wraps a jsonv1.Error that the server
// answered with, a *MismatchError if the other end is no such server, a
// *CloseError if the server closed the connection, or ErrNoAck. The caller must
// Close the client.
func Dial(ctx context.Context, cfg ClientConfig) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	hooks, err := hooks.New(cfg.Hooks)
	if err != nil {
		return nil, fmt.Errorf("websocket: %w", err)
	}
	c := &Client{
		cfg:   cfg,
		subs:  broker.NewFilter(cfg.Subscriptions...),
		hooks: hooks,
		log:   cfg.Log.With().Str("server", cfg.Address).Logger(),
		out:   newOut(cfg.SendQueue, cfg.SendOverflow, queue.Budget(cfg.MaxMessage)),
		inbox: newInbox(cfg.ReceiveQueue, cfg.ReceiveOverflow, queue.Budget(cfg.MaxMessage)),
		pool:  intake.NewPool(intake.Limits{Bytes: max(intake.DefaultBytes, 2*cfg.MaxMessage)}),
		done:  make(chan struct{}),
	}
	first, err := c.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("websocket: connecting to %s: %w", cfg.Address, err)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.session = first
	go c.run(first)
	return c, nil
}

// connect opens a connection, subscribes and waits for the ack.
func (c *Client) connect(ctx context.Context) (*session, error) {
	ws, stream, err := c.upgrade(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AckTimeout)
	defer cancel()
	// One time limit applies to everything before the ack: pings and messages do
	// not extend it.
	stop := context.AfterFunc(ctx, func() { ws.Close() })
	s := &session{conn: newConn(ws, stream, c.out, c.pool, c.cfg.MaxMessage)}
	s.masked = true
	err = c.subscribe(s)
	if !stop() && err == nil {
		err = context.Cause(ctx) // too late: the connection is closed
	}
	if err != nil {
		ws.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoAck, context.Cause(ctx))
		}
		return nil, err
	}
	s.peer = broker.Peer{ID: uuid.New(), Dialed: true, Address: c.cfg.Address, Name: s.ack.Endpoint}
	if a, err := netip.ParseAddrPort(ws.RemoteAddr().String()); err == nil {
		s.peer.Addr = a
	}
	s.pingInterval = c.cfg.PingInterval
	s.ping = func(int) string { return "zeekwire" }
	s.receive = func(text []byte) error { return c.received(s, text) }
	s.sent = func(texts, bytes int) { c.hooks.Sent(s.peer, texts, bytes) }
	return s, nil
}

// upgrade opens a connection and makes it a WebSocket.
func (c *Client) upgrade(ctx context.Context) (*websocket.Conn, *stream, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.HandshakeTimeout)
	defer cancel()
	opening := firstBytes{http: c.cfg.TLS == nil}
	stop := func() bool { return true }
	var frames *stream
	dialer := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := c.open(ctx, network, address, &opening)
			if err == nil {
				stop = context.AfterFunc(ctx, func() { nc.Close() })
				frames = newStream(nc, true)
			}
			return frames, err
		},
		ReadBufferSize: readBuffer,
	}
	address := url.URL{Scheme: "ws", Host: c.cfg.Address, Path: jsonv1.Path} // escapes a zone
	//nolint:bodyclose // the Dialer's responses hold no resources
	ws, response, err := dialer.DialContext(ctx, address.String(), c.header())
	if !stop() && err == nil {
		ws.Close()
		return nil, nil, context.Cause(ctx)
	}
	if err != nil {
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx) // other errors are its consequence
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = context.DeadlineExceeded // of ctx, which may end slightly later
		}
		return nil, nil, opening.explain(err, c.cfg.TLS != nil, response)
	}
	opening.upgraded = true
	return ws, frames, nil
}

// open opens the connection beneath a WebSocket, with TLS if configured. It
// keeps the first bytes of the server in opening.
func (c *Client) open(ctx context.Context, network, address string, opening *firstBytes) (net.Conn, error) {
	nc, err := c.cfg.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	opening.Conn = nc
	if c.cfg.TLS == nil {
		return opening, nil
	}
	config := c.cfg.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	if config.ServerName == "" {
		host, _, _ := net.SplitHostPort(address)
		config.ServerName = tcp.WithoutZone(host)
	}
	secure := tls.Client(opening, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return secure, nil
}

func (c *Client) header() http.Header {
	header := c.cfg.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if c.cfg.ApplicationName != "" {
		header.Set("X-Application-Name", c.cfg.ApplicationName)
	}
	return header
}

// subscribe sends the subscriptions and reads until the ack.
func (c *Client) subscribe(s *session) error {
	hello := jsonv1.Append(nil, jsonv1.Subscriptions(c.cfg.Subscriptions))
	if err := s.send(appendText(nil, hello, s.masked), nil); err != nil {
		return fmt.Errorf("sending subscriptions: %w", err)
	}
	s.ws.SetPingHandler(nil) // no other goroutine writes yet, so answer directly
	defer s.answerPings()
	for early := 0; ; {
		m, err := s.next()
		if err != nil {
			return err
		}
		s.done()
		frame, err := jsonv1.Decode(m.text)
		if err != nil {
			s.reading = m
			return fmt.Errorf("waiting for the ack: %w", s.broken(err))
		}
		switch f := frame.(type) {
		case jsonv1.Ack:
			s.ack = f
			return nil
		case jsonv1.Error:
			return f
		case jsonv1.Data:
			if early += len(m.text); early <= maxEarly {
				m.text = bytes.Clone(m.text)
				s.early = append(s.early, m)
			}
		}
	}
}

// run serves one session after another, and closes the queues at the end.
func (c *Client) run(s *session) {
	defer close(c.done)
	for {
		announced := c.inbox.Keep(c.ctx, broker.PeerAdded{Peer: s.peer}) == nil
		if announced {
			c.hooks.PeerAdded(s.peer)
		} else { // closing; only send the queued messages
			s.receive = func([]byte) error { return nil }
		}
		c.log.Info().Str("endpoint", s.ack.Endpoint).Str("version", s.ack.Version).Msg("websocket connected")
		err := s.run()
		if announced {
			c.inbox.Force(broker.PeerLost{Peer: s.peer, Err: err})
			c.hooks.PeerLost(s.peer, err)
		}
		c.log.Info().Err(err).Msg("websocket connection ended")
		var refusal error
		if s, refusal = c.reconnect(); s == nil {
			c.mu.Lock()
			c.gone, c.refusal = err, refusal
			if refusal != nil {
				c.gone = refusal
			}
			c.mu.Unlock()
			c.out.Close()
			c.inbox.Close()
			return
		}
	}
}

// reconnect returns the next session, or nil if there will be none. The error is the
// refusal of the server, if that is the reason.
func (c *Client) reconnect() (*session, error) {
	retry := backoff.Backoff{Min: c.cfg.RetryMin, Max: c.cfg.RetryMax}
	level := zerolog.WarnLevel // of the first failure; the others are mostly the same
	for c.cfg.Reconnect && retry.Wait(c.ctx, nil) {
		s, err := c.connect(c.ctx)
		if c.ctx.Err() != nil {
			if err == nil {
				s.ws.Close()
			}
			return nil, nil
		}
		if IsRefusal(err) {
			c.log.Error().Err(err).Msg("websocket reconnect refused, giving up")
			return nil, fmt.Errorf("websocket: reconnecting to %s: %w", c.cfg.Address, err)
		}
		if err != nil {
			c.log.WithLevel(level).Err(err).Msg("websocket reconnect failed")
			level = zerolog.DebugLevel
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.session = s
		if c.closing {
			s.drain(goodbye)
		}
		return s, nil
	}
	return nil, nil
}

var goodbye = farewell{websocket.CloseNormalClosure, "", broker.ErrClosed}

// received handles one text of the server.
func (c *Client) received(s *session, text []byte) error {
	c.hooks.Received(s.peer, 1, len(text))
	frame, err := jsonv1.Decode(text)
	if err != nil {
		return s.broken(err)
	}
	switch f := frame.(type) {
	case jsonv1.Data:
		lost, err := pushReceived(s.ctx, c.inbox, s.peer, f, len(text))
		if lost.First {
			c.log.Warn().Msg("receive queue is full, dropping messages")
		}
		if lost.Items > 0 {
			c.hooks.DroppedReceived(s.peer, lost.Items)
		}
		return err
	case jsonv1.Error:
		c.log.Warn().Str("code", f.Code).Str("context", f.Context).Msg("websocket server reports an error")
		if c.cfg.OnError != nil {
			c.cfg.OnError(f)
		}
	}
	return nil
}

// Ack returns the ack of the current connection or, without one, of the last. It
// contains the name and version of the server.
func (c *Client) Ack() jsonv1.Ack {
	s, _ := c.current()
	return s.ack
}

// Publish queues a message for the server. It does not block, except with
// OverflowBlock while the queue is full. If the connection is lost and the client
// does not reconnect, it returns the reason of the loss. The error wraps
// ErrNotUTF8 or ErrZeroByte for values that the server cannot read.
func (c *Client) Publish(ctx context.Context, topic string, v broker.Value) error {
	s, gone := c.current()
	if gone != nil {
		return fmt.Errorf("websocket: publishing to %s: %w", topic, gone)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	data := jsonv1.Data{Topic: topic, Value: v}
	text := encode(jsonv1.AppendForZeek, data)
	if err := readable(s.ack, data, text); err != nil {
		return fmt.Errorf("websocket: publishing to %s: %w", topic, err)
	}
	lost, err := pushText(ctx, c.out, text, 1)
	if lost.First {
		c.log.Warn().Msg("send queue is full, dropping messages")
	}
	if lost.Items > 0 {
		c.hooks.DroppedSending(s.peer, lost.Items)
	}
	switch {
	case errors.Is(err, broker.ErrOverflow):
		err = fmt.Errorf("websocket: send queue: %w", err)
		s.abort(err)
	case errors.Is(err, broker.ErrClosed):
		if _, gone := c.current(); gone != nil { // lost meanwhile
			err = fmt.Errorf("websocket: publishing to %s: %w", topic, gone)
		}
	}
	return err
}

// current returns the current session. If there will be no further session, it
// returns the last one and the reason.
func (c *Client) current() (s *session, gone error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session, c.gone
}

// Subscriptions implements broker.Subscriber.
func (c *Client) Subscriptions() broker.Filter { return c.subs }

// Next implements broker.Bus. When the connection is lost and the client does
// not reconnect, it returns the notifications that are left, PeerLost last, and
// then broker.ErrClosed, which is wrapped together with the refusal of the server if
// that ended the attempts to reconnect. If ctx ends by a timeout and the client has no
// subscriptions, the error also wraps a *broker.NotSubscribedError.
func (c *Client) Next(ctx context.Context) (broker.Notification, error) {
	n, err := c.inbox.Next(ctx)
	if err != nil {
		err = queue.ExplainTimeout(err, c.subs)
	}
	if errors.Is(err, broker.ErrClosed) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.refusal != nil {
			err = fmt.Errorf("%w: %w", c.refusal, err)
		}
	}
	return n, err
}

// Close sends the queued messages, for at most a few seconds, and closes the
// connection. PeerLost then wraps broker.ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	if !c.closing {
		c.closing = true
		c.session.drain(goodbye)
		c.cancel()
	}
	c.mu.Unlock()
	<-c.done
	return nil
}
