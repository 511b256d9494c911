package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// ClientConfig says what Dial connects to and how. Zero values, except for
// Address, stand for the defaults.
type ClientConfig struct {
	// Address is the host and port of the server.
	Address string

	// Subscriptions are the topic prefixes to receive.
	Subscriptions []string

	// TLS is nil for a connection in the clear, or over a Dial function that
	// does TLS itself: Broker's embedded server (Zeek 5.0 to 8.0) has the
	// anonymous kind by default, for which there is Dial of a security.Layer.
	TLS *tls.Config

	// Dial opens the connection; nil means the network's own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// ApplicationName is for the server's statistics. Zeek takes letters,
	// digits and any of / _ . = : * @ - in it.
	ApplicationName string

	// Header is added to the request, for instance to authenticate.
	Header http.Header

	HandshakeTimeout time.Duration // up to the upgrade
	AckTimeout       time.Duration // from there to the ack
	PingInterval     time.Duration // negative for no pings of ours
	MaxMessage       int64         // bytes; more ends the connection

	// SendQueue bounds the messages that wait to be sent, and SendOverflow
	// says what happens to more. All queues are limited to 64 MiB too, or to
	// four of the largest messages if that is more. What waits is taken all at
	// a time, so that there may be twice as much in memory.
	SendQueue    int
	SendOverflow broker.Overflow

	// ReceiveQueue bounds the messages that wait for Next, and the news of
	// peers, which are never dropped. OverflowBlock stops reading, and so
	// pongs: Zeek disconnects a client that does so for 5 to 10 seconds.
	ReceiveQueue    int
	ReceiveOverflow broker.Overflow

	// Reconnect makes the client connect and subscribe anew whenever it loses
	// the connection, after a pause that grows from ReconnectMin to
	// ReconnectMax and of which up to half is left to chance. What it cannot
	// send meanwhile stays in the queue.
	Reconnect                  bool
	ReconnectMin, ReconnectMax time.Duration

	// OnError is called for each error that the server reports about what we
	// sent, and must not block. Nil leaves it at a line in the log.
	OnError func(jsonv1.Error)

	// Log may be nil.
	Log *zerolog.Logger
}

// Client is a connection to one of Zeek's WebSocket servers. Its only peer is
// the server, whose name is the endpoint of the ack. Messages that are
// being sent when the connection breaks are lost.
type Client struct {
	cfg   ClientConfig
	log   zerolog.Logger
	out   *queue.Queue[[]byte]
	inbox *queue.Queue[broker.Notification]

	ctx    context.Context // ends at Close, for attempts to reconnect
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended

	mu      sync.Mutex
	session *session // the current one, or the last
	closing bool
	gone    error // why there will be no further session
}

var _ broker.Bus = (*Client)(nil)

// session is one connection of a Client from the ack to its end.
type session struct {
	*conn
	ack  jsonv1.Ack
	peer broker.Peer
}

// Dial connects to a server, subscribes and waits for the ack, as long as ctx
// and the time limits of cfg allow. If the server answers with an error, Dial's
// wraps that jsonv1.Error. It wraps a MismatchError when something else than
// such a server answers, and a CloseError when the server closes the
// connection.
func Dial(ctx context.Context, cfg ClientConfig) (*Client, error) {
	cfg.HandshakeTimeout = positiveOr(cfg.HandshakeTimeout, DefaultHandshakeTimeout)
	cfg.AckTimeout = positiveOr(cfg.AckTimeout, DefaultAckTimeout)
	cfg.PingInterval = pings(cfg.PingInterval)
	cfg.MaxMessage = positiveOr(cfg.MaxMessage, DefaultMaxMessage)
	cfg.SendQueue = positiveOr(cfg.SendQueue, DefaultQueue)
	cfg.ReceiveQueue = positiveOr(cfg.ReceiveQueue, DefaultQueue)
	cfg.ReconnectMin = positiveOr(cfg.ReconnectMin, DefaultReconnectMin)
	cfg.ReconnectMax = positiveOr(cfg.ReconnectMax, DefaultReconnectMax)
	c := &Client{
		cfg:   cfg,
		log:   orSilent(cfg.Log).With().Str("server", cfg.Address).Logger(),
		out:   newOut(cfg.SendQueue, cfg.SendOverflow, cfg.MaxMessage),
		inbox: newInbox(cfg.ReceiveQueue, cfg.ReceiveOverflow, cfg.MaxMessage),
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

// connect opens a connection and brings it up to the ack.
func (c *Client) connect(ctx context.Context) (*session, error) {
	ws, err := c.upgrade(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AckTimeout)
	defer cancel()
	// The time limit is one for all that comes before the ack: pings and
	// messages do not extend it.
	stop := context.AfterFunc(ctx, func() { ws.Close() })
	s := &session{conn: newConn(ws, c.out, c.cfg.MaxMessage)}
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
	return s, nil
}

// upgrade opens a connection and makes it a WebSocket.
func (c *Client) upgrade(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.HandshakeTimeout)
	defer cancel()
	opening := firstBytes{http: c.cfg.TLS == nil}
	stop := func() bool { return true }
	dialer := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := c.open(ctx, network, address, &opening)
			if err == nil {
				stop = context.AfterFunc(ctx, func() { nc.Close() })
			}
			return nc, err
		},
		ReadBufferSize: readBuffer,
	}
	header := c.cfg.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if c.cfg.ApplicationName != "" {
		header.Set("X-Application-Name", c.cfg.ApplicationName)
	}
	//nolint:bodyclose // the Dialer's responses hold no resources
	ws, response, err := dialer.DialContext(ctx, "ws://"+c.cfg.Address+jsonv1.Path, header)
	if !stop() && err == nil {
		ws.Close()
		return nil, context.Cause(ctx)
	}
	if err != nil {
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx) // the rest is its consequence
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = context.DeadlineExceeded // of ctx, which may notice later
		}
		return nil, opening.explain(err, c.cfg.TLS != nil, response)
	}
	return ws, nil
}

