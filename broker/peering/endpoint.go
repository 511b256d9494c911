package peering

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/hooks"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// Endpoint is a native Broker endpoint, created by New. Its methods may be called
// concurrently, except that Next must not be called by two goroutines at once.
type Endpoint struct {
	cfg      Config
	hooks    hooks.Hooks
	registry *registry
	decoders sync.Pool // *bin.Decoder
	notices  *admission.Notices
	gate     *admission.Gate
	inbox    *queue.Queue[broker.Notification]
	intake   *intake.Pool                  // of incomplete frames
	unsent   *queue.Total                  // of the send queues
	filter   atomic.Pointer[broker.Filter] // our subscriptions; replaced when they change
	token    atomic.Uint64                 // for pings

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	closing atomic.Bool

	mu        sync.Mutex
	prefixes  map[string]struct{}
	listeners map[net.Listener]struct{}
	targets   map[string]*target
	links     map[*link]struct{}
	refusals  map[netip.Addr]string // last logged refusal of each host
}

var (
	_ broker.Bus        = (*Endpoint)(nil)
	_ broker.Director   = (*Endpoint)(nil)
	_ broker.Subscriber = (*Endpoint)(nil)
)

// New returns an endpoint without peers. It returns an error if cfg is invalid.
// The caller must Close the endpoint.
func New(cfg Config) (*Endpoint, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	hooks, err := hooks.New(cfg.Hooks)
	if err != nil {
		return nil, fmt.Errorf("peering: %w", err)
	}
	notices := admission.NewNotices(cfg.Log)
	e := &Endpoint{
		cfg: cfg, hooks: hooks, registry: newRegistry(),
		notices: notices, gate: admission.New(cfg.limits(), notices),
		intake: intake.NewPool(intake.Limits{Bytes: cfg.MaxIncomplete, Timeout: cfg.StallTimeout}),
		unsent: queue.NewTotal(cfg.MaxUnsent),
		inbox: queue.New[broker.Notification](queue.Limits{
			Policy: cfg.ReceiveOverflow, Loose: cfg.ReceiveQueue, Bytes: cfg.ReceiveBytes, Kept: cfg.ReceiveQueue,
		}),
		prefixes:  make(map[string]struct{}),
		listeners: make(map[net.Listener]struct{}),
		targets:   make(map[string]*target),
		links:     make(map[*link]struct{}),
		refusals:  make(map[netip.Addr]string),
	}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	e.filter.Store(new(broker.Filter))
	if err := e.Subscribe(cfg.Subscriptions...); err != nil {
		return nil, err
	}
	return e, nil
}

// ID returns the endpoint ID.
func (e *Endpoint) ID() uuid.UUID { return e.cfg.ID }

// Subscribe subscribes to all topics that begin with one of the prefixes, on
// current and future peers. Avoid the empty prefix except in tools that only
// observe: Zeek treats a peer subscribed to everything as a data store host. The
// error wraps ErrTopic if the subscriptions become invalid or too many; then
// they stay as they were.
func (e *Endpoint) Subscribe(prefixes ...string) error {
	return e.changeFilter(func(set map[string]struct{}) {
		for _, p := range prefixes {
			set[p] = struct{}{}
		}
	})
}

// Unsubscribe removes subscriptions made with exactly these prefixes.
func (e *Endpoint) Unsubscribe(prefixes ...string) error {
	return e.changeFilter(func(set map[string]struct{}) {
		for _, p := range prefixes {
			delete(set, p)
		}
	})
}

// Subscriptions implements broker.Subscriber.
func (e *Endpoint) Subscriptions() broker.Filter { return *e.filter.Load() }

func (e *Endpoint) changeFilter(change func(map[string]struct{})) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return broker.ErrClosed
	}
	prefixes := maps.Clone(e.prefixes)
	change(prefixes)
	f := broker.NewFilter(slices.Collect(maps.Keys(prefixes))...)
	if err := checkFilter(f); err != nil {
		return err
	}
	e.prefixes = prefixes
	if f.Equal(*e.filter.Load()) {
		return nil
	}
	e.filter.Store(&f)
	for _, l := range e.registry.peers() {
		l.out.Wake()
	}
	return nil
}

// Publish queues v for all peers that subscribe to topic. It does not block,
// except with OverflowBlock while a queue is full. The error wraps ErrTopic for
// an invalid topic, and a *wire.FrameSizeError for a message that is too large.
func (e *Endpoint) Publish(ctx context.Context, topic string, v broker.Value) error {
	if err := e.mayPublish(topic); err != nil {
		return err
	}
	return e.publish(ctx, e.registry.routes.Load().candidates(topic), topic, v)
}

// publish queues v for the candidates whose peers subscribe to topic.
func (e *Endpoint) publish(ctx context.Context, candidates []*link, topic string, v broker.Value) error {
	var frame []byte // shared by all peers
	for _, l := range candidates {
		if !l.subscribes(topic) {
			continue
		}
		if frame == nil {
			var err error
			if frame, err = e.encode(uuid.Nil, topic, v); err != nil {
				return err
			}
		}
		if err := l.enqueue(ctx, frame, len(candidates)); err != nil {
			return err
		}
	}
	return nil
}

