package etcdstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Store is the state in etcd, as the leader uses it in one term. It implements
// controller.SharedStore.
type Store struct {
	database
	key      string // of the leader, without the prefix
	revision int64  // at which the leader was elected

	mu       sync.Mutex // held during each operation
	mirror   *mirror
	head     head
	headRev  int64
	attempts uint64 // of writes
	unsure   bool   // the mirror may differ from what is in etcd

	lost   chan struct{} // closed when the store is known to belong to another leader
	losing sync.Once
	last   atomic.Uint64         // number of the last write
	health atomic.Pointer[error] // as it was found in the background, nil: good
}

var _ controller.SharedStore = (*Store)(nil)

// newStore returns the store of a leader. Open it first.
func newStore(db database, key string, revision int64) *Store {
	return &Store{database: db, key: key, revision: revision, lost: make(chan struct{})}
}

// open reads the state, completes a large write of an earlier leader, and begins a new term,
// which is at least that great.
func (s *Store) open(ctx context.Context, term uint64) (controller.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reload(ctx); err != nil {
		return controller.State{}, err
	}
	t := s.mirror.begin()
	if err := controller.PrepareEntries(t); err != nil {
		return controller.State{}, err
	}
	state, err := controller.ReadEntries(t)
	if err != nil {
		return controller.State{}, err
	}
	state.Term = max(state.Term+1, term)
	if err := controller.WriteState(t, state); err != nil {
		return controller.State{}, err
	}
	return state, s.commit(ctx, t)
}

// Load implements controller.Store.
func (s *Store) Load() (controller.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reload(context.Background()); err != nil {
		return controller.State{}, err
	}
	return controller.ReadEntries(s.mirror.begin())
}

// Save implements controller.Store.
func (s *Store) Save(changes ...controller.Change) error {
	return s.write(func(t *transaction) error { return controller.WriteChanges(t, changes...) })
}

// Rewrite implements controller.Store.
func (s *Store) Rewrite(state controller.State) error {
	return s.write(func(t *transaction) error { return controller.WriteState(t, state) })
}

func (s *Store) write(do func(*transaction) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := context.Background()
	if s.unsure {
		if err := s.reload(ctx); err != nil {
			return err
		}
	}
	t := s.mirror.begin()
	if err := do(t); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return s.commit(ctx, t)
}

// Confirm implements controller.SharedStore.
func (s *Store) Confirm() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	return s.confirm(ctx)
}

func (s *Store) confirm(ctx context.Context) error {
	for {
		if s.isLost() {
			return controller.ErrDeposed
		}
		resp, err := s.get(ctx, s.prefix+s.key)
		switch {
		case err == nil:
			if !s.leads(resp.Kvs) || s.isLost() {
				return controller.ErrDeposed
			}
			return nil
		case final(err), ctx.Err() != nil:
			return explain(err)
		}
		pause(ctx, retryPause)
	}
}

// Check implements controller.Store. It reports what was found in the background, so that it
// does not block while etcd does not answer.
func (s *Store) Check() (broken bool, err error) {
	if s.isLost() {
		return true, controller.ErrDeposed
	}
	if err := s.health.Load(); err != nil {
		return true, *err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsure {
		if err := s.reload(context.Background()); err != nil {
			return true, err
		}
	}
	return false, nil
}

// setHealth sets the error that Check returns, nil for none.
func (s *Store) setHealth(err error) {
	if err == nil {
		s.health.Store(nil)
		return
	}
	s.health.Store(&err)
}

// leading returns the condition of a transaction that this controller leads.
func (s *Store) leading() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(s.prefix+s.key), "=", s.revision)
}

// leads reports whether the value of the leader's key is from the election of this
// controller. If it is not, all operations fail from now on.
func (s *Store) leads(leader []*mvccpb.KeyValue) bool {
	if len(leader) == 1 && leader[0].CreateRevision == s.revision {
		return true
	}
	s.lose()
	return false
}

// lose makes all operations fail.
func (s *Store) lose() { s.losing.Do(func() { close(s.lost) }) }

func (s *Store) isLost() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}

// reload reads the state, and completes a large write.
func (s *Store) reload(ctx context.Context) error {
	if s.isLost() {
		return controller.ErrDeposed
	}
	found, err := s.read(ctx)
	if err != nil {
		return err
	}
	s.mirror, s.head, s.headRev, s.unsure = found.mirror, found.head, found.headRev, false
	switch {
	case found.head.Redo != nil:
		err = s.finish(ctx, found.redo)
	case found.orphans:
		err = s.put(ctx, s.next(nil), clientv3.OpDelete(s.prefix+"redo/", clientv3.WithPrefix()))
	}
	return err
}

