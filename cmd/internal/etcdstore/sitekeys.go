package etcdstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// siteRecord is the value of a key below sites, which says that all parts of a packed site are
// stored. The parts have the digest of the packed site in their keys, because a site has
// several packed forms. So each key has always the same value, and a write that arrives
// late cannot damage a site.
type siteRecord struct {
	Size int64  `json:"size"` // in bytes
	Sum  string `json:"sum"`  // SHA-256 of the packed site, in hexadecimal
}

// valid reports whether r may have been written by a controller.
func (r siteRecord) valid() bool { return r.Size > 0 && len(r.Sum) == 2*sha256.Size }

func (r siteRecord) parts() int { return int((r.Size + partSize - 1) / partSize) }

func siteKey(id string) string { return "sites/" + id }

func sitePartKey(sum string, part int) string { return fmt.Sprintf("sitedata/%s/%06x", sum, part) }

// errNoSite is the error for a site that is not in etcd.
var errNoSite = errors.New("it is not in etcd; deploy the configuration again from the directory of the site")

// reading repeats a read of a key until it succeeds or there is no more time.
func (d *database) reading(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	began := time.Now()
	for {
		resp, err := d.get(ctx, d.prefix+key, opts...)
		if err == nil || final(err) || ctx.Err() != nil || time.Since(began) > d.timeout {
			return resp, explain(err)
		}
		pause(ctx, retryPause)
	}
}

// siteRecord returns the record of a site, and its revision.
func (d *database) siteRecord(ctx context.Context, id string) (siteRecord, int64, error) {
	resp, err := d.reading(ctx, siteKey(id))
	if err != nil {
		return siteRecord{}, 0, err
	}
	if len(resp.Kvs) == 0 {
		return siteRecord{}, 0, errNoSite
	}
	var r siteRecord
	if json.Unmarshal(resp.Kvs[0].Value, &r) != nil || !r.valid() {
		return r, 0, controller.ErrDamaged
	}
	return r, resp.Kvs[0].ModRevision, nil
}

// sitePart returns a part of a packed site.
func (d *database) sitePart(ctx context.Context, r siteRecord, part int) ([]byte, error) {
	resp, err := d.reading(ctx, sitePartKey(r.Sum, part))
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		return nil, errNoSite
	}
	if value := resp.Kvs[0].Value; int64(len(value)) == min(partSize, r.Size-int64(part)*partSize) {
		return value, nil
	}
	return nil, controller.ErrDamaged
}

// verifySite reads a packed site, and compares its digest.
func (d *database) verifySite(ctx context.Context, r siteRecord) error {
	sum := sha256.New()
	for i := range r.parts() {
		data, err := d.sitePart(ctx, r, i)
		if err != nil {
			return err
		}
		sum.Write(data)
	}
	if hex.EncodeToString(sum.Sum(nil)) != r.Sum {
		return controller.ErrDamaged
	}
	return nil
}

// storedSite is a site in etcd.
type storedSite struct {
	siteRecord
	revision int64 // of the record
}

// siteRecords returns the sites in etcd by ID. It ignores damaged records.
func (d *database) siteRecords(ctx context.Context) (map[string]storedSite, error) {
	all := make(map[string]storedSite)
	resp, err := d.reading(ctx, "sites/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	for _, kv := range resp.Kvs {
		var r siteRecord
		if json.Unmarshal(kv.Value, &r) == nil && r.valid() {
			all[strings.TrimPrefix(string(kv.Key), d.prefix+"sites/")] = storedSite{r, kv.ModRevision}
		}
	}
	return all, nil
}

// revised is a key at a revision.
type revised struct {
	key      string
	revision int64
}

// siteSums returns the digests of which there are parts, with the first part of each.
func (d *database) siteSums(ctx context.Context) (map[string]revised, error) {
	sums := make(map[string]revised)
	from, end := "sitedata/", clientv3.GetPrefixRangeEnd(d.prefix+"sitedata/")
	for {
		resp, err := d.reading(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil || len(resp.Kvs) == 0 {
			return sums, err
		}
		key := strings.TrimPrefix(string(resp.Kvs[0].Key), d.prefix)
		sum, _, _ := strings.Cut(strings.TrimPrefix(key, "sitedata/"), "/")
		sums[sum] = revised{key, resp.Kvs[0].ModRevision}
		from = "sitedata/" + sum + "0" // follows all keys that begin with the digest and a slash
	}
}

// fenced makes a transaction that takes effect only if the leader still leads, and if the keys
// have the given revisions, 0 for a key that does not exist. It repeats the transaction, which
// must have the same effect then. The error is errMoved if a key has another revision.
func (s *Store) fenced(ctx context.Context, revisions map[string]int64, ops ...clientv3.Op) (revision int64, err error) {
	cmps := []clientv3.Cmp{s.leading()}
	for key, revision := range revisions {
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(s.prefix+key), "=", revision))
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for {
		if s.isLost() {
			return 0, controller.ErrDeposed
		}
		resp, err := s.once(ctx, cmps, ops)
		switch {
		case err == nil && resp.Succeeded:
			return resp.Header.Revision, nil
		case err == nil:
			if !s.leads(resp.Responses[0].GetResponseRange().Kvs) {
				return 0, controller.ErrDeposed
			}
			return 0, errMoved
		case final(err), ctx.Err() != nil:
			return 0, explain(err)
		}
		pause(ctx, retryPause)
	}
}

func (s *Store) once(ctx context.Context, cmps []clientv3.Cmp, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout/2)
	defer cancel()
	return s.kv.Txn(ctx).If(cmps...).Then(ops...).Else(clientv3.OpGet(s.prefix + s.key)).Commit()
}