// PublishToAll implements broker.Multicaster. To the peers it looks like Publish. It returns
// the errors of Publish.
func (e *Endpoint) PublishToAll(ctx context.Context, peers []uuid.UUID, topic string, v broker.Value) error {
	if err := e.mayPublish(topic); err != nil {
		return err
	}
	links := make([]*link, 0, len(peers))
	for _, peer := range peers {
		if l := e.registry.find(peer); l != nil {
			links = append(links, l)
		}
	}
	return e.publish(ctx, links, topic, v)
}

// PublishTo implements broker.Director. To the peer it looks like Publish.
func (e *Endpoint) PublishTo(ctx context.Context, peer uuid.UUID, topic string, v broker.Value) (known bool, err error) {
	if err := e.mayPublish(topic); err != nil {
		return false, err
	}
	l := e.registry.find(peer)
	if l == nil {
		return false, nil
	}
	if !l.subscribes(topic) {
		return true, nil
	}
	frame, err := e.encode(uuid.Nil, topic, v)
	if err != nil {
		return true, err
	}
	return true, l.enqueue(ctx, frame, 1)
}

// Send queues v for one peer, whether or not the peer subscribes to topic. Zeek
// passes the message to its scripts only if it does subscribe. The error wraps
// ErrNoPeer if there is no such peer.
func (e *Endpoint) Send(ctx context.Context, peer uuid.UUID, topic string, v broker.Value) error {
	if err := e.mayPublish(topic); err != nil {
		return err
	}
	l := e.registry.find(peer)
	if l == nil {
		return fmt.Errorf("%w: %s", ErrNoPeer, peer)
	}
	frame, err := e.encode(peer, topic, v)
	if err != nil {
		return err
	}
	return l.enqueue(ctx, frame, 1)
}

func (e *Endpoint) mayPublish(topic string) error {
	if e.closing.Load() {
		return broker.ErrClosed
	}
	return checkTopic(topic)
}

// keepScratch is the largest buffer for encoding that is kept for the next message.
const keepScratch = 1 << 20

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// encode returns the frame that carries v.
func (e *Endpoint) encode(receiver uuid.UUID, topic string, v broker.Value) ([]byte, error) {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	*buf = bin.Append((*buf)[:0], v)
	env := wire.Envelope{
		Sender: e.cfg.ID, Receiver: receiver, Type: wire.TypeData, TTL: wire.DefaultTTL,
		Topic: topic, Payload: *buf,
	}
	if env.Len() > e.cfg.MaxMessage {
		*buf = nil
		return nil, fmt.Errorf("peering: message for %q: %w", topic,
			&wire.FrameSizeError{Size: uint32(env.Len()), Limit: e.cfg.MaxMessage})
	}
	frame := env.AppendFrame(make([]byte, 0, 4+env.Len()))
	if cap(*buf) > keepScratch {
		*buf = nil
	}
	return frame, nil
}

// Next implements broker.Bus. If ctx ends by a timeout and the endpoint has no
// subscriptions, the error also wraps a *broker.NotSubscribedError.
func (e *Endpoint) Next(ctx context.Context) (broker.Notification, error) {
	n, err := e.inbox.Next(ctx)
	if err != nil {
		err = queue.ExplainTimeout(err, e.Subscriptions())
	}
	return n, err
}

// State is the state of a peering.
type State uint8

// The states.
const (
	Connecting State = iota // address added, no peering yet
	Peered
)

var stateNames = [...]string{"connecting", "peered"}

// String returns "connecting" or "peered".
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return "state(?)"
	}
	return stateNames[s]
}

// Admission returns the numbers of connections that the endpoint has, and of those
// that it has refused or closed because there were too many.
func (e *Endpoint) Admission() admission.Stats { return e.gate.Stats() }

// PeerInfo describes a peering, or an added address without one.
type PeerInfo struct {
	Peer  broker.Peer // without ID while connecting
	State State
	Since time.Time // time of the last change of state or failed attempt

	Filter  broker.Filter // the peer's subscriptions
	Queued  int           // messages in the send queue
	Dropped uint64        // messages dropped from the send queue
	Skipped uint64        // frames of the peer that were ignored as invalid

	// Err is the error of the last attempt, while connecting. It is nil before
	// the end of the first attempt.
	Err error
}

// Peers returns the addresses without a peering, ordered by address, and then
// all peers, ordered by ID.
func (e *Endpoint) Peers() []PeerInfo {
	var infos []PeerInfo
	e.mu.Lock()
	for _, t := range e.targets {
		if info := t.info(); info.State == Connecting {
			infos = append(infos, info)
		}
	}
	e.mu.Unlock()
	for _, l := range e.registry.peers() {
		infos = append(infos, l.info())
	}
	slices.SortFunc(infos, func(a, b PeerInfo) int {
		return cmp.Or(
			cmp.Compare(a.State, b.State),
			bytes.Compare(a.Peer.ID[:], b.Peer.ID[:]),
			cmp.Compare(a.Peer.Address, b.Peer.Address),
		)
	})
	return infos
}

