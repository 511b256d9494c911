package etcdstore

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// silentEtcd is an etcd whose answers are lost for a time.
type silentEtcd struct {
	clientv3.Lease
	clientv3.KV
	silent   atomic.Bool
	gone     atomic.Bool // the lease has expired
	renewals atomic.Int64
	last     atomic.Int64 // time of the last renewal that etcd received
}

func (e *silentEtcd) answer(ctx context.Context) error {
	if e.silent.Load() {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (e *silentEtcd) KeepAliveOnce(ctx context.Context, _ clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	e.renewals.Add(1)
	e.last.Store(time.Now().UnixNano())
	if e.gone.Load() {
		return nil, rpctypes.ErrLeaseNotFound
	}
	return nil, e.answer(ctx)
}

func (e *silentEtcd) Get(ctx context.Context, _ string, _ ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return nil, e.answer(ctx)
}

// While the answers of etcd are lost, a lease is renewed once, and it is renewed further
// when etcd answers again. The session ends when etcd says that the lease has expired.
func TestRenewalsWithoutAnswers(t *testing.T) {
	const lease = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		etcd := &silentEtcd{}
		r := &renewer{Lease: etcd, kv: etcd, lease: lease}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended, err := r.KeepAlive(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, pause := range []time.Duration{lease / 2, lease, 10 * lease} {
			time.Sleep(10*lease + lease/10)
			before := etcd.renewals.Load()
			etcd.silent.Store(true)
			began := time.Now()
			time.Sleep(pause)
			if n := etcd.renewals.Load() - before; n != 1 {
				t.Errorf("%d renewals in %s without an answer", n, pause)
			}
			if late := time.Unix(0, etcd.last.Load()).Sub(began); late > lease/renewShare {
				t.Errorf("a renewal %s after the last answer", late)
			}
			etcd.silent.Store(false)
			time.Sleep(lease)
			if n := etcd.renewals.Load() - before; n < renewShare {
				t.Errorf("%d renewals after %s without answers", n, pause)
			}
		}
		etcd.gone.Store(true)
		<-ended
		etcd.gone.Store(false)
		again, _ := r.KeepAlive(ctx, 1)
		cancel()
		<-again
	})
}
