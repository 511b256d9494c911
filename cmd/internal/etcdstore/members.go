package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// maxMembers is the number of controllers that are read.
const maxMembers = 100

// members returns the controllers, in the order in which they lead.
func (c *Candidate) members(ctx context.Context) ([]member, error) {
	db := c.cfg.database(c.client)
	resp, err := db.get(ctx, c.cfg.Prefix+"controllers/", clientv3.WithPrefix(), clientv3.WithLimit(maxMembers),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, explain(err)
	}
	var all []member
	for _, kv := range resp.Kvs {
		var m member
		if json.Unmarshal(kv.Value, &m) == nil {
			m.key, m.revision = string(kv.Key), kv.CreateRevision
			all = append(all, m)
		}
	}
	return all, nil
}

// accepts reports whether the leader accepts requests that other controllers forward.
func accepts(all []member) bool {
	return slices.ContainsFunc(all, func(m member) bool { return m.Leads && m.Accepts })
}

// zeekapiMembers returns the description of controllers, the leader first. Written is the
// number of the last write.
func zeekapiMembers(all []member, written uint64) []zeekapi.ControllerMember {
	var list []zeekapi.ControllerMember
	for _, m := range all {
		if !m.Leads && m.Read < written {
			m.Behind = written - m.Read
		}
		list = append(list, m.ControllerMember)
	}
	slices.SortStableFunc(list, func(a, b zeekapi.ControllerMember) int {
		switch {
		case a.Leads == b.Leads:
			return strings.Compare(a.Name, b.Name)
		case a.Leads:
			return -1
		}
		return 1
	})
	return list
}

// reportInterval is the minimum time between two reports of a controller that stands by. A report
// that failed is not repeated earlier.
const reportInterval = 10 * time.Second

// report stores the number of the last write that this controller has read, for the other
// controllers. Members are the present ones.
func (c *Candidate) report(ctx context.Context, members []member, written uint64) {
	if c.campaign == nil || written == c.view.reported || time.Since(c.view.reportedAt) < reportInterval {
		return
	}
	key := c.campaign.keyBelow(c.cfg.Prefix)
	i := slices.IndexFunc(members, func(m member) bool { return m.key == key })
	if i < 0 || members[i].Leads {
		return
	}
	c.view.reportedAt = time.Now() // also if it fails: etcd is slow then
	self := c.self(written)
	self.Since = members[i].Since
	// It must not wait long for a lost member of etcd: this controller may be the next leader.
	ctx, cancel := context.WithTimeout(ctx, c.interval())
	defer cancel()
	resp, err := c.client.Txn(ctx).
		If(clientv3.Compare(clientv3.Version(key), ">", 0)).
		Then(clientv3.OpPut(key, self.encode(), clientv3.WithLease(clientv3.LeaseID(c.campaign.lease.Load())))).Commit()
	if err == nil && resp.Succeeded {
		c.view.reported = written
	}
}

// keyBelow returns the key of a controller, "" before it has a lease.
func (b *campaign) keyBelow(prefix string) string {
	if lease := b.lease.Load(); lease != 0 {
		return controllerKey(prefix, clientv3.LeaseID(lease))
	}
	return ""
}

// controllerKey returns the key of the controller with a lease.
func controllerKey(prefix string, lease clientv3.LeaseID) string {
	return fmt.Sprintf("%scontrollers/%x", prefix, lease)
}

// written returns the number of the last write.
func (s *Store) written() uint64 { return s.last.Load() }

// seal makes all operations fail, and waits for the one that is under way.
func (s *Store) seal() {
	s.lose()
	s.mu.Lock()
	defer s.mu.Unlock()
}

// compactor removes former values from etcd, which otherwise keeps all.
type compactor struct {
	after    time.Duration // 0: never
	revision int64         // at the time since
	since    time.Time
	failed   bool
	log      zerolog.Logger
}

// tick compacts if it is time to do so.
func (k *compactor) tick(ctx context.Context, kv clientv3.KV, key string) {
	if k.after == 0 || time.Since(k.since) < k.after {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := kv.Get(ctx, key, clientv3.WithKeysOnly())
	if err != nil {
		return
	}
	if k.revision > 0 {
		if _, err := kv.Compact(ctx, k.revision); err != nil && !compacted(err) && !k.failed {
			k.failed = true
			k.log.Warn().Err(err).Msg("cannot compact etcd, which keeps all former values")
		}
	}
	k.revision, k.since = resp.Header.Revision, time.Now()
}
