package etcdstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// A controller that stands by passes a request to the leader through etcd:
//
//	PREFIX/relay/requests/LEASE/ID   a request, with the lease of that controller
//	PREFIX/relay/responses/LEASE/ID  its response
//
// A request is for the leader of one term, so that no other leader performs it, too. Keys that a
// controller leaves behind disappear with its lease.
const (
	relayRequests  = "relay/requests/"
	relayResponses = "relay/responses/"
)

// forwardTimeout is the longest time to wait for the response to a forwarded request. The
// leader has shorter limits of its own.
const forwardTimeout = 5 * time.Minute

// maxForwarded limits the memory of a request or response, in bytes. Compressed it must fit
// into a transaction.
const maxForwarded = 64 << 20

// parcel is a request or a response in etcd.
type parcel struct {
	Term   uint64 `json:"term"`            // of the leader that the request is for
	Client string `json:"client"`          // name of the client that made the request
	Topic  string `json:"topic"`           // of the message
	Error  string `json:"error,omitempty"` // why there is no response
}

var (
	errTooLarge = errors.New("it is too large to be passed between controllers")
	errParcel   = errors.New("a message between controllers is damaged")
)

// encode returns a parcel with a value: a line of JSON, and the compressed value.
func (p parcel) encode(v broker.Value) ([]byte, error) {
	line, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	data := z.EncodeAll(bin.Append(nil, v), append(line, '\n'))
	if len(data) > maxBytes {
		return nil, errTooLarge
	}
	return data, nil
}

// decodeParcel is the reverse of encode. A parcel with an Error has no value.
func decodeParcel(data []byte) (p parcel, v broker.Value, err error) {
	line, packed, ok := bytes.Cut(data, []byte("\n"))
	if !ok || json.Unmarshal(line, &p) != nil {
		return p, v, errParcel
	}
	if p.Error != "" {
		return p, v, nil
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxForwarded))
	if err != nil {
		return p, v, err
	}
	defer z.Close()
	plain, err := z.DecodeAll(packed, nil)
	if err != nil {
		return p, v, fmt.Errorf("%w: %w", errParcel, err)
	}
	v, err = bin.Decode(plain)
	return p, v, err
}

// relay passes requests between controllers. It is a broker.Bus, whose peers are clients of other
// controllers.
type relay struct {
	cfg      Config
	standing atomic.Pointer[standing]  // nil: it does not stand by, or knows no position yet
	looked   atomic.Pointer[time.Time] // when etcd confirmed that position last
	term     atomic.Pointer[relayTerm] // nil: it does not lead
	inbox    chan broker.Notification
	closed   chan struct{}
}

// standing is the position of a controller that stands by.
type standing struct {
	client *clientv3.Client
	term   uint64           // of a leader that accepts requests; 0: there is none
	lease  clientv3.LeaseID // of this controller; 0: it has none
}

// passes reports whether the controller can pass requests to the leader.
func (s *standing) passes() bool { return s != nil && s.term != 0 && s.lease != 0 }

// inboxSize is the number of requests of other controllers that may wait.
const inboxSize = 64

func newRelay(cfg Config) *relay {
	return &relay{cfg: cfg, inbox: make(chan broker.Notification, inboxSize), closed: make(chan struct{})}
}

// Forward implements controller.Relay.
func (c *Candidate) Forward(ctx context.Context, client string, m broker.Message) (broker.Value, error) {
	return c.relay.forward(ctx, client, m)
}

// Requests returns a bus with the requests that other controllers forward to this one while it
// leads.
func (c *Candidate) Requests() broker.Bus { return c.relay }

// stand records the position of a controller that stands by, and reports whether it can pass
// requests to the leader.
func (r *relay) stand(client *clientv3.Client, term uint64, b *campaign, accepted bool) bool {
	at := &standing{client: client}
	if accepted {
		at.term = term
	}
	if b != nil {
		at.lease = clientv3.LeaseID(b.lease.Load())
	}
	r.looked.Store(new(time.Now()))
	r.standing.Store(at)
	return at.passes()
}