// Targets returns the state of each added address, by address. An address is
// also peered if its peer has connected to this endpoint. Unlike that of Peers, its
// cost does not depend on the number of other peers.
func (e *Endpoint) Targets() map[string]PeerInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	infos := make(map[string]PeerInfo, len(e.targets))
	for address, t := range e.targets {
		infos[address] = t.info()
	}
	return infos
}

// Flush waits until all current peers have received the messages published
// before, and the subscriptions. It is not an error if a peer is lost meanwhile.
func (e *Endpoint) Flush(ctx context.Context) error {
	_, err := e.Confirm(ctx)
	return err
}

// Confirm is Flush, and returns the peers that have received the messages, in no particular
// order. They may be lost by now.
func (e *Endpoint) Confirm(ctx context.Context) ([]PeerInfo, error) {
	var mu sync.Mutex
	var received []PeerInfo
	err := e.each(func(l *link) error {
		payload := binary.BigEndian.AppendUint64([]byte("flush"), e.token.Add(1))
		err := l.ping(ctx, payload)
		switch {
		case err == nil:
			mu.Lock()
			defer mu.Unlock()
			received = append(received, l.info())
		case l.ctx.Err() != nil:
			return nil
		}
		return err
	})
	return received, err
}

// each calls f for all peers concurrently and returns the error of the first peer
// that has one.
func (e *Endpoint) each(f func(*link) error) error {
	peers := e.registry.peers()
	errs := make([]error, len(peers))
	var wg sync.WaitGroup
	for i, l := range peers {
		wg.Go(func() { errs[i] = f(l) })
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// Drain ends all peerings in good order and then closes the endpoint. It makes
// and accepts no further connections, refuses to publish, sends the queued
// messages and performs the closing handshake with every peer. When ctx ends it
// closes the endpoint anyway, and returns an error because peers may have missed
// messages.
func (e *Endpoint) Drain(ctx context.Context) error {
	e.stop()
	err := e.each(func(l *link) error { return l.leave(ctx, broker.ErrClosed) })
	e.cancel(broker.ErrClosed)
	e.failLinks(func(*link) bool { return true }, broker.ErrClosed)
	e.wg.Wait()
	e.inbox.Close()
	if err != nil {
		return fmt.Errorf("peering: a peer may not have received all messages: %w", err)
	}
	return nil
}

// Close is Drain with a timeout of Config.ByeTimeout.
func (e *Endpoint) Close() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), e.cfg.ByeTimeout, ErrPeerTimeout)
	defer cancel()
	return e.Drain(ctx)
}

// stop ends everything except peerings.
func (e *Endpoint) stop() {
	e.mu.Lock()
	e.closing.Store(true)
	for l := range e.listeners {
		l.Close()
	}
	for _, t := range e.targets {
		t.stop()
	}
	e.mu.Unlock()
	e.registry.close()
	peers := e.registry.peers()
	e.failLinks(func(l *link) bool { return !slices.Contains(peers, l) }, broker.ErrClosed)
}

// start runs f in a goroutine that Drain waits for.
func (e *Endpoint) start(f func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return broker.ErrClosed
	}
	e.wg.Go(f)
	return nil
}

// serve runs a connection until it ends, and returns its link. t is nil for an
// accepted connection.
func (e *Endpoint) serve(ctx context.Context, conn net.Conn, t *target) (l *link, wasPeered bool, err error) {
	l = newLink(ctx, e, conn, t)
	e.mu.Lock()
	e.links[l] = struct{}{}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.links, l)
		e.mu.Unlock()
	}()
	// From now on failLinks finds this link.
	switch {
	case e.closing.Load():
		l.fail(broker.ErrClosed)
	case t != nil && t.stopped():
		l.fail(ErrPeerRemoved)
	}
	wasPeered, err = l.run()
	return l, wasPeered, err
}

func (e *Endpoint) failLinks(which func(*link) bool, err error) {
	e.mu.Lock()
	links := slices.Collect(maps.Keys(e.links))
	e.mu.Unlock()
	for _, l := range links {
		if which(l) {
			l.fail(err)
		}
	}
}

// Dismiss ends the peering with a peer at once, for example because it is no longer
// permitted. PeerLost has the reason why. It returns false if there is no such peer. A peer
// that this end connected to is connected again.
func (e *Endpoint) Dismiss(peer uuid.UUID, why error) bool {
	l := e.registry.find(peer)
	if l == nil {
		return false
	}
	l.fail(why)
	return true
}

// isClosed reports whether err means that this end closed the connection, without
// a fault of the peer.
func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, admission.ErrEvicted) || errors.Is(err, admission.ErrFull) || errors.Is(err, broker.ErrClosed) || errors.Is(err, ErrPeerRemoved)
}
