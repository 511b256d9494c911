package websocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// client is a connection of a client to the server.
type client struct {
	*conn
	server *Server
	ticket *admission.Ticket
	name   string // sent in the ack
	peer   broker.Peer
	log    zerolog.Logger

	feed     Feed // nil: Publish sends it messages
	feedOver bool // there is nothing more; used by the writing goroutine, as is lagging
	lagging  bool // it missed messages before the last ones

	state    clientState // used by the reading goroutine only
	begun    bool        // the feed has begun; used by the reading goroutine only
	patience *time.Timer // ends the client unless it subscribes

	complaints atomic.Uint32 // errors reported to the client

	// Guarded by the server's mutex.
	active bool // the ack was queued
	filter broker.Filter
	group  groupKey
}

type clientState uint8

const (
	clientNew        clientState = iota // has not sent its subscriptions
	clientSubscribed                    // sends messages
	clientDeaf                          // violated the protocol; its messages are ignored
)

func (s *Server) newClient(ws *websocket.Conn, stream *stream, name string, identity *broker.Identity, number int) *client {
	peer := broker.Peer{ID: uuid.New(), Name: name, Application: name, Identity: identity}
	if identity != nil {
		peer.Name = identity.Name()
	}
	if a, err := netip.ParseAddrPort(ws.RemoteAddr().String()); err == nil {
		peer.Addr = a
	}
	c := &client{
		conn:   newConn(ws, stream, nil, s.pool, s.cfg.MaxMessage),
		server: s,
		name:   s.cfg.Endpoint + "-websocket-" + strconv.Itoa(number),
		peer:   peer,
		log:    s.log.With().Stringer("addr", peer.Addr).Str("name", name).Logger(),
	}
	limits := outLimits(s.cfg.SendQueue, s.cfg.SendOverflow, s.cfg.SendBytes)
	limits.Total, limits.Full = s.unsent, func() { c.abort(errUnsent) }
	c.out = queue.New[[]byte](limits)
	c.strictUTF8 = true
	c.pingInterval = s.cfg.PingInterval
	seconds := strconv.Itoa(int(c.pingInterval / time.Second))
	c.ping = func(n int) string { return "ixwebsocket::heartbeat::" + seconds + "s::" + strconv.Itoa(n) }
	c.receive = c.received
	c.sent = func(texts, bytes int) { s.hooks.Sent(peer, texts, bytes) }
	return c
}

// refuse reports an error to the client and closes the connection.
func (c *client) refuse(e jsonv1.Error) {
	c.state = clientDeaf
	c.complain(e)
	c.drain(farewell{websocket.ClosePolicyViolation, e.Context, e})
}

// tooSlow is the reason in the close frame of a client that reads too slowly.
const tooSlow = "Too slow"

// errUnsent is the reason for the end of a client that reads too slowly.
var errUnsent = fmt.Errorf("websocket: send queue: %w: too many bytes in the queues of all clients, and this one reads the slowest", broker.ErrOverflow)

// CodeNotPermitted is the code of the error that a client gets for a message which
// ServerConfig.Permits does not permit. Zeek has none for that.
const CodeNotPermitted = "not_permitted"

// maxComplaints limits the errors of a client that are logged at info level.
// Further errors are logged at debug level.
const maxComplaints = 32

// complain reports an error to the client.
func (c *client) complain(e jsonv1.Error) { c.complainAbout(e, nil) }

// complainBroken reports an error in the message that is being processed. If err is
// nil, the error has no other reason than e.
func (c *client) complainBroken(e jsonv1.Error, err error) {
	if err == nil {
		err = errors.New(e.Context)
	}
	c.complainAbout(e, c.broken(err))
}

func (c *client) complainAbout(e jsonv1.Error, err error) {
	line := c.log.Debug()
	if c.complaints.Add(1) <= maxComplaints {
		line = c.note(zerolog.InfoLevel, "invalid message")
	}
	line.Err(err).Str("code", e.Code).Str("context", e.Context).Msg("websocket client sent an invalid message")
	_ = c.enqueue(c.ctx, jsonv1.Append(nil, e), 1) // it fails if the client leaves
}

// gone logs the end of the client. It is a warning if the client is at fault.
func (c *client) gone(err error) {
	line := c.log.Debug()
	var frame *broker.FrameError
	if errors.As(err, &frame) || errors.Is(err, intake.ErrMemory) || errors.Is(err, intake.ErrStalled) {
		line = c.note(zerolog.WarnLevel, "gone")
	}
	line.Err(err).Msg("websocket client gone")
}

