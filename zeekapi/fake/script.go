package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Errors that a handler returns to do something else than respond. Any other
// error becomes a response whose only result is a failure with the error's text.
var (
	// ErrForward leaves the request to the real controller or agent behind the
	// fake.
	ErrForward = errors.New("fake: forward the request")

	// ErrLoseResponse is ErrForward, except that the response gets lost: the
	// request takes effect, but who made it does not learn that.
	ErrLoseResponse = errors.New("fake: lose the response")

	// ErrNoResponse ignores the request.
	ErrNoResponse = errors.New("fake: do not respond")

	// ErrDisconnect ignores the request and closes the connection over which
	// it came.
	ErrDisconnect = errors.New("fake: disconnect")
)

// Scripted is a Controller or an Agent.
type Scripted interface{ scripted() *script }

// Handle makes h respond to the requests of a call, instead of the real
// controller or agent behind the fake. It replaces an earlier handler of the
// call; a nil h removes it.
//
// The results that h returns are those of the response. A response with a
// single result takes the first; there must be one. Results without a request
// ID get that of the request, and those of an Agent without an instance get its
// own. Success makes the most common results.
//
// The handlers of a fake run one at a time in the order of the requests, so
// they need no locks among each other, and one that waits delays all later
// requests. The context ends with the fake. A handler must not close the fake.
func Handle[Q, A zeekapi.Message](s Scripted, call zeekapi.Call[Q, A], h func(context.Context, Q) ([]zeekapi.Result, error)) {
	f := s.scripted()
	f.mu.Lock()
	defer f.mu.Unlock()
	if h == nil {
		delete(f.handlers, call.Request)
		return
	}
	f.handlers[call.Request] = func(ctx context.Context, m zeekapi.Message) ([]zeekapi.Result, error) { return h(ctx, m.(Q)) }
}

// Success returns the result of a request that succeeded. Its data are v as
// record.Marshal encodes it, or none if v is nil. Success panics if v cannot be
// encoded.
func Success(v any) []zeekapi.Result {
	r := zeekapi.Result{Success: true}
	if v != nil {
		data, err := record.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("fake: %T as the data of a result: %v", v, err))
		}
		r.Data = data
	}
	return []zeekapi.Result{r}
}

// Received is a message that a fake received.
type Received struct {
	Peer    broker.Peer
	Dialect *zeekapi.Dialect
	Topic   string
	Message zeekapi.Message
}

// Await waits until the fake has received a message of type M that no earlier
// Await returned, and returns the oldest. M may be an interface type such as
// zeekapi.Message. The error is that of ctx, or broker.ErrClosed after Close.
func Await[M zeekapi.Message](ctx context.Context, s Scripted) (m M, err error) {
	f := s.scripted()
	for {
		f.mu.Lock()
		for i, r := range f.received {
			if got, ok := r.Message.(M); ok && !f.awaited[i] {
				f.awaited[i] = true
				f.mu.Unlock()
				return got, nil
			}
		}
		more := f.more
		f.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return m, ctx.Err()
		case <-f.junction.ctx.Done():
			return m, broker.ErrClosed
		}
	}
}

// script is the common part of Controller and Agent. It stands between
// the network and a real controller or agent, records what comes, and responds
// to requests that have a handler.
type script struct {
	transports
	dialects []*zeekapi.Dialect

	// A role responds to the requests of an API on a topic. It completes
	// the results of handlers, and may change what the real role publishes.
	api      zeekapi.API
	topic    func(zeekapi.Topics) string
	complete func(*zeekapi.Result)
	rewrite  func(zeekapi.Message) (changed zeekapi.Message, ok bool)

	ignoreUnknown bool

	mu       sync.Mutex
	handlers map[*zeekapi.Request]handler
	rest     handler
	received []Received
	awaited  []bool        // of received, whether Await has returned it
	more     chan struct{} // closed and replaced when there are more received
	lost     map[string]bool
	muted    bool
	failures []error
}

