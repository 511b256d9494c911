package etcdstore

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// renewShare is the number of renewals in the time of a lease.
const renewShare = 4

// renewer is the clientv3.Lease of a candidate.
//
// The client of etcd renews a lease until it has received no answer for the time of the
// lease. A leader that can send to etcd and receives nothing would keep its lease for twice
// that time. A renewer sends no further renewal after one without an answer, before etcd has
// answered a read. Each request may use another connection than the one before, so that the
// loss of a member does not end a lease.
type renewer struct {
	clientv3.Lease
	kv    clientv3.KV
	key   string // to read
	lease time.Duration
}

// KeepAlive renews a lease. It closes the channel, which receives nothing, when ctx ends or
// etcd responds that the lease has expired. Without an answer, the lease may still exist,
// because an election of etcd extends all leases.
func (r *renewer) KeepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	ended := make(chan *clientv3.LeaseKeepAliveResponse)
	go func() {
		defer close(ended)
		r.keep(ctx, id)
	}()
	return ended, nil
}

func (r *renewer) keep(ctx context.Context, id clientv3.LeaseID) {
	for ctx.Err() == nil {
		err := r.renew(ctx, id)
		switch {
		case err == nil:
			pause(ctx, r.lease/renewShare)
			continue
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return
		}
		for ctx.Err() == nil && r.read(ctx) != nil {
			pause(ctx, retryPause)
		}
	}
}

// renew sends a renewal, and waits for the answer.
func (r *renewer) renew(ctx context.Context, id clientv3.LeaseID) error {
	ctx, cancel := context.WithTimeout(ctx, r.lease/renewShare/2)
	defer cancel()
	_, err := r.KeepAliveOnce(ctx, id)
	return err
}

// read waits for an answer that changes nothing. A read may take longer than a renewal,
// because the members of etcd have to agree.
func (r *renewer) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.lease/renewShare)
	defer cancel()
	_, err := r.kv.Get(ctx, r.key, clientv3.WithKeysOnly())
	return err
}