// open connects to the server, by TLS if that is configured. The bytes of the
// connection pass through opening.
func (c *Client) open(ctx context.Context, network, address string, opening *firstBytes) (net.Conn, error) {
	dial := c.cfg.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, network, address)
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
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(opening, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return secure, nil
}

// subscribe sends the subscriptions and reads up to the ack.
func (c *Client) subscribe(s *session) error {
	hello := jsonv1.Append(nil, jsonv1.Subscriptions(c.cfg.Subscriptions))
	if err := s.send(appendText(nil, hello, s.masked)); err != nil {
		return fmt.Errorf("sending subscriptions: %w", err)
	}
	s.ws.SetPingHandler(nil) // nobody else writes yet, so answer at once
	defer s.answerPings()
	for early := 0; ; {
		_, text, err := s.ws.ReadMessage()
		if err != nil {
			return readError(err)
		}
		frame, err := jsonv1.Decode(text)
		if err != nil {
			return fmt.Errorf("waiting for the ack: %w", err)
		}
		switch f := frame.(type) {
		case jsonv1.Ack:
			s.ack = f
			return nil
		case jsonv1.Error:
			return f
		case jsonv1.Data:
			if early += len(text); early <= maxEarly {
				s.early = append(s.early, text)
			}
		}
	}
}

// run serves one session after the other. It owns the end of the inbox.
func (c *Client) run(s *session) {
	defer close(c.done)
	for {
		announced := c.inbox.Keep(c.ctx, broker.PeerAdded{Peer: s.peer}) == nil
		if !announced { // closing; all that is left is to send what is queued
			s.receive = func([]byte) error { return nil }
		}
		c.log.Info().Str("endpoint", s.ack.Endpoint).Str("version", s.ack.Version).Msg("websocket connected")
		err := s.run()
		if announced {
			c.inbox.Force(broker.PeerLost{Peer: s.peer, Err: err})
		}
		c.log.Info().Err(err).Msg("websocket connection ended")
		if s = c.reconnect(); s == nil {
			c.mu.Lock()
			c.gone = err
			c.mu.Unlock()
			c.out.Close()
			c.inbox.Close()
			return
		}
	}
}

// reconnect returns the next session, or nil if there is to be none.
func (c *Client) reconnect() *session {
	for pause := c.cfg.ReconnectMin; c.cfg.Reconnect; pause = min(2*pause, c.cfg.ReconnectMax) {
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			return nil
		}
		s, err := c.connect(c.ctx)
		if c.ctx.Err() != nil {
			if err == nil {
				s.ws.Close()
			}
			return nil
		}
		if err != nil {
			c.log.Debug().Err(err).Msg("websocket reconnect failed")
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.session = s
		if c.closing {
			s.drain(goodbye)
		}
		return s
	}
	return nil
}

var goodbye = farewell{websocket.CloseNormalClosure, "", broker.ErrClosed}

// received takes one text of the server.
func (c *Client) received(s *session, text []byte) error {
	frame, err := jsonv1.Decode(text)
	if err != nil {
		return fmt.Errorf("websocket: from server: %w", err)
	}
	switch f := frame.(type) {
	case jsonv1.Data:
		lost, err := pushReceived(s.ctx, c.inbox, s.peer, f, len(text))
		if lost.First {
			c.log.Warn().Msg("websocket application takes messages too slowly, dropping some")
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

// Ack returns what the server said about itself when it last accepted us.
func (c *Client) Ack() jsonv1.Ack {
	s, _ := c.current()
	return s.ack
}

// Publish queues a message for the server. When the connection is lost it
// returns why, unless the client reconnects. It waits only where the policy is
// OverflowBlock.
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
	lost, err := pushText(ctx, c.out, text)
	if lost.First {
		c.log.Warn().Msg("websocket server reads too slowly, dropping messages")
	}
	switch {
	case errors.Is(err, broker.ErrOverflow):
		err = fmt.Errorf("websocket: server reads too slowly: %w", err)
		s.abort(err)
	case errors.Is(err, broker.ErrClosed):
		if _, gone := c.current(); gone != nil { // lost meanwhile
			err = fmt.Errorf("websocket: publishing to %s: %w", topic, gone)
		}
	}
	return err
}

// current returns the current session, or the last one and why there will be
// no further one.
func (c *Client) current() (s *session, gone error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session, c.gone
}

// Next implements broker.Bus. After a loss without reconnecting it returns
// what is left, the PeerLost last, and then broker.ErrClosed.
func (c *Client) Next(ctx context.Context) (broker.Notification, error) { return c.inbox.Next(ctx) }

// Close sends what is queued, for at most a few seconds, and closes the
// connection. The server is lost with broker.ErrClosed.
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
