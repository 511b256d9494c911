package etcdstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// fakeEtcd is a key-value database in memory, with scripted faults.
type fakeEtcd struct {
	clientv3.KV // not used
	t           *testing.T
	timeout     time.Duration // of stores

	mu   sync.Mutex
	rev  int64
	keys map[string]*mvccpb.KeyValue

	// before, if non-nil, is called before each transaction, with its number; its error is
	// returned in place of a result. So is that of after, although the transaction took place.
	before, after func(n int) error
	reads         error // of all reads
	transactions  int
}

func newFake(t *testing.T) *fakeEtcd {
	return &fakeEtcd{t: t, timeout: time.Minute, keys: make(map[string]*mvccpb.KeyValue)}
}

// elect makes a key that stands for the election of a leader, and returns its revision.
func (f *fakeEtcd) elect(key string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rev++
	f.put(key, "leader")
	return f.rev
}

func (f *fakeEtcd) remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rev++
	delete(f.keys, key)
}

func (f *fakeEtcd) put(key, value string) {
	kv := f.keys[key]
	if kv == nil {
		kv = &mvccpb.KeyValue{Key: []byte(key), CreateRevision: f.rev}
		f.keys[key] = kv
	}
	kv.Value, kv.ModRevision, kv.Version = []byte(value), f.rev, kv.Version+1
}

func (f *fakeEtcd) sorted() []string {
	var all []string
	for key := range f.keys {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

func (f *fakeEtcd) selected(op clientv3.Op) []string {
	return slices.DeleteFunc(f.sorted(), func(key string) bool {
		if end := string(op.RangeBytes()); end != "" {
			return key < string(op.KeyBytes()) || key >= end
		}
		return key != string(op.KeyBytes())
	})
}

func (f *fakeEtcd) get(op clientv3.Op) *pb.RangeResponse {
	resp := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: f.rev}}
	for _, key := range f.selected(op) {
		if n := op.Limit(); n > 0 && int64(len(resp.Kvs)) == n {
			resp.More = true
			break
		}
		kv := f.keys[key]
		resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{
			Key: kv.Key, Value: slices.Clone(kv.Value), CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version,
		})
	}
	return resp
}

func (f *fakeEtcd) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reads != nil {
		return nil, f.reads
	}
	return (*clientv3.GetResponse)(f.get(clientv3.OpGet(key, opts...))), ctx.Err()
}

func (f *fakeEtcd) Txn(ctx context.Context) clientv3.Txn { return &fakeTxn{f: f, ctx: ctx} }

type fakeTxn struct {
	f         *fakeEtcd
	ctx       context.Context
	cmps      []clientv3.Cmp
	then, els []clientv3.Op
}

func (t *fakeTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.cmps = c; return t }
func (t *fakeTxn) Then(o ...clientv3.Op) clientv3.Txn { t.then = o; return t }
func (t *fakeTxn) Else(o ...clientv3.Op) clientv3.Txn { t.els = o; return t }
func (t *fakeTxn) Commit() (*clientv3.TxnResponse, error) {
	f := t.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	f.transactions++
	n := f.transactions
	if f.before != nil {
		if err := f.before(n); err != nil {
			return nil, err
		}
	}
	resp, err := t.commit()
	if err == nil && f.after != nil {
		err = f.after(n)
	}
	return resp, err
}

// unfold returns the operations of a transaction and of those within it, as etcd limits them.
func unfold(ops []clientv3.Op, limit int) (all []clientv3.Op, err error) {
	if len(ops) > limit {
		return nil, rpctypes.ErrTooManyOps
	}
	for _, op := range ops {
		if !op.IsTxn() {
			all = append(all, op)
			continue
		}
		_, then, _ := op.Txn()
		within, err := unfold(then, limit-len(ops))
		if err != nil {
			return nil, err
		}
		all = append(all, within...)
	}
	return all, nil
}

func (t *fakeTxn) commit() (*clientv3.TxnResponse, error) {
	f, size := t.f, 0
	then, err := unfold(t.then, 128)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, op := range then {
		size += len(op.KeyBytes()) + len(op.ValueBytes())
		if op.IsPut() && seen[string(op.KeyBytes())] {
			return nil, rpctypes.ErrDuplicateKey
		}
		seen[string(op.KeyBytes())] = true
	}
	if size > 1536<<10 {
		return nil, rpctypes.ErrRequestTooLarge
	}
	resp := &pb.TxnResponse{Succeeded: true}
	for i := range t.cmps {
		resp.Succeeded = resp.Succeeded && f.holds(&t.cmps[i])
	}
	ops := t.els
	if resp.Succeeded {
		ops = then
		f.rev++
	}
	for _, op := range ops {
		switch {
		case op.IsPut():
			f.put(string(op.KeyBytes()), string(op.ValueBytes()))
		case op.IsDelete():
			for _, key := range f.selected(op) {
				delete(f.keys, key)
			}
		default:
			resp.Responses = append(resp.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: f.get(op)}})
		}
	}
	resp.Header = &pb.ResponseHeader{Revision: f.rev}
	return (*clientv3.TxnResponse)(resp), nil
}

func (f *fakeEtcd) holds(cmp *clientv3.Cmp) bool {
	c := cmp.GetCompare()
	kv := f.keys[string(c.Key)]
	if kv == nil {
		kv = &mvccpb.KeyValue{}
	}
	if c.Result != pb.Compare_EQUAL {
		panic(fmt.Sprint("not in the fake: ", c.Result))
	}
	switch c.Target {
	case pb.Compare_CREATE:
		return kv.CreateRevision == c.GetCreateRevision()
	case pb.Compare_MOD:
		return kv.ModRevision == c.GetModRevision()
	}
	panic(fmt.Sprint("not in the fake: ", c.Target))
}

// below returns the keys with a prefix.
func (f *fakeEtcd) below(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(f.sorted(), func(key string) bool { return !strings.HasPrefix(key, prefix) })
}
