package controller

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"slices"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// The buckets of the file. Every value, except those of "meta", is a checksum of
// bucket, key and encoding, followed by the binary encoding of a record. "meta" has
// a sum of all these checksums, which detects missing entries.
var (
	bucketMeta    = []byte("meta")
	bucketConfigs = []byte("configs") // by slot
	bucketHistory = []byte("history") // by number
	bucketEvents  = []byte("notices") // by number; named as in the first version of the format
	bucketDrained = []byte("drained") // by hash of the name
	bucketOwed    = []byte("owed")    // by hash of the name
	bucketLast    = []byte("last")    // the last job, and the identity of the configuration sent last

	buckets = [][]byte{bucketConfigs, bucketHistory, bucketEvents, bucketDrained, bucketOwed, bucketLast}

	keySchema   = []byte("schema")
	keyChecksum = []byte("checksum")
	keyJob      = []byte("job")
	keySent     = []byte("sent")

	// bucketReserve exists only while room makes free pages.
	bucketReserve = []byte("reserve")
)

// errDamaged is the error of a file that differs from what a controller wrote.
var errDamaged = errors.New("the file is damaged; restore it from a copy, or move it away to begin anew")

// The schema of the file. Schema 1 had only configurations, without checksums, and
// its target contained addresses.
const (
	schema    = "2"
	schemaOne = "1"
)