// note begins a line of the log about the client, at debug level if there are too many
// lines of its kind about all clients.
func (c *client) note(level zerolog.Level, kind string) *zerolog.Event {
	line := c.server.notices.Peers(level, kind)
	if line == nil {
		return c.log.Debug()
	}
	return line.Stringer("addr", c.peer.Addr).Str("name", c.peer.Name)
}

// takesRelayed reports whether the queue has room for a message of another client.
// If not, the message counts as dropped. Otherwise a client that floods the server
// could disconnect the others.
func (c *client) takesRelayed() bool {
	if c.server.cfg.SendOverflow != broker.OverflowDisconnect {
		return true
	}
	waiting, _ := c.out.Stats()
	if waiting < c.server.cfg.SendQueue/2 {
		return true
	}
	c.server.hooks.DroppedSending(c.peer, 1)
	return false
}

// enqueue queues text for the writer. If the queue overflows the client may be
// disconnected.
func (c *client) enqueue(ctx context.Context, text []byte, clients int) error {
	lost, err := pushText(ctx, c.out, text, clients)
	if lost.Items > 0 {
		c.server.hooks.DroppedSending(c.peer, lost.Items)
	}
	if lost.First {
		c.log.Warn().Msg("send queue is full, dropping messages")
	}
	if errors.Is(err, broker.ErrOverflow) {
		c.drain(farewell{websocket.ClosePolicyViolation, tooSlow, fmt.Errorf("websocket: send queue: %w", err)})
	}
	if ctx.Err() != nil {
		return err
	}
	return nil // the end of a client is not an error of the publisher
}

// received handles one text of the client.
func (c *client) received(text []byte) error {
	c.server.hooks.Received(c.peer, 1, len(text))
	c.ticket.Touch()
	switch c.state {
	case clientNew:
		return c.subscribe(text)
	case clientSubscribed:
		return c.message(text)
	}
	return nil
}

// subscribe handles the first text of the client.
func (c *client) subscribe(text []byte) error {
	frame, decodeErr := jsonv1.Decode(text)
	topics, ok := frame.(jsonv1.Subscriptions)
	if !ok {
		c.state = clientDeaf
		e := jsonv1.Error{Code: jsonv1.CodeDeserializationFailed, Context: "subscriptions not an array"}
		var items []json.RawMessage
		if json.Unmarshal(text, &items) == nil && items != nil {
			e.Context = "individual subscription not a string"
		}
		c.complainBroken(e, decodeErr)
		return nil
	}
	c.patience.Stop()
	c.log.Debug().Strs("subscriptions", topics).Msg("websocket client subscribed")
	if err := c.server.inbox.Keep(c.ctx, broker.PeerAdded{Peer: c.peer}); err != nil {
		return err
	}
	c.state = clientSubscribed
	s := c.server
	s.hooks.PeerAdded(c.peer)
	filter := broker.NewFilter(topics...)
	if c.feed != nil {
		c.feed.Begin(c.peer, filter)
		c.begun = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The mutex excludes Publish: the client receives nothing before the ack, and
	// everything published after the ack.
	err := c.out.Keep(c.ctx, jsonv1.Append(nil, jsonv1.Ack{Endpoint: c.name, Version: s.cfg.Version}))
	if errors.Is(err, broker.ErrClosed) {
		return nil // closing already
	}
	c.active, c.filter = true, filter
	if c.feed == nil {
		s.join(c)
		return err
	}
	c.feeding.Store(true)
	c.out.Wake()
	return err
}

// message handles a text after the first.
func (c *client) message(text []byte) error {
	frame, err := jsonv1.Decode(text)
	data, ok := frame.(jsonv1.Data)
	if !ok {
		c.complainBroken(jsonv1.Error{Code: jsonv1.CodeDeserializationFailed, Context: "failed to decode JSON object"}, err)
		return nil
	}
	if data.Topic == "" || data.Topic == broker.ControlTopic {
		c.complainBroken(jsonv1.Error{Code: jsonv1.CodeDeserializationFailed, Context: "no topic in top-level JSON object"}, nil)
		return nil
	}
	if permits := c.server.cfg.Permits; permits != nil {
		if err := permits(c.peer, broker.Message(data)); err != nil {
			c.complain(jsonv1.Error{Code: CodeNotPermitted, Context: err.Error()})
			return nil
		}
	}
	if !c.server.cfg.Private {
		if err := c.server.fanOut(c.ctx, data, c); err != nil {
			return err
		}
	}
	lost, err := pushReceived(c.ctx, c.server.inbox, c.peer, data, len(text))
	if lost.Items > 0 {
		c.server.hooks.DroppedReceived(c.peer, lost.Items)
	}
	if lost.First {
		c.log.Warn().Msg("receive queue is full, dropping messages")
	}
	return err
}