type handler func(context.Context, zeekapi.Message) ([]zeekapi.Result, error)

func (s *script) init() {
	s.junction = newJunction()
	s.handlers = make(map[*zeekapi.Request]handler)
	s.more = make(chan struct{})
	s.lost = make(map[string]bool)
}

func (s *script) scripted() *script { return s }

// Dialects returns the dialects that the fake speaks, in order of preference.
func (s *script) Dialects() []*zeekapi.Dialect { return s.dialects }

// HandleRest makes h respond to all requests that have no handler of their own.
// A nil h removes it. See Handle.
func (s *script) HandleRest(h func(context.Context, zeekapi.Message) ([]zeekapi.Result, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = h
}

// Received returns all messages received so far, of all dialects and on all
// topics, except those that are none in any dialect.
func (s *script) Received() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

// Requests returns the requests received so far.
func (s *script) Requests() []zeekapi.Message {
	var requests []zeekapi.Message
	for _, r := range s.Received() {
		if s.requestOf(r) != nil {
			requests = append(requests, r.Message)
		}
	}
	return requests
}

// Mute makes the fake silent: it receives, but nothing that it says reaches
// any peer until Mute(false).
func (s *script) Mute(muted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted = muted
}

// Disconnect closes the connections of all peers. They may connect again.
func (s *script) Disconnect() { s.junction.disconnect(func(broker.Peer) bool { return true }) }

// Publish publishes any value on any topic, such as a malformed message.
func (s *script) Publish(ctx context.Context, topic string, v broker.Value) error {
	if s.silent() {
		return nil
	}
	return s.junction.publish(ctx, topic, v)
}

// say publishes a message on a topic of the first dialect that has it.
func (s *script) say(ctx context.Context, topic func(zeekapi.Topics) string, m zeekapi.Message) error {
	for _, d := range s.dialects {
		if d.Has(m) {
			return s.sayIn(ctx, d, topic(d.Topics), m)
		}
	}
	return fmt.Errorf("fake: %T: %w", m, zeekapi.ErrUnknown)
}

func (s *script) sayIn(ctx context.Context, d *zeekapi.Dialect, topic string, m zeekapi.Message) error {
	ev, err := d.Encode(m)
	if err != nil {
		return err
	}
	return s.Publish(ctx, topic, ev.Value())
}

func (s *script) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.muted
}

func (s *script) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, err)
}

// close returns what went wrong in the life of the fake.
func (s *script) close() error {
	s.junction.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.failures...)
}

// decode decodes a message in one of the dialects.
func (s *script) decode(m broker.Message) (*zeekapi.Dialect, zeekapi.Message) {
	ev, err := broker.ParseEvent(m.Value)
	if err != nil {
		return nil, nil
	}
	for _, d := range s.dialects {
		if msg, err := d.Decode(ev); err == nil {
			return d, msg
		}
	}
	return nil, nil
}

// requestOf returns the declaration of a request to this role, and nil for other
// messages.
func (s *script) requestOf(r Received) *zeekapi.Request {
	request := zeekapi.RequestOf(r.Message)
	if request == nil || request.API != s.api || r.Topic != s.topic(r.Dialect.Topics) {
		return nil
	}
	return request
}

// take records a message and reports whether it was dealt with.
func (s *script) take(ctx context.Context, n broker.Received) bool {
	d, m := s.decode(n.Message)
	if m == nil {
		return false
	}
	r := Received{n.Peer, d, n.Message.Topic, m}
	request := s.requestOf(r)
	h := s.record(r, request)
	if h == nil {
		return false
	}
	results, err := h(ctx, m)
	var response zeekapi.Message
	switch {
	case errors.Is(err, ErrForward):
		return false
	case errors.Is(err, ErrLoseResponse):
		s.lose(m.RequestID())
		return false
	case errors.Is(err, ErrNoResponse):
		return true
	case errors.Is(err, ErrDisconnect):
		s.junction.disconnect(func(p broker.Peer) bool { return p.ID == n.Peer.ID })
		return true
	case err != nil:
		response = request.Respond(m.RequestID(), s.completed(m.RequestID(), []zeekapi.Result{{Error: err.Error()}})...)
	default:
		response = request.Respond(m.RequestID(), s.completed(m.RequestID(), results)...)
	}
	if err := s.sayIn(ctx, d, n.Message.Topic, response); err != nil && ctx.Err() == nil {
		s.fail(fmt.Errorf("fake: responding to %s: %w", request.Name, err))
	}
	return true
}