func (r *relay) forward(ctx context.Context, client string, m broker.Message) (none broker.Value, err error) {
	at := r.standing.Load()
	if !at.passes() {
		return none, controller.ErrNotForwarded
	}
	data, err := parcel{Term: at.term, Client: client, Topic: m.Topic}.encode(m.Value)
	if err != nil {
		return none, fmt.Errorf("%w: %w", controller.ErrNotForwarded, err)
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	name := fmt.Sprintf("%x/%s", at.lease, uuid.NewString())
	request, response := r.cfg.Prefix+relayRequests+name, r.cfg.Prefix+relayResponses+name
	defer func() {
		if !errors.Is(err, errNoEtcd) {
			r.forget(ctx, at.client, request, response)
		}
	}()
	writing, stop := context.WithTimeout(ctx, r.cfg.timeout())
	defer stop()
	resp, err := at.client.Txn(writing).
		If(clientv3.Compare(clientv3.Version(controllerKey(r.cfg.Prefix, at.lease)), ">", 0)).
		Then(clientv3.OpPut(request, string(data), clientv3.WithLease(at.lease))).Commit()
	switch {
	case err != nil && ctx.Err() != nil:
		return none, whyEnded(ctx)
	case err != nil:
		return none, explain(err)
	case !resp.Succeeded:
		return none, controller.ErrNotForwarded
	}
	return r.await(ctx, at, response, resp.Header.Revision)
}

// forget removes a request and its response.
func (r *relay) forget(ctx context.Context, client *clientv3.Client, request, response string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.timeout())
	defer cancel()
	_, _ = client.Txn(ctx).Then(clientv3.OpDelete(request), clientv3.OpDelete(response)).Commit() // otherwise they disappear with the lease
}

var (
	errNoResponse = errors.New("the leader did not respond in time")
	errNewLeader  = errors.New("the leader has changed")
	errNoLease    = errors.New("the lease of this controller in etcd has expired")
	errNoEtcd     = errors.New("etcd does not answer this controller any more")
	errEnding     = errors.New("this controller ends")
)

// whyEnded returns why the wait for a response has ended with ctx.
func whyEnded(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errNoResponse
	}
	return errEnding
}

// changed returns why there will be no response to a request that was made in a position, nil if
// there may be one.
func (r *relay) changed(at *standing) error {
	switch now := r.standing.Load(); {
	case now == nil, now.term != at.term:
		return errNewLeader
	case now.lease != at.lease:
		return errNoLease
	case time.Since(*r.looked.Load()) > max(r.cfg.Lease, 5*time.Second):
		return errNoEtcd
	}
	return nil
}

// await waits for a response.
func (r *relay) await(ctx context.Context, at *standing, response string, revision int64) (none broker.Value, err error) {
	var watch sync.WaitGroup
	defer watch.Wait()
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	responses := make(chan clientv3.WatchResponse)
	watch.Go(func() { // Watch waits for etcd
		defer close(responses)
		for w := range at.client.Watch(watching, response, clientv3.WithRev(revision)) {
			select {
			case responses <- w:
			case <-watching.Done():
			}
		}
	})
	tick := time.NewTicker(refreshInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return none, whyEnded(ctx)
		case <-tick.C:
			if err := r.changed(at); err != nil {
				return none, err
			}
		case w, ok := <-responses:
			switch err := w.Err(); {
			case ctx.Err() != nil:
				return none, whyEnded(ctx)
			case !ok || err != nil:
				return none, errors.Join(errNoResponse, explain(err))
			}
			for _, ev := range w.Events {
				if ev.Type == clientv3.EventTypePut {
					p, v, err := decodeParcel(ev.Kv.Value)
					if err == nil && p.Error != "" {
						err = errors.New(p.Error)
					}
					return v, err
				}
			}
		}
	}
}

// Publish implements broker.Bus. It does nothing: messages to all peers are not passed to other controllers.
func (r *relay) Publish(context.Context, string, broker.Value) error { return nil }

// PublishTo implements broker.Director. It sends a response to a client of another controller.
func (r *relay) PublishTo(_ context.Context, peer uuid.UUID, topic string, v broker.Value) (known bool, err error) {
	if t := r.term.Load(); t != nil {
		return t.respond(peer, topic, v), nil
	}
	return false, nil
}

// Next implements broker.Bus.
func (r *relay) Next(ctx context.Context) (broker.Notification, error) {
	select {
	case n := <-r.inbox:
		return n, nil
	case <-r.closed:
		return nil, broker.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close implements broker.Bus. It makes Next fail. The Candidate ends the requests that are under way.
func (r *relay) Close() error {
	select {
	case <-r.closed:
	default:
		close(r.closed)
	}
	return nil
}

// begin starts to accept the requests of other controllers in a term.
func (r *relay) begin(client *clientv3.Client, store *Store, term uint64) {
	t := newRelayTerm(r, client, store, term)
	r.term.Store(t)
	t.start()
}

// end ends the term. It drops the requests that Next has not returned: they are for this term.
func (r *relay) end() {
	if t := r.term.Swap(nil); t != nil {
		t.stop()
	}
	for {
		select {
		case <-r.inbox:
		default:
			return
		}
	}
}

// relayName returns the name of a request in etcd from its key, and the lease of the controller that
// forwards it.
func relayName(key string) (name string, lease clientv3.LeaseID, ok bool) {
	_, name, _ = strings.Cut(key, relayRequests)
	owner, _, _ := strings.Cut(name, "/")
	_, err := fmt.Sscanf(owner, "%x", &lease)
	return name, lease, err == nil
}
