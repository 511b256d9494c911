package etcdstore

import (
	"context"
	"sync"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zeekwire/zeekwire/broker"
)

// relayTerm accepts the requests of other controllers while this one leads.
type relayTerm struct {
	*relay
	client *clientv3.Client
	store  *Store
	number uint64          // of the term
	ctx    context.Context //nolint:containedctx // it is the lifetime of the term
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu     sync.Mutex
	byKey  map[string]*forwarded // requests that are in etcd
	byPeer map[uuid.UUID]*forwarded
}

// forwarded is a request of another controller.
type forwarded struct {
	key      string
	name     string
	lease    clientv3.LeaseID
	revision int64
	peer     broker.Peer // represents the client
	answered bool
}

// maxForwards limits the requests of other controllers that are under way.
const maxForwards = 256

func newRelayTerm(r *relay, client *clientv3.Client, store *Store, number uint64) *relayTerm {
	ctx, cancel := context.WithCancel(context.Background())
	return &relayTerm{
		relay: r, client: client, store: store, number: number, ctx: ctx, cancel: cancel,
		byKey: make(map[string]*forwarded), byPeer: make(map[uuid.UUID]*forwarded),
	}
}

func (t *relayTerm) start() {
	t.group.Go(func() {
		for t.ctx.Err() == nil && !t.store.isLost() {
			t.follow()
			pause(t.ctx, retryPause)
		}
	})
}

func (t *relayTerm) stop() {
	t.mu.Lock()
	t.cancel() // respond starts nothing from now on
	t.mu.Unlock()
	t.group.Wait()
}

// follow accepts the present and all further requests, until etcd returns an error.
func (t *relayTerm) follow() {
	prefix := t.cfg.Prefix + relayRequests
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.timeout())
	defer cancel()
	present, err := t.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(maxForwards))
	if err != nil {
		return
	}
	there := make(map[string]bool)
	for _, kv := range present.Kvs {
		there[string(kv.Key)] = true
		t.take(string(kv.Key), kv.Value, kv.ModRevision)
	}
	for _, key := range t.without(there) {
		t.gone(key)
	}
	watching, stop := context.WithCancel(t.ctx)
	defer stop()
	for w := range t.client.Watch(watching, prefix, clientv3.WithPrefix(), clientv3.WithRev(present.Header.Revision+1)) {
		if w.Err() != nil {
			return
		}
		for _, ev := range w.Events {
			if ev.Type == clientv3.EventTypePut {
				t.take(string(ev.Kv.Key), ev.Kv.Value, ev.Kv.ModRevision)
			} else {
				t.gone(string(ev.Kv.Key))
			}
		}
	}
}

// without returns the keys of known requests that are not among the given ones.
func (t *relayTerm) without(there map[string]bool) (keys []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.byKey {
		if !there[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// take passes a request to the controller, once. It ignores requests for other terms.
func (t *relayTerm) take(key string, value []byte, revision int64) {
	p, v, err := decodeParcel(value)
	if err != nil || p.Error != "" || p.Term != t.number {
		return
	}
	name, lease, ok := relayName(key)
	if !ok {
		return
	}
	id := uuid.New()
	f := &forwarded{key: key, name: name, lease: lease, revision: revision, peer: broker.Peer{
		ID: id, Name: p.Client, Application: forwardedApplication,
	}}
	t.mu.Lock()
	known := t.byKey[key] != nil || len(t.byKey) >= maxForwards
	if !known {
		t.byKey[key], t.byPeer[id] = f, f
	}
	t.mu.Unlock()
	if !known {
		t.notify(broker.Received{Peer: f.peer, Message: broker.Message{Topic: p.Topic, Value: v}})
	}
}

// forwardedApplication is the application of peers that represent clients of other controllers. A
// controller that stands by does not forward their requests again.
const forwardedApplication = "zeekwire-relay"

// gone ends a request that was removed from etcd: the other controller waits no longer.
func (t *relayTerm) gone(key string) {
	t.mu.Lock()
	f := t.byKey[key]
	if f != nil {
		delete(t.byKey, key)
		delete(t.byPeer, f.peer.ID)
	}
	t.mu.Unlock()
	if f != nil {
		t.notify(broker.PeerLost{Peer: f.peer, Err: broker.ErrClosed})
	}
}

// notify passes a notification to the controller.
func (t *relayTerm) notify(n broker.Notification) {
	select {
	case t.inbox <- n:
	case <-t.ctx.Done():
	}
}

// respond sends the first response to a request, and reports whether there is such a request.
func (t *relayTerm) respond(peer uuid.UUID, topic string, v broker.Value) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.byPeer[peer]
	if f == nil || t.ctx.Err() != nil {
		return false
	}
	if f.answered { // it is the same response in another dialect
		return true
	}
	f.answered = true
	t.group.Go(func() {
		data, err := parcel{Term: t.number, Topic: topic}.encode(v)
		if err != nil {
			data, err = parcel{Term: t.number, Topic: topic, Error: "the response of the leader cannot be passed on: " + err.Error()}.encode(broker.None())
		}
		if err == nil {
			_, err = t.store.fenced(t.ctx, map[string]int64{f.key[len(t.cfg.Prefix):]: f.revision},
				clientv3.OpPut(t.cfg.Prefix+relayResponses+f.name, string(data), clientv3.WithLease(f.lease)))
		}
		if err != nil && t.ctx.Err() == nil {
			t.cfg.Log.Debug().Err(err).Msg("cannot send a response to another controller")
		}
	})
	return true
}
