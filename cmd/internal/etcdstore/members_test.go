package etcdstore

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A report that fails is not repeated at once: etcd is slow then, and may have stored it.
func TestFailedReport(t *testing.T) {
	fake := newFake(t)
	fake.before = func(int) error { return context.DeadlineExceeded }
	cfg, err := Config{Endpoints: []string{"127.0.0.1:1"}}.complete()
	if err != nil {
		t.Fatal(err)
	}
	c := &Candidate{cfg: cfg, client: &clientv3.Client{KV: fake}, campaign: new(campaign)}
	c.campaign.lease.Store(1)
	all := []member{{key: controllerKey(cfg.Prefix, 1)}}
	for range 3 {
		c.report(t.Context(), all, 7)
	}
	if fake.transactions != 1 {
		t.Errorf("%d reports in no time, want 1", fake.transactions)
	}
}
