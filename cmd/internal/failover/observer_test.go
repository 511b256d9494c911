package failover

import (
	"context"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// observer notes when etcd elects a leader of its own, and when the machine is too busy to run
// this process.
type observer struct {
	mu        sync.Mutex
	seen      map[uint64]map[int]bool // members that know the leader of a term of etcd
	elections []time.Time             // when most members first did
	stalls    []stall
}

// stall is a time in which this process did not run although it should have.
type stall struct{ from, to time.Time }

// observeInterval is the time between two observations.
const observeInterval = 50 * time.Millisecond

// observe starts an observer that ends with the test.
func observe(t *testing.T, endpoints []string) *observer {
	t.Helper()
	o := &observer{seen: make(map[uint64]map[int]bool)}
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	t.Cleanup(func() { stop(); group.Wait() })
	for i, e := range endpoints {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{e}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			defer client.Close()
			o.poll(ctx, client, i, e)
		})
	}
	group.Go(func() { o.tick(ctx) })
	return o
}

func (o *observer) poll(ctx context.Context, client *clientv3.Client, member int, endpoint string) {
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		s, err := client.Status(asking, endpoint)
		cancel()
		if err == nil && s.Leader != 0 {
			o.note(s.RaftTerm, member)
		}
		time.Sleep(observeInterval)
	}
}

// note records that a member knows the leader of a term.
func (o *observer) note(term uint64, member int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.seen[term]
	if known == nil {
		known = make(map[int]bool)
		o.seen[term] = known
	}
	if !known[member] {
		if known[member] = true; len(known) == members/2+1 {
			o.elections = append(o.elections, time.Now())
		}
	}
}

func (o *observer) tick(ctx context.Context) {
	for last := time.Now(); ctx.Err() == nil; {
		time.Sleep(observeInterval / 2)
		now := time.Now()
		if now.Sub(last) > observeInterval {
			o.mu.Lock()
			o.stalls = append(o.stalls, stall{last, now})
			o.mu.Unlock()
		}
		last = now
	}
}

// election returns the last time in a range at which etcd had elected a leader.
func (o *observer) election(from, to time.Time) (at time.Time, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.elections {
		if e.After(from) && e.Before(to) {
			at, ok = e, true
		}
	}
	return at, ok
}

// stalled returns the time in a range in which this process did not run.
func (o *observer) stalled(from, to time.Time) (all time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.stalls {
		begin, end := s.from, s.to
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		all += max(0, end.Sub(begin))
	}
	return all
}

// since returns the times of all elections, relative to at.
func (o *observer) since(at time.Time) (all []time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.elections {
		all = append(all, e.Sub(at).Round(time.Millisecond))
	}
	return all
}
