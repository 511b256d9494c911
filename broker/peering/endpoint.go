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
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// Endpoint is a native Broker endpoint. All methods may be called from any
// goroutine, Next from one at a time.
type Endpoint struct {
	cfg      Config
	hooks    hooks
	registry *registry
	inbox    *queue.Queue[broker.Notification]
	filter   atomic.Pointer[broker.Filter] // what we want; replaced when it changes
	token    atomic.Uint64                 // for pings

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	closing    atomic.Bool
	handshakes atomic.Int64 // accepted connections that are not peered yet
	flooded    atomic.Bool  // there were too many of them

	mu        sync.Mutex
	prefixes  map[string]struct{}
	listeners map[net.Listener]struct{}
	targets   map[string]*target
	links     map[*link]struct{}
	refusals  map[netip.Addr]string // what was logged about whom
}

var _ broker.Bus = (*Endpoint)(nil)

// New returns an endpoint without peers.
func New(cfg Config) (*Endpoint, error) {
	cfg, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		cfg: cfg, hooks: newHooks(cfg.Hooks), registry: newRegistry(cfg.MaxPeers),
		inbox: queue.New[broker.Notification](queue.Limits{
			Policy: cfg.ReceiveOverflow, Loose: cfg.ReceiveQueue, Bytes: queue.Budget(cfg.MaxFrame), Kept: cfg.ReceiveQueue,
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

// Subscribe asks all peers, those to come too, for topics with these prefixes.
// The empty prefix is for tools that look on: a Zeek takes who wants everything
// for the holder of its data stores too.
func (e *Endpoint) Subscribe(prefixes ...string) error {
	return e.changeFilter(func(set map[string]struct{}) {
		for _, p := range prefixes {
			set[p] = struct{}{}
		}
	})
}

// Unsubscribe takes back what was subscribed to in the same words.
func (e *Endpoint) Unsubscribe(prefixes ...string) error {
	return e.changeFilter(func(set map[string]struct{}) {
		for _, p := range prefixes {
			delete(set, p)
		}
	})
}

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

// Publish sends v to all peers that subscribe to topic. It waits for nothing,
// except with OverflowBlock for room in the queues.
func (e *Endpoint) Publish(ctx context.Context, topic string, v broker.Value) error {
	if err := e.mayPublish(topic); err != nil {
		return err
	}
	var frame []byte // shared by all peers
	for _, l := range e.registry.routes.Load().candidates(topic) {
		if !l.subscribes(topic) {
			continue
		}
		if frame == nil {
			var err error
			if frame, err = e.encode(uuid.Nil, topic, v); err != nil {
				return err
			}
		}
		if err := l.enqueue(ctx, frame); err != nil {
			return err
		}
	}
	return nil
}

// PublishTo implements broker.Director. The peer cannot tell it from Publish.
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
	return true, l.enqueue(ctx, frame)
}

// Send is Publish to one peer, whatever it subscribes to. A Zeek hands the
// message to its scripts only if it subscribes to the topic all the same.
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
	return l.enqueue(ctx, frame)
}

func (e *Endpoint) mayPublish(topic string) error {
	if e.closing.Load() {
		return broker.ErrClosed
	}
	return checkTopic(topic)
}

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
	if env.Len() > e.cfg.MaxFrame {
		*buf = nil
		return nil, fmt.Errorf("peering: message for %q: %w", topic,
			&wire.FrameSizeError{Size: uint32(env.Len()), Limit: e.cfg.MaxFrame})
	}
	frame := env.AppendFrame(make([]byte, 0, 4+env.Len()))
	if cap(*buf) > keepBuffer {
		*buf = nil
	}
	return frame, nil
}

// Next implements broker.Bus.
func (e *Endpoint) Next(ctx context.Context) (broker.Notification, error) { return e.inbox.Next(ctx) }

// State says how far it is with a peer.
type State uint8

// The states.
const (
	Connecting State = iota // dialed, and not there yet
	Peered
)

var stateNames = [...]string{"connecting", "peered"}

func (s State) String() string { return stateNames[s] }

// PeerInfo is what there is to say about a peer, or an address that was dialed.
type PeerInfo struct {
	// Peer has no ID while connecting.
	Peer  broker.Peer
	State State
	Since time.Time // of the state

	Filter  broker.Filter // what the peer subscribes to
	Queued  int           // messages that wait to be sent
	Dropped uint64        // messages that got lost in the queue
	Skipped uint64        // frames of the peer that were of no use

	// Err says why the last attempt to connect failed, while connecting.
	Err error
}

// Peers returns all peers, ordered by ID, after the addresses that are being
// connected to, in their order.
func (e *Endpoint) Peers() []PeerInfo {
	var infos []PeerInfo
	e.mu.Lock()
	for _, t := range e.targets {
		if info, connecting := t.info(); connecting {
			infos = append(infos, info)
		}
	}
	e.mu.Unlock()
	for _, l := range e.registry.peers() {
		queued, dropped := l.out.Stats()
		infos = append(infos, PeerInfo{
			Peer: l.peer, State: Peered, Since: l.since, Filter: *l.filter.Load(),
			Queued: queued, Dropped: dropped, Skipped: l.skipped.Load(),
		})
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

// Flush waits until all peers have got what was published, and know what we
// subscribe to. Peers that are lost meanwhile are no error.
func (e *Endpoint) Flush(ctx context.Context) error {
	return e.each(func(l *link) error {
		payload := binary.BigEndian.AppendUint64([]byte("flush"), e.token.Add(1))
		err := l.ping(ctx, payload)
		if l.ctx.Err() != nil {
			return nil
		}
		return err
	})
}

// each calls f for all peers at once and returns the first error.
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

// Drain ends all peerings in good order: nobody is dialed or accepted any more,
// nothing can be published, peers get what is queued and are told goodbye. Then
// it closes the endpoint. At the end of ctx it closes it anyway; the error says
// that some peer may not have got all.
func (e *Endpoint) Drain(ctx context.Context) error {
	e.stop()
	err := e.each(func(l *link) error { return l.leave(ctx, broker.ErrClosed) })
	e.cancel(broker.ErrClosed)
	e.failLinks(func(*link) bool { return true }, broker.ErrClosed)
	e.wg.Wait()
	e.inbox.Close()
	if err != nil {
		return fmt.Errorf("peering: a peer may not have got all: %w", err)
	}
	return nil
}

// Close is Drain with no more time than ByeTimeout.
func (e *Endpoint) Close() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), e.cfg.ByeTimeout, ErrPeerTimeout)
	defer cancel()
	return e.Drain(ctx)
}

// stop ends everything but peerings.
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

// start runs f in a goroutine that Close waits for.
func (e *Endpoint) start(f func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return broker.ErrClosed
	}
	e.wg.Go(f)
	return nil
}

// serve lives the life of a connection and then returns it. t is nil if we
// accepted it.
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
	// Whoever fails all links from now on finds this one.
	switch {
	case e.closing.Load():
		l.fail(broker.ErrClosed)
	case t != nil && t.stopped():
		l.fail(ErrUndialed)
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

// isClosed reports whether err says that we closed something ourselves.
func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, broker.ErrClosed) || errors.Is(err, ErrUndialed)
}
