package etcdstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// database accesses the keys of etcd below a prefix.
type database struct {
	kv      clientv3.KV
	prefix  string        // with a slash at its end
	timeout time.Duration // of an operation, with its repetitions
}

// head is the value of the key with that name.
type head struct {
	Write uint64 `json:"write"`          // number of the last write
	By    string `json:"by"`             // the key of the leader that made it, and its attempt
	Redo  *redo  `json:"redo,omitempty"` // a large write that is not complete
}

// redo describes a large write.
type redo struct {
	Parts int    `json:"parts"`
	Sum   uint32 `json:"sum"` // CRC-32 of all parts
}

// snapshot is the state in etcd at one revision.
type snapshot struct {
	mirror  *mirror
	head    head
	headRev int64  // revision of the head, 0: there is none
	redo    []edit // of a large write that is not complete
	orphans bool   // there are keys below redo that belong to no write
}

// pageSize is the number of keys that are read at once.
const pageSize = 64

// read returns the state at one revision.
func (d *database) read(ctx context.Context) (snapshot, error) {
	began := time.Now()
	for {
		s, err := d.readOnce(ctx)
		switch {
		case compacted(err) && ctx.Err() == nil: // the revision is gone before all was read
		case err == nil, final(err), ctx.Err() != nil, time.Since(began) > d.timeout:
			return s, explain(err)
		}
		pause(ctx, retryPause)
	}
}

// hedgeTime is the time after which a read is repeated meanwhile, and maxRequests the
// number of requests.
const (
	hedgeTime   = 50 * time.Millisecond
	maxRequests = 3
)

// get reads keys. If an answer does not come soon, it asks again meanwhile, and returns the
// first answer: each request may use another connection, and that of the first one may be
// to a member of etcd that is lost.
func (d *database) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	type answer struct {
		resp *clientv3.GetResponse
		err  error
	}
	answers := make(chan answer, maxRequests)
	ask := func() {
		resp, err := d.kv.Get(ctx, key, opts...)
		answers <- answer{resp, err}
	}
	go ask()
	soon := time.NewTicker(hedgeTime)
	defer soon.Stop()
	for asked, failed := 1, 0; ; {
		select {
		case a := <-answers:
			failed++
			if a.err == nil || final(a.err) || failed == maxRequests || ctx.Err() != nil {
				return a.resp, a.err
			}
			if failed < asked {
				continue
			}
		case <-soon.C:
		}
		if asked < maxRequests {
			asked++
			go ask()
		}
	}
}

func (d *database) readOnce(ctx context.Context) (s snapshot, err error) {
	revision, err := d.readHead(ctx, &s)
	if err != nil {
		return s, err
	}
	s.mirror = newMirror()
	parts := make(map[string][]byte)
	err = d.each(ctx, "entries/", revision, func(key string, value []byte) {
		if name, ok := entryOf(key); ok {
			parts[name] = append(parts[name], value...)
		}
	})
	if err != nil {
		return s, err
	}
	for name, value := range parts {
		s.mirror.set(name, value)
	}
	return s, d.readRedo(ctx, &s, revision)
}

// readHead sets the head of a snapshot, and returns the present revision of etcd.
func (d *database) readHead(ctx context.Context, s *snapshot) (revision int64, err error) {
	resp, err := d.get(ctx, d.prefix+"head")
	if err != nil {
		return 0, err
	}
	if len(resp.Kvs) > 0 {
		s.headRev = resp.Kvs[0].ModRevision
		if json.Unmarshal(resp.Kvs[0].Value, &s.head) != nil {
			return 0, fmt.Errorf("head: %w", controller.ErrDamaged)
		}
	}
	return resp.Header.Revision, nil
}

// readRedo completes a snapshot with a large write.
func (d *database) readRedo(ctx context.Context, s *snapshot, revision int64) error {
	var data []byte
	parts := 0
	err := d.each(ctx, "redo/", revision, func(_ string, value []byte) {
		data = append(data, value...)
		parts++
	})
	if err != nil {
		return err
	}
	if s.head.Redo == nil {
		s.orphans = parts > 0
		return nil
	}
	if parts != s.head.Redo.Parts || crc32.ChecksumIEEE(data) != s.head.Redo.Sum {
		return fmt.Errorf("%w: %w", errRedo, controller.ErrDamaged)
	}
	if s.redo, err = decodeEdits(data); err != nil {
		return fmt.Errorf("%w: %w", err, controller.ErrDamaged)
	}
	s.mirror.redo(s.redo)
	return nil
}

// redo makes the changes of a large write, of which some may have been made before.
func (m *mirror) redo(edits []edit) {
	values := make(map[string][]byte)
	for _, e := range edits {
		name, ok := entryOf(e.key)
		if !ok {
			continue
		}
		if e.value == nil {
			if _, written := values[name]; !written {
				values[name] = nil
			}
			continue
		}
		values[name] = append(values[name], e.value...) // all parts of an entry are written, in order
	}
	for name, value := range values {
		m.set(name, value)
	}
}

// each calls do with each key that has a prefix, and its value at a revision, in order.
func (d *database) each(ctx context.Context, prefix string, revision int64, do func(key string, value []byte)) error {
	from, end := d.prefix+prefix, clientv3.GetPrefixRangeEnd(d.prefix+prefix)
	for {
		resp, err := d.get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(revision))
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			do(strings.TrimPrefix(string(kv.Key), d.prefix), kv.Value)
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// final reports whether an operation need not be repeated after an error.
func final(err error) bool {
	if errors.Is(err, controller.ErrDamaged) || errors.Is(err, controller.ErrDeposed) {
		return true
	}
	var etcd rpctypes.EtcdError
	code := status.Code(err)
	if errors.As(err, &etcd) {
		code = etcd.Code()
	}
	switch code {
	case codes.ResourceExhausted, codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition, codes.Unimplemented:
		return true
	}
	return false
}

var (
	errFull = errors.New("etcd: its database is full; compact and defragment it, then disarm the alarm NOSPACE")
	errGone = errors.New("etcd does not answer, or has no quorum")
)

// explain completes an error of etcd with its cause or remedy, if that is known.
func explain(err error) error {
	switch {
	case err == nil, errors.Is(err, controller.ErrDeposed), errors.Is(err, errFull), errors.Is(err, errGone):
		return err
	case errors.Is(err, rpctypes.ErrNoSpace):
		return errFull
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), status.Code(err) == codes.Unavailable, status.Code(err) == codes.DeadlineExceeded,
		errors.Is(err, rpctypes.ErrNoLeader), errors.Is(err, rpctypes.ErrTimeout), errors.Is(err, rpctypes.ErrLeaderChanged),
		errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail), errors.Is(err, rpctypes.ErrTimeoutDueToConnectionLost):
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return fmt.Errorf("etcd: %w", err)
}

// attempts calls do until it succeeds, four times at most. The connection of an attempt may
// be one to a member of etcd that is lost, so the first attempt ends soon. The last one may
// take the whole timeout, for an etcd that is slow.
func attempts(ctx context.Context, timeout time.Duration, do func(context.Context) error) (err error) {
	for share := time.Duration(8); share > 0; share /= 2 {
		ctx, cancel := context.WithTimeout(ctx, timeout/share)
		err = do(ctx)
		cancel()
		if err == nil || final(err) {
			break
		}
	}
	return err
}

// compacted reports whether a revision was compacted before.
func compacted(err error) bool { return errors.Is(err, rpctypes.ErrCompacted) }

// retryPause is the time before an operation is repeated.
const retryPause = 50 * time.Millisecond

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
