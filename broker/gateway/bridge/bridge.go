package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

const (
	reconnectWait  = time.Second
	confirmTimeout = 5 * time.Second // for one message
	firstRetry     = 100 * time.Millisecond
	lastRetry      = 2 * time.Second
	linger         = 3 * time.Second // for the queue at the end
	consumerLinger = 5 * time.Minute // after which a server removes a consumer that is not used
	maxSending     = 64              // topics whose messages are on the way at the same time
)

// Headers of messages.
const (
	headerGateway = "Zeekwire-Gateway"
	headerZeek    = "Zeekwire-Zeek"
)

// Errors of Publish.
var (
	ErrFull     = errors.New("bridge: the queue of NATS is full")
	ErrTooLarge = errors.New("bridge: the message is too large for NATS")
	ErrEnded    = errors.New("bridge: ended")
)

// maxSubject limits the subject, in bytes. A server accepts lines of 4096 bytes by default.
const maxSubject = 2048

// Bridge connects a gateway with NATS JetStream. Its methods may be called concurrently.
type Bridge struct {
	cfg     Config
	options []nats.Option
	notices *admission.Notices
	places  chan struct{} // one for each topic that may send
	sending sync.WaitGroup

	connected chan struct{} // closed when conn and js are set
	conn      *nats.Conn
	js        jetstream.JetStream
	stop      context.Context // ends when nothing more can be sent
	stopNow   context.CancelFunc

	reporting sync.Mutex // serializes the calls of Config.Connected

	mu       sync.Mutex
	lanes    map[laneKey]*lane
	stats    Stats
	ended    bool
	created  time.Time // when the stream was created from which position is, zero before it is known
	position uint64    // of the last message that was read from the stream
	reopen   func()    // makes read end
}

// Stats are the numbers of a Bridge. Counters begin with New.
type Stats struct {
	Connected bool

	Published uint64 // messages that the stream has confirmed
	Repeated  uint64 // messages that were sent again because they had not been confirmed
	Full      uint64 // messages that were dropped because the queue was full
	TooLarge  uint64 // messages that were dropped because they were too large
	Received  uint64 // messages of other gateways
	Removed   uint64 // messages that the stream removed before they were read, also of other topics; a lower bound

	Waiting, WaitingBytes int // messages that are not confirmed yet
}

// New returns a Bridge. It connects when Run is called. New returns an error if the
// configuration is not valid.
func New(cfg Config) (*Bridge, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	b := &Bridge{
		cfg: cfg, notices: admission.NewNotices(cfg.Log), places: make(chan struct{}, maxSending),
		connected: make(chan struct{}), lanes: make(map[laneKey]*lane), reopen: func() {},
	}
	if b.options, err = cfg.options(b.connection); err != nil {
		return nil, err
	}
	b.stop, b.stopNow = context.WithCancel(context.Background())
	return b, nil
}

// connection is called when the connection begins and ends.
func (b *Bridge) connection(connected bool, reason error) {
	b.reporting.Lock()
	b.mu.Lock()
	b.stats.Connected = connected
	reopen := b.reopen
	b.mu.Unlock()
	if connected {
		b.cfg.Log.Info().Msg("connected to NATS")
		b.cfg.Connected(true, nil)
	}
	b.reporting.Unlock()
	if !connected {
		reopen()
		b.lost(reason)
	}
}

// Stats returns the current numbers.
func (b *Bridge) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

// Run connects to NATS, and again after each loss, until ctx ends. Then it waits up to three
// seconds for the confirmation of the messages in the queue. It must be called once.
func (b *Bridge) Run(ctx context.Context) error {
	defer b.stopNow()
	conn, err := nats.Connect(strings.Join(b.cfg.URLs, ","), b.options...)
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	defer conn.Close()
	b.conn = conn
	if b.js, err = jetstream.New(conn, jetstream.WithDefaultTimeout(confirmTimeout)); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	close(b.connected)
	var receiving sync.WaitGroup
	if b.cfg.Deliver != nil {
		receiving.Go(func() { b.receive(ctx) })
	}
	b.watch(ctx)
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	end := time.AfterFunc(linger, b.stopNow)
	defer end.Stop()
	if !conn.IsConnected() {
		b.stopNow()
	}
	b.sending.Wait()
	conn.Close()
	receiving.Wait()
	if n := b.Stats().Waiting; n > 0 {
		b.cfg.Log.Warn().Int("messages", n).Msg("NATS has not confirmed all messages")
	}
	return nil
}

// watch reports why there is no connection, until ctx ends. The library tells its handlers
// of failures to reach a server, but not of a server that is refused, or refuses the bridge.
func (b *Bridge) watch(ctx context.Context) {
	ticker := time.NewTicker(reconnectWait)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if b.conn.IsConnected() {
				continue
			}
			if err := b.conn.LastError(); err != nil {
				b.lost(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// lost reports that there is no connection, unless one has begun meanwhile.
func (b *Bridge) lost(reason error) {
	b.reporting.Lock()
	defer b.reporting.Unlock()
	if b.Stats().Connected {
		return
	}
	b.notices.Warn("disconnected").Err(reason).Msg("not connected to NATS")
	b.cfg.Connected(false, reason)
}

// Publish adds a message to the queue. The ID must be unique, also among gateways. The name
// of the Zeek is empty if a reader published the message. Publish does not wait. Messages of
// one topic and Zeek are sent in the order of the calls.
func (b *Bridge) Publish(id, zeek string, m broker.Message) error {
	subject := Subject(b.cfg.Prefix, m.Topic)
	e := entry{id: id, line: jsonv1.Append(nil, jsonv1.Data(m))}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.ended:
		return ErrEnded
	case len(subject) > maxSubject || e.bytes() > b.cfg.Queue:
		b.stats.TooLarge++
		return ErrTooLarge
	case b.stats.WaitingBytes+e.bytes() > b.cfg.Queue:
		b.stats.Full++
		b.notices.Warn("full").Str("topic", m.Topic).Msg("the queue of NATS is full: messages are dropped")
		return ErrFull
	}
	b.stats.Waiting++
	b.stats.WaitingBytes += e.bytes()
	key := laneKey{subject, zeek}
	if l := b.lanes[key]; l != nil {
		l.entries = append(l.entries, e)
		return nil
	}
	l := &lane{bridge: b, laneKey: key, entries: []entry{e}}
	b.lanes[key] = l
	b.sending.Go(l.run)
	return nil
}

// ensure creates the stream unless there is one.
func (b *Bridge) ensure(ctx context.Context) (jetstream.Stream, error) {
	stream, err := b.js.Stream(ctx, b.cfg.Stream)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	stream, err = b.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: b.cfg.Stream, Subjects: []string{b.cfg.Prefix + ".>"}, MaxAge: StreamAge, MaxBytes: StreamBytes,
		Description: "messages of Zeek, from zeekwire gateways",
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another gateway was faster
		return b.js.Stream(ctx, b.cfg.Stream)
	}
	if err == nil {
		b.cfg.Log.Info().Str("stream", b.cfg.Stream).Msg("created the stream in NATS")
	}
	return stream, err
}
