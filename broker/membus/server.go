package membus

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
)

// ClientBacklog is the number of messages queued for a client of a Server. One that has more
// is disconnected.
const ClientBacklog = 64 * Backlog

// Server is a broker.Bus with clients in the same process. Unlike the endpoints of a
// Hub, its clients are peers of the server only: they do not see each other, and each
// has the identity and the address that Connect was given. Its methods may be called
// concurrently, except that Next must not be called by two goroutines at once.
type Server struct {
	filter broker.Filter
	inbox  *queue.Queue[broker.Notification]
	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	clients map[uuid.UUID]*Client
}

var (
	_ broker.Bus        = (*Server)(nil)
	_ broker.Director   = (*Server)(nil)
	_ broker.Subscriber = (*Server)(nil)
	_ broker.Bus        = (*Client)(nil)
	_ broker.Subscriber = (*Client)(nil)
)

// NewServer returns a server without clients. It receives the messages that clients
// publish to topics with one of the prefixes. The caller must Close it.
func NewServer(prefixes ...string) *Server {
	s := &Server{
		filter:  broker.NewFilter(prefixes...),
		inbox:   queue.New[broker.Notification](queue.Limits{Policy: broker.OverflowBlock, Loose: Backlog, Bytes: queue.Budget(0)}),
		clients: make(map[uuid.UUID]*Client),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// Connect returns a new client, which the server sees as peer. If peer has no ID, it
// gets a random one. The client receives the messages that the server publishes to
// topics with one of the prefixes. The caller must Close it. Connect returns
// broker.ErrClosed after Close of the server.
func (s *Server) Connect(peer broker.Peer, prefixes ...string) (*Client, error) {
	if peer.ID == uuid.Nil {
		peer.ID = uuid.New()
	}
	c := &Client{
		server: s, peer: peer, filter: broker.NewFilter(prefixes...),
		inbox: queue.New[broker.Notification](queue.Limits{Policy: broker.OverflowDisconnect, Loose: ClientBacklog, Bytes: queue.Budget(0)}),
	}
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		c.cancel(nil)
		return nil, broker.ErrClosed
	}
	s.clients[peer.ID] = c
	c.inbox.Force(broker.PeerAdded{Peer: broker.Peer{Dialed: true}})
	s.inbox.Force(broker.PeerAdded{Peer: peer})
	return c, nil
}

// Publish sends v to every client that subscribes to topic. It does not block: a client
// that does not keep up is disconnected.
func (s *Server) Publish(_ context.Context, topic string, v broker.Value) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return broker.ErrClosed
	}
	for _, c := range s.clients {
		s.deliver(c, topic, v)
	}
	return nil
}

// PublishTo implements broker.Director.
func (s *Server) PublishTo(_ context.Context, peer uuid.UUID, topic string, v broker.Value) (known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false, broker.ErrClosed
	}
	c := s.clients[peer]
	if c == nil {
		return false, nil
	}
	s.deliver(c, topic, v)
	return true, nil
}

// deliver must be called with the lock held.
func (s *Server) deliver(c *Client, topic string, v broker.Value) {
	if !c.filter.Matches(topic) {
		return
	}
	received := broker.Received{Message: broker.Message{Topic: topic, Value: v}}
	_, err := c.inbox.Push(s.ctx, queue.Entry[broker.Notification]{Item: received, Size: v.Memory()})
	if err != nil {
		s.remove(c, err)
	}
}

// remove ends the peering with a client. It must be called with the lock held.
func (s *Server) remove(c *Client, why error) {
	if s.clients[c.peer.ID] != c {
		return
	}
	delete(s.clients, c.peer.ID)
	c.cancel(why) // wakes Publish
	c.inbox.Close()
	c.publishing.Lock()
	defer c.publishing.Unlock()
	s.inbox.Force(broker.PeerLost{Peer: c.peer, Err: why})
}

// Clients returns the number of clients.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// Subscriptions implements broker.Subscriber.
func (s *Server) Subscriptions() broker.Filter { return s.filter }

// Next implements broker.Bus.
func (s *Server) Next(ctx context.Context) (broker.Notification, error) {
	n, err := s.inbox.Next(ctx)
	if err != nil {
		err = queue.ExplainTimeout(err, s.filter)
	}
	return n, err
}

// Close ends the peerings with all clients. It always returns nil.
func (s *Server) Close() error {
	s.cancel(broker.ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		s.remove(c, broker.ErrClosed)
	}
	s.inbox.Close()
	return nil
}

// Client is a broker.Bus whose only peer is a Server. Its methods may be called
// concurrently, except that Next must not be called by two goroutines at once.
type Client struct {
	server *Server
	peer   broker.Peer // as the server sees it
	filter broker.Filter
	inbox  *queue.Queue[broker.Notification]
	ctx    context.Context // ends with the peering
	cancel context.CancelCauseFunc

	publishing sync.RWMutex // read-locked by Publish, so that nothing follows PeerLost
}

// Done returns a channel that is closed when the peering has ended.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// Publish sends v to the server if that subscribes to topic. It blocks while the queue
// of the server is full. If ctx ends first, it returns the cause.
func (c *Client) Publish(ctx context.Context, topic string, v broker.Value) error {
	c.publishing.RLock()
	defer c.publishing.RUnlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(broker.ErrClosed) })()
	switch {
	case c.ctx.Err() != nil:
		return broker.ErrClosed
	case !c.server.filter.Matches(topic):
		return nil
	}
	received := broker.Received{Peer: c.peer, Message: broker.Message{Topic: topic, Value: v}}
	_, err := c.server.inbox.Push(ctx, queue.Entry[broker.Notification]{Item: received, Size: v.Memory()})
	return err
}

// Subscriptions implements broker.Subscriber.
func (c *Client) Subscriptions() broker.Filter { return c.filter }

// Next implements broker.Bus.
func (c *Client) Next(ctx context.Context) (broker.Notification, error) {
	n, err := c.inbox.Next(ctx)
	if err != nil {
		err = queue.ExplainTimeout(err, c.filter)
	}
	return n, err
}

// Close ends the peering. The server receives a PeerLost that wraps broker.ErrClosed. It
// always returns nil.
func (c *Client) Close() error {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.remove(c, broker.ErrClosed)
	return nil
}