func keyOf(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func keyOfName(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

var crcTable = crc64.MakeTable(crc64.ECMA)

func checksum(bucket, key, data []byte) uint64 {
	sum := crc64.Update(0, crcTable, bucket)
	sum = crc64.Update(sum, crcTable, binary.BigEndian.AppendUint32(nil, uint32(len(key))))
	sum = crc64.Update(sum, crcTable, key)
	return crc64.Update(sum, crcTable, data)
}

// hasSchema reports whether a file has the present schema.
func hasSchema(tx *bolt.Tx) (bool, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || string(meta.Get(keySchema)) != schema {
		return false, nil
	}
	for _, name := range append([][]byte{bucketMeta}, buckets...) {
		if tx.Bucket(name) == nil {
			return false, fmt.Errorf("%s is missing: %w", name, errDamaged)
		}
	}
	return true, nil
}

// prepareFile creates the buckets of a new file, upgrades an old file, and returns an
// error for a file with an unknown schema.
func prepareFile(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	var former map[Slot]zeekapi.Configuration
	if meta != nil {
		found := string(meta.Get(keySchema))
		if found != schemaOne {
			return fmt.Errorf("schema is %q, this program knows up to %q", found, schema)
		}
		var err error
		if former, err = loadSchemaOne(tx); err != nil {
			return err
		}
	} else if name, _ := tx.Cursor().First(); name != nil {
		return fmt.Errorf("it is a database of something else, with %.40q", name)
	}
	for _, name := range append([][]byte{bucketMeta}, buckets...) {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if err := tx.Bucket(bucketMeta).Put(keySchema, []byte(schema)); err != nil {
		return err
	}
	w := ledger{tx: tx}
	for _, slot := range Slots {
		if c, ok := former[slot]; ok {
			w.put(bucketConfigs, []byte(slot), c)
		}
	}
	return w.close()
}

// loadSchemaOne returns the configurations of schema 1. If the target came from the
// staged configuration, addresses that are unspecified there become unspecified again.
func loadSchemaOne(tx *bolt.Tx) (map[Slot]zeekapi.Configuration, error) {
	configs := make(map[Slot]zeekapi.Configuration)
	if tx.Bucket(bucketConfigs) == nil {
		return nil, fmt.Errorf("%s is missing: %w", bucketConfigs, errDamaged)
	}
	for _, slot := range Slots {
		data := tx.Bucket(bucketConfigs).Get([]byte(slot))
		if data == nil {
			continue
		}
		var c zeekapi.Configuration
		if err := decode(data, &c); err != nil {
			return nil, fmt.Errorf("%s configuration: %w", slot, err)
		}
		configs[slot] = c
	}
	staged := configs[Staged]
	for _, slot := range []Slot{Ready, Target} {
		c, ok := configs[slot]
		if !ok || c.ID != staged.ID {
			continue
		}
		c.Instances = slices.Clone(c.Instances)
		for i, inst := range c.Instances {
			if as, ok := staged.Instance(inst.Name); ok && unspecified(as.Host) {
				c.Instances[i].Host = as.Host
			}
		}
		configs[slot] = c
	}
	return configs, tx.DeleteBucket(bucketConfigs)
}

// ledger reads and writes entries in a transaction, and maintains the sum of their
// checksums. After the first error it does nothing.
type ledger struct {
	tx  *bolt.Tx
	sum uint64
	err error
}

// open loads the sum of the previous transaction.
func (l *ledger) open() {
	l.sum, l.err = l.account()
}

func (l *ledger) account() (uint64, error) {
	data := l.tx.Bucket(bucketMeta).Get(keyChecksum)
	if len(data) != 8 {
		return 0, fmt.Errorf("checksum is missing: %w", errDamaged)
	}
	return binary.BigEndian.Uint64(data), nil
}

// close writes the sum.
func (l *ledger) close() error {
	if l.err != nil {
		return l.err
	}
	return l.tx.Bucket(bucketMeta).Put(keyChecksum, binary.BigEndian.AppendUint64(nil, l.sum))
}

// complete reports whether all entries were read.
func (l *ledger) complete() error {
	if l.err != nil {
		return l.err
	}
	want, err := l.account()
	if err == nil && want != l.sum {
		err = fmt.Errorf("entries are missing: %w", errDamaged)
	}
	return err
}

// verified checks an entry, adds it to the sum, and returns its encoding.
func (l *ledger) verified(bucket, key, entry []byte) (data []byte, ok bool) {
	if len(entry) < 8 || binary.BigEndian.Uint64(entry) != checksum(bucket, key, entry[8:]) {
		l.fail(bucket, key, errDamaged)
		return nil, false
	}
	l.sum ^= binary.BigEndian.Uint64(entry)
	return entry[8:], true
}

func (l *ledger) fail(bucket, key []byte, err error) {
	if l.err != nil {
		return
	}
	name := strconv.QuoteToASCII(string(key))
	if len(key) == 8 {
		name = strconv.FormatUint(binary.BigEndian.Uint64(key), 10)
	}
	l.err = fmt.Errorf("%s %.60s: %w", bucket, name, err)
}

// get reads an entry into v, a pointer to a record. It returns false if there is no
// entry.
func (l *ledger) get(bucket, key []byte, v any) bool {
	entry := l.tx.Bucket(bucket).Get(key)
	if l.err != nil || entry == nil {
		return false
	}
	data, ok := l.verified(bucket, key, entry)
	if !ok {
		return false
	}
	if err := decode(data, v); err != nil {
		l.fail(bucket, key, err)
		return false
	}
	return true
}

// each reads all entries of a bucket in the order of their keys.
func each[T any](l *ledger, bucket []byte, do func(T)) {
	if l.err != nil {
		return
	}
	cursor := l.tx.Bucket(bucket).Cursor()
	for key, entry := cursor.First(); key != nil; key, entry = cursor.Next() {
		data, ok := l.verified(bucket, key, entry)
		if !ok {
			return
		}
		var v T
		if err := decode(data, &v); err != nil {
			l.fail(bucket, key, err)
			return
		}
		do(v)
	}
}

func (l *ledger) put(bucket, key []byte, v any) {
	if l.err != nil {
		return
	}
	data, err := encode(v)
	if err != nil {
		l.fail(bucket, key, err)
		return
	}
	sum := checksum(bucket, key, data)
	if entry := l.tx.Bucket(bucket).Get(key); len(entry) >= 8 && binary.BigEndian.Uint64(entry) == sum && bytes.Equal(entry[8:], data) {
		return
	}
	l.delete(bucket, key)
	if err := l.tx.Bucket(bucket).Put(key, append(binary.BigEndian.AppendUint64(nil, sum), data...)); err != nil {
		l.fail(bucket, key, err)
	}
	l.sum ^= sum
}

// delete removes an entry if it exists.
func (l *ledger) delete(bucket, key []byte) {
	entry := l.tx.Bucket(bucket).Get(key)
	if l.err != nil || entry == nil {
		return
	}
	if _, ok := l.verified(bucket, key, entry); !ok {
		return
	}
	if err := l.tx.Bucket(bucket).Delete(key); err != nil {
		l.fail(bucket, key, err)
	}
}

// storedPast is the record of a Past.
type storedPast struct {
	zeekapi.Deployment `zeek:"deployment"`
	Configuration      zeekapi.Configuration `zeek:"configuration"`
	Commitment         *Commitment           `zeek:"commitment,extension"`
}

// storedSent is the record of a Sent, together with the nodes that are stopped, because
// earlier versions take an entry of its own for damage.
type storedSent struct {
	Sent
	Stopped []zeekapi.StoppedNode `zeek:"stopped,extension"`
}

// told returns the stored storedSent, in a transaction with changes.
func (l *ledger) told() (told storedSent) {
	entry := l.tx.Bucket(bucketLast).Get(keySent)
	if l.err != nil || entry == nil {
		return told
	}
	data, ok := l.verified(bucketLast, keySent, entry)
	if !ok {
		return told
	}
	l.sum ^= binary.BigEndian.Uint64(entry) // it is still there
	if err := decode(data, &told); err != nil {
		l.fail(bucketLast, keySent, err)
	}
	return told
}

// replace makes the entries those of a state. It writes only what differs.
func (l *ledger) replace(s State) {
	kept := make(map[string]map[string]bool, len(buckets))
	for _, bucket := range buckets {
		kept[string(bucket)] = make(map[string]bool)
	}
	put := func(bucket, key []byte, v any) {
		kept[string(bucket)][string(key)] = true
		l.put(bucket, key, v)
	}
	for slot, c := range s.Configs {
		put(bucketConfigs, []byte(slot), c)
	}
	for _, p := range s.History {
		put(bucketHistory, keyOf(p.Number), storedPast(p))
	}
	for _, e := range s.Events {
		put(bucketEvents, keyOf(e.Number), e)
	}
	for _, name := range s.Drained {
		put(bucketDrained, keyOfName(name), name)
	}
	for _, name := range s.Owed {
		put(bucketOwed, keyOfName(name), name)
	}
	if s.Job != nil {
		put(bucketLast, keyJob, *s.Job)
	}
	if s.Sent != (Sent{}) || len(s.Stopped) > 0 {
		put(bucketLast, keySent, storedSent{s.Sent, s.Stopped})
	}
	for _, bucket := range buckets {
		l.retain(bucket, kept[string(bucket)])
	}
}

// retain removes the entries with other keys.
func (l *ledger) retain(bucket []byte, keys map[string]bool) {
	var others [][]byte
	_ = l.tx.Bucket(bucket).ForEach(func(key, _ []byte) error {
		if !keys[string(key)] {
			others = append(others, slices.Clone(key))
		}
		return nil
	})
	for _, key := range others {
		l.delete(bucket, key)
	}
}

// reserve is the number of bytes that a file keeps free within itself. It serves for
// what must be stored when the disk is full: the end of a deployment, for example.
const reserve = 1 << 20

// fillReserve writes an entry that takes as much room as the reserve.
func fillReserve(tx *bolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists(bucketReserve)
	if err != nil {
		return err
	}
	return b.Put([]byte("0"), make([]byte, reserve))
}

// emptyReserve removes that entry, whose pages are then free. A database never returns
// them to the disk.
func emptyReserve(tx *bolt.Tx) error { return tx.DeleteBucket(bucketReserve) }

// trim removes entries with lower numbers than oldest.
func (l *ledger) trim(bucket []byte, oldest uint64) {
	for l.err == nil {
		key, _ := l.tx.Bucket(bucket).Cursor().First()
		if key == nil || bytes.Compare(key, keyOf(oldest)) >= 0 {
			return
		}
		l.delete(bucket, slices.Clone(key))
	}
}

// encode returns the binary encoding of a record.
func encode(v any) ([]byte, error) {
	value, err := record.Marshal(v)
	if err != nil {
		return nil, err
	}
	return bin.Append(nil, value), nil
}

func decode(data []byte, v any) error {
	value, err := bin.Decode(data)
	if err != nil {
		return err
	}
	return record.Unmarshal(value, v)
}