func (s *script) completed(id string, results []zeekapi.Result) []zeekapi.Result {
	results = slices.Clone(results)
	for i := range results {
		r := &results[i]
		if r.ReqID == "" {
			r.ReqID = id
		}
		s.complete(r)
	}
	return results
}

// record keeps a message and returns the handler for it, nil if there is none.
func (s *script) record(r Received, request *zeekapi.Request) handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, r)
	s.awaited = append(s.awaited, false)
	close(s.more)
	s.more = make(chan struct{})
	if request == nil {
		return nil
	}
	if h := s.handlers[request]; h != nil {
		return h
	}
	return s.rest
}

// forget empties the record.
func (s *script) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received, s.awaited = nil, nil
}

func (s *script) lose(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[id] = true
}

// stage is the bus of the real controller or agent behind a script.
type stage struct{ *script }

var (
	_ broker.Bus      = stage{}
	_ broker.Director = stage{}
	_ broker.Rejecter = stage{}
)

// Next waits for the next notification that the script leaves to the role.
func (s stage) Next(ctx context.Context) (broker.Notification, error) {
	for {
		n, err := s.junction.next(ctx)
		if err != nil {
			return nil, err
		}
		if r, ok := n.(broker.Received); !ok || !s.take(ctx, r) {
			return n, nil
		}
	}
}

// Publish publishes the messages that the script lets through.
func (s stage) Publish(ctx context.Context, topic string, v broker.Value) error {
	v, ok := s.outgoing(v, topic)
	if !ok {
		return nil
	}
	return s.junction.publish(ctx, topic, v)
}

// PublishTo is Publish to one peer.
func (s stage) PublishTo(ctx context.Context, peer uuid.UUID, topic string, v broker.Value) (known bool, err error) {
	v, ok := s.outgoing(v, topic)
	if !ok {
		return true, nil
	}
	return s.junction.publishTo(ctx, peer, topic, v)
}

// Reject tells a peer that its message was not understood.
func (s stage) Reject(peer uuid.UUID) {
	if !s.ignoreUnknown && !s.silent() {
		s.junction.reject(peer)
	}
}

// Close does nothing: the fake closes its buses.
func (s stage) Close() error { return nil }

// outgoing returns what to publish instead of v, and whether to publish it.
func (s stage) outgoing(v broker.Value, topic string) (broker.Value, bool) {
	if s.silent() {
		return v, false
	}
	d, m := s.decode(broker.Message{Topic: topic, Value: v})
	if m == nil {
		return v, true
	}
	if request, _ := zeekapi.ResponseOf(m); request != nil && s.isLost(m.RequestID()) {
		return v, false
	}
	if s.rewrite == nil {
		return v, true
	}
	changed, ok := s.rewrite(m)
	if !ok {
		return v, true
	}
	ev, err := d.Encode(changed)
	if err != nil {
		s.fail(err)
		return v, true
	}
	return ev.Value(), true
}

func (s *script) isLost(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost[id]
}

// idle takes the place of a real role: it tells peers that they are not
// understood, and does nothing else.
func (s stage) idle(ctx context.Context) {
	for {
		n, err := s.Next(ctx)
		if err != nil {
			return
		}
		if r, ok := n.(broker.Received); ok {
			if _, m := s.decode(r.Message); m == nil {
				s.Reject(r.Peer.ID)
			}
		}
	}
}
