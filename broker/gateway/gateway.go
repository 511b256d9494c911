package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// Defaults of Config.
const (
	DefaultMessages    = 65_536
	DefaultBytes       = 64 << 20
	DefaultMaxReaders  = 10_000
	DefaultReaderQueue = 8192
	DefaultStall       = 30 * time.Second
)

// GCPercent is the value for debug.SetGCPercent that suits a process which has nothing but a
// Gateway. It keeps messages for long, and makes little garbage for each reader, so that the
// collector has little to do, while the default would double the memory.
const GCPercent = 25

// heartbeat is the time after which a reader of Server-Sent Events that got nothing gets an
// empty line, so that both ends notice when the connection is dead.
const heartbeat = 15 * time.Second

// Config configures a Gateway. The zero Config is valid. For every number and duration,
// zero means the default, and a negative value is an error of New.
type Config struct {
	// Messages and Bytes limit the ring, in which readers of Server-Sent Events find the
	// messages that they have not got, also when they connect again. The defaults are
	// DefaultMessages and DefaultBytes. Bytes limits the ring of WebSocket clients, too,
	// which has at most ReaderQueue messages, and none while there are no such clients.
	Messages, Bytes int

	// MaxReaders limits the readers of either kind. The default is DefaultMaxReaders. If
	// there are more, a further one takes the place of an anonymous one, see
	// admission.Limits.
	MaxReaders int

	// ReaderQueue limits the messages, of all topics, that a reader may be behind. The default is
	// DefaultReaderQueue. Slow is what happens to one that is slower: with
	// OverflowDropOldest, the default, it misses messages, and a reader of Server-Sent
	// Events is told how many. With OverflowDisconnect, it is disconnected. Other values
	// are errors.
	ReaderQueue int
	Slow        broker.Overflow

	// Stall is the time after which a reader is disconnected that reads nothing although
	// there is something for it. The default is DefaultStall.
	Stall time.Duration

	// Describe returns the arguments of an event, nil if they are not known. It may be nil.
	Describe func(event string) []record.Field

	// Authorize authenticates a reader. An error refuses it with HTTP status 401. If nil,
	// all readers are accepted, and are anonymous.
	Authorize func(*http.Request) (*broker.Identity, error)

	// MayRead and MayPublish report whether a reader may read, and publish. They are called
	// for each message that a reader publishes, and for each batch of messages that it
	// gets, so that they may change their minds. If nil, all readers may read, and none may
	// publish.
	MayRead, MayPublish func(broker.Peer) bool

	// Forward, if non-nil, is called with each message of Zeeks and readers, in the order in
	// which readers receive them, but not with those of Relay. It must not wait. An error is
	// returned to a reader that publishes by HTTP; messages of Zeeks are passed on to readers
	// nevertheless.
	Forward func(Forwarded) error

	// Hosts are the names by which web pages may reach the gateway.
	Hosts admission.Hosts

	// Endpoint and Version are sent to WebSocket clients, see websocket.ServerConfig. Hooks
	// are those of the WebSocket server.
	Endpoint, Version string
	Hooks             any

	// Log receives errors that no method returns. The zero value discards them.
	Log zerolog.Logger
}

// Forwarded is a message for Config.Forward.
type Forwarded struct {
	ID      string // unique, also among gateways
	Zeek    string // that sent it, "" for a message of a reader
	Message broker.Message
}