// commit stores the changes of a transaction, all or none.
func (s *Store) commit(ctx context.Context, t *transaction) error {
	edits := t.changes()
	var err error
	if all := s.batches(edits); len(all) == 1 {
		err = s.put(ctx, s.next(nil), s.ops(all[0])...)
	} else {
		err = s.putLarge(ctx, edits)
	}
	if err == nil {
		t.apply()
	}
	return err
}

// putLarge stores edits that are too large for one transaction.
func (s *Store) putLarge(ctx context.Context, edits []edit) error {
	data := encodeEdits(edits)
	parts := 0
	for rest := data; len(rest) > 0; parts++ {
		n := min(len(rest), partSize)
		if err := s.put(ctx, s.next(nil), clientv3.OpPut(fmt.Sprintf("%sredo/%06x", s.prefix, parts), string(rest[:n]))); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if err := s.put(ctx, s.next(&redo{Parts: parts, Sum: crc32.ChecksumIEEE(data)})); err != nil {
		return err
	}
	return unsure(s.finish(ctx, edits)) // the next leader finishes it
}

// unsure returns an error of a write that may have been stored before the controller was
// deposed, and other errors as they are.
func unsure(err error) error {
	if errors.Is(err, controller.ErrDeposed) {
		return fmt.Errorf("%w: %w", controller.ErrDeposed, controller.ErrUnsure)
	}
	return err
}

// finish makes the entries those after a large write, and removes its record.
func (s *Store) finish(ctx context.Context, edits []edit) error {
	for _, batch := range s.batches(edits) {
		if err := s.put(ctx, s.next(s.head.Redo), s.ops(batch)...); err != nil {
			return err
		}
	}
	return s.put(ctx, s.next(nil), clientv3.OpDelete(s.prefix+"redo/", clientv3.WithPrefix()))
}

// next returns the head of the next write.
func (s *Store) next(r *redo) head {
	s.attempts++
	return head{Write: s.head.Write + 1, By: fmt.Sprintf("%s/%d/%d", s.key, s.revision, s.attempts), Redo: r}
}

// put makes one transaction. It repeats it after an error, as long as there is time: the
// transaction takes effect only once, because it depends on the head before it.
func (s *Store) put(ctx context.Context, next head, ops ...clientv3.Op) error {
	value, err := json.Marshal(next)
	if err != nil {
		return err
	}
	ops = append(ops, clientv3.OpPut(s.prefix+"head", string(value)))
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	limit := s.timeout / 8
	for deposed := controller.ErrDeposed; ; deposed, limit = unsure(controller.ErrDeposed), s.timeout/2 {
		if s.isLost() {
			return deposed
		}
		err := s.try(ctx, limit, next, ops)
		switch {
		case err == nil:
			s.head = next
			s.last.Store(next.Write)
			return nil
		case errors.Is(err, controller.ErrDeposed):
			return deposed
		case final(err), errors.Is(err, errMoved), ctx.Err() != nil:
			s.unsure = true
			return explain(err)
		}
		pause(ctx, retryPause)
	}
}

// errMoved is the error of a write after another one that this controller does not know. It
// is an earlier one that arrived late.
var errMoved = errors.New("etcd: the state has changed unexpectedly")

func (s *Store) try(ctx context.Context, limit time.Duration, next head, ops []clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := s.kv.Txn(ctx).If(
		s.leading(),
		clientv3.Compare(clientv3.ModRevision(s.prefix+"head"), "=", s.headRev),
	).Then(ops...).Else(clientv3.OpGet(s.prefix+s.key), clientv3.OpGet(s.prefix+"head")).Commit()
	switch {
	case err != nil:
		return err
	case resp.Succeeded:
		s.headRev = resp.Header.Revision
		return nil
	}
	leader, present := resp.Responses[0].GetResponseRange().Kvs, resp.Responses[1].GetResponseRange().Kvs
	if !s.leads(leader) {
		return controller.ErrDeposed
	}
	var found head
	if len(present) == 1 && json.Unmarshal(present[0].Value, &found) == nil && found.By == next.By {
		s.headRev = present[0].ModRevision // an earlier attempt was successful
		return nil
	}
	return errMoved
}