func (c Config) complete() (Config, error) {
	for _, n := range []struct {
		name  string
		value *int
		zero  int
	}{
		{"Messages", &c.Messages, DefaultMessages}, {"Bytes", &c.Bytes, DefaultBytes},
		{"MaxReaders", &c.MaxReaders, DefaultMaxReaders}, {"ReaderQueue", &c.ReaderQueue, DefaultReaderQueue},
	} {
		if *n.value < 0 {
			return c, fmt.Errorf("gateway: %s is %d, must not be negative", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.zero
		}
	}
	switch {
	case c.Stall < 0:
		return c, fmt.Errorf("gateway: Stall is %v, must not be negative", c.Stall)
	case c.Stall == 0:
		c.Stall = DefaultStall
	}
	if c.Slow != broker.OverflowDropOldest && c.Slow != broker.OverflowDisconnect {
		return c, fmt.Errorf("gateway: Slow is %v, want %v or %v", c.Slow, broker.OverflowDropOldest, broker.OverflowDisconnect)
	}
	return c, nil
}

// Gateway passes messages of Zeeks on to readers. Its methods may be called concurrently.
type Gateway struct {
	cfg     Config
	name    string // of this life, in the IDs of messages
	ring    *ring  // of Server-Sent Events
	texts   *ring  // of WebSocket messages; empty while there are no such readers
	web     *websocket.Server
	gate    *admission.Gate
	notices *admission.Notices
	done    chan struct{}
	running sync.WaitGroup

	passing sync.Mutex // serializes messages, so that all readers get them in one order
	plain   plain
	scratch []byte

	mu      sync.Mutex
	closed  bool
	zeeks   map[string]broker.Bus
	readers map[*reader]struct{}

	messages, published, refused, delivered, lost atomic.Uint64
}

// New returns a Gateway without Zeeks. The caller must Close it.
func New(cfg Config) (*Gateway, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	notices := admission.NewNotices(cfg.Log)
	g := &Gateway{
		cfg: cfg, name: uuid.NewString()[:8],
		ring: newRing(cfg.Messages, cfg.Bytes), texts: newRing(cfg.ReaderQueue, cfg.Bytes),
		plain: plain{describe: cfg.Describe}, notices: notices, done: make(chan struct{}),
		gate: admission.New(admission.Limits{
			Arriving: 1024, PerAddress: 512, Established: cfg.MaxReaders, Known: cfg.MaxReaders / 4, Loopback: cfg.MaxReaders / 10,
		}, notices),
		zeeks: make(map[string]broker.Bus), readers: make(map[*reader]struct{}),
	}
	g.texts.transient = true
	g.web, err = websocket.NewServer(websocket.ServerConfig{
		Endpoint: cfg.Endpoint, Version: cfg.Version,
		Authorize: func(r *http.Request) (*broker.Identity, error) { return visitorOf(r).peer.Identity, nil },
		Admits:    g.mayRead,
		Permits:   func(p broker.Peer, _ broker.Message) error { return g.mayPublish(p) },
		Feed:      g.feed,
		Hosts:     admission.Hosts{Names: []string{"*"}}, // checked before
		// The gate has the limit, which counts all readers. So this one is never reached.
		MaxClients: cfg.MaxReaders * 2, MaxHandshakes: cfg.MaxReaders * 2,
		Hooks: cfg.Hooks, Log: cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.running.Go(g.receive)
	return g, nil
}

// Close ends all readers. It does not close the buses of Zeeks.
func (g *Gateway) Close() error {
	g.mu.Lock()
	already := g.closed
	g.closed = true
	g.mu.Unlock()
	if already {
		return nil
	}
	close(g.done)
	g.ring.close()
	g.texts.close()
	err := g.web.Close()
	g.running.Wait()
	return err
}

// Attach passes on the messages of a Zeek, or of a cluster, until ctx or the bus ends. Name
// is in the objects that readers of Server-Sent Events get, unless it is empty. What readers
// publish goes to all attached Zeeks.
func (g *Gateway) Attach(ctx context.Context, name string, bus broker.Bus) error {
	g.mu.Lock()
	if g.zeeks[name] != nil {
		g.mu.Unlock()
		return fmt.Errorf("gateway: there is already a Zeek called %q", name)
	}
	g.zeeks[name] = bus
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.zeeks, name)
	}()
	for {
		n, err := bus.Next(ctx)
		if err != nil {
			return err
		}
		if received, ok := n.(broker.Received); ok {
			_ = g.pass(name, uuid.Nil, received.Message, g.cfg.Forward)
		}
	}
}

// Relay passes on a message of another gateway to all readers, and to the Zeeks if toZeeks is
// true. The name of the Zeek is empty if a reader published the message.
func (g *Gateway) Relay(ctx context.Context, zeek string, m broker.Message, toZeeks bool) {
	_ = g.pass(zeek, uuid.Nil, m, nil) // there is no error without a function
	if toZeeks {
		_ = g.send(ctx, m) // reports errors
	}
}

// ID returns the ID of the gateway, which is another one after a restart. The IDs of messages
// begin with it.
func (g *Gateway) ID() string { return g.name }

// pass passes a message on to all readers, except a WebSocket client that published it. The
// errors are those of forward.
func (g *Gateway) pass(zeek string, origin uuid.UUID, m broker.Message, forward func(Forwarded) error) error {
	g.passing.Lock()
	defer g.passing.Unlock()
	err := g.remember(zeek, m, forward)
	if g.texts.read() {
		g.scratch = jsonv1.Append(g.scratch[:0], jsonv1.Data(m))
		g.texts.add(&entry{topic: m.Topic, event: eventOf(&m), origin: origin, text: g.takeScratch()})
	}
	return err
}

// takeScratch returns a copy of the scratch memory, without spare capacity.
func (g *Gateway) takeScratch() []byte {
	text := bytes.Clone(g.scratch)
	if cap(g.scratch) > keepScratch {
		g.scratch = nil
	}
	return text
}

// keepScratch limits the scratch memory that is kept, in bytes.
const keepScratch = 1 << 20

// remember adds a message to the ring, and the parts of a batch one by one. If forward is
// non-nil, it takes each of them. The errors are those of forward.
func (g *Gateway) remember(zeek string, m broker.Message, forward func(Forwarded) error) error {
	if parsed, err := broker.ParseZeekMessage(m.Value); err == nil {
		if parts, ok := parsed.(broker.Batch); ok {
			var errs []error
			for _, part := range parts {
				errs = append(errs, g.remember(zeek, broker.Message{Topic: m.Topic, Value: part.Value()}, forward))
			}
			return errors.Join(errs...)
		}
	}
	g.messages.Add(1)
	number := g.ring.end()
	text := append(g.scratch[:0], "id: "...)
	text = append(text, id(g.name, number)...)
	text = append(text, "\ndata: "...)
	text, event := g.plain.appendMessage(text, zeek, m)
	g.scratch = append(text, "\n\n"...)
	g.ring.add(&entry{topic: m.Topic, event: event, text: g.takeScratch()})
	if forward == nil {
		return nil
	}
	return forward(Forwarded{id(g.name, number), zeek, m})
}

// receive takes the messages that WebSocket clients publish.
func (g *Gateway) receive() {
	for {
		n, err := g.web.Next(context.Background())
		if err != nil {
			return
		}
		if received, ok := n.(broker.Received); ok {
			g.published.Add(1)
			_ = g.pass("", received.Peer.ID, received.Message, g.cfg.Forward) // the protocol has no errors
			_ = g.send(context.Background(), received.Message)
		}
	}
}

// publish passes on a message of a reader to the Zeeks and to all readers.
func (g *Gateway) publish(ctx context.Context, by broker.Peer, m broker.Message) error {
	if err := g.mayPublish(by); err != nil {
		return err
	}
	g.published.Add(1)
	return errors.Join(g.pass("", uuid.Nil, m, g.cfg.Forward), g.send(ctx, m))
}

// send publishes a message to all Zeeks.
func (g *Gateway) send(ctx context.Context, m broker.Message) error {
	g.mu.Lock()
	buses := make([]broker.Bus, 0, len(g.zeeks))
	for _, bus := range g.zeeks {
		buses = append(buses, bus)
	}
	g.mu.Unlock()
	var errs []error
	for _, bus := range buses {
		errs = append(errs, bus.Publish(ctx, m.Topic, m.Value))
	}
	err := errors.Join(errs...)
	if err != nil {
		g.notices.Warn("zeek").Err(err).Str("topic", m.Topic).Msg("cannot publish a message of a reader")
	}
	return err
}

func (g *Gateway) mayRead(p broker.Peer) bool { return g.cfg.MayRead == nil || g.cfg.MayRead(p) }

// errMayNot is the error for readers that may not publish.
var errMayNot = errors.New("this reader may not publish")

func (g *Gateway) mayPublish(p broker.Peer) error {
	if g.cfg.MayPublish != nil && g.cfg.MayPublish(p) {
		return nil
	}
	g.refused.Add(1)
	return errMayNot
}

// selection is what a reader reads.
type selection struct {
	topics broker.Filter // prefixes
	events []string      // patterns of path.Match for names of events; empty: all messages
}

// maxPatterns limits the topics, and the events, of a reader.
const maxPatterns = 100

// selectionOf returns the selection in the query of a request.
func selectionOf(query map[string][]string) (selection, error) {
	topics, events := query["topic"], query["event"]
	if len(topics) > maxPatterns || len(events) > maxPatterns {
		return selection{}, fmt.Errorf("more than %d topics or events", maxPatterns)
	}
	for _, pattern := range events {
		if _, err := path.Match(pattern, ""); err != nil {
			return selection{}, fmt.Errorf("event=%.80q: %w", pattern, err)
		}
	}
	return selection{topics: broker.NewFilter(topics...), events: events}, nil
}

// key returns a digest that differs for different selections, which may be large.
func (s *selection) key() (key [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q", s.topics, s.events)
	h.Sum(key[:0])
	return key
}

func (s *selection) matches(topic, event string) bool {
	return s.topics.Matches(topic) && (len(s.events) == 0 || s.matchesEvent(event))
}

func (s *selection) matchesEvent(event string) bool {
	return event != "" && slices.ContainsFunc(s.events, func(pattern string) bool {
		ok, _ := path.Match(pattern, event)
		return ok || pattern == event
	})
}

// eventOf returns the name of the event in a message, "" for other messages.
func eventOf(m *broker.Message) string {
	ev, err := broker.ParseEvent(m.Value)
	if err != nil {
		return ""
	}
	return ev.Name
}
